"""Carries a sync out: everything is tried dry before anything is written, then step by step, each waited for.

A step that fails ends the sync: what was done stays, what comes after is not begun, and nothing is removed. Whoever
syncs again goes on from there, because applying is the same every time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from updater.cluster.client import MANAGER, Cluster
from updater.errors import Absent, ClusterError, Conflict, Refused, UnknownKind, Unreachable
from updater.health.assess import health_of
from updater.model.application import Application, Ignored
from updater.model.health import Health
from updater.model.resource import Key, Resource
from updater.model.sync import Action, Phase, ResourceResult, Stage, SyncResult, SyncTask
from updater.secrets import redact
from updater.sync import managed
from updater.sync.diff import respect
from updater.sync.options import Conflicts, Options, options
from updater.sync.order import steps

AT_ONCE = 8  # objects of one step
LOOK = 0.5  # seconds between two looks at what is waited for, doubled each time
LOOK_CAP = 5.0
ESTABLISHED = 30.0  # seconds that a new kind may take to be served
MAX_MESSAGE = 500  # characters
FIRST = -(10**6)  # the wave of the namespace that a sync makes for itself

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What one sync is to do.

    tasks    in their order; live: what the cluster has of their objects
    tried    objects that were tried dry already, as they are to be applied now
    """

    application: Application
    revision: str
    tasks: tuple[SyncTask, ...]
    live: Mapping[Key, Json] = field(default_factory=dict)
    tried: frozenset[Key] = frozenset()


