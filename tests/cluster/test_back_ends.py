"""The same against the stand-in and, where one can be had, a genuine API server: what we take for granted of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import login_of
from tests.cluster.made import config_map, deployment, secret
from tests.lab.cluster import back_ends, started
from updater.cluster.adopt import adopt
from updater.cluster.client import Cluster
from updater.cluster.inventory import Inventory
from updater.errors import Absent, Conflict, Refused, UnknownKind
from updater.model.resource import Key, Resource


@pytest.fixture(scope="module", params=back_ends())
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    with started(request.param, folder) as running:
        client = Cluster("cloud", login_of(running.kubeconfig), rate=None)
        yield client
        client.close()


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    test: str = request.node.originalname
    name = test.replace("_", "-")[:50].rstrip("-")
    cluster.apply(Resource.of({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    return name


def test_fields_have_owners(cluster: Cluster, namespace: str) -> None:
    cluster.apply(config_map(namespace=namespace, level="info", color="red"))
    assert cluster.apply(config_map(namespace=namespace, level="info"))["data"] == {"level": "info"}
    cluster.replace(config_map(namespace=namespace, level="debug"))
    with pytest.raises(Conflict) as caught:
        cluster.apply(config_map(namespace=namespace, level="info"), force=False)
    assert caught.value.fields == ((".data.level", "updater"),)
    assert cluster.apply(config_map(namespace=namespace, level="info"))["data"] == {"level": "info"}


def test_a_dry_run_shows_defaults_and_stores_nothing(cluster: Cluster, namespace: str) -> None:
    predicted = cluster.apply(deployment(namespace=namespace), dry_run=True)
    assert predicted["spec"]["replicas"] == 1
    assert cluster.get(deployment(namespace=namespace).key) is None


def test_fields_from_another_tool_go_after_it_was_adopted(cluster: Cluster, namespace: str) -> None:
    key = config_map(namespace=namespace).key
    live = cluster.create(config_map(namespace=namespace, level="info", color="red"))
    entries = [{**entry, "manager": "helm"} for entry in live["metadata"]["managedFields"]]
    cluster.patch(key, [{"op": "replace", "path": "/metadata/managedFields", "value": entries}], kind="json")
    assert adopt(cluster, key) == ("helm",)
    assert cluster.apply(config_map(namespace=namespace, level="info"))["data"] == {"level": "info"}


def test_refusals_have_the_same_meaning(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(UnknownKind):
        cluster.get(Key("example.com", "Widget", namespace, "x"))
    with pytest.raises(Absent):
        cluster.apply(config_map(namespace="nowhere"))
    with pytest.raises(Refused):
        cluster.apply(config_map("Not A Name", namespace))
    with pytest.raises(Refused, match="field not declared in schema"):
        cluster.apply(deployment(namespace=namespace, bogus=1))
    cluster.apply(deployment(namespace=namespace))
    with pytest.raises(Refused, match="immutable") as caught:
        cluster.apply(deployment(namespace=namespace, selector={"matchLabels": {"app": "other"}}))
    assert caught.value.reason == "Invalid"


def test_only_metadata_is_asked_for_where_that_is_enough(cluster: Cluster, namespace: str) -> None:
    assert not cluster.exists(secret(namespace=namespace).key)
    cluster.apply(secret(namespace=namespace, password="aHVudGVyMg=="))
    assert cluster.exists(secret(namespace=namespace).key)


def test_lists_and_watches_fit_together(cluster: Cluster, namespace: str) -> None:
    kind, labels = cluster.kind_of("", "ConfigMap"), {"of": namespace}
    cluster.apply(config_map("one", namespace, labels=labels))
    listing = cluster.list(kind, selector=f"of={namespace}")
    assert [kind.key(item).name for item in listing.items] == ["one"]
    watch = cluster.watch(kind, selector="of", resource_version=listing.resource_version, seconds=60)
    changes = iter(watch)
    cluster.apply(config_map("two", namespace, labels=labels))
    cluster.delete(config_map("one", namespace).key, propagation="Background")
    assert [(change.type, kind.key(change.object).name) for change in (next(changes), next(changes))] == [
        ("ADDED", "two"), ("DELETED", "one"),
    ]  # fmt: skip
    watch.close()


def test_an_inventory_is_kept(cluster: Cluster, namespace: str) -> None:
    inventory, key = Inventory(cluster, "shop", namespace), Key("apps", "Deployment", namespace, "web")
    assert inventory.widen([key]) == {key}
    assert inventory.read() == {key}
    inventory.shrink([])
    assert inventory.read() == frozenset()
