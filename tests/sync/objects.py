"""Objects for the tests of this folder."""

from __future__ import annotations

from typing import Any

from updater.model.resource import Resource

API = {
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Widget": "example.com/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "ReplicaSet": "apps/v1",
}
CLUSTER_WIDE = {"Namespace", "CustomResourceDefinition"}
ARGO = "argocd.argoproj.io"


def made(kind: str, name: str, namespace: str = "shop", *, labels: Any = None, **more: Any) -> Resource:
    """Make an object; other arguments are annotations of Argo CD with `_` for `-`, but `spec` and `metadata`."""
    extra: dict[str, Any] = {field: more.pop(field) for field in ("spec", "data") if field in more}
    metadata = {"name": name, **({} if kind in CLUSTER_WIDE else {"namespace": namespace}), **more.pop("metadata", {})}
    annotations = {f"{ARGO}/{word.replace('_', '-')}": value for word, value in more.items()}
    metadata |= {"annotations": {**metadata.get("annotations", {}), **annotations}, "labels": labels or {}}
    return Resource.of({"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": metadata, **extra})


def crd(name: str, kind: str = "Widget", group: str = "example.com", **more: Any) -> Resource:
    """Make a CustomResourceDefinition."""
    return made("CustomResourceDefinition", name, spec={"group": group, "names": {"kind": kind}}, **more)
