"""The cluster stand-in answers as a Kubernetes API server does.

What both can do is asked of a genuine server too, where one is at hand; what needs controllers, or faults, of the
stand-in alone.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes.client.models as official
import pytest
from kubernetes.dynamic.exceptions import ConflictError

from tests.lab.cluster import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    Cluster,
    Json,
    Raw,
    Said,
    back_ends,
    client_certificate,
    config_map,
    definition,
    deployment,
    new_namespace,
    official_client,
    started,
)
from updater.demo.cluster import Answer, ClusterServer, Cut, Drip, Fault, Hang, refuse, say
from updater.demo.cluster.kinds import built_in
from updater.demo.cluster.schemas import ANY, List, Map, Node


@pytest.fixture(scope="module", params=back_ends())
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(request.param, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def ask(cluster: Cluster) -> Iterator[Raw]:
    with Raw(cluster) as raw:
        yield raw


@pytest.fixture
def space(ask: Raw) -> str:
    """A namespace of the test's own."""
    return new_namespace(ask)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClusterServer]:
    """A stand-in whose controllers wait for `settle`."""
    with ClusterServer(tmp_path / "stand-in", rollout=None) as found:
        yield found


@pytest.fixture
def ask_it(server: ClusterServer) -> Iterator[Raw]:
    with Raw(server) as raw:
        yield raw


def maps(space: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{space}/configmaps" + (f"/{name}" if name else "")


def apps(space: str, name: str = "", plural: str = "deployments") -> str:
    return f"/apis/apps/v1/namespaces/{space}/{plural}" + (f"/{name}" if name else "")


def done(said: Said, code: int = 200) -> Json:
    """Return the object of an answer that has to have this status."""
    assert said.code == code, said.raw
    found: Json = said.json
    return found


def owned(obj: Json, manager: str, operation: str = "Apply") -> Any:
    """Return the set of fields of a manager; None where it has none."""
    entries = obj["metadata"].get("managedFields", ())
    return next((e["fieldsV1"] for e in entries if (e["manager"], e["operation"]) == (manager, operation)), None)


# --------------------------------------------------------------------------- discovery


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/api", {"kind": "APIVersions", "versions": ["v1"]}, id="core versions"),
        pytest.param("/apis", {"kind": "APIGroupList"}, id="groups"),
        pytest.param("/api/v1", {"kind": "APIResourceList", "groupVersion": "v1"}, id="core resources"),
        pytest.param("/apis/apps/v1", {"kind": "APIResourceList", "groupVersion": "apps/v1"}, id="a group's resources"),
        pytest.param("/apis/apps", {"kind": "APIGroup", "name": "apps"}, id="one group"),
    ],
)
def test_the_server_says_what_it_serves(ask: Raw, path: str, expected: Json) -> None:
    assert expected.items() <= done(ask("GET", path)).items()


def test_a_resource_says_its_kind_its_scope_its_verbs_and_its_short_names(ask: Raw) -> None:
    rows = {row["name"]: row for row in done(ask("GET", "/apis/apps/v1"))["resources"]}
    expected = {"singularName": "deployment", "namespaced": True, "kind": "Deployment", "shortNames": ["deploy"]}
    assert expected.items() <= rows["deployments"].items()
    assert set(rows["deployments"]["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert rows["deployments/scale"]["group"] == "autoscaling"
    assert rows["deployments/status"]["kind"] == "Deployment"


def test_discovery_comes_in_one_document_where_the_client_takes_it(ask: Raw) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    said = ask("GET", "/apis", accept=accept)
    groups = {item["metadata"]["name"]: item for item in done(said)["items"]}
    rows = {row["resource"]: row for row in groups["apps"]["versions"][0]["resources"]}
    assert "as=APIGroupDiscoveryList" in said.headers["content-type"]
    assert rows["deployments"]["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {below["subresource"] for below in rows["deployments"]["subresources"]} == {"status", "scale"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/nothing", id="no such path"),
        pytest.param("/apis/no.such.group/v1", id="no such group"),
        pytest.param("/apis/no.such.group/v1/things", id="in no such group"),
        pytest.param("/api/v1/things", id="no such kind"),
        pytest.param("/api/v1/namespaces/default/nodes", id="a cluster-wide kind in a namespace"),
    ],
)
def test_what_is_not_served_is_a_plain_404(ask: Raw, path: str) -> None:
    said = ask("GET", path)
    assert (said.code, said.raw) == (404, b"404 page not found\n")


@pytest.mark.parametrize("path", ["/version", "/readyz", "/livez", "/healthz"])
def test_health_and_version_need_no_login(ask: Raw, path: str) -> None:
    assert ask("GET", path, authorization="").code == 200


# ------------------------------------------------------------------------------ errors


def test_nobody_without_a_login_is_answered(ask: Raw) -> None:
    said = ask("GET", "/api/v1/namespaces", authorization="Bearer of-nobody")
    assert done(said, 401) == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
        "reason": "Unauthorized", "code": 401,
    }  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """A request in a namespace that has the config map `there`, and the `Status` that it gets."""

    request: str
    body: Json | None
    code: int
    reason: str
    message: str
    details: Json = field(default_factory=dict)


