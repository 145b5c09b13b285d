"""The second loop in the daemon: one thread asks Git, and a few threads a cluster keep the applications as Git says.

What changed in Git is due at once, and so is what changed in a cluster. A cluster has threads of its own: one that
hangs holds back no other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from updater.config.manifests import Read
from updater.config.repositories import RepositorySettings, commit_url
from updater.config.settings import Settings, repository_for
from updater.daemon.queue import Queue
from updater.daemon.remember import routed
from updater.errors import GitError, StoreError, UpdaterError
from updater.model.application import Application
from updater.model.resource import Key
from updater.pipeline import announce
from updater.pipeline.alike import differing, groups
from updater.pipeline.catalogue import Catalogue
from updater.pipeline.deliver import Ask, Assigned, Memory, Stepped, World, step
from updater.pipeline.sources import Sources, Tree
from updater.store.applications import Applications
from updater.store.database import Database
from updater.store.journal import Journal, Standing, Writing
from updater.sync.destinations import cluster_of

THREADS = 4  # a cluster: applying waits for the cluster most of the time
SPREAD = 0.2  # share of an interval over which looks are spread
UNLIKE = 300.0  # seconds that applications of one group may differ before that is told
CLOSE = 10.0  # seconds that what is under way gets to end
TROUBLE = 30.0  # seconds until what failed by our own bug is tried again

log = structlog.get_logger()


@dataclass(slots=True)
class Known:
    """What Git said last: the applications, and the tree of each repository and revision that they name."""

    assigned: dict[str, Assigned] = field(default_factory=dict)
    repositories: dict[str, RepositorySettings] = field(default_factory=dict)  # by application
    trees: dict[tuple[str, str], Tree | UpdaterError] = field(default_factory=dict)  # by address and revision
    problems: tuple[str, ...] = ()

    def tree(self, name: str) -> Tree | UpdaterError:
        """Return the tree of an application."""
        source = self.assigned[name].application.source
        key = self.repositories[name].url, source.target_revision
        return self.trees.get(key) or GitError(f"{name}: its repository was not read yet")


def look(world: World, sources: Sources, catalogue: Catalogue, known: Known) -> Known:
    """Ask every repository once, and return what Git says now. Nothing is raised; what fails is in its place."""
    settings, found = world.settings, Known()
    asked: dict[str, set[str]] = {}
    own = {entry.repository for entry in catalogue.entries if entry.repository}
    by_name = {one.name: one for one in settings.repositories}
    for name in own:
        asked.setdefault(by_name[name].url, set()).add(by_name[name].branch or "HEAD")
    by_url = {one.url: one for one in settings.repositories}
    for name, one in known.assigned.items():  # those that were known are asked for in the same question
        repository = known.repositories[name]
        by_url.setdefault(repository.url, repository)
        asked.setdefault(repository.url, set()).add(one.application.source.target_revision)
    for url, wanted in asked.items():
        found.trees |= {(url, name): tree for name, tree in sources.observe(by_url[url], wanted).items()}
    read, unread = catalogue.read(lambda name: found.trees[by_name[name].url, by_name[name].branch or "HEAD"])
    _assign(world, read, found, known, keep=bool(unread) or not read.complete)
    found.problems += tuple(unread)
    _complete(sources, found)
    return found


def _assign(world: World, read: Read, found: Known, known: Known, *, keep: bool) -> None:
    """Give each application to its cluster; those whose manifest cannot be read stay as they were known."""
    servers = {name: site.cluster.server for name, site in world.sites.items()}
    problems = [str(problem) for problem in read.problems]
    urls = [one.source.repo_url for one in read.applications]
    for one in read.applications:
        try:
            cluster = cluster_of(one.destination, servers)
            repository = repository_for(world.settings, one.source.repo_url, urls)
        except ValueError as err:
            problems.append(f"{one.origin}: {one.name}: {err}")
            continue
        before = known.assigned.get(one.name)
        if before is None or before.cluster != cluster or before.application != one:
            memory = before.memory if before and before.cluster == cluster else Memory()
            memory.wanted = None
            before = Assigned(one, cluster, memory)
        found.assigned[one.name], found.repositories[one.name] = before, repository
    for name, before in known.assigned.items():
        if name not in found.assigned and (keep or name in read.refused):
            found.assigned[name], found.repositories[name] = before, known.repositories[name]
    found.problems = tuple(problems)


def _complete(sources: Sources, found: Known) -> None:
    """Ask for what applications name that were not known before."""
    lacking: dict[str, set[str]] = {}
    for name, one in found.assigned.items():
        key = found.repositories[name].url, one.application.source.target_revision
        if key not in found.trees:
            lacking.setdefault(key[0], set()).add(key[1])
    by_url = {repository.url: repository for repository in found.repositories.values()}
    for url, wanted in lacking.items():
        found.trees |= {(url, name): tree for name, tree in sources.observe(by_url[url], wanted).items()}


@contextmanager
def delivery(settings: Settings, database: Database, journal: Journal) -> Iterator[Delivery]:
    """Yield the second loop of a configuration, at work; it has ended, or is left to itself, at the end."""
    from updater.daemon.sites import sites

    made: list[Delivery] = []

    def changed(cluster: str, key: Key, live: dict[str, Any] | None) -> None:
        for one in made:
            one.changed(cluster, key, live)

    with sites(settings, changed) as found:
        loop = Delivery(found.world, found.sources, journal, Applications(database))
        made.append(loop)
        for name, why in found.broken.items():
            loop.refuse(name, why)
        loop.start()
        try:
            yield loop
        finally:
            loop.close(CLOSE)


class Teller:
    """Stores how applications stand, and what that tells."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings, self._journal = settings, journal

    def started(self, application: Application, cluster: str, revision: str) -> None:
        """A sync begins."""
        now = datetime.now(UTC)
        self._write(lambda _: announce.started(application, cluster, revision, now), {""}, (), now)

    def stepped(self, assigned: Assigned, repository: RepositorySettings, stepped: Stepped, now: datetime) -> None:
        """An application was looked at, and perhaps synced."""
        tell = self._settings.notifications is not None and self._settings.notifications.baseline == "tell"
        found = announce.Step(
            assigned.application, stepped.status, stepped.drifting,
            commit_url(repository, stepped.status.revision) if stepped.status.revision else None, tell,
        )  # fmt: skip
        key = announce.subject_of(assigned.application, assigned.cluster).key
        self._write(lambda standing: announce.announce(found, standing, now), {key}, (assigned.application.name,), now)

    def cluster(self, name: str, trouble: str, applications: Iterable[str]) -> None:
        """A cluster cannot be reached, or can be again."""
        now, names = datetime.now(UTC), list(applications)
        self._write(
            lambda standing: announce.cluster(name, trouble, names, standing, now), {f"cluster={name}"}, (), now
        )

    def alike(self, group: str, differing: Mapping[str, str]) -> None:
        """Applications that should be alike differ, or agree again."""
        now = datetime.now(UTC)
        self._write(lambda standing: announce.alike(group, differing, standing, now), {f"application={group}"}, (), now)

    def gone(self, names: Iterable[str]) -> None:
        """Applications are no more."""
        self._write(lambda _: Writing(gone=list(names)), {""}, (), datetime.now(UTC))

    def _write(
        self, plan: Callable[[Standing], Writing], subjects: set[str], applications: tuple[str, ...], now: datetime
    ) -> None:
        self._journal.write(routed(plan, self._settings, now), now, (), subjects, applications)


