"""The sync of one application: what its look found is put in order, carried out, recorded, and how it stands said."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from updater.cluster.answers import words as bounded
from updater.errors import ClusterError
from updater.model.application import Application, ApplicationStatus
from updater.model.resource import Key, Resource
from updater.model.sync import Action, Difference, Phase, ResourceStatus, Stage, SyncResult, SyncTask, Verdict
from updater.pipeline.apply import FIRST, MAX_MESSAGE, Sync
from updater.pipeline.compare import Compared, Desired, digest, home, spared, statuses, version_of
from updater.pipeline.world import Memory, Site, Stepped, World, exists
from updater.pipeline.writes import Order
from updater.sync.decide import Go
from updater.sync.diff import compare
from updater.sync.options import options, said
from updater.sync.order import plan
from updater.sync.prune import Pruning

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found."""

    wanted: Desired
    members: frozenset[Key]
    compared: Compared
    pruning: Pruning
    status: ApplicationStatus

    @property
    def own(self) -> frozenset[Key]:
        """What the application has as Git says."""
        return frozenset(resource.key for resource in self.wanted.members)

    @property
    def left(self) -> frozenset[Key]:
        """What its inventory is to name: that, and what of others it names and may be there."""
        return self.own | (self.members & (self.compared.live.keys() | self.compared.unseen))


@dataclass(slots=True)
class Rollout:
    """One sync. `clock` tells the time of its results; `recorded` is what the inventory names by then."""

    world: World
    site: Site
    application: Application
    memory: Memory
    seen: Seen
    now: datetime
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    recorded: frozenset[Key] = field(default_factory=frozenset)

    def run(self, answer: Go) -> ApplicationStatus:
        """Sync, and return how the application stands by what the cluster answered; `last` is how the sync ended."""
        seen, status = self.seen, self.seen.status
        if seen.compared.trouble:
            words = self._trouble()
            return replace(status, last=SyncResult(status.revision, Phase.FAILED, self.now, self.clock(), words))
        sync = self._sync(self._order(answer))
        result = replace(sync.run(), images=seen.wanted.images)
        if result.phase is Phase.SUCCEEDED:
            with suppress(ClusterError):  # it names too much then, which the next sync mends
                self._shrink({key for key, live in sync.left.items() if live is None})
        return replace(status, last=result, resources=self._standing(dict(sync.left)))

    def dry(self, answer: Go) -> Stepped:
        """Try everything, and say what would become of each object."""
        status, trouble = self.seen.status, self._trouble()
        sync = self._sync(self._order(answer))
        phase, why = sync.try_dry()
        words = "; ".join(filter(None, (trouble, why))) or "nothing was written"
        result = SyncResult(
            status.revision, Phase.FAILED if trouble else phase, self.now, self.clock(), words, sync.outcome()
        )
        return Stepped(replace(status, last=result), compared=self.seen.compared, wanted=self.seen.wanted)

    def _trouble(self) -> str:
        found = sorted(self.seen.compared.trouble.items())
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        words = "; ".join(f"{key}: {why}" for key, why in found[:3])
        return bounded(f"nothing was written: {words}{more}", MAX_MESSAGE) if found else ""

    def _sync(self, order: Order) -> Sync:
        return Sync(
            self.site.cluster,
            order,
            deadline=time.monotonic() + self.world.settings.sync.deadline,
            home=home(self.application),
            recorded=self._widen,
            stop=self.world.stop,
            clock=self.clock,
        )

    # --- what is to be done --------------------------------------------------------------------------------------

    def _order(self, answer: Go) -> Order:
        """Return what to do. What is the same already is left alone."""
        compared, revision = self.seen.compared, self.seen.status.revision
        tasks = plan(
            self.seen.wanted.everything,
            self.seen.pruning.allowed,
            policy=self.application.policy,
            revision=revision,
            now=self.now,
            live={key: Resource(key, "", found) for key, found in compared.live.items()},
            only=None if answer.resources is None else frozenset(answer.resources),
        )
        same = frozenset(one.key for one in compared.differences if one.verdict is Verdict.SAME)
        tried = frozenset(one.key for one in compared.differences if one.verdict is Verdict.CHANGED and not one.why)
        return Order(self.application, revision, self._namespace() + tasks, compared.live, tried | compared.tried, same)

    def _namespace(self) -> tuple[SyncTask, ...]:
        """Return the task that makes the namespace of the destination, where that is asked for and lacking."""
        name, policy = self.application.destination.namespace, self.application.policy
        key = Key("", "Namespace", "", name)
        if said(policy.options).get("CreateNamespace") != "true" or not name:
            return ()
        met = self.seen.compared.tried | self.seen.compared.live.keys()  # what is in it says that it is there
        if key in self.seen.own or any(one.namespace == name for one in met) or self.site.cluster.exists(key):
            return ()
        metadata: Json = {"name": name}
        if policy.namespace_labels:
            metadata["labels"] = dict(policy.namespace_labels)
        if policy.namespace_annotations:
            metadata["annotations"] = dict(policy.namespace_annotations)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        return (SyncTask(Action.APPLY, Stage.PRE_SYNC, FIRST, key, Resource(key, "v1", manifest)),)

    # --- what is recorded ----------------------------------------------------------------------------------------

    def record(self) -> None:
        """Have the inventory name what is there, and no more. Raises ClusterError."""
        self._widen()
        self._shrink(set())

    def _widen(self) -> None:
        """Have the inventory name what comes beside what it names; somebody may have removed it meanwhile."""
        if self.seen.own or self.seen.members:
            known = self.seen.members if self.memory.read_at == self.now else None
            self.recorded = self.site.inventory(self.application).widen(self.seen.own, known)
            self.memory.members, self.memory.read_at = self.recorded, self.now

    def _shrink(self, pruned: set[Key]) -> None:
        """Have the inventory forget what is gone, and what others have taken over."""
        gone = (self.seen.members - self.seen.left) | pruned
        left = self.recorded - gone  # others may have written it meanwhile
        if left != self.recorded:
            self.site.inventory(self.application).shrink(left)
            self.memory.members = left

    # --- how it stands then --------------------------------------------------------------------------------------

    def _standing(self, left: dict[Key, Json | None]) -> tuple[ResourceStatus, ...]:
        """Return how the objects stand after a sync, by what the cluster answered: no further request."""
        wanted, compared = self.seen.wanted, self.seen.compared
        live = {**compared.live, **{key: found for key, found in left.items() if found is not None}}
        gone = {key for key, found in left.items() if found is None}
        written = {one.key: one for one in wanted.members if left.get(one.key) is not None}
        differences = [
            self._written(written[one.key], live[one.key]) if one.key in written else one
            for one in compared.differences
            if one.key not in gone
        ]
        there = {key: found for key, found in live.items() if key not in gone}
        found = Compared(tuple(differences), there)
        return statuses(wanted, found, lambda key: exists(self.site.cluster, key), self.now)

    def _written(self, resource: Resource, live: Json) -> Difference:
        """Return what is known of an object that was just applied: it is the same as Git says."""
        ignored, key = self.application.ignored, resource.key
        found = compare(key, live, live, ignored, secret_key=self.world.secret_key)
        respects = options(resource, self.application.policy.options).respect_ignored
        applied = spared(resource, live, ignored) if respects else resource
        self.memory.kept.verdicts[key] = digest(applied.manifest), version_of(live), found
        self.memory.kept.written[key] = version_of(live)
        return found
