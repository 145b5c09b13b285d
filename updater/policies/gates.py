"""What stops a tag that the policy wants: it must be newer than what Git holds, and not too far ahead of it.

The first two gates that judge versions know nothing of tags; the words of the answers begin with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from updater.model.decision import Reason
from updater.policies.base import Level, Rank

CALENDAR = 1900  # a major from here on is a year, and years may be far apart

_LEVELS: tuple[Level, ...] = ("major", "minor", "patch")


@dataclass(frozen=True, slots=True)
class Stop:
    """The gate that a candidate did not pass, and why in words."""

    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class Gates:
    """The highest change allowed, and how many majors at once (0 for any number)."""

    level: Level
    max_major_step: int

    def stop(self, candidate: Rank, current: Rank) -> Stop | None:
        """Return the gate that stops the candidate, None where it passes them all.

        Equal precedence is no update: it answers `up_to_date`.
        """
        if candidate.key <= current.key:
            return _SAME if candidate.key == current.key else _OLDER
        if not candidate.release or not current.release:
            return None
        step = candidate.release[0] - current.release[0]
        level = change(current.release, candidate.release)
        if _LEVELS.index(level) < _LEVELS.index(self.level):
            return Stop(Reason.LEVEL, f"level: a {level} change, allowed is {self.level}")
        years = min(candidate.release[0], current.release[0]) >= CALENDAR
        if self.max_major_step and step > self.max_major_step and not years:
            return Stop(Reason.AMBIGUOUS, f"ambiguous: {step} majors ahead, allowed are {self.max_major_step}")
        return None


_OLDER = Stop(Reason.OLDER, "older: lower than the current tag")
_SAME = Stop(Reason.UP_TO_DATE, "up_to_date: the same version as the current tag")


def change(old: tuple[int, ...], new: tuple[int, ...]) -> Level:
    """Name the change between two releases by the first number that differs; the third and all after are patch."""
    for level, before, after in zip_longest(_LEVELS, old, new, fillvalue=None):
        if level is None:
            break
        if (before or 0) != (after or 0):
            return level
    return "patch"
