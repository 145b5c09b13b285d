"""Objects of a cluster, as manifests name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity of an object in a cluster; `namespace` is empty where its kind has none. The version is no part."""

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> str:
        """`Deployment.apps`, `Service`: as inventories write it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def __str__(self) -> str:
        return f"{self.group_kind} {self.namespace}/{self.name}" if self.namespace else f"{self.group_kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One manifest; nobody changes it in place. `source` says where it comes from: a file, or the tool that made it."""

    key: Key
    version: str  # of the API, without its group
    manifest: Mapping[str, Any] = field(hash=False, repr=False)
    source: str = field(default="", compare=False)

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.key.group}/{self.version}" if self.key.group else self.version

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations, empty where there are none."""
        return _texts(self.manifest, "annotations")

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels, empty where there are none."""
        return _texts(self.manifest, "labels")

    def placed(self, namespace: str) -> Resource:
        """Return it in another namespace; in none, for an empty text."""
        metadata = {key: value for key, value in self.manifest["metadata"].items() if key != "namespace"}
        metadata |= {"namespace": namespace} if namespace else {}
        key = Key(self.key.group, self.key.kind, namespace, self.key.name)
        return Resource(key, self.version, {**self.manifest, "metadata": metadata}, self.source)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], source: str = "") -> Resource:
        """Read a manifest. Raises ValueError that says what it lacks; a `generateName` stands for the name."""
        api_version, kind, metadata = manifest.get("apiVersion"), manifest.get("kind"), manifest.get("metadata")
        if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
            raise ValueError("found no apiVersion and kind, expected both")
        if not isinstance(metadata, Mapping):  # a text from outside: its type is its value
            raise ValueError(  # noqa: TRY004
                f"found a {kind} without metadata, expected a name in it"
            )
        name = metadata.get("name") or metadata.get("generateName")
        namespace = metadata.get("namespace") or ""
        if not isinstance(name, str) or not isinstance(namespace, str):
            raise ValueError(f"found a {kind} without a name, expected metadata.name as a text")  # noqa: TRY004
        group, _, version = api_version.rpartition("/")
        return cls(Key(group, kind, namespace, name), version, manifest, source)


def _texts(manifest: Mapping[str, Any], name: str) -> Mapping[str, str]:
    metadata = manifest.get("metadata")
    found = metadata.get(name) if isinstance(metadata, dict) else None  # as JSON and YAML are read
    return found if isinstance(found, dict) else {}
