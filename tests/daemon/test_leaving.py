"""Applications that are gone from Git: their objects go with them where their manifests asked for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.lab.fleet import Fleet, application, fleet
from updater.demo.cluster.asked import refuse

FINALIZER = "resources-finalizer.argocd.argoproj.io"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud") as made:
        made.apply(application("stays", "cloud", made.url, namespace="stays"))
        yield made


def bound(made: Fleet, name: str) -> Any:
    """Return an application that takes its objects along, in a namespace of its own."""
    found = application(name, "cloud", made.url, namespace=name)
    found["metadata"]["finalizers"] = [FINALIZER]
    return found


def test_the_objects_go_with_their_application(one: Fleet) -> None:
    one.apply(bound(one, "goes"))
    with one.running() as loop:
        one.until(lambda: one.healthy("stays", "goes"))
        one.remove("applications/goes.yaml")
        loop.wake()
        one.until(lambda: "goes" not in one.statuses())
        assert (one.live("cloud", namespace="goes"), bool(one.live("cloud", namespace="stays"))) == ({}, True)


@pytest.mark.parametrize("fault", [None, refuse(503)], ids=["and is there", "and is out at first"])
def test_the_objects_go_also_where_the_daemon_was_away_meanwhile(one: Fleet, fault: Any) -> None:
    one.apply(bound(one, "goes"))
    with one.running():
        one.until(lambda: one.healthy("stays", "goes"))
    one.remove("applications/goes.yaml")
    one.clusters["cloud"].script = lambda _: fault
    if fault:
        with one.running():
            one.until(lambda: bool(one.clusters["cloud"].counts["get configmaps"]))
            assert "goes" in one.statuses()
    one.clusters["cloud"].script = None
    with one.running():
        one.until(lambda: "goes" not in one.statuses())
        assert one.live("cloud", namespace="goes") == {}


def test_many_that_vanish_at_once_stay_until_that_is_sure(one: Fleet) -> None:
    """Back in Git, nothing has happened to them; and one alone may still go."""
    names = [f"goes{number}" for number in range(4)]
    one.apply(*(bound(one, name) for name in names))
    with capture_logs() as said, one.running() as loop:
        one.until(lambda: one.healthy("stays", *names))
        for name in names:
            one.remove(f"applications/{name}.yaml")
        loop.wake()
        one.until(lambda: held(said) == names)
        assert all(one.live("cloud", namespace=name) for name in names)
        assert set(names) < set(one.statuses())
        one.apply(*(bound(one, name) for name in names))
        loop.wake()
        one.until(lambda: one.healthy(*names))
        one.remove("applications/goes0.yaml")
        loop.wake()
        one.until(lambda: "goes0" not in one.statuses())
        assert one.live("cloud", namespace="goes0") == {}
        assert all(one.live("cloud", namespace=name) for name in names[1:])


def test_the_last_application_leaves_its_objects(one: Fleet) -> None:
    one.remove("applications/stays.yaml")
    one.apply(bound(one, "goes"))
    with capture_logs() as said, one.running() as loop:
        one.until(lambda: one.healthy("goes"))
        one.remove("applications/goes.yaml")
        loop.wake()
        one.until(lambda: held(said) == ["goes"])
    assert one.live("cloud", namespace="goes")
    assert "goes" in one.statuses()


def held(said: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the applications whose removal was held up, as the last line says it."""
    lines = [line["applications"] for line in list(said) if line["event"] == "removal_held"]
    return lines[-1] if lines else []
