"""What an apply would change, by comparing the live object with the answer to a dry run."""

from __future__ import annotations

import copy
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.model.sync import Difference, Verdict
from updater.sync.diff import MAX_FIELDS, MAX_LINES, compare, respect, unified
from updater.sync.inventory import PART_OF, TRACKING

WEB, SECRET = Key("apps", "Deployment", "shop", "web"), Key("", "Secret", "shop", "db")
KEY = b"a key"


def compared(live: Any, predicted: Any, ignored: Any = (), key: Key = WEB) -> Difference:
    return compare(key, live, predicted, ignored, secret_key=KEY)


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
    }


def with_metadata(manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


SERVERS = {
    "managedFields": [{"manager": "x"}],
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-11-25T12:00:00Z",
    "uid": "1-2-3",
    "selfLink": "/apis",
}


@pytest.mark.parametrize(
    ("live", "predicted"),
    [
        pytest.param(deployment(replicas=1), deployment(replicas=1), id="the same"),
        pytest.param(with_metadata(deployment(), **SERVERS), deployment(), id="what the server keeps of its own"),
        pytest.param({**deployment(), "status": {"replicas": 1}}, deployment(), id="the status"),
        pytest.param(deployment(), with_metadata(deployment(), labels={PART_OF: "x"}), id="our label"),
        pytest.param(deployment(), with_metadata(deployment(), annotations={TRACKING: "x"}), id="our annotation"),
    ],
)
def test_what_does_not_count(live: Any, predicted: Any) -> None:
    assert compared(live, predicted).verdict is Verdict.SAME
    assert compared(predicted, live).verdict is Verdict.SAME


def test_an_object_that_is_not_there_is_missing_and_one_too_many_is_extra() -> None:
    assert compared(None, deployment()) == Difference(WEB, Verdict.MISSING, after=deployment())
    assert compared(deployment(), None) == Difference(WEB, Verdict.EXTRA, before=deployment())
    assert compared(None, None).verdict is Verdict.UNKNOWN
    assert compared(None, deployment(a=1)).after["spec"] == {"a": 1}


def containers(*entries: Any) -> dict[str, Any]:
    return deployment(template={"spec": {"containers": list(entries)}})


WHERE = ".spec.template.spec.containers"
FIELDS: dict[str, tuple[Any, Any, list[str]]] = {
    "a field": (deployment(replicas=1), deployment(replicas=2), [".spec.replicas"]),
    "two fields": (deployment(a=1, b=1), deployment(a=2, b=2), [".spec.a", ".spec.b"]),
    "a field that comes": (deployment(), deployment(a={"b": 1}), [".spec.a"]),
    "a field that goes": (deployment(a={"b": 1}), deployment(), [".spec.a"]),
    "an entry, by its name": (
        containers({"name": "log"}, {"name": "web", "image": "web:1"}),
        containers({"name": "log"}, {"name": "web", "image": "web:2"}),
        [f'{WHERE}[name="web"].image'],
    ),
    "an entry that comes before another": (
        containers({"name": "web"}),
        containers({"name": "log"}, {"name": "web"}),
        [f'{WHERE}[name="log"]'],
    ),
    "an entry that goes": (
        containers({"name": "web"}, {"name": "log"}),
        containers({"name": "web"}),
        [f'{WHERE}[name="log"]'],
    ),
    "only the order of entries": (
        containers({"name": "a"}, {"name": "b"}),
        containers({"name": "b"}, {"name": "a"}),
        [WHERE],
    ),
    "entries by a number": (
        deployment(ports=[{"port": 80, "x": 1}]),
        deployment(ports=[{"port": 80, "x": 2}]),
        [".spec.ports[port=80].x"],
    ),
    "entries without keys": (
        deployment(rules=[{"a": 1}, {"a": 2}]),
        deployment(rules=[{"a": 1}, {"a": 3}]),
        [".spec.rules[1].a"],
    ),
    "another number of entries without keys": (deployment(rules=[{"a": 1}]), deployment(rules=[]), [".spec.rules"]),
    "a list of values, as a whole": (deployment(args=["a", "b"]), deployment(args=["a", "c"]), [".spec.args"]),
    "names that are given twice are no keys": (
        deployment(m=[{"name": "a", "x": 1}, {"name": "a", "x": 2}]),
        deployment(m=[{"name": "a", "x": 1}, {"name": "a", "x": 3}]),
        [".spec.m[1].x"],
    ),
    "mounts, by their path": (
        deployment(m=[{"name": "a", "mountPath": "/x"}, {"name": "a", "mountPath": "/y", "readOnly": True}]),
        deployment(m=[{"name": "a", "mountPath": "/x"}, {"name": "a", "mountPath": "/y"}]),
        ['.spec.m[mountPath="/y"].readOnly'],
    ),
    "a name with dots": (
        with_metadata(deployment(), labels={"a.b/c": "1"}),
        with_metadata(deployment(), labels={"a.b/c": "2"}),
        ['.metadata.labels["a.b/c"]'],
    ),
    "another type": (deployment(a=[1]), deployment(a={"b": 1}), [".spec.a"]),
    "null is not nothing": (deployment(a=None), deployment(), [".spec.a"]),
}


@pytest.mark.parametrize(("live", "predicted", "fields"), FIELDS.values(), ids=FIELDS)
def test_the_changed_fields_are_named(live: Any, predicted: Any, fields: list[str]) -> None:
    found = compared(live, predicted)
    assert found.verdict is Verdict.CHANGED
    assert [path for path, _ in found.fields] == fields


def test_who_owns_a_changed_field_is_named() -> None:
    key = 'k:{"name":"web"}'
    tree: Any = {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {key: {"f:image": {}}}}}}}
    entries = [
        {"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kubectl-edit", "fieldsV1": tree},
    ]
    live = with_metadata({**containers({"name": "web", "image": "web:1"})}, managedFields=entries)
    live["spec"]["replicas"] = 5
    predicted = containers({"name": "web", "image": "web:2"})
    predicted["spec"] |= {"replicas": 3, "paused": True}
    assert dict(compared(live, predicted).fields) == {
        ".spec.replicas": "hpa, kubectl-edit",
        f'{WHERE}[name="web"].image': "kubectl-edit",
        ".spec.paused": "",
    }


