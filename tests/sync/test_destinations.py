"""Which cluster a destination means: by name, or by server in whatever spelling."""

from __future__ import annotations

import pytest

from updater.model.application import Destination
from updater.sync.destinations import IN_CLUSTER, cluster_of

KNOWN = {
    "home": IN_CLUSTER,
    "cloud": "https://API.cloud.example.com:6443/",
    "edge": "https://edge.example.com/k8s/clusters/c-1",
    "edge-2": "https://edge.example.com/k8s/clusters/c-2",
    "six": "https://[FD00::1]:6443",
}

FOUND = [
    ("a name", Destination(name="cloud"), "cloud"),
    ("the cluster that this runs in", Destination(server="https://kubernetes.default.svc"), "home"),
    ("with a slash at its end", Destination(server="https://kubernetes.default.svc/"), "home"),
    ("with its usual port", Destination(server="https://kubernetes.default.svc:443"), "home"),
    ("in other letters", Destination(server="HTTPS://Api.Cloud.example.com:6443"), "cloud"),
    ("behind a path", Destination(server="https://edge.example.com/k8s/clusters/c-2/"), "edge-2"),
    ("by its address", Destination(server="https://[fd00::1]:6443/"), "six"),
]


@pytest.mark.parametrize(("destination", "name"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_a_destination_means_one_cluster(destination: Destination, name: str) -> None:
    assert cluster_of(destination, KNOWN) == name


OF_ALL = "expected that of one of cloud, edge, edge-2, home, six"
UNKNOWN = [
    (
        "an unknown name",
        Destination(name="clod"),
        "unknown cluster 'clod'; expected one of cloud, edge, edge-2, home, six",
    ),
    (
        "the case of a name",
        Destination(name="Cloud"),
        "unknown cluster 'Cloud'; expected one of cloud, edge, edge-2, home, six",
    ),
    (
        "an unknown server",
        Destination(server="https://other:6443"),
        "no cluster has the server 'https://other:6443'; expected that of one of cloud, edge, edge-2, home, six",
    ),
    (
        "another port",
        Destination(server="https://api.cloud.example.com"),
        f"no cluster has the server 'https://api.cloud.example.com'; {OF_ALL}",
    ),
    (
        "a path in other letters",
        Destination(server="https://edge.example.com/K8S/clusters/c-2"),
        f"no cluster has the server 'https://edge.example.com/K8S/clusters/c-2'; {OF_ALL}",
    ),
    (
        "a line break",
        Destination(name="a\nb"),
        "unknown cluster 'a\\nb'; expected one of cloud, edge, edge-2, home, six",
    ),
]


@pytest.mark.parametrize(("destination", "said"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_a_destination_that_is_not_known_names_those_that_are(destination: Destination, said: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        cluster_of(destination, KNOWN)
    assert str(refused.value) == said


def test_without_clusters_it_says_so() -> None:
    with pytest.raises(ValueError, match="unknown cluster 'a'; expected a cluster, and none is configured"):
        cluster_of(Destination(name="a"), {})


def test_a_server_of_several_clusters_is_nobodys() -> None:
    """Two logins to one cluster: which of them is meant, only a name can say."""
    known = {"b": "https://api:6443", "a": "https://API:6443/", "c": "https://other"}
    with pytest.raises(ValueError, match=r"several clusters have the server 'https://api:6443'; .* one of a, b$"):
        cluster_of(Destination(server="https://api:6443"), known)
    assert cluster_of(Destination(name="a"), known) == "a"


def test_a_server_that_is_no_address_is_compared_as_it_is() -> None:
    assert cluster_of(Destination(server="https://[x"), {"odd": "https://[x"}) == "odd"
