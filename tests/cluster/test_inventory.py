"""What an application has in a cluster, kept there; and taking over what another tool has applied."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.conftest import Connect
from tests.cluster.made import config_map, deployment
from updater.cluster.adopt import adopt, taken_over
from updater.cluster.client import MANAGER, Cluster
from updater.cluster.inventory import Inventory
from updater.demo.cluster.server import ClusterServer
from updater.errors import Absent, Refused
from updater.model.resource import Key, Resource
from updater.sync.inventory import ID, TOOLING_NAME, identity, parent_key

ONE, TWO = Key("apps", "Deployment", "default", "web"), Key("", "Service", "default", "web")


@pytest.fixture
def inventory(cluster: Cluster) -> Inventory:
    return Inventory(cluster, "shop", "default")


def test_an_application_without_inventory_has_nothing(inventory: Inventory) -> None:
    assert inventory.read() == frozenset()


def test_what_was_stays_until_the_prune_is_over(inventory: Inventory) -> None:
    assert inventory.widen([ONE]) == {ONE}
    assert inventory.widen([TWO]) == {ONE, TWO}
    assert inventory.read() == {ONE, TWO}
    inventory.shrink([TWO])
    assert inventory.read() == {TWO}


def test_it_lies_where_kubectl_looks_for_it(server: ClusterServer, inventory: Inventory) -> None:
    inventory.widen([ONE, TWO])
    found = server.get("ConfigMap", "updater-shop", "default")
    assert found is not None
    assert found["metadata"]["labels"] == {ID: identity("shop", "default")}
    annotations = found["metadata"]["annotations"]
    assert annotations["applyset.kubernetes.io/contains-group-kinds"] == "Deployment.apps,Service"


def test_nothing_is_written_where_nothing_changed(server: ClusterServer, inventory: Inventory) -> None:
    inventory.widen([ONE, TWO])
    server.forget()
    inventory.widen([ONE])
    inventory.shrink([ONE, TWO])
    assert server.asked(writes=True) == []


def test_an_inventory_of_nothing_goes(server: ClusterServer, inventory: Inventory) -> None:
    inventory.widen([ONE])
    inventory.shrink([])
    assert server.get("ConfigMap", "updater-shop", "default") is None
    inventory.shrink([])


def test_another_tools_inventory_is_left_alone(server: ClusterServer, cluster: Cluster, inventory: Inventory) -> None:
    key = parent_key("shop", "default")
    theirs = {"labels": {ID: identity("shop", "default")}, "annotations": {TOOLING_NAME: "kubectl/v1.34"}}
    metadata = {"name": key.name, "namespace": key.namespace, **theirs}
    cluster.apply(Resource.of({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    server.forget()
    for change in (
        inventory.read,
        lambda: inventory.widen([ONE]),
        lambda: inventory.shrink([]),
        lambda: inventory.shrink([ONE]),
    ):
        with pytest.raises(Refused, match=r"inventory at cluster cloud: .* belongs to kubectl") as caught:
            change()
        assert caught.value.reason == "ForeignInventory"
    assert server.asked(writes=True) == []


def test_an_inventory_needs_its_namespace(cluster: Cluster) -> None:
    with pytest.raises(Absent):
        Inventory(cluster, "shop", "nowhere").widen([ONE])


# --- taking over -----------------------------------------------------------------------------------------------------


def by_another_tool(connect: Connect, manager: str, resource: Resource) -> None:
    """Apply as a client-side tool does: a plain create whose fields it owns by Update."""
    other = connect()
    other.create(resource)
    live = other.get(resource.key)
    assert live is not None
    entries = [{**one, "manager": manager} for one in live["metadata"]["managedFields"] if not one.get("subresource")]
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": entries}]
    owned = other.patch(resource.key, patch, kind="json")["metadata"]["managedFields"]
    assert [one["manager"] for one in owned] == [manager]


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "argocd-controller", "helm"])
def test_a_field_that_git_no_longer_has_goes_after_the_object_was_adopted(
    connect: Connect, cluster: Cluster, manager: str
) -> None:
    by_another_tool(connect, manager, config_map(level="info", color="red"))
    assert adopt(cluster, config_map().key) == (manager,)
    assert cluster.apply(config_map(level="info"))["data"] == {"level": "info"}
    assert adopt(cluster, config_map().key) == ()


def test_a_field_of_somebody_else_stays(connect: Connect, server: ClusterServer, cluster: Cluster) -> None:
    by_another_tool(connect, "somebody", config_map(level="info", color="red"))
    server.forget()
    assert adopt(cluster, config_map().key) == ()
    assert server.asked(writes=True) == []
    assert cluster.apply(config_map(level="info"))["data"] == {"level": "info", "color": "red"}


def test_there_is_nothing_to_adopt_of_an_object_that_is_not_there(cluster: Cluster) -> None:
    assert adopt(cluster, config_map().key) == ()


def test_a_change_in_between_is_not_lost(connect: Connect, server: ClusterServer, cluster: Cluster) -> None:
    by_another_tool(connect, "helm", config_map(level="info"))
    other = connect()
    overtaken: list[str] = []

    def overtake(asked: Any) -> None:
        if asked.method == "PATCH" and not overtaken:
            overtaken.append(asked.path)
            other.patch(config_map().key, {"data": {"color": "red"}}, kind="merge")

    server.script = overtake
    assert adopt(cluster, config_map().key) == ("helm",)
    assert (cluster.get(config_map().key) or {})["data"] == {"level": "info", "color": "red"}


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields} | more


Fields = dict[str, Any]
SPEC: Fields = {"f:spec": {"f:replicas": {}}}
IMAGE: Fields = {"f:spec": {"f:template": {"f:image": {}}}}
BOTH: Fields = {"f:spec": {"f:replicas": {}, "f:template": {"f:image": {}}}}
SCALED = entry("helm", "Update", SPEC, subresource="scale")
OTHER = entry("kube-controller-manager", "Update", {"f:status": {}}, subresource="status")


@pytest.mark.parametrize(
    ("entries", "expected", "owners"),
    [
        ([entry("helm", "Update", SPEC)], [entry(MANAGER, "Apply", SPEC)], ("helm",)),
        ([entry("helm", "Update", SPEC), OTHER], [entry(MANAGER, "Apply", SPEC), OTHER], ("helm",)),
        ([entry(MANAGER, "Apply", IMAGE), entry("helm", "Update", SPEC)], [entry(MANAGER, "Apply", BOTH)], ("helm",)),
        (
            [entry("helm", "Update", SPEC), entry("argocd-controller", "Apply", IMAGE)],
            [entry(MANAGER, "Apply", BOTH)],
            ("argocd-controller", "helm"),
        ),
        ([SCALED], [SCALED], ()),
        ([OTHER], [OTHER], ()),
        ([], [], ()),
    ],
    ids=["theirs becomes ours", "others stay", "merged into ours", "two tools", "a subresource", "foreign", "none"],
)  # fmt: skip
def test_their_entries_are_merged_into_ours(entries: Any, expected: Any, owners: tuple[str, ...]) -> None:
    assert taken_over(entries, frozenset({"helm", "argocd-controller"})) == (expected, owners)


def test_fields_of_another_version_of_the_api_are_not_mixed() -> None:
    ours, theirs = entry(MANAGER, "Apply", SPEC), entry("helm", "Update", IMAGE) | {"apiVersion": "apps/v1beta1"}
    assert taken_over([ours, theirs], frozenset({"helm"})) == ([ours, theirs], ())


def test_a_deployment_that_helm_installed_is_ours_after_the_first_apply(connect: Connect, cluster: Cluster) -> None:
    by_another_tool(connect, "helm", deployment(replicas=3, paused=True))
    adopt(cluster, deployment().key)
    assert "paused" not in cluster.apply(deployment(replicas=3))["spec"]
