"""Versions as container images spell them: `1.2-alpine`, any number of parts, a suffix that says what it is built on.

[v] number.number... [letters]  [-suffix]        16beta1: letters are glued on, a prerelease
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Literal

from updater.model.tag import Tag
from updater.policies.base import Policy, Rank
from updater.policies.versions import CACHED, FINAL, MAX_VERSION, Key, runs

_TAG = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)(\w*)(?:-(.*))?", re.ASCII | re.DOTALL)
_COMMIT = re.compile(r"(?![0-9]+\Z)[0-9a-f]{7,40}")
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tag in pieces. `shape` is the suffix with # for every number in it, `revision` those numbers."""

    numbers: tuple[int, ...]
    pre: Key
    suffix: str
    shape: str
    revision: tuple[int, ...]


@lru_cache(maxsize=CACHED)
def parse(text: str) -> Parsed | None:
    """Read a tag; None for one that starts with no number, and for what looks like the hash of a commit."""
    match = _TAG.fullmatch(text) if len(text) <= MAX_VERSION else None
    if match is None or _COMMIT.fullmatch(text):
        return None
    numbers, glued, suffix = match.groups(default="")
    return Parsed(
        tuple(map(int, numbers.split("."))),
        ((1, *runs(glued)),) if glued else FINAL,
        suffix,
        _NUMBER.sub("#", suffix),
        tuple(map(int, _NUMBER.findall(suffix))),
    )


class Docker(Policy):
    """The greatest version with the same suffix and the same number of parts as the tag in Git.

    Letters glued to the version are a prerelease (3.7.0b1), which only a prerelease of the same numbers moves to.
    `suffix: revision` compares the numbers in a suffix of the same shape (-debian-12-r3) after the version.
    Without a tag in Git the greatest stable version without a suffix is best; 2.1 is then above 2.1.1.
    """

    kind: Literal["docker"] = "docker"
    suffix: Literal["same", "revision"] = "same"

    @property
    def words(self) -> str:
        """`docker`, and how suffixes are read where that is not the default."""
        return "docker" if self.suffix == "same" else f"docker, suffix {self.suffix}"

    @property
    def default_level(self) -> Literal["minor"]:
        """Tags alone promise nothing across majors."""
        return "minor"

    @property
    def alone(self) -> bool:
        """It goes by the tag in Git."""
        return False

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Any version, stable or not."""
        parsed = parse(text)
        return self._rank(parsed) if parsed else None

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of a version that is compatible with the current one."""
        parsed = parse(text)
        if parsed is None:
            return "no_match: not a version"
        beside = parse(current) if current is not None else None
        if beside is None:
            return _alone(parsed)
        return self._incompatible(parsed, beside) or self._rank(parsed)

    def _incompatible(self, parsed: Parsed, beside: Parsed) -> str:
        same = parsed.suffix == beside.suffix if self.suffix == "same" else parsed.shape == beside.shape
        if not same:
            return "no_match: another suffix"
        if len(parsed.numbers) != len(beside.numbers):
            return "no_match: another number of parts"
        if parsed.pre != FINAL and (beside.pre == FINAL or parsed.numbers != beside.numbers):
            return "no_match: a prerelease"
        return ""

    def _rank(self, parsed: Parsed) -> Rank:
        revision = parsed.revision if self.suffix == "revision" else ()
        return Rank((parsed.numbers, parsed.pre, revision), parsed.numbers, len(parsed.numbers))


def _alone(parsed: Parsed) -> Rank:
    """The order of a list with nothing to compare with: plain versions first, the shorter of two above the longer."""
    plain = parsed.pre == FINAL and not parsed.suffix
    key = (plain, (*parsed.numbers, inf), parsed.pre, not parsed.suffix, parsed.revision)
    return Rank(key, parsed.numbers, len(parsed.numbers))
