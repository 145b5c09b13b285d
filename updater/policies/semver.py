"""Versions by SemVer 2, inside a range."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field
from pydantic import Tag as Shape

from updater.model.tag import Tag
from updater.policies import ranges, versions
from updater.policies.base import Policy, Rank

EVERYTHING = frozenset({"*", "x", "X"})  # ranges that say nothing


def _some(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise ValueError("expected by_range, never, allow or a list of words")
    return words


Word = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
Words = Annotated[tuple[Word, ...], Field(max_length=50), AfterValidator(_some)]
Named = Literal["by_range", "never", "allow"]
Prerelease = Annotated[
    Annotated[Named, Shape("named")] | Annotated[Words, Shape("words")],
    Discriminator(lambda value: "words" if isinstance(value, list | tuple) else "named"),
]  # told apart by shape, so that a mistake is one complaint and not one for each kind


def _readable(text: str) -> str:
    ranges.parse(text)
    return text


class Semver(Policy):
    """The greatest version inside `range`, in the range language of Helm, Flux and Argo CD.

    `prerelease`: `by_range` lets in prereleases where the range names one; `never` none; `allow` all, as ordinary
    versions; a list of words those whose first identifier starts with one of them.
    """

    kind: Literal["semver"] = "semver"
    range: Annotated[str, AfterValidator(_readable)] = "*"
    prerelease: Prerelease = "by_range"

    @property
    def words(self) -> str:
        """`semver` and the range."""
        return f"semver {' '.join(self.range.split())}"

    @property
    def default_level(self) -> Literal["minor", "major"]:
        """A range says how far to go; without one, `minor`."""
        return "minor" if self.range.strip() in EVERYTHING else "major"

    @property
    def alone(self) -> bool:
        """Only a range says how far to go."""
        return self.range.strip() not in EVERYTHING

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Any version, inside the range or not."""
        version = versions.parse(text)
        return version.rank if version else None

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of a version inside the range."""
        version = versions.parse(text)
        if version is None:
            return "no_match: not a version"
        if version.pre and (why := self._unwanted(version.pre)):
            return why
        inside = self._range.holds(version, prereleases=self.prerelease != "by_range")
        return version.rank if inside else self._outside

    def _unwanted(self, pre: str) -> str:
        if self.prerelease == "never" or (isinstance(self.prerelease, tuple) and not pre.startswith(self.prerelease)):
            return "no_match: a prerelease that is not wanted"
        return ""

    @cached_property
    def _range(self) -> ranges.Range:
        return ranges.parse(self.range)

    @cached_property
    def _outside(self) -> str:
        return f"no_match: outside {self.range}"
