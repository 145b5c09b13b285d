"""One file of YAML: guarded, split into its documents, and those that matter composed with exact positions.

libyaml's event parser keeps its own stack on the heap and is asked for one event at a time, so the nesting is counted
before anything recurses: PyYAML's own composer recurses in C and dies of SIGSEGV at 50,000 levels.
Positions count characters of the whole decoded file (a BOM is character 0); lines count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import re2
import yaml

from updater.model.change import Skipped

MAX_BYTES = 8 << 20  # of one file: rendered clusters of 2,000 documents are 5 MB
MAX_DEPTH = 100  # levels of nesting; the deepest custom resource definitions stay under 40
MAX_NODES = 1_000_000  # of one file: about a second of composing
MAX_WHY = 200  # characters of a parser's complaint

_MARKER = re.compile(r"---|\.\.\.")
_BREAKS = "\n\r\x85\u2028\u2029"  # what libyaml takes for the end of a line
_BLANK = f" \t{_BREAKS}"  # also of the empty text at the end of a file
_LINE_END = re.compile(f"[{_BREAKS}]|\\Z")
_PROPERTY = re.compile(r"[&!][^\s,\[\]{}]*|!<[^>\s]*>")
_BETWEEN = re.compile(rf"(?:[ \t{_BREAKS}]|#[^{_BREAKS}]*)*")


class Broken(ValueError):
    """A document that cannot be read: at which line of the file, and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(slots=True, eq=False)
class Scalar:
    """A scalar: its token from `start` to `end` without anchor and tag, and its value.

    `style` is the first character of the token: empty for plain, else a quote or `|` or `>`.
    """

    start: int
    end: int
    line: int
    value: str
    style: str = ""
    anchor: str | None = None
    tag: str | None = None
    shared: bool = False  # an alias refers to it


