"""One file of YAML: split into its documents, and those that matter composed with exact positions.

Positions count characters of the whole decoded file (a BOM is character 0); lines count from 1.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import re2
import yaml

from updater.model.change import Skipped
from updater.model.stream import (
    BLANK,
    BREAKS,
    MAX_DEPTH,
    MAX_DOCUMENTS,
    MAX_NODES,
    MAX_WHY,
    Broken,
    Span,
    decode,
    reading,
    spans,
    too_deep,
)

_WORDS_MEMORY = 64 << 20  # bytes for RE2's automaton: enough for 50,000 names, taken as it grows
_PROPERTY = re.compile(r"!<[^>\s]*>|[&!][^\s,\[\]{}]*")
_BLOCK = frozenset("|>")
_HEADER = re.compile(rf"[|>][-+0-9]*(?:[ \t]+(?:#[^{BREAKS}]*)?)?(?:\r\n|[{BREAKS}]) +")  # of a block scalar
_LFS = "version https://git-lfs.github.com/spec/"  # how a pointer of Git LFS begins
_BETWEEN = re.compile(rf"(?:[ \t{BREAKS}]|#[^{BREAKS}]*)*")


@dataclass(slots=True, eq=False)
class Scalar:
    """A scalar: its token from `start` to `end` without anchor and tag, and its raw text.

    `style` is the first character of the token: empty for plain, else a quote or `|` or `>`. `inner` is where the text
    of a block scalar stands, if it is one line.
    """

    start: int
    end: int
    line: int
    value: str
    style: str
    anchor: str | None
    tag: str | None
    parent: Sequence | Mapping | None = None
    aliases: list[Alias] | None = None  # those that refer to it
    inner: tuple[int, int] | None = None

    @property
    def shared(self) -> bool:
        """Whether an alias refers to it."""
        return self.aliases is not None


@dataclass(slots=True, eq=False)
class Alias:
    """`*name`, and the node that it stands for; `under` and `parent` as those of a sequence."""

    start: int
    end: int
    line: int
    name: str
    target: Scalar | Sequence | Mapping
    under: str = ""
    parent: Sequence | Mapping | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes. `under` is the key that it hangs under, also through lists; `parent` what holds it."""

    line: int
    under: str
    parent: Sequence | Mapping | None
    anchor: str | None
    aliases: list[Alias] | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        """Whether an alias refers to it."""
        return self.aliases is not None


@dataclass(slots=True, eq=False)
class Mapping:
    """Nodes by the raw text of their keys; of duplicates the last, as readers of YAML take it.

    `under` and `parent` as those of a sequence. A key that is no scalar counts as the empty text.
    """

    line: int
    under: str
    parent: Sequence | Mapping | None
    anchor: str | None
    flow: bool = False  # written in braces
    aliases: list[Alias] | None = None
    merged: bool = False  # one of these aliases stands under `<<`
    values: dict[str, Node] = field(default_factory=dict)
    pending: str | None = None  # the key that waits for its value while the mapping is read
    keys: dict[Node, str] | None = None
    takers: list[tuple[Alias, Mapping | None]] | None = None  # who merges it, asked once

    def key_of(self, node: Node) -> str | None:
        """The key of a value; None where a later one of the same name took its place."""
        if self.keys is None:
            self.keys = {value: key for key, value in self.values.items()}
        return self.keys.get(node)

    @property
    def shared(self) -> bool:
        """Whether an alias refers to it."""
        return self.aliases is not None


Node: TypeAlias = Scalar | Alias | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Part:
    """One document of a stream, read: its root, and all its mappings in the order of the text.

    No mapping is there twice: aliases are not followed.
    """

    span: Span
    root: Node
    mappings: tuple[Mapping, ...]

    def scalar(self, key: str) -> str:
        """The text of a scalar at the top of the document, empty where there is none."""
        node = self.root.values.get(key) if isinstance(self.root, Mapping) else None
        return node.value if isinstance(node, Scalar) else ""


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its text, those of its documents that were worth reading, and what could not be read."""

    path: str
    text: str
    parts: tuple[Part, ...]
    skipped: tuple[Skipped, ...] = ()


class Words:
    """What a document must mention to be worth parsing: the last path segments of these names, as whole words.

    One linear RE2 pass, however many there are. A name cut at a segment (`ghcr.io/team-a/`) stands for all below it;
    one without any segment stands for everything. Names spelled with escapes in double quotes are not seen.
    """

    def __init__(self, names: Iterable[str]) -> None:
        words = sorted({name.rstrip("/").rpartition("/")[2] for name in names})
        self._nothing = not words
        options = re2.Options()
        options.max_mem = _WORDS_MEMORY
        self._pattern = re2.compile("|".join(map(_whole_word, words)).encode(), options)

    def within(self, text: str) -> bool:
        """Whether the text mentions one of them."""
        return not self._nothing and self._pattern.search(text.encode()) is not None


@contextmanager
def uncollected() -> Iterator[None]:
    """Put off collecting garbage while one file is read or written, which is bounded: what is being built is none.

    Looking through it again and again took half of the time (measured). Threads may overlap: one turns it on again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@uncollected()
def parse(path: str, data: bytes | str, words: Words | None = None) -> Document:
    """Read those documents of a file that mention one of the words; all of them where `words` is None.

    Never raises: what cannot be read is in `skipped`, and its neighbours in the same stream still count.
    """
    try:
        text = decode(data)
        if text.startswith(_LFS):
            raise Broken(1, "a pointer of Git LFS: the file that it stands for is not in Git")
        found = spans(text) if words is None or words.within(text) else []
        if len(found) > MAX_DOCUMENTS:
            raise Broken(0, f"too large: {len(found)} documents, at most {MAX_DOCUMENTS} are read")
    except Broken as broken:
        return Document(path, "", (), (Skipped(path, broken.line, str(broken)),))
    parts: list[Part] = []
    skipped: list[Skipped] = []
    for span in found:
        piece = text[span.start : span.end]
        if words is not None and not words.within(piece):
            continue
        try:
            part = compose(piece, span)
        except Broken as broken:
            skipped.append(Skipped(path, span.line, str(broken)))
            continue
        if part is not None:
            parts.append(part)
    return Document(path, text, tuple(parts), tuple(skipped))


