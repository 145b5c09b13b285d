"""Loop two, whole, for one application: what Git says is applied to its cluster, and how it stands is said.

    wanted   = desired(render(tree))           # what Git says; an unchanged tree costs nothing
    compared = compare(wanted, cluster)        # what would change, by dry run
    answer   = auto(...)                       # pure: whether to sync now, and why not
    result   = Sync(plan(...)).run()           # in order, tried dry before
    status   = statuses(...)                   # how it stands

Nothing is raised but our own bugs: what the world does wrong is in the status, and the others go on.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from updater.cluster.client import Cluster
from updater.cluster.inventory import Inventory
from updater.config.settings import Settings
from updater.errors import ClusterError, GitError, ManifestError, Unreachable, UpdaterError
from updater.health import assess
from updater.model.application import Application, ApplicationStatus
from updater.model.health import Health
from updater.model.resource import Key, Resource
from updater.model.sync import Action, Difference, Phase, Stage, SyncResult, SyncStatus, SyncTask, Verdict
from updater.pipeline.apply import FIRST, Order, Sync
from updater.pipeline.compare import Compared, Comparison, Desired, Kept, desired, digest, home, statuses, version_of
from updater.pipeline.sources import Tree
from updater.renderers.base import Target
from updater.renderers.files import Files
from updater.renderers.front import Front
from updater.secrets import redact
from updater.sync import status as standings
from updater.sync.decide import Go, Scene, Wait, auto
from updater.sync.diff import compare
from updater.sync.inventory import identity
from updater.sync.options import said
from updater.sync.order import plan
from updater.sync.prune import Pruning, prune
from updater.transport import lock as locks

VIEWS = 16  # commits whose files are kept in view
LOCK_WAIT = 600.0  # seconds to wait for another process that syncs the same application
SOON, LATER = 1.0, 30.0  # seconds until an application on its way to health is looked at again, growing
STABLE = timedelta(minutes=10)  # without a heal, after which the next one counts as the first
UNREACHED = 15.0  # seconds until a cluster that did not answer is asked again

Json = dict[str, Any]


@dataclass(slots=True)
class Site:
    """One cluster, and what we know of it.

    seen    what the cluster has of ours, from memory; None where memory does not have it, or not for sure
    follow  keep these kinds in memory from now on: group, kind, version
    """

    cluster: Cluster
    seen: Callable[[Key], Json | None] = lambda _key: None
    follow: Callable[[frozenset[tuple[str, str, str]]], object] = lambda _kinds: None

    def inventory(self, application: Application) -> Inventory:
        """Return the record of what an application has here."""
        return Inventory(self.cluster, application.name, home(application))


@dataclass(slots=True)
class Memory:
    """What is remembered of one application; one thread at a time has it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: Desired | None = None
    members: frozenset[Key] | None = None
    kept: Kept = field(default_factory=Kept)
    status: ApplicationStatus | None = None
    looks: int = 0


@dataclass(slots=True)
class Assigned:
    """An application, and the cluster that it goes to."""

    application: Application
    cluster: str
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found."""

    wanted: Desired
    members: frozenset[Key]
    compared: Compared
    pruning: Pruning
    status: ApplicationStatus


@dataclass(frozen=True, slots=True)
class Stepped:
    """How an application stands after a step. `again` is when to look again by itself, in seconds; None: at the resync.

    drifting  why it stays out of sync, empty where that is being mended or does not hold
    """

    status: ApplicationStatus
    again: float | None = None
    drifting: str = ""
    compared: Compared | None = None
    wanted: Desired | None = None


@dataclass(slots=True)
class World:
    """Every client that the loop needs; `started` is called when a sync begins."""

    settings: Settings
    front: Front
    sites: Mapping[str, Site]
    secret_key: bytes
    started: Callable[[Application, str, str], object] = lambda _application, _cluster, _revision: None
    stop: threading.Event = field(default_factory=threading.Event)
    jitter: Callable[[], float] = lambda: 0.5
    renders: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(os.cpu_count() or 2))
    _files: OrderedDict[tuple[Path, str], Files] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def files(self, tree: Tree) -> Files:
        """Return the files of a commit, one view for all applications: what it has worked out serves them all."""
        key = tree.clone.folder, tree.revision
        with self._lock:
            if key not in self._files:
                self._files[key] = self.front.files(tree)
                while len(self._files) > VIEWS:
                    self._files.popitem(last=False)
            return self._files[key]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step is to do: look and sync where that is due (the daemon); look alone; or sync by hand, once."""

    write: bool = True
    by_hand: bool = False
    dry_run: bool = False  # try a sync, and write nothing
    fresh: bool = False  # whatever was remembered is asked anew