_STALE = "the object has been modified; please apply your changes to the latest version and try again"
_NONE = {"name": "none", "kind": "configmaps"}
REFUSALS = {
    "an object that is not there": Refused(
        "GET configmaps/none", None, 404, "NotFound", 'configmaps "none" not found', _NONE
    ),
    "a patch of what is not there": Refused(
        "PATCH configmaps/none", {"data": {}}, 404, "NotFound", 'configmaps "none" not found', _NONE
    ),
    "deleting what is not there": Refused(
        "DELETE configmaps/none", None, 404, "NotFound", 'configmaps "none" not found', _NONE
    ),
    "a namespace that is not there": Refused(
        "POST /api/v1/namespaces/none/configmaps", config_map("a"), 404, "NotFound", 'namespaces "none" not found',
        {"name": "none", "kind": "namespaces"},
    ),
    "a name that is taken": Refused(
        "POST configmaps", config_map("there"), 409, "AlreadyExists", 'configmaps "there" already exists',
        {"name": "there", "kind": "configmaps"},
    ),
    "a name that no object can have": Refused(
        "POST configmaps", config_map("Not_Good"), 422, "Invalid",
        'ConfigMap "Not_Good" is invalid: metadata.name: Invalid value: "Not_Good": a lowercase RFC 1123 subdomain',
        {"name": "Not_Good", "kind": "ConfigMap"},
    ),
    "another namespace than the address says": Refused(
        "POST configmaps", config_map("a", namespace="other"), 400, "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "another name than the address says": Refused(
        "PUT configmaps/there", config_map("other"), 400, "BadRequest",
        "the name of the object (other) does not match the name on the URL (there)",
    ),
    "an old resource version": Refused(
        "PUT configmaps/there", config_map("there", resourceVersion="1"), 409, "Conflict",
        f'Operation cannot be fulfilled on configmaps "there": {_STALE}', {"name": "there", "kind": "configmaps"},
    ),
    "an object of another kind": Refused(
        "POST configmaps", config_map("a") | {"kind": "Secret"}, 400, "BadRequest",
        'Secret in version "v1" cannot be handled as a ConfigMap',
    ),
    "an object of another version": Refused(
        "POST configmaps", config_map("a") | {"apiVersion": "apps/v1"}, 400, "BadRequest",
        "the API version in the data (apps/v1) does not match the expected API version (v1)",
    ),
    "a key that no data can have": Refused(
        "POST configmaps", config_map("a", {"a b": "1"}), 422, "Invalid",
        'ConfigMap "a" is invalid: data[a b]: Invalid value: "a b": a valid config key must consist of',
    ),
    "annotations of more than 256 KiB": Refused(
        "POST configmaps", config_map("a", annotations={"a": "x" * (256 << 10)}), 422, "Invalid",
        'ConfigMap "a" is invalid: metadata.annotations: Too long',
    ),
    "more than a mebibyte of data": Refused(
        "POST configmaps", config_map("a", {"a": "x" * (1 << 20), "b": "x"}), 422, "Invalid", "Too long"
    ),
    "a body of more than 3 MiB": Refused(
        "POST configmaps", config_map("a", {"a": "x" * (3 << 20)}), 413, "RequestEntityTooLarge",
        "Request entity too large: limit is 3145728",
    ),
    "a secret that is no base64": Refused(
        "POST secrets", {"metadata": {"name": "s"}, "data": {"k": "***"}}, 400, "BadRequest", "Secret in version",
    ),
    "a field that is no selector": Refused(
        "GET configmaps?fieldSelector=data.a%3Db", None, 400, "BadRequest", "field label not supported"
    ),
    "deleting the default namespace": Refused(
        "DELETE /api/v1/namespaces/default", None, 403, "Forbidden",
        'namespaces "default" is forbidden: this namespace may not be deleted',
        {"name": "default", "kind": "namespaces"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_a_status_object(ask: Raw, space: str, case: Refused) -> None:
    done(ask("POST", maps(space), config_map("there")), 201)
    method, path = case.request.split()
    path = path if path.startswith("/") else f"/api/v1/namespaces/{space}/{path}"
    status = done(ask(method, path, case.body, MERGE if method == "PATCH" else "application/json"), case.code)
    expected = ("Status", "Failure", case.reason, case.code)
    assert (status["kind"], status["status"], status["reason"], status["code"]) == expected
    assert case.message in status["message"]
    assert case.details.items() <= status.get("details", {}).items()


def test_a_media_type_that_is_no_patch_is_refused(ask: Raw, space: str) -> None:
    status = done(ask("PATCH", maps(space, "a"), {}, "application/json"), 415)
    assert status["reason"] == "UnsupportedMediaType"


# -------------------------------------------------------------------- server-side apply


def test_an_apply_of_what_is_not_there_creates_it(ask: Raw, space: str) -> None:
    made = done(ask.apply(maps(space, "a"), config_map("a", {"key": "1"}, labels={"app": "x"})), 201)
    assert made["data"] == {"key": "1"}
    assert {"uid", "resourceVersion", "creationTimestamp"} < set(made["metadata"])
    assert owned(made, "sync") == {"f:data": {"f:key": {}}, "f:metadata": {"f:labels": {"f:app": {}}}}
    [entry] = made["metadata"]["managedFields"]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Apply", "v1", "FieldsV1")


def test_the_same_apply_again_changes_nothing(ask: Raw, space: str) -> None:
    first = done(ask.apply(apps(space, "web"), deployment("web")), 201)
    again = done(ask.apply(apps(space, "web"), deployment("web")))
    assert again == first


def test_an_apply_owns_list_items_by_their_keys_and_whole_lists_as_one(ask: Raw, space: str) -> None:
    obj = deployment("web")
    obj["spec"]["template"]["spec"] = {
        "containers": [{
            "name": "web", "image": "i:1", "args": ["a", "b"],
            "env": [{"name": "A", "value": "1"}],
            "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"limits": {"cpu": "1"}},
        }],
        "imagePullSecrets": [{"name": "s"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"operator": "Exists"}],
    }  # fmt: skip
    made = done(ask.apply(apps(space, "web"), obj), 201)
    assert owned(made, "sync")["f:spec"]["f:template"]["f:spec"] == {
        "f:containers": {
            'k:{"name":"web"}': {
                ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                "f:ports": {
                    'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                    'k:{"containerPort":53,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
                },
                "f:volumeMounts": {'k:{"mountPath":"/v"}': {".": {}, "f:name": {}, "f:mountPath": {}}},
                "f:resources": {"f:limits": {"f:cpu": {}}},
            }
        },
        "f:imagePullSecrets": {'k:{"name":"s"}': {}},
        "f:volumes": {'k:{"name":"v"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
        "f:tolerations": {},
    }  # fmt: skip


def test_finalizers_are_a_set_and_owned_one_by_one(ask: Raw, space: str) -> None:
    done(ask.apply(maps(space, "a"), config_map("a", finalizers=["example.com/one"]), "one"), 201)
    both = done(ask.apply(maps(space, "a"), config_map("a", finalizers=["example.com/two"]), "two"))
    assert sorted(both["metadata"]["finalizers"]) == ["example.com/one", "example.com/two"]
    assert owned(both, "two") == {"f:metadata": {"f:finalizers": {'v:"example.com/two"': {}}}}
    left = done(ask.apply(maps(space, "a"), config_map("a"), "two"))
    assert left["metadata"]["finalizers"] == ["example.com/one"]
    done(ask.apply(maps(space, "a"), config_map("a"), "one"))


def test_a_field_of_another_manager_is_a_conflict(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), deployment("web", replicas=2), "one"), 201)
    status = done(ask.apply(apps(space, "web"), deployment("web", replicas=3), "two"), 409)
    assert status["reason"] == "Conflict"
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
    ]
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'


def test_several_conflicts_are_listed_by_manager(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), deployment("web", "i:1", replicas=2), "one"), 201)
    status = done(ask.apply(apps(space, "web"), deployment("web", "i:2", replicas=3), "two"), 409)
    assert sorted(cause["field"] for cause in status["details"]["causes"]) == [
        ".spec.replicas", '.spec.template.spec.containers[name="web"].image',
    ]  # fmt: skip
    assert status["message"].startswith('Apply failed with 2 conflicts: conflicts with "one":\n- .spec.')


def test_a_field_that_was_written_without_apply_is_a_conflict_too(ask: Raw, space: str) -> None:
    done(ask("POST", f"{apps(space)}?fieldManager=kubectl-client-side-apply", deployment("web", replicas=2)), 201)
    status = done(ask.apply(apps(space, "web"), deployment("web", replicas=3)), 409)
    [cause] = status["details"]["causes"]
    assert cause["message"].startswith('conflict with "kubectl-client-side-apply" using apps/v1')
    assert cause["field"] == ".spec.replicas"


def test_force_takes_the_field_over(ask: Raw, space: str) -> None:
    done(ask.apply(maps(space, "a"), config_map("a", {"k": "1", "l": "1"}), "one"), 201)
    taken = done(ask.apply(maps(space, "a"), config_map("a", {"k": "2"}), "two", force="true"))
    assert taken["data"] == {"k": "2", "l": "1"}
    assert owned(taken, "one") == {"f:data": {"f:l": {}}}
    assert owned(taken, "two") == {"f:data": {"f:k": {}}}


def test_equal_values_are_owned_together_and_stay_until_the_last_owner_goes(ask: Raw, space: str) -> None:
    done(ask.apply(maps(space, "a"), config_map("a", {"k": "1", "l": "1"}), "one"), 201)
    done(ask.apply(maps(space, "a"), config_map("a", {"k": "1"}), "two"))
    kept = done(ask.apply(maps(space, "a"), config_map("a", {"l": "1"}), "one"))
    assert kept["data"] == {"k": "1", "l": "1"}
    gone = done(ask.apply(maps(space, "a"), config_map("a"), "two"))
    assert gone["data"] == {"l": "1"}
    assert owned(gone, "two") is None or owned(gone, "two") == {}


def _web(**container: Any) -> Json:
    obj = deployment("web")
    obj["spec"]["template"]["spec"]["containers"][0] |= container
    return obj


