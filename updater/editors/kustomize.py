"""Kustomizations: the `images:` that kustomize puts in place of those in its resources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from updater.editors.base import (
    Editor,
    Scattered,
    is_empty,
    is_kustomization,
    obstacle,
    place,
    scattered,
    shared_by,
    value_of,
)
from updater.editors.document import Alias, Document, Mapping, Scalar, Sequence
from updater.model.change import Place, Reference, Role, Style
from updater.model.stream import BREAKS

_KEY = r"""(?:name|newName|"(?:name|newName)"|'(?:name|newName)')"""
_LINE = re.compile(rf"(?:^\ufeff?|(\r?\n))( *(?:- +)*){_KEY} *:(?:[ \t][^{BREAKS}]*)?\Z")  # up to its value
_JSON = re.compile(r""""(?:name|newName)"\s*:\s*\Z""")
_REST = re.compile(rf"[ \t]*(?:#[^{BREAKS}]*)?(\r?\n|\Z)")  # of the line, behind the value
_NEAR = 400  # characters before a value in which its key stands


class Kustomize(Editor):
    """Kustomizations and components: `images:` with name, newName, newTag and digest; a missing newTag is added."""

    kind: Literal["kustomize"] = "kustomize"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the entries of `images:`; the image is that of newName where there is one."""
        for part in document.parts:
            images = part.root.values.get("images") if isinstance(part.root, Mapping) else None
            images = images.target if isinstance(images, Alias) else images
            if isinstance(images, Sequence) and is_kustomization(document, part):
                entries = (entry for entry in images.children if isinstance(entry, Mapping))
                yield from filter(None, (self._entry(document, entry) for entry in entries))

    def _entry(self, document: Document, entry: Mapping) -> Reference | None:
        matched = is_empty(entry.values.get("newName"))
        name = entry.values.get("name" if matched else "newName")
        if not isinstance(name, Scalar | Alias):
            return None
        tag, digest = entry.values.get("newTag"), entry.values.get("digest")
        fixed = "the entry has no newName, and kustomize finds by `name` what it replaces" if matched else ""
        parts = Scattered(entry, name, value_of(name) or "", tag, digest, "the entry has no newTag", fixed=fixed)
        reference = scattered(document, self.kind, parts)
        if reference is None:
            return None
        reference = replace(reference, finds=value_of(entry.values.get("name")) or "")
        if not (is_empty(tag) and is_empty(digest)):
            return reference
        gap = _empty(document, entry) if "newTag" in entry.values else _after(document, entry)
        return replace(reference, places=(*reference.places, gap), unwritable="") if gap else reference


def _empty(document: Document, entry: Mapping) -> Place | None:
    """The place of a newTag of two quotes."""
    tag = entry.values["newTag"]
    if not isinstance(tag, Scalar) or tag.style not in {"'", '"'} or obstacle(document, tag, entry):
        return None
    return place(Role.TAG, tag)


def _after(document: Document, entry: Mapping) -> Place | None:
    """Where a newTag can be added: behind the name, or behind the newName where that comes later."""
    names = [node for key in ("name", "newName") if isinstance(node := entry.values.get(key), Scalar | Alias)]
    last = max(names, key=lambda node: node.start)
    if shared_by(entry) or (isinstance(last, Scalar) and last.style not in {"", "'", '"'}):
        return None
    text, at, near = document.text, last.end, max(0, last.start - _NEAR)
    if entry.flow:
        if _JSON.search(text, near, last.start):
            return Place(Role.TAG, at, at, last.line, "", Style.DOUBLE, lead=', "newTag": ')
        return Place(Role.TAG, at, at, last.line, "", lead=", newTag: ")
    first, end = _LINE.search(text, near, last.start), _REST.match(text, at)
    if first is None or end is None:
        return None
    line_end = end.group(1) or first.group(1) or "\n"
    lead = f"{line_end}{' ' * len(first.group(2))}newTag: "
    return Place(Role.TAG, end.start(1), end.start(1), last.line, "", lead=lead)
