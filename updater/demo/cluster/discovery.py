"""What the server says about itself: versions, groups, kinds, and OpenAPI documents as far as clients need them.

The OpenAPI documents name every path with the query parameters that kubectl looks for; they hold no types.
"""

from __future__ import annotations

from typing import Any

from updater.demo.cluster.kinds import VERBS, Resource
from updater.demo.cluster.objects import dumped
from updater.demo.cluster.registry import Registry

Json = dict[str, Any]

AGGREGATED = "apidiscovery.k8s.io"
_SUB = ("get", "patch", "update")
_PARAMETERS = {
    "get": ("fieldSelector", "labelSelector", "limit", "resourceVersion"),
    "post": ("dryRun", "fieldManager", "fieldValidation"),
    "put": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun", "propagationPolicy"),
}


class Discovery:
    """The documents, made once for each generation of the registry."""

    def __init__(self, registry: Registry, version: str, host: str) -> None:
        self._registry, self._version, self._host = registry, version, host
        self._cache: dict[tuple[int, str, bool], bytes] = {}

    def document(self, path: str, *, aggregated: bool) -> bytes | None:
        """Return the JSON at a path such as `/apis/apps/v1`; None where there is none."""
        key = (self._registry.generation, path, aggregated)
        if (known := self._cache.get(key)) is not None:
            return known
        made = self._made(path.strip("/").split("/"), aggregated=aggregated)
        if made is None:
            return None
        return self._cache.setdefault(key, dumped(made))

    def _made(self, parts: list[str], *, aggregated: bool) -> Json | None:
        match parts:
            case ["version"]:
                return self._versions()
            case ["api"]:
                return self._aggregated(core=True) if aggregated else self._core()
            case ["apis"]:
                return self._aggregated(core=False) if aggregated else self._groups()
            case ["openapi", *more]:
                return self._open_api(more)
            case ["apis", group]:
                return self._group(group)
            case ["api" | "apis", *place]:
                return self._resources(*_group_version(place))
            case _:
                return None

    def _open_api(self, parts: list[str]) -> Json | None:
        match parts:
            case ["v2"]:
                return self._open_api_2()
            case ["v3"]:
                return self._open_api_3()
            case ["v3", "api" | "apis", *place]:
                return self._open_api_of(*_group_version(place))
            case _:
                return None

    def _group(self, name: str) -> Json | None:
        found = next((group for group in self._groups()["groups"] if group["name"] == name), None)
        return {"kind": "APIGroup", "apiVersion": "v1", **found} if found else None

    def _versions(self) -> Json:
        major, minor = self._version.removeprefix("v").split(".")[:2]
        return {
            "major": major, "minor": minor, "gitVersion": self._version, "gitCommit": "0" * 40,
            "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24.6", "compiler": "gc",
            "platform": "linux/amd64",
        }  # fmt: skip

    def _core(self) -> Json:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._host}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def _by_group(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for resource in self._registry.all():
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return found

    def _groups(self) -> Json:
        groups = []
        for group, versions in self._by_group().items():
            if not group:
                continue
            every = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
            groups.append({"name": group, "versions": every, "preferredVersion": every[0]})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _of(self, group: str, version: str) -> list[Resource]:
        return [r for r in self._registry.all() if (r.group, r.version) == (group, version)]

    def _resources(self, group: str, version: str) -> Json | None:
        found = self._of(group, version)
        if not found:
            return None
        rows = [row for resource in found for row in _rows(resource)]
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows}

    def _aggregated(self, *, core: bool) -> Json:
        items = []
        for group, versions in self._by_group().items():
            if (group == "") != core:
                continue
            every = [
                {"version": version, "resources": [_aggregate(r) for r in self._of(group, version)],
                 "freshness": "Current"} for version in versions
            ]  # fmt: skip
            meta = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            items.append({"metadata": meta, "versions": every})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{AGGREGATED}/v2", "metadata": {}, "items": items}

    def _open_api_2(self) -> Json:
        paths: Json = {}
        for resource in self._registry.all():
            paths |= _paths(resource, version=2)
        info = {"title": "Kubernetes", "version": self._version}
        return {"swagger": "2.0", "info": info, "paths": paths, "definitions": {}}

    def _open_api_3(self) -> Json:
        paths = {}
        for group, versions in self._by_group().items():
            for version in versions:
                name = f"apis/{group}/{version}" if group else f"api/{version}"
                paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={self._registry.generation:064X}"}
        return {"paths": paths}

    def _open_api_of(self, group: str, version: str) -> Json | None:
        found = self._of(group, version)
        if not found:
            return None
        paths: Json = {}
        for resource in found:
            paths |= _paths(resource, version=3)
        info = {"title": "Kubernetes", "version": self._version}
        return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _group_version(place: list[str]) -> tuple[str, str]:
    """Return ("apps", "v1") of its path; the core group is empty."""
    return (place[0], place[1]) if len(place) == 2 else ("", "/".join(place))


def _rows(resource: Resource) -> list[Json]:
    row: Json = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(VERBS),
    }  # fmt: skip
    if resource.short:
        row["shortNames"] = list(resource.short)
    if resource.categories:
        row["categories"] = list(resource.categories)
    return [row, *(_below(resource, name, kind) for name, _, kind in _subresources(resource))]


def _subresources(resource: Resource) -> list[tuple[str, tuple[str, str], str]]:
    """Return (name, (group, version), kind) of each."""
    found = [("status", (resource.group, resource.version), resource.kind)] if resource.status else []
    return found + ([("scale", ("autoscaling", "v1"), "Scale")] if resource.scale else [])


def _below(resource: Resource, name: str, kind: str) -> Json:
    row: Json = {
        "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced, "kind": kind,
        "verbs": list(_SUB),
    }  # fmt: skip
    return row | ({"group": "autoscaling", "version": "v1"} if name == "scale" else {})


def _aggregate(resource: Resource) -> Json:
    row: Json = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(VERBS),
    }
    if resource.short:
        row["shortNames"] = list(resource.short)
    if resource.categories:
        row["categories"] = list(resource.categories)
    below = [
        {"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": list(_SUB)}
        for name, (group, version), kind in _subresources(resource)
    ]
    return row | ({"subresources": below} if below else {})


def _paths(resource: Resource, *, version: int) -> Json:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    start = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
    many = {"get": "list", "post": "post", "delete": "deletecollection"}
    one = {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}
    return {
        f"{start}/{resource.plural}": _operations(resource, many, version),
        f"{start}/{resource.plural}/{{name}}": _operations(resource, one, version),
    }


def _operations(resource: Resource, actions: dict[str, str], version: int) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found: Json = {}
    for method, action in actions.items():
        found[method] = {
            "operationId": f"{action}{resource.group.replace('.', '')}{resource.version}{resource.kind}",
            "parameters": [_parameter(name, version) for name in _PARAMETERS[method]],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        }
    return found


def _parameter(name: str, version: int) -> Json:
    kind: Json = {"type": "string", "uniqueItems": True} if version == 2 else {"schema": {"type": "string"}}
    return {"name": name, "in": "query", "description": name} | kind