REMOVALS = [
    pytest.param(
        _web(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]), _web(env=[{"name": "B", "value": "2"}]),
        lambda c: c["env"] == [{"name": "B", "value": "2"}], id="an item of a keyed list",
    ),
    pytest.param(
        _web(env=[{"name": "A", "value": "1"}]), _web(), lambda c: "env" not in c, id="a whole keyed list",
    ),
    pytest.param(
        _web(resources={"limits": {"cpu": "1", "memory": "1Gi"}}), _web(resources={"limits": {"cpu": "1"}}),
        lambda c: c["resources"] == {"limits": {"cpu": "1"}}, id="an entry of a map",
    ),
    pytest.param(_web(args=["a"]), _web(), lambda c: "args" not in c, id="a list with one owner"),
    pytest.param(
        _web(imagePullPolicy="Always"), _web(), lambda c: c["imagePullPolicy"] == "IfNotPresent",
        id="a field that has a default",
    ),
    pytest.param(
        _web(livenessProbe={"httpGet": {"port": 80}}), _web(), lambda c: "livenessProbe" not in c,
        id="a field in which the server had added defaults",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "holds"), REMOVALS)
def test_what_the_manager_no_longer_sends_goes(ask: Raw, space: str, before: Json, after: Json, holds: Any) -> None:
    done(ask.apply(apps(space, "web"), before), 201)
    obj = done(ask.apply(apps(space, "web"), after))
    assert holds(obj["spec"]["template"]["spec"]["containers"][0])


def test_what_others_wrote_stays_when_the_manager_stops_sending_it(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), deployment("web", replicas=2)), 201)
    done(ask("PATCH", f"{apps(space, 'web')}?fieldManager=scaler", {"spec": {"replicas": 5}}, MERGE))
    kept = done(ask.apply(apps(space, "web"), deployment("web")))
    assert kept["spec"]["replicas"] == 5


def test_other_writes_own_what_they_change_and_take_it_from_appliers(ask: Raw, space: str) -> None:
    done(ask.apply(maps(space, "a"), config_map("a", {"k": "1", "l": "1"})), 201)
    obj = done(ask("PATCH", f"{maps(space, 'a')}?fieldManager=hand", {"data": {"k": "2", "m": "3"}}, MERGE))
    assert owned(obj, "hand", "Update") == {"f:data": {"f:k": {}, "f:m": {}}}
    assert owned(obj, "sync") == {"f:data": {"f:l": {}}}
    removed = done(ask("PATCH", f"{maps(space, 'a')}?fieldManager=hand", {"data": {"l": None}}, MERGE))
    assert owned(removed, "sync") is None


def test_creating_without_apply_owns_maps_and_list_items_themselves_too(ask: Raw, space: str) -> None:
    made = done(ask("POST", f"{maps(space)}?fieldManager=hand", config_map("a", {"k": "1"}, labels={"a": "b"})), 201)
    assert owned(made, "hand", "Update") == {
        "f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
    }  # fmt: skip


def test_the_program_s_name_is_the_manager_where_none_is_named(ask: Raw, space: str) -> None:
    made = done(ask("POST", maps(space), config_map("a", {"k": "1"}), user_agent="tool/v1 (linux)"), 201)
    assert owned(made, "tool", "Update") is not None


def test_clearing_the_managed_fields_forgets_every_owner(ask: Raw, space: str) -> None:
    done(ask.apply(maps(space, "a"), config_map("a", {"k": "1"}), "one"), 201)
    wish = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    cleared = done(ask("PATCH", maps(space, "a"), wish, JSON_PATCH))
    assert owned(cleared, "one") is None


def test_an_entry_may_be_rewritten_to_another_manager(ask: Raw, space: str) -> None:
    made = done(ask("POST", f"{maps(space)}?fieldManager=kubectl-client-side-apply", config_map("a", {"k": "1"})), 201)
    entry = made["metadata"]["managedFields"][0] | {"manager": "sync", "operation": "Apply"}
    wish = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
    ]
    done(ask("PATCH", maps(space, "a"), wish, JSON_PATCH))
    pruned = done(ask.apply(maps(space, "a"), config_map("a", {"l": "1"})))
    assert pruned["data"] == {"l": "1"}


def _numbers() -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": 1}}


UNFIT = [
    pytest.param(deployment("web", replica=2), ".spec.replica: field not declared in schema", id="an unknown field"),
    pytest.param(deployment("web", replicas="2"), ".spec.replicas: expected numeric", id="text for a number"),
    pytest.param(
        _web(env=[{"value": "1"}]), 'associative list with keys has an element that omits key field "name"',
        id="a list item without its key",
    ),
    pytest.param(
        _web(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), 'duplicate entries for key [name="A"]',
        id="two list items with one key",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "why"), UNFIT)
def test_an_apply_that_does_not_fit_the_kind_fails(ask: Raw, space: str, obj: Json, why: str) -> None:
    status = done(ask.apply(apps(space, "web"), obj), 500)
    assert status["message"].startswith(f"failed to create typed patch object ({space}/web; apps/v1, Kind=Deployment):")
    assert why in status["message"]


def test_a_number_in_a_config_map_fails(ask: Raw, space: str) -> None:
    status = done(ask.apply(maps(space, "a"), _numbers()), 500)
    assert ".data.k: expected string, got" in status["message"]


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        pytest.param("", config_map("a"), (422, "fieldManager: Required value: is required for apply patch"),
                     id="no manager"),
        pytest.param("?fieldManager=m", config_map("a", managedFields=[{"manager": "x"}]),
                     (400, "metadata.managedFields must be nil"), id="with managed fields"),
        pytest.param("?fieldManager=m", config_map("a", resourceVersion="1"),
                     (409, "Operation cannot be fulfilled"), id="an old resource version"),
    ],
)  # fmt: skip
def test_an_apply_is_refused(ask: Raw, space: str, query: str, body: Json, expected: tuple[int, str]) -> None:
    done(ask("POST", maps(space), config_map("a")), 201)
    code, why = expected
    assert why in done(ask("PATCH", maps(space, "a") + query, body, APPLY), code)["message"]