def step(world: World, assigned: Assigned, tree: Tree | UpdaterError, ask: Ask, now: datetime) -> Stepped:
    """Look at one application once, and sync it where that is asked for and due."""
    with assigned.memory.lock, _alone(world.settings.data, assigned.application.name):
        return _Step(world, assigned.application, assigned.cluster, assigned.memory, ask, now).run(tree)


@contextmanager
def _alone(data: Path, name: str) -> Iterator[None]:
    """Hold an application against other processes."""
    descriptor = locks.acquire(data / "applications" / f"{quote(name, safe='')}.lock", LOCK_WAIT)
    if descriptor is None:
        raise ClusterError(f"{name} has been in the hands of another process for {LOCK_WAIT:.0f} s")
    try:
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _Step:
    world: World
    application: Application
    cluster: str
    memory: Memory
    ask: Ask
    now: datetime

    def run(self, tree: Tree | UpdaterError) -> Stepped:
        before = self.memory.status or ApplicationStatus(self.application.name, self.cluster)
        try:
            stepped = self._run(tree, before)
        except Unreachable as err:
            status = replace(before, stale=redact(str(err)), cluster=self.cluster)
            stepped = Stepped(status, again=UNREACHED)
        except (GitError, ManifestError, ClusterError, ValueError) as err:
            stepped = self._unknown(before, tree, redact(str(err)))
        self.memory.status = stepped.status
        return stepped

    def _run(self, tree: Tree | UpdaterError, before: ApplicationStatus) -> Stepped:
        if isinstance(tree, UpdaterError):
            raise GitError(str(tree))
        site = self.world.sites[self.cluster]
        wanted = self._wanted(tree, site)
        members = self._members(site)
        comparison = Comparison(
            self.application, site.cluster, self._look(site), self.memory.kept, secret_key=self.world.secret_key
        )
        compared = comparison.run(wanted, members)
        objects = statuses(wanted, compared, lambda key: _exists(site.cluster, key), self.now)
        status = replace(
            before,
            cluster=self.cluster,
            revision=tree.revision,
            rendered=wanted.key,
            sync=standings.overall(objects),
            resources=objects,
            compared_at=self.now,
            stale="",
            message="; ".join(wanted.warnings)[:500],
        )
        status = self._healthy(status)
        seen = _Seen(wanted, members, compared, self._pruning(wanted, members, compared), status)
        answer = self._answer(seen)
        if isinstance(answer, Go) and (self.ask.write or self.ask.dry_run):
            return self._sync(site, seen, answer)
        if status.sync is SyncStatus.SYNCED:
            status = self._at_rest(status)
        drifting = answer.reason if isinstance(answer, Wait) and status.sync is SyncStatus.OUT_OF_SYNC else ""
        until = answer.until if isinstance(answer, Wait) else None
        status = replace(status, retry_at=until)
        mending = until is not None and status.last is not None and status.last.phase is not Phase.SUCCEEDED
        return Stepped(status, self._again(status, until), "" if mending else drifting, compared, wanted)

    def _at_rest(self, status: ApplicationStatus) -> ApplicationStatus:
        """Return the status of what is in sync; heals are forgotten once it stayed so for a while."""
        last = status.last
        applied = status.revision if last else status.applied
        quiet = last is None or last.finished_at is None or self.now - last.finished_at > STABLE
        return replace(status, attempts=0 if quiet else status.attempts, retry_at=None, applied=applied)

    # --- what there is -------------------------------------------------------------------------------------------

    def _wanted(self, tree: Tree, site: Site) -> Desired:
        front = self.world.front
        target = Target(
            site.cluster.version(), frozenset(site.cluster.api_versions()), self.application.destination.namespace
        )
        files = self.world.files(tree)
        key = front.cache_key(files, self.application, target)
        if self.memory.wanted is None or self.memory.wanted.key != key or self.ask.fresh:
            with self.world.renders:
                rendered = front.render(files, self.application, target)
            self.memory.wanted = desired(self.application, key, rendered, site.cluster)
        wanted = self.memory.wanted
        site.follow(frozenset((r.key.group, r.key.kind, r.version) for r in wanted.members))
        return wanted

    def _members(self, site: Site) -> frozenset[Key]:
        if self.memory.members is None or self.ask.fresh:
            self.memory.members = site.inventory(self.application).read()
        return self.memory.members

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

    def _answer(self, seen: _Seen) -> Go | Wait:
        if self.ask.by_hand:
            return Go(None, "asked for")
        status = seen.status
        out = {one.key for one in status.resources if one.sync is SyncStatus.OUT_OF_SYNC}
        scene = Scene(
            revision=status.revision,
            status=status.sync,
            differences=[one for one in seen.compared.differences if one.key in out],
            pruning=seen.pruning,
            last=status.last,
            attempts=status.attempts,
        )
        return auto(self.application, scene, self.now, self.world.jitter())

    # --- what is done --------------------------------------------------------------------------------------------

    def _sync(self, site: Site, seen: _Seen, answer: Go) -> Stepped:
        status, compared = seen.status, seen.compared
        before = status.last
        if self.ask.dry_run:
            return self._tried(site, seen, answer)
        self.world.started(self.application, self.cluster, status.revision)
        if compared.trouble:
            key, why = min(compared.trouble.items())
            result = SyncResult(status.revision, Phase.FAILED, self.now, datetime.now(UTC), f"{key}: {why}")
            return self._settled(replace(status, last=result), before)
        own = frozenset(resource.key for resource in seen.wanted.members)
        lives: dict[Key, Json | None] = {}
        sync = Sync(
            site.cluster,
            self._order(site, seen, answer),
            deadline=time.monotonic() + self.world.settings.sync.deadline,
            recorded=lambda: self._record(site, own),
            applied=lives.__setitem__,
            stop=self.world.stop,
        )
        result = replace(sync.run(), images=seen.wanted.images)
        if result.phase is Phase.SUCCEEDED:
            with suppress(ClusterError):  # it names too much then, which the next sync mends
                self._record(site, own | frozenset(key for key, _ in seen.pruning.kept), all_of_them=True)
        status = self._after(site, seen, lives, replace(status, last=result))
        return self._settled(status, before)

    def _tried(self, site: Site, seen: _Seen, answer: Go) -> Stepped:
        """Try everything dry, and say what each object would be."""
        sync = Sync(
            site.cluster, self._order(site, seen, answer), deadline=time.monotonic() + self.world.settings.sync.deadline
        )
        why = "; ".join(filter(None, (*seen.compared.trouble.values(), sync.try_dry())))
        phase = Phase.FAILED if why else Phase.SUCCEEDED
        result = SyncResult(
            seen.status.revision, phase, self.now, datetime.now(UTC), why or "nothing was written", sync.outcome()
        )
        return Stepped(replace(seen.status, last=result), compared=seen.compared, wanted=seen.wanted)

    def _order(self, site: Site, seen: _Seen, answer: Go) -> Order:
        """Return what to do. What is the same already is left alone."""
        compared, revision = seen.compared, seen.status.revision
        same = {one.key for one in compared.differences if one.verdict is Verdict.SAME}
        tasks = plan(
            seen.wanted.everything,
            seen.pruning.allowed,
            policy=self.application.policy,
            revision=revision,
            now=self.now,
            live={key: Resource(key, "", found) for key, found in compared.live.items()},
            only=None if answer.resources is None else frozenset(answer.resources),
        )
        tasks = tuple(task for task in tasks if task.key not in same or task.action is not Action.APPLY)
        tried = frozenset(one.key for one in compared.differences if one.verdict is Verdict.CHANGED and not one.why)
        return Order(self.application, revision, self._namespace(site, seen.wanted) + tasks, compared.live, tried)

    def _namespace(self, site: Site, wanted: Desired) -> tuple[SyncTask, ...]:
        """Return the task that makes the namespace of the destination, where that is asked for and lacking."""
        name, policy = self.application.destination.namespace, self.application.policy
        key = Key("", "Namespace", "", name)
        if said(policy.options).get("CreateNamespace") != "true" or not name:
            return ()
        if any(resource.key == key for resource in wanted.members) or site.cluster.exists(key):
            return ()
        metadata: Json = {"name": name}
        if policy.namespace_labels:
            metadata["labels"] = dict(policy.namespace_labels)
        if policy.namespace_annotations:
            metadata["annotations"] = dict(policy.namespace_annotations)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        return (SyncTask(Action.APPLY, Stage.PRE_SYNC, FIRST, key, Resource(key, "v1", manifest)),)

    def _record(self, site: Site, members: frozenset[Key], *, all_of_them: bool = False) -> None:
        """Have the inventory name these, beside what it names; with `all_of_them` these alone."""
        known = self.memory.members or frozenset()
        if all_of_them and members != known:
            site.inventory(self.application).shrink(members)
            self.memory.members = members
        elif not members <= known:
            self.memory.members = site.inventory(self.application).widen(members)

    def _after(
        self, site: Site, seen: _Seen, lives: Mapping[Key, Json | None], status: ApplicationStatus
    ) -> ApplicationStatus:
        """Return how it stands after a sync, by what the cluster answered: no further request."""
        wanted, compared = seen.wanted, seen.compared
        live = {**compared.live, **{key: found for key, found in lives.items() if found is not None}}
        for key in [key for key, found in lives.items() if found is None]:
            live.pop(key, None)
        applied = {resource.key: digest(resource.manifest) for resource in wanted.members}
        differences = []
        for one in compared.differences:
            if one.key in lives and lives[one.key] is None:
                continue
            if one.key in lives:
                one = self._written(one.key, live[one.key], applied[one.key])  # noqa: PLW2901 - as it is now
            differences.append(one)
        found = Compared(tuple(differences), live)
        objects = statuses(wanted, found, lambda key: _exists(site.cluster, key), self.now)
        return self._healthy(replace(status, sync=standings.overall(objects), resources=objects))

    def _written(self, key: Key, live: Json, applied: str) -> Difference:
        """Return what is known of an object that was just applied: it is the same as Git says."""
        found = compare(key, live, live, self.application.ignored, secret_key=self.world.secret_key)
        self.memory.kept.verdicts[key] = applied, version_of(live), found
        self.memory.kept.written[key] = version_of(live)
        return found

    def _settled(self, status: ApplicationStatus, before: SyncResult | None) -> Stepped:
        """Count tries of one revision that failed, and heals of what was in sync; say when the next try comes."""
        last = status.last
        assert last is not None
        same = before is not None and before.revision == last.revision
        failed = last.phase is not Phase.SUCCEEDED
        counts = same and before is not None and (before.phase is Phase.SUCCEEDED) is not failed
        attempts = status.attempts + 1 if counts or (failed and same) else int(failed)
        status = replace(status, attempts=attempts)
        if last.phase is Phase.SUCCEEDED:
            return Stepped(replace(status, applied=last.revision), self._again(status, None))
        answer = auto(
            self.application,
            Scene(status.revision, SyncStatus.OUT_OF_SYNC, last=last, attempts=attempts),
            self.now,
            self.world.jitter(),
        )
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
        waits = [max(0.0, (until - self.now).total_seconds())] if until else []
        if status.health is Health.PROGRESSING or (status.last and status.health is Health.MISSING):
            self.memory.looks += 1
            waits.append(min(LATER, SOON * 1.5 ** min(self.memory.looks, 20)))
        else:
            self.memory.looks = 0
        return min(waits, default=None)

    def _unknown(self, before: ApplicationStatus, tree: Tree | UpdaterError, error: str) -> Stepped:
        """Git, or what it holds, cannot be made sense of: what was known stays for a while, then it is Unknown."""
        revision = tree.revision if isinstance(tree, Tree) else before.revision
        if isinstance(tree, Tree) and self.ask.write:
            last = SyncResult(revision, Phase.ERROR, self.now, self.now, error[:500])
            told = before.last is not None and (before.last.revision, before.last.message) == (revision, last.message)
            status = replace(
                before, revision=revision, rendered=f"!{revision}", sync=SyncStatus.UNKNOWN, message=error,
                last=before.last if told else last, stale="",
            )  # fmt: skip
            return Stepped(status, again=LATER)
        since = before.compared_at or self.now
        fresh = before.sync is not SyncStatus.UNKNOWN and self.now - since < standings.GRACE
        sync = before.sync if fresh else SyncStatus.UNKNOWN
        return Stepped(replace(before, sync=sync, message=error), again=LATER)


def _reached(version: str, written: str) -> bool:
    """Say whether a version is that of our write or a later one; servers number them, though nobody promises it."""
    return version == written or (version.isdecimal() and written.isdecimal() and int(version) > int(written))


def _exists(cluster: Cluster, key: Key) -> bool | None:
    try:
        return cluster.exists(key)
    except ClusterError:
        return None
