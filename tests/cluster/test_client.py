"""Asking one cluster: what it serves, its objects, server-side apply, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import Connect
from tests.cluster.made import config_map, definition, secret, widget
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.cluster.client import MANAGER, Cluster
from updater.cluster.credentials import Kept
from updater.cluster.login import Login
from updater.cluster.wire import Server
from updater.demo.cluster.server import ClusterServer
from updater.errors import Absent, Conflict, Denied, Refused, UnknownKind, Unreachable
from updater.model.resource import Key, Resource

# --- what it serves --------------------------------------------------------------------------------------------------


def test_the_version_is_asked_for_once(server: ClusterServer, cluster: Cluster) -> None:
    assert [cluster.version(), cluster.version()] == ["v1.34.0", "v1.34.0"]
    assert [asked.path for asked in server.requests] == ["/version"]


def test_everything_served_is_told_by_two_requests(server: ClusterServer, cluster: Cluster) -> None:
    kind = cluster.kind_of("apps", "Deployment")
    assert (kind.version, kind.plural, kind.namespaced) == ("v1", "deployments", True)
    assert not cluster.kind_of("", "Namespace").namespaced
    versions = cluster.api_versions()
    assert {"v1", "apps/v1", "v1/ConfigMap", "apps/v1/Deployment"} <= versions
    assert [asked.path for asked in server.requests] == ["/api", "/apis"]


def test_an_unknown_kind_makes_us_look_again_only_now_and_then(server: ClusterServer, connect: Connect) -> None:
    now = [0.0]
    cluster = connect(clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(UnknownKind, match=r"cluster cloud: Widget\.example\.com is not served"):
            cluster.kind_of("example.com", "Widget")
    assert server.counts["/apis"] == 1
    connect().apply(definition())
    server.settle()
    now[0] = 10.0
    assert cluster.kind_of("example.com", "Widget").plural == "widgets"


def test_a_kind_in_a_version_that_is_not_served_says_which_are(cluster: Cluster) -> None:
    with pytest.raises(UnknownKind, match="not served in version v1beta1, only in v1"):
        cluster.kind_of("apps", "Deployment", "v1beta1")


def test_an_old_server_is_asked_group_by_group_and_one_that_is_broken_hides_no_other(connect: Connect) -> None:
    answers = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"resources": [
            {"name": "pods", "kind": "Pod", "namespaced": True},
            {"name": "pods/log", "kind": "Pod", "namespaced": True},
        ]},
        "/apis": {"kind": "APIGroupList", "groups": [
            {"name": "apps", "versions": [{"version": "v1beta1"}, {"version": "v1"}],
             "preferredVersion": {"version": "v1"}},
            {"name": "metrics.k8s.io", "versions": [{"version": "v1"}]},
        ]},
        "/apis/apps/v1": {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]},
        "/apis/apps/v1beta1": {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]},
    }  # fmt: skip

    def script(asked: Asked) -> Answered:
        found = answers.get(asked.path)
        return reply(200, found) if found else reply(503, {"kind": "Status", "code": 503, "message": "down"})

    with Scripted(script) as server:
        cluster = connect(Login(Server(server.url), Kept()))
        assert cluster.kind_of("apps", "Deployment").version == "v1"
        assert cluster.kind_of("apps", "Deployment", "v1beta1").version == "v1beta1"
        assert cluster.api_versions() == {
            "v1", "apps/v1", "apps/v1beta1", "v1/Pod", "apps/v1/Deployment", "apps/v1beta1/Deployment",
        }  # fmt: skip
        with pytest.raises(Unreachable, match="the server of its API group does not answer"):
            cluster.kind_of("metrics.k8s.io", "PodMetrics")


def test_a_kind_that_went_is_unknown_and_looked_for_again(server: ClusterServer, connect: Connect) -> None:
    now = [0.0]
    cluster = connect(clock=lambda: now[0])
    cluster.apply(definition())
    server.settle()
    cluster.refresh()
    cluster.apply(widget())
    cluster.delete(definition().key)
    server.settle()
    now[0] = 10.0
    with pytest.raises(UnknownKind):
        cluster.apply(widget())
    with pytest.raises(UnknownKind, match="is its CustomResourceDefinition missing"):
        cluster.apply(widget())


# --- objects ---------------------------------------------------------------------------------------------------------


def test_an_object_that_was_applied_is_there_and_ours(server: ClusterServer, cluster: Cluster) -> None:
    made = cluster.apply(config_map(level="info"))
    assert made["data"] == {"level": "info"}
    live = cluster.get(config_map().key)
    assert live == made
    assert [(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]] == [
        (MANAGER, "Apply")
    ]
    asked = server.asked(writes=True)[0]
    assert (asked.method, asked.headers["content-type"]) == ("PATCH", "application/apply-patch+yaml")
    assert asked.query == {"fieldManager": "updater", "force": "true", "fieldValidation": "Warn"}
    assert asked.headers["user-agent"].startswith("updater/")


def test_a_field_that_is_no_longer_sent_goes(cluster: Cluster) -> None:
    cluster.apply(config_map(level="info", color="red"))
    assert cluster.apply(config_map(level="info"))["data"] == {"level": "info"}


def test_a_dry_run_shows_what_would_be_and_stores_nothing(server: ClusterServer, cluster: Cluster) -> None:
    cluster.apply(config_map(level="info"))
    assert cluster.apply(config_map(level="debug"), dry_run=True)["data"] == {"level": "debug"}
    assert cluster.get(config_map().key) == server.get("ConfigMap", "settings", "default")
    assert (cluster.get(config_map().key) or {})["data"] == {"level": "info"}


def test_what_only_a_server_writes_is_never_sent(server: ClusterServer, cluster: Cluster) -> None:
    manifest = dict(config_map(level="info").manifest) | {"status": {"x": 1}}
    manifest["metadata"] = {
        **manifest["metadata"], "managedFields": [{}], "resourceVersion": "1", "uid": "x", "creationTimestamp": None,
        "generation": 3, "annotations": {"kept": "yes"},
    }  # fmt: skip
    cluster.apply(Resource.of(manifest))
    assert json.loads(server.asked(writes=True)[0].body) == {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"level": "info"},
        "metadata": {"name": "settings", "namespace": "default", "annotations": {"kept": "yes"}},
    }  # fmt: skip


def test_a_missing_object_is_none_and_deleting_it_is_no_failure(cluster: Cluster) -> None:
    assert cluster.get(config_map().key) is None
    assert cluster.get(config_map(namespace="nowhere").key) is None
    assert not cluster.exists(config_map().key)
    assert not cluster.delete(config_map().key)


def test_an_object_is_deleted_with_what_it_owns(server: ClusterServer, cluster: Cluster) -> None:
    cluster.apply(config_map())
    assert cluster.delete(config_map().key, propagation="Background")
    assert cluster.get(config_map().key) is None
    options = json.loads(server.asked(writes=True)[-1].body)
    assert options["propagationPolicy"] == "Background"


def test_another_object_of_the_same_name_is_not_deleted(cluster: Cluster) -> None:
    cluster.apply(config_map())
    with pytest.raises(Refused):
        cluster.delete(config_map().key, uid="another-uid")
    uid = (cluster.get(config_map().key) or {})["metadata"]["uid"]
    assert cluster.delete(config_map().key, uid=uid, propagation="Background")


def test_whether_a_secret_is_there_is_asked_without_its_values(server: ClusterServer, cluster: Cluster) -> None:
    cluster.apply(secret(password="aHVudGVyMg=="))
    assert cluster.exists(secret().key)
    assert "as=PartialObjectMetadata" in server.asked()[-1].headers["accept"]


def test_a_create_makes_an_object_once(cluster: Cluster) -> None:
    assert cluster.create(config_map(level="info"))["data"] == {"level": "info"}
    with pytest.raises(Refused, match="409 AlreadyExists") as caught:
        cluster.create(config_map())
    assert caught.value.reason == "AlreadyExists"


def test_a_replacement_takes_the_place_of_what_is_there_or_makes_it(cluster: Cluster) -> None:
    assert cluster.replace(config_map(level="info", color="red"))["data"] == {"level": "info", "color": "red"}
    assert cluster.replace(config_map(level="debug"))["data"] == {"level": "debug"}


def test_a_replacement_that_is_overtaken_is_made_again(server: ClusterServer, connect: Connect) -> None:
    cluster, other = connect(), connect()
    cluster.apply(config_map(level="info"))
    overtaken: list[str] = []

    def overtake(asked: Any) -> None:
        if asked.method == "PUT" and not overtaken:
            overtaken.append(asked.path)
            other.apply(config_map(level="other"))

    server.script = overtake
    assert cluster.replace(config_map(level="mine"))["data"] == {"level": "mine"}
    assert sum(asked.method == "PUT" for asked in server.requests) == 2


@pytest.mark.parametrize(
    ("patch", "kind"),
    [([{"op": "replace", "path": "/data/level", "value": "debug"}], "json"), ({"data": {"level": "debug"}}, "merge")],
    ids=["json", "merge"],
)  # fmt: skip
def test_a_patch_changes_a_field(cluster: Cluster, patch: Any, kind: str) -> None:
    cluster.apply(config_map(level="info"))
    assert cluster.patch(config_map().key, patch, kind=kind)["data"] == {"level": "debug"}


def test_lists_come_in_pages_with_kind_and_version(server: ClusterServer, cluster: Cluster) -> None:
    for number in range(501):
        cluster.apply(config_map(f"c{number:03}", labels={"of": "us"}))
    cluster.apply(config_map("foreign"))
    server.forget()
    listing = cluster.list(cluster.kind_of("", "ConfigMap"), selector="of=us")
    assert [item["metadata"]["name"] for item in listing.items] == [f"c{number:03}" for number in range(501)]
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert listing.resource_version
    assert [asked.query["limit"] for asked in server.asked()] == ["500", "500"]


def test_a_list_that_expires_between_its_pages_begins_again(server: ClusterServer, cluster: Cluster) -> None:
    for number in range(501):
        cluster.apply(config_map(f"c{number:03}"))
    expired: list[str] = []

    def expire(asked: Any) -> None:
        if "continue" in asked.query and not expired:
            expired.append(asked.path)
            cluster.apply(config_map("late"))
            server.compact()

    server.script = expire
    listing = cluster.list(cluster.kind_of("", "ConfigMap"), namespace="default")
    assert expired
    assert {item["metadata"]["name"] for item in listing.items} >= {"c000", "c500", "late"}
    assert len(listing.items) == len({item["metadata"]["name"] for item in listing.items})


# --- what refusals mean ----------------------------------------------------------------------------------------------


def test_a_conflict_names_the_fields_and_who_owns_them(cluster: Cluster) -> None:
    cluster.patch(
        Key("", "ConfigMap", "default", str(cluster.apply(config_map(level="info"))["metadata"]["name"])),
        {"data": {"color": "red"}}, kind="merge",
    )  # fmt: skip
    with pytest.raises(Conflict) as caught:
        cluster.apply(config_map(color="blue"), force=False)
    assert caught.value.fields == ((".data.color", "updater"),)
    assert cluster.apply(config_map(color="blue"))["data"]["color"] == "blue"


def test_a_missing_namespace_is_absent(cluster: Cluster) -> None:
    with pytest.raises(
        Absent, match='apply of ConfigMap nowhere/settings at cluster cloud: 404 NotFound: namespaces "nowhere"'
    ):
        cluster.apply(config_map(namespace="nowhere"))


def test_a_login_without_the_right_is_denied(server: ClusterServer, connect: Connect) -> None:
    server.api.deny = lambda *asked: "no" if asked[1] == "patch" else None
    with pytest.raises(Denied, match="403") as caught:
        connect().apply(config_map())
    assert caught.value.status == 403


def test_a_login_that_is_not_known_is_denied(server: ClusterServer, cluster: Cluster) -> None:
    server.revoke(server.token)
    with pytest.raises(Denied, match="does the cluster know this login") as caught:
        cluster.get(config_map().key)
    assert caught.value.status == 401


def test_it_acts_as_the_user_it_is_told(server: ClusterServer, connect: Connect) -> None:
    connect(impersonate="system:serviceaccount:shop:deployer").apply(config_map())
    connect(impersonate="somebody").apply(config_map(), as_user="system:serviceaccount:shop:other")
    writers = [(asked.user, asked.impersonated_by) for asked in server.asked(writes=True)]
    assert writers == [("system:serviceaccount:shop:deployer", "admin"), ("system:serviceaccount:shop:other", "admin")]


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("../../secrets/x", "default"), ("..", "default"), ("a%2fb", "default"), ("x", "../kube-system"), ("x", "..")],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_never_asked_for(
    server: ClusterServer, cluster: Cluster, name: str, namespace: str
) -> None:
    with pytest.raises(Refused, match="is no name of an object or namespace"):
        cluster.apply(config_map(name, namespace))
    with pytest.raises(Refused):
        cluster.delete(Key("", "ConfigMap", namespace, name))
    assert not server.asked()


def test_a_user_that_would_add_headers_is_never_sent(server: ClusterServer, connect: Connect) -> None:
    with pytest.raises(Refused, match="is no user to act as"):
        connect(impersonate="x\r\nImpersonate-Group: system:masters").get(config_map().key)
    assert not server.requests


def test_a_value_that_json_does_not_know_is_refused_without_asking(server: ClusterServer, cluster: Cluster) -> None:
    for value in (b"bytes", float("nan"), datetime(2026, 1, 1, tzinfo=UTC)):
        with pytest.raises(Refused, match="a value that JSON does not know"):
            cluster.apply(config_map(level=value))
    assert not server.asked(writes=True)


def test_unknown_fields_of_a_replacement_are_warned_about(cluster: Cluster) -> None:
    warnings: list[str] = []
    manifest = {**config_map(level="info").manifest, "datta": {}}
    cluster.create(Resource.of(manifest), warn=warnings.append)
    assert warnings == ['unknown field "datta"']


def status(code: int, reason: str, message: str, **details: Any) -> bytes:
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return reply(code, document | {"code": code, "details": details})


def cause(reason: str, field: str, message: str) -> dict[str, str]:
    return {"reason": reason, "field": field, "message": message}


_RBAC = 'configmaps "settings" is forbidden: User "u" cannot patch resource "configmaps" in API group ""'
_WEBHOOK = 'admission webhook "policy.example.com" denied the request: no latest'
_ENDING = [cause("NamespaceTerminating", "metadata.namespace", "namespace x is being terminated")]
_INVALID = [cause("FieldValueInvalid", "data.x", "Invalid value: 5")]
_UNTYPED = "failed to create typed patch object (x): .spec.y: field not declared in schema"
_FORBIDDEN, _MISSING = partial(status, 403, "Forbidden"), partial(status, 404, "NotFound")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (_FORBIDDEN(_RBAC), Denied, "cannot patch"),
        (reply(403, b"<html>no</html>"), Denied, "not from the API server"),
        (_FORBIDDEN("exceeded quota: q, requested: pods=1"), Refused, "exceeded quota"),
        (_FORBIDDEN(_WEBHOOK), Refused, "no latest"),
        (_FORBIDDEN("unable to create new content in namespace x", causes=_ENDING), Absent, "unable to create"),
        (_MISSING('namespaces "x" not found', name="x", kind="namespaces"), Absent, "not found"),
        (_MISSING("the server could not find the requested resource"), UnknownKind, "requested resource"),
        (reply(404, b"404 page not found\n"), UnknownKind, "no such path"),
        (reply(404, b"<html>default backend</html>"), Unreachable, "not from the API server"),
        (status(422, "Invalid", "settings is invalid", causes=_INVALID), Refused, "422 Invalid: settings is invalid"),
        (status(400, "BadRequest", "strict decoding error"), Refused, "strict decoding"),
        (status(413, "RequestEntityTooLarge", "limit is 3145728"), Refused, "limit is"),
        (status(415, "UnsupportedMediaType", "no"), Refused, "415"),
        (status(500, "", _UNTYPED), Refused, "not declared"),
        (status(500, "InternalError", 'failed calling webhook "x": refused'), Unreachable, "calling webhook"),
        (reply(502, b"bad gateway"), Unreachable, "502"),
        (status(504, "Timeout", "request did not complete"), Unreachable, "did not complete"),
        (reply(302, b"", ("Location", "https://login.example.com/")), Unreachable, "redirects are not followed"),
        (reply(200, b"<html>login</html>", ("Content-Type", "text/html")), Unreachable, r"\(text/html\) is not JSON"),
        (reply(200, [1]), Unreachable, "is not JSON"),
        (reply(200, b"[" * 100_000), Unreachable, "is not JSON"),
    ],
)  # fmt: skip
def test_each_answer_has_one_meaning(connect: Connect, answer: bytes, error: type[Exception], words: str) -> None:
    with Scripted(only_on_writes(answer)) as server:
        cluster = connect(Login(Server(server.url), Kept()))
        with pytest.raises(error, match=words) as caught:
            cluster.apply(config_map())
        assert str(caught.value).startswith("apply of ConfigMap default/settings at cluster cloud: ")


def only_on_writes(answered: bytes) -> Callable[[Asked], Answered]:
    """Serve two kinds, and one answer to everything else."""
    listed = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True} for kind in ("ConfigMap", "Secret")]
    known = {"/api": {"versions": ["v1"]}, "/api/v1": {"resources": listed}, "/apis": {"groups": []}}
    return lambda asked: reply(200, known[asked.path]) if asked.path in known else answered


def test_causes_are_named_for_people(connect: Connect) -> None:
    with (
        Scripted(only_on_writes(status(422, "Invalid", "settings is invalid", causes=_INVALID))) as server,
        pytest.raises(Refused) as caught,
    ):
        connect(Login(Server(server.url), Kept())).apply(config_map())
    assert (caught.value.reason, caught.value.causes) == ("Invalid", ("data.x: Invalid value: 5",))


@pytest.mark.parametrize("code", [400, 403, 422, 500, 503])
def test_what_a_server_says_about_a_secret_is_not_repeated(connect: Connect, code: int) -> None:
    canary = "aHVudGVyMg-canary"
    causes = [cause("FieldValueInvalid", "data[password]", f'Invalid value: "{canary}"')]
    with (
        Scripted(only_on_writes(status(code, "Invalid", f"login is invalid: {canary}", causes=causes))) as server,
        pytest.raises((Refused, Unreachable)) as caught,
    ):
        connect(Login(Server(server.url), Kept()), request_seconds=0.5).apply(secret(password=canary))
    told = f"{caught.value} {getattr(caught.value, 'causes', '')} {caught.value!r}"
    assert canary not in told
    assert "in data[password]" in told


def test_hostile_words_become_one_bounded_line(connect: Connect) -> None:
    with (
        Scripted(only_on_writes(status(422, "In\nvalid", "a\n\x1b[31mb" + "x" * 100_000))) as server,
        pytest.raises(Refused) as caught,
    ):
        connect(Login(Server(server.url), Kept())).apply(config_map())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
