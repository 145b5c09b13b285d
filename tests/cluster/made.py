"""Manifests for tests."""

from __future__ import annotations

from typing import Any

from updater.model.resource import Resource

Labels = dict[str, str] | None


def config_map(name: str = "settings", namespace: str = "default", *, labels: Labels = None, **data: Any) -> Resource:
    return _holding("ConfigMap", name, namespace, labels, data)


def secret(name: str = "login", namespace: str = "default", *, labels: Labels = None, **data: Any) -> Resource:
    return _holding("Secret", name, namespace, labels, data)


def _holding(kind: str, name: str, namespace: str, labels: Labels, data: dict[str, Any]) -> Resource:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace} | ({"labels": labels} if labels else {})
    return Resource.of({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data})


def deployment(name: str = "web", namespace: str = "default", **spec: Any) -> Resource:
    labels = {"app": name}
    given = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    }
    metadata = {"name": name, "namespace": namespace}
    return Resource.of({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": given | spec})


def definition(kind: str = "Widget", group: str = "example.com") -> Resource:
    """Return the definition of a kind whose objects take anything."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural}, "versions": [version]}
    metadata = {"name": f"{plural}.{group}"}
    return Resource.of(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": spec,
        }
    )


def widget(name: str = "one", namespace: str = "default", **spec: Any) -> Resource:
    metadata = {"name": name, "namespace": namespace}
    return Resource.of({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": spec})
