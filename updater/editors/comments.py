"""Comments of YAML, which libyaml's events do not tell: found in the text, and proved by where its tokens stand."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from updater.model.stream import BREAKS, Broken, Span, events

MAX_COMMENT = 1024  # characters of a comment that are read
MAX_ABOVE = 10  # lines of comments above a value
_BREAK = re.compile(rf"\r\n|[{BREAKS}]")
_HASH = re.compile(rf"(?<![^ \t\ufeff{BREAKS}])#")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: its line, counted from the beginning of its document, what it says, and where it stands."""

    line: int
    text: str
    alone: bool  # no value stands before it
    block: bool  # in a block scalar, where there are no comments


def lines_of(text: str) -> list[tuple[int, int]]:
    """Where the lines of a text begin and end, as libyaml counts them."""
    found, at = [], 0
    for end in _BREAK.finditer(text):
        found.append((at, end.start()))
        at = end.end()
    return [*found, (at, len(text))]


def comments(text: str, span: Span, hint: re.Pattern[str]) -> Iterator[Comment]:
    """Yield the comments of a document in which the hint stands.

    A `#` in quotes begins none; what looks like one in a block scalar is none either, and yielded as such.
    """
    lines, tokens = lines_of(text), _tokens(text, span)
    starts = [start for start, _, _ in tokens]
    begins = [start for start, _ in lines]
    for number in dict.fromkeys(bisect_right(begins, match.start()) - 1 for match in hint.finditer(text)):
        start, end = lines[number]
        for sign in _HASH.finditer(text, start, end):
            at = sign.start()
            token = tokens[bisect_right(starts, at) - 1] if starts and starts[0] <= at else (0, 0, "")
            inside = token[0] < at < token[1]
            if inside and token[2] not in {"|", ">"}:
                continue
            header = inside and token[0] >= start  # the comment behind a `|` is one
            said = text[at + 1 : min(end, at + MAX_COMMENT)].strip()
            yield Comment(number, said, not text[start:at].strip(" \t\ufeff"), inside and not header)
            break


def _tokens(text: str, span: Span) -> list[tuple[int, int, str]]:
    """The scalars of a document in which a `#` may be no comment: from where to where, and their style."""
    try:
        every = [one for one in events(text, span) if getattr(one, "style", None) and hasattr(one, "value")]
    except Broken:  # it was read a moment ago
        return []
    return [(one.start_mark.index, one.end_mark.index, one.style) for one in every]


def below(number: int, text: str, lines: list[tuple[int, int]]) -> int:
    """The first line below a comment that is none itself; few comments stand above a value."""
    for under in range(number + 1, min(number + MAX_ABOVE, len(lines))):
        if not text[slice(*lines[under])].lstrip(" \t").startswith("#"):
            return under
    return len(lines)
