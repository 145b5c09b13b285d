"""The range language that users of Helm, Flux and Argo CD know: that of Masterminds semver 3.x.

    range       group || group ...               one group is enough
    group       comparator [,] comparator ...    all of them
    comparator  [= != > < >= => <= =< ~ ~> ^] version, or version - version
    version     loose, with x X * for a part, or parts left out

A part that is left out stands for all of its values: =2.0 holds 2.0.1, >11 does not hold 11.1.0, <=1.1 holds 1.1.5.
A prerelease is inside only where a comparator of the group has a prerelease itself, or where the caller includes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf

from updater.policies.versions import IDENTIFIERS, LOWEST, Key, Version, prerelease_key

MAX_RANGE = 1000  # characters
MAX_COMPARATORS = 64

EXPECTED = "a range like 1.x, ~1.4 or >=1.4.0 <2.0.0"

_TOP: Key = (inf,)
_ANYTHING: Key = (0, 0, 0, LOWEST)
_PART = r"(?:[0-9]+|[xX*])"
_OPERATOR = re.compile(r"!=|=>|>=|=<|<=|~>|[=<>~^]")
_VERSION = re.compile(
    rf"v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?"
    rf"(?:-(?P<pre>{IDENTIFIERS}))?(?:\+{IDENTIFIERS})?"
)
_HYPHEN = re.compile(r"\s+-\s+")
_BLANKS = re.compile(r"\s*")
_AND = re.compile(r"\s*,\s*|\s+")

Test = Callable[[Key], bool]


@dataclass(frozen=True, slots=True)
class Bound:
    """The version in a comparator: its key, how many of its parts are given, and whether it has a prerelease."""

    key: Key
    given: int
    pre: bool

    def after(self, place: int) -> Key:
        """The lowest key whose number at this place (0 major, 1 minor, 2 patch) is one higher."""
        return (*self.key[:place], self.key[place] + 1, *(0,) * (2 - place), LOWEST)

    @property
    def above(self) -> Key:
        """The lowest key above this very version: the same prerelease and something more."""
        return (*self.key[:3], (*self.key[3], (-1,)))


@dataclass(frozen=True, slots=True)
class Group:
    """Comparators that must all hold; `pre` where one of them has a prerelease."""

    tests: tuple[Test, ...]
    pre: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A range that was read; `text` is how it was written."""

    text: str
    groups: tuple[Group, ...]

    def holds(self, version: Version, *, prereleases: bool = False) -> bool:
        """Say whether the version is inside; with `prereleases` they count as ordinary versions."""
        key, closed = version.rank.key, bool(version.pre) and not prereleases
        return any(all(test(key) for test in group.tests) for group in self.groups if group.pre or not closed)


@lru_cache(maxsize=1024)
def parse(text: str) -> Range:
    """Read a range. Raises ValueError that says what was found, where, and what was expected."""
    if len(text) > MAX_RANGE:
        raise ValueError(f"{len(text)} characters; expected a range of at most {MAX_RANGE}")
    groups: list[Group] = []
    start = count = 0
    for piece in text.split("||"):
        group = _group(text, start, start + len(piece))
        groups.append(group)
        start += len(piece) + 2
        count += len(group.tests)
    if count > MAX_COMPARATORS:
        raise ValueError(f"{count} comparators; expected at most {MAX_COMPARATORS}")
    return Range(text, tuple(groups))


def _group(text: str, start: int, end: int) -> Group:
    tests: list[Test] = []
    pre = False
    at = _skip(_BLANKS, text, start, end)
    while True:
        found, bounds, at = _comparator(text, at, end)
        tests += found
        pre = pre or any(bound.pre for bound in bounds)
        after = _skip(_AND, text, at, end)
        if after == end and "," not in text[at:end]:
            return Group(tuple(tests), pre)
        if after == at:
            raise _unreadable(text, at, end)
        at = after


def _comparator(text: str, at: int, end: int) -> tuple[list[Test], list[Bound], int]:
    sign = _OPERATOR.match(text, at, end)
    if sign:
        bound, at = _bound(text, _skip(_BLANKS, text, sign.end(), end), end)
        return [_OPERATORS[sign[0]](bound)], [bound], at
    low, at = _bound(text, at, end)
    hyphen = _HYPHEN.match(text, at, end)
    if hyphen is None:
        return [_equal(low)], [low], at
    high, at = _bound(text, hyphen.end(), end)
    return [_at_least(low), _at_most(high)], [low, high], at


def _bound(text: str, at: int, end: int) -> tuple[Bound, int]:
    match = _VERSION.match(text, at, end)
    if match is None:
        raise _unreadable(text, at, end)
    numbers: list[int] = []
    for part in match.group("major", "minor", "patch"):
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    pre = match["pre"] or ""
    if any(len(word) > 1 and word[0] == "0" and word.isdecimal() for word in pre.split(".")):
        raise ValueError(f"leading zeros in a number of the prerelease {pre[:80]!r}; expected {EXPECTED}")
    key = (*numbers, *(0,) * (3 - len(numbers)), prerelease_key(pre) if pre or numbers else LOWEST)
    return Bound(key, len(numbers), bool(pre)), match.end()


def _skip(what: re.Pattern[str], text: str, at: int, end: int) -> int:
    match = what.match(text, at, end)
    return match.end() if match else at


def _unreadable(text: str, at: int, end: int) -> ValueError:
    found = repr(text[at : min(end, at + 40)]) if at < end else "nothing"
    return ValueError(f"{found} at character {at + 1}; expected {EXPECTED}")


def _between(low: Key, high: Key) -> Test:
    return lambda key: low <= key < high


def _equal(bound: Bound) -> Test:
    return _between(bound.key, bound.above) if bound.given == 3 else _tilde(bound)


def _not_equal(bound: Bound) -> Test:
    major, minor, _, pre = bound.key
    match bound.given:
        case 0:
            return lambda _key: False
        case 1:
            return lambda key: bool(key[0] != major)
        case 2:  # the prerelease must be the same too: !=4.1-alpha leaves 4.1.0, and !=4.1 leaves 4.1.0-alpha
            return lambda key: (key[0], key[1], key[3]) != (major, minor, pre)
        case _:
            return lambda key: key != bound.key


def _greater(bound: Bound) -> Test:
    match bound.given:
        case 0:
            return lambda _key: False
        case 3:
            return _between(bound.above, _TOP)
        case given:
            return _between(bound.after(given - 1), _TOP)


def _less(bound: Bound) -> Test:
    return _between(_ANYTHING, bound.key)


def _at_least(bound: Bound) -> Test:
    return _between(bound.key, _TOP)


def _at_most(bound: Bound) -> Test:
    match bound.given:
        case 0:
            return _between(_ANYTHING, _TOP)
        case 3:
            return _between(_ANYTHING, bound.above)
        case given:
            return _between(_ANYTHING, bound.after(given - 1))


def _tilde(bound: Bound) -> Test:
    # ~0.0.0 holds everything: so it does in the original, and its users rely on it.
    if bound.given == 0 or (bound.given == 3 and bound.key[:3] == (0, 0, 0)):
        return _at_least(bound)
    return _between(bound.key, bound.after(min(bound.given, 2) - 1))


def _caret(bound: Bound) -> Test:
    """Keep the leftmost number that is not zero, or the last one given."""
    if bound.given == 0:
        return _at_least(bound)
    place = next((i for i, number in enumerate(bound.key[: bound.given]) if number), bound.given - 1)
    return _between(bound.key, bound.after(place))


_OPERATORS: dict[str, Callable[[Bound], Test]] = {
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": _less,
    ">=": _at_least,
    "=>": _at_least,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
