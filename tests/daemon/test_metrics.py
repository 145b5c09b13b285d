"""`/metrics`, `/livez` and `/readyz` of a real daemon, and the dashboard and the alerts that read them."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, insert

from tests.lab.fleet import application, deployment, written
from tests.lab.git import Embedded
from tests.lab.path import PASSWORD, ROOT, Daemon, WholePath, manifest
from tests.lab.registry import LOGIN
from updater.daemon import metrics
from updater.daemon.desk import Desk, _Writable
from updater.daemon.heartbeat import STALE
from updater.daemon.metrics import BUCKETS, Metrics
from updater.demo.cluster import ClusterServer
from updater.demo.sink import MessageSink
from updater.errors import StoreError
from updater.model.event import Event, Kind, Subject
from updater.store.database import Database
from updater.store.outbox import Letter, Outbox, State
from updater.store.schema import outbox

PATIENCE = 60.0  # seconds for one thing to happen; most take less than two
QUICK = {"poll": {"interval": "1s", "jitter": "0s"}}
NAMES = {
    "updater_build_info", "updater_config_last_reload_successful", "updater_images", "updater_update_available",
    "updater_decisions", "updater_registry_requests", "updater_scan_last_success_timestamp_seconds", "updater_commits",
    "updater_push_conflicts", "updater_delay_seconds", "updater_outbox_messages", "updater_outbox_oldest_seconds",
    "updater_state_readable", "updater_registry_ratelimit_remaining",
}  # fmt: skip
"""The names of the contract, counters without `_total` as the parser has them, and one for a state that is broken."""
CANARY = "canary-e2f7a1930c5b48d6"
NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
Figures = dict[tuple[str, ...], float]


class Scraped:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = {name for family in self.families for name in {family.name, *(s.name for s in family.samples)}}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of this name with these labels."""
        found = [s.value for f in self.families for s in f.samples
                 if s.name == name and labels.items() <= s.labels.items()]  # fmt: skip
        return sum(found)


