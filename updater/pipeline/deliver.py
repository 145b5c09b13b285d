"""Loop two, whole, for one application: what Git says is applied to its cluster, and how it stands is said.

    wanted   = desired(render(tree))           # what Git says; an unchanged tree costs nothing
    compared = compare(wanted, cluster)        # what would change, by dry run
    answer   = auto(...)                       # pure: whether to sync now, and why not
    status   = Rollout(...).run(answer)        # in order, tried dry before; see rollout.py

Nothing is raised but our own bugs: what the world does wrong is in the status, and the others go on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from updater.errors import ClusterError, GitError, ManifestError, NoRevision, Unreachable, UpdaterError
from updater.health import assess
from updater.model.application import Application, ApplicationStatus
from updater.model.health import Health
from updater.model.resource import Key, Resource
from updater.model.sync import Phase, SyncResult, SyncStatus
from updater.pipeline.announce import alike_in
from updater.pipeline.compare import Compared, Comparison, Desired, desired, home, statuses, version_of
from updater.pipeline.rollout import Rollout, Seen
from updater.pipeline.sources import Tree
from updater.pipeline.world import Ask, Assigned, Memory, Site, Stepped, World, alone, exists
from updater.renderers.base import Target
from updater.secrets import redact
from updater.sync import status as standings
from updater.sync.decide import Go, Scene, Wait, auto
from updater.sync.inventory import identity
from updater.sync.prune import Pruning, prune

__all__ = ["Ask", "Assigned", "Memory", "Site", "Stepped", "World", "step"]

SOON, LATER = 1.0, 30.0  # seconds until an application on its way to health is looked at again, growing
STABLE = timedelta(minutes=10)  # without a heal, after which the next one counts as the first

Json = dict[str, Any]


def step(world: World, assigned: Assigned, tree: Tree | UpdaterError, ask: Ask, now: datetime) -> Stepped:
    """Look at one application once, and sync it where that is asked for and due."""
    one = _Step(world, assigned.application, assigned.cluster, assigned.memory, ask, now)
    with assigned.memory.lock:
        try:
            with alone(world.settings.data, assigned.application.name):
                return one.run(tree)
        except ClusterError as err:
            return Stepped(replace(one.before, message=str(err)), again=LATER)


@dataclass(slots=True)
class _Step:
    world: World
    application: Application
    cluster: str
    memory: Memory
    ask: Ask
    now: datetime
    began: float = field(default_factory=time.monotonic)

    @property
    def before(self) -> ApplicationStatus:
        """How it stood, with what its manifest says now."""
        known = self.memory.status or ApplicationStatus(self.application.name, self.cluster)
        one = self.application
        return replace(
            known, cluster=self.cluster, home=home(one), options=tuple(sorted(one.policy.options)), cascade=one.cascade
        )

    def run(self, tree: Tree | UpdaterError) -> Stepped:
        before = self.before
        try:
            stepped = self._run(tree, before)
            self.memory.unread = None
        except Unreachable as err:
            stepped = Stepped(replace(before, stale=before.stale or redact(str(err))), again=self.world.limits.away)
        except (GitError, ManifestError, ClusterError, ValueError) as err:
            stepped = self._unknown(before, tree, redact(str(err)))
        self.memory.status = stepped.status
        return stepped

    def _run(self, tree: Tree | UpdaterError, before: ApplicationStatus) -> Stepped:
        if isinstance(tree, UpdaterError):
            raise GitError(str(tree))
        site = self.world.sites[self.cluster]
        if site.cluster.trouble:
            site.cluster.refresh()  # what is in memory does not say whether it can be reached
        if (found := self._as_before(site, tree, before)) is not None:
            return found
        seen = self._seen(site, tree, before)
        answer = self._answer(seen)
        if isinstance(answer, Go) and self.ask.dry_run:
            return self._rollout(site, seen).dry(answer)
        if isinstance(answer, Go) and self.ask.write:
            return self._sync(site, seen, answer)
        return self._rest(site, seen, answer)

    def _as_before(self, site: Site, tree: Tree, before: ApplicationStatus) -> Stepped | None:
        """Return the answer at once where all was as it should be, and neither Git nor the cluster moved since.

        Now and then it is looked at all the same: health may hang on more than the application's own objects.
        """
        memory, resync = self.memory, timedelta(seconds=self.world.settings.sync.resync)
        if memory.rest is None or memory.read_at is None or self.ask != Ask() or self.now - memory.read_at >= resync:
            return None
        wanted = self._wanted(tree, site)
        if memory.rest != (wanted.key, self._versions(site, wanted)) or before.stale or before.message:
            return None
        status = self._at_rest(replace(before, revision=tree.revision, rendered=wanted.key, compared_at=self.now))
        return Stepped(status, wanted=wanted)

    @staticmethod
    def _versions(site: Site, wanted: Desired) -> tuple[str, ...]:
        return tuple(site.version(resource.key) for resource in wanted.members)

    def _resting(self, site: Site, seen: Seen, status: ApplicationStatus) -> tuple[str, tuple[str, ...]] | None:
        """Return what stands for a look that found nothing to do, where memory has all that it went by."""
        versions, verdicts = self._versions(site, seen.wanted), self.memory.kept.verdicts
        known = tuple(verdicts[one.key][1] if one.key in verdicts else "" for one in seen.wanted.members)
        fine = status.health is Health.HEALTHY and status.retry_at is None and not status.message
        return (seen.wanted.key, versions) if fine and all(versions) and versions == known else None

    def _rest(self, site: Site, seen: Seen, answer: Go | Wait) -> Stepped:
        """Leave it as it is, and say why where it is out of sync."""
        status = seen.status
        if status.sync is SyncStatus.SYNCED and not _unfinished(seen):
            status = self._at_rest(status)
            self._recall(site, seen)
        reason, until = (answer.reason, answer.until) if isinstance(answer, Wait) else ("", None)
        drifting = reason if status.sync is SyncStatus.OUT_OF_SYNC else ""
        status = replace(status, retry_at=until)
        synced = status.sync is SyncStatus.SYNCED and not _unfinished(seen)
        self.memory.rest = self._resting(site, seen, status) if synced else None
        mending = until is not None  # it is tried, or healed, again by itself
        return Stepped(status, self._again(status, until), "" if mending else drifting, seen.compared, seen.wanted)

    def _at_rest(self, status: ApplicationStatus) -> ApplicationStatus:
        """Return the status of what is in sync; heals are forgotten once it stayed so for a while."""
        last = status.last
        applied = status.revision if last else status.applied
        quiet = last is None or last.finished_at is None or self.now - last.finished_at > STABLE
        attempts = 0 if quiet else status.attempts
        return replace(status, attempts=attempts, retry_at=None, applied=applied, attempted=status.rendered)

    def _recall(self, site: Site, seen: Seen) -> None:
        """Have the inventory name what is there: somebody removed it, or a sync was killed before it could."""
        if self.ask.write and seen.left != seen.members:
            with suppress(ClusterError):  # at the next look
                self._rollout(site, seen).record()

    # --- what there is -------------------------------------------------------------------------------------------

    def _seen(self, site: Site, tree: Tree, before: ApplicationStatus) -> Seen:
        wanted = self._wanted(tree, site)
        members = self._members(site)
        kept, key = self.memory.kept, self.world.secret_key
        eager = self.ask.write and (self.ask.by_hand or self.application.policy.automated is not None)
        comparison = Comparison(self.application, site.cluster, self._look(site), kept, secret_key=key, eager=eager)
        compared = comparison.run(wanted, members)
        objects = statuses(wanted, compared, lambda key: exists(site.cluster, key), self.now)
        status = replace(
            before,
            revision=tree.revision,
            rendered=wanted.key,
            sync=standings.overall(objects),
            resources=objects,
            compared_at=self.now,
            stale="",
            message="; ".join(wanted.warnings)[:500],
        )
        return Seen(wanted, members, compared, self._pruning(wanted, members, compared), self._healthy(status))

    def _wanted(self, tree: Tree, site: Site) -> Desired:
        front, known = self.world.front, self.memory.wanted
        target = Target(site.cluster.version(), site.cluster.api_versions(), self.application.destination.namespace)
        files = self.world.files(tree)
        key = front.cache_key(files, self.application, target)
        if known is None or known.key != key or not known.sure or self.ask.fresh:
            with self.world.renders:
                rendered = front.render(files, self.application, target, key)
            self.memory.wanted = known = desired(self.application, key, rendered, site.cluster)
        site.follow(frozenset((r.key.group, r.key.kind, r.version) for r in known.members))
        return known

    def _members(self, site: Site) -> frozenset[Key]:
        """Return what the inventory names; it is read anew now and then, for other processes write it too."""
        memory, resync = self.memory, timedelta(seconds=self.world.settings.sync.resync)
        old = memory.read_at is None or self.now - memory.read_at >= resync
        if memory.members is None or old or self.ask.fresh:
            memory.members, memory.read_at = site.inventory(self.application).read(), self.now
        return memory.members

    def _look(self, site: Site) -> Callable[[Key], Json | None]:
        """Return what looks an object up: in memory, and where that is not to be relied on, in the cluster."""
        kept = self.memory.kept

        def look(key: Key) -> Json | None:
            known = None if self.ask.fresh else site.seen(key)
            if known is None:
                return site.cluster.get(key)
            version, written = version_of(known), kept.written.get(key, "")
            if written and not _reached(version, written):
                return site.cluster.get(key)
            kept.written.pop(key, None)
            secret = (key.group, key.kind) == ("", "Secret")  # memory has no values of it, only its version
            verdict = kept.verdicts.get(key)
            return site.cluster.get(key) if secret and (verdict is None or verdict[1] != version) else known

        return look

    def _pruning(self, wanted: Desired, members: frozenset[Key], compared: Compared) -> Pruning:
        live = {key: Resource(key, "", found) for key, found in compared.live.items()}
        set_id = identity(self.application.name, home(self.application))
        return prune(members, wanted.everything, live, self.application.policy, set_id)

    # --- what is done --------------------------------------------------------------------------------------------

    def _answer(self, seen: Seen) -> Go | Wait:
        """Decide. What was synced is told by what was rendered: a commit that changes nothing of it is no reason."""
        if self.ask.by_hand:
            return Go(None, "asked for")
        status, last = seen.status, seen.status.last
        unfinished, known = _unfinished(seen), status.attempted == status.rendered
        if last is not None and known and not unfinished:
            last = replace(last, revision=status.revision)
        out = {one.key for one in status.resources if one.sync is SyncStatus.OUT_OF_SYNC}
        kept = dict(seen.pruning.kept) if unfinished else {}
        scene = Scene(
            revision=status.revision,
            status=SyncStatus.OUT_OF_SYNC if unfinished and status.sync is SyncStatus.SYNCED else status.sync,
            differences=[one for one in seen.compared.differences if one.key in out and one.key not in kept],
            pruning=seen.pruning,
            last=last,
            attempts=status.attempts,
            source_changed=not known or (unfinished and not _failed(status)),
        )
        return auto(self.application, scene, self.now, self.world.jitter())

    def _rollout(self, site: Site, seen: Seen) -> Rollout:
        return Rollout(self.world, site, self.application, self.memory, seen, self.now, self._clock)

    def _clock(self) -> datetime:
        return self.now + timedelta(seconds=time.monotonic() - self.began)

    def _sync(self, site: Site, seen: Seen, answer: Go) -> Stepped:
        before = seen.status
        self.world.started(self.application, self.cluster, before.revision)
        status = self._rollout(site, seen).run(answer)
        status = self._healthy(replace(status, sync=standings.overall(status.resources)))
        self.memory.looks = 0
        if self.world.stop.is_set() and status.last is not None and status.last.phase is Phase.ERROR:
            return Stepped(replace(status, last=before.last))  # it is no failure: whoever starts next goes on
        if answer.resources is None and not _failed(status):
            status = replace(status, hooked=seen.wanted.hooked)
        return replace(self._settled(status, before), wanted=seen.wanted)

    def _settled(self, status: ApplicationStatus, before: ApplicationStatus) -> Stepped:
        """Count tries of the same that failed, and heals of what was in sync; say when the next try comes."""
        last = status.last
        assert last is not None
        failed = last.phase is not Phase.SUCCEEDED
        attempts = before.attempts + 1 if _repeats(last, before) else int(failed)
        status = replace(status, attempts=attempts, attempted=status.rendered, retry_at=None)
        if not failed:
            return Stepped(replace(status, applied=last.revision), self._again(status, None))
        scene = Scene(status.revision, SyncStatus.OUT_OF_SYNC, last=last, attempts=attempts)
        answer = auto(self.application, scene, self._clock(), self.world.jitter())  # `now` is before it ended
        until = answer.until if isinstance(answer, Wait) else None
        status = replace(status, message=last.message, retry_at=until)
        return Stepped(status, self._again(status, until))

    # --- how it stands -------------------------------------------------------------------------------------------

    def _healthy(self, status: ApplicationStatus) -> ApplicationStatus:
        """Return the status with its health, and since when it has it."""
        missing = [one for one in status.resources if one.message == "not in the cluster"]
        there = [one.health for one in status.resources if one not in missing]
        health = assess.overall(there) if there or not missing else Health.MISSING
        before = self.memory.status
        same = before is not None and before.health is health and before.health_at is not None
        return replace(status, health=health, health_at=before.health_at if same and before else self.now)

    def _again(self, status: ApplicationStatus, until: datetime | None) -> float | None:
        waits = [max(0.0, (until - self._clock()).total_seconds())] if until else []
        if status.health is Health.PROGRESSING or (status.last and status.health is Health.MISSING):
            self.memory.looks += 1
            waits.append(min(LATER, SOON * 1.5 ** min(self.memory.looks, 20)))
        else:
            self.memory.looks = 0
        return min(waits, default=None)

    def _unknown(self, before: ApplicationStatus, tree: Tree | UpdaterError, error: str) -> Stepped:
        """Git, or what it holds, cannot be made sense of: what was known stays for a while, then it is Unknown.

        Where Git did answer it is a sync that failed: nothing mends it but a person.
        """
        if isinstance(tree, Tree | NoRevision) and self.ask.write:
            revision = tree.revision if isinstance(tree, Tree) else ""
            last = SyncResult(revision, Phase.ERROR, self.now, self.now, error[:500])
            told = before.last is not None and (before.last.revision, before.last.message) == (revision, last.message)
            status = replace(
                before, revision=revision, rendered=_unusable(error), sync=SyncStatus.UNKNOWN, message=error,
                last=before.last if told else last, stale="",
            )  # fmt: skip
            return Stepped(status, again=LATER)
        since = self.memory.unread = self.memory.unread or self.now
        fresh = before.sync is not SyncStatus.UNKNOWN and self.now - since < standings.GRACE
        sync = before.sync if fresh else SyncStatus.UNKNOWN
        return Stepped(replace(before, sync=sync, message=error), again=LATER)


def _unusable(error: str) -> str:
    """Return what stands for manifests that cannot be made: another commit with the same error is no news."""
    return f"!{hashlib.sha256(alike_in(error).encode()).hexdigest()[:32]}"


def _failed(status: ApplicationStatus) -> bool:
    """Whether the last sync failed."""
    return status.last is not None and status.last.phase is not Phase.SUCCEEDED


def _unfinished(seen: Seen) -> bool:
    """Whether there is to be a sync though all objects are as they should: no object tells what hooks and waves did.

    The last one failed, or was killed before its hooks had run; or only the hooks are others than before.
    """
    return _failed(seen.status) or seen.status.hooked != seen.wanted.hooked != ""


def _repeats(last: SyncResult, before: ApplicationStatus) -> bool:
    """Whether a sync ended as the one of the same content before it: a further failure, or a further heal."""
    if before.last is None or before.attempted != before.rendered:
        return False
    failed = last.phase is not Phase.SUCCEEDED
    same = before.last.revision == last.revision or not failed
    return same and failed is (before.last.phase is not Phase.SUCCEEDED)


def _reached(version: str, written: str) -> bool:
    """Say whether a version is that of our write or a later one; servers number them, though nobody promises it."""
    return version == written or (version.isdecimal() and written.isdecimal() and int(version) > int(written))
