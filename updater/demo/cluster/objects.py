"""Where the objects are: a table a resource, one counter of resource versions, and a log of what happened for watchers.

A stored object is never changed in place: a write puts another one in its stead. Everything happens under one lock.
"""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.schemas import Json

Key = tuple[str, str]  # namespace (empty for cluster-wide objects) and name
Word = Literal["ADDED", "MODIFIED", "DELETED"]
FIRST_VERSION = 100
_SNAPSHOTS = 64  # lists that are being read page by page; an older one is expired


def now() -> str:
    """Return the time as the server writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dumped(document: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


class Stored:
    """One version of an object, and its JSON as soon as somebody asks for it."""

    __slots__ = ("_json", "key", "obj", "version")

    def __init__(self, obj: Json, key: Key, version: int) -> None:
        self.obj, self.key, self.version = obj, key, version
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The object as JSON, apiVersion and kind first."""
        if self._json is None:
            first = {"kind": self.obj["kind"], "apiVersion": self.obj["apiVersion"]}
            self._json = dumped(first | self.obj)
        return self._json


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry of the log; `before` is the version that it replaced."""

    word: Word
    stored: Stored
    before: Stored | None
    version: int


class Table:
    """The objects of one resource, and what happened to them lately."""

    def __init__(self, resource: Resource, lock: threading.RLock, history: int) -> None:
        self.resource = resource
        self.items: dict[Key, Stored] = {}
        self.log: deque[Happened] = deque(maxlen=history)
        self.floor = 0  # what happened up to here is forgotten
        self.changed = threading.Condition(lock)

    def sorted(self, namespace: str = "") -> list[Stored]:
        """Return the objects by namespace and name; of one namespace where it is given."""
        if namespace:
            return [self.items[key] for key in sorted(key for key in self.items if key[0] == namespace)]
        return [self.items[key] for key in sorted(self.items)]


class Store:
    """All tables. `listeners` are called after every change, under the lock."""

    def __init__(self, history: int) -> None:
        self.lock = threading.RLock()
        self.version = FIRST_VERSION
        self.listeners: list[Callable[[Resource, Happened], None]] = []
        self._history, self._forgotten = history, 0
        self._tables: dict[str, Table] = {}
        self._dependents: dict[str, set[tuple[str, Key]]] = {}
        self._snapshots: dict[str, tuple[int, list[Stored]]] = {}
        self._ids = itertools.count(1)

    def table(self, resource: Resource) -> Table:
        """Return the table of a resource."""
        with self.lock:
            found = self._tables.get(resource.key)
            if found is None:
                found = self._tables[resource.key] = Table(resource, self.lock, self._history)
                found.floor = self._forgotten
            return found

    def tables(self) -> list[Table]:
        """Return every table that was ever used."""
        with self.lock:
            return list(self._tables.values())

    def get(self, resource: Resource, key: Key) -> Stored | None:
        """Return an object, or None."""
        return self.table(resource).items.get(key)

    def put(self, resource: Resource, key: Key, obj: Json) -> Stored:
        """Store an object with the next resource version; its metadata is completed here."""
        with self.lock:
            table, before = self.table(resource), self.table(resource).items.get(key)
            self.version += 1
            stored = Stored(_versioned(obj, self.version), key, self.version)
            table.items[key] = stored
            self._link(resource, before, stored)
            self._tell(table, Happened("MODIFIED" if before else "ADDED", stored, before, self.version))
            return stored

    def drop(self, resource: Resource, key: Key) -> Stored | None:
        """Remove an object and return its last version, with the resource version of the removal."""
        with self.lock:
            table = self.table(resource)
            before = table.items.pop(key, None)
            if before is None:
                return None
            self.version += 1
            last = Stored(_versioned(before.obj, self.version), key, self.version)
            self._link(resource, before, None)
            self._tell(table, Happened("DELETED", last, before, self.version))
            return last

    def _tell(self, table: Table, happened: Happened) -> None:
        if len(table.log) == table.log.maxlen:
            table.floor = table.log[0].version
        table.log.append(happened)
        table.changed.notify_all()
        for listener in self.listeners:
            listener(table.resource, happened)

    def _link(self, resource: Resource, before: Stored | None, after: Stored | None) -> None:
        old, new = _owners(before), _owners(after)
        if old == new:
            return
        place = (resource.key, (after or before).key)  # type: ignore[union-attr]
        for uid in old - new:
            self._dependents.get(uid, set()).discard(place)
        for uid in new - old:
            self._dependents.setdefault(uid, set()).add(place)

    def dependents(self, uid: str) -> Iterator[tuple[Table, Stored]]:
        """Yield the objects that name an owner."""
        with self.lock:
            for table_key, key in sorted(self._dependents.get(uid, ())):
                table = self._tables[table_key]
                if found := table.items.get(key):
                    yield table, found

    def keep(self, items: list[Stored]) -> str:
        """Keep a list that is read page by page and return its name."""
        with self.lock:
            name = str(next(self._ids))
            self._snapshots[name] = (self.version, items)
            while len(self._snapshots) > _SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
            return name

    def kept(self, name: str) -> tuple[int, list[Stored]] | None:
        """Return a kept list and its resource version; None where it is expired."""
        return self._snapshots.get(name)

    def compact(self) -> None:
        """Forget everything that happened: old resource versions and continued lists are expired from now on."""
        with self.lock:
            self._snapshots.clear()
            self._forgotten = self.version
            for table in self._tables.values():
                table.floor = self.version
                table.log.clear()


def _owners(stored: Stored | None) -> set[str]:
    if stored is None:
        return set()
    return {owner["uid"] for owner in stored.obj["metadata"].get("ownerReferences", ()) if "uid" in owner}


def _versioned(obj: Json, version: int) -> Json:
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(version)}}


def new_uid() -> str:
    """Return a fresh uid."""
    return str(uuid.uuid4())
