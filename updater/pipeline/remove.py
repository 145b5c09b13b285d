"""Removes what an application had, once its manifest is gone from Git and had Argo CD's finalizer in it.

    what      the objects that its inventory names, that carry its marks and that nothing protects: Prune=false,
              Delete=false, and namespaces, kinds and claims whose own annotation does not say Prune=true, stay
    in order  that of a sync, reversed: the last wave and the last kind first, each waited for until it is gone
    how long  until it is done: what a cluster, a finalizer or a restart cuts off is taken up again

Without the finalizer the objects stay. Whether many applications are really gone is asked of a `Guard`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from updater.errors import ClusterError, UnknownKind, Unreachable
from updater.model.application import Application, ApplicationStatus, Automated, Destination, Source, SyncPolicy
from updater.model.health import Health
from updater.model.resource import Key, Resource
from updater.model.sync import Phase, ResourceResult, SyncResult, SyncStatus, SyncTask
from updater.pipeline.compare import home
from updater.pipeline.world import Assigned, Memory, Site, Stepped, World, alone
from updater.pipeline.writes import Order, Timer, Writer
from updater.secrets import redact
from updater.sync.inventory import identity
from updater.sync.options import options
from updater.sync.order import plan, steps
from updater.sync.prune import Pruning, prune

AT_ONCE = 8  # objects at a time
AGAIN = 60.0  # seconds until what is not gone yet is looked at again
FEW, SHARE = 3, 0.1  # applications that may go at once, whichever is more: of all that there are
CONFIRMED = timedelta(minutes=10)

T = TypeVar("T")
Json = dict[str, Any]


@dataclass(slots=True)
class Guard:
    """Says which of the applications that are gone may be removed with their objects.

    A few may at once. More than three, and more than a tenth of all, may be a mistake: a folder that was moved, a merge
    that went wrong. Each of them may go only when it is still gone ten minutes after that was seen first, and a restart
    begins to count anew. Where no application is left at all, none may for as long as that lasts.
    """

    _since: dict[str, datetime] = field(default_factory=dict)

    def allowed(self, gone: Collection[str], left: int, now: datetime) -> frozenset[str]:
        """Return those that may go; `gone` is what a complete look did not find, `left` how many it found."""
        self._since = {name: self._since.get(name, now) for name in gone}
        if not left:
            return frozenset()
        if len(gone) <= max(FEW, SHARE * (left + len(gone))):
            return frozenset(gone)
        return frozenset(name for name, since in self._since.items() if now - since >= CONFIRMED)


def remembered(status: ApplicationStatus) -> Assigned:
    """Return an application that has no manifest any more, by what is stored of it."""
    policy = SyncPolicy(automated=Automated(prune=True, allow_empty=True), options=frozenset(status.options))
    destination = Destination(name=status.cluster, namespace=status.home)
    one = Application(status.name, Source(""), destination, policy=policy, cascade=True)
    return Assigned(one, status.cluster, Memory(status=status))


def remove(world: World, assigned: Assigned, now: datetime) -> Stepped:
    """Remove the objects of an application that is gone; it is done when the last sync of its status succeeded."""
    removal = _Removal(world, assigned, now)
    with assigned.memory.lock:
        try:
            with alone(world.settings.data, assigned.application.name):
                stepped = removal.run()
        except Unreachable as err:
            before = removal.before
            stepped = Stepped(replace(before, stale=before.stale or redact(str(err))), again=world.limits.away)
        except (ClusterError, ValueError) as err:
            stepped = removal.ended(Phase.ERROR, redact(str(err)))
        assigned.memory.status = stepped.status
        return stepped


@dataclass(slots=True)
class _Removal:
    world: World
    assigned: Assigned
    now: datetime
    results: list[ResourceResult] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def before(self) -> ApplicationStatus:
        known = self.assigned.memory.status or ApplicationStatus(self.assigned.application.name, self.assigned.cluster)
        return replace(known, attempted="")  # should it come back, it is synced whatever it was before

    def run(self) -> Stepped:
        site = self.world.sites[self.assigned.cluster]
        inventory = site.inventory(self.assigned.application)
        members = sorted(inventory.read())
        live = {key: found for key, found in zip(members, _each(members, lambda key: _get(site, key)), strict=True)
                if found is not None}  # fmt: skip
        pruning = self._pruning(members, live)
        left = self._carried_out(site, live, pruning)
        if left:
            return self.ended(Phase.ERROR, left)
        inventory.shrink(())
        kept = "; ".join(f"{key}: {why}" for key, why in pruning.kept[:3])
        return self.ended(Phase.SUCCEEDED, f"removed with its objects{f', but {kept}' if kept else ''}")

    def ended(self, phase: Phase, message: str) -> Stepped:
        finished = self.now + timedelta(seconds=time.monotonic() - self.began)
        last = SyncResult(self.before.revision, phase, self.now, finished, message[:500], tuple(self.results))
        status = replace(
            self.before, last=last, message=message[:500], stale="", sync=SyncStatus.UNKNOWN, health=Health.MISSING,
            resources=(), retry_at=None,
        )  # fmt: skip
        return Stepped(status, again=None if phase is Phase.SUCCEEDED else AGAIN)

    def _pruning(self, members: Collection[Key], live: Mapping[Key, Json]) -> Pruning:
        """Say what goes: what a prune would remove, but for what is to outlive its application."""
        application = self.assigned.application
        resources = {key: Resource(key, "", found) for key, found in live.items()}
        set_id = identity(application.name, home(application))
        found = prune(members, (), resources, application.policy, set_id)
        why = {key: _outlives(resources[key], application) for key in found.allowed}
        allowed = tuple(key for key in found.allowed if not why[key])
        return Pruning(allowed, (*found.kept, *((key, text) for key, text in why.items() if text)))

    def _carried_out(self, site: Site, live: Mapping[Key, Json], pruning: Pruning) -> str:
        """Remove step after step, and say what is still there in the end."""
        application, revision = self.assigned.application, self.before.revision
        resources = {key: Resource(key, "", found) for key, found in live.items()}
        tasks = plan((), pruning.allowed, policy=application.policy, revision=revision, now=self.now, live=resources)
        timer = Timer(self.began + self.world.settings.sync.deadline, self.world.stop)
        writer = Writer(site.cluster, Order(application, revision, tasks, live), timer)
        for group in steps(tasks):
            results = _each(group, writer.do)
            self.results += results
            failed = [one for one in results if not one.done]
            if failed:
                return "; ".join(f"{one.task.key}: {one.message}" for one in failed[:3])
            if not timer.wait(partial(_gone, site, live, group)):
                names = ", ".join(str(task.key) for task in _there(site, live, group)[:3])
                return f"{timer.over or 'it took too long'}: still there: {names}"
        return ""


def _outlives(live: Resource, application: Application) -> str:
    said = options(live, application.policy.options).delete
    return "" if said == "true" else f"Delete={said}"


def _gone(site: Site, live: Mapping[Key, Json], tasks: Collection[SyncTask]) -> bool:
    return not _there(site, live, tasks)


def _there(site: Site, live: Mapping[Key, Json], tasks: Collection[SyncTask]) -> list[SyncTask]:
    """Return those whose objects are still there; one that somebody made anew is another one."""

    def is_there(task: SyncTask) -> bool:
        with suppress(Unreachable):
            found = _get(site, task.key)
            return found is not None and _uid(found) == _uid(live[task.key])
        return True  # nobody knows

    tasks = list(tasks)
    return [task for task, there in zip(tasks, _each(tasks, is_there), strict=True) if there]


def _get(site: Site, key: Key) -> Json | None:
    try:
        return site.cluster.get(key)
    except UnknownKind:
        return None


def _uid(live: Json) -> object:
    return live.get("metadata", {}).get("uid")


def _each(values: Collection[Any], do: Callable[[Any], T]) -> list[T]:
    with ThreadPoolExecutor(min(AT_ONCE, len(values)) or 1, thread_name_prefix="remove") as pool:
        return list(pool.map(do, values))
