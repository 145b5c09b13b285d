"""SIGTERM in the middle of a cycle: what is under way ends within 20 s, exit code 0, and nothing is left in half."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.gate import Gate
from tests.lab.path import Daemon, WholePath, commits, fsck, head, manifest, processes
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.model.limits import USUAL, Limits

LIMIT = 20.0  # seconds from SIGTERM to the end
HASTY = Limits(drain=3.0)
EVERY_SECOND = {"interval": "1s", "jitter": "0s"}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        yield opened


@pytest.fixture
def bare(path: WholePath) -> Path:
    """A repository behind by one tag."""
    path.push("acme/api", "1.0.0", "1.1.0")
    return path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})


def _image(path: WholePath, **more: Any) -> dict[str, Any]:
    return path.entry("acme/api", poll=EVERY_SECOND) | more


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_idle_daemon_ends_at_once(path: WholePath, bare: Path, number: signal.Signals) -> None:
    path.configure([_image(path, suspend=True)])
    with Daemon(path) as daemon:
        daemon.wait("decided")
        start = time.monotonic()
        daemon.ask(number)
        assert daemon.end() == 0
        assert time.monotonic() - start < 5
    assert daemon.wait("stopped")["drained"] is True
    assert path.run("health").code == 1


def test_a_push_under_way_is_waited_for(path: WholePath, bare: Path) -> None:
    """The server took its time; the commit lands, is told, and the state knows it."""
    path.configure([_image(path)])
    before = head(bare)
    with Gate(bare) as gate, Daemon(path) as daemon:
        gate.wait()
        daemon.ask()
        daemon.wait("stopping")
        assert head(bare) == before
        gate.open()
        assert daemon.end(seconds=LIMIT) == 0
    [revision] = commits(bare, before)
    assert daemon.wait("committed")["revision"] == revision
    assert daemon.wait("stopped")["drained"] is True
    _assert_converged(path, bare, before)


def test_an_answer_of_a_registry_under_way_is_waited_for(path: WholePath, bare: Path) -> None:
    """A slow list of tags arrives after SIGTERM: the cycle that asked for it goes on to its commit."""
    answer, asked = threading.Event(), threading.Event()

    def script(request: Asked) -> Answered:
        asked.set()
        assert answer.wait(LIMIT)
        return reply(200, {"name": "acme/slow", "tags": ["2.0.0", "2.1.0"]})

    with Scripted(script) as slow:
        _configure_both(path, slow)
        path.git.create("slow", {"slow.yaml": manifest(f"{slow.host}/acme/slow", "2.0.0")})
        before = head(path.git.repos / "slow.git")
        with Daemon(path) as daemon:
            assert asked.wait(LIMIT)
            daemon.wait("committed")  # the other registry's image: nobody waits for a slow neighbour
            daemon.ask()
            daemon.wait("stopping")
            answer.set()
            assert daemon.end(seconds=LIMIT) == 0
    assert daemon.wait("stopped")["drained"] is True
    assert len(commits(path.git.repos / "slow.git", before)) == 1


def test_what_never_ends_is_ended_in_time(path: WholePath, bare: Path) -> None:
    """A registry that never answers and a push that never returns: exit 0 within 20 s, and no git is left behind."""
    with Scripted(lambda _: None) as hanging:
        hanging.script = lambda _: reply(500) if hanging.stopped.wait(2 * LIMIT) else None
        _configure_both(path, hanging)
        path.git.create("slow", {"slow.yaml": manifest(f"{hanging.host}/acme/slow", "2.0.0")})
        before = head(bare)
        path.limits = HASTY
        with Gate(bare) as gate:
            with Daemon(path) as daemon:
                gate.wait()
                start = time.monotonic()
                daemon.ask()
                assert daemon.end(seconds=2 * LIMIT) == 0
                assert time.monotonic() - start < LIMIT - (USUAL.drain - HASTY.drain)
                assert processes(str(path.data / "clones")) == []
            assert daemon.wait("stopped")["drained"] is False
            assert head(bare) == before
            assert path.run("health").code == 1
            gate.open()  # the server may still take what was sent, or not
            path.configure([_image(path)])
            assert path.run("once").code == 0
    _assert_converged(path, bare, before)


def _configure_both(path: WholePath, other: Scripted) -> None:
    """Two registries, each with an image in a repository of its own; the other one knows nothing but lists."""
    names: dict[str, Any] = {
        "platforms": [],
        "moved_tag": "follow",
        "poll": EVERY_SECOND,
        "update": [{"repository": "slow"}],
    }
    slow = path.entry("acme/slow", image=f"{other.host}/acme/slow", **names)
    images = [_image(path, update=[{"repository": "fleet"}]), slow]
    plain: dict[str, Any] = {"host": other.host, "insecure": True}
    registries = [*path.settings([])["registries"], plain]
    path.configure(images, ("fleet", "slow"), registries=registries)


def _assert_converged(path: WholePath, bare: Path, before: str) -> None:
    """One commit in all, and the next run finds nothing to do."""
    [revision] = commits(bare, before)
    again = path.run("once", "--json")
    assert (again.code, again.json["commits"], again.json["images"][0]["outcome"]) == (0, [], "up_to_date")
    assert head(bare) == revision
    assert fsck(bare) == ""
