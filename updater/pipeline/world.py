"""What the second loop works with: clusters, what is remembered of an application, what is asked, what comes of it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from updater.cluster.client import Cluster
from updater.cluster.inventory import Inventory
from updater.config.settings import Settings
from updater.errors import ClusterError
from updater.model.application import Application, ApplicationStatus
from updater.model.limits import USUAL, Limits
from updater.model.resource import Key
from updater.pipeline.compare import Compared, Desired, Kept, home
from updater.pipeline.sources import Tree
from updater.renderers.files import Files
from updater.renderers.front import Front
from updater.transport import lock as locks

VIEWS = 16  # commits whose files are kept in view
LOCK_WAIT = 600.0  # seconds to wait for another process that syncs the same application

Json = dict[str, Any]


@dataclass(slots=True)
class Site:
    """One cluster, and what we know of it.

    seen    what the cluster has of ours, from memory; None where memory does not have it, or not for sure
    version  that of an object in memory, which costs less than the object; empty where memory is not to be relied on
    follow  keep these kinds in memory from now on: group, kind, version
    """

    cluster: Cluster
    seen: Callable[[Key], Json | None] = lambda _key: None
    version: Callable[[Key], str] = lambda _key: ""
    follow: Callable[[frozenset[tuple[str, str, str]]], object] = lambda _kinds: None

    def inventory(self, application: Application) -> Inventory:
        """Return the record of what an application has here."""
        return Inventory(self.cluster, application.name, home(application))


@dataclass(slots=True)
class Memory:
    """What is remembered of one application; one thread at a time has it.

    members  what its inventory names, as it was read at `read_at`
    rest     what was rendered, and the versions of its objects, when all was as it should be
    looks    in a row at an application on its way to health
    unread   since when Git cannot be read
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: Desired | None = None
    members: frozenset[Key] | None = None
    read_at: datetime | None = None
    kept: Kept = field(default_factory=Kept)
    status: ApplicationStatus | None = None
    rest: tuple[str, tuple[str, ...]] | None = None
    looks: int = 0
    unread: datetime | None = None


@dataclass(slots=True)
class Assigned:
    """An application, and the cluster that it goes to."""

    application: Application
    cluster: str
    memory: Memory = field(default_factory=Memory)


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
    limits: Limits = USUAL
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


@contextmanager
def alone(data: Path, name: str) -> Iterator[None]:
    """Hold an application against other processes. Raises ClusterError where another one has it for too long."""
    descriptor = locks.acquire(data / "applications" / f"{quote(name, safe='')}.lock", LOCK_WAIT)
    if descriptor is None:
        raise ClusterError(f"{name} has been in the hands of another process for {LOCK_WAIT:.0f} s")
    try:
        yield
    finally:
        os.close(descriptor)


def exists(cluster: Cluster, key: Key) -> bool | None:
    """Say whether an object is there, None where the cluster does not say."""
    try:
        return cluster.exists(key)
    except ClusterError:
        return None
