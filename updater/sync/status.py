"""Whether a cluster has what Git says: of one object, and of an application."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from updater.model.health import HealthStatus
from updater.model.resource import Resource
from updater.model.sync import Difference, ResourceStatus, SyncStatus, Verdict
from updater.sync.inventory import copied
from updater.sync.options import extraneous_is_fine, hook

GRACE = timedelta(minutes=3)  # as long as Argo CD keeps a status while a repository cannot be read

_WORDS = {
    Verdict.SAME: (SyncStatus.SYNCED, ""),
    Verdict.CHANGED: (SyncStatus.OUT_OF_SYNC, ""),
    Verdict.MISSING: (SyncStatus.OUT_OF_SYNC, "not in the cluster"),
    Verdict.EXTRA: (SyncStatus.OUT_OF_SYNC, "not in Git any more"),
    Verdict.UNKNOWN: (SyncStatus.UNKNOWN, "could not be compared"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an application stands, when that was last known for sure, and why it is not known now, if it is not."""

    status: SyncStatus
    at: datetime
    why: str = ""


def of_object(
    difference: Difference, desired: Resource | None, live: Resource | None, health: HealthStatus | None = None
) -> ResourceStatus | None:
    """Return how an object stands; None for what does not count: hooks, and copies that a controller made.

    An extra object that may be there is in sync, and its message says so.
    """
    there = desired or live
    if there is None or _is_hook(there) or (desired is None and copied(there)):
        return None
    status, message = _WORDS[difference.verdict]
    if difference.verdict is Verdict.EXTRA and extraneous_is_fine(there):
        return ResourceStatus(difference.key, SyncStatus.SYNCED, health, f"{message}, which is fine: IgnoreExtraneous")
    return ResourceStatus(difference.key, status, health, difference.why or message)


def overall(statuses: Iterable[ResourceStatus]) -> SyncStatus:
    """Return how an application stands by its objects. What is not known of one is not known of it."""
    words = {status.sync for status in statuses}
    for word in (SyncStatus.UNKNOWN, SyncStatus.OUT_OF_SYNC):
        if word in words:
            return word
    return SyncStatus.SYNCED


def standing(
    found: SyncStatus, last: Standing | None, now: datetime, why: str = "", grace: timedelta | None = GRACE
) -> Standing:
    """Return how an application stands, keeping what was last known for a grace; without one, until it is known again.

    A repository that cannot be read for a minute is no news, and a cluster that cannot be reached is news of its own.
    """
    if found is not SyncStatus.UNKNOWN:
        return Standing(found, now)
    if last is None:
        return Standing(found, now, why)
    kept = last.status is not SyncStatus.UNKNOWN and (grace is None or now - last.at < grace)
    return replace(last, status=last.status if kept else SyncStatus.UNKNOWN, why=why)


def _is_hook(resource: Resource) -> bool:
    try:
        return hook(resource) is not None
    except ValueError:  # said by the plan, which refuses it
        return True
