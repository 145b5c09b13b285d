"""Values of Helm charts, and whatever else is written in their shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from updater.editors.base import (
    Editor,
    Scattered,
    Spot,
    inline,
    is_empty,
    is_kustomization,
    is_manifest,
    mappings,
    scattered,
    value_of,
)
from updater.editors.document import Alias, Document, Mapping, Scalar
from updater.model.change import Reference


class HelmValues(Editor):
    """Values by their shape: repository with tag and digest, with or without registry; any key that ends in image."""

    rank: ClassVar[int] = 2
    kind: Literal["helm_values"] = "helm_values"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield pairs everywhere, inline images only outside of Kubernetes' own objects."""
        for part in document.parts:
            values = not is_manifest(part) and not is_kustomization(document, part)
            for spot in mappings(part.root):
                reference = self._pair(document, spot)
                if reference is not None:
                    yield reference
                if values:
                    yield from self._inline(document, spot)

    def _pair(self, document: Document, spot: Spot) -> Reference | None:
        entry = spot.mapping
        name, tag, digest = entry.get("repository"), entry.get("tag"), entry.get("digest")
        if not isinstance(name, Scalar | Alias):
            return None
        if tag is None and digest is None and not spot.under.lower().endswith("image"):
            return None
        without = "no tag stands beside the repository" if tag is None else "the chart's appVersion decides the tag"
        spelled = _joined(entry, value_of(name) or "")
        return scattered(document, self.kind, Scattered(name, spelled, tag, digest, spot.shared, without))

    def _inline(self, document: Document, spot: Spot) -> Iterator[Reference]:
        for key, value in spot.mapping.pairs:
            if isinstance(key, Scalar) and key.value.lower().endswith("image"):
                reference = inline(document, self.kind, value, spot.shared)
                if reference is not None:
                    yield reference


def _joined(entry: Mapping, repository: str) -> str:
    """The name with its registry, which some charts repeat in the repository."""
    node = entry.get("registry")
    registry = "" if is_empty(node) else (value_of(node) or "").rstrip("/")
    return f"{registry}/{repository}" if registry and not repository.startswith(f"{registry}/") else repository
