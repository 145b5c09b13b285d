"""Which kinds are served: the built-in ones, and those that CustomResourceDefinitions bring while the server runs."""

from __future__ import annotations

import threading

from updater.demo.cluster.kinds import Resource, built_in
from updater.demo.cluster.schemas import Json, custom_kind


class Registry:
    """The resources by group, version and plural; `generation` grows when they change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.resources = {(r.group, r.version, r.plural): r for r in built_in()}
        self._owned: dict[str, list[tuple[str, str, str]]] = {}
        self.generation = 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return a resource, or None."""
        return self.resources.get((group, version, plural))

    def one(self, plural: str, group: str = "") -> Resource:
        """Return a built-in resource. Raises StopIteration."""
        return next(r for r in self.all() if r.plural == plural and r.group == group)

    def by_kind(self, group: str, kind: str) -> Resource | None:
        """Return the resource of a kind in its first version, or None."""
        return next((r for r in self.all() if r.group == group and r.kind == kind), None)

    def all(self) -> list[Resource]:
        """Return every resource, the built-in ones first."""
        with self._lock:
            return list(self.resources.values())

    def define(self, definition: Json) -> None:
        """Serve the kind of a CustomResourceDefinition, in place of what it defined before."""
        spec, name = definition["spec"], definition["metadata"]["name"]
        found = [_resource(spec, version) for version in spec.get("versions", ()) if version.get("served", True)]
        with self._lock:
            for key in self._owned.pop(name, ()):
                self.resources.pop(key, None)
            keys = [(r.group, r.version, r.plural) for r in found]
            self.resources.update(zip(keys, found, strict=True))
            self._owned[name] = keys
            self.generation += 1

    def forget(self, name: str) -> list[Resource]:
        """Serve the kind of a definition no more; return what was served."""
        with self._lock:
            gone = [self.resources.pop(key) for key in self._owned.pop(name, ())]
            self.generation += 1
            return gone


def _resource(spec: Json, version: Json) -> Resource:
    names, below = spec["names"], version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    return Resource(
        spec["group"], version["name"], names["kind"], names["plural"], tuple(names.get("shortNames", ())),
        namespaced=spec["scope"] == "Namespaced", status="status" in below, scale="scale" in below,
        categories=tuple(names.get("categories", ())), custom=True,
        singular=names.get("singular", names["kind"].lower()), node=custom_kind(schema),
    )  # fmt: skip
