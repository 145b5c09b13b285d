"""What the server refuses: names, missing fields, and changes of what may not change. Far from everything it would."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from updater.demo.cluster.failures import Cause, cause
from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.schemas import Json

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_DATA_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_MAX_ANNOTATIONS, _MAX_DATA = 256 << 10, 1 << 20  # bytes
_PATH_NAMED = "rbac.authorization.k8s.io"  # its names are path segments: `system:node` is one
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def faults_of(resource: Resource, new: Json, old: Json | None) -> list[Cause]:
    """Return why an object can't be stored; empty where it can."""
    found = list(_metadata(resource, new["metadata"]))
    if resource.custom:
        return found
    place = (resource.group, resource.kind)
    if required := _REQUIRED.get(place):
        found += required(new)
    if old is not None and (fixed := _FIXED.get(place)):
        found += fixed(new, old)
    return found


def _metadata(resource: Resource, meta: Json) -> Iterator[Cause]:
    name = meta.get("name", "")
    if resource.group == _PATH_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            yield cause("metadata.name", "invalid", f"{_shown(name)}: may not contain '/' or '%'")
    elif resource.kind in ("Namespace", "Service") and (len(name) > 63 or not _DNS_LABEL.fullmatch(name)):
        yield cause("metadata.name", "invalid", f"{_shown(name)}: {_LABEL_RULE}")
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield cause("metadata.name", "invalid", f"{_shown(name)}: {_SUBDOMAIN_RULE}")
    if sum(len(key) + len(value) for key, value in (meta.get("annotations") or {}).items()) > _MAX_ANNOTATIONS:
        yield _too_long("metadata.annotations", _MAX_ANNOTATIONS)
    for key, value in (meta.get("labels") or {}).items():
        if not _LABEL_KEY.fullmatch(key):
            yield cause("metadata.labels", "invalid", f"{_shown(key)}: {_KEY_RULE}")
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            yield cause("metadata.labels", "invalid", f"{_shown(value)}: {_VALUE_RULE}")


