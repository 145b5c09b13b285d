"""Manifests of Kubernetes: `image:` of containers, wherever a pod template stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from updater.editors.base import Editor, inline, is_kustomization, is_manifest
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
            for mapping in part.mappings:
                reference = inline(document, self.kind, mapping, "image") if mapping.under in _CONTAINERS else None
                if reference is not None:
                    yield reference
