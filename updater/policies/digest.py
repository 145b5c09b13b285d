"""One tag, whose content moves."""

from __future__ import annotations

from typing import ClassVar, Literal

from updater.model.tag import Needs
from updater.policies.base import Policy, Rank


class Digest(Policy):
    """What one tag points to now: `tag`, by default the tag in Git. Written with its digest."""

    needs: ClassVar[Needs] = Needs.DIGEST
    kind: Literal["digest"] = "digest"
    tag: str | None = None

    @property
    def words(self) -> str:
        """`digest`, and of which tag."""
        return f"digest of {self.tag or 'the current tag'}"

    def current(self, text: str) -> Rank | None:
        """Every tag: there is only one to compare."""
        return Rank(())

    def rank(self, text: str, current: str | None) -> Rank | str:
        """Return the one rank for the one tag."""
        followed = self.tag or current
        return Rank(()) if text == followed else f"no_match: not the tag {followed}"