def _too_long(field: str, limit: int) -> Cause:
    return {"reason": "FieldValueTooLong", "message": f"Too long: may not be more than {limit} bytes", "field": field}


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _pods(spec: Json, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield cause(f"{path}.containers", "required", "")
    seen: set[str] = set()
    for index, container in enumerate(spec.get("containers", ())):
        place = f"{path}.containers[{index}]"
        name = container.get("name", "")
        if not name:
            yield cause(f"{place}.name", "required", "")
        elif not _DNS_LABEL.fullmatch(name):
            yield cause(f"{place}.name", "invalid", f"{_shown(name)}: {_LABEL_RULE}")
        if name in seen:
            yield cause(f"{place}.name", "duplicate", _shown(name))
        seen.add(name)
        if not container.get("image"):
            yield cause(f"{place}.image", "required", "")
        known = {volume.get("name") for volume in spec.get("volumes", ())}
        for number, mount in enumerate(container.get("volumeMounts", ())):
            if mount.get("name") not in known and "serviceaccount" not in mount.get("mountPath", ""):
                message = f"Not found: {_shown(mount.get('name', ''))}"
                field = f"{place}.volumeMounts[{number}].name"
                yield {"reason": "FieldValueNotFound", "message": message, "field": field}


def _workload(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    selector = spec.get("selector")
    labels = spec["template"]["metadata"].get("labels", {})
    if not selector:
        yield cause("spec.selector", "required", "")
    elif any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        message = f"{_shown(labels)}: `selector` does not match template `labels`"
        yield cause("spec.template.metadata.labels", "invalid", message)
    if spec.get("replicas", 0) < 0:
        yield cause("spec.replicas", "invalid", f"{spec['replicas']}: must be greater than or equal to 0")
    yield from _pods(spec["template"]["spec"], "spec.template.spec")


def _job(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]["template"]["spec"]
    if spec.get("restartPolicy") not in ("OnFailure", "Never"):
        found = _shown(spec.get("restartPolicy", ""))
        yield cause(
            "spec.template.spec.restartPolicy", "unsupported", f'{found}: supported values: "OnFailure", "Never"'
        )
    yield from _pods(spec, "spec.template.spec")


def _cron_job(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    if not spec.get("schedule"):
        yield cause("spec.schedule", "required", "")
    elif len(spec["schedule"].split()) not in (1, 5):
        yield cause("spec.schedule", "invalid", f"{_shown(spec['schedule'])}: expected exactly 5 fields")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    yield from _pods(pod, "spec.jobTemplate.spec.template.spec")


def _service(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    if not spec.get("ports") and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        yield cause("spec.ports", "required", "")
    for index, port in enumerate(spec.get("ports", ())):
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            message = f"{_shown(port.get('port', 0))}: must be between 1 and 65535, inclusive"
            yield cause(f"spec.ports[{index}].port", "invalid", message)
        if len(spec["ports"]) > 1 and not port.get("name"):
            yield cause(f"spec.ports[{index}].name", "required", "")


def _claim(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield cause("spec.accessModes", "required", "at least 1 access mode is required")
    if not (spec.get("resources") or {}).get("requests", {}).get("storage"):
        yield cause("spec.resources[storage]", "required", "")


def _data(field: str) -> Callable[[Json], Iterator[Cause]]:
    def check(obj: Json) -> Iterator[Cause]:
        every = itertools.chain((obj.get("data") or {}).values(), (obj.get("binaryData") or {}).values())
        if sum(len(value) for value in every) > _MAX_DATA:
            yield _too_long(field, _MAX_DATA)
        for key in itertools.chain(obj.get("data") or {}, obj.get("binaryData") or {}):
            if len(key) > 253 or not _DATA_KEY.fullmatch(key):
                yield cause(f"data[{key}]", "invalid", f"{_shown(key)}: {_DATA_RULE}")

    return check


def _definition(obj: Json) -> Iterator[Cause]:
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    names = spec.get("names", {})
    expected = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if name != expected:
        yield cause("metadata.name", "invalid", f'{_shown(name)}: must be spec.names.plural+"."+spec.group')
    if not spec.get("versions"):
        yield cause("spec.versions", "invalid", "[]: must have exactly one version marked as storage version")
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        found = _shown(spec.get("scope", ""))
        yield cause("spec.scope", "unsupported", f'{found}: supported values: "Cluster", "Namespaced"')


def _only(obj: Json, *path: str) -> Any:
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _immutable(*path: str) -> Callable[[Json, Json], Iterator[Cause]]:
    def check(new: Json, old: Json) -> Iterator[Cause]:
        if _only(new, *path) != _only(old, *path):
            yield cause(".".join(path), "invalid", f"{_shown(_only(new, *path))}: field is immutable")

    return check


def _each(*checks: Callable[[Json, Json], Iterator[Cause]]) -> Callable[[Json, Json], Iterator[Cause]]:
    def check(new: Json, old: Json) -> Iterator[Cause]:
        for one in checks:
            yield from one(new, old)

    return check


_STATEFUL = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
             "persistentVolumeClaimRetentionPolicy", "minReadySeconds")  # fmt: skip


def _stateful_set(new: Json, old: Json) -> Iterator[Cause]:
    if _but(new["spec"], _STATEFUL) != _but(old["spec"], _STATEFUL):
        names = ", ".join(f"'{name}'" for name in _STATEFUL[:-1])
        text = f"updates to statefulset spec for fields other than {names} and '{_STATEFUL[-1]}' are forbidden"
        yield cause("spec", "forbidden", text)


def _but(spec: Json, names: tuple[str, ...]) -> Json:
    return {key: value for key, value in spec.items() if key not in names}


def _addresses(new: Json, old: Json) -> Iterator[Cause]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and after and before != after and "ExternalName" not in (old["spec"]["type"], new["spec"]["type"]):
        yield cause("spec.clusterIPs[0]", "invalid", f"{_shown([after])}: may not change once set")


_CLAIM = ("resources", "volumeAttributesClassName", "volumeName")


def _claim_fixed(new: Json, old: Json) -> Iterator[Cause]:
    if _but(new["spec"], _CLAIM) != _but(old["spec"], _CLAIM):
        yield cause("spec", "forbidden", "spec is immutable after creation except resources.requests and"
                    " volumeAttributesClassName for bound claims")  # fmt: skip


def _frozen_data(new: Json, old: Json) -> Iterator[Cause]:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield cause("immutable", "forbidden", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if new.get(field) != old.get(field):
            yield cause(field, "forbidden", "field is immutable when `immutable` is set")


def _role_ref(new: Json, old: Json) -> Iterator[Cause]:
    if new.get("roleRef") != old.get("roleRef"):
        yield cause("roleRef", "invalid", f"{_shown(new.get('roleRef'))}: cannot change roleRef")


def _pod_fixed(new: Json, old: Json) -> Iterator[Cause]:
    names = (
        "containers",
        "initContainers",
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
        "nodeName",
    )
    before = [_but(c, ("image",)) for c in old["spec"].get("containers", ())]
    after = [_but(c, ("image",)) for c in new["spec"].get("containers", ())]
    if _but(new["spec"], names) != _but(old["spec"], names) or before != after:
        yield cause("spec", "forbidden", "pod updates may not change fields other than `spec.containers[*].image`,"
                    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to"
                    " existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was"
                    " previously negative)")  # fmt: skip


_REQUIRED: dict[tuple[str, str], Callable[[Json], Iterator[Cause]]] = {
    ("apps", "Deployment"): _workload,
    ("apps", "StatefulSet"): _workload,
    ("apps", "DaemonSet"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "ConfigMap"): _data(""),
    ("", "Secret"): _data("data"),
    ("", "Service"): _service,
    ("", "Pod"): lambda obj: _pods(obj["spec"], "spec"),
    ("", "PersistentVolumeClaim"): _claim,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
_FIXED: dict[tuple[str, str], Callable[[Json, Json], Iterator[Cause]]] = {
    ("apps", "Deployment"): _immutable("spec", "selector"),
    ("apps", "DaemonSet"): _immutable("spec", "selector"),
    ("apps", "ReplicaSet"): _immutable("spec", "selector"),
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _each(
        _immutable("spec", "completions"), _immutable("spec", "selector"), _immutable("spec", "template")
    ),
    ("", "Service"): _addresses,
    ("", "PersistentVolumeClaim"): _claim_fixed,
    ("", "ConfigMap"): _frozen_data,
    ("", "Secret"): _each(_immutable("type"), _frozen_data),
    ("", "Pod"): _pod_fixed,
    ("rbac.authorization.k8s.io", "RoleBinding"): _role_ref,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _role_ref,
    ("storage.k8s.io", "StorageClass"): _each(_immutable("provisioner"), _immutable("parameters")),
    ("networking.k8s.io", "IngressClass"): _immutable("spec", "controller"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _each(
        _immutable("spec", "scope"), _immutable("spec", "names", "kind"), _immutable("spec", "group")
    ),
}
