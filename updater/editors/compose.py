"""Compose files: `services.*.image`, with what their extensions merge in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from updater.editors.base import Editor, is_kustomization, is_manifest, is_version, named, place, read, value_of
from updater.editors.document import Alias, Document, Mapping, Part, Scalar
from updater.editors.sharing import merged
from updater.model.change import Reference, Role
from updater.model.image import split

_NAMES = re.compile(r"(?:^|/)(?:docker-)?compose[^/]*\.ya?ml$")
_DEFAULT = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^${}]*)\}")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_NESTED = 5  # defaults within defaults


class Compose(Editor):
    """Compose files, by name or by shape: the images of services; where a variable decides, that is said."""

    kind: Literal["compose"] = "compose"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the images of services; of those that several services merge in, the one that they share."""
        for part in document.parts:
            for service in _services(document, part):
                holder, node = service, merged(service, "image")
                scalar = node.target if isinstance(node, Alias) and node.under == "<<" else None
                if isinstance(scalar, Scalar) and isinstance(scalar.parent, Mapping):
                    holder, node = scalar.parent, scalar
                if isinstance(node, Scalar | Alias):
                    yield from filter(None, (_reference(document, self.kind, holder, node),))


def _reference(document: Document, kind: str, holder: Mapping, node: Scalar | Alias) -> Reference | None:
    text = (value_of(node) or "").rstrip("\n")
    variable = _VARIABLE.search(text)
    if variable is None:
        return read(document, kind, holder, node)
    for _ in range(_NESTED):
        text = _DEFAULT.sub(r"\1", text)
    known, dollar, _ = text.partition("$")
    name, tag, digest = split(known)
    image = named(name)
    if image is None or (dollar and tag is None and digest is None):
        return None  # nobody knows which image it is
    version = (None, None) if dollar else (tag, digest)
    if not is_version(*version):
        return None
    why = f"the variable {variable.group(1)} decides it"
    return Reference(document.path, node.line, image.at(*version), name, kind, (place(Role.IMAGE, node),), why)


def _services(document: Document, part: Part) -> list[Mapping]:
    """The services of a Compose file; none where it is no such file."""
    services = part.root.values.get("services") if isinstance(part.root, Mapping) else None
    if not isinstance(services, Mapping) or is_manifest(part) or is_kustomization(document, part):
        return []
    every = (node.target if isinstance(node, Alias) else node for node in services.values.values())
    found = [node for node in every if isinstance(node, Mapping)]
    shaped = any(merged(service, "image") is not None for service in found)
    return found if shaped or _NAMES.search(document.path) else []
