"""Versions by SemVer 2, inside a range."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from updater.policies.base import Policy, Rank

Word = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]


class Semver(Policy):
    """The greatest version inside `range`, in the range language of Helm, Flux and Argo CD."""

    kind: Literal["semver"] = "semver"
    range: str = "*"
    prerelease: Literal["by_range", "never", "allow"] | Annotated[tuple[Word, ...], Field(min_length=1)] = "by_range"

    @property
    def words(self) -> str:
        """`semver` and the range."""
        return f"semver {self.range}"

    def current(self, text: str) -> Rank | None:
        """Any version, inside the range or not."""
        return None

    def rank(self, text: str, current: str | None) -> Rank | str:
        """Return the rank of a version inside the range."""
        return "no_match: not a version"