def test_an_apply_may_be_written_in_yaml(ask: Raw, space: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: 'yes'\n"
    assert done(ask("PATCH", f"{maps(space, 'a')}?fieldManager=m", text, APPLY), 201)["data"] == {"k": "yes"}


# ---------------------------------------------------------------------------- dry runs


@pytest.mark.parametrize("query", ["dryRun=All&fieldManager=m"])
def test_a_dry_run_answers_as_the_write_would_and_stores_nothing(ask: Raw, space: str, query: str) -> None:
    made = done(ask("PATCH", f"{apps(space, 'web')}?{query}", deployment("web"), APPLY), 201)
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert ask("GET", apps(space, "web")).code == 404
    kept = done(ask.apply(apps(space, "web"), deployment("web")), 201)
    more = done(ask("PATCH", f"{apps(space, 'web')}?{query}&force=true", deployment("web", replicas=3), APPLY))
    assert (more["spec"]["replicas"], more["metadata"]["resourceVersion"]) == (3, kept["metadata"]["resourceVersion"])
    assert done(ask("DELETE", f"{apps(space, 'web')}?dryRun=All"))["status"] == "Success"
    assert done(ask("GET", apps(space, "web")))["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [("fieldValidation=Strict", 400), ("fieldValidation=Warn", 201), ("fieldValidation=Ignore", 201)],
    ids=["strict refuses", "warn says so", "ignore is silent"],
)
def test_unknown_fields_of_other_writes(ask: Raw, space: str, query: str, code: int) -> None:
    said = ask("POST", f"{apps(space)}?{query}", deployment("web", replica=2))
    obj = done(said, code)
    assert ("warning" in said.headers) == query.endswith("Warn")
    assert 'unknown field "spec.replica"' in (obj.get("message") or said.headers.get("warning") or "") or code == 201
    assert "replica" not in obj.get("spec", {})


# ------------------------------------------------------------- defaults and validation


def test_a_naive_comparison_would_see_drift(ask: Raw, space: str) -> None:
    made = done(ask.apply(apps(space, "web"), _web(ports=[{"containerPort": 80}])), 201)
    assert made["spec"]["replicas"] == 1
    assert {"strategy", "revisionHistoryLimit", "progressDeadlineSeconds"} < set(made["spec"])
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert (container["imagePullPolicy"], container["terminationMessagePath"]) == (
        "IfNotPresent",
        "/dev/termination-log",
    )
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"


def test_a_service_gets_an_address_that_stays(ask: Raw, space: str) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    path = f"/api/v1/namespaces/{space}/services"
    made = done(ask("POST", path, body), 201)
    again = done(ask("PUT", f"{path}/web", body | {"metadata": {"name": "web", "labels": {"a": "b"}}}))
    assert made["spec"]["clusterIP"] == again["spec"]["clusterIP"] == made["spec"]["clusterIPs"][0]
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_plain_text_of_a_secret_becomes_data(ask: Raw, space: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
    made = done(ask.apply(f"/api/v1/namespaces/{space}/secrets/s", body), 201)
    assert (made["data"], made["type"], "stringData" in made) == ({"k": "dg=="}, "Opaque", False)
    again = done(ask.apply(f"/api/v1/namespaces/{space}/secrets/s", body))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def _job(image: str = "i:1") -> Json:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": pod}}


def _claim(size: str, mode: str = "ReadWriteOnce") -> Json:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec}


def _binding(role: str) -> Json:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"}}
    return {**meta, "roleRef": reference}


def _selected(app: str) -> Json:
    obj = deployment("web")
    obj["spec"]["selector"]["matchLabels"] = obj["spec"]["template"]["metadata"]["labels"] = {"app": app}
    return obj


@dataclass(frozen=True)
class Fixed:
    """A change that is refused: of which field, and why."""

    place: str
    before: Json
    after: Json
    field: str
    why: str


FIXED = {
    "the selector of a deployment": Fixed(
        "apis/apps/v1 deployments/web", _selected("a"), _selected("b"), "spec.selector", "field is immutable"
    ),
    "the template of a job": Fixed(
        "apis/batch/v1 jobs/j", _job("i:1"), _job("i:2"), "spec.template", "field is immutable"
    ),
    "a claim": Fixed(
        "api/v1 persistentvolumeclaims/c", _claim("1Gi"), _claim("1Gi", "ReadWriteMany"), "spec",
        "spec is immutable after creation",
    ),
    "the role of a binding": Fixed(
        "apis/rbac.authorization.k8s.io/v1 rolebindings/b", _binding("one"), _binding("two"), "roleRef",
        "cannot change roleRef",
    ),
    "an immutable config map": Fixed(
        "api/v1 configmaps/a", config_map("a", {"k": "1"}) | {"immutable": True},
        config_map("a", {"k": "2"}) | {"immutable": True}, "data", "field is immutable when `immutable` is set",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FIXED.values(), ids=FIXED)
def test_what_may_not_change_is_invalid(ask: Raw, space: str, case: Fixed) -> None:
    root, place = case.place.split()
    path = f"/{root}/namespaces/{space}/{place}"
    done(ask.apply(path, case.before), 201)
    status = done(ask.apply(path, case.after, force="true"), 422)
    assert status["reason"] == "Invalid"
    assert any(cause["field"] == case.field and case.why in cause["message"] for cause in status["details"]["causes"])
    assert "is invalid: " in status["message"]


def test_every_missing_field_is_a_cause(ask: Raw, space: str) -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {}}
    status = done(ask("POST", apps(space), body), 422)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert {"spec.selector", "spec.template.spec.containers"} <= fields
    assert status["details"]["kind"] == "Deployment"


def test_the_generation_counts_changes_of_the_specification(ask: Raw, space: str) -> None:
    made = done(ask.apply(apps(space, "web"), deployment("web")), 201)
    labelled = done(ask("PATCH", apps(space, "web"), {"metadata": {"labels": {"a": "b"}}}, MERGE))
    scaled = done(ask("PATCH", apps(space, "web"), {"spec": {"replicas": 4}}, MERGE))
    assert [obj["metadata"]["generation"] for obj in (made, labelled, scaled)] == [1, 1, 2]


def test_the_status_is_written_at_its_own_path_only(ask: Raw, space: str) -> None:
    made = done(ask.apply(apps(space, "web"), deployment("web")), 201)
    kept = done(ask("PUT", apps(space, "web"), made | {"status": {"replicas": 9}}))
    assert kept.get("status", {}).get("replicas") != 9
    wish = {"status": {"replicas": 9}, "spec": {"replicas": 7}}
    done(ask("PATCH", f"{apps(space, 'web')}/status?fieldManager=c", wish, MERGE))
    now = done(ask("GET", apps(space, "web")))
    assert (now["status"]["replicas"], now["spec"]["replicas"], now["metadata"]["generation"]) == (9, 1, 1)
    entry = next(e for e in now["metadata"]["managedFields"] if e["manager"] == "c")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:replicas": {}}})


def test_a_scale_is_read_and_written(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), deployment("web")), 201)
    scaled = done(ask("PATCH", f"{apps(space, 'web')}/scale", {"spec": {"replicas": 3}}, MERGE))
    assert (scaled["kind"], scaled["spec"]) == ("Scale", {"replicas": 3})
    assert done(ask("GET", apps(space, "web")))["spec"]["replicas"] == 3


def test_a_name_is_generated(ask: Raw, space: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}}
    names = {done(ask("POST", maps(space), body), 201)["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


# ----------------------------------------------------------------------- other patches


PATCHES = [
    pytest.param(MERGE, {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}, id="a merge patch"),
    pytest.param(JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"},
                              {"op": "add", "path": "/data/c", "value": "3"}], {"b": "2", "c": "3"},
                 id="a JSON patch"),
    pytest.param(STRATEGIC, {"data": {"$patch": "replace", "c": "3"}}, {"c": "3"}, id="a strategic merge patch"),
]  # fmt: skip


@pytest.mark.parametrize(("media", "patch", "expected"), PATCHES)
def test_a_patch_changes_the_object(ask: Raw, space: str, media: str, patch: Any, expected: Json) -> None:
    done(ask("POST", maps(space), config_map("a", {"a": "1", "b": "2"})), 201)
    assert done(ask("PATCH", maps(space, "a"), patch, media))["data"] == expected


def test_a_json_patch_whose_test_fails_changes_nothing(ask: Raw, space: str) -> None:
    done(ask("POST", maps(space), config_map("a", {"a": "1"})), 201)
    steps = [{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/metadata/name", "value": "b"}]
    assert done(ask("PATCH", maps(space, "a"), steps, JSON_PATCH), 422)["reason"] == "Invalid"
    assert done(ask("GET", maps(space, "a")))["data"] == {"a": "1"}


def test_a_strategic_merge_patch_merges_lists_by_key(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), _web(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])), 201)
    env = [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": env}]}}}}
    obj = done(ask("PATCH", apps(space, "web"), patch, STRATEGIC))
    found = obj["spec"]["template"]["spec"]["containers"][0]["env"]
    assert sorted(found, key=str) == [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]


# ----------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("query", "names"),
    [
        pytest.param("", ["a", "b", "c"], id="everything in order"),
        pytest.param("labelSelector=app%3Dx", ["a", "b"], id="a label"),
        pytest.param("labelSelector=app%21%3Dx", ["c"], id="not a label"),
        pytest.param("labelSelector=app%3Dx,tier%3Dweb", ["b"], id="two labels"),
        pytest.param("labelSelector=app%20in%20(x,z)", ["a", "b"], id="one of"),
        pytest.param("labelSelector=tier%20notin%20(web)", ["a", "c"], id="none of"),
        pytest.param("labelSelector=tier", ["b"], id="has a label"),
        pytest.param("labelSelector=%21app", ["c"], id="has no label"),
        pytest.param("fieldSelector=metadata.name%3Db", ["b"], id="a name"),
        pytest.param("fieldSelector=metadata.name%21%3Db", ["a", "c"], id="not a name"),
    ],
)
def test_a_list_is_selected(ask: Raw, space: str, query: str, names: list[str]) -> None:
    for name, labels in (("c", {}), ("b", {"app": "x", "tier": "web"}), ("a", {"app": "x"})):
        done(ask("POST", maps(space), config_map(name, labels={**labels, "mine": "1"})), 201)
    query = (
        query.replace("labelSelector=", "labelSelector=mine,") if "label" in query else f"labelSelector=mine&{query}"
    )
    found = done(ask("GET", f"{maps(space)}?{query}"))
    assert (found["kind"], [item["metadata"]["name"] for item in found["items"]]) == ("ConfigMapList", names)


