"""Kustomizations: the `images:` that kustomize puts in place of those in its resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from updater.editors.base import Editor, Scattered, is_empty, is_kustomization, scattered, value_of
from updater.editors.document import Alias, Document, Mapping, Scalar, Sequence
from updater.model.change import Reference


class Kustomize(Editor):
    """Kustomizations and components: `images:` with name, newName, newTag and digest."""

    kind: Literal["kustomize"] = "kustomize"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the entries of `images:`; the image is that of newName where there is one."""
        for part in document.parts:
            images = part.root.values.get("images") if isinstance(part.root, Mapping) else None
            if isinstance(images, Sequence) and is_kustomization(document, part):
                entries = (entry for entry in images.children if isinstance(entry, Mapping))
                yield from filter(None, (self._entry(document, entry) for entry in entries))

    def _entry(self, document: Document, entry: Mapping) -> Reference | None:
        name = entry.values.get("name" if is_empty(entry.values.get("newName")) else "newName")
        if not isinstance(name, Scalar | Alias):
            return None
        tag, digest = entry.values.get("newTag"), entry.values.get("digest")
        parts = Scattered(entry, name, value_of(name) or "", tag, digest, "the entry has no newTag")
        return scattered(document, self.kind, parts)