@dataclass(slots=True, eq=False)
class Alias:
    """`*name`, and the node that it stands for."""

    start: int
    end: int
    line: int
    name: str
    target: Node


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    line: int
    anchor: str | None = None
    tag: str | None = None
    children: list[Node] = field(default_factory=list)
    shared: bool = False


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys and values in turn, in the order of the text, duplicates included."""

    line: int
    anchor: str | None = None
    tag: str | None = None
    children: list[Node] = field(default_factory=list)
    shared: bool = False

    @property
    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """The keys with their values."""
        return zip(self.children[::2], self.children[1::2], strict=True)

    def get(self, key: str) -> Node | None:
        """The value of a plain key; of duplicates the last, as every reader of YAML takes it."""
        found = None
        for name, value in self.pairs:
            if isinstance(name, Scalar) and name.value == key:
                found = value
        return found


Node: TypeAlias = Scalar | Alias | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Span:
    """One document of a stream: characters `start` to `end` of the file, the first of them on this line."""

    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Part:
    """One document of a stream, read."""

    span: Span
    root: Node

    def scalar(self, key: str) -> str:
        """The text of a scalar at the top of the document, empty where there is none."""
        node = self.root.get(key) if isinstance(self.root, Mapping) else None
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
        self._pattern = re2.compile("|".join(map(_whole_word, words)).encode())

    def within(self, text: str) -> bool:
        """Whether the text mentions one of them."""
        return not self._nothing and self._pattern.search(text.encode()) is not None


def parse(path: str, data: bytes | str, words: Words | None = None) -> Document:
    """Read those documents of a file that mention one of the words; all of them where `words` is None.

    Never raises: what cannot be read is in `skipped`, and its neighbours in the same stream still count.
    """
    try:
        text = decode(data)
    except Broken as broken:
        return Document(path, "", (), (Skipped(path, broken.line, str(broken)),))
    parts: list[Part] = []
    skipped: list[Skipped] = []
    for span in spans(text):
        piece = text[span.start : span.end]
        if words is not None and not words.within(piece):
            continue
        try:
            root = compose(piece, span)
        except Broken as broken:
            skipped.append(Skipped(path, span.line, str(broken)))
            continue
        if root is not None:
            parts.append(Part(span, root))
    return Document(path, text, tuple(parts), tuple(skipped))


def decode(data: bytes | str) -> str:
    """Return the text of a file, its BOM included. Raises Broken for what libyaml must not see."""
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise Broken(1, f"too large: {len(raw)} bytes, at most {MAX_BYTES} are read")
    if b"\0" in raw:
        raise Broken(raw.count(b"\n", 0, raw.index(b"\0")) + 1, "not text: it holds a NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Broken(raw.count(b"\n", 0, error.start) + 1, f"not UTF-8: byte {error.start}") from None


def spans(text: str) -> list[Span]:
    """Split a stream at its `---` and `...` lines without reading what stands between them.

    Comments and directives before the first `---` belong to the document that it opens.
    """
    found: list[Span] = []
    start, line, opened = (1 if text.startswith("\ufeff") else 0), 1, False

    def close(end: int) -> None:
        nonlocal start, line
        found.append(Span(start, end, line))
        line += text.count("\n", start, end)
        start = end

    for marker in _MARKER.finditer(text):
        at, after = marker.span()
        if (at > start and text[at - 1] not in _BREAKS) or text[after : after + 1] not in _BLANK:
            continue
        if marker.group() == "---":
            if opened or not _only_header(text[start:at]):
                close(at)
            opened = True
        else:
            close(_end_of_line(text, after))
            opened = False
    close(len(text))
    return found


def _end_of_line(text: str, at: int) -> int:
    end = _LINE_END.search(text, at)
    assert end is not None
    return end.end() + (text[end.start() : end.start() + 2] == "\r\n")


def _only_header(text: str) -> bool:
    return all(not line.strip() or line.lstrip()[0] in "#%" for line in text.splitlines())


def compose(text: str, span: Span) -> Node | None:
    """Read one document into nodes whose positions are those of the file; None where it is empty. Raises Broken."""
    try:
        return _Composer(text, span).run()
    except yaml.YAMLError as error:
        raise _broken(error, span) from None


def _broken(error: yaml.YAMLError, span: Span) -> Broken:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = span.line + (mark.line if mark else 0)
    return Broken(line, f"broken YAML at line {line}: {problem}"[:MAX_WHY])


class _Composer:
    """Builds nodes from events, without recursion."""

    def __init__(self, text: str, span: Span) -> None:
        self._text = text
        self._at = span.start
        self._line = span.line
        self._open: list[Sequence | Mapping] = []
        self._anchors: dict[str, Node] = {}
        self._roots: list[Node] = []
        self._nodes = 0

    def run(self) -> Node | None:
        loader = yaml.CSafeLoader(self._text)
        try:
            while (event := loader.get_event()) is not None:
                self._take(event)
        finally:
            loader.dispose()
        if len(self._roots) > 1:
            raise Broken(self._line, "more than one document between two markers")
        return self._roots[0] if self._roots else None

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._add(self._scalar(event), event.anchor)
        elif kind is yaml.MappingStartEvent:
            self._enter(Mapping(self._line + event.start_mark.line, event.anchor, event.tag))
        elif kind is yaml.SequenceStartEvent:
            self._enter(Sequence(self._line + event.start_mark.line, event.anchor, event.tag))
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._open.pop()
        elif kind is yaml.AliasEvent:
            self._add(self._alias(event), None)

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Broken(self._line, f"too large: more than {MAX_NODES} nodes")
        if anchor is not None:
            self._anchors[anchor] = node
        (self._open[-1].children if self._open else self._roots).append(node)

    def _enter(self, node: Sequence | Mapping) -> None:
        self._add(node, node.anchor)
        self._open.append(node)
        if len(self._open) > MAX_DEPTH:
            raise Broken(node.line, f"nested too deep at line {node.line}: more than {MAX_DEPTH} levels")

    def _alias(self, event: Any) -> Alias:
        line = self._line + event.start_mark.line
        target = self._anchors.get(event.anchor)
        if target is None:
            raise Broken(line, f"broken YAML at line {line}: no anchor for the alias *{event.anchor}")
        assert not isinstance(target, Alias)
        target.shared = True
        return Alias(self._at + event.start_mark.index, self._at + event.end_mark.index, line, event.anchor, target)

    def _scalar(self, event: Any) -> Scalar:
        start, end, line = event.start_mark.index, event.end_mark.index, event.start_mark.line
        if event.anchor is not None or event.tag is not None:  # libyaml's mark is that of the first property
            first, start = start, min(self._past_properties(start), end)
            line += self._text.count("\n", first, start)
        style = event.style or ""
        return Scalar(self._at + start, self._at + end, self._line + line, event.value, style, event.anchor, event.tag)

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
