"""The servers of the lab, started once a worker, and clones of their repositories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.git import SERVERS, Embedded, OldSsh, Room, Server, Ssh


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
