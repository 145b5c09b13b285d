"""The second loop in the daemon: one thread asks Git, and a few threads a cluster keep the applications as Git says.

What changed in Git is due at once, and so is what changed in a cluster. A cluster has threads of its own: one that
hangs holds back no other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import structlog

from updater.config.settings import Settings
from updater.daemon.leaving import Leaving
from updater.daemon.queue import Queue
from updater.daemon.sites import Sites, sites
from updater.daemon.teller import Teller
from updater.errors import StoreError
from updater.model.application import ApplicationStatus
from updater.model.limits import USUAL, Limits
from updater.model.resource import Key
from updater.model.sync import Difference, Phase, SyncStatus, Verdict
from updater.pipeline.alike import Has, differing, groups
from updater.pipeline.deliver import step
from updater.pipeline.known import Known, Looker
from updater.pipeline.remove import remove
from updater.pipeline.sources import Tree
from updater.pipeline.world import Ask, Stepped
from updater.store.applications import Applications
from updater.store.database import Database
from updater.store.journal import Journal
from updater.sync.diff import unified

THREADS = 8  # a cluster: they wait most of the time, and those that write at once share a transaction
SPREAD = 0.2  # share of an interval over which looks are spread
UNTOUCHED = 0.5  # seconds in which applications that a commit changed go before those that it did not
SETTLE = 0.2  # seconds in which several changes in a cluster are looked at once
CLOSE = 10.0  # seconds that what is under way gets to end
SILENT = 20.0  # seconds until a repository counts as silent; the others are not kept waiting for longer
DRIFT = 20  # objects of one application whose differences are kept at hand
UNLIKE = 300.0  # seconds that applications of one group may differ before that is told
TROUBLE = 30.0  # seconds until what failed by our own bug is tried again

log = structlog.get_logger()


@contextmanager
def delivery(
    settings: Settings,
    database: Database,
    journal: Journal,
    limits: Limits = USUAL,
    news: Callable[[], object] = lambda: None,
) -> Iterator[Delivery]:
    """Yield the second loop of a configuration, at work; it has ended, or is left to itself, at the end.

    `news` is called when an application stands otherwise than before.
    """
    made: list[Delivery] = []

    def changed(cluster: str, key: Key, live: dict[str, Any] | None) -> None:
        for one in made:
            one.changed(cluster, key, live)

    with sites(settings, changed, limits) as found:
        loop = Delivery(found, journal, Applications(database), news)
        made.append(loop)
        loop.start()
        try:
            yield loop
        finally:
            loop.stop()
            loop.ended(CLOSE)


@dataclass(slots=True)
class _Reach:
    """Whether a cluster can be reached, as it was told; None before the first word. `stale`: applications that wait."""

    down: bool | None = None
    stale: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _Group:
    """Applications that should be alike: what they had when they began to differ, and what was told of it."""

    since: float = 0.0
    what: tuple[str, ...] = ()
    told: tuple[str, ...] | None = None


class Delivery:
    """The threads of the second loop; `wake` looks at Git at once, because a commit of ours is known already."""

    def __init__(
        self, found: Sites, journal: Journal, store: Applications, news: Callable[[], object] = lambda: None
    ) -> None:
        self._world, self._sources, self._broken = found.world, found.sources, found.broken
        self._teller = Teller(found.world.settings, journal)
        self._looker = Looker(found.world, found.sources, found.broken)
        self._known = Known()
        self._news = news
        self._asked: dict[str, Ask] = {}  # what people want done with applications that are due
        self._before = store.read()
        self._told: dict[str, tuple[ApplicationStatus, str]] = {}  # what is stored of each, and why it drifts
        self._queues = {name: Queue() for name in found.world.sites}
        self._reach = {name: _Reach() for name in found.world.sites}
        self._leaving = Leaving()
        self._drifts: dict[str, tuple[Difference, ...]] = {}
        self._owners: dict[tuple[str, Key], str] = {}
        self._groups: dict[str, _Group] = {}
        self._said: set[str] = set()
        self._mistakes: list[str] | None = None  # of manifests, as they were told
        self._logged: dict[str, str] = {}
        self._woken = threading.Event()
        found.sources.late = self.wake
        found.world.started = self._teller.started
        found.world.jitter = random.random
        self._threads = [threading.Thread(target=self._watch, name="sync-git", daemon=True)]
        for name in found.world.sites:
            for number in range(THREADS):
                work = partial(self._work, name)
                self._threads.append(threading.Thread(target=work, name=f"sync-{name}-{number}", daemon=True))

    def start(self) -> None:
        """Begin."""
        for name, why in self._broken.items():
            log.error("cluster_refused", cluster=name, why=why)
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look at Git now."""
        self._woken.set()

    @property
    def known(self) -> Known:
        """The applications as Git was last read; never changed, but replaced."""
        return self._known

    def drift(self, name: str) -> list[tuple[Difference, str]]:
        """Return what differed of an application when it was last compared, each with its text; of many the first."""
        return [(one, unified(one)) for one in self._drifts.get(name, ())]

    def troubles(self) -> dict[str, str]:
        """Return why each cluster cannot be asked, empty for those that can."""
        return {name: site.cluster.trouble for name, site in self._world.sites.items()} | dict(self._broken)

    def sync(self, name: str) -> bool:
        """Sync an application at once, by hand; returns before that is done, False where there is no such."""
        one = self._known.assigned.get(name)
        if one is None:
            return False
        self._asked[name] = Ask(by_hand=True)
        self._queues[one.cluster].add(name, time.monotonic())
        return True

    def changed(self, cluster: str, key: Key, live: dict[str, Any] | None) -> None:
        """An object in a cluster changed: look at its application, unless it is what we wrote ourselves."""
        name = self._owners.get((cluster, key))
        one = self._known.assigned.get(name or "")
        if name is None or one is None or one.cluster != cluster:
            return
        version = str((live or {}).get("metadata", {}).get("resourceVersion", ""))
        if live is None or one.memory.kept.written.get(key) != version:
            self._queues[cluster].add(name, time.monotonic() + SETTLE)

    def stop(self) -> None:
        """Begin nothing further; what is under way ends at its next wait."""
        self._world.stop.set()
        self._woken.set()
        self._sources.close()
        for queue in self._queues.values():
            queue.close()

    def ended(self, seconds: float) -> bool:
        """Wait for what is under way, for so long at most; say whether it has ended."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        with suppress(StoreError):  # what was noted is no news: it is found again
            self._teller.settle()
        return not any(thread.is_alive() for thread in self._threads)

    # --- Git -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._world.stop.is_set():
            self._woken.clear()
            try:
                self._look()
            except StoreError as err:
                log.error("state_not_written", error=str(err))
            except Exception:
                log.exception("look_failed")  # our own bug: the next look may do better
            self._woken.wait(self._world.settings.sync.poll * (1 + SPREAD * (random.random() - 0.5)))  # noqa: S311

    def _look(self) -> None:
        before, known = self._known, self._looker.look(self._known, SILENT)
        if self._world.stop.is_set():
            return  # who was asked has not been waited for
        self._remember(known)
        self._known = known
        now = time.monotonic()
        for name, one in known.assigned.items():
            if before.assigned.get(name) is not one or before.revision(name) != known.revision(name):
                self._queues[one.cluster].add(name, now if self._touched(name, before, known) else now + UNTOUCHED)
        self._say(known)
        self._leave(before, known)
        self._compare_groups(known)
        if before.assigned.keys() != known.assigned.keys():
            self._news()

    def _touched(self, name: str, before: Known, known: Known) -> bool:
        """Say whether a new commit changed the folder of an application: those are looked at before the others."""
        tree, old = known.tree(name), before.tree(name) if name in before.assigned else None
        source = known.assigned[name].application.source
        return not isinstance(tree, Tree) or self._world.front.expect(
            tree, old if isinstance(old, Tree) else None, source
        )

    def _remember(self, known: Known) -> None:
        """Give applications that are new here what was stored of them."""
        for name, one in known.assigned.items():
            stored = self._before.get(name)
            if one.memory.status is None and stored is not None and stored.cluster == one.cluster:
                one.memory.status = stored
                self._told.setdefault(name, (stored, "?"))

    def _say(self, known: Known) -> None:
        """Log every mistake once, until it is mended; tell of clusters that cannot be asked, as they are configured."""
        for problem in known.problems:
            if problem not in self._said:
                log.warning("application_refused", why=problem)
        if known.mistakes is not None and self._mistakes != known.mistakes:
            self._teller.refused(known.mistakes)
            self._mistakes = known.mistakes
        for name, why in self._broken.items():
            if name not in self._said:
                self._teller.cluster(name, why, known.waiting.get(name, ()))
        self._said = {*known.problems, *self._broken}

    def _leave(self, before: Known, known: Known) -> None:
        """Forget applications that are no more, and what was told of those that went to another cluster."""
        old = {name: status.cluster for name, status in self._before.items()}
        old |= {name: one.cluster for name, one in before.assigned.items()}
        here = {name: one.cluster for name, one in known.assigned.items()}
        gone = old.keys() - here.keys() - known.refused if known.certain else set()
        leaving = {name: status for name in gone if (status := self._takes_along(before, name)) is not None}
        gone -= leaving.keys()
        if known.certain:
            self._send_off(leaving, len(here))
        those = [(name, cluster) for name, cluster in old.items()
                 if name in gone or here.get(name, cluster) != cluster]  # fmt: skip
        if those:
            self._teller.left(those, gone=gone)
        for name, cluster in those:
            log.info("application_gone" if name in gone else "application_moved", application=name, cluster=cluster)
            if cluster in self._queues:
                self._queues[cluster].forget([name])
                self._reach[cluster].stale.discard(name)
            for kept in (self._told, self._before, self._drifts):
                kept.pop(name, None)

    def _takes_along(self, before: Known, name: str) -> ApplicationStatus | None:
        """Return how an application stood that is gone, if its objects are to go too and its cluster is known."""
        one = before.assigned.get(name)
        status = (one.memory.status if one else None) or self._before.get(name)
        return status if status and status.cascade and {status.cluster} & {*self._queues, *self._broken} else None

    def _send_off(self, leaving: dict[str, ApplicationStatus], left: int) -> None:
        """Have the objects of applications that are gone removed; their statuses are kept until that is done."""
        self._before |= leaving
        reachable = {name: status for name, status in leaving.items() if status.cluster in self._queues}
        for one in self._leaving.seen(reachable, left, datetime.now(UTC)):
            self._queues[one.cluster].add(one.application.name, time.monotonic())

    def _compare_groups(self, known: Known) -> None:
        """Tell which applications that should be alike have not been so for a while: a rollout takes its time."""
        statuses = {name: one.memory.status for name, one in known.assigned.items() if one.memory.status is not None}
        found = groups(one.application for one in known.assigned.values())
        for group, those in found.items():
            self._compare_group(group, differing(those, statuses))
        for group in self._groups.keys() - found.keys():
            self._teller.alike(group, {})
            del self._groups[group]

    def _compare_group(self, group: str, has: dict[str, Has]) -> None:
        state, now = self._groups.setdefault(group, _Group()), time.monotonic()
        what = tuple(f"{name} {one.what}" for name, one in sorted(has.items()))
        if what != state.what:
            state.what, state.since = what, now
        if what != state.told and (not what or now - state.since > UNLIKE):
            self._teller.alike(group, has)
            state.told = what

    # --- clusters ------------------------------------------------------------------------------------------------

    def _work(self, cluster: str) -> None:
        queue = self._queues[cluster]
        while (name := queue.take()) is not None:
            try:
                self._step(cluster, name)
            except StoreError as err:
                log.error("state_not_written", error=str(err))
                queue.add(name, time.monotonic() + TROUBLE)
            except Exception:
                log.exception("sync_failed", application=name)  # our own bug: the others go on
                queue.add(name, time.monotonic() + TROUBLE)
            finally:
                queue.done(name)

    def _step(self, cluster: str, name: str) -> None:
        known = self._known
        one = known.assigned.get(name)
        if one is None:
            self._remove(cluster, name)
            return
        if one.cluster != cluster:
            return
        now = datetime.now(UTC)
        ask = self._asked.pop(name, None) or Ask()
        stepped = step(self._world, one, known.tree(name), ask, now)
        last = stepped.status.last
        told, drifting = self._told.get(name, (None, "?"))
        ended = last is not None and (told is None or last != told.last)
        if self._world.stop.is_set() and not (ended and last is not None and last.phase is Phase.SUCCEEDED):
            return  # we cut it ourselves: whoever starts next finds it as it is
        self._keep(name, stepped)
        if stepped.wanted is not None:
            self._owners.update(((cluster, resource.key), name) for resource in stepped.wanted.members)
        self._reached(cluster, name, stepped.status.stale)
        if told is None or ended or drifting != stepped.drifting or _news(told) != _news(stepped.status):
            self._teller.stepped(one, known.repositories[name], stepped, now, ended=ended)
            self._log(name, stepped)
            self._news()
        elif told.revision != stepped.status.revision:
            self._teller.noted(stepped.status)
        self._told[name] = stepped.status, stepped.drifting
        self._again(cluster, name, stepped)
        if self._queues[cluster].rests():
            self._teller.settle()

    def _keep(self, name: str, stepped: Stepped) -> None:
        """Keep what differs, for people to look at."""
        if stepped.status.sync is SyncStatus.SYNCED:
            self._drifts.pop(name, None)
        elif stepped.compared is not None:
            differ = (one for one in stepped.compared.differences if one.verdict is not Verdict.SAME)
            self._drifts[name] = tuple(islice(differ, DRIFT))

    def _remove(self, cluster: str, name: str) -> None:
        """Remove the objects of an application that is gone, if that is to be; once it is done it is forgotten."""
        one = self._leaving.get(name)
        if one is None or one.cluster != cluster:
            return
        stepped = remove(self._world, one, datetime.now(UTC))
        if self._world.stop.is_set():
            return  # whoever starts next goes on
        self._reached(cluster, name, stepped.status.stale)
        self._before[name] = stepped.status
        self._log(name, stepped)
        if stepped.again is not None:
            self._again(cluster, name, stepped)
            return
        self._teller.left([(name, cluster)], gone=[name])
        self._leaving.done(name)
        self._told.pop(name, None)
        self._before.pop(name, None)

    def _again(self, cluster: str, name: str, stepped: Stepped) -> None:
        resync = self._world.settings.sync.resync
        wait = min(resync if stepped.again is None else stepped.again, resync)
        self._queues[cluster].add(name, time.monotonic() + wait * (1 + SPREAD * random.random() / 2))  # noqa: S311

    def _reached(self, cluster: str, name: str, trouble: str) -> None:
        """Tell once that a cluster cannot be reached; and once that it can be again, when none waits for it longer.

        A single failure may be a hiccup: it counts where others failed too, or where it lasts.
        """
        reach, down = self._reach[cluster], bool(self._world.sites[cluster].cluster.trouble)
        with reach.lock:
            lasting = down or name in reach.stale
            (reach.stale.add if trouble else reach.stale.discard)(name)
            if trouble and lasting and not reach.down:
                names = [other for other, one in self._known.assigned.items() if one.cluster == cluster]
                self._teller.cluster(cluster, trouble, names)
                reach.down = True
            elif not reach.stale and not down and reach.down is not False:
                self._teller.cluster(cluster, "", ())
                reach.down = False

    def _log(self, name: str, stepped: Stepped) -> None:
        status = stepped.status
        words = f"{status.sync.value} {status.health.value} {status.message} {status.stale}"
        if self._logged.get(name) != words:
            self._logged[name] = words
            log.info(
                "application", application=name, cluster=status.cluster, revision=status.revision[:12],
                sync=status.sync.value, health=status.health.value, message=status.stale or status.message,
            )  # fmt: skip


def _news(status: ApplicationStatus) -> ApplicationStatus:
    """Return what of a status is news.

    Not when it was looked at, not a commit that changes nothing of it, and not in which words a cluster is away.
    """
    return replace(status, compared_at=None, revision="", applied="", stale="stale" if status.stale else "")
