"""The second loop in the daemon: what is delivered at once, what is told once, and who holds back nobody else."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import MERGE, Raw
from tests.lab.fleet import Fleet, application, deployment, fleet, written
from tests.lab.git import git
from updater.demo.cluster.asked import Asked, Cut, Fault, Hang
from updater.model.limits import Limits

SOON = Limits(away=1.0)
QUICK = 5.0  # seconds, on a machine that others use too; alone it is a tenth of that


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud", "idc") as made:
        made.limits = SOON
        made.apply(*made.everywhere())
        yield made


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud", "idc", "edge") as made:
        made.limits = SOON
        made.apply(*made.everywhere())
        yield made


BOTH = ("shop-cloud", "shop-idc")
ALL = ("shop-cloud", "shop-edge", "shop-idc")


def edit(made: Fleet, cluster: str, path: str, patch: Any) -> None:
    with Raw(made.clusters[cluster]) as ask:
        assert ask("PATCH", f"{path}?fieldManager=kubectl-edit", patch, MERGE).code == 200


SHOP = "/apis/apps/v1/namespaces/shop/deployments/shop"


# --- delivered at once -----------------------------------------------------------------------------------------------


def test_a_commit_of_ours_is_delivered_without_waiting_for_the_poll(two: Fleet) -> None:
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH, tag="1.0.0"))
        two.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
        loop.wake()
        assert two.until(lambda: two.healthy(*BOTH, tag="1.1.0")) < QUICK
    assert two.kinds() == Counter(sync_succeeded=4)


def test_a_commit_of_a_person_is_delivered_within_the_poll(two: Fleet) -> None:
    with two.running(sync={"poll": "1s"}):
        two.until(lambda: two.healthy(*BOTH, tag="1.0.0"))
        two.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
        assert two.until(lambda: two.healthy(*BOTH, tag="1.1.0")) < 1 + QUICK


def test_what_somebody_changes_in_a_cluster_is_healed_and_no_news(two: Fleet) -> None:
    with two.running():
        two.until(lambda: two.healthy(*BOTH))
        two.until(lambda: two.clusters["cloud"].counts["watch deployments.apps"] == 1)
        edit(two, "cloud", SHOP, {"spec": {"replicas": 7}})
        two.until(lambda: two.live("cloud")["spec"]["replicas"] == 2)
        two.until(lambda: two.healthy(*BOTH))
    assert two.kinds() == Counter(sync_succeeded=2)


# --- clusters in trouble ---------------------------------------------------------------------------------------------


def hanging(_: Asked) -> Fault | None:
    return Hang()


def test_one_cluster_of_three_is_out_and_comes_back(three: Fleet) -> None:
    """The others go on at once; it is one message and one recovery, and all of it is as it should be after that."""
    cloud = three.clusters["cloud"]
    with three.running() as loop:
        three.until(lambda: three.healthy(*ALL))
        cloud.script = lambda _: Cut()
        cloud.cut()
        three.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
        loop.wake()
        assert three.until(lambda: three.healthy("shop-idc", "shop-edge", tag="1.1.0")) < QUICK
        three.until(lambda: three.kinds()["cluster_unreachable"] == 1, 100)
        assert three.statuses()["shop-cloud"].sync.value == "Synced"
        cloud.script = None
        three.until(lambda: three.healthy(*ALL, tag="1.1.0"), 100)
        three.until(lambda: three.kinds()["cluster_recovered"] == 1)
    assert three.kinds() == Counter(sync_succeeded=6, cluster_unreachable=1, cluster_recovered=1)


def test_a_cluster_that_is_out_at_the_start_holds_back_no_other(two: Fleet) -> None:
    two.clusters["cloud"].script = hanging
    with two.running():
        assert two.until(lambda: two.healthy("shop-idc", tag="1.0.0")) < QUICK
        two.clusters["cloud"].script = None
        two.clusters["cloud"].cut()
        two.until(lambda: two.healthy(*BOTH, tag="1.0.0"), 60)


def test_a_hiccup_is_not_told(two: Fleet) -> None:
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH))
        once = iter([Cut()])
        two.clusters["cloud"].script = lambda asked: next(once, None) if asked.verb == "patch" else None
        two.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
        loop.wake()
        two.until(lambda: two.healthy(*BOTH, tag="1.1.0"), 60)
    assert set(two.kinds()) <= {"sync_succeeded", "sync_failed"}


def test_an_outage_over_a_restart_is_told_once_and_its_end_too(two: Fleet) -> None:
    two.clusters["cloud"].script = lambda _: Cut()
    for _ in range(2):
        with two.running():
            two.until(lambda: two.kinds()["cluster_unreachable"] == 1, 100)
            two.until(lambda: two.healthy("shop-idc"))
    two.clusters["cloud"].script = None
    with two.running():
        two.until(lambda: two.kinds()["cluster_recovered"] == 1, 100)
        two.until(lambda: two.healthy(*BOTH))
    assert two.kinds() == Counter(cluster_unreachable=1, cluster_recovered=1, sync_succeeded=2)


# --- applications come, go and move ----------------------------------------------------------------------------------


def test_applications_come_and_go(two: Fleet) -> None:
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH))
        two.apply(application("more", "idc", two.url, namespace="more"))
        loop.wake()
        two.until(lambda: two.healthy("more"))
        two.remove("applications/more.yaml")
        loop.wake()
        two.until(lambda: "more" not in two.statuses())
        assert two.image("idc", namespace="more") == "1.0.0"


def test_an_application_that_went_while_the_daemon_was_away_is_forgotten(two: Fleet) -> None:
    with two.running():
        two.until(lambda: two.healthy(*BOTH))
    two.remove("applications/shop-idc.yaml")
    with two.running():
        two.until(lambda: set(two.statuses()) == {"shop-cloud"})
    assert two.image("idc") == "1.0.0"  # forgotten, and nothing of it deleted


@pytest.mark.parametrize("restart", [False, True], ids=["while it runs", "while it is away"])
def test_an_application_moves_to_another_cluster(two: Fleet, *, restart: bool) -> None:
    two.remove("applications/shop-idc.yaml")
    with two.running() as loop:
        two.until(lambda: two.healthy("shop-cloud"))
        if not restart:
            two.apply(application("shop-cloud", "idc", two.url))
            loop.wake()
            two.until(lambda: two.healthy("shop-cloud") and two.statuses()["shop-cloud"].cluster == "idc")
    if restart:
        two.apply(application("shop-cloud", "idc", two.url))
        with two.running():
            two.until(lambda: two.healthy("shop-cloud") and two.statuses()["shop-cloud"].cluster == "idc")
    assert two.image("idc") == "1.0.0"


@pytest.mark.parametrize(
    "broken",
    [b"a: [", written(application("shop-idc", "nowhere", "https://git.example.com/x.git")), b"kind: Application\n"],
    ids=["no YAML", "an unknown cluster", "half of it"],
)
def test_a_manifest_that_is_spoilt_changes_nothing(two: Fleet, broken: bytes) -> None:
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH))
        two.commit({"applications/shop-idc.yaml": broken, "apps/shop/all.yaml": written(deployment("1.1.0"))})
        loop.wake()
        two.until(lambda: two.healthy(*BOTH, tag="1.1.0"))
    with two.running():
        two.until(lambda: two.healthy("shop-cloud"))
    assert set(two.statuses()) == set(BOTH)


def test_a_source_that_changes_is_delivered_though_git_has_no_other_commit_of_it(tmp_path: Path) -> None:
    with fleet(tmp_path, "cloud") as made:
        made.commit({"apps/next/all.yaml": written(deployment("2.0.0"))})
        local = tmp_path / "local"
        local.mkdir()
        file = local / "shop.yaml"
        once: Any = {"automated": {"prune": True}}
        file.write_bytes(written(application("shop", "cloud", made.url, **once)))
        with made.running(applications=[{"directory": str(local)}]) as loop:
            made.until(lambda: made.healthy("shop", tag="1.0.0"))
            file.write_bytes(written(application("shop", "cloud", made.url, path="apps/next", **once)))
            loop.wake()
            made.until(lambda: made.healthy("shop", tag="2.0.0"))
        assert made.image("cloud") == "2.0.0"


def test_a_suspended_application_is_left_alone_and_goes_on_where_it_was(two: Fleet) -> None:
    two.apply(application("shop-idc", "idc", two.url, annotations={"updater/suspend": "true"}))
    with two.running() as loop:
        two.until(lambda: two.healthy("shop-cloud", tag="1.0.0"))
        two.until(lambda: two.statuses()["shop-idc"].sync.value == "OutOfSync")
        assert two.image("idc") == ""
        two.apply(application("shop-idc", "idc", two.url))
        loop.wake()
        two.until(lambda: two.healthy(*BOTH, tag="1.0.0"))


# --- told once -------------------------------------------------------------------------------------------------------


def test_a_restart_tells_nothing_and_has_the_statuses_at_once(two: Fleet) -> None:
    with two.running():
        two.until(lambda: two.healthy(*BOTH))
    before = [event.id for event in two.events()]
    for cluster in two.clusters.values():
        cluster.forget()
    with two.running() as loop:
        assert two.healthy(*BOTH)
        two.until(lambda: all(one.counts["watch deployments.apps"] for one in two.clusters.values()))
        two.commit({"README.md": b"nothing that is delivered\n"})
        loop.wake()
        head = two.commit({"README.md": b"again nothing\n"})
        loop.wake()
        two.until(lambda: {one.revision for one in two.statuses().values()} == {head})
    assert [event.id for event in two.events()] == before
    assert not any(cluster.asked(writes=True) and [one for one in cluster.asked(writes=True) if not one.dry_run]
                   for cluster in two.clusters.values())  # fmt: skip


def test_a_sync_that_fails_is_told_once_and_its_end_too(two: Fleet) -> None:
    bad = deployment("1.1.0")
    bad["spec"]["replicas"] = "many"
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH))
        two.commit({"apps/shop/all.yaml": written(bad)})
        loop.wake()
        two.until(lambda: two.kinds()["sync_failed"] == 2)
        two.until(lambda: all(one.attempts > 1 for one in two.statuses().values()), 60)
        two.commit({"apps/shop/all.yaml": written(deployment("1.2.0"))})
        loop.wake()
        two.until(lambda: two.healthy(*BOTH, tag="1.2.0"))
    assert two.kinds() == Counter(sync_succeeded=4, sync_failed=2)


def test_a_branch_that_is_not_there_is_told_once_and_its_end_too(two: Fleet) -> None:
    """Over a restart too; a repository that cannot be asked is no news of it."""
    with two.running() as loop:
        two.until(lambda: two.healthy(*BOTH))
        two.apply(*two.everywhere(revision="release"))
        loop.wake()
        two.until(lambda: two.kinds()["sync_failed"] == 2)
    with two.running(sync={"poll": "1s"}) as loop:
        two.until(lambda: all("no branch and no tag release" in one.message for one in two.statuses().values()))
        git(two.bare, "branch", "release", "main")
        loop.wake()
        two.until(lambda: two.healthy(*BOTH))
    assert two.kinds() == Counter(sync_succeeded=4, sync_failed=2)
    [failed, _] = [one for one in two.events() if one.kind.value == "sync_failed"]
    assert failed.why.endswith("it has no branch and no tag release")
    assert (failed.new, failed.commit, failed.commit_url) == (None, None, None)


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_one_question_a_repository_and_poll_however_many_applications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet(tmp_path, "cloud") as made:
        made.apply(*(application(f"app-{number}", "cloud", made.url, namespace=f"n{number % 3}",
                                 path=f"apps/{number}") for number in range(20)))  # fmt: skip
        made.commit(
            {f"apps/{number}/all.yaml": written(deployment("1.0.0", name=f"d{number}")) for number in range(20)}
        )
        names = [f"app-{number}" for number in range(20)]
        log, shim = tmp_path / "calls", tmp_path / "bin" / "git"
        with made.running() as loop:
            made.until(lambda: made.healthy(*names))
            shim.parent.mkdir()
            real = shutil.which("git")

            shim.write_text(f'#!/bin/sh\necho "$1" >> {log}\nexec {real} "$@"\n')
            shim.chmod(0o755)
            monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
            head = made.commit({"README.md": b"?"})
            loop.wake()
            made.until(lambda: {one.revision for one in made.statuses().values()} == {head})
        asked = Counter(log.read_text().split())
        assert asked["ls-remote"] == 1
        assert asked["fetch"] == 1
        assert asked["cat-file"] == 0


def test_a_pass_over_many_that_are_as_they_should_asks_nothing(tmp_path: Path) -> None:
    number = 200
    with fleet(tmp_path, "cloud") as made:
        made.commit({
            **{f"applications/{n}.yaml": written(application(f"app-{n}", "cloud", made.url, path=f"apps/{n}"))
               for n in range(number)},
            **{f"apps/{n}/all.yaml": written({"apiVersion": "v1", "kind": "ConfigMap",
                                              "metadata": {"name": f"c{n}"}, "data": {"a": "b"}})
               for n in range(number)},
        })  # fmt: skip
        names = [f"app-{n}" for n in range(number)]
        cloud = made.clusters["cloud"]
        with made.running() as loop:
            made.until(lambda: made.healthy(*names), 300)
            made.until(lambda: cloud.counts["watch configmaps"] == 1)
            cloud.settle()
            cloud.forget()
            head = made.commit({"README.md": b"?"})
            loop.wake()
            made.until(lambda: made.stored_at(head) == number, 100)
        assert [f"{one.verb} {one.resource} {one.name}" for one in cloud.asked() if one.verb != "watch"] == []
