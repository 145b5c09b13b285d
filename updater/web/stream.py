"""What changes, as it does: server-sent events. What changed is found out once, for all who listen.

    event: images         data: {"names": ["api/prod"], "all": false}     applications alike; all: more than are named
    event: overview       data: {}

The id of an event is a mark; whoever comes with one, in `Last-Event-ID` or `since`, is told what happened after it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from updater.errors import StoreError
from updater.web import facts
from updater.web.openapi import BASE
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

MOST = 300  # streams at once
BEAT = 15.0  # seconds without a word after which one is said: proxies cut what is silent
LIFE = 900.0  # seconds of one stream; who comes again is judged again
PACE = 0.25  # seconds between two looks at what changed
CALM = 5.0  # seconds between two words about the overview: its figures change with every look
NAMES = 200  # that one event names; more are all
REMEMBERED = 200  # changes that who comes back is told of
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Names = frozenset[str] | None  # None: more than can be named
Change = Mapping[str, Names]  # of each sort what changed
_NONE: frozenset[str] = frozenset()
_TIMES = {"age", "last_check", "next_check", "failures", "compared_at"}  # go on by themselves, and are no news

log = structlog.get_logger()


def mark(desk: Desk) -> str:
    """Return what a page that is made now gives to `since`, so that nothing is missed between the two."""
    return f"{desk.started.timestamp():.6f}.{desk.bell.serial}"


def joined(one: Change, other: Change) -> Change:
    """Return what changed in both."""
    found: dict[str, Names] = dict(one)
    for sort, names in other.items():
        before = found.get(sort, _NONE)
        both = None if names is None or before is None else before | names
        found[sort] = None if both is None or len(both) > NAMES else both
    return found


class _Reader:
    """One stream; what it was not sent yet is one change, however slow it reads."""

    def __init__(self) -> None:
        self._waits: Change = {}
        self._mark = ""
        self.ready = asyncio.Event()
        self.over = False

    def end(self) -> None:
        """Have the stream end after what waits."""
        self.over = True
        self.ready.set()

    def put(self, change: Change, at: str) -> None:
        self._waits, self._mark = joined(self._waits, change), at
        self.ready.set()

    def take(self) -> bytes:
        waits, self._waits = self._waits, {}
        self.ready.clear()
        return b"".join(_frame(sort, names, self._mark) for sort, names in waits.items())


def _frame(sort: str, names: Names, at: str) -> bytes:
    data = {} if sort == "overview" else {"names": sorted(names or ()), "all": names is None}
    return f"id: {at}\nevent: {sort}\ndata: {json.dumps(data)}\n\n".encode()


class Hub:
    """All streams of a daemon; it looks at what changed only while somebody listens. One event loop has it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._readers: set[_Reader] = set()
        self._rung = asyncio.Event()
        self._known: dict[str, dict[str, Any]] = {}
        self._past: deque[tuple[int, Change]] = deque(maxlen=REMEMBERED)
        self._from = -1  # the ring of the bell from which on changes are remembered
        self._spoken = 0.0  # when the overview was last told of
        self._again: float | None = None  # seconds until the overview is looked at again
        self._task: asyncio.Task[None] | None = None
        self._end: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._readers) >= MOST

    def join(self, since: str) -> _Reader:
        """Add a stream, that was told what happened up to a mark."""
        reader = _Reader()
        if since and (missed := self._missed(since)):
            reader.put(missed, mark(self._desk))
        self._readers.add(reader)
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._end = self._desk.bell.listen(lambda: _call(loop, self._rung.set))
            self._known, self._past, self._from = {}, deque(maxlen=REMEMBERED), self._desk.bell.serial
            self._rung.set()
            self._task = loop.create_task(self._run())
        return reader

    def leave(self, reader: _Reader) -> None:
        """Take a stream out; with the last one the looking ends."""
        self._readers.discard(reader)
        if not self._readers:
            self._end()
            if self._task is not None:
                self._task.cancel()
            self._task = None

    def end(self) -> None:
        """End all streams: who reads comes again, here or where the next process is."""
        for reader in self._readers:
            reader.end()

    def _missed(self, since: str) -> Change:
        started, _, serial = since.rpartition(".")
        number = int(serial) if serial.isascii() and serial.isdigit() and len(serial) < 20 else -1
        if f"{started}.{self._desk.bell.serial}" == mark(self._desk) and number == self._desk.bell.serial:
            return {}
        oldest = self._past[0][0] if len(self._past) == REMEMBERED else self._from
        if self._task is None or not mark(self._desk).startswith(f"{started}.") or number < oldest:
            return {"images": None, "applications": None, "overview": _NONE}
        found: Change = {}
        for at, change in self._past:
            if at > number:
                found = joined(found, change)
        return found

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._rung.wait()
            self._rung.clear()
            serial = self._desk.bell.serial
            try:
                change = await run_in_threadpool(self._look)
            except StoreError as err:
                log.warning("stream_not_told", error=str(err))
                change = {}
            except Exception:
                log.exception("stream_failed")  # our own bug: the next look may do better
                change = {}
            if change:
                self._past.append((serial, change))
                at = f"{mark(self._desk).rpartition('.')[0]}.{serial}"
                for reader in self._readers:
                    reader.put(change, at)
            await asyncio.sleep(PACE)
            if self._again is not None:
                loop.call_later(self._again, self._rung.set)
                self._again = None

    def _look(self) -> Change:
        """Return what changed since the last look; the first one finds nothing."""
        found: dict[str, dict[str, Any]] = {
            "images": {one.name: one for one in facts.images(self._desk)},
            "applications": {one.name: one for one in facts.applications(self._desk)},
            "overview": {"": facts.overview(self._desk)},
        }
        before, self._known = self._known, found
        if before and (left := self._spoken + CALM - time.monotonic()) > 0:
            found["overview"] = before["overview"]
            self._again = left
        else:
            self._spoken, self._again = time.monotonic(), None
        change: dict[str, Names] = {}
        for sort, ones in found.items():
            if before and (names := frozenset(_news(before[sort], ones))):
                change[sort] = names if len(names) <= NAMES else None
        return change


def _news(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the names of what came, went, or is not as it was."""
    both = before.keys() & after.keys()
    changed = {name for name in both if before[name] is not after[name] and _differ(before[name], after[name])}
    return changed | (before.keys() ^ after.keys())


def _differ(one: Any, other: Any) -> bool:
    return any(value != getattr(other, name) for name, value in one if name not in _TIMES)


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # it has ended: nobody listens
        loop.call_soon_threadsafe(what)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


async def stream(request: Request) -> Response:
    """Tell what changes until the reader goes."""
    desk: Desk = request.app.state.desk
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub(desk)
    if hub.full:
        return problem(503, f"{MOST} streams are open; ask for the lists instead", headers={"retry-after": "30"})
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type="text/event-stream")
    since = request.headers.get("last-event-id") or request.query_params.get("since", "")
    return StreamingResponse(_told(hub, since[:100]), headers=HEADERS, media_type="text/event-stream")


async def _told(hub: Hub, since: str) -> AsyncIterator[bytes]:
    end = asyncio.get_running_loop().time() + LIFE
    reader = hub.join(since)
    try:
        yield b"retry: 3000\n\n"
        while not reader.over and (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(min(BEAT, left)):
                    await reader.ready.wait()
            except TimeoutError:
                yield b": still here\n\n"
            else:
                yield reader.take()
    finally:
        hub.leave(reader)


def end() -> None:
    """End the streams of the running loop."""
    if hub := _hubs.get(asyncio.get_running_loop()):
        hub.end()


routes = [Route(f"{BASE}/stream", stream)]