class Delivery:
    """The threads of the second loop; `wake` looks at Git at once, because a commit of ours is known already."""

    def __init__(self, world: World, sources: Sources, journal: Journal, store: Applications) -> None:
        self._world, self._sources, self._teller = world, sources, Teller(world.settings, journal)
        self._catalogue = Catalogue(world.settings.applications)
        self._known = Known()
        self._before = store.read()
        self._queues = {name: Queue() for name in world.sites}
        self._woken = threading.Event()
        self._owners: dict[tuple[str, Key], str] = {}
        self._said: dict[str, str] = {}
        self._differing: dict[str, float] = {}
        world.started = self._teller.started
        world.jitter = random.random
        self._threads = [threading.Thread(target=self._watch, name="sync-git", daemon=True)]
        for name in world.sites:
            for number in range(THREADS):
                work = partial(self._work, name)
                self._threads.append(threading.Thread(target=work, name=f"sync-{name}-{number}", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def refuse(self, cluster: str, why: str) -> None:
        """Say that a cluster cannot be asked, as it is configured."""
        log.error("cluster_refused", cluster=cluster, why=why)
        self._teller.cluster(cluster, why, ())

    def wake(self) -> None:
        """Look at Git now."""
        self._woken.set()

    def changed(self, cluster: str, key: Key, live: dict[str, Any] | None) -> None:
        """An object in a cluster changed: look at its application, unless it is what we wrote ourselves."""
        name = self._owners.get((cluster, key))
        one = self._known.assigned.get(name or "")
        if name is None or one is None:
            return
        version = str((live or {}).get("metadata", {}).get("resourceVersion", ""))
        if live is None or one.memory.kept.written.get(key) != version:
            self._queues[cluster].add(name, time.monotonic())

    def stop(self) -> None:
        """Begin nothing further; what is under way ends at its next wait."""
        self._world.stop.set()
        self._woken.set()
        for queue in self._queues.values():
            queue.close()

    def close(self, seconds: float) -> None:
        """Wait for what is under way, for so long at most."""
        self.stop()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _watch(self) -> None:
        while not self._world.stop.is_set():
            self._woken.clear()
            try:
                self._look()
            except Exception:
                log.exception("look_failed")  # our own bug: the next look may do better
            self._woken.wait(self._world.settings.sync.poll * (1 + SPREAD * (random.random() - 0.5)))  # noqa: S311

    def _look(self) -> None:
        before, self._known = self._known, look(self._world, self._sources, self._catalogue, self._known)
        known, now = self._known, time.monotonic()
        for problem in known.problems:
            self._once(problem, "application_refused")
        for name, one in known.assigned.items():
            if one.memory.status is None and name in self._before:
                one.memory.status = self._before[name]
            old = before.assigned.get(name)
            moved = old is not one or _revision(before, name) != _revision(known, name)
            if moved:
                self._queues[one.cluster].add(name, now)
        self._compare_groups()
        gone = before.assigned.keys() - known.assigned.keys()
        for name in gone:
            self._queues[before.assigned[name].cluster].forget([name])
            log.info("application_gone", application=name, kept="its objects stay")
        if gone:
            self._teller.gone(gone)

    def _compare_groups(self) -> None:
        """Tell which applications that should be alike have not been so for a while: a rollout takes its time."""
        known = self._known
        statuses = {name: one.memory.status for name, one in known.assigned.items() if one.memory.status is not None}
        for group, those in groups(one.application for one in known.assigned.values()).items():
            found = differing(those, statuses)
            since = self._differing.setdefault(group, time.monotonic()) if found else self._differing.pop(group, None)
            if not found or (since is not None and time.monotonic() - since > UNLIKE):
                self._teller.alike(group, found)

    def _once(self, words: str, event: str) -> None:
        if words not in self._said:
            self._said[words] = event
            log.warning(event, why=words)

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
        one, known = self._known.assigned.get(name), self._known
        if one is None or one.cluster != cluster:
            return
        now = datetime.now(UTC)
        before = one.memory.status
        stepped = step(self._world, one, known.tree(name), Ask(), now)
        self._reach(cluster, stepped)
        if stepped.wanted is not None:
            self._owners.update(((cluster, resource.key), name) for resource in stepped.wanted.members)
        if before is None or stepped.status != before:
            self._teller.stepped(one, known.repositories[name], stepped, now)
            self._tell(name, stepped)
        resync = self._world.settings.sync.resync
        wait = min(resync if stepped.again is None else stepped.again, resync)
        self._queues[cluster].add(name, time.monotonic() + wait * (1 + SPREAD * random.random() / 2))  # noqa: S311

    def _reach(self, cluster: str, stepped: Stepped) -> None:
        """Tell once that a cluster cannot be reached, and once that it can be again."""
        trouble = stepped.status.stale
        if bool(trouble) != (cluster in self._said):
            if trouble:
                self._said[cluster] = trouble
            else:
                del self._said[cluster]
            names = [name for name, one in self._known.assigned.items() if one.cluster == cluster]
            self._teller.cluster(cluster, trouble, names)

    def _tell(self, name: str, stepped: Stepped) -> None:
        status = stepped.status
        words = f"{status.sync.value} {status.health.value} {status.message}"
        if self._said.get(f"application {name}") != words:
            self._said[f"application {name}"] = words
            log.info(
                "application", application=name, cluster=status.cluster, revision=status.revision[:12],
                sync=status.sync.value, health=status.health.value, message=status.message,
            )  # fmt: skip


def _revision(known: Known, name: str) -> str:
    """Return what an application is looked at for: the commit, or the error in its place."""
    tree = known.tree(name) if name in known.assigned else None
    return tree.revision if isinstance(tree, Tree) else str(tree)
