"""Carries a sync out: everything is tried dry before anything is written, then step by step, each waited for.

A step that fails ends the sync: what was done stays, what comes after is not begun, and nothing is removed. Whoever
syncs again goes on from there, because applying is the same every time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from updater.cluster.answers import words as bounded
from updater.cluster.client import Cluster
from updater.errors import ClusterError, UnknownKind, Unreachable
from updater.health.assess import health_of
from updater.model.health import Health
from updater.model.resource import Key, Resource
from updater.model.sync import Action, Phase, ResourceResult, Stage, SyncResult, SyncTask
from updater.pipeline.writes import Order, Timer, Writer, coming
from updater.sync.order import is_last, steps

ESTABLISHED = 30.0  # seconds that a new kind may take to be served
FAILING = 60.0  # seconds that the hooks of a failed sync get, also where its own time is up
MAX_MESSAGE = 500  # characters
FIRST = -(10**6)  # the wave of the namespace that a sync makes for itself

Json = dict[str, Any]
End = tuple[Phase, str]

_DONE: End = (Phase.SUCCEEDED, "")


class Sync:
    """One sync of one application on one cluster.

    deadline  a time of time.monotonic(); as_user: whom every write is done as
    home      the namespace of the inventory: where the sync makes it, it comes first
    recorded  called when the namespace is there and nothing else was written: the inventory is widened then
    stop      ends the waiting: the daemon stops
    """

    def __init__(
        self,
        cluster: Cluster,
        order: Order,
        *,
        deadline: float,
        as_user: str | None = None,
        home: str = "",
        recorded: Callable[[], object] = lambda: None,
        stop: threading.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._order, self._recorded, self._clock = cluster, order, recorded, clock
        self._home = Key("", "Namespace", "", home)
        self._timer = Timer(deadline, stop or threading.Event())
        self._writer = Writer(cluster, order, self._timer, as_user=as_user)
        self._results: list[ResourceResult] = []

    @property
    def left(self) -> Mapping[Key, Json | None]:
        """Every object that was written as it was answered, None where it was removed."""
        return self._writer.left

    def run(self) -> SyncResult:
        """Do it; what the cluster says is in the result, never raised."""
        started = self._clock()
        phase, message = self._carried_out()
        self._clean(phase)
        words = bounded(message, MAX_MESSAGE)
        return SyncResult(self._order.revision, phase, started, self._clock(), words, tuple(self._results))

    def try_dry(self) -> End:
        """Try everything that is to be applied, and write nothing; say what stands in the way."""
        brought = coming(self._order.tasks)
        tasks = [task for task in self._order.due if task.resource is not None and task.key not in self._order.tried]
        tried = self._cluster.each(lambda task: self._writer.dry(task, brought), tasks)
        failed = [one for one in tried if not one.done]
        self._results += failed
        phase, words = self._end(failed)
        return phase, f"nothing was written: {words}" if words else ""

    def outcome(self) -> tuple[ResourceResult, ...]:
        """Return what became, or after a dry run alone what would become, of every task."""
        told = {result.task.key for result in self._results}
        would = [ResourceResult(task, done=True, message="would be done") for task in self._order.due
                 if task.key not in told]  # fmt: skip
        return (*self._results, *would)

    def _carried_out(self) -> End:
        end = self.try_dry()
        if end == _DONE:
            end = self._begin()
        if end != _DONE:
            return end
        end = self._stages([task for task in self._order.tasks if not self._is_first(task)])
        if end != _DONE and not self._timer.stop.is_set():
            self._timer.deadline = max(self._timer.deadline, time.monotonic() + FAILING)
            self._stages([task for task in self._order.tasks if task.stage is Stage.SYNC_FAIL], failing=True)
        return end

    def _begin(self) -> End:
        """Make the namespace that the inventory is in, and have the inventory name what comes."""
        end = self._end(self._group([task for task in self._order.due if self._is_first(task)]))
        if end != _DONE:
            return end
        try:
            self._recorded()
        except Unreachable as err:
            return Phase.ERROR, f"its inventory cannot be written: {err}"
        except (ClusterError, ValueError) as err:
            return Phase.FAILED, f"its inventory cannot be written: {err}"
        return _DONE

    def _is_first(self, task: SyncTask) -> bool:
        return task.wave == FIRST or task.key == self._home

    def _stages(self, tasks: Sequence[SyncTask], *, failing: bool = False) -> End:
        tasks = [task for task in tasks if (task.stage is Stage.SYNC_FAIL) is failing]
        groups = steps(tasks)
        for at, group in enumerate(groups, 1):
            if why := self._timer.over:
                return Phase.ERROR, why
            end = self._end(self._group([task for task in group if not self._order.leaves_alone(task)]))
            if end == _DONE and (at == len(groups) or _place(groups[at][0]) != _place(group[0])):
                end = self._wait(tasks, _place(group[0]))
            if end != _DONE:
                return end
        return _DONE

    def _group(self, group: Sequence[SyncTask]) -> list[ResourceResult]:
        """Do what may be done at once; return what failed."""
        results = self._cluster.each(self._writer.do, group)
        self._results += results
        failed = [result for result in results if not result.done]
        if not failed and any(task.key.kind == "CustomResourceDefinition" for task in group):
            self._await_kinds(group)
        return failed

    def _end(self, failed: Sequence[ResourceResult]) -> End:
        if not failed:
            return _DONE
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        lost = all(one.task.key in self._writer.lost for one in failed)
        words = "; ".join(f"{one.task.key}: {one.message}" for one in failed[:3])
        return Phase.ERROR if lost else Phase.FAILED, words + more

    def _await_kinds(self, group: Iterable[SyncTask]) -> None:
        """Wait until new kinds are served; who needs one that is not is told so."""
        kinds = [_brought(task) for task in group if task.resource is not None]
        self._timer.wait(lambda: self._are_served(kinds), ESTABLISHED)

    def _are_served(self, kinds: Iterable[tuple[str, str]]) -> bool:
        try:
            self._cluster.refresh()
            for group, kind in kinds:
                self._cluster.kind_of(group, kind)
        except (UnknownKind, Unreachable):
            return False
        return True

    # --- waiting -------------------------------------------------------------------------------------------------

    def _wait(self, tasks: Sequence[SyncTask], place: tuple[int, int]) -> End:
        """Wait for the hooks of a wave, and where others follow, for its objects; say why it cannot go on."""
        follows = any(_place(task) > place and self._needs_health(task) for task in tasks)
        here = [task for task in tasks if _place(task) == place and task.action is not Action.PRUNE]
        waiting = [task for task in here if task.action is Action.HOOK or (follows and not self._is_fine(task))]
        bad: list[tuple[Phase, str]] = []

        def over() -> bool:
            looks = list(zip(waiting, self._cluster.each(self._look, waiting), strict=True))
            bad.extend((phase, f"{task.key}: {why}") for task, (phase, why) in looks if phase in _BAD)
            waiting[:] = [task for task, (phase, _) in looks if phase is Phase.RUNNING]
            return bool(bad) or not waiting

        if not self._timer.wait(over):
            names = ", ".join(str(task.key) for task in waiting[:3])
            return Phase.ERROR, f"{self._timer.over or 'it took too long'}: not healthy yet: {names}"
        if not bad:
            return _DONE
        phases = {phase for phase, _ in bad}
        return max(phases, key=_BAD.index), "; ".join(why for _, why in bad[:3])

    def _needs_health(self, task: SyncTask) -> bool:
        """Whether a task is begun only when all before it is healthy: removing waits for nothing, unless it asks to."""
        live = self._order.live.get(task.key)
        last = live is not None and is_last(Resource(task.key, "", live), self._order.application.policy)
        return task.action is not Action.PRUNE or last

    def _is_fine(self, task: SyncTask) -> bool:
        """Say by what the cluster answered last whether there is nothing to wait for."""
        live = self._writer.left.get(task.key) or self._order.live.get(task.key)
        found = health_of(live, exists=lambda _key: None, now=datetime.now(UTC)) if live else None
        return found is None or found.health is Health.HEALTHY

    def _look(self, task: SyncTask) -> End:
        """Say whether an object is as it should be: Running means not yet."""
        try:
            live = self._cluster.get(task.key)
        except Unreachable:
            return Phase.RUNNING, ""
        except ClusterError as err:
            return Phase.FAILED, str(err)
        if live is None:
            return Phase.ERROR, "it was removed while it was waited for"
        found = health_of(live, exists=lambda _key: None, now=datetime.now(UTC))
        if found is None or found.health is Health.HEALTHY:
            return _DONE
        bad = {Health.DEGRADED, Health.UNKNOWN} if task.action is Action.HOOK else {Health.DEGRADED}
        return (Phase.FAILED, found.message or found.health.value) if found.health in bad else (Phase.RUNNING, "")

    def _clean(self, phase: Phase) -> None:
        """Remove the hooks that are to go after such an end; one that cannot be removed is removed by the next sync."""
        for task, uid in self._writer.made:
            if phase in task.delete_after:
                try:
                    self._writer.remove(task, uid)
                except ClusterError as err:
                    self._results.append(ResourceResult(task, done=False, message=f"not removed: {err}"))


_BAD = (Phase.ERROR, Phase.FAILED)  # the worse the later
_STAGES = list(Stage)


def _place(task: SyncTask) -> tuple[int, int]:
    return _STAGES.index(task.stage), task.wave


def _brought(task: SyncTask) -> tuple[str, str]:
    """Return the group and kind that a definition makes."""
    spec = task.resource.manifest.get("spec") if task.resource else None
    spec = spec if isinstance(spec, Mapping) else {}
    names = spec.get("names")
    return str(spec.get("group", "")), str(names.get("kind", "") if isinstance(names, Mapping) else "")
