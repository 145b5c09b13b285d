"""Kustomizations: the `images:` that kustomize puts in place of those in its resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from updater.editors.base import Editor, Scattered, is_empty, is_kustomization, mappings, scattered, value_of
from updater.editors.document import Alias, Document, Mapping, Node, Scalar
from updater.model.change import Reference


class Kustomize(Editor):
    """Kustomizations and components: `images:` with name, newName, newTag and digest."""

    kind: Literal["kustomize"] = "kustomize"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the entries of `images:`; the image is that of newName where there is one."""
        for part in document.parts:
            if not is_kustomization(document, part) or not isinstance(part.root, Mapping):
                continue
            images = part.root.get("images")
            for spot in mappings(images) if images is not None else ():
                name = _name(spot.mapping)
                if name is None:
                    continue
                entry, (tag, digest) = spot.mapping, (spot.mapping.get("newTag"), spot.mapping.get("digest"))
                shared = spot.shared or (part.root.anchor or "" if part.root.shared else "")
                parts = Scattered(name, value_of(name) or "", tag, digest, shared, "the entry has no newTag")
                reference = scattered(document, self.kind, parts)
                if reference is not None and entry is spot.mapping:
                    yield reference


def _name(entry: Mapping) -> Scalar | Alias | None:
    node: Node | None = entry.get("newName")
    node = entry.get("name") if is_empty(node) else node
    return node if isinstance(node, Scalar | Alias) else None
