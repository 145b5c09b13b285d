"""Values of Helm charts, and whatever else is written in their shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from updater.editors.base import (
    Editor,
    Scattered,
    inline,
    is_empty,
    is_kustomization,
    is_manifest,
    named,
    scattered,
    value_of,
)
from updater.editors.document import Alias, Document, Mapping, Node, Scalar
from updater.model.change import Reference

_IMAGE = "image"  # what a key ends in, in any case: image, initImage, IMAGE


class HelmValues(Editor):
    """Values by their shape: repository with tag and digest, with or without registry; any key that ends in image."""

    rank: ClassVar[int] = 2
    kind: Literal["helm_values"] = "helm_values"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield pairs everywhere, inline images only outside of Kubernetes' own objects."""
        for part in document.parts:
            values = not is_manifest(part) and not is_kustomization(document, part)
            for mapping in part.mappings:
                if "repository" in mapping.values or "<<" in mapping.values:
                    yield from filter(None, (self._pair(document, mapping),))
                if values:
                    keys = (key for key in mapping.values if key[-len(_IMAGE) :].lower() == _IMAGE)
                    yield from filter(None, (self._inline(document, mapping, key) for key in keys))

    def _pair(self, document: Document, entry: Mapping) -> Reference | None:
        if entry.values.keys().isdisjoint({"repository", "tag", "digest"}):
            return None  # all of it comes from what is merged in, where it stands for itself
        name, tag, digest = (_merged(entry, key) for key in ("repository", "tag", "digest"))
        if not isinstance(name, Scalar | Alias):
            return None
        if tag is None and digest is None and not entry.under.lower().endswith(_IMAGE):
            return None
        without = "no tag stands beside the repository" if tag is None else "the chart's appVersion decides the tag"
        spelled = _joined(_merged(entry, "registry"), value_of(name) or "")
        return scattered(document, self.kind, Scattered(entry, name, spelled, tag, digest, without))

    def _inline(self, document: Document, holder: Mapping, key: str) -> Reference | None:
        reference = inline(document, self.kind, holder, key)
        if reference is None:
            return None
        registry = holder.values.get("registry")
        if not is_empty(registry):
            image = named(_joined(registry, reference.spelled))
            version = reference.image.tag, reference.image.digest
            why = "its registry stands beside it in `registry`"
            return replace(reference, image=image.at(*version), unwritable=why) if image is not None else None
        beside = next((name for name in ("tag", f"{key}Tag", f"{key}_tag") if name in holder.values), None)
        if reference.image.version == "-" and beside is not None:
            return replace(reference, unwritable=f"its tag stands beside it in `{beside}`")
        return reference


def _merged(entry: Mapping, key: str) -> Node | None:
    """The value of a key, of its own or merged in by `<<: *base`; then it is one written through that alias."""
    own, merge = entry.values.get(key), entry.values.get("<<")
    if own is not None or not isinstance(merge, Alias) or not isinstance(merge.target, Mapping):
        return own
    node = merge.target.values.get(key)
    node = node.target if isinstance(node, Alias) else node
    return None if node is None else Alias(merge.start, merge.end, merge.line, merge.name, node)


def _joined(registry: Node | None, repository: str) -> str:
    """The name with its registry, which some charts repeat in the repository."""
    host = "" if is_empty(registry) else (value_of(registry) or "").rstrip("/")
    return f"{host}/{repository}" if host and not repository.startswith(f"{host}/") else repository