def ask(url: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def scrape(url: str) -> Scraped:
    status, text = ask(url, "metrics")
    assert status == 200
    return Scraped(text)


def scraped(url: str, true: Callable[[Scraped], bool]) -> Scraped:
    """Scrape until something is true."""
    end, pause = time.monotonic() + PATIENCE, threading.Event()
    while not true(found := scrape(url)):
        assert time.monotonic() < end, found.text
        pause.wait(0.2)
    return found


def answered(url: str, path: str, status: int) -> str:
    """Ask until a status is answered; return the text."""
    end, pause = time.monotonic() + PATIENCE, threading.Event()
    while (found := ask(url, path))[0] != status:
        assert time.monotonic() < end, found
        pause.wait(0.2)
    return found[1]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        opened.create("fleet", {"api.yaml": manifest(opened.image("acme/api"), "1.0.0")})
        yield opened


def test_a_tag_is_followed_from_the_registry_to_the_cluster_and_the_message(path: WholePath) -> None:
    """The figures that nobody publishes, of one `updater run` with real servers."""
    with ClusterServer(path.folder / "cloud") as cloud, MessageSink() as sink:
        image = path.image("acme/api")
        path.create("shop", {"apps/shop/all.yaml": written(deployment("1.0.0", image))})
        one = application("shop", "cloud", path.git.url("shop"))
        path.create("apps", {"applications/shop.yaml": written(one)})
        path.configure(
            [path.entry("acme/api", range="1.x", **QUICK)],
            ["fleet", "shop", "apps"],
            clusters=[{"name": "cloud", "kubeconfig": f"file:{cloud.kubeconfig}"}],
            applications=[{"repository": "apps"}],
            sync={"poll": "1h"},
            notifications={
                "channels": [{"name": "program", "kind": "webhook", "url": f"{sink.url}/hook"}],
                "routes": [{"channels": ["program"], "group": "0s"}],
            },
        )  # fmt: skip
        with Daemon(path) as daemon:
            url = daemon.wait("serving")["url"]
            start = time.time()
            first = scraped(url, lambda found: found.value("updater_images", outcome="up_to_date") == 1)
            assert {family.name for family in first.families} == NAMES
            assert first.value("updater_commits_total", repository="fleet") == 0
            assert '\nupdater_commits_total{repository="fleet"} 0.0\n' in first.text
            assert first.value("updater_config_last_reload_successful") == 1
            assert first.value("updater_build_info") == 1
            scraped(url, lambda found: bool(cloud.get("Deployment", "shop", "shop", "apps")))

            path.push("acme/api", "1.1.0")
            done = scraped(
                url,
                lambda found: (
                    found.value("updater_delay_seconds_count", stage="applied") == 1
                    and found.value("updater_delay_seconds_count", stage="notified") >= 3
                ),
            )
            assert done.value("updater_delay_seconds_count", stage="committed") == 2  # one tag in two repositories
            assert done.value("updater_commits_total", repository="fleet") == 1
            assert done.value("updater_commits_total", repository="shop") == 1
            assert done.value("updater_decisions_total", reason="updated") == 2
            host = path.registry.host
            assert done.value("updater_registry_requests_total", registry=host, endpoint="tags", code="200") >= 2
            assert done.value("updater_registry_requests_total", registry=host, endpoint="manifest", code="200") >= 1
            assert start - 60 < done.value("updater_scan_last_success_timestamp_seconds", registry=host) <= time.time()
            sent = scraped(url, lambda found: found.value("updater_outbox_messages", state="waiting") == 0)
            assert sent.value("updater_outbox_messages", channel="program", state="sent") >= 3
            assert sent.value("updater_outbox_oldest_seconds", channel="program") == 0
            for stage in metrics.STAGES:
                count = done.value("updater_delay_seconds_count", stage=stage)
                assert done.value("updater_delay_seconds_bucket", stage=stage, le="+Inf") == count
                assert 0 <= done.value("updater_delay_seconds_sum", stage=stage) < count * (time.time() - start + 2)
            daemon.ask()
            assert daemon.end() == 0


def test_the_dashboard_and_the_alerts_read_what_is_served(path: WholePath) -> None:
    path.configure([path.entry("acme/api", range="1.x", **QUICK)])
    with Daemon(path) as daemon:
        served = scraped(
            daemon.wait("serving")["url"], lambda found: found.value("updater_images", outcome="up_to_date") == 1
        )
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in served.families}
    names |= {f"{f.name}_bucket" for f in served.families if f.type == "histogram"}

    dashboard = json.loads((ROOT / "config/grafana/dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [one["query"]["query"] for one in dashboard["templating"]["list"] if isinstance(one["query"], dict)]
    rules = yaml.safe_load((ROOT / "config/prometheus/alerts.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    asked = [rule["expr"] for rule in alerts]
    for expression in (*shown, *variables, *asked):
        used = set(re.findall(r"\bupdater_[a-z_]+\b(?=[{\[,) ]|$)", expression, re.MULTILINE))
        assert used <= names, (expression, used - names)
        assert used or expression.startswith("up{"), expression
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
    every = " ".join((*shown, *asked))
    assert {name for name in names - {"updater_delay_seconds"} if name not in every} == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(rule["alert"] and rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in alerts)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_a_broken_state_and_a_rejected_file_are_figures_too(path: WholePath) -> None:
    path.configure([path.entry("acme/api", range="1.x", poll={"interval": "1h"})])
    with Daemon(path) as daemon:
        url = daemon.wait("serving")["url"]
        daemon.wait("decided")
        assert (ask(url, "livez"), ask(url, "readyz")) == ((200, "ok\n"), (200, "ok\n"))
        good = path.config.read_text()
        path.config.write_text(good.replace('"1.x"', '">> 1"'))
        scraped(url, lambda found: found.value("updater_config_last_reload_successful") == 0)
        path.config.write_text(good)
        scraped(url, lambda found: found.value("updater_config_last_reload_successful") == 1)

        with closing(sqlite3.connect(path.data / "state.db")) as state, state:
            state.execute("DROP TABLE outbox")
            state.execute("DROP TABLE meta")
        broken = scraped(url, lambda found: found.value("updater_state_readable") == 0)
        assert {family.name for family in broken.families} == NAMES
        assert broken.value("updater_images", outcome="up_to_date") == 1
        assert "meta" in answered(url, "readyz", 503)
        assert ask(url, "livez") == (200, "ok\n")


def test_a_scheduler_that_stands_still_does_not_live(path: WholePath) -> None:
    """SIGSTOP of the process would stop its answers, too; so its clock is told to be old."""
    daemon = SimpleNamespace(beaten=time.monotonic() - STALE - 1, database=SimpleNamespace(try_out=lambda: None))
    desk = Desk(cast("Any", daemon))
    assert desk.trouble().startswith("no tick for ")
    assert desk.unready() == desk.trouble()
    daemon.beaten = time.monotonic()
    assert (desk.trouble(), desk.unready()) == ("", "")


def test_probes_write_once_in_a_while_however_often_they_come() -> None:
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise StoreError("state sqlite: disk is full")

    writable = _Writable(cast("Any", SimpleNamespace(database=SimpleNamespace(try_out=refuse))))
    assert {writable.answer() for _ in range(100)} == {"state sqlite: disk is full"}
    assert len(tries) == 1


def test_a_state_that_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/state.db")) as database:
        database.try_out()
        database._engine.dispose()
        event.listen(database._engine, "connect", lambda made, _record: made.execute("PRAGMA query_only=1"))
        with pytest.raises(StoreError, match="readonly"):
            database.try_out()


def test_a_daemon_with_a_token_service_counts_what_it_asks_and_tells_no_secret(tmp_path: Path) -> None:
    with WholePath.open(tmp_path, "embedded", Embedded, auth="token") as path:
        path.push("acme/api", "1.0.0")
        path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
        name = 'a"b\\n} 1 # {'
        hostile = {"image": "127.0.0.1:1/acme/x", "name": name} | QUICK
        (tmp_path / "hook").write_text(f"http://127.0.0.1:1/{CANARY}")
        path.configure(
            [path.entry("acme/api", range="1.x", **QUICK), hostile],
            notifications={"channels": [{"name": "hook", "kind": "webhook", "url": f"file:{tmp_path}/hook"}]},
        )
        with Daemon(path) as daemon:
            url = daemon.wait("serving")["url"]
            found = scraped(
                url, lambda found: found.value("updater_registry_requests_total", endpoint="token", code="200") > 0
                and found.value("updater_images", outcome="up_to_date") == 1,
            )  # fmt: skip
            assert found.value("updater_registry_requests_total", endpoint="tags", code="401") > 0
            assert {family.name for family in found.families} == NAMES
            [available] = [family for family in found.families if family.name == "updater_update_available"]
            assert {sample.labels["image"] for sample in available.samples} == {"api", name}
            for where in ("metrics", "livez", "readyz", "login", "logout", "api/v1/session", "nothing"):
                text = ask(url, where)[1]
                assert CANARY not in text
                assert LOGIN[1] not in text
                assert PASSWORD not in text
            daemon.ask(signal.SIGTERM)
            assert daemon.end() == 0


# --- the counting itself ---------------------------------------------------------------------------------------------


def test_names_from_outside_are_not_without_number() -> None:
    counting = Metrics()
    for number in range(1000):
        counting.asked(f"r{number}.example.com", "tags", "200")
    counting.asked("r1.example.com", "whatever", "2000")
    counting.asked("r1.example.com", "tags", "error")
    [requests] = [f for f in counting.counted([]) if f.name == "updater_registry_requests"]
    labels = [sample.labels for sample in requests.samples]
    assert len({one["registry"] for one in labels}) == metrics.MOST_REGISTRIES + 1
    assert {one["endpoint"] for one in labels} == {"tags", "other"}
    assert {one["code"] for one in labels} == {"200", "error", "other"}
    assert sum(sample.value for sample in requests.samples) == 1002


def delays(counting: Metrics) -> dict[str, tuple[float, float]]:
    """Return how often and how long, by stage."""
    [histogram] = [f for f in counting.counted([]) if f.name == "updater_delay_seconds"]
    found = {(s.name.rpartition("_")[2], s.labels["stage"]): s.value for s in histogram.samples if "le" not in s.labels}
    return {stage: (found["count", stage], found["sum", stage]) for stage in metrics.STAGES}


def test_a_sync_counts_from_the_commit_that_it_brought_and_only_from_one_of_ours() -> None:
    counting = Metrics()
    commit = Event(Kind.IMAGE_UPDATED, NOW, Subject(image="api"), commit="a" * 40)
    for revision, later in (("a" * 40, 30), ("b" * 40, 40), (None, 50)):
        counting.happened([commit])
        synced = Event(Kind.SYNC_SUCCEEDED, NOW, Subject(application="shop"), commit=revision)
        counting.happened([synced], NOW + timedelta(seconds=later))
    assert delays(counting)["applied"] == (1, 30.0)
    counting.happened([Event(Kind.SYNC_SUCCEEDED, NOW, Subject(application="s"), commit="a" * 40)], NOW - timedelta(1))
    assert delays(counting)["applied"] == (2, 30.0)  # a clock that went back


def test_after_a_restart_commits_are_still_followed_and_nothing_counts_twice() -> None:
    counting = Metrics()
    commit = Event(Kind.IMAGE_UPDATED, NOW, Subject(image="api"), commit="a" * 40)
    synced = Event(Kind.SYNC_SUCCEEDED, NOW, Subject(application="shop"), commit="a" * 40)
    counting.before([commit, synced])
    assert delays(counting)["applied"] == (0, 0.0)
    counting.happened([synced], NOW + timedelta(seconds=90))
    assert delays(counting)["applied"] == (1, 90.0)


def test_commits_are_not_followed_without_number() -> None:
    counting = Metrics()
    counting.happened(
        Event(Kind.IMAGE_UPDATED, NOW, Subject(image="api"), commit=f"{number:040x}") for number in range(3000)
    )
    assert len(counting._committed) == metrics.MOST_COMMITS
    assert f"{2999:040x}" in counting._committed


def test_a_reminder_and_a_count_are_no_news() -> None:
    counting = Metrics()
    event = Event(Kind.IMAGE_UPDATED, NOW, Subject(image="api"))
    fields: Any = {
        "seq": 1,
        "channel": "a",
        "state": State.WAITING,
        "subject": "",
        "created": NOW,
        "wanted": NOW,
        "due": NOW,
    }
    letters = [
        Letter(event=event, **fields),
        Letter(event=event, since=NOW, **fields),
        Letter(event=None, held=3, **fields),
    ]
    counting.told(letters, NOW + timedelta(seconds=7))
    assert delays(counting)["notified"] == (1, 7.0)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 0.6, 86400.0, 10 * 86400.0])
def test_a_delay_falls_into_every_bucket_that_is_large_enough(seconds: float) -> None:
    counting = Metrics()
    counting._took("committed", timedelta(seconds=seconds))
    [histogram] = [f for f in counting.counted([]) if f.name == "updater_delay_seconds"]
    found = [s.value for s in histogram.samples if s.labels.get("le") and s.labels["stage"] == "committed"]
    assert found == [*(float(seconds <= most) for most in BUCKETS), 1.0]


def test_a_full_outbox_is_counted_within_a_moment(tmp_path: Path) -> None:
    """Ninety days of messages lie there; a scrape must not take what cycles need."""
    at = NOW.replace(tzinfo=None)
    row = {
        "channel": "a", "state": "sent", "event": None, "subject": "x" * 60, "created": at, "wanted": at, "due": at,
        "joins": 0, "lasting": False, "since": None, "held": 0, "attempts": 1, "form": 0, "answer": "ok", "done": at,
    }  # fmt: skip
    with closing(Database(f"sqlite:///{tmp_path}/state.db")) as database:
        with database.transaction() as connection:
            connection.execute(insert(outbox), [row] * 100_000)
            connection.execute(insert(outbox), [row | {"state": "waiting"}] * 100)
        start = time.perf_counter()
        found = Outbox(database).figures(["a", "b"])
        took = time.perf_counter() - start
    assert found["a"].states == {"sent": 100_000, "waiting": 100}
    assert (found["a"].oldest, found["b"].oldest) == (NOW, None)
    assert took < 2.0, took
    print(f"a scrape of 100,000 letters: {took * 1000:.0f} ms")
