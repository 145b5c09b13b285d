"""What a list tells beside names, as at GCR and Artifact Registry, and what asking costs: requests are counted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.loop import NOW, Lab, open_lab, pod, rows
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.image import push_image
from updater.pipeline.report import Report
from updater.pipeline.update import update
from updater.transport.http import Http

NEWEST = "policy: {kind: newest, by: created}"
BLIND = f"{NEWEST}, platforms: [], moved_tag: follow"
CONFIG = """\
data: {folder}/data
registries: [{{host: '{host}', insecure: true}}]
repositories: [{{url: {url}}}]
images: [{{image: {host}/acme/api, name: api, {fields}}}]
"""
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING: Mapping[str, object] = {}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


@contextmanager
def google(lab: Lab, manifest: dict[str, object]) -> Iterator[Scripted]:
    """Stand in front of the embedded registry and add to its lists what Google's add; nothing else of theirs."""
    with Http() as http:

        def script(asked: Asked) -> Answered:
            answer = http.request(
                asked.method, lab.registry.url + asked.target, max_bytes=1 << 22, deadline=time.monotonic() + 10,
                headers={"Accept": asked.headers["accept"]},
            )  # fmt: skip
            headers = [(k, v) for k in ("content-type", "docker-content-digest") if (v := answer.header(k))]
            if asked.method == "HEAD":
                headers.append(("Content-Length", answer.header("content-length") or "0"))
            body = answer.body
            if asked.path.endswith("/tags/list"):
                body = json.dumps(json.loads(body) | {"manifest": manifest}).encode()
            return reply(answer.status, body, *headers)

        with Scripted(script) as server:
            yield server


def cycle(lab: Lab, server: Scripted, fields: str, now: datetime = NOW) -> tuple[Report, list[str]]:
    """Run one cycle; return what it did and the requests that it made."""
    path = lab.folder / "updater.yaml"
    url = f"{lab.git.url}/fleet.git"
    path.write_text(CONFIG.format(folder=lab.folder, host=server.host, url=url, fields=fields))
    before = len(server.requests)
    with build(load(path, {})) as world:
        report = update(world, world.settings.items, now)
    asked = server.requests[before:]
    return report, [f"{one.method} {one.path.removeprefix('/v2/acme/api/').partition('/')[0]}" for one in asked]


def entry(*tags: object, day: float | None = None, more: Mapping[str, object] = NOTHING) -> dict[str, object]:
    created = {} if day is None else {"timeCreatedMs": str(int((DAY + timedelta(days=day)).timestamp() * 1000))}
    return {"imageSizeBytes": "1", "tag": list(tags), "timeUploadedMs": 1700000000000, **created, **more}


def pushed(lab: Lab, tag: str, day: int = 0) -> str:
    """Push an image that says itself when it was made."""
    created = (DAY + timedelta(days=day)).isoformat()
    return push_image(lab.registry.url, "acme/api", [tag], payload=tag.encode(), created=created)


def mention(lab: Lab, server: Scripted, tag: str) -> None:
    lab.git.create("fleet", {"a.yaml": pod(f"{server.host}/acme/api:{tag}").encode()})


def test_the_newest_of_a_thousand_tags_costs_one_request_where_the_list_has_the_dates(lab: Lab) -> None:
    digest = pushed(lab, "b0")
    lab.registry.seed("acme/api", [f"b{n}" for n in range(1, 1000)], digest)
    manifest: dict[str, object] = {f"sha256:{n:064x}": entry(f"b{n}", day=n % 1000) for n in range(1000)}
    with google(lab, manifest) as server:
        mention(lab, server, "b7")
        report, asked = cycle(lab, server, BLIND)
        assert (rows(report)["api"].target, asked) == ("b999", ["GET tags"])
        assert f"sha256:{999:064x}" in report.commits[0].message


def test_what_is_written_is_looked_at_by_the_digest_of_the_list(lab: Lab) -> None:
    old, new = pushed(lab, "old", 1), pushed(lab, "new", 2)
    with google(lab, {old: entry("old", day=1), new: entry("new", day=2)}) as server:
        mention(lab, server, "old")
        report, asked = cycle(lab, server, NEWEST)
        assert rows(report)["api"].target == "new"
        assert asked == ["GET tags", "GET manifests", "GET blobs", "GET manifests", "GET blobs"]
        assert {one.path.rpartition("/")[2] for one in server.requests if "manifests" in one.path} == {old, new}


HUGE = "9" * 15


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"timeCreatedMs": "0"}, id="1970"),
        pytest.param({"timeCreatedMs": 315532800000}, id="1980"),
        pytest.param({"timeCreatedMs": "-62135596800000"}, id="Go's zero"),
        pytest.param({"timeCreatedMs": True}, id="a truth value"),
        pytest.param({"timeCreatedMs": [1]}, id="a list"),
        pytest.param({"timeCreatedMs": HUGE}, id="beyond all calendars"),
        pytest.param({"timeCreatedMs": "\u0661" * 13}, id="foreign digits"),
        pytest.param({}, id="missing"),
    ],
)
def test_a_date_that_is_none_is_asked_of_the_image_itself(lab: Lab, odd: dict[str, object]) -> None:
    old, new = pushed(lab, "old", 1), pushed(lab, "new", 2)
    with google(lab, {old: entry("old", day=1), new: entry("new", more=odd)}) as server:
        mention(lab, server, "old")
        report, asked = cycle(lab, server, BLIND)
        assert rows(report)["api"].target == "new"
        assert asked == ["GET tags", "GET manifests", "GET blobs"]


def test_what_makes_no_sense_beside_the_names_is_as_if_it_were_not_there(lab: Lab) -> None:
    old = pushed(lab, "old", 1)
    pushed(lab, "new", 2)
    other = "sha256:" + "f" * 64
    odd: dict[str, object] = {
        "latest": entry("new", day=900), "sha256:short": entry("new", day=900), old: entry("old", 7, None, day=1),
        "sha256:" + "e" * 64: entry("not-listed", day=900), "sha256:" + "d" * 64: "text", other: {"tag": "new"},
        "sha256:" + "c" * 64: entry("new", day=800), "sha256:" + "b" * 64: entry("new", day=700),
    }  # fmt: skip
    with google(lab, odd) as server:
        mention(lab, server, "old")
        report, asked = cycle(lab, server, BLIND)
        assert rows(report)["api"].target == "new"
        assert asked == ["GET tags", "GET manifests", "GET blobs"], "two digests claim it: the image is asked"
        assert server.requests[1].path.endswith("/manifests/new")


def test_a_repository_is_listed_once_a_cycle_however_many_items_and_files_use_it(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    files = {f"envs/{env}/{n}.yaml": pod("HOST/acme/api:1.0.0") for env in ("dev", "prod") for n in range(5)}
    fleet, other = lab.repository("fleet", files), lab.repository("other", files)
    items = "".join(
        f"      - {{name: {env}{repo}, repository: {repo}, paths: ['envs/{env}/**'], level: {level}}}\n"
        for env, level in (("dev", "minor"), ("prod", "patch")) for repo in ("fleet", "other")
    )  # fmt: skip
    config = lab.configure(
        "repositories: [{name: fleet, url: FLEET}, {name: other, url: OTHER}]\n"
        f"images:\n  - image: HOST/acme/api\n    name: api\n    update:\n{items}",
        fleet=fleet, other=other,
    )  # fmt: skip
    report = lab.cycle(config)
    assert len(report.rows) == 20
    assert {row.target for row in report.rows} == {"1.1.0", None}
    assert lab.asked["list"] == 1
