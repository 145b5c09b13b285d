"""Two updaters that want different versions in one repository: they stop, one of them says so, once, and both rest."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_run import PATIENCE, QUICK, kinds, notifications, watching
from tests.lab.git import git
from tests.lab.path import WholePath, manifest
from updater.demo.sink import MessageSink

FIRST: dict[str, Any] = {"range": "1.x"}
SECOND: dict[str, Any] = {"range": "<1.2.0", "downgrade": "allow"}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        opened.create("fleet", {"api.yaml": manifest(opened.image("acme/api"), "1.0.0")})
        yield opened


@pytest.fixture
def sinks() -> Iterator[tuple[MessageSink, MessageSink]]:
    with MessageSink() as first, MessageSink() as second:
        yield first, second


def updater(path: WholePath, name: str, sink: MessageSink, policy: dict[str, Any]) -> Path:
    """Configure one of them, with a state and clones of its own."""
    entry = path.entry("acme/api", **(policy | QUICK))
    config = path.folder / f"{name}.yaml"
    whole = path.settings([entry]) | {"data": str(path.folder / name), "notifications": notifications(sink)}
    config.write_text(json.dumps(whole))
    return config


def ours(path: WholePath) -> list[str]:
    """What was committed since the first commit, the oldest first."""
    return git(path.git.repos / "fleet.git", "log", "--reverse", "--format=%s", "main").splitlines()[1:]


@pytest.mark.parametrize("order", [0, 1])
def test_they_stop_after_a_round_and_go_on_when_one_is_resumed(
    path: WholePath, sinks: tuple[MessageSink, MessageSink], order: int
) -> None:
    configs = [updater(path, f"updater{n}", sinks[n], (FIRST, SECOND)[n]) for n in (0, 1)]
    turns = configs[:: -1 if order else 1]

    def rounds(count: int) -> set[tuple[int, str]]:
        """Let them run in turn; return which of them held for which reason at the end."""
        for _ in range(count):
            found = [(configs.index(c), path.run("once", "--json", config=c)) for c in turns]
        assert {ran.code for _, ran in found} == {0}
        return {(n, row["reason"]) for n, ran in found for row in ran.json["images"] if row["outcome"] == "held"}

    assert rounds(1) == set()
    path.push("acme/api", "1.1.0", "1.2.0")
    stopped = rounds(2)
    assert [reason for _, reason in stopped] == ["flapping"]
    ((quarrelling, _),) = stopped
    quarrel = ours(path)
    assert 1 <= len(quarrel) <= 2
    assert rounds(1) == stopped
    assert ours(path) == quarrel
    assert [kinds(sink).count("flapping") for sink in sinks] == [int(n == quarrelling) for n in (0, 1)]
    assert path.run("resume", "api", config=configs[quarrelling]).code == 0
    again = rounds(2)
    assert [reason for _, reason in again] == ["flapping"]
    assert again != stopped  # it has its way, and now the other one holds
    assert len(ours(path)) == len(quarrel) + 1
    assert [kinds(sink).count("flapping") for sink in sinks] == [1, 1]


def test_two_daemons_at_once_rest_after_a_round(path: WholePath, sinks: tuple[MessageSink, MessageSink]) -> None:
    configs = [updater(path, f"updater{n}", sinks[n], (FIRST, SECOND)[n]) for n in (0, 1)]
    with (
        watching(path.start("run", config=configs[0])) as first,
        watching(path.start("run", config=configs[1])) as second,
    ):
        for daemon in (first, second):
            daemon.wait("decided", outcome="up_to_date")
        path.push("acme/api", "1.1.0", "1.2.0")
        flapping = queue.SimpleQueue[str]()
        readers = [threading.Thread(target=_until_flapping, args=(sink, flapping), daemon=True) for sink in sinks]
        for reader in readers:
            reader.start()
        flapping.get(timeout=PATIENCE)
        quarrel = ours(path)
        assert [daemon.stop() for daemon in (first, second)] == [0, 0]
    assert 1 <= len(quarrel) <= 2
    for config in (*configs, *configs):
        assert path.run("once", config=config).code == 0
    assert ours(path) == quarrel
    assert sum(kinds(sink).count("flapping") for sink in sinks) == 1


def _until_flapping(sink: MessageSink, flapping: queue.SimpleQueue[str]) -> None:
    for count in range(1, 10):
        with suppress(TimeoutError):
            sink.wait(count, PATIENCE)
        if "flapping" in kinds(sink):
            flapping.put(sink.url)
            return
