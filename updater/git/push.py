"""What became of a push, read from `git push --porcelain`."""

from __future__ import annotations

import re
from enum import StrEnum

# Somebody else's push came first: before we asked for the head, or between that and our update of it.
_MOVED = re.compile(
    r"stale info|fetch first|non-fast-forward|cannot lock ref|failed to update ref|failed to lock|incorrect old value"
    r"|reference already exists|unable to resolve reference"
)
_REFUSED = re.compile(r"^!\t[^\t]*\t\[(?:remote )?rejected\] ?(.*)$", re.MULTILINE)


class Outcome(StrEnum):
    """How a push ended."""

    DONE = "done"
    MOVED = "moved"  # the branch is not where we read it
    REFUSED = "refused"  # a hook, a protected branch, a permission
    UNKNOWN = "unknown"  # no word about the branch: it may have been written or not


def outcome(code: int, stdout: str) -> tuple[Outcome, str]:
    """Return how the push ended, and the remote's own word for it."""
    if code == 0:
        return Outcome.DONE, ""
    if (match := _REFUSED.search(stdout)) is None:
        return Outcome.UNKNOWN, ""
    why = match[1].strip().removeprefix("(").removesuffix(")")
    return (Outcome.MOVED if _MOVED.search(why) else Outcome.REFUSED), why
