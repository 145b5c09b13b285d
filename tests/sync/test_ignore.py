"""Differences that do not count, and what is left of an object without them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.sync.ignore import ignored_fields, matches, merged, strip, tokens

WEB = Key("apps", "Deployment", "shop", "web")
CONF = Key("", "ConfigMap", "shop", "conf")


@pytest.mark.parametrize(
    ("ignored", "key", "expected"),
    [
        pytest.param(Ignored("apps", "Deployment"), WEB, True, id="group and kind"),
        pytest.param(Ignored("", "Deployment"), WEB, False, id="no group is the core group"),
        pytest.param(Ignored("", "ConfigMap"), CONF, True, id="which has ConfigMaps"),
        pytest.param(Ignored("*", "*"), WEB, True, id="any"),
        pytest.param(Ignored("apps", "*"), WEB, True, id="any kind of a group"),
        pytest.param(Ignored("apps", "*"), CONF, False, id="and of no other"),
        pytest.param(Ignored("apps", "Deployment", name="web"), WEB, True, id="a name"),
        pytest.param(Ignored("apps", "Deployment", name="api"), WEB, False, id="another name"),
        pytest.param(Ignored("apps", "Deployment", namespace="shop"), WEB, True, id="a namespace"),
        pytest.param(Ignored("apps", "Deployment", namespace="zoo"), WEB, False, id="another namespace"),
        pytest.param(Ignored("apps", "Deployment", name="w*"), WEB, True, id="a glob"),
        pytest.param(Ignored("apps", "deployment"), WEB, False, id="small letters are others"),
    ],
)
def test_which_objects_a_rule_is_about(ignored: Ignored, key: Key, expected: bool) -> None:
    assert matches(ignored, key) is expected


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/spec/replicas", ("spec", "replicas")),
        ("/data/a~1b", ("data", "a/b")),
        ("/data/a~0b", ("data", "a~b")),
        ("/data/~01", ("data", "~1")),
        ("/spec/containers/0/image", ("spec", "containers", "0", "image")),
        ("/data/", ("data", "")),
    ],
)
def test_the_parts_of_a_pointer(pointer: str, expected: tuple[str, ...]) -> None:
    assert tokens(pointer) == expected


@pytest.mark.parametrize(
    "pointer", ["", "spec/replicas", ".spec", "/a~2", "/a~"], ids=["all", "no slash", "dots", "~2", "~"]
)
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="found the JSON pointer"):
        tokens(pointer)


@given(names=st.lists(st.text(), min_size=1, max_size=4))
def test_any_name_can_be_pointed_to(names: list[str]) -> None:
    pointer = "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in names)
    assert tokens(pointer) == tuple(names)


def test_a_number_is_an_index_in_a_list_and_a_name_elsewhere() -> None:
    fields = ignored_fields(WEB, None, [Ignored("*", "*", json_pointers=("/a/0",))])
    assert strip({"a": ["x", "y"]}, fields) == {"a": ["y"]}
    assert strip({"a": {"0": "x", "1": "y"}}, fields) == {"a": {"1": "y"}}


def test_several_indexes_are_those_of_the_list_as_it_was() -> None:
    fields = ignored_fields(WEB, None, [Ignored("*", "*", json_pointers=("/a/0", "/a/1"))])
    assert strip({"a": ["x", "y", "z"]}, fields) == {"a": ["z"]}


def test_the_fields_of_managers_are_those_of_the_live_object() -> None:
    entry = {"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ignored = [Ignored("apps", "Deployment", managers=("hpa", "nobody"), json_pointers=("/spec/paused",))]
    fields = ignored_fields(WEB, {"metadata": {"managedFields": [entry]}}, ignored)
    assert strip({"spec": {"replicas": 3, "paused": True, "x": 1}}, fields) == {"spec": {"x": 1}}
    assert ignored_fields(CONF, {"metadata": {"managedFields": [entry]}}, ignored) == {}


WEB_ENTRY = 'k:{"name":"web"}'
STRIPPED: dict[str, tuple[Any, Any, Any]] = {
    "a field": ({"a": 1, "b": 2}, {"f:a": {}}, {"b": 2}),
    "a field that is not there": ({"b": 2}, {"f:a": {}}, {"b": 2}),
    "all of a container": ({"a": {"x": 1}, "b": 2}, {"f:a": {"f:x": {}}}, {"b": 2}),
    "a container that was empty before": ({"a": {}, "b": {}}, {"f:a": {"f:x": {}}}, {"b": {}}),
    "a false value stays": ({"a": 0}, {"f:a": {"f:x": {}}}, {"a": 0}),
    "a field of an entry": (
        [{"name": "web", "image": 1, "args": 2}],
        {WEB_ENTRY: {"f:image": {}}},
        [{"name": "web", "args": 2}],
    ),
    "not the key of an entry": (
        [{"name": "web", "image": 1}],
        {WEB_ENTRY: {".": {}, "f:name": {}}},
        [{"name": "web", "image": 1}],
    ),
    "an entry that is all theirs": (
        [{"name": "web", "image": 1}],
        {WEB_ENTRY: {".": {}, "f:name": {}, "f:image": {}}},
        [],
    ),
    "the fields of an entry, not itself": (
        [{"name": "web", "image": 1}],
        {WEB_ENTRY: {"f:image": {}}},
        [{"name": "web"}],
    ),
    "a whole entry": ([{"name": "web"}, {"name": "log"}], {WEB_ENTRY: {}}, [{"name": "log"}]),
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
