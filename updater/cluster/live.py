"""What a cluster has of ours, kept up to date in memory: for each kind a list, then a watch, in a thread of its own.

* The server ends a watch after some minutes, and we go on from where it was. A connection that died without a word ends
  a little later by itself.
* A place that the server no longer keeps (410, in any form) means listing again, without a resource version: a stale
  one would be refused for ever.
* While a cluster is down, what was seen last stays. Tries are spread, and a minute apart at most.
* The values of secrets are replaced by keyed hashes at the door, so that they never stay in memory.
"""

from __future__ import annotations

import json
import random as _random
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from updater.cluster.client import Change, Cluster, Gone, ServedKind, Watch
from updater.errors import Absent, ClusterError, UnknownKind
from updater.model.resource import Key
from updater.sync.diff import hidden
from updater.sync.inventory import PART_OF
from updater.transport.pace import backoff

WATCH_SECONDS = 290.0  # a little less than the five minutes that load balancers and servers like to cut at
RESYNC_SECONDS = 600.0
BACKOFF_BASE, BACKOFF_CAP = 1.0, 60.0  # seconds
SHORT = 1.0  # seconds: a watch that ends sooner without a word is a failure
STOP_SECONDS = 5.0

Json = dict[str, Any]
Changed = Callable[[Key, Json | None], object]
"""Called with an object as it is now, None where it is gone; from the thread of its kind. It does not raise."""


