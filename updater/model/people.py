"""What people said about an item: stop, go on, let this one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

By = Literal["hold", "rollback"]


@dataclass(frozen=True, slots=True)
class HeldBy:
    """A person stopped an item; times are aware, in UTC.

    until  when it goes on by itself; None for never
    by     the command that was used
    tag    what a rollback went back to
    """

    at: datetime
    reason: str = ""
    until: datetime | None = None
    by: By = "hold"
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class People:
    """Everything people said about one item that still counts.

    resumed_at  rollbacks and holds in Git from before it hold no longer
    approved    tags that may pass once
    approved_at when each of them was approved
    """

    hold: HeldBy | None = None
    resumed_at: datetime | None = None
    approved: frozenset[str] = frozenset()
    approved_at: Mapping[str, datetime] = field(default_factory=dict, compare=False)
