"""The very characters that a commit of ours replaced: what a rollback writes back, quotes and names included.

They are read from the file before and after that commit. Where the two cannot be laid side by side, because the
commit did more than that (a squash with other changes), nothing is known here, and the values of the trailers serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from updater.editors.base import references
from updater.editors.document import parse
from updater.git.clone import Clone
from updater.model.change import Reference
from updater.pipeline.trail import Step


@dataclass(frozen=True, slots=True)
class Former:
    """A reference as it stood before a commit, and the characters of each of its places."""

    reference: Reference
    tokens: tuple[str, ...]


@dataclass(slots=True)
class Formers:
    """Reads files before and after commits, each once. The caller holds the lock of the clone."""

    _files: dict[tuple[Clone, str, str], tuple[str, list[Reference]]] = field(default_factory=dict)

    def of(self, clone: Clone, step: Step, reference: Reference, beside: Sequence[Reference]) -> Former | None:
        """Return what stood in the place of a reference before a step; None where that is not certain.

        `beside` are the references of its file now, this one too, in the order of the text.
        """
        parents, file = step.logged.parents, reference.file
        if not parents:
            return None
        text, before = self._read(clone, parents[0], file)
        after = self._read(clone, step.logged.revision, file)[1]
        if len(before) != len(after):
            return None
        pairs = [
            Former(old, tokens(text, old))
            for old, new in zip(before, after, strict=True)
            if not any(place.lead for place in old.places)
            if _looks(new) == _looks(reference) and old.image.version == step.old and _roles(old) == _roles(new)
        ]
        if len({(one.reference.spelled, one.tokens) for one in pairs}) == 1:
            return pairs[0]
        alike = [one.places for one in beside if _looks(one) == _looks(reference)]
        return pairs[alike.index(reference.places)] if len(pairs) == len(alike) else None

    def named(self, clone: Clone, step: Step, reference: Reference) -> Former | None:
        """Return what a reference was where a step found it, whatever came since; None where that is not certain."""
        if not step.logged.parents:
            return None
        text, before = self._read(clone, step.logged.parents[0], reference.file)
        stood = [
            Former(one, tokens(text, one))
            for one in before
            if one.image.version == step.old and not any(place.lead for place in one.places)
            if (one.editor, one.spelled, _roles(one)) == (reference.editor, reference.spelled, _roles(reference))
        ]
        if len({one.tokens for one in stood}) > 1:
            stood = [one for one in stood if one.reference.line == reference.line]
        return stood[0] if len({one.tokens for one in stood}) == 1 else None

    def _read(self, clone: Clone, revision: str, file: str) -> tuple[str, list[Reference]]:
        key = (clone, revision, file)
        if key not in self._files:
            blob = next((blob for blob in clone.tree(revision) if blob.path == file), None)
            content = clone.read([blob.oid]).get(blob.oid, b"") if blob else b""
            document = parse(file, content)
            self._files[key] = (document.text, references(document))
        return self._files[key]


def tokens(text: str, reference: Reference) -> tuple[str, ...]:
    """Return the characters of each place of a reference."""
    return tuple(text[place.start : place.end] for place in reference.places)


def _roles(reference: Reference) -> list[str]:
    return [place.role for place in reference.places]


def _looks(reference: Reference) -> tuple[str, str, str, list[str]]:
    """Return what two mentions have in common that say the same in the same way."""
    return reference.editor, reference.spelled, reference.image.version, _roles(reference)
