"""Server-side apply keeps its promises for any configuration, not only for those that somebody thought of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.demo.cluster import managers, ownership
from updater.demo.cluster.failures import ApiError
from updater.demo.cluster.managers import APPLY, UPDATE, Writer
from updater.demo.cluster.schemas import Json, kind_node

NODE = kind_node("Deployment")
AT = "2026-01-01T00:00:00Z"

_WORDS = st.sampled_from(["a", "b", "c"])
_CONTAINER = st.fixed_dictionaries(
    {"name": _WORDS, "image": st.sampled_from(["i:1", "i:2"])},
    optional={
        "args": st.lists(_WORDS, max_size=2),
        "env": st.lists(
            st.fixed_dictionaries({"name": _WORDS, "value": _WORDS}), max_size=3, unique_by=lambda item: item["name"]
        ),
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.integers(1, 3)}), max_size=2,
            unique_by=lambda item: item["containerPort"],
        ),
        "resources": st.fixed_dictionaries({}, optional={"limits": st.dictionaries(_WORDS, _WORDS, max_size=2)}),
    },
)  # fmt: skip
_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(1, 3),
        "selector": st.builds(lambda labels: {"matchLabels": labels}, st.dictionaries(_WORDS, _WORDS, max_size=2)),
        "template": st.builds(
            lambda containers: {"spec": {"containers": containers}},
            st.lists(_CONTAINER, min_size=1, max_size=3, unique_by=lambda item: item["name"]),
        ),
    },
)
_LABELS = st.dictionaries(_WORDS, _WORDS, max_size=3)


@st.composite
def configurations(draw: st.DrawFn) -> Json:
    """A deployment as somebody may write it, whole or in part."""
    meta = {"name": "web"} | draw(st.fixed_dictionaries({}, optional={"labels": _LABELS}))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": draw(_SPEC)}


def apply(live: Json | None, config: Json, manager: str, *, force: bool = True) -> Json:
    return managers.applied(live, config, NODE, Writer(manager, APPLY, "apps/v1"), AT, force=force)


def sets(obj: Json) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in managers.entries_of(obj)}


def bare(obj: Json) -> Json:
    return obj | {"metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


def leaves(fields: Any) -> set[str]:
    return set(ownership.paths(fields))


@given(configurations(), configurations(), configurations())
@settings(max_examples=300, deadline=None)
def test_the_last_applier_gets_what_it_sends_and_owns_just_that(one: Json, other: Json, again: Json) -> None:
    live = apply(apply(apply(None, one, "a"), other, "b"), again, "a")
    changed, _ = ownership.compared(bare(live), ownership.merged(bare(live), again, NODE), NODE)
    assert changed is None
    assert sets(live).get("a", {}) == ownership.ordered(ownership.stripped(ownership.fields_of(again, NODE)))


@given(configurations(), configurations())
@settings(max_examples=300, deadline=None)
def test_the_same_apply_again_changes_nothing(one: Json, other: Json) -> None:
    live = apply(apply(None, one, "a"), other, "b")
    assert apply(live, other, "b") == live


@given(configurations(), configurations())
@settings(max_examples=300, deadline=None)
def test_a_single_owner_s_object_is_what_it_sent_last(one: Json, other: Json) -> None:
    live = bare(apply(apply(None, one, "a"), other, "a"))
    changed, gone = ownership.compared(other, live, NODE)
    assert leaves(gone or {}) == set()
    assert leaves(changed or {}) <= {".metadata", ".spec"}


@given(configurations(), configurations())
@settings(max_examples=300, deadline=None)
def test_without_force_either_nothing_of_others_changes_or_the_conflicts_are_named(one: Json, other: Json) -> None:
    before = apply(None, one, "a")
    try:
        after = apply(before, other, "b", force=False)
    except ApiError as err:
        fields = {cause["field"] for cause in err.status["details"]["causes"]}
        assert fields
        assert fields <= leaves(sets(before)["a"])
    else:
        assert sets(after).get("a") == sets(before).get("a")


@given(configurations(), configurations())
@settings(max_examples=300, deadline=None)
def test_a_write_without_apply_gives_the_object_it_says(one: Json, other: Json) -> None:
    live = apply(None, one, "a")
    writer = Writer("hand", UPDATE, "apps/v1")
    after = managers.updated(live, other, NODE, writer, AT)
    assert bare(after) == other
    taken = leaves(sets(after).get("hand", {})) & leaves(sets(after).get("a", {}))
    assert {path for path in taken if not path.endswith("]")} == set()


def _clean(fields: Any) -> Any:
    """Return a set as it can be: `.` is empty, and stands beside others only."""
    found = {name: {} if name == "." else _clean(inner) for name, inner in fields.items()}
    return {} if set(found) == {"."} else found


_NAMES = st.sampled_from(["f:a", "f:b", "f:c", "."])
_FIELDS = st.recursive(st.just({}), lambda inner: st.dictionaries(_NAMES, inner, max_size=3), max_leaves=8).map(_clean)


@given(_FIELDS, _FIELDS)
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ownership.union, set.union),
        (ownership.difference, set.difference),
        (ownership.intersection, set.intersection),
    ],
    ids=["union", "difference", "intersection"],
)
def test_sets_of_fields_are_sets(ours: Any, theirs: Any, one: Any, other: Any) -> None:
    one, other = {"f:x": one}, {"f:x": other}
    assert leaves(ours(one, other)) == theirs(leaves(one), leaves(other))
