"""One tag, whose content moves."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from updater.model.image import is_tag
from updater.model.tag import Needs, Tag
from updater.policies.base import Policy, Rank


def _tag(text: str) -> str:
    if not is_tag(text):
        raise ValueError(f"{text[:80]!r}; expected a tag")
    return text


class Digest(Policy):
    """What one tag points to now: `tag`, by default the tag in Git. Its digest is written too, whatever `write` says.

    It needs no list of tags. A list of names alone cannot tell whether the tag has moved.
    """

    needs: ClassVar[Needs] = Needs.DIGEST
    kind: Literal["digest"] = "digest"
    tag: Annotated[str, AfterValidator(_tag)] | None = None

    @property
    def words(self) -> str:
        """`digest`, and of which tag."""
        return f"digest of {self.tag}" if self.tag else "digest"

    def follows(self, current: str | None) -> str | None:
        """Return the one tag."""
        return self.tag or current

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Every tag: below the one that is followed, or that one itself."""
        return Rank((text == self.follows(text),))

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the one rank for the one tag."""
        followed = self.follows(current)
        return Rank((True,)) if text == followed else f"no_match: not the tag {followed or 'in Git'}"
