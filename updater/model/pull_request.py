"""What a forge says about a request to merge one branch into another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """What became of it; closed means closed without a merge, by whomever."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One request, as the forge last told it.

    head        revision of its branch, as the forge last saw it; empty where it did not say
    merged      the commit on the target that merged it, where that is known
    changed_at  aware, in UTC: when it was closed or merged, else when it was last updated
    """

    number: int
    url: str
    state: State
    branch: str
    target: str
    title: str
    body: str
    head: str = ""
    merged: str = ""
    changed_at: datetime | None = None
