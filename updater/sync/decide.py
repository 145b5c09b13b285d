"""Whether an application is synced now without being asked.

The questions are asked in this order, and the first that says no is the answer: is it on, is nothing under way, is
there a difference that we know of, is it allowed now, would a sync do anything about it, was it tried before, and
would it leave anything. A failed sync is tried again for ever: fast at first, then every ten minutes or so. A new
revision is tried at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from updater.model.application import Application, Retry
from updater.model.resource import Key
from updater.model.sync import Difference, Phase, SyncResult, SyncStatus, Verdict
from updater.sync.prune import Pruning
from updater.sync.windows import Closed, Open

HEAL_FIRST, HEAL_FACTOR, HEAL_LONGEST = 2.0, 3.0, 300.0  # seconds: those of Argo CD
SLOW = 600.0  # seconds between two tries once the limit is reached; less a share of it, so that many spread
SLOW_SPREAD = 0.2
_ENOUGH = 64  # steps of a backoff, after which it has reached any cap
_NOTHING, _OPEN = Pruning(), Open()


@dataclass(frozen=True, slots=True)
class Go:
    """Sync now: these objects, or all of them for None."""

    resources: tuple[Key, ...] | None
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do not sync, for this reason; `until` is when it may be otherwise by itself, None where only news can tell."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to decide by.

    revision        the commit that Git has now
    differences     the objects that are out of sync and count
    pruning         what of the extra ones may be removed
    last            the last sync, over or under way; one that was killed is over, in error
    attempts        how often in a row a sync of this revision failed, or was followed by a heal
    source_changed  the application names another source than at its last sync
    """

    revision: str
    status: SyncStatus
    differences: Sequence[Difference] = ()
    pruning: Pruning = _NOTHING
    last: SyncResult | None = None
    attempts: int = 0
    source_changed: bool = False
    deleting: bool = False
    windows: Open | Closed = _OPEN


def auto(application: Application, scene: Scene, now: datetime, jitter: float) -> Go | Wait:
    """Decide; `jitter` is between 0 and 1, `now` is aware."""
    return _not_now(application, scene) or _useless(scene) or _again(application, scene, now, jitter)


def backoff(attempts: int, first: float, factor: float, longest: float) -> float:
    """Return the seconds to wait after this many attempts, at least one of them."""
    wait = first
    for _ in range(min(attempts - 1, _ENOUGH)):
        wait = min(wait * factor, longest)
    return min(wait, longest)


def _not_now(application: Application, scene: Scene) -> Wait | None:
    automated, last = application.policy.automated, scene.last
    if application.suspend:
        return Wait("it is suspended")
    if automated is None or not automated.enabled:
        return Wait("it is synced by hand only")
    if last is not None and last.phase is Phase.RUNNING:
        return Wait("a sync is under way")
    if scene.deleting:
        return Wait("it is being deleted")
    if scene.status is SyncStatus.UNKNOWN:
        return Wait("it is not known how it stands")
    if scene.status is SyncStatus.SYNCED:
        return Wait("it is in sync")
    if isinstance(scene.windows, Closed):
        return Wait(scene.windows.why, scene.windows.opens_at)
    return None


def _useless(scene: Scene) -> Wait | None:
    """Return why a sync would change nothing: only objects are left that are not removed."""
    kept = dict(scene.pruning.kept)
    left = [one.key for one in scene.differences if one.verdict is not Verdict.EXTRA or one.key not in kept]
    if left or not scene.differences or scene.pruning.refused:
        return None
    key = scene.differences[0].key
    more = f", and {len(scene.differences) - 1} more" if len(scene.differences) > 1 else ""
    return Wait(f"only objects that Git has no more are left: {key}: {kept[key]}{more}")


def _again(application: Application, scene: Scene, now: datetime, jitter: float) -> Go | Wait:
    automated, last, retry = application.policy.automated, scene.last, application.policy.retry
    if last is None or last.revision != scene.revision or scene.source_changed:
        return _unless_empty(scene, Go(None, f"Git has {scene.revision[:12]}"))
    if last.phase is not Phase.SUCCEEDED:
        tries = max(scene.attempts, 1)
        until = _after(last, _pause(retry, tries, jitter), now)
        if until:
            return Wait(f"the last sync failed, try {tries + 1} comes: {last.message[:200]}", until)
        return _unless_empty(scene, Go(None, f"the last sync failed, try {tries + 1}"))
    if automated is None or not automated.self_heal:
        return Wait("this revision was synced, and selfHeal is off")
    until = _after(last, backoff(scene.attempts + 1, HEAL_FIRST, HEAL_FACTOR, HEAL_LONGEST), now)
    if until:
        return Wait("the cluster was changed, and healed a moment ago", until)
    drifted = tuple(sorted(one.key for one in scene.differences))
    return _unless_empty(scene, Go(drifted, "the cluster was changed"))


def _unless_empty(scene: Scene, go: Go) -> Go | Wait:
    return Wait(scene.pruning.refused) if scene.pruning.refused else go


def _pause(retry: Retry, tries: int, jitter: float) -> float:
    """Return the seconds between two tries; a negative limit is none."""
    if 0 <= retry.limit < tries:
        return SLOW * (1.0 - SLOW_SPREAD * jitter)
    return backoff(tries, retry.first, retry.factor, retry.longest)


def _after(last: SyncResult, seconds: float, now: datetime) -> datetime | None:
    """Return when this many seconds after a sync are over, None where they are; a clock set back holds up nothing."""
    ended = last.finished_at or last.started_at
    until = ended + timedelta(seconds=seconds)
    return until if ended <= now < until else None
