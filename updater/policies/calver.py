"""Dates as versions: `2024.04.1`, `24.04`, `20240401`.

A format is made of tokens and of text between them, which a tag has to the letter. Numbers without a fixed width need
something that is no digit beside them: in YYYYMM nothing tells 2024.1 from 202.41, and it is mostly meant as YYYY0M.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from updater.model.tag import Tag
from updater.policies.base import Policy, Rank

MAX_FORMAT = 128  # characters, as of a tag

_YEAR, _MONTH, _DAY, _MICRO = range(4)  # kinds of tokens, in the order that they compare in

# Token: its kind, the digits that it reads, and whether their number is fixed.
_TOKENS: dict[str, tuple[int, str, bool]] = {
    "YYYY": (_YEAR, "(?:19|[2-9][0-9])[0-9][0-9]", True),  # from 1900 on, so that a counter of four digits is no year
    "YY": (_YEAR, "[1-9]?[0-9]", False),
    "0Y": (_YEAR, "[0-9][0-9]", True),
    "MM": (_MONTH, "[1-9][0-9]?", False),
    "0M": (_MONTH, "[0-9][0-9]", True),
    "DD": (_DAY, "[1-9][0-9]?", False),
    "0D": (_DAY, "[0-9][0-9]", True),
    "MICRO": (_MICRO, "[0-9]+", False),
}
_WORDS = ("a year", "a month", "a day", "MICRO")
_PIECES = re.compile(rf"({'|'.join(_TOKENS)})|(0?[A-Z]+)|([a-z0-9._-])|(.)", re.DOTALL)
_CENTURY = 2000  # of a year in two digits
_KNOWN = ", ".join(_TOKENS)


class _Format(NamedTuple):
    """An expression with a group for every token, and the kinds of these."""

    expression: re.Pattern[str]
    kinds: tuple[int, ...]
    century: int


def compiled(text: str) -> _Format:
    """Read a format. Raises ValueError that says what was found in it and what is expected."""
    if len(text) > MAX_FORMAT:
        raise ValueError(f"a format of {len(text)} characters; expected at most {MAX_FORMAT}")
    pieces = [_piece(match) for match in _PIECES.finditer(text)]
    tokens = [piece for piece in pieces if piece in _TOKENS]
    kinds = tuple(_TOKENS[token][0] for token in tokens)
    _complete(kinds, text)
    _unambiguous(pieces)
    expression = "".join(f"({_TOKENS[piece][1]})" if piece in _TOKENS else re.escape(piece) for piece in pieces)
    return _Format(re.compile(expression), kinds, 0 if "YYYY" in tokens else _CENTURY)


def _piece(match: re.Match[str]) -> str:
    token, unknown, text, foreign = match.groups()
    if unknown:
        raise ValueError(f"unknown token {unknown!r} in a format; expected one of {_KNOWN}")
    if foreign:
        raise ValueError(f"{foreign!r} in a format; expected tokens and a-z 0-9 . _ -")
    return str(token or text)


def _complete(kinds: tuple[int, ...], text: str) -> None:
    """Check that there is a date in the format: a year, and nothing twice."""
    for kind, words in enumerate(_WORDS):
        if kinds.count(kind) > 1:
            raise ValueError(f"{words} twice in {text!r}; expected it once")
    if _YEAR not in kinds:
        raise ValueError(f"no year in {text!r}; expected one of YYYY, YY, 0Y, as in YYYY.0M.0D")
    if _DAY in kinds and _MONTH not in kinds:
        raise ValueError(f"a day without a month in {text!r}; expected MM or 0M too")


def _unambiguous(pieces: list[str]) -> None:
    """Check that numbers of any width stand alone; only MICRO may follow another, it takes the digits that are left."""
    for before, after in pairwise(pieces):
        loose = next((piece for piece in (before, after) if piece in _TOKENS and not _TOKENS[piece][2]), None)
        if loose is None or (loose is after and after == "MICRO"):
            continue
        beside = after if loose is before else before
        if beside in _TOKENS or beside.isdecimal():
            padded = "" if loose == "MICRO" else f"0{loose[0]} or "
            raise ValueError(f"{before}{after} in a format is ambiguous; expected {padded}a separator beside {loose}")


def _checked(text: str) -> str:
    compiled(text)
    return text


class Calver(Policy):
    """The latest date, in tags of exactly this `format`.

    Tokens are YYYY, YY (24 and 9) or 0Y (24 and 09); MM (4) or 0M (04); DD (1) or 0D (01); MICRO, any number. Every
    other small letter, digit, dot, dash and underscore stands for itself: a tag has a `v` before only where the format
    has one. Compared are year, month, day and MICRO, wherever they stand. The year counts as the major.
    """

    kind: Literal["calver"] = "calver"
    format: Annotated[str, AfterValidator(_checked)]

    @property
    def words(self) -> str:
        """`calver` and the format."""
        return f"calver {self.format}"

    def current(self, text: str, tag: Tag) -> Rank | None:
        """A date in the format."""
        return self._read(text)

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of a date in the format."""
        return self._read(text) or self._unfit

    def _read(self, text: str) -> Rank | None:
        expression, kinds, century = self._format
        match = expression.fullmatch(text) if len(text) <= MAX_FORMAT else None
        if match is None:
            return None
        numbers = dict(zip(kinds, map(int, match.groups()), strict=True))
        try:
            date(numbers[_YEAR] + century, numbers.get(_MONTH, 1), numbers.get(_DAY, 1))
        except ValueError:  # a thirteenth month, a thirtieth of February
            return None
        key = tuple(numbers[kind] for kind in sorted(kinds))
        return Rank(key, key, len(key))

    @cached_property
    def _format(self) -> _Format:
        return compiled(self.format)

    @cached_property
    def _unfit(self) -> str:
        return f"no_match: not a date like {self.format}"
