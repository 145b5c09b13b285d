"""Objects as `kubectl get` asks for them: tables, and metadata alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.schemas import Json

Column = tuple[str, int, Callable[[Json], Any]]  # title, priority (1: only `-o wide`), what stands in a cell


def _at(*path: str, default: Any = "<none>") -> Callable[[Json], Any]:
    def cell(obj: Json) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def age(obj: Json) -> str:
    """Return the age as kubectl writes it, as `5m`."""
    made = obj["metadata"].get("creationTimestamp")
    if not made:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(made)).total_seconds())
    for unit, size, limit in (("s", 1, 120), ("m", 60, 180), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def _containers(key: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        spec = obj.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        spec = spec.get("template", {}).get("spec", spec)
        return ",".join(container.get(key, "") for container in spec.get("containers", ()))

    return cell


def _selector(obj: Json) -> str:
    found = obj.get("spec", {}).get("selector") or {}
    found = found.get("matchLabels", found)
    return ",".join(f"{key}={value}" for key, value in found.items() if isinstance(value, str)) or "<none>"


def _ready(obj: Json) -> str:
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj.get('spec', {}).get('replicas', 0)}"


def _ports(obj: Json) -> str:
    return ",".join(_port(port) for port in obj.get("spec", {}).get("ports", ())) or "<none>"


def _port(port: Json) -> str:
    node = f":{port['nodePort']}" if "nodePort" in port else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _external(obj: Json) -> str:
    if obj.get("spec", {}).get("type") != "LoadBalancer":
        return ",".join(obj.get("spec", {}).get("externalIPs", ())) or "<none>"
    return _addresses(obj) or "<pending>"


def _addresses(obj: Json) -> str:
    found = obj.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return ",".join(entry.get("ip") or entry.get("hostname", "") for entry in found)


def _completions(obj: Json) -> str:
    return f"{obj.get('status', {}).get('succeeded', 0)}/{obj.get('spec', {}).get('completions', 1)}"


def _job_status(obj: Json) -> str:
    conditions = obj.get("status", {}).get("conditions", ())
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed")), "Running")


_CONTAINERS: tuple[Column, ...] = (
    ("Containers", 1, _containers("name")), ("Images", 1, _containers("image")), ("Selector", 1, _selector),
)  # fmt: skip
_STATUS = "status"
# The columns between Name and Age, and after Age those of `-o wide`
_COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("apps", "Deployment"): (
        ("Ready", 0, _ready), ("Up-to-date", 0, _at(_STATUS, "updatedReplicas", default=0)),
        ("Available", 0, _at(_STATUS, "availableReplicas", default=0)), *_CONTAINERS,
    ),
    ("apps", "StatefulSet"): (("Ready", 0, _ready), *_CONTAINERS[:2]),
    ("apps", "DaemonSet"): (
        ("Desired", 0, _at(_STATUS, "desiredNumberScheduled", default=0)),
        ("Current", 0, _at(_STATUS, "currentNumberScheduled", default=0)),
        ("Ready", 0, _at(_STATUS, "numberReady", default=0)),
        ("Up-to-date", 0, _at(_STATUS, "updatedNumberScheduled", default=0)),
        ("Available", 0, _at(_STATUS, "numberAvailable", default=0)), *_CONTAINERS,
    ),
    ("apps", "ReplicaSet"): (
        ("Desired", 0, _at("spec", "replicas", default=0)), ("Current", 0, _at(_STATUS, "replicas", default=0)),
        ("Ready", 0, _at(_STATUS, "readyReplicas", default=0)), *_CONTAINERS,
    ),
    ("batch", "Job"): (("Status", 0, _job_status), ("Completions", 0, _completions), *_CONTAINERS),
    ("batch", "CronJob"): (
        ("Schedule", 0, _at("spec", "schedule")), ("Suspend", 0, lambda obj: str(_at("spec", "suspend")(obj))),
        *_CONTAINERS[:2],
    ),
    ("", "Service"): (
        ("Type", 0, _at("spec", "type")), ("Cluster-IP", 0, _at("spec", "clusterIP")), ("External-IP", 0, _external),
        ("Port(s)", 0, _ports), ("Selector", 1, _selector),
    ),
    ("", "ConfigMap"): (("Data", 0, lambda obj: len(obj.get("data", ())) + len(obj.get("binaryData", ()))),),
    ("", "Secret"): (("Type", 0, _at("type")), ("Data", 0, lambda obj: len(obj.get("data", ())))),
    ("", "Namespace"): (("Status", 0, _at(_STATUS, "phase")),),
    ("", "Pod"): (("Status", 0, _at(_STATUS, "phase")), ("Node", 1, _at("spec", "nodeName"))),
    ("", "PersistentVolumeClaim"): (
        ("Status", 0, _at(_STATUS, "phase")), ("Volume", 0, _at("spec", "volumeName", default="")),
        ("StorageClass", 0, _at("spec", "storageClassName", default="")),
    ),
    ("networking.k8s.io", "Ingress"): (
        ("Class", 0, _at("spec", "ingressClassName")),
        ("Hosts", 0, lambda obj: ",".join(r.get("host", "*") for r in obj.get("spec", {}).get("rules", ()))),
        ("Address", 0, _addresses),
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        ("Created At", 0, _at("metadata", "creationTimestamp")),
    ),
}  # fmt: skip


def table(resource: Resource, objects: list[Json], meta: Json, include: str, *, titles: bool = True) -> Json:
    """Return a `Table`; `include` is None, Metadata or Object: what each row carries besides its cells."""
    more = _COLUMNS.get((resource.group, resource.kind), ())
    columns: list[Column] = [("Name", 0, _at("metadata", "name")), *(c for c in more if not c[1])]
    columns += [("Age", 0, age), *(c for c in more if c[1])]
    rows = [{"cells": [cell(obj) for _, _, cell in columns], "object": _carried(obj, include)} for obj in objects]
    named = [
        {"name": title, "type": "string", "format": "name" if title == "Name" else "", "description": title,
         "priority": priority} for title, priority, _ in columns
    ]  # fmt: skip
    found: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    return found | {"columnDefinitions": named if titles else [], "rows": rows}


def _carried(obj: Json, include: str) -> Json | None:
    match include:
        case "None":
            return None
        case "Object":
            return obj
        case _:
            return partial(obj)


def partial(obj: Json) -> Json:
    """Return an object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