class Live:
    """The objects of one cluster that carry our label. Threads may ask it.

    changed        called for every change, also for what the first list brings
    selector       which objects are ours
    secret_key     the key of the hashes of secrets, the same that comparing gets; a new one by default
    watch_seconds  how long a watch is asked for, and up to a tenth more
    resync_seconds after how long everything is listed again, and up to a tenth more
    """

    def __init__(
        self,
        cluster: Cluster,
        changed: Changed = lambda _key, _object: None,
        *,
        selector: str = PART_OF,
        secret_key: bytes | None = None,
        watch_seconds: float = WATCH_SECONDS,
        resync_seconds: float = RESYNC_SECONDS,
        backoff_base: float = BACKOFF_BASE,
        backoff_cap: float = BACKOFF_CAP,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.cluster, self.changed, self.selector = cluster, changed, selector
        self._secret_key = secret_key or secrets.token_bytes(32)
        self._watch_seconds, self._resync_seconds = watch_seconds, resync_seconds
        self._backoff_base, self._backoff_cap, self._random = backoff_base, backoff_cap, random
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._followers: dict[tuple[str, str], _Follower] = {}

    def follow(self, kinds: Iterable[ServedKind]) -> None:
        """Begin with these kinds, beside those that are followed already; return at once."""
        with self._lock:
            for served in kinds:
                name = (served.group, served.kind)
                if name not in self._followers and not self._stopping.is_set():
                    self._followers[name] = _Follower(self, served)
                    self._followers[name].start()

    def ready(self, served: ServedKind) -> bool:
        """Whether everything of a kind has been seen; it stays so while the cluster is down."""
        follower = self._followers.get((served.group, served.kind))
        return follower is not None and follower.ready

    def get(self, key: Key) -> Json | None:
        """Return an object as it was seen last; None where there is none, or its kind is not followed."""
        follower = self._followers.get((key.group, key.kind))
        packed = follower.objects.get(key) if follower else None
        return packed.unpacked() if packed else None

    def version(self, key: Key) -> str:
        """Return the resource version of an object as it was seen last; cheap.

        Empty where there is none, or where not everything of its kind has been seen.
        """
        follower = self._followers.get((key.group, key.kind))
        packed = follower.objects.get(key) if follower and follower.ready else None
        return packed.version if packed else ""

    def keys(self) -> frozenset[Key]:
        """Return the keys of everything that was seen last."""
        with self._lock:
            followers = list(self._followers.values())
        return frozenset(key for follower in followers for key in list(follower.objects))

    def stop(self) -> None:
        """End every watch, and wait a moment for their threads."""
        self._stopping.set()
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            follower.cut()
        end = time.monotonic() + STOP_SECONDS
        for follower in followers:
            follower.join(max(0.0, end - time.monotonic()))

    # --- what followers need ----------------------------------------------------------------------------------------

    @property
    def stopping(self) -> threading.Event:
        """Set when everything ends."""
        return self._stopping

    def seen(self, key: Key, item: Json) -> Json:
        """Return an object as it is kept."""
        if (key.group, key.kind) != ("", "Secret"):
            return item
        return hidden(key, item, self._secret_key)

    def spread(self, which: str) -> float:
        """Return the seconds of a watch, or until everything is listed again: up to a tenth more than was said."""
        seconds = self._watch_seconds if which == "watch" else self._resync_seconds
        return seconds * (1 + self._random() / 10)

    def pause(self, attempt: int) -> None:
        """Wait after the failed attempt, or until everything ends."""
        self._stopping.wait(backoff(attempt, base=self._backoff_base, cap=self._backoff_cap, random=self._random))


@dataclass(frozen=True, slots=True)
class _Packed:
    """An object as it is kept: a tenth of what its dicts would take, most of which are managed fields."""

    version: str
    data: bytes  # a document whose `object` it is

    @classmethod
    def of(cls, item: Json, line: bytes = b"") -> _Packed:
        """Pack an object; `line` is a document that holds it, where there is one already."""
        metadata = item.get("metadata")
        version = str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""
        return cls(version, zlib.compress(line or json.dumps({"object": item}, separators=(",", ":")).encode(), 1))

    def unpacked(self) -> Json:
        """Return the object, made anew."""
        found: Json = json.loads(zlib.decompress(self.data))["object"]
        return found


class _Follower(threading.Thread):
    """Keeps up with one kind."""

    def __init__(self, live: Live, served: ServedKind) -> None:
        super().__init__(name=f"live {live.cluster.name} {served.plural}", daemon=True)
        self._live, self._served = live, served
        self.objects: dict[Key, _Packed] = {}
        self.ready = False
        self._place = ""  # up to where the stream was read; empty: list again
        self._resync_at = 0.0
        self._watch: Watch | None = None
        self._failed = 0  # in a row

    def run(self) -> None:
        try:
            while not self._live.stopping.is_set():
                self._once()
        finally:
            self.ready = False  # nobody looks any more

    def cut(self) -> None:
        """End the watch that is going on."""
        if (watch := self._watch) is not None:
            watch.close()

    def _once(self) -> None:
        """List where that is due, and watch until the watch ends, however it does."""
        before = self._failed
        try:
            self._list()
            self._follow()
        except Gone:
            self._place = ""
            self._failed = before + 1
        except (UnknownKind, Absent):
            self._failed = before + 1
            self._look_again()
        except ClusterError:
            self._failed += 1
        if self._failed:
            self._live.pause(self._failed)

    def _list(self) -> None:
        if self._place and time.monotonic() < self._resync_at:
            return
        found: dict[Key, _Packed] = {}
        for page in self._live.cluster.pages(self._served, selector=self._live.selector):
            for item in page.items:
                key = self._served.key(item)
                found[key] = _Packed.of(self._live.seen(key, item))
        self._resync_at = time.monotonic() + self._live.spread("resync")
        self._replace(found)
        self._place, self.ready = page.resource_version, True

    def _replace(self, found: dict[Key, _Packed]) -> None:
        before, self.objects = self.objects, found
        for key in before.keys() - found.keys():
            self._live.changed(key, None)
        for key, packed in found.items():
            if key not in before or before[key].version != packed.version:
                self._live.changed(key, packed.unpacked())

    def _follow(self) -> None:
        started = time.monotonic()
        seconds = min(self._live.spread("watch"), max(1.0, self._resync_at - started))
        self._watch = watch = self._live.cluster.watch(
            self._served,
            selector=self._live.selector,
            resource_version=self._place,
            seconds=seconds,
            stop=self._live.stopping.is_set,
        )
        if self._live.stopping.is_set():
            return  # it was too late to cut it
        try:
            for change in watch:
                self._failed = 0
                self._take(change)
        finally:
            self._watch = None
            self._place = watch.resource_version
        if watch.lines == 0 and time.monotonic() - started < min(SHORT, seconds):
            self._failed += 1  # a server that ends every watch at once is not asked in a circle
        else:
            self._failed = 0

    def _take(self, change: Change) -> None:
        key = self._served.key(change.object)
        if change.type == "DELETED":
            self.objects.pop(key, None)
            self._live.changed(key, None)
            return
        seen = self._live.seen(key, change.object)
        self.objects[key] = _Packed.of(seen, change.line if seen is change.object else b"")  # not of a Secret
        self._live.changed(key, seen)

    def _look_again(self) -> None:
        """The kind is not served any more: in this version, or not at all, and then its objects are gone with it."""
        try:
            served = self._live.cluster.kind_of(self._served.group, self._served.kind)
        except UnknownKind:
            served = self._served
        except ClusterError:
            return
        if served != self._served:
            self._served, self._place = served, ""
            return
        gone, self.objects, self.ready, self._place = self.objects, {}, False, ""
        for key in gone:
            self._live.changed(key, None)
