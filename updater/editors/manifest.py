"""Manifests of Kubernetes: `image:` of containers, wherever a pod template stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from updater.editors.base import Editor, inline, is_kustomization, is_manifest, mappings
from updater.editors.document import Document
from updater.model.change import Reference

_CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})


class Manifest(Editor):
    """Objects of Kubernetes: `image:` under containers, initContainers and ephemeralContainers at any depth."""

    kind: Literal["manifest"] = "manifest"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the images of containers; CronJobs, lists and custom resources with a pod template included."""
        for part in document.parts:
            if not is_manifest(part) or is_kustomization(document, part):
                continue
            for spot in mappings(part.root):
                node = spot.mapping.get("image") if spot.under in _CONTAINERS else None
                reference = inline(document, self.kind, node, spot.shared) if node is not None else None
                if reference is not None:
                    yield reference
