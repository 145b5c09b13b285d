"""Tags by date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal

from updater.model.tag import Needs, Tag
from updater.policies.base import Policy, Rank

# Reproducible builds write 1970-01-01 or 1980-01-01, the first day that ZIP files know: these dates say nothing.
EARLIEST = datetime(1981, 1, 1, tzinfo=UTC)


class Newest(Policy):
    """The tag created last, as its image's configuration says. A date before 1981 is none.

    Every tag is wanted, unless `tags` says which; the date of each is asked for once.
    """

    needs: ClassVar[Needs] = Needs.NAMES | Needs.CREATED
    kind: Literal["newest"] = "newest"
    by: Literal["created"] = "created"

    @property
    def words(self) -> str:
        """`newest`, and by which date."""
        return f"newest by {self.by}"

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Any tag with a date."""
        created = tag.created
        return Rank((created,)) if created is not None and created >= EARLIEST else None

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of a tag with a date."""
        if Needs.CREATED not in tag.known:
            return "no_match: the date was not asked for"
        return self.current(text, tag) or "no_match: no date of creation"