def test_of_many_fields_the_first_are_named() -> None:
    found = compared(deployment(**{f"a{n}": 1 for n in range(500)}), deployment(**{f"a{n}": 2 for n in range(500)}))
    assert len(found.fields) == MAX_FIELDS
    assert found.why == f"only the first {MAX_FIELDS} fields are named"


def test_ignored_fields_do_not_count() -> None:
    ignored = [Ignored("apps", "Deployment", json_pointers=("/spec/replicas", "/metadata/annotations/a~1b"))]
    live = with_metadata(deployment(replicas=5), annotations={"a/b": "1"})
    assert compared(live, deployment(replicas=3), ignored).verdict is Verdict.SAME
    assert compared(live, deployment(), ignored).verdict is Verdict.SAME
    assert [path for path, _ in compared(deployment(replicas=5, x=2), deployment(x=1), ignored).fields] == [".spec.x"]
    assert (
        compared(live, deployment(replicas=3), [Ignored("batch", "Job", json_pointers=("/spec",))]).verdict
        is Verdict.CHANGED
    )


def test_fields_of_an_ignored_manager_do_not_count() -> None:
    live = with_metadata(
        deployment(replicas=5), managedFields=[{"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    )
    assert compared(live, deployment(replicas=3), [Ignored("apps", "*", managers=("hpa",))]).verdict is Verdict.SAME


def secret(data: Any = None, **more: Any) -> dict[str, Any]:
    found = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, **more}
    return found if data is None else {**found, "data": data}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_values_of_secrets_are_compared_and_never_kept() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": '{"stringData":{"password":"hunter2"}}'}
    live = with_metadata(secret({"password": encoded("hunter2"), "user": encoded("web")}), annotations=applied)
    predicted = secret({"password": encoded("swordfish"), "user": encoded("web")})
    for found in (
        compared(live, predicted, key=SECRET),
        compared(live, None, key=SECRET),
        compared(None, predicted, key=SECRET),
    ):
        shown = f"{found} {found.before} {found.after} {unified(found)}"
        for hidden in ("hunter2", "swordfish", encoded("hunter2"), encoded("swordfish"), encoded("web")):
            assert hidden not in shown
    assert [path for path, _ in compared(live, predicted, key=SECRET).fields] == [".data.password"]


def test_string_data_is_what_data_is_made_of() -> None:
    for password in ("hunter2", "hunter22"):  # the second could be read as base64
        live, written = secret({"password": encoded(password)}), secret(stringData={"password": password})
        assert compared(live, written, key=SECRET).verdict is Verdict.SAME
    both = secret({"password": encoded("old")}, stringData={"password": "hunter22"})
    assert compared(live, both, key=SECRET).verdict is Verdict.SAME
    assert "hunter2" not in str(compared(None, written, key=SECRET).after)


@pytest.mark.parametrize(
    "data", [["hunter2"], "hunter2", {"password": ["hunter2"]}, {"password": "hunter2 is no base64"}]
)
def test_odd_data_of_secrets_is_hidden_too(data: Any) -> None:
    found = compared(secret(data), secret({}), key=SECRET)
    assert found.verdict is Verdict.CHANGED
    assert "hunter2" not in f"{found.before} {unified(found)}"


def test_one_value_in_two_places_does_not_show() -> None:
    found = compared(None, secret({"a": encoded("x"), "b": encoded("x")}), key=SECRET)
    assert found.after["data"]["a"] != found.after["data"]["b"]
    other = compare(SECRET, None, secret({"a": encoded("x")}), secret_key=b"another key")
    assert other.after["data"]["a"] != found.after["data"]["a"]


def test_a_custom_resource_that_is_called_secret_is_none() -> None:
    key = Key("example.com", "Secret", "shop", "db")
    assert compared(None, secret({"a": "shown"}), key=key).after["data"] == {"a": "shown"}


def test_a_difference_is_printed_as_yaml() -> None:
    data = {"conf": "one\ntwo\nthree\n", "name": "Überprüfung 中文"}
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    key = Key("", "ConfigMap", "shop", "c")
    predicted = {**live, "data": {**data, "conf": "one\n2\nthree\n"}}
    assert unified(compared(live, predicted, key=key)).splitlines() == [
        "--- ConfigMap shop/c in the cluster",
        "+++ ConfigMap shop/c in Git",
        "@@ -5,6 +5,6 @@",
        " data:",
        "   conf: |",
        "     one",
        "-    two",
        "+    2",
        "     three",
        "   name: Überprüfung 中文",
    ]


def test_nothing_is_printed_of_what_is_the_same_and_all_of_what_is_new() -> None:
    assert unified(compared(deployment(), deployment())) == ""
    lines = unified(compared(None, deployment(replicas=1))).splitlines()
    assert "+  replicas: 1" in lines
    assert all(line.startswith("+") for line in lines[3:])


def test_a_long_difference_is_cut() -> None:
    lines = unified(compared(None, deployment(args=["x"] * 5_000))).splitlines()
    assert len(lines) == MAX_LINES + 1
    assert lines[-1].endswith("more lines")


def test_what_does_not_count_is_not_applied_where_the_object_is_there() -> None:
    ignored = [Ignored("apps", "Deployment", json_pointers=("/spec/replicas", "/metadata", "/kind"))]
    manifest = with_metadata(deployment(replicas=3, x=1), labels={"a": "b"})
    assert respect(manifest, WEB, deployment(), ignored) == deployment(x=1)
    assert respect(manifest, WEB, None, ignored) == manifest
    assert list(respect(manifest, WEB, deployment(), ignored))[:2] == ["apiVersion", "kind"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab\n", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "b", "c.d"]), inner, max_size=3)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from([WEB, SECRET])


def manifest(spec: Any, data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Any", "metadata": {"name": "x"}, "spec": spec, "data": data}


@given(spec=JSON, data=JSON, key=KEYS)
def test_an_object_is_the_same_as_itself(spec: Any, data: Any, key: Key) -> None:
    found = compared(manifest(spec, data), manifest(copy.deepcopy(spec), copy.deepcopy(data)), key=key)
    assert found.verdict is Verdict.SAME
    assert found.fields == ()
    assert unified(found) == ""


@given(one=JSON, two=JSON, key=KEYS)
def test_what_differs_is_named_and_printed(one: Any, two: Any, key: Key) -> None:
    live, predicted = manifest(one, {}), manifest(two, {})
    before = repr((live, predicted))
    found = compared(live, predicted, key=key)
    assert (found.verdict is Verdict.CHANGED) is (one != two)
    assert bool(found.fields) is (one != two)
    assert repr((live, predicted)) == before


def test_the_marks_of_a_set_are_applied_whatever_does_not_count() -> None:
    """Without them an object would be nobody's at the next look."""
    rule = Ignored("*", "*", json_pointers=("/metadata/labels", "/metadata/annotations"))
    marks = {"labels": {PART_OF: "applyset-x-v1"}, "annotations": {TRACKING: "shop:apps/Deployment:shop/web"}}
    manifest = with_metadata(deployment(), labels={**marks["labels"], "app": "web"}, annotations=marks["annotations"])
    assert respect(manifest, WEB, deployment(), [rule]) == with_metadata(deployment(), **marks)
