"""The servers of the lab, started once a worker, and clones of their repositories."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.git import SERVERS, Embedded, OldSsh, Room, Server, Ssh

Calls = Callable[[], list[str]]


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each server in turn; one whose programs are not installed is left out by name."""
    yield from _running(SERVERS[request.param], tmp_path_factory)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _running(Embedded, tmp_path_factory)


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _running(Ssh, tmp_path_factory)


@pytest.fixture(scope="session")
def old_ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _running(OldSsh, tmp_path_factory)


def _running(kind: type[Server], folders: pytest.TempPathFactory) -> Iterator[Server]:
    if missing := kind.missing():
        pytest.skip(f"left out: the server {kind.__name__} needs {', '.join(missing)}")
    running = kind(folders.mktemp(kind.__name__) / "s")
    yield running
    running.close()


@pytest.fixture
def room(server: Server, tmp_path: Path) -> Room:
    """A repository for this test alone, on each server in turn."""
    return Room(server, tmp_path.name, tmp_path)


@pytest.fixture
def one(embedded: Server, tmp_path: Path) -> Room:
    """A repository for this test alone, where the kind of server does not matter."""
    return Room(embedded, tmp_path.name, tmp_path)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A `git` before the real one that notes what it is asked for and what it sees, and gives it on."""
    shim, real = tmp_path / "bin" / "git", shutil.which("git")
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\nenv >> {tmp_path}/seen\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")

    def made() -> list[str]:
        """The commands since the last time."""
        log = tmp_path / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        commands = [line.split()[0] for line in lines]
        return [command for command in commands if command not in {"http-backend", "version"}]  # the server, GitPython

    return made
