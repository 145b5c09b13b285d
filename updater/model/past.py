"""What Git's history says about one image in one file, read from the trailers of our own commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from updater.model.decision import Reason


@dataclass(frozen=True, slots=True)
class Past:
    """Values are as in trailers: `tag`, `tag@sha256:...` or `@sha256:...`; times are aware.

    wrote       what our last commit wrote here, and when; None where we never did
    left        what our own commits moved away from lately; going back there would be flapping
    tags        the tag of a digest, where only digests are written
    undone      why the name that we wrote here is not written again, where Git has a former one: a person put that
                back, or another updater did
    held_until  the newest Image-Hold of the image, and when it was committed
    changed_at  when anyone else last changed the file; asked only where a person resumed the image after we wrote
    """

    wrote: str | None = None
    wrote_at: datetime | None = None
    left: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    undone: Reason | None = None
    held_until: datetime | None = None
    held_at: datetime | None = None
    changed_at: datetime | None = None

    def excused(self, resumed_at: datetime | None) -> bool:
        """Whether a person who set another version than we wrote has said since that we may go on.

        A word from before that change, about something else, excuses nothing.
        """
        if resumed_at is None or self.wrote_at is None or resumed_at <= self.wrote_at:
            return False
        return self.changed_at is None or self.changed_at <= resumed_at
