"""Does one thing to one object of a cluster, dry or in earnest, and says what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from updater.cluster.adopt import TOOLS, adopt, taken_over
from updater.cluster.client import MANAGER, Cluster
from updater.errors import Absent, ClusterError, Conflict, Refused, UnknownKind, Unreachable
from updater.model.application import Application
from updater.model.resource import Key, Resource
from updater.model.sync import Action, ResourceResult, SyncTask
from updater.pipeline.compare import spared, yielding
from updater.sync import managed
from updater.sync.inventory import set_of
from updater.sync.options import Conflicts, Options, options

LOOK, LOOK_CAP = 0.125, 5.0  # seconds between two looks at what is waited for, doubled each time

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What one sync is to do.

    tasks    in their order; live: what the cluster has of their objects
    tried    objects that were tried dry already, as they are to be applied now
    same     objects that are as Git says: they are not applied, but what comes after them waits for them
    """

    application: Application
    revision: str
    tasks: tuple[SyncTask, ...]
    live: Mapping[Key, Json] = field(default_factory=dict, repr=False)
    tried: frozenset[Key] = frozenset()
    same: frozenset[Key] = frozenset()

    @property
    def due(self) -> tuple[SyncTask, ...]:
        """The tasks that are more than to be waited for."""
        return tuple(task for task in self.tasks if not self.leaves_alone(task))

    def leaves_alone(self, task: SyncTask) -> bool:
        """Whether an object is as it should be already."""
        return task.key in self.same and task.action in {Action.APPLY, Action.REPLACE}


class Timer:
    """How long a sync may take; `stop` ends every wait before."""

    def __init__(self, deadline: float, stop: threading.Event) -> None:
        self.deadline, self.stop = deadline, stop

    @property
    def over(self) -> str:
        """Why nothing more is to be begun, empty while there is time."""
        if self.stop.is_set():
            return "it was interrupted"
        return "it took too long" if time.monotonic() > self.deadline else ""

    def wait(self, done: Callable[[], bool], seconds: float | None = None) -> bool:
        """Look until it is done, at longer and longer intervals; say whether it came to that in time."""
        end = self.deadline if seconds is None else min(self.deadline, time.monotonic() + seconds)
        pause = LOOK
        while not done():
            left = end - time.monotonic()
            if left <= 0 or self.stop.wait(min(pause, left)):
                return False
            pause = min(pause * 2, LOOK_CAP)
        return True


