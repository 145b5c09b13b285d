"""Who owns which field."""

from __future__ import annotations

from typing import Any

import pytest

from updater.sync.managed import Item, Value, leaves, only, owners, spelled, taken, trees

WEB = 'k:{"name":"web"}'
PORT = 'k:{"containerPort":80,"protocol":"TCP"}'
TREE = {
    "f:metadata": {"f:labels": {".": {}, "f:app.example.com/name": {}}, "f:finalizers": {'v:"example.com/keep"': {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {"f:containers": {WEB: {".": {}, "f:name": {}, "f:image": {}, "f:ports": {PORT: {}}}}}
        },
    },
}


def live(**managers: Any) -> dict[str, Any]:
    entries = [
        {"manager": name.replace("_", "-"), "operation": "Apply", "fieldsV1": tree} for name, tree in managers.items()
    ]
    return {"metadata": {"name": "web", "managedFields": entries}}


def web(**entry: Any) -> Item:
    return Item((("name", '"web"'),), {"name": "web", **entry})


CONTAINER = ("spec", "template", "spec", "containers", web(image="web:1"))
OWNERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a field": (("spec", "replicas"), ("us",)),
    "a field that nobody owns": (("spec", "paused"), ()),
    "a field of an entry": ((*CONTAINER, "image"), ("us",)),
    "an entry": (CONTAINER, ("us",)),
    "an entry with another name": ((*CONTAINER[:-1], Item((("name", '"log"'),), {"name": "log"})), ()),
    "a field of an entry that nobody owns": ((*CONTAINER, "command"), ()),
    "an entry with two keys": (
        (*CONTAINER, "ports", Item((), {"containerPort": 80, "protocol": "TCP", "name": "http"})),
        ("us",),
    ),
    "all below a leaf": (("spec", "selector", "matchLabels", "app"), ("us",)),
    "something in a field": (("spec",), ("us",)),
    "a value of a list": (("metadata", "finalizers", Value('"example.com/keep"')), ("us",)),
    "another value of a list": (("metadata", "finalizers", Value('"other"')), ()),
    "a name with dots and a slash": (("metadata", "labels", "app.example.com/name"), ("us",)),
}


@pytest.mark.parametrize(("path", "expected"), OWNERS.values(), ids=OWNERS)
def test_the_owners_of(path: Any, expected: tuple[str, ...]) -> None:
    assert owners(live(us=TREE), path) == expected


def test_several_owners_are_named_in_order_and_once() -> None:
    found = live(
        kubectl_edit={"f:spec": {"f:replicas": {}}}, hpa={"f:spec": {"f:replicas": {}}}, us={"f:spec": {"f:paused": {}}}
    )
    found["metadata"]["managedFields"] *= 2
    assert owners(found, ("spec", "replicas")) == ("hpa", "kubectl-edit")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({}, id="no metadata"),
        pytest.param({"metadata": {"managedFields": "none"}}, id="a text"),
        pytest.param({"metadata": {"managedFields": ["x", {"fieldsV1": 3}, {"manager": "m"}]}}, id="odd entries"),
        pytest.param(
            {"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"k:{": {}, "f:a": 3, "x": {}}}}]}}, id="odd trees"
        ),
    ],
)
def test_what_cannot_be_read_owns_nothing(odd: dict[str, Any]) -> None:
    assert owners(odd, ("spec", web(), "image")) == ()


def test_paths_are_spelled_as_people_read_them() -> None:
    assert sorted(map(spelled, leaves(TREE))) == [
        '.metadata.finalizers[="example.com/keep"]',
        ".metadata.labels",
        '.metadata.labels["app.example.com/name"]',
        ".spec.replicas",
        ".spec.selector",
        '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].image',
        '.spec.template.spec.containers[name="web"].name',
        '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]',
    ]
    assert spelled(("args", 2)) == ".args[2]"


def spec(*names: str) -> dict[str, Any]:
    return {"f:spec": {f"f:{name}": {} for name in names}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(live(hpa=spec("replicas")), live(us=spec("replicas")), ((".spec.replicas", "hpa"),), id="taken"),
        pytest.param(live(hpa=spec("replicas")), live(hpa=spec("replicas"), us=spec("replicas")), (), id="shared"),
        pytest.param(live(hpa=spec("a"), us=spec("a")), live(us=spec("a")), (), id="it was ours too"),
        pytest.param(live(), live(us=spec("a")), (), id="nobody had it"),
        pytest.param(
            live(hpa=spec("a", "b")), live(hpa=spec("a"), us=spec("b")), ((".spec.b", "hpa"),), id="one of two"
        ),
        pytest.param(live(a=spec("x"), b=spec("x")), live(us=spec("x")), ((".spec.x", "a, b"),), id="from two"),
    ],
)
def test_what_an_apply_took_from_others(before: Any, after: Any, expected: Any) -> None:
    assert taken(before, after, "us") == expected


def test_the_trees_of_one_manager() -> None:
    assert trees(live(us=spec("a"), hpa=spec("b")), "hpa") == [spec("b")]


def test_a_tree_is_cut_down_to_the_fields_that_are_named() -> None:
    image = spelled((*CONTAINER, "image"))
    assert only(TREE, {".spec.replicas", image, ".spec.paused"}) == {
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {WEB: {"f:image": {}}}}}}
    }
    assert only(TREE, {".spec"}) == {"f:spec": {}}
    assert only(TREE, set()) == {}
