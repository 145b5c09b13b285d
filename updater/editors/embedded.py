"""YAML that stands in a scalar of other YAML: read as a document of its own, with positions in the file around it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from updater.editors.document import Alias, Document, Mapping, Node, Part, Scalar, Sequence, parse

_HOW = {
    ">": "folded",
    "|": "written with line ends of its own",
    "'": "written with escapes or over several lines",
    '"': "written with escapes or over several lines",
}
_HEADER = re.compile(r"\|[-+1-9]{0,2}[ \t]*(?:#[^\r\n]*)?\r?\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the lines of a text begin in itself and in the file around it, and how long they are."""

    inner: tuple[int, ...]
    outer: tuple[int, ...]
    lengths: tuple[int, ...]

    def out(self, at: int) -> int:
        """The position in the file of one in the text."""
        line = bisect_right(self.inner, at) - 1
        return self.outer[line] + at - self.inner[line]

    def into(self, at: int) -> int | None:
        """The position in the text of one in the file; None where no text stands, as in an indentation."""
        line = bisect_right(self.outer, at) - 1
        if line < 0 or at - self.outer[line] > self.lengths[line]:
            return None
        return self.inner[line] + at - self.outer[line]


def frame(text: str, start: int, end: int, value: str) -> Frame | None:
    """Read how the value of a scalar stands in its token; None where it does not stand there character by character.

    That is so for literal scalars without their indentation, and for quotes in one line without escapes.
    """
    token = text[start:end]
    if token[:1] in {"'", '"'} and token == f"{token[0]}{value}{token[0]}":
        return Frame((0,), (start + 1,), (len(value),))
    if token and token == value.rstrip("\n") and "\n" not in token:
        return Frame((0,), (start,), (len(token),))  # of a literal scalar of one line the document tells the text alone
    header = _HEADER.match(token)
    if header is None:
        return None
    raw = token[header.end() :].split("\n")
    rows: list[tuple[int, int, int]] = []
    indent, inner, outer = 0, 0, start + header.end()
    for number, line in enumerate(value.split("\n")):
        stands = raw[number].removesuffix("\r") if number < len(raw) else ""
        if line and not indent:
            indent = len(stands) - len(line)
        if stands[indent:] != line and (line or stands.strip(" ")):
            return None
        rows.append((inner, outer + min(indent, len(stands)), len(line)))
        inner += len(line) + 1
        outer += len(raw[number]) + 1 if number < len(raw) else 0
    return Frame(*(tuple(column) for column in zip(*rows, strict=True)))


def embedded(document: Document, node: Scalar) -> tuple[Document, str]:
    """Read the YAML in a scalar; with it why nothing there can be changed, empty where it can.

    Then its nodes stand where they stand in the file, else all of them at the scalar.
    """
    inner = parse(document.path, node.value)
    where, why = None, ""
    if node.anchor is not None or node.tag is not None:
        why = "stands in a text with an anchor or a tag"
    elif len(inner.parts) > 1:
        why = "stands in a text of several documents"
    else:
        where = None if node.style == ">" else frame(document.text, node.start, node.end, node.value)
        why = "" if where else f"stands in a text that is {_HOW.get(node.style, 'written over several lines')}"
    first = node.line + (node.style == "|")
    for part in inner.parts:
        for one in _scalars(part):
            one.start, one.end = (where.out(one.start), where.out(one.end)) if where else (node.start, node.end)
            if isinstance(one, Scalar) and one.inner:
                one.inner = (where.out(one.inner[0]), where.out(one.inner[1])) if where else None
            one.line = first + one.line - 1 if where else node.line
    skipped = tuple(replace(skip, line=node.line, why=f"in this text: {skip.why}") for skip in inner.skipped)
    return Document(document.path, document.text, inner.parts, skipped), why


def _scalars(part: Part) -> Iterator[Scalar | Alias]:
    """Yield every scalar and alias that is a value."""
    waiting: list[Node] = [part.root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += node.values.values()
        elif isinstance(node, Sequence):
            waiting += node.children
        else:
            yield node
