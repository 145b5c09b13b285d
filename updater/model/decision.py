"""What was decided about one distinct current value of one item, always with its why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from updater.model.check import Check
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.tag import Needs


class Reason(StrEnum):
    """Why there is no update: the words of the contract, section 2."""

    UP_TO_DATE = "up_to_date"
    NO_MATCH = "no_match"
    OLDER = "older"
    LEVEL = "level"
    AMBIGUOUS = "ambiguous"
    INCOMPLETE_SCAN = "incomplete_scan"
    UNPARSABLE_CURRENT = "unparsable_current"
    CONTESTED = "contested"
    NOT_REFERENCED = "not_referenced"
    NOT_WRITABLE = "not_writable"
    SUSPENDED = "suspended"
    MIN_AGE = "min_age"
    PLATFORM_MISSING = "platform_missing"
    MOVED_TAG = "moved_tag"
    UNVERIFIED = "unverified"
    NOT_MIRRORED = "not_mirrored"
    HELD = "held"
    WINDOW_CLOSED = "window_closed"
    HUMAN_ROLLBACK = "human_rollback"
    HUMAN_EDIT = "human_edit"
    FLAPPING = "flapping"
    AWAITING_MERGE = "awaiting_merge"
    PULL_REQUEST_CLOSED = "pull_request_closed"


class Mark(StrEnum):
    """What became of one tag."""

    CHOSEN = "chosen"
    CANDIDATE = "candidate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One tag, what became of it and why, in words that begin with a reason where there is one."""

    tag: str
    mark: Mark
    why: str


@dataclass(frozen=True, slots=True)
class Update:
    """Go from current to target. `why` names the policy and the choice; `newest` is the policy's best before gates.

    `tag` is that of the target, also where only its `digest` is written. `origin` is None until it was asked, which is
    done for what is about to be written, or where nothing tells it.
    """

    current: ImageRef
    target: ImageRef
    why: str
    newest: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    tag: str | None = None
    digest: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay at current, for this reason; `why` says it in words."""

    current: ImageRef
    reason: Reason
    why: str
    newest: str | None = None
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Unresolved:
    """No decision yet: these facts of tags (or of digests) are needed first, these proofs, or what our commits did."""

    asks: Mapping[str, Needs] = field(default_factory=dict)
    history: bool = False
    checks: frozenset[Check] = frozenset()
    ranking: Any = None  # of the caller's keeping, to be handed back with the answers


Decision = Update | Hold
