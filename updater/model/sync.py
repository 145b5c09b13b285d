"""What a sync is to do, does and did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from updater.model.health import HealthStatus
from updater.model.resource import Key, Resource


class SyncStatus(StrEnum):
    """Whether a cluster has what Git says."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Stage(StrEnum):
    """The stages of a sync, in their order; SyncFail is gone through where one before it failed."""

    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"


class Phase(StrEnum):
    """How far a sync is. Failed: the cluster said no, or a hook did. Error: it could not be carried through."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ERROR = "Error"


class Action(StrEnum):
    """What is done with one object."""

    APPLY = "apply"
    REPLACE = "replace"  # PUT, where an option asks for it
    HOOK = "hook"  # made for this sync, and waited for
    PRUNE = "prune"


@dataclass(frozen=True, slots=True)
class SyncTask:
    """One object and what is done with it. Of a prune `resource` is None.

    delete_before   a hook of an earlier sync is removed before this one is made
    delete_after    the phases of the sync after which a hook is removed
    """

    action: Action
    stage: Stage
    wave: int
    key: Key
    resource: Resource | None = None
    delete_before: bool = False
    delete_after: frozenset[Phase] = frozenset()


class Verdict(StrEnum):
    """How the live object stands to the desired one."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"  # desired, and not there
    EXTRA = "extra"  # there, ours, and not desired any more
    UNKNOWN = "unknown"  # could not be compared


@dataclass(frozen=True, slots=True)
class Difference:
    """One object compared. `fields` are paths such as `.spec.replicas`, and who owns them in the cluster.

    before, after  the live object and what it would become, without what nobody compares; of a Secret the values are
                   replaced by keyed hashes. None where there is none.
    """

    key: Key
    verdict: Verdict
    fields: tuple[tuple[str, str], ...] = ()
    before: Any = field(default=None, hash=False, repr=False)
    after: Any = field(default=None, hash=False, repr=False)
    why: str = ""


@dataclass(frozen=True, slots=True)
class ResourceResult:
    """What became of one task. `taken` are fields that others owned before, and these managers."""

    task: SyncTask
    done: bool
    message: str = ""
    taken: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """One object of an application as it stands."""

    key: Key
    sync: SyncStatus
    health: HealthStatus | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One sync, over or under way; times are aware, in UTC. `revision` is the commit that was to be applied."""

    revision: str
    phase: Phase
    started_at: datetime
    finished_at: datetime | None = None
    message: str = ""
    resources: tuple[ResourceResult, ...] = ()
    images: tuple[str, ...] = ()