def compose(text: str, span: Span) -> Part | None:
    """Read one document into nodes whose positions are those of the file; None where it is empty. Raises Broken."""
    composer = _Composer(text, span)
    with reading(text, span) as get:
        composer.read(get)
    if len(composer.roots) > 1:
        raise Broken(span.line, "more than one document between two markers")
    return Part(span, composer.roots[0], tuple(composer.mappings)) if composer.roots else None


class _Composer:
    """Builds nodes from events, without recursion."""

    def __init__(self, text: str, span: Span) -> None:
        self.roots: list[Node] = []
        self.mappings: list[Mapping] = []
        self._text, self._span = text, span
        self._at = span.start
        self._line = span.line
        self._holder: Sequence | Mapping | None = None
        self._nodes = 0
        self._anchors: dict[str, Scalar | Sequence | Mapping] = {}

    def read(self, get: Callable[[], Any]) -> None:
        """Take every event. Keys of a mapping and their plain values are most of them: these cost no further call."""
        at, first, depth = self._at, self._line, 0
        while (event := get()) is not None:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                holder = self._holder
                if (
                    type(holder) is not Mapping
                    or event.anchor is not None
                    or event.tag is not None
                    or event.style in _BLOCK
                ):
                    self._add(self._scalar(event))
                elif holder.pending is None:
                    holder.pending = event.value  # a key is no node
                else:
                    mark = event.start_mark
                    holder.values[holder.pending] = Scalar(
                        at + mark.index, at + event.end_mark.index, first + mark.line, event.value, event.style or "",
                        None, None, holder,
                    )  # fmt: skip
                    holder.pending = None
                    self._nodes += 2
                    if self._nodes > MAX_NODES:
                        raise self._too_many()
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                assert self._holder is not None
                self._holder, depth = self._holder.parent, depth - 1
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                depth += 1
                if depth > MAX_DEPTH:
                    raise too_deep(event, self._span)
                self._start(event, kind)
            elif kind is yaml.AliasEvent:
                self._add(self._alias(event))

    def _start(self, event: Any, kind: type) -> None:
        line, under = self._line + event.start_mark.line, self._under()
        if kind is yaml.SequenceStartEvent:
            self._enter(Sequence(line, under, self._holder, event.anchor))
            return
        mapping = Mapping(line, under, self._holder, event.anchor, event.flow_style)
        self.mappings.append(mapping)
        self._enter(mapping)

    def _under(self) -> str:
        holder = self._holder
        if isinstance(holder, Mapping):
            return holder.pending or ""
        return holder.under if holder is not None else ""

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._too_many()
        holder = self._holder
        if holder is None:
            self.roots.append(node)
        elif isinstance(holder, Sequence):
            holder.children.append(node)
        elif holder.pending is None:
            holder.pending = node.value if isinstance(node, Scalar) else ""
        else:
            holder.values[holder.pending] = node
            holder.pending = None

    def _too_many(self) -> Broken:
        return Broken(self._line, f"too large: more than {MAX_NODES} nodes")

    def _enter(self, node: Sequence | Mapping) -> None:
        self._add(node)
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        self._holder = node

    def _alias(self, event: Any) -> Alias:
        line = self._line + event.start_mark.line
        target = self._anchors.get(event.anchor)
        if target is None:
            raise Broken(line, f"broken YAML at line {line}: no anchor for the alias *{event.anchor}"[:MAX_WHY])
        start, end = self._at + event.start_mark.index, self._at + event.end_mark.index
        alias = Alias(start, end, line, event.anchor, target, self._under(), self._holder)
        target.aliases = [] if target.aliases is None else target.aliases
        target.aliases.append(alias)
        if isinstance(target, Mapping) and alias.under == "<<":
            target.merged = True
        return alias

    def _scalar(self, event: Any) -> Scalar:
        mark = event.start_mark
        start, end, line, style = mark.index, event.end_mark.index, self._line + mark.line, event.style or ""
        if event.anchor is not None or event.tag is not None:
            first, start = start, min(self._past_properties(start), end)  # libyaml's mark is that of the first property
            line += self._text.count("\n", first, start)
        at = self._at
        node = Scalar(at + start, at + end, line, event.value, style, event.anchor, event.tag, self._holder)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if style in _BLOCK:
            node.inner = self._one_line(start, end, event.value.rstrip("\n"))
        return node

    def _one_line(self, start: int, end: int, text: str) -> tuple[int, int] | None:
        """Where the text of a block scalar stands, if it is one line."""
        token = self._text[start:end].rstrip(BLANK)
        if not text or "\n" in text or not token.endswith(text):
            return None
        if not _HEADER.fullmatch(token, 0, len(token) - len(text)):
            return None
        end = self._at + start + len(token)
        return end - len(text), end

    def _past_properties(self, at: int) -> int:
        while (found := _PROPERTY.match(self._text, at)) is not None:
            between = _BETWEEN.match(self._text, found.end())
            assert between is not None
            at = between.end()
        return at


@cache
def _whole_word(word: str) -> str:
    """A pattern for the word, not as a part of a longer one: `api` is not in `apiVersion`."""
    left = r"\b" if word[:1].isalnum() else ""
    right = r"\b" if word[-1:].isalnum() else ""
    return f"{left}{re2.escape(word)}{right}"
