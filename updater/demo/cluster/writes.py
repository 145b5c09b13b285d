"""The writes: create, replace, patch, apply and delete, as the real server orders their steps.

An object's kind and place are checked first, then unknown fields, ownership, defaults, validation; last it is stored,
unless it is a dry run.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import yaml

from updater.demo.cluster import failures, managers, patches
from updater.demo.cluster.asked import Asked
from updater.demo.cluster.defaults import carried, defaulted
from updater.demo.cluster.failures import ApiError
from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.managers import APPLY, UPDATE, Writer
from updater.demo.cluster.objects import Key, Store, Stored, new_uid, now
from updater.demo.cluster.ownership import ShapeError
from updater.demo.cluster.patches import copied
from updater.demo.cluster.schemas import Json, pruned
from updater.demo.cluster.validation import faults_of

APPLY_TYPES = ("application/apply-patch+yaml", "application/apply-patch+json")
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
_GENERATED = frozenset({
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Ingress", "IngressClass",
    "NetworkPolicy", "PodDisruptionBudget", "CustomResourceDefinition", "Pod",
})  # fmt: skip
_FROM_SERVER = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
_KEPT = ("default", "kube-system", "kube-public")  # namespaces that nobody may delete
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write came to: the object, and whether it is new."""

    stored: Stored
    created: bool = False
    warnings: list[str] = field(default_factory=list)