def test_items_of_a_list_of_a_built_in_kind_do_not_say_their_kind(ask: Raw, space: str) -> None:
    done(ask("POST", maps(space), config_map("a")), 201)
    items = done(ask("GET", maps(space)))["items"]
    assert [set(item) & {"kind", "apiVersion"} for item in items] == [set()] * len(items)


def test_a_list_comes_in_pages_of_one_moment(ask: Raw, space: str) -> None:
    for name in "abcde":
        done(ask("POST", maps(space), config_map(name, labels={"mine": "1"})), 201)
    path, names = f"{maps(space)}?limit=2&labelSelector=mine", []
    page = done(ask("GET", path))
    done(ask("DELETE", maps(space, "e")))
    version = page["metadata"]["resourceVersion"]
    while True:
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == version
        if not (more := page["metadata"].get("continue")):
            break
        page = done(ask("GET", f"{path}&continue={more}"))
    assert names == list("abcde")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "PartialObjectMetadata"),
        ("application/json;as=Table;g=meta.k8s.io;v=v1", "Table"),
    ],
    ids=["metadata alone", "a table"],
)
def test_values_of_a_secret_stay_away_from_who_asks_for_less(ask: Raw, space: str, accept: str, kind: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}}
    done(ask("POST", f"/api/v1/namespaces/{space}/secrets", body), 201)
    for path in (f"/api/v1/namespaces/{space}/secrets/s", f"/api/v1/namespaces/{space}/secrets"):
        said = ask("GET", path, accept=accept)
        assert done(said)["kind"].removesuffix("List") == kind
        assert b"aGlkZGVu" not in said.raw


def test_a_table_has_the_columns_of_its_kind(ask: Raw, space: str) -> None:
    done(ask.apply(apps(space, "web"), deployment("web")), 201)
    table = done(ask("GET", apps(space), accept="application/json;as=Table;g=meta.k8s.io;v=v1"))
    names = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert names == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    [row] = table["rows"]
    assert row["cells"][:2] == ["web", "0/1"]
    assert row["object"]["kind"] == "PartialObjectMetadata"


# ---------------------------------------------------------------------------- watching


def _lines(answer: http.client.HTTPResponse, count: int) -> list[Json]:
    return [json.loads(answer.readline()) for _ in range(count)]


