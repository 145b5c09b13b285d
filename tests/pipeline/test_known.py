"""Every application goes to the cluster that its destination means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.config import settings
from updater.cluster.client import Cluster
from updater.cluster.login import in_cluster
from updater.daemon.build import clones
from updater.pipeline.known import Known, Looker
from updater.pipeline.sources import Sources
from updater.pipeline.world import Site, World
from updater.renderers.front import Front

APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop}
spec:
  source: {repoURL: "https://127.0.0.1:1/fleet.git"}
  destination: {DESTINATION, namespace: shop}
"""
CONFIG = """\
data: data
clusters: [{name: here, in_cluster: true}]
applications: [{directory: applications}]
"""


@contextmanager
def looker(tmp_path: Path, destination: str) -> Iterator[Looker]:
    """A looker in a pod of its own cluster; one application is in the folder `applications`."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("t0ken-of-the-pod")
    (account / "ca.crt").write_text("")
    (tmp_path / "applications").mkdir()
    (tmp_path / "applications" / "shop.yaml").write_text(APPLICATION.replace("DESTINATION", destination))
    configured = settings(tmp_path, CONFIG)
    cluster = Cluster("here", in_cluster(account, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}))
    world = World(configured, Front.below(tmp_path / "renders"), {"here": Site(cluster)}, secret_key=b"k")
    try:
        yield Looker(world, Sources(clones(configured)), {})
    finally:
        cluster.close()


@pytest.mark.parametrize(
    ("destination", "known"),
    [
        ("name: here", True),
        ("server: https://kubernetes.default.svc", True),
        ("server: https://kubernetes.default.svc:443/", True),
        ("server: https://10.0.0.1", False),
        ("name: there", False),
    ],
)
def test_argo_cd_s_address_means_the_cluster_that_this_runs_in(
    tmp_path: Path, destination: str, *, known: bool
) -> None:
    with looker(tmp_path, destination) as here:
        found = here.look(Known())
    assert [one.cluster for one in found.assigned.values()] == ["here"] * known
    assert bool(found.problems) is not known


def test_mistakes_stay_as_they_are_known_while_manifests_cannot_be_read(tmp_path: Path) -> None:
    """They would be told again after every outage."""
    folder, away = tmp_path / "applications", tmp_path / "away"
    with looker(tmp_path, "name: there") as here:
        first = here.look(Known())
        folder.rename(away)
        second = here.look(first)
        never = here.look(Known())
        away.rename(folder)
        (folder / "shop.yaml").write_text(APPLICATION.replace("DESTINATION", "name: here"))
        third = here.look(second)
    assert len(first.mistakes or []) == 1
    assert second.unread
    assert second.mistakes == first.mistakes
    assert never.mistakes is None
    assert third.mistakes == []
