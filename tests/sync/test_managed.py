"""Who owns which field, and what is left of an object without the fields of somebody."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.sync.managed import Item, Value, leaves, merged, owners, spelled, strip, taken, trees

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


STRIPPED: dict[str, tuple[Any, Any, Any]] = {
    "a field": ({"a": 1, "b": 2}, {"f:a": {}}, {"b": 2}),
    "a field that is not there": ({"b": 2}, {"f:a": {}}, {"b": 2}),
    "all of a container": ({"a": {"x": 1}, "b": 2}, {"f:a": {"f:x": {}}}, {"b": 2}),
    "a container that was empty before": ({"a": {}, "b": {}}, {"f:a": {"f:x": {}}}, {"b": {}}),
    "a false value stays": ({"a": 0}, {"f:a": {"f:x": {}}}, {"a": 0}),
    "a field of an entry": (
        [{"name": "web", "image": 1, "args": 2}],
        {WEB: {"f:image": {}}},
        [{"name": "web", "args": 2}],
    ),
    "not the key of an entry": (
        [{"name": "web", "image": 1}],
        {WEB: {".": {}, "f:name": {}}},
        [{"name": "web", "image": 1}],
    ),
    "an entry that is all theirs": ([{"name": "web", "image": 1}], {WEB: {".": {}, "f:name": {}, "f:image": {}}}, []),
    "the fields of an entry, not itself": ([{"name": "web", "image": 1}], {WEB: {"f:image": {}}}, [{"name": "web"}]),
    "a whole entry": ([{"name": "web"}, {"name": "log"}], {WEB: {}}, [{"name": "log"}]),
    "a value": (["a", "b"], {'v:"a"': {}}, ["b"]),
    "by index": (["a", "b", "c"], {"i:0": {}, "i:2": {}}, ["b"]),
    "inside an entry by index": ([{"a": 1, "b": 2}, "x"], {"i:0": {"f:a": {}}, "i:1": {"f:a": {}}}, [{"b": 2}, "x"]),
    "a list in a list": ([["a", "b"]], {"i:0": {"i:1": {}}}, [["a"]]),
    "odd trees": ({"a": [1]}, {"f:a": {"k:{": {}, "f:x": {}}, "f:b": 3}, {"a": [1]}),
}


@pytest.mark.parametrize(("value", "tree", "left"), STRIPPED.values(), ids=STRIPPED)
def test_what_is_left_without(value: Any, tree: Any, left: Any) -> None:
    assert strip(value, tree) == left


def test_trees_are_merged_and_a_leaf_holds_all_below_it() -> None:
    one: Any = {"f:a": {"f:x": {}}, "f:b": {"f:y": {}}}
    two: Any = {"f:a": {"f:z": {}}, "f:b": {}}
    expected: Any = {"f:a": {"f:x": {}, "f:z": {}}, "f:b": {}}
    assert merged([one, two]) == expected
    assert merged([two, one]) == expected


def test_the_trees_of_one_manager() -> None:
    assert trees(live(us=spec("a"), hpa=spec("b")), "hpa") == [spec("b")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "name"]), inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from(["f:a", "f:b", "f:name", ".", "i:0", "i:1", 'v:"a"', 'k:{"name":"a"}', "k:{", "?"])
TREES: st.SearchStrategy[Any] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=10
)


@given(value=JSON, tree=TREES)
def test_stripping_twice_is_stripping_once_where_there_are_no_indexes(value: Any, tree: Any) -> None:
    before = repr(value)
    once = strip(value, tree)
    assert repr(value) == before
    if "i:" not in repr(tree):
        assert strip(once, tree) == once
