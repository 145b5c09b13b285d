"""YAML as a stream of libyaml's events: guarded, and split into its documents.

libyaml's event parser keeps its own stack on the heap and is asked for one event at a time, so the nesting is counted
before anything recurses: PyYAML's own composer recurses in C and dies of SIGSEGV at 50,000 levels.
Positions count characters of the whole decoded file (a BOM is character 0); lines count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from typing import Any

import yaml

MAX_BYTES = 8 << 20  # of one file: rendered clusters of 2,000 documents are 5 MB
MAX_DEPTH = 100  # levels of nesting; the deepest custom resource definitions stay under 40
MAX_NODES = 1_000_000  # of one document: about a second of composing
MAX_DOCUMENTS = 50_000  # of one file: each costs a parser of its own
MAX_DIRECTIVES = 50  # of one document: libyaml compares each `%TAG` with all before it
MAX_WHY = 200  # characters of a parser's complaint

_DEEPER = {
    yaml.MappingStartEvent: 1,
    yaml.SequenceStartEvent: 1,
    yaml.MappingEndEvent: -1,
    yaml.SequenceEndEvent: -1,
}
BREAKS = "\n\r\x85\u2028\u2029"  # what libyaml takes for the end of a line
BLANK = f" \t{BREAKS}"  # also of the empty text at the end of a file
_LINE_END = re.compile(f"[{BREAKS}]|\\Z")
_HEADER = re.compile(rf"(?:[ \t]*+(?:[#%][^{BREAKS}]*+)?+[{BREAKS}])*+")  # blank lines, comments, directives


class Broken(ValueError):
    """What cannot be read: from which line of the file on (0 for all of it), and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Span:
    """One document of a stream: characters `start` to `end` of the file, the first of them on this line."""

    start: int
    end: int
    line: int


def decode(data: bytes | str, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file, its BOM included. Raises Broken for what libyaml must not see."""
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if len(raw) > max_bytes:
        raise Broken(0, f"too large: {len(raw)} bytes, at most {max_bytes} are read")
    if b"\0" in raw:
        raise Broken(raw.count(b"\n", 0, raw.index(b"\0")) + 1, "not text: it holds a NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Broken(raw.count(b"\n", 0, error.start) + 1, f"not UTF-8: byte {error.start}") from None


def spans(text: str) -> list[Span]:
    """Split a stream at its `---` and `...` lines without reading what stands between them.

    Comments and directives before the first `---` belong to the document that it opens; what has nothing else before
    a `...` is no document (libyaml would call it broken).
    """
    found: list[Span] = []
    start, line, opened = (1 if text.startswith("\ufeff") else 0), 1, False
    for at, opens in _markers(text):
        full = opened or not _only_header(text[start:at])
        opened = opens
        if opens and not full:
            continue
        end = at if opens else _end_of_line(text, at)
        if full:
            found.append(Span(start, end, line))
        line += text.count("\n", start, end)
        start = end
    return [*found, Span(start, len(text), line)]


def _markers(text: str) -> Iterator[tuple[int, bool]]:
    """Yield where `---` and `...` stand at the beginning of a line, and whether it is one that opens a document."""
    first = 1 if text.startswith("\ufeff") else 0
    for at in merge(_places(text, "---"), _places(text, "...")):
        if (at == first or text[at - 1] in BREAKS) and text[at + 3 : at + 4] in BLANK:
            yield at, text[at] == "-"


def _places(text: str, marker: str) -> Iterator[int]:
    at = -len(marker)
    while (at := text.find(marker, at + len(marker))) >= 0:
        yield at


def _end_of_line(text: str, at: int) -> int:
    end = _LINE_END.search(text, at)
    assert end is not None
    return end.end() + (text[end.start() : end.start() + 2] == "\r\n")


def _only_header(text: str) -> bool:
    return _header(text) == len(text)


def _header(text: str) -> int:
    """Where blank lines, comments and directives end."""
    match = _HEADER.match(text)
    assert match is not None
    return match.end()


def _directives(text: str) -> int:
    header = _header(text)
    return text.startswith("%") + sum(text.count(f"{end}%", 0, header) for end in BREAKS)


@contextmanager
def reading(text: str, span: Span) -> Iterator[Callable[[], Any]]:
    """Yield what returns libyaml's next event of one document, None at its end; marks count from its beginning.

    Within it whoever asks counts the levels, and raises `too_deep`. Raises Broken for what libyaml cannot read.
    """
    if "%" in text and _directives(text) > MAX_DIRECTIVES:
        raise Broken(span.line, f"broken YAML at line {span.line}: more than {MAX_DIRECTIVES} directives")
    loader = yaml.CSafeLoader(text)
    try:
        yield loader.get_event
    except yaml.YAMLError as error:
        raise _broken(error, text, span) from None
    finally:
        loader.dispose()


def events(text: str, span: Span) -> Iterator[Any]:
    """Yield the events of one document. Raises Broken."""
    depth = 0
    with reading(text, span) as get:
        while (event := get()) is not None:
            depth += _DEEPER.get(type(event), 0)
            if depth > MAX_DEPTH:
                raise too_deep(event, span)
            yield event


def too_deep(event: Any, span: Span) -> Broken:
    """Return what to say of an event that is nested too deep."""
    line = span.line + event.start_mark.line
    return Broken(line, f"nested too deep at line {line}: more than {MAX_DEPTH} levels")


def _broken(error: yaml.YAMLError, text: str, span: Span) -> Broken:
    if isinstance(error, yaml.reader.ReaderError):  # of characters that YAML forbids; it counts bytes
        below, problem = text.encode()[: error.position].count(b"\n"), error.reason
    else:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        below, problem = mark.line if mark else 0, getattr(error, "problem", None) or str(error)
    return Broken(span.line + below, f"broken YAML at line {span.line + below}: {problem}"[:MAX_WHY])