def _seen(events: list[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def test_a_watch_tells_what_happens_after_a_version(cluster: Cluster, ask: Raw, space: str) -> None:
    version = done(ask("GET", maps(space)))["metadata"]["resourceVersion"]
    query = f"watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Da"
    with Raw(cluster) as other, other.opened("GET", f"{maps(space)}?{query}") as answer:
        done(ask.apply(maps(space, "a"), config_map("a", {"k": "1"})), 201)
        done(ask.apply(maps(space, "a"), config_map("a", {"k": "2"})))
        done(ask("DELETE", maps(space, "a")))
        events = _lines(answer, 3)
    assert _seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert events[0]["object"]["kind"] == "ConfigMap"
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_a_watch_begins_with_what_is_there_where_no_version_is_named(ask: Raw, cluster: Cluster, space: str) -> None:
    done(ask("POST", maps(space), config_map("a", labels={"mine": "1"})), 201)
    query = "watch=true&labelSelector=mine"
    with Raw(cluster) as other, other.opened("GET", f"{maps(space)}?{query}") as answer:
        assert _seen(_lines(answer, 1)) == [("ADDED", "a")]


def test_an_object_comes_and_goes_as_it_matches_the_selector(ask: Raw, cluster: Cluster, space: str) -> None:
    version = done(ask("GET", maps(space)))["metadata"]["resourceVersion"]
    query = f"watch=1&resourceVersion={version}&labelSelector=seen"
    with Raw(cluster) as other, other.opened("GET", f"{maps(space)}?{query}") as answer:
        done(ask("POST", maps(space), config_map("a")), 201)
        for labels in ({"seen": "1"}, {"seen": None}):
            done(ask("PATCH", maps(space, "a"), {"metadata": {"labels": labels}}, MERGE))
        assert _seen(_lines(answer, 2)) == [("ADDED", "a"), ("DELETED", "a")]


def test_a_watch_ends_at_its_time(ask: Raw, space: str) -> None:
    said = ask("GET", f"{maps(space)}?watch=1&timeoutSeconds=1&labelSelector=none")
    assert (said.code, said.raw) == (200, b"")


def test_a_list_can_be_streamed_until_a_bookmark_says_that_it_is_whole(ask: Raw, cluster: Cluster, space: str) -> None:
    done(ask("POST", maps(space), config_map("a", labels={"mine": "1"})), 201)
    query = (
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=mine"
    )
    with Raw(cluster) as other, other.opened("GET", f"{maps(space)}?{query}") as answer:
        added, bookmark = _lines(answer, 2)
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_replays_to_what_a_list_says_however_many_write(cluster: Cluster, ask: Raw, space: str) -> None:
    def write(worker: int) -> None:
        with Raw(cluster) as mine:
            for number in range(40):
                name = f"m-{(worker + number) % 5}"
                if number % 4 == 3:
                    mine("DELETE", maps(space, name))
                else:
                    mine.apply(maps(space, name), config_map(name, {"n": str(number)}), f"m{worker}", force="true")

    version = done(ask("GET", maps(space)))["metadata"]["resourceVersion"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    done(ask.apply(maps(space, "end"), config_map("end")), 201)
    seen: dict[str, str] = {}
    query = f"watch=1&resourceVersion={version}"
    with Raw(cluster) as other, other.opened("GET", f"{maps(space)}?{query}") as answer:
        while "end" not in seen:
            [event] = _lines(answer, 1)
            meta = event["object"]["metadata"]
            seen[meta["name"]] = meta["resourceVersion"]
            if event["type"] == "DELETED":
                del seen[meta["name"]]
    listed = done(ask("GET", maps(space)))["items"]
    assert {name: seen[name] for name in seen if name != "kube-root-ca.crt"} == {
        item["metadata"]["name"]: item["metadata"]["resourceVersion"]
        for item in listed
        if item["metadata"]["name"] != "kube-root-ca.crt"
    }


def test_bookmarks_tell_the_version_when_nothing_happens(tmp_path: Path) -> None:
    with ClusterServer(tmp_path, bookmark=0.01) as server, Raw(server) as raw:
        query = f"watch=1&allowWatchBookmarks=true&resourceVersion={server.store.version}"
        with raw.opened("GET", f"{maps('default')}?{query}") as answer:
            [event] = _lines(answer, 1)
    assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", "ConfigMap")
    assert set(event["object"]["metadata"]) == {"resourceVersion", "creationTimestamp"}


def test_a_version_that_is_forgotten_is_an_error_within_the_stream(server: ClusterServer, ask_it: Raw) -> None:
    server.compact()
    done(ask_it("POST", maps("default"), config_map("a")), 201)
    server.compact()
    said = ask_it("GET", f"{maps('default')}?watch=1&resourceVersion=1")
    event = json.loads(said.raw)
    assert (said.code, event["type"], event["object"]["code"], event["object"]["reason"]) == (
        200,
        "ERROR",
        410,
        "Expired",
    )


def test_only_so_much_of_the_past_is_kept(tmp_path: Path) -> None:
    with ClusterServer(tmp_path, history=2, controller=False) as server, Raw(server) as raw:
        for number in range(4):
            raw.apply(maps("default", "a"), config_map("a", {"k": str(number)}))
        version = int(done(raw("GET", maps("default", "a")))["metadata"]["resourceVersion"])
        old = raw("GET", f"{maps('default')}?watch=1&timeoutSeconds=1&resourceVersion={version - 3}")
        fresh = raw("GET", f"{maps('default')}?watch=1&timeoutSeconds=1&resourceVersion={version - 2}")
    assert [json.loads(line)["type"] for said in (old, fresh) for line in said.raw.splitlines()] == [
        "ERROR", "MODIFIED", "MODIFIED",
    ]  # fmt: skip


def test_a_continued_list_expires(server: ClusterServer, ask_it: Raw) -> None:
    page = done(ask_it("GET", "/api/v1/namespaces?limit=1"))
    server.compact()
    status = done(ask_it("GET", f"/api/v1/namespaces?limit=1&continue={page['metadata']['continue']}"), 410)
    assert status["reason"] == "Expired"


def test_open_watches_expire(server: ClusterServer, ask_it: Raw) -> None:
    with Raw(server) as other, other.opened("GET", f"{maps('default')}?watch=1") as answer:
        answer.readline()
        server.expire_watches()
        event = json.loads(answer.read())
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    done(ask_it("POST", maps("default"), config_map("a")), 201)
    with ask_it.opened("GET", f"{maps('default')}?watch=1") as answer:
        assert json.loads(answer.readline())["type"] == "ADDED"


def test_a_muted_watch_says_nothing_until_it_is_unmuted(server: ClusterServer, ask_it: Raw) -> None:
    query = f"watch=1&resourceVersion={server.store.version}"
    with Raw(server) as other, other.opened("GET", f"{maps('default')}?{query}") as answer:
        server.mute_watches()
        done(ask_it("POST", maps("default"), config_map("a")), 201)
        done(ask_it("POST", maps("default"), config_map("b")), 201)
        other._connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            answer.readline()
    with Raw(server) as other, other.opened("GET", f"{maps('default')}?{query}") as answer:
        server.mute_watches(mute=False)
        assert _seen(_lines(answer, 2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_server_that_was_down_has_kept_everything(server: ClusterServer, ask_it: Raw) -> None:
    done(ask_it("POST", maps("default"), config_map("a")), 201)
    server.down()
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_it("GET", maps("default", "a"))
    with Raw(server) as other, pytest.raises(ConnectionRefusedError):
        other("GET", maps("default", "a"))
    server.up()
    with Raw(server) as again:
        assert again("GET", maps("default", "a")).code == 200


def test_a_watch_ends_when_its_connection_is_cut(server: ClusterServer, ask_it: Raw) -> None:
    with Raw(server) as other, other.opened("GET", f"{maps('default')}?watch=1") as answer:
        answer.readline()
        server.cut()
        with pytest.raises((http.client.HTTPException, OSError)):
            answer.read()
    with Raw(server) as again:
        assert again("GET", maps("default")).code == 200


# ---------------------------------------------------------------------------- deleting


def test_a_deleted_object_is_gone_and_named_in_the_answer(ask: Raw, space: str) -> None:
    made = done(ask("POST", maps(space), config_map("a")), 201)
    said = done(ask("DELETE", maps(space, "a")))
    assert (said["kind"], said["status"]) == ("Status", "Success")
    assert said["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert ask("GET", maps(space, "a")).code == 404


def test_finalizers_hold_an_object_until_the_last_one_is_taken_away(ask: Raw, space: str) -> None:
    done(ask("POST", maps(space), config_map("a", finalizers=["example.com/hold"])), 201)
    held = done(ask("DELETE", maps(space, "a")))
    assert "deletionTimestamp" in held["metadata"]
    assert done(ask("GET", maps(space, "a")))["metadata"]["finalizers"] == ["example.com/hold"]
    done(ask("PATCH", maps(space, "a"), {"metadata": {"finalizers": None}}, MERGE))
    assert ask("GET", maps(space, "a")).code == 404


@pytest.mark.parametrize("name", ["uid", "resourceVersion"])
def test_a_precondition_that_fails_keeps_the_object(ask: Raw, space: str, name: str) -> None:
    done(ask("POST", maps(space), config_map("a")), 201)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {name: "1"}}
    assert done(ask("DELETE", maps(space, "a"), options), 409)["reason"] == "Conflict"
    assert ask("GET", maps(space, "a")).code == 200


def test_a_selection_is_deleted_at_once(ask: Raw, space: str) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {})):
        done(ask("POST", maps(space), config_map(name, labels=labels)), 201)
    done(ask("DELETE", f"{maps(space)}?labelSelector=x"))
    codes = [ask("GET", maps(space, name)).code for name in "abc"]
    assert codes == [404, 404, 200]


def _child(name: str, owner: Json) -> Json:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
    return config_map(name, ownerReferences=[{**reference, "uid": owner["metadata"]["uid"]}])


@pytest.mark.parametrize(
    ("policy", "child_stays"),
    [("Background", False), ("Foreground", False), ("Orphan", True)],
)
def test_what_an_owner_leaves_behind(server: ClusterServer, ask_it: Raw, policy: str, child_stays: bool) -> None:
    owner = done(ask_it("POST", maps("default"), config_map("owner")), 201)
    done(ask_it("POST", maps("default"), _child("child", owner)), 201)
    done(ask_it("DELETE", maps("default", "owner"), {"propagationPolicy": policy}))
    assert (server.get("ConfigMap", "owner", "default") is not None) == (policy != "Background")
    server.settle()
    child = server.get("ConfigMap", "child", "default")
    assert server.get("ConfigMap", "owner", "default") is None
    assert (child is not None) == child_stays
    assert child is None or "ownerReferences" not in child["metadata"]


def test_a_namespace_goes_with_everything_in_it(server: ClusterServer, ask_it: Raw) -> None:
    space = new_namespace(ask_it)
    server.settle()
    done(ask_it.apply(apps(space, "web"), deployment("web")), 201)
    done(ask_it("POST", maps(space), config_map("held", finalizers=["example.com/hold"])), 201)
    assert done(ask_it("DELETE", f"/api/v1/namespaces/{space}"))["status"] == {"phase": "Terminating"}
    refused = done(ask_it.apply(maps(space, "late"), config_map("late")), 403)
    assert refused["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    held = server.get("ConfigMap", "held", space)
    assert held is not None


def test_an_emptied_namespace_is_gone(server: ClusterServer, ask_it: Raw) -> None:
    space = new_namespace(ask_it)
    done(ask_it.apply(apps(space, "web"), deployment("web")), 201)
    server.settle()
    done(ask_it("DELETE", f"/api/v1/namespaces/{space}"))
    server.settle()
    assert server.get("Namespace", space) is None
    assert server.objects("ConfigMap", space) == server.objects("Deployment", space, "apps") == []


# --------------------------------------------------------------------- custom resources


def test_a_kind_is_served_once_its_definition_is_established(server: ClusterServer, ask_it: Raw) -> None:
    things = "/apis/example.com/v1/namespaces/default/things"
    thing = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"list": [1, 2], "a": {}},
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    done(ask_it("POST", path, definition("things", "Thing")), 201)
    assert ask_it.apply(f"{things}/t", thing).code == 404
    server.settle()
    conditions = done(ask_it("GET", f"{path}/things.example.com"))["status"]["conditions"]
    assert {(c["type"], c["status"]) for c in conditions} == {("NamesAccepted", "True"), ("Established", "True")}
    made = done(ask_it.apply(f"{things}/t", thing), 201)
    assert owned(made, "sync") == {"f:spec": {".": {}, "f:list": {}, "f:a": {}}}
    assert made["metadata"]["generation"] == 1
    groups = done(ask_it("GET", "/apis"))["groups"]
    assert "example.com" in [group["name"] for group in groups]
    listed = done(ask_it("GET", things))
    assert (listed["kind"], listed["items"][0]["kind"]) == ("ThingList", "Thing")
    done(ask_it("DELETE", f"{path}/things.example.com"))
    assert ask_it("GET", things).code == 404


def test_a_schema_gives_defaults_and_names_the_keys_of_lists(server: ClusterServer, ask_it: Raw) -> None:
    item = {"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "integer", "default": 1}}}
    keyed = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
    spec = {"type": "object", "properties": {"parts": keyed, "mode": {"type": "string", "default": "auto"}}}
    schema = {"type": "object", "properties": {"spec": spec}}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    done(ask_it("POST", path, definition("things", "Thing", schema=schema)), 201)
    server.settle()
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    place = "/apis/example.com/v1/namespaces/default/things/t"
    done(ask_it.apply(place, {**thing, "spec": {"parts": [{"id": "a"}]}}, "one"), 201)
    both = done(ask_it.apply(place, {**thing, "spec": {"parts": [{"id": "b"}]}}, "two"))
    assert both["spec"] == {"parts": [{"id": "a", "size": 1}, {"id": "b", "size": 1}], "mode": "auto"}
    status = done(ask_it.apply(place, {**thing, "spec": {"other": 1}}, "two"), 500)
    assert ".spec.other: field not declared in schema" in status["message"]


# -------------------------------------------------------------------------- controllers


def _status(server: ClusterServer, kind: str, name: str, group: str = "apps") -> Json:
    obj = server.get(kind, name, "default", group)
    assert obj is not None
    found: Json = obj.get("status", {})
    return found


def _condition(status: Json, kind: str) -> tuple[str, str] | None:
    return next(((c["status"], c.get("reason", "")) for c in status.get("conditions", ()) if c["type"] == kind), None)


def test_a_deployment_rolls_out(server: ClusterServer, ask_it: Raw) -> None:
    done(ask_it.apply(apps("default", "web"), deployment("web", replicas=3)), 201)
    assert _status(server, "Deployment", "web") == {}
    server.settle()
    status = _status(server, "Deployment", "web")
    numbers = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    assert [status[name] for name in numbers] == [1, 3, 3, 3, 3]
    assert _condition(status, "Available") == ("True", "MinimumReplicasAvailable")
    assert _condition(status, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_deployment_s_templates_are_counted_in_an_annotation(server: ClusterServer, ask_it: Raw) -> None:
    found = []
    for spec in ({"image": "i:1"}, {"image": "i:2"}, {"image": "i:2", "replicas": 3}):
        ask_it.apply(apps("default", "web"), deployment("web", **spec))
        server.settle()
        obj = server.get("Deployment", "web", "default", "apps") or {}
        found.append(obj["metadata"]["annotations"])
    assert found == [{"deployment.kubernetes.io/revision": count} for count in ("1", "2", "2")]
    assert owned(obj, "kube-controller-manager", "Update")["f:metadata"] == {
        "f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}
    }


def test_a_broken_image_never_gets_ready_and_the_old_pods_stay(server: ClusterServer, ask_it: Raw) -> None:
    done(ask_it.apply(apps("default", "web"), deployment("web", "r/web:1", replicas=3)), 201)
    server.settle()
    done(ask_it.apply(apps("default", "web"), deployment("web", "r/web:2-broken", replicas=3)))
    server.settle()
    status = _status(server, "Deployment", "web")
    assert (status["observedGeneration"], status["updatedReplicas"], status["availableReplicas"]) == (2, 1, 3)
    assert _condition(status, "Progressing") == ("False", "ProgressDeadlineExceeded")


@pytest.mark.parametrize(
    ("image", "condition"), [("i:1", "Complete"), ("i:1-fail", "Failed")], ids=["a job completes", "a job fails"]
)
def test_jobs_end(server: ClusterServer, ask_it: Raw, image: str, condition: str) -> None:
    made = done(ask_it("POST", "/apis/batch/v1/namespaces/default/jobs", _job(image)), 201)
    server.settle()
    assert _condition(_status(server, "Job", "j", "batch"), condition) is not None
    assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": made["metadata"]["uid"]}


OTHERS = [
    pytest.param("StatefulSet", {"serviceName": "s", "replicas": 2}, ("readyReplicas", 2), id="a stateful set"),
    pytest.param("DaemonSet", {}, ("numberAvailable", 1), id="a daemon set"),
]


@pytest.mark.parametrize(("kind", "spec", "expected"), OTHERS)
def test_other_workloads_get_ready(
    server: ClusterServer, ask_it: Raw, kind: str, spec: Json, expected: tuple[str, int]
) -> None:
    body = deployment("w", **spec) | {"kind": kind}
    done(ask_it("POST", apps("default", plural=f"{kind.lower()}s"), body), 201)
    server.settle()
    status = _status(server, kind, "w")
    assert (status["observedGeneration"], status[expected[0]]) == (1, expected[1])


def test_claims_get_bound_and_balanced_services_an_address(server: ClusterServer, ask_it: Raw) -> None:
    done(ask_it("POST", "/api/v1/namespaces/default/persistentvolumeclaims", _claim("1Gi")), 201)
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    done(ask_it("POST", "/api/v1/namespaces/default/services", body), 201)
    assert _status(server, "PersistentVolumeClaim", "c", "")["phase"] == "Pending"
    server.settle()
    assert _status(server, "PersistentVolumeClaim", "c", "")["phase"] == "Bound"
    assert _status(server, "Service", "web", "")["loadBalancer"]["ingress"]


def test_without_settling_the_controllers_follow_by_themselves(tmp_path: Path) -> None:
    with ClusterServer(tmp_path, rollout=0.01) as server, Raw(server) as raw, Raw(server) as other:
        done(raw.apply(apps("default", "web"), deployment("web")), 201)
        with other.opened("GET", f"{apps('default')}?watch=1") as answer:
            events = iter(lambda: json.loads(answer.readline()), None)
            ready = next(event for event in events if event["object"].get("status"))
    assert ready["object"]["status"]["readyReplicas"] == 1


# ----------------------------------------------------------------- logins and permissions


def test_a_client_certificate_names_the_user(server: ClusterServer) -> None:
    with Raw(server, certificate=client_certificate(server, "alice")) as raw:
        assert raw("GET", maps("default")).code == 200
    assert server.requests[-1].user == "alice"


def test_a_revoked_token_is_refused_from_then_on(server: ClusterServer, ask_it: Raw) -> None:
    token = server.token_for("bob")
    assert ask_it("GET", maps("default"), authorization=f"Bearer {token}").code == 200
    server.revoke(token)
    assert ask_it("GET", maps("default"), authorization=f"Bearer {token}").code == 401


def test_impersonation_is_noted_and_obeyed(tmp_path: Path) -> None:
    def deny(user: str, verb: str, *place: str) -> str | None:
        return "" if (user, verb, *place) == ("team", "patch", "apps", "deployments", "prod", "web") else None

    with ClusterServer(tmp_path, deny=deny, controller=False) as server, Raw(server) as raw:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}
        done(raw("POST", "/api/v1/namespaces", body), 201)
        path = f"{apps('prod', 'web')}?fieldManager=m"
        refused = done(raw("PATCH", path, deployment("web"), APPLY, impersonate_user="team"), 403)
        assert raw("PATCH", path, deployment("web"), APPLY).code == 201
    assert refused["message"] == (
        'deployments.apps "web" is forbidden: User "team" cannot patch resource "deployments" in API group "apps" in '
        'the namespace "prod"'
    )
    assert refused["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    asked = [(request.user, request.impersonated_by) for request in server.asked(writes=True)]
    assert asked[1:] == [("team", "admin"), ("admin", "")]


def test_whoever_may_not_impersonate_is_refused(tmp_path: Path) -> None:
    def deny(user: str, verb: str, *_: str) -> str | None:
        return "" if verb == "impersonate" else None

    with ClusterServer(tmp_path, deny=deny, controller=False) as server, Raw(server) as raw:
        status = done(raw("GET", maps("default"), impersonate_user="root"), 403)
    assert 'cannot impersonate resource "users"' in status["message"]


# ------------------------------------------------------------------------------- faults


def _scripted(path: Path, fault: Fault) -> ClusterServer:
    """A server that fails the first write so."""
    left = [fault]
    return ClusterServer(path, script=lambda asked: left.pop() if asked.writes and left else None, controller=False)


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [
        (refuse(500, "InternalError"), 500, None),
        (refuse(503, "ServiceUnavailable"), 503, None),
        (refuse(429, "TooManyRequests", retry_after=7), 429, "7"),
        (refuse(422, "Invalid", "no"), 422, None),
        (Answer(502, b"<html>bad gateway</html>", media="text/html"), 502, None),
    ],
    ids=["an internal error", "not available", "too many requests", "invalid", "a proxy's page"],
)
def test_a_script_refuses(tmp_path: Path, fault: Answer, code: int, retry: str | None) -> None:
    with _scripted(tmp_path, fault) as server, Raw(server) as raw:
        said = raw.apply(maps("default", "a"), config_map("a"))
        assert (said.code, said.headers.get("retry-after")) == (code, retry)
        assert raw("GET", maps("default", "a")).code == 404
        assert raw.apply(maps("default", "a"), config_map("a")).code == 201


@pytest.mark.parametrize("stored", [False, True], ids=["nothing was done", "it was done"])
def test_a_connection_is_cut(tmp_path: Path, stored: bool) -> None:
    with _scripted(tmp_path, Cut(done=stored)) as server:
        with Raw(server) as raw, pytest.raises((OSError, http.client.HTTPException)):
            raw.apply(maps("default", "a"), config_map("a"))
        assert (server.get("ConfigMap", "a", "default") is not None) == stored
        assert server.requests[-1].status == 0


def test_an_answer_drips(tmp_path: Path) -> None:
    with _scripted(tmp_path, Drip(say({"a": 1}), seconds=0.0)) as server, Raw(server) as raw:
        assert raw.apply(maps("default", "a"), config_map("a")).json == {"a": 1}


def test_a_hanging_request_ends_with_the_server(tmp_path: Path) -> None:
    with Raw(server := _scripted(tmp_path, Hang())) as raw:
        raw._connection.request("POST", maps("default"), b"{}", {"authorization": f"Bearer {server.token}"})
        server.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            raw._connection.getresponse()
    assert [request.method for request in server.requests] in (["POST"], [])


def test_requests_are_remembered_and_counted(server: ClusterServer, ask_it: Raw) -> None:
    ask_it.apply(apps("default", "web"), deployment("web"), dryRun="All")
    ask_it.apply(apps("default", "web"), deployment("web"))
    assert [(r.verb, r.resource, r.name, r.manager, r.status) for r in server.asked(writes=True)] == [
        ("patch", "deployments", "web", "sync", 201)
    ]
    assert server.counts == {"patch deployments.apps (dry run)": 1, "patch deployments.apps": 1}
    assert ask_it("GET", "/demo/counts").json == server.counts


# ----------------------------------------------------------------- the official client


def test_the_official_client_applies_reads_and_watches(cluster: Cluster, space: str, tmp_path: Path) -> None:
    with official_client(cluster.kubeconfig, tmp_path) as api:
        kind = api.resources.get(api_version="apps/v1", kind="Deployment")
        body = deployment("web", replicas=2)
        made = kind.server_side_apply(body=body, name="web", namespace=space, field_manager="one")
        with pytest.raises(ConflictError) as refused:
            kind.server_side_apply(body=deployment("web", replicas=3), name="web", namespace=space, field_manager="two")
        listed = kind.get(namespace=space, label_selector="app=none")
        first = next(iter(kind.watch(namespace=space, timeout=5)))
        gone = kind.delete(name="web", namespace=space)
    assert made.spec.replicas == 2
    assert json.loads(refused.value.body or "")["details"]["causes"][0]["field"] == ".spec.replicas"
    assert (listed.kind, listed.items) == ("DeploymentList", [])
    assert (first["type"], first["object"].metadata.name) == ("ADDED", "web")
    assert gone.status == "Success"


def test_the_official_client_logs_in_with_a_certificate_of_a_plugin(server: ClusterServer, tmp_path: Path) -> None:
    crt, key = client_certificate(server, "plugin-user")
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": crt.read_text(), "clientKeyData": key.read_text()},
    }  # fmt: skip
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"print({json.dumps(json.dumps(credential))})")
    command = {"apiVersion": credential["apiVersion"], "command": sys.executable, "args": [str(plugin)]}
    kubeconfig = server.kubeconfig_for("plugin-user", {"exec": {**command, "interactiveMode": "Never"}})
    with official_client(kubeconfig, tmp_path) as api:
        api.resources.get(api_version="v1", kind="ConfigMap").get(namespace="default")
    assert {request.user for request in server.requests} == {"plugin-user"}


# ------------------------------------------------------------------------ types and process


def _fields(name: str) -> set[str]:
    """Return the fields that the official client knows of a built-in kind, as `spec.template.spec`."""
    found: set[str] = set()
    _walk(getattr(official, name), "", found)
    return found


def _walk(model: Any, path: str, found: set[str]) -> None:
    for attribute, shape in model.openapi_types.items():
        place = f"{path}.{model.attribute_map[attribute]}"
        found.add(place)
        inner = shape.partition("[")[2].rstrip("]").rpartition(", ")[2] or shape
        below = getattr(official, inner, None)
        if hasattr(below, "openapi_types") and inner != "V1JSONSchemaProps":
            _walk(below, place, found)


def _ours(node: Node, path: str) -> Iterator[tuple[str, bool]]:
    """Yield every place in a node, and whether anything goes there."""
    inner = node.element if isinstance(node, List | Map) else None
    if isinstance(inner, Map):
        yield from _ours(inner, path)
    if inner is ANY:
        yield path, True
    if isinstance(node, Map):
        for name, child in node.fields.items():
            yield f"{path}.{name}", child is ANY
            yield from _ours(child, f"{path}.{name}")


_MODELS = {"Event": "CoreV1Event", "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler"}


@pytest.mark.parametrize("resource", built_in(), ids=lambda resource: resource.kind)
def test_the_table_of_types_has_the_fields_of_the_official_client(resource: Any) -> None:
    ours = dict(_ours(resource.node, ""))
    anything = tuple(f"{path}." for path, free in ours.items() if free)
    theirs = _fields(_MODELS.get(resource.kind, f"V1{resource.kind}"))
    assert {path for path in theirs - set(ours) if not path.startswith(anything or ("#",))} == set()
    assert {path for path in set(ours) - theirs if not path.startswith(anything or ("#",))} == set()


def test_the_stand_in_runs_as_a_process_until_its_input_closes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "updater.demo.cluster", "--folder", str(tmp_path / "c"), "--rollout", "0.01"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready = json.loads(process.stdout.readline())
        with official_client(Path(ready["kubeconfig"]), tmp_path) as api:
            kind = api.resources.get(api_version="v1", kind="ConfigMap")
            made = kind.server_side_apply(
                body=config_map("a", {"k": "v"}), name="a", namespace="default", field_manager="m"
            )
        process.stdin.close()
        assert process.wait(20) == 0
    assert (made.data.k, ready["pid"]) == ("v", process.pid)
    assert ready["url"].startswith("https://127.0.0.1:")
