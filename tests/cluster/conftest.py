"""A cluster on loopback for each test, and a client that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from updater.cluster.client import Cluster
from updater.cluster.login import Login, kubeconfig
from updater.demo.cluster.server import ClusterServer
from updater.transport.pace import Breaker

Connect = Callable[..., Cluster]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClusterServer]:
    with ClusterServer(tmp_path / "cluster") as running:
        yield running


def login_of(path: Path) -> Login:
    return kubeconfig(path.read_text(), None, (), path.parent)


@pytest.fixture
def connect(server: ClusterServer) -> Iterator[Connect]:
    """Make clients of the server, or of another login; closed in the end. They never wait between tries."""
    made: list[Cluster] = []

    def new(login: Login | None = None, **options: Any) -> Cluster:
        given: dict[str, Any] = {"rate": None, "sleep": lambda _: None} | options
        given.setdefault("breaker", Breaker(random=lambda: 0.0))
        made.append(Cluster("cloud", login or login_of(server.kubeconfig), **given))
        return made[-1]

    yield new
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(connect: Connect) -> Cluster:
    return connect()