class Writer:
    """Writes objects for one sync; several threads may use it for different objects.

    made   hooks that were made, with their uids
    left   every object as it was answered, None where it was removed
    lost   objects that failed because the cluster could not be asked
    """

    def __init__(self, cluster: Cluster, order: Order, timer: Timer, *, as_user: str | None = None) -> None:
        self._cluster, self._order, self._timer, self._as_user = cluster, order, timer, as_user
        self.made: list[tuple[SyncTask, str]] = []
        self.left: dict[Key, Json | None] = {}
        self.lost: set[Key] = set()

    def dry(self, task: SyncTask, coming: frozenset[str]) -> ResourceResult:
        """Try one object; `coming` are the kinds and namespaces that the sync brings along."""
        resource, chosen = self._prepared(task)
        try:
            self._tried(resource, chosen)
        except UnknownKind as err:
            return ResourceResult(task, chosen.skip_missing_kind or resource.key.group_kind in coming, str(err))
        except Absent as err:
            return ResourceResult(task, f"namespace {resource.key.namespace}" in coming, str(err))
        except Refused as err:
            return ResourceResult(task, self._goes_before(task, chosen), str(err))
        except ClusterError as err:
            return self._failed(task, err)
        return ResourceResult(task, done=True)

    def do(self, task: SyncTask) -> ResourceResult:
        """Do it. What the cluster says is in the result, never raised."""
        if why := self._timer.over:
            return self._failed(task, Unreachable(why))
        try:
            match task.action:
                case Action.PRUNE:
                    return self._prune(task)
                case Action.HOOK:
                    return self._make(task)
                case Action.APPLY | Action.REPLACE:
                    return self._apply(task)
        except ClusterError as err:
            return self._failed(task, err)

    def remove(self, task: SyncTask, uid: str) -> None:
        """Remove a hook that was made. Raises ClusterError."""
        self._cluster.delete(task.key, propagation="Background", uid=uid or None, as_user=self._as_user)

    def _failed(self, task: SyncTask, err: ClusterError) -> ResourceResult:
        if isinstance(err, Unreachable):
            self.lost.add(task.key)
        return ResourceResult(task, done=False, message=str(err))

    def _prepared(self, task: SyncTask) -> tuple[Resource, Options]:
        assert task.resource is not None
        application = self._order.application
        chosen = options(task.resource, application.policy.options)
        if not chosen.respect_ignored:
            return task.resource, chosen
        return spared(task.resource, self._order.live.get(task.key), application.ignored), chosen

    def _tried(self, resource: Resource, chosen: Options) -> None:
        force = chosen.conflicts is Conflicts.FORCE
        try:
            self._cluster.apply(resource, dry_run=True, force=force, as_user=self._as_user)
        except Conflict as err:
            if chosen.conflicts is not Conflicts.YIELD:
                raise
            left = yielding(resource, self._live(resource.key), err)
            self._cluster.apply(left, dry_run=True, force=False, as_user=self._as_user)

    def _goes_before(self, task: SyncTask, chosen: Options) -> bool:
        """Say whether what stands in the way of an object is the one that is removed before it is made."""
        removes = _is_renewed(task) if task.action is Action.HOOK else chosen.replace and chosen.force
        try:
            return removes and self._cluster.exists(task.key)
        except ClusterError:
            return False

    def _live(self, key: Key) -> Json | None:
        return self._order.live.get(key) or self._cluster.get(key)

    def _apply(self, task: SyncTask) -> ResourceResult:
        resource, chosen = self._prepared(task)
        before = self._order.live.get(task.key)
        if before is not None and _is_new_to_us(before, resource):
            adopt(self._cluster, task.key, as_user=self._as_user)
        if task.action is Action.REPLACE:
            live = self._replace(resource, force=chosen.force and before is not None)
        else:
            live = self._apply_fields(resource, chosen)
        self.left[task.key] = live
        taken = managed.taken(before, live, MANAGER) if before else ()
        return ResourceResult(task, done=True, message="applied" if before else "created", taken=taken)

    def _replace(self, resource: Resource, *, force: bool) -> Json:
        if force:
            self._away(resource.key, "Foreground", "what is replaced by force is still being removed")
        return self._cluster.replace(resource, as_user=self._as_user)

    def _apply_fields(self, resource: Resource, chosen: Options) -> Json:
        try:
            force = chosen.conflicts is Conflicts.FORCE
            return self._cluster.apply(resource, force=force, as_user=self._as_user)
        except Conflict as err:
            if chosen.conflicts is not Conflicts.YIELD:
                raise
            left = yielding(resource, self._live(resource.key), err)
            return self._cluster.apply(left, force=False, as_user=self._as_user)

    def _make(self, task: SyncTask) -> ResourceResult:
        """Make a hook anew; one that an earlier sync left is removed before."""
        assert task.resource is not None
        if _is_renewed(task):
            self._away(task.key, "Background", "an earlier one is still being removed")
        live = self._cluster.apply(task.resource, force=True, as_user=self._as_user)
        self.left[task.key] = live
        self.made.append((task, str(live.get("metadata", {}).get("uid", ""))))
        return ResourceResult(task, done=True, message="started")

    def _away(self, key: Key, propagation: str, why: str) -> None:
        """Delete an object and wait until it is gone. Raises Refused with `why` where it stays."""
        if not self._cluster.delete(key, propagation=propagation, as_user=self._as_user):
            return
        if not self._timer.wait(lambda: self._cluster.get(key) is None):
            raise Refused(why)

    def _prune(self, task: SyncTask) -> ResourceResult:
        live = self._order.live.get(task.key) or {}
        propagation = options(Resource(task.key, "", live), self._order.application.policy.options).propagation
        uid = live.get("metadata", {}).get("uid")
        gone = not self._cluster.delete(task.key, propagation=propagation.capitalize(), uid=uid, as_user=self._as_user)
        self.left[task.key] = None
        return ResourceResult(task, done=True, message="was gone" if gone else "removed")


def coming(tasks: Iterable[SyncTask]) -> frozenset[str]:
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


def _is_renewed(task: SyncTask) -> bool:
    """Whether a hook of the same name is removed before: also one that a sync that was killed could not remove."""
    return task.delete_before or bool(task.delete_after)


def _is_new_to_us(live: Json, resource: Resource) -> bool:
    """Whether another tool applied an object, and we have not."""
    entries = live.get("metadata", {}).get("managedFields") or []
    return set_of(Resource(resource.key, "", live)) != set_of(resource) and bool(taken_over(entries, TOOLS)[1])