class Sync:
    """One sync of one application on one cluster.

    deadline  a time of time.monotonic(); as_user: whom every write is done as
    recorded  called when the namespace is there and nothing else was written: the inventory is widened then
    applied   called with every object as it is after it was applied, None where it was removed
    stop      ends the waiting: the daemon stops
    """

    def __init__(
        self,
        cluster: Cluster,
        order: Order,
        *,
        deadline: float,
        as_user: str | None = None,
        recorded: Callable[[], object] = lambda: None,
        applied: Callable[[Key, Json | None], object] = lambda _key, _live: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._cluster, self._order, self._deadline, self._as_user = cluster, order, deadline, as_user
        self._recorded, self._applied, self._stop = recorded, applied, stop or threading.Event()
        self._results: list[ResourceResult] = []
        self._hooks: list[tuple[SyncTask, str]] = []  # that were made, and their uids

    def run(self) -> SyncResult:
        """Do it; what the cluster says is in the result, never raised."""
        started = datetime.now(UTC)
        phase, message = self._carried_out()
        self._clean(phase)
        return SyncResult(
            self._order.revision, phase, started, datetime.now(UTC), redact(message)[:MAX_MESSAGE], tuple(self._results)
        )

    def try_dry(self) -> str:
        """Try everything that is to be applied, and write nothing; return what stands in the way."""
        coming = _coming(self._order.tasks)
        tasks = [task for task in self._order.tasks
                 if task.resource is not None and task.key not in self._order.tried]  # fmt: skip
        failed = [result for result in self._each(tasks, lambda task: self._dry(task, coming)) if not result.done]
        self._results += failed
        return _words(failed)

    def outcome(self) -> tuple[ResourceResult, ...]:
        """Return what became, or after a dry run alone what would become, of every task."""
        told = {result.task.key for result in self._results}
        would = [ResourceResult(task, done=True, message="would be done") for task in self._order.tasks
                 if task.key not in told]  # fmt: skip
        return (*self._results, *would)

    def _carried_out(self) -> tuple[Phase, str]:
        if why := self.try_dry():
            return Phase.FAILED, f"nothing was written: {why}"
        first = [task for task in self._order.tasks if task.wave == FIRST]
        if failed := self._group(first):
            return Phase.FAILED, _words(failed)
        try:
            self._recorded()
        except (ClusterError, ValueError) as err:
            return Phase.ERROR, f"its inventory cannot be written: {err}"
        normal = [task for task in self._order.tasks if task.stage is not Stage.SYNC_FAIL and task.wave != FIRST]
        phase, message = self._stages(normal)
        if phase is not Phase.SUCCEEDED:
            failing = [task for task in self._order.tasks if task.stage is Stage.SYNC_FAIL]
            self._stages(failing)
        return phase, message

    def _stages(self, tasks: Sequence[SyncTask]) -> tuple[Phase, str]:
        groups = steps(tasks)
        several = len({(task.stage, task.wave) for task in tasks}) > 1
        for at, group in enumerate(groups):
            if time.monotonic() > self._deadline or self._stop.is_set():
                return Phase.ERROR, "it took too long" if not self._stop.is_set() else "it was interrupted"
            failed = self._group(group)
            if failed:
                phase = Phase.ERROR if all(one.message.startswith("~") for one in failed) else Phase.FAILED
                return phase, _words(failed)
            last = at + 1 == len(groups) or (groups[at + 1][0].stage, groups[at + 1][0].wave) != (
                group[0].stage, group[0].wave,
            )  # fmt: skip
            if last and (why := self._wait(tasks, group[0].stage, group[0].wave, more=several)):
                return why
        return Phase.SUCCEEDED, ""

    def _group(self, group: Sequence[SyncTask]) -> list[ResourceResult]:
        results = list(self._each(group, self._do))
        self._results += results
        failed = [result for result in results if not result.done]
        if not failed and any(task.key.kind == "CustomResourceDefinition" for task in group):
            self._await_kinds(group)
        return failed

    def _each(self, tasks: Sequence[SyncTask], do: Callable[[SyncTask], ResourceResult]) -> Iterator[ResourceResult]:
        if len(tasks) < 2:
            yield from map(do, tasks)
            return
        with ThreadPoolExecutor(min(AT_ONCE, len(tasks)), thread_name_prefix="apply") as pool:
            yield from pool.map(do, tasks)

    def _dry(self, task: SyncTask, coming: frozenset[str]) -> ResourceResult:
        resource, chosen = self._prepared(task)
        if chosen.replace or (task.action is Action.HOOK and task.delete_before):
            return ResourceResult(task, done=True)  # the server would try it against what is removed before
        try:
            self._cluster.apply(
                resource, dry_run=True, force=chosen.conflicts is Conflicts.FORCE, as_user=self._as_user
            )
        except UnknownKind as err:
            fine = chosen.skip_missing_kind or resource.key.group_kind in coming
            return ResourceResult(task, fine, str(err))
        except Absent as err:
            fine = f"namespace {resource.key.namespace}" in coming
            return ResourceResult(task, fine, str(err))
        except Conflict as err:
            return ResourceResult(task, chosen.conflicts is Conflicts.YIELD, str(err))
        except ClusterError as err:
            return ResourceResult(task, done=False, message=_marked(err))
        return ResourceResult(task, done=True)

    def _do(self, task: SyncTask) -> ResourceResult:
        try:
            match task.action:
                case Action.PRUNE:
                    return self._prune(task)
                case Action.HOOK:
                    return self._make(task)
                case Action.APPLY | Action.REPLACE:
                    return self._apply(task)
        except ClusterError as err:
            return ResourceResult(task, done=False, message=_marked(err))

    def _apply(self, task: SyncTask) -> ResourceResult:
        resource, chosen = self._prepared(task)
        before = self._order.live.get(task.key)
        if task.action is Action.REPLACE:
            live = self._cluster.replace(resource, as_user=self._as_user)
        else:
            live = self._apply_fields(resource, chosen)
        self._applied(task.key, live)
        taken = managed.taken(before, live, MANAGER) if before else ()
        return ResourceResult(task, done=True, message="applied" if before else "created", taken=taken)

    def _apply_fields(self, resource: Resource, chosen: Options) -> Json:
        try:
            force = chosen.conflicts is Conflicts.FORCE
            return self._cluster.apply(resource, force=force, as_user=self._as_user)
        except Conflict as err:
            if chosen.conflicts is not Conflicts.YIELD:
                raise
            others = Ignored(managers=tuple(sorted({manager for _, manager in err.fields})))
            live = self._order.live.get(resource.key) or self._cluster.get(resource.key)
            left = respect(resource.manifest, resource.key, live, [others])
            return self._cluster.apply(replace(resource, manifest=left), force=False, as_user=self._as_user)

    def _prepared(self, task: SyncTask) -> tuple[Resource, Options]:
        assert task.resource is not None
        application = self._order.application
        chosen = options(task.resource, application.policy.options)
        if not chosen.respect_ignored:
            return task.resource, chosen
        live = self._order.live.get(task.key)
        manifest = respect(task.resource.manifest, task.key, live, application.ignored)
        return replace(task.resource, manifest=manifest), chosen

    def _make(self, task: SyncTask) -> ResourceResult:
        """Make a hook anew; one of an earlier sync is removed before."""
        assert task.resource is not None
        if task.delete_before and self._cluster.delete(task.key, propagation="Background", as_user=self._as_user):
            self._await(lambda: self._cluster.get(task.key) is None, "an earlier one is still being removed")
        live = self._cluster.apply(task.resource, force=True, as_user=self._as_user)
        self._hooks.append((task, str(live.get("metadata", {}).get("uid", ""))))
        return ResourceResult(task, done=True, message="started")

    def _prune(self, task: SyncTask) -> ResourceResult:
        live = self._order.live.get(task.key) or {}
        uid = live.get("metadata", {}).get("uid")
        gone = not self._cluster.delete(task.key, uid=uid, as_user=self._as_user)
        self._applied(task.key, None)
        return ResourceResult(task, done=True, message="was gone" if gone else "removed")

    def _await_kinds(self, group: Iterable[SyncTask]) -> None:
        """Wait until new kinds are served; who needs one that is not is told so."""

        def served() -> bool:
            self._cluster.refresh()
            for task in group:
                spec = task.resource.manifest.get("spec", {}) if task.resource else {}
                try:
                    self._cluster.kind_of(str(spec.get("group", "")), str(spec.get("names", {}).get("kind", "")))
                except UnknownKind:
                    return False
            return True

        self._await(served, "", seconds=ESTABLISHED)

    def _wait(self, tasks: Sequence[SyncTask], stage: Stage, wave: int, *, more: bool) -> tuple[Phase, str] | None:
        """Wait for the hooks of a wave, and where others follow, for its objects; return why it cannot go on."""
        here = [task for task in tasks if (task.stage, task.wave) == (stage, wave) and task.action is not Action.PRUNE]
        waiting = [task for task in here if task.action is Action.HOOK or (more and self._follows(tasks, stage, wave))]
        bad: list[str] = []

        def over() -> bool:
            left = []
            for task in waiting:
                verdict, why = self._look(task)
                if verdict is False:
                    bad.append(f"{task.key}: {why}")
                elif verdict is None:
                    left.append(task)
            waiting[:] = left
            return bool(bad) or not left

        if not self._await(over, ""):
            names = ", ".join(str(task.key) for task in waiting[:3])
            return Phase.ERROR, f"in time did not become healthy: {names}"
        return (Phase.FAILED, "; ".join(bad[:3])) if bad else None

    @staticmethod
    def _follows(tasks: Sequence[SyncTask], stage: Stage, wave: int) -> bool:
        return (tasks[-1].stage, tasks[-1].wave) != (stage, wave)

    def _look(self, task: SyncTask) -> tuple[bool | None, str]:
        """Say whether an object is as it should be: None means not yet."""
        try:
            live = self._cluster.get(task.key)
        except Unreachable:
            return None, ""
        except ClusterError as err:
            return False, str(err)
        if live is None:
            return False, "it was removed meanwhile"
        found = health_of(live, exists=lambda _key: None, now=datetime.now(UTC))
        if found is None or found.health is Health.HEALTHY:
            return True, ""
        bad = {Health.DEGRADED, Health.UNKNOWN} if task.action is Action.HOOK else {Health.DEGRADED}
        return (False, found.message or found.health.value) if found.health in bad else (None, "")

    def _await(self, done: Callable[[], bool], why: str, *, seconds: float | None = None) -> bool:
        """Look until it is done, at longer and longer intervals; False, or Refused with `why`, at the deadline."""
        end = self._deadline if seconds is None else min(self._deadline, time.monotonic() + seconds)
        pause = LOOK / 4
        while not done():
            left = end - time.monotonic()
            if left <= 0 or self._stop.wait(min(pause, left)):
                if why:
                    raise Refused(why)
                return False
            pause = min(pause * 2, LOOK_CAP)
        return True

    def _clean(self, phase: Phase) -> None:
        """Remove the hooks that are to go after such an end; one that cannot be removed is removed by the next sync."""
        for task, uid in self._hooks:
            if phase in task.delete_after:
                try:
                    self._cluster.delete(task.key, propagation="Background", uid=uid or None, as_user=self._as_user)
                except ClusterError as err:
                    self._results.append(ResourceResult(task, done=False, message=f"not removed: {err}"))


def _coming(tasks: Iterable[SyncTask]) -> frozenset[str]:
    """Return the namespaces and kinds that a sync brings along: what needs them cannot be tried before."""
    found = set()
    for task in tasks:
        if task.resource is None:
            continue
        if task.key.group_kind == "Namespace":
            found.add(f"namespace {task.key.name}")
        elif task.key.kind == "CustomResourceDefinition":
            spec = task.resource.manifest.get("spec") or {}
            found.add(f"{(spec.get('names') or {}).get('kind')}.{spec.get('group')}")
    return frozenset(found)


def _marked(err: ClusterError) -> str:
    """Return the words of an error; a bad day of the world begins with a tilde."""
    return f"~{err}" if isinstance(err, Unreachable) else str(err)


def _words(failed: Sequence[ResourceResult]) -> str:
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return "; ".join(f"{one.task.key}: {one.message.removeprefix('~')}" for one in failed[:3]) + more