class Writes:
    """The writes on a store; each is one step for everybody else."""

    def __init__(self, store: Store, namespaces: Resource) -> None:
        self._store, self._namespaces = store, namespaces

    # ----------------------------------------------------------------- create

    def create(self, asked: Asked, resource: Resource) -> Outcome:
        """Store a new object from the body of a POST. Raises ApiError."""
        warnings: list[str] = []
        body = _known(asked, resource, _decoded(asked), warnings)
        meta = body["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + secrets.token_hex(3)[:5]
        if not meta.get("name"):
            why = failures.cause("metadata.name", "required", "name or generateName is required")
            raise failures.invalid(resource.group, resource.kind, "", [why])
        _place(asked, resource, body, meta["name"])
        if resource.status:
            body.pop("status", None)
        key = (asked.namespace if resource.namespaced else "", meta["name"])
        with self._store.lock:
            self._check_namespace(resource, asked.namespace)
            if self._store.get(resource, key):
                raise failures.already_exists(resource.group, resource.plural, meta["name"])
            _born(resource, body)
            _complete(resource, body)
            new = _owned(None, body, resource, asked)
            return Outcome(self._save(resource, key, new, None, asked), created=True, warnings=warnings)

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        found = self._store.get(self._namespaces, ("", namespace))
        if found is None:
            raise failures.not_found("", "namespaces", namespace)

    def _check_open(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self._store.get(self._namespaces, ("", namespace))
        if found and found.obj.get("status", {}).get("phase") == "Terminating":
            told = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise failures.forbidden(resource.group, resource.plural, name, text, [told])

    # ----------------------------------------------------------------- update

    def replace(self, asked: Asked, resource: Resource) -> Outcome:
        """Replace an object by the body of a PUT. Raises ApiError."""
        warnings: list[str] = []
        body = _known(asked, resource, _decoded(asked), warnings)
        _place(asked, resource, body, asked.name)
        with self._store.lock:
            old = self.found(asked, resource)
            return Outcome(self._change(asked, resource, old, body), warnings=warnings)

    def patch(self, asked: Asked, resource: Resource) -> Outcome:
        """Patch an object in one of the four ways. Raises ApiError."""
        media = asked.headers.get("content-type", "").partition(";")[0].strip()
        if media in APPLY_TYPES:
            return self._apply(asked, resource)
        if media not in _PATCHES or (resource.custom and "strategic" in media):
            raise failures.unsupported_media(media, _PATCHES)
        patch = _json(asked.body)
        warnings: list[str] = []
        with self._store.lock:
            old = self.found(asked, resource)
            body = _known(asked, resource, _patched(old.obj, patch, media, resource), warnings)
            _place(asked, resource, body, asked.name)
            return Outcome(self._change(asked, resource, old, body), warnings=warnings)

    def found(self, asked: Asked, resource: Resource) -> Stored:
        """Return the object that is asked for. Raises ApiError 404."""
        key = (asked.namespace if resource.namespaced else "", asked.name)
        found = self._store.get(resource, key)
        if found is None:
            raise failures.not_found(resource.group, resource.plural, asked.name)
        return found

    def _change(self, asked: Asked, resource: Resource, old: Stored, body: Json) -> Stored:
        """Store what an object becomes by a write that is no apply."""
        _check_version(resource, old, body["metadata"])
        body = _restricted(resource, old.obj, body, asked.subresource)
        carried(resource.kind, resource.group, body, old.obj)
        _complete(resource, body)
        new = _owned(old.obj, body, resource, asked)
        return self._save(resource, old.key, new, old, asked)

    # ------------------------------------------------------------------ apply

    def _apply(self, asked: Asked, resource: Resource) -> Outcome:
        if not asked.query.get("fieldManager"):
            why = failures.cause("fieldManager", "required", "is required for apply patch")
            raise failures.invalid("meta.k8s.io", "PatchOptions", "", [why])
        config = _bare(_yaml(asked.body))
        meta = config.setdefault("metadata", {})
        meta.setdefault("name", asked.name)
        _check_kind(resource, config)
        _place(asked, resource, config, asked.name)
        if meta.pop("managedFields", None):
            raise failures.bad_request("metadata.managedFields must be nil")
        wanted = {name: meta.pop(name, None) for name in ("resourceVersion", *_FROM_SERVER)}
        if resource.status and asked.subresource != "status":
            config.pop("status", None)
        writer = Writer(asked.manager, APPLY, resource.api_version, asked.subresource)
        key = (asked.namespace if resource.namespaced else "", asked.name)
        with self._store.lock:
            old = self._store.get(resource, key)
            if old is None:
                return self._applied_new(asked, resource, config, writer, wanted)
            _check_version(resource, old, wanted)
            new = self._merged(asked, resource, old.obj, config, writer)
            if new == old.obj:
                return Outcome(old)
            new = copied(new)
            if asked.subresource == "status":
                new = old.obj | {"status": new.get("status"), "metadata": new["metadata"]}
            _complete(resource, new)
            return Outcome(self._save(resource, key, new, old, asked))

    def _applied_new(self, asked: Asked, resource: Resource, config: Json, writer: Writer, wanted: Json) -> Outcome:
        if wanted["uid"] or wanted["resourceVersion"]:
            why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: "
            raise failures.conflict(resource.group, resource.plural, asked.name, why if wanted["uid"] else "")
        if asked.subresource:
            raise failures.not_found(resource.group, resource.plural, asked.name)
        self._check_namespace(resource, asked.namespace)
        new = copied(self._merged(asked, resource, None, config, writer))
        _born(resource, new)
        _complete(resource, new)
        return Outcome(
            self._save(resource, (config["metadata"].get("namespace", ""), asked.name), new, None, asked), created=True
        )

    def _merged(self, asked: Asked, resource: Resource, live: Json | None, config: Json, writer: Writer) -> Json:
        force = asked.query.get("force", "").lower() in ("true", "1")
        try:
            return managers.applied(live, config, resource.node, writer, now(), force=force)
        except ShapeError as err:
            place = f"{asked.namespace if resource.namespaced else ''}/{asked.name}; {_gvk(resource)}"
            raise ApiError(500, "", f"failed to create typed patch object ({place}): {err}") from None

    # ------------------------------------------------------------------ delete

    def delete(self, asked: Asked, resource: Resource) -> Json:
        """Delete an object, or mark it where finalizers hold it; return what the server says. Raises ApiError."""
        options = _json(asked.body) if asked.body else {}
        policy = options.get("propagationPolicy") or asked.query.get("propagationPolicy") or "Background"
        dry = asked.dry_run or options.get("dryRun") == ["All"]
        with self._store.lock:
            old = self.found(asked, resource)
            _check_preconditions(resource, old, options.get("preconditions") or {})
            if resource is self._namespaces and old.key[1] in _KEPT:
                why = "this namespace may not be deleted"
                raise failures.forbidden(resource.group, resource.plural, old.key[1], why)
            new = self._marked(resource, old, policy)
            if new is not None:
                if dry or new == old.obj:
                    return new
                return self._store.put(resource, old.key, new).obj
            if not dry:
                self._store.drop(resource, old.key)
        if resource.kind == "Pod":
            return old.obj
        details = failures.details_of(resource.group, resource.plural, asked.name) | {"uid": old.obj["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _marked(self, resource: Resource, old: Stored, policy: str) -> Json | None:
        """Return the object as it waits for its finalizers; None where nothing holds it."""
        meta = old.obj["metadata"]
        held = list(meta.get("finalizers") or [])
        if "deletionTimestamp" not in meta:
            held += {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
        namespace = resource is self._namespaces and bool(old.obj["spec"].get("finalizers"))
        if not held and not namespace:
            return None
        if "deletionTimestamp" in meta:
            return old.obj
        meta = meta | {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        if held:
            meta["finalizers"] = list(dict.fromkeys(held))
        if "generation" in meta:
            meta["generation"] += 1
        new = old.obj | {"metadata": meta}
        return new | {"status": {"phase": "Terminating"}} if namespace else new

    # ------------------------------------------------------------------- store

    def _save(self, resource: Resource, key: Key, new: Json, old: Stored | None, asked: Asked) -> Stored:
        """Validate and store, unless nothing changed or it is a dry run. Raises ApiError 403 and 422."""
        if old is not None and managers.same_but_times(new, old.obj):
            return old
        if causes := faults_of(resource, new, old.obj if old else None):
            raise failures.invalid(resource.group, resource.kind, key[1], causes)
        if old is None:
            self._check_open(resource, key[0], key[1])
        else:
            _next_generation(resource, new, old.obj)
        if asked.dry_run:
            version = old.obj["metadata"].get("resourceVersion") if old else None
            new["metadata"] = {k: v for k, v in new["metadata"].items() if k != "resourceVersion"}
            if version:
                new["metadata"]["resourceVersion"] = version
            return Stored(new, key, 0)
        meta = new["metadata"]
        if old is not None and "deletionTimestamp" in meta and not meta.get("finalizers") and not _namespace_holds(new):
            return self._store.drop(resource, key) or old
        return self._store.put(resource, key, new)

    def status_by_controller(
        self, resource: Resource, key: Key, status: Json, manager: str, notes: dict[str, str] | None = None
    ) -> None:
        """Write a status, and annotations, as a controller does; nothing happens where the object is gone."""
        with self._store.lock:
            old = self._store.get(resource, key)
            if old is None:
                return
            meta = old.obj["metadata"]
            if notes:
                meta = meta | {"annotations": {**meta.get("annotations", {}), **notes}}
            wish = old.obj | {"metadata": meta, "status": status}
            if wish == old.obj:
                return
            writer = Writer(manager, UPDATE, resource.api_version, "status")
            self._store.put(resource, key, managers.updated(old.obj, wish, resource.node, writer, now()))


def _namespace_holds(obj: Json) -> bool:
    return obj["kind"] == "Namespace" and obj["apiVersion"] == "v1" and bool(obj["spec"].get("finalizers"))


def _gvk(resource: Resource) -> str:
    return f"{'' if resource.group else '/'}{resource.api_version}, Kind={resource.kind}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as err:
        raise failures.bad_request(f"error decoding patch: {err}") from None


def _yaml(body: bytes) -> Json:
    try:
        found = json.loads(body) if body.lstrip()[:1] == b"{" else yaml.load(body, yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError) as err:
        raise failures.bad_request(f"error decoding YAML: {err}") from None
    if not isinstance(found, dict):
        raise failures.bad_request("error decoding YAML: the body is no object")
    return found


def _decoded(asked: Asked) -> Json:
    """Return the object in the body of a POST or PUT: JSON or YAML."""
    media = asked.headers.get("content-type", "application/json").partition(";")[0].strip()
    if media not in ("application/json", "application/yaml", ""):
        raise failures.unsupported_media(media, ("application/json", "application/yaml"))
    return _yaml(asked.body)


def _bare(value: Any) -> Any:
    """Return a configuration without its nulls."""
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_bare(inner) for inner in value]
    return value


def _known(asked: Asked, resource: Resource, body: Json, warnings: list[str]) -> Json:
    """Return a copy of the body with the fields that its kind has. Raises ApiError 400 for others when strict.

    A built-in kind need not be named in the body: the address says it.
    """
    if not resource.custom:
        body = {"kind": resource.kind, "apiVersion": resource.api_version} | body
    _check_kind(resource, body)
    unknown: list[str] = []
    found: Json = pruned(body, resource.node, unknown)
    found.setdefault("metadata", {})
    told = [f'unknown field "{path}"' for path in unknown]
    directive = asked.query.get("fieldValidation", "Warn")
    if told and directive == "Strict":
        text = f"strict decoding error: {', '.join(told)}"
        what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise failures.bad_request(text if asked.method == "PATCH" else f"{what}: {text}")
    if directive == "Warn":
        warnings += told
    return found


def _check_kind(resource: Resource, body: Json) -> None:
    """Check that a body is of the kind that is served here. Raises ApiError 400."""
    kind, version = body.get("kind"), body.get("apiVersion")
    if not kind or not version:
        missing = "Kind" if not kind else "apiVersion"
        raise failures.bad_request(f"Object '{missing}' is missing in '{json.dumps(body)[:200]}'")
    if version != resource.api_version:
        expected = f"expected API version ({resource.api_version})"
        raise failures.bad_request(f"the API version in the data ({version}) does not match the {expected}")
    if kind != resource.kind:
        what = f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise failures.bad_request(f"{what}: no kind {resource.kind} in the data")
    if not isinstance(body.get("metadata", {}), dict):
        raise failures.bad_request("json: cannot unmarshal into Go struct field .metadata")


def _place(asked: Asked, resource: Resource, body: Json, name: str) -> None:
    """Check an object's name and namespace against its address, and complete them. Raises ApiError 400."""
    meta = body["metadata"]
    found = meta.setdefault("name", name)
    if found != name:
        raise failures.bad_request(f"the name of the object ({found}) does not match the name on the URL ({name})")
    if not resource.namespaced:
        meta.pop("namespace", None)
        return
    space = meta.setdefault("namespace", asked.namespace)
    if space != asked.namespace:
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise failures.bad_request(text)


def _check_version(resource: Resource, old: Stored, meta: Json) -> None:
    version, uid = meta.get("resourceVersion"), meta.get("uid")
    live = old.obj["metadata"]
    if uid and uid != live["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['uid']}"
        raise failures.conflict(resource.group, resource.plural, live["name"], why)
    if version and version != live["resourceVersion"]:
        raise failures.conflict(resource.group, resource.plural, live["name"])


def _check_preconditions(resource: Resource, old: Stored, wanted: Json) -> None:
    live = old.obj["metadata"]
    for name, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(name) and wanted[name] != live[name]:
            why = f"Precondition failed: {word} in precondition: {wanted[name]}, {word} in object meta: {live[name]}"
            raise failures.conflict(resource.group, resource.plural, live["name"], why)


def _patched(live: Json, patch: Any, media: str, resource: Resource) -> Json:
    found: Any
    match media:
        case "application/json-patch+json":
            found = patches.json_patched(live, patch)
        case "application/merge-patch+json":
            found = patches.merge_patched(live, patch)
        case _:
            found = patches.strategically_patched(live, patch, resource.node)
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise failures.bad_request("the patch leaves no object")
    return found


def _restricted(resource: Resource, live: Json, body: Json, subresource: str) -> Json:
    """Return what a write may change: the status alone at /status, else all but the status and the server's fields."""
    meta = {key: value for key, value in body["metadata"].items() if key not in _FROM_SERVER}
    meta |= {key: live["metadata"][key] for key in ("resourceVersion", *_FROM_SERVER) if key in live["metadata"]}
    if subresource == "status":
        kept: Json = copied(live)
        kept["metadata"] |= {key: meta[key] for key in ("managedFields",) if key in meta}
        return kept | ({"status": body["status"]} if "status" in body else {})
    new: Json = body | {"metadata": meta}
    if subresource == "finalize":
        return {**copied(live), "spec": new["spec"]}
    if resource.status:
        new.pop("status", None)
        if "status" in live:
            new["status"] = live["status"]
    return new


def _owned(live: Json | None, new: Json, resource: Resource, asked: Asked) -> Json:
    """Return the object with its managed fields after a write that is no apply."""
    writer = Writer(asked.manager, UPDATE, resource.api_version, asked.subresource)
    if resource.status and not asked.subresource:
        status = new.pop("status", None)
        before = {key: value for key, value in live.items() if key != "status"} if live else None
        found = managers.updated(before, new, resource.node, writer, now())
        return found | {"status": status} if status is not None else found
    return managers.updated(live, new, resource.node, writer, now())


def _born(resource: Resource, obj: Json) -> None:
    meta = obj["metadata"]
    for name in ("resourceVersion", *_FROM_SERVER):
        meta.pop(name, None)
    meta |= {"uid": new_uid(), "creationTimestamp": now()}
    if resource.custom or resource.kind in _GENERATED:
        meta["generation"] = 1


def _complete(resource: Resource, obj: Json) -> None:
    if resource.custom:
        obj |= pruned(obj, resource.node, [])
        return
    try:
        defaulted(resource.kind, resource.group, obj)
    except (AttributeError, TypeError, ValueError) as err:
        what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise failures.bad_request(f"{what}: json: cannot unmarshal: {err}") from None


def _next_generation(resource: Resource, new: Json, old: Json) -> None:
    if "generation" not in old["metadata"]:
        return
    skipped = ("metadata", "status") if resource.status else ("metadata",)
    if any(new.get(key) != old.get(key) for key in {**new, **old} if key not in skipped):
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1
