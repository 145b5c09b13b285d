"""`updater apps`, `diff` and `sync`: what they print, how they end, and what they never print."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import forked
from tests.lab.fleet import Fleet, application, deployment, fleet, written
from tests.lab.path import Ran
from updater.demo.cluster.asked import Cut, Hang
from updater.model.limits import Limits

SECRET = "hunter2-canary"
OBJECTS = written(
    deployment("1.0.0"),
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": SECRET}},
)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud", "idc") as made:
        made.commit({"apps/shop/all.yaml": OBJECTS})
        made.apply(*made.everywhere(labels={"consistency-group": "shop"}))
        yield made


def run(made: Fleet, *args: str, **sections: Any) -> Ran:
    """Run a command to its end."""
    start = time.monotonic()
    command = ["-c", str(made.configure(**sections)), *args]
    variables = {"PATH": os.environ["PATH"], "HOME": str(made.folder)}
    done = forked.run(command, variables, made.limits, seconds=120, cwd=made.folder)
    assert SECRET not in done.out + done.err
    assert "Traceback" not in done.err
    return Ran(done.code, done.out, done.err, time.monotonic() - start)


def writes(made: Fleet) -> list[str]:
    return [f"{one.verb} {one.resource}" for cluster in made.clusters.values()
            for one in cluster.asked(writes=True) if not one.dry_run]  # fmt: skip


def test_the_whole_way_by_hand(two: Fleet) -> None:
    before = run(two, "apps", "--json")
    assert (before.code, before.err) == (0, "")
    assert [(row["name"], row["cluster"], row["sync"], row["health"]) for row in before.json["applications"]] == [
        ("shop-cloud", "cloud", "OutOfSync", "Missing"), ("shop-idc", "idc", "OutOfSync", "Missing"),
    ]  # fmt: skip
    assert (before.json["differ"], before.json["failures"]) == ({}, [])

    diff = run(two, "diff", "shop-cloud", "--json")
    assert diff.code == 0
    assert [(one["object"], one["verdict"]) for one in diff.json["differences"]] == [
        ("Deployment.apps shop/shop", "missing"), ("Secret shop/key", "missing"),
    ]  # fmt: skip
    assert "+  replicas: 2" in diff.json["differences"][0]["diff"]

    tried = run(two, "sync", "shop-cloud", "--dry-run", "--json")
    assert (tried.code, {one["message"] for one in tried.json["results"]}) == (0, {"would be done"})
    assert writes(two) == []

    synced = run(two, "sync", "shop-cloud", "--json")
    assert synced.code == 0
    assert [(one["object"], one["action"], one["done"], one["message"], one["taken"])
            for one in synced.json["results"]] == [
        ("Namespace shop", "apply", True, "created", []), ("Secret shop/key", "apply", True, "created", []),
        ("Deployment.apps shop/shop", "apply", True, "created", []),
    ]  # fmt: skip
    assert (synced.json["application"]["sync"], synced.json["failures"]) == ("Synced", [])
    assert two.kinds("") == {"sync_started": 1, "sync_succeeded": 1}

    differ = run(two, "apps", "--differ", "--json")
    assert set(differ.json["differ"]["shop"]) == {"shop-cloud", "shop-idc"}
    assert run(two, "diff", "shop-cloud").out == "shop-cloud: Synced, nothing would change\n"


def test_what_people_read(two: Fleet) -> None:
    table = run(two, "apps").out.splitlines()
    assert table[0].split() == ["NAME", "CLUSTER", "SYNC", "HEALTH", "REVISION", "WHY"]
    assert table[1].rstrip().endswith("Deployment.apps shop/shop: not in the cluster (and 1 more)")
    diff = run(two, "diff", "shop-idc").out
    assert "--- Deployment.apps shop/shop in the cluster\n+++ Deployment.apps shop/shop in Git\n" in diff
    assert "+  password: hidden:" in diff
    ended = run(two, "sync", "shop-idc").out.splitlines()[-1]
    assert re.fullmatch("shop-idc: Succeeded, Synced, [A-Z][a-z]+(: .+)?", ended)
    tried = run(two, "sync", "shop-cloud", "--dry-run").out.splitlines()[-1]
    assert tried == "shop-cloud: Succeeded, OutOfSync, Missing: nothing was written"


def test_a_difference_names_fields_and_who_owns_them(two: Fleet) -> None:
    assert run(two, "sync", "shop-cloud").code == 0
    two.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
    found = run(two, "diff", "shop-cloud", "--json").json["differences"]
    changed = {one["object"]: one for one in found}
    assert changed["Deployment.apps shop/shop"]["verdict"] == "changed"
    [field] = changed["Deployment.apps shop/shop"]["fields"]
    assert field == {"field": '.spec.template.spec.containers[name="web"].image', "managers": "updater"}
    assert changed["Secret shop/key"]["verdict"] == "extra"


@pytest.mark.parametrize("command", ["apps", "diff", "sync"])
def test_a_cluster_that_cannot_be_reached_is_exit_1_at_once(two: Fleet, command: str) -> None:
    two.clusters["cloud"].script = lambda _: Cut()
    ran = run(two, command, *(["shop-cloud"] if command != "apps" else []), "--json")
    assert ran.code == 1
    assert ran.seconds < 15
    [failure] = ran.json["failures"]
    assert failure["what"] == "application shop-cloud"
    assert "cluster cloud" in failure["error"]
    shown = run(two, command, *(["shop-cloud"] if command != "apps" else []))
    assert shown.code == 1
    assert "failed: application shop-cloud: version at cluster cloud: the connection broke" in shown.err


def test_the_others_are_shown_beside_a_cluster_that_hangs(two: Fleet) -> None:
    two.clusters["cloud"].script = lambda _: Hang()
    two.limits = Limits(question=5.0)
    ran = run(two, "apps", "--json")
    assert ran.code == 1
    assert [(row["name"], row["sync"]) for row in ran.json["applications"]][1] == ("shop-idc", "OutOfSync")


def test_a_sync_is_tried_once(two: Fleet) -> None:
    bad = deployment("1.0.0")
    bad["spec"]["replicas"] = "many"
    two.commit({"apps/shop/all.yaml": written(bad)})
    ran = run(two, "sync", "shop-cloud")
    assert ran.code == 1
    assert "shop-cloud: Failed" in ran.out
    assert "sync_failed" in two.kinds()


def test_an_old_success_is_no_success_of_now(two: Fleet) -> None:
    """What was synced before stays stored; Git cannot be read now."""
    assert run(two, "sync", "shop-cloud").code == 0
    two.apply(application("shop-cloud", "cloud", f"{two.git.url}/gone.git"))
    ran = run(two, "sync", "shop-cloud", "--json")
    assert (ran.code, ran.json["results"]) == (1, [])
    assert "gone" in ran.json["failures"][0]["error"]


@pytest.mark.parametrize("command", ["diff", "sync"])
def test_an_unknown_application_is_exit_2_and_nothing_is_done(two: Fleet, command: str) -> None:
    ran = run(two, command, "shop-clod", "--json")
    assert ran.code == 2
    [failure] = ran.json["failures"]
    assert failure["what"] == "usage"
    assert "no application is named 'shop-clod'; known: shop-cloud, shop-idc" in failure["error"]
    shown = run(two, command, "shop-clod")
    assert (shown.code, shown.out, "no application is named 'shop-clod'" in shown.err) == (2, "", True)


def test_what_was_known_of_a_cluster_that_cannot_be_asked_is_marked(two: Fleet) -> None:
    """A table shows what is known now; a script has the last that was known, and why it is old."""
    two.apply(*two.everywhere(labels={"consistency-group": "shop"}, automated=None))
    with two.running():
        two.until(lambda: set(two.statuses()) == {"shop-cloud", "shop-idc"})
    two.clusters["cloud"].close()
    ran = run(two, "apps", "--json")
    row = ran.json["applications"][0]
    assert (ran.code, row["name"], row["sync"], row["health"]) == (1, "shop-cloud", "OutOfSync", "Missing")
    assert row["stale"].endswith("connection refused")
    _, row, other = run(two, "apps").out.splitlines()
    assert row.split()[:4] == ["shop-cloud", "cloud", "Unknown", "Unknown"]
    assert "was OutOfSync, Missing; version at cluster cloud: connection refused" in row
    assert other.split()[:4] == ["shop-idc", "idc", "OutOfSync", "Missing"]
    differ = run(two, "apps", "--differ")
    assert (differ.code, differ.out) == (
        1, "no difference is known, but not all could be asked: shop-cloud (cluster cloud)\n",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["diff", "sync"])
def test_an_application_that_cannot_be_used_is_exit_1_with_its_own_reason(two: Fleet, command: str) -> None:
    broken = application("broken", "idc", two.url)
    broken["spec"]["sauce"] = {}
    worse = application("worse", "idc", two.url)
    worse["spec"]["destiny"] = {}
    two.apply(application("shop-cloud", "nowhere", two.url))
    two.commit({"applications/broken.yaml": written(broken, worse)})
    two.clusters["idc"].kubeconfig.write_text("{")
    reasons = {"shop-cloud": "unknown cluster 'nowhere'", "broken": "`sauce`", "worse": "`destiny`",
               "shop-idc": "cluster idc: "}  # fmt: skip
    for name, reason in reasons.items():
        ran = run(two, command, name, "--json")
        [failure] = ran.json["failures"]
        assert (ran.code, failure["what"], reason in failure["error"]) == (1, f"application {name}", True), failure
    shown = run(two, command, "broken")
    assert (shown.code, shown.out, len(shown.err.splitlines())) == (1, "", 1)
    unknown = run(two, command, "nobody")
    assert (unknown.code, "known: broken, shop-cloud, shop-idc, worse" in unknown.err) == (2, True)


def test_the_mistakes_of_others_are_no_failure_of_the_one_that_is_asked_for(two: Fleet) -> None:
    two.apply(application("shop-idc", "nowhere", two.url))
    for command in ("diff", "sync"):
        ran = run(two, command, "shop-cloud", "--json")
        assert (ran.code, ran.json["failures"], ran.err) == (0, [], "")
    assert run(two, "apps").code == 1


def test_an_application_that_may_stand_in_a_file_that_is_no_yaml_is_exit_1(two: Fleet) -> None:
    two.commit({"applications/broken.yaml": b"kind: ["})
    ran = run(two, "diff", "nobody", "--json")
    [failure] = ran.json["failures"]
    assert (ran.code, failure["what"]) == (1, "application nobody")
    assert failure["error"].startswith("not among those that could be read: fleet/applications/broken.yaml:")


def test_an_application_whose_cluster_is_not_configured_is_not_listed(two: Fleet) -> None:
    two.apply(application("shop-cloud", "nowhere", two.url))
    listed = run(two, "apps", "--json")
    assert (listed.code, [row["name"] for row in listed.json["applications"]]) == (1, ["shop-idc"])


@pytest.mark.parametrize(("section", "word"), [("clusters", "clusters"), ("applications", "applications")])
def test_a_configuration_without_clusters_is_exit_2(two: Fleet, section: str, word: str) -> None:
    ran = run(two, "apps", **{section: []})
    assert (ran.code, ran.out) == (2, "")
    assert f"the configuration has no {word}" in ran.err


def test_a_kubeconfig_that_cannot_be_read_is_said_and_the_others_are_shown(two: Fleet) -> None:
    two.clusters["cloud"].kubeconfig.write_text("{")
    ran = run(two, "apps", "--json")
    rows = {row["name"]: row for row in ran.json["applications"]}
    assert (ran.code, list(rows), rows["shop-idc"]["stale"]) == (1, ["shop-cloud", "shop-idc"], "")
    [failure] = ran.json["failures"]
    assert "cluster cloud" in failure["error"]
    assert (rows["shop-cloud"]["sync"], rows["shop-cloud"]["health"]) == ("Unknown", "Unknown")
    assert failure["error"].startswith(f"cluster cloud: {rows['shop-cloud']['stale']}")
    shown = run(two, "apps").out.splitlines()[1]
    assert shown.split()[:5] == ["shop-cloud", "cloud", "Unknown", "Unknown", "-"]
    assert "kubeconfig of cluster cloud" in shown
    assert "not all could be asked: shop-cloud (cluster cloud)" in run(two, "apps", "--differ").out
    assert failure["error"].endswith("; 1 application waits")


def test_beside_a_daemon_a_sync_is_done_and_told_once(two: Fleet) -> None:
    """The daemon sees it in the cluster, and has nothing left to do."""
    hand: Any = {"automated": None}
    two.apply(*two.everywhere(**hand))
    with two.running():
        two.until(lambda: set(two.statuses()) == {"shop-cloud", "shop-idc"})
        assert run(two, "sync", "shop-cloud").code == 0
        assert run(two, "apps", "--json").code == 0
        assert run(two, "sync", "shop-idc").code == 0
    assert two.kinds("") == {"sync_started": 2, "sync_succeeded": 2}
