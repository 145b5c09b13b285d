"""Which kinds a cluster serves, and where.

Since Kubernetes 1.26 two requests tell all of it (aggregated discovery); older servers take one for each group and
version. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from updater.errors import ClusterError, UnknownKind, Unreachable
from updater.model.resource import Key

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)

Ask = Callable[[str], Mapping[str, Any]]
"""Gets a path with `ACCEPT` and returns the answer. Raises ClusterError."""


@dataclass(frozen=True, slots=True, order=True)
class ServedKind:
    """A kind in one version, as a cluster serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Where its objects are served, in all namespaces together."""
        return f"{'/apis' if self.group else '/api'}/{self.api_version}"

    def key(self, manifest: Mapping[str, Any]) -> Key:
        """Return the key of an object of this kind."""
        metadata = manifest.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        return Key(self.group, self.kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


@dataclass(frozen=True, slots=True)
class Served:
    """Everything that a cluster serves, the preferred version of each group first.

    broken  the groups whose kinds could not be told: their own server, which is not the cluster's, does not answer
    api_versions  `apps/v1` and `apps/v1/Deployment` for everything, as Helm's capabilities name them
    """

    kinds: tuple[ServedKind, ...] = ()
    broken: frozenset[str] = frozenset()
    api_versions: frozenset[str] = field(init=False, repr=False, compare=False)
    _by_name: dict[tuple[str, str], tuple[ServedKind, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = (name for kind in self.kinds for name in (kind.api_version, f"{kind.api_version}/{kind.kind}"))
        object.__setattr__(self, "api_versions", frozenset(names))
        for kind in self.kinds:
            name = (kind.group, kind.kind)
            self._by_name[name] = (*self._by_name.get(name, ()), kind)

    def find(self, group: str, kind: str, version: str) -> ServedKind:
        """Return the kind, in its preferred version where none is asked for. Raises UnknownKind and Unreachable."""
        found = self._by_name.get((group, kind), ())
        for served in found:
            if version in {"", served.version}:
                return served
        name = f"{kind}.{group}" if group else kind
        if group in self.broken:
            raise Unreachable(f"{name}: the server of its API group does not answer")
        if found:
            versions = ", ".join(served.version for served in found)
            raise UnknownKind(f"{name} is not served in version {version[:60]}, only in {versions}")
        raise UnknownKind(f"{name} is not served; is its CustomResourceDefinition missing?")


def discover(ask: Ask) -> Served:
    """Ask a cluster what it serves. Raises ClusterError where it does not tell."""
    kinds: list[ServedKind] = []
    broken: set[str] = set()
    for root in ("/api", "/apis"):
        answer = ask(root)
        if answer.get("kind") == "APIGroupDiscoveryList":
            kinds.extend(_aggregated(answer, broken))
        else:
            kinds.extend(_one_by_one(root, answer, ask, broken))
    return Served(tuple(kinds), frozenset(broken))


def _aggregated(answer: Mapping[str, Any], broken: set[str]) -> Iterator[ServedKind]:
    for entry in _dicts(answer, "items"):
        group = str(_dict(entry, "metadata").get("name") or "")
        for version in _dicts(entry, "versions"):
            if version.get("freshness") == "Stale":
                broken.add(group)
            for resource in _dicts(version, "resources"):
                kind = str(_dict(resource, "responseKind").get("kind") or "")
                if kind:
                    name, namespaced = str(resource.get("resource")), resource.get("scope") == "Namespaced"
                    yield ServedKind(group, str(version.get("version")), kind, name, namespaced)


def _one_by_one(root: str, answer: Mapping[str, Any], ask: Ask, broken: set[str]) -> Iterator[ServedKind]:
    for group, version in _versions(root, answer):
        path = f"{root}/{group}/{version}" if group else f"{root}/{version}"
        try:
            listed = ask(path)
        except ClusterError:
            if not group:
                raise
            broken.add(group)  # an aggregated API server that is down, e.g. that of the metrics
            continue
        for resource in _dicts(listed, "resources"):
            name = str(resource.get("name"))
            if "/" not in name:  # not a subresource
                yield ServedKind(group, version, str(resource.get("kind")), name, bool(resource.get("namespaced")))


def _versions(root: str, answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if root == "/api":
        listed = answer.get("versions")
        yield from (("", str(version)) for version in (listed if isinstance(listed, list) else ()))
        return
    for entry in _dicts(answer, "groups"):
        preferred = str(_dict(entry, "preferredVersion").get("version") or "")
        versions = [str(version.get("version")) for version in _dicts(entry, "versions")]
        for version in sorted(versions, key=lambda version: version != preferred):  # stable: their own order else
            yield str(entry.get("name")), version


def _dicts(mapping: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = mapping.get(name)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _dict(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = mapping.get(name)
    return found if isinstance(found, Mapping) else {}
