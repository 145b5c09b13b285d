"""Differences that do not count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.sync.ignore import ignored_fields, matches, tokens
from updater.sync.managed import strip

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
