"""Versions as container images spell them: any number of parts, and a suffix."""

from __future__ import annotations

from typing import Literal

from updater.policies.base import Policy, Rank


class Docker(Policy):
    """The greatest version with the same suffix and the same number of parts as the tag in Git."""

    kind: Literal["docker"] = "docker"
    suffix: Literal["same", "revision"] = "same"

    @property
    def words(self) -> str:
        """`docker`, and how suffixes are read where that is not the default."""
        return "docker" if self.suffix == "same" else f"docker, suffix {self.suffix}"

    def current(self, text: str) -> Rank | None:
        """Any version, stable or not."""
        return None

    def rank(self, text: str, current: str | None) -> Rank | str:
        """Return the rank of a version that is compatible with the current one."""
        return "no_match: not a version"
