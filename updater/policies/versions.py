"""Versions as people write them, and the order that they stand in.

Loose: a `v` before, one to three parts, leading zeros in them. What is left is SemVer 2, read by `semver`; the order
is SemVer's too, except that an alphanumeric identifier compares by its runs of letters and digits: rc10 > rc9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import semver

from updater.policies.base import Rank

MAX_VERSION = 256  # characters; a tag has at most 128, and int() has a bound of its own far above
CACHED = 10240  # texts remembered, some 7 MB: a long list, or what the poll before has read of many short ones

IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_LOOSE = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({IDENTIFIERS}))?(?:\+({IDENTIFIERS}))?")
_RUNS = re.compile(r"[0-9]+|[^0-9]+")

Key = tuple[Any, ...]

# The last place of a key. A prerelease is a tuple of its identifiers, each (0, number) or (1, run, run, ...); a run is
# (0, number) or (1, letters). So numbers come before words, fewer identifiers before more, and all before FINAL.
FINAL: Key = ((2,),)
LOWEST: Key = ()  # below every prerelease of the same numbers


@dataclass(frozen=True, slots=True)
class Version:
    """A text that was read as a version. `pre` is its prerelease, empty for an ordinary version."""

    rank: Rank
    pre: str


@lru_cache(maxsize=CACHED)
def parse(text: str) -> Version | None:
    """Read a loose version; None for every other text."""
    match = _LOOSE.fullmatch(text) if len(text) <= MAX_VERSION else None
    if match is None:
        return None
    major, minor, patch, pre, build = match.groups()
    normal = f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}"
    try:
        read = semver.Version.parse(f"{normal}{f'-{pre}' if pre else ''}{f'+{build}' if build else ''}")
    except ValueError:  # a numeric identifier with leading zeros: 1.0.0-01
        return None
    release = (read.major, read.minor, read.patch)
    parts = 3 if patch else 2 if minor else 1
    return Version(Rank((*release, prerelease_key(pre or "")), release, parts), pre or "")


def prerelease_key(pre: str) -> Key:
    """Return the last place of a version's key; the empty text is that of an ordinary version."""
    return tuple(map(_identifier, pre.split("."))) if pre else FINAL


def _identifier(text: str) -> Key:
    return (0, int(text)) if text.isdecimal() else (1, *runs(text))


def runs(text: str) -> Key:
    """Cut a text into runs that compare: digits as numbers, before letters."""
    return tuple((0, int(run)) if run.isdecimal() else (1, run) for run in _RUNS.findall(text))
