"""Every application goes to the cluster that its destination means."""

from __future__ import annotations

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
        found = Looker(world, Sources(clones(configured)), {}).look(Known())
    finally:
        cluster.close()
    assert [one.cluster for one in found.assigned.values()] == ["here"] * known
    assert bool(found.problems) is not known
