"""When each item is due. Pure but for what it remembers: every method takes the monotonic time as an argument.

Due times are derived from the configuration and the last polls, never stored: after a restart what is overdue runs
once. Jitter is a hash of name and turn, so that images do not ask together and a test can tell when they ask.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from updater.config.images import Item
from updater.store.polls import Poll
from updater.transport.pace import backoff

RETRY_BASE = 30.0  # seconds; doubled for each failure in a row, at most the item's interval
LONGEST = 3660.0  # seconds that anybody is stayed away from: who asks for that may ask for an hour
APART = 1.0  # seconds between two looks at one item, however often somebody hints at it


class Agenda:
    """The due times of one configuration's items, in seconds of the monotonic clock; shared by threads."""

    def __init__(self, items: Iterable[Item], polls: Mapping[str, Poll], wall: datetime, now: float) -> None:
        self._lock = threading.Lock()
        self._turn = 0
        self._hosts: dict[str, list[Item]] = {}
        self._due: dict[str, float] = {}
        self._again: dict[str, float] = {}  # of items that somebody has: they are due again, and when
        self._rest: dict[str, float] = {}  # until when hints at an item wait
        self._host: dict[str, str] = {}
        for item in items:
            self._host[item.name] = host_of(item)
            self._hosts.setdefault(host_of(item), []).append(item)
            poll = polls.get(item.name)
            self._due[item.name] = now if poll is None else now + _left(item, poll, wall)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The registries to ask; `*` where a pattern leaves the registry open."""
        return tuple(self._hosts)

    def due(self, host: str, now: float) -> list[Item]:
        """Return the items of one registry that are due."""
        with self._lock:
            return [item for item in self._hosts.get(host, ()) if self._due[item.name] <= now]

    def soonest(self, host: str, now: float) -> float:
        """Return the seconds until something is due at one registry; infinite while somebody has it all."""
        with self._lock:
            return min((self._due[item.name] for item in self._hosts.get(host, ())), default=math.inf) - now

    def wait(self, name: str, now: float) -> float | None:
        """Return the seconds until an item is due; None while somebody has it, or where there is no such item."""
        with self._lock:
            due = self._due.get(name)
        return None if due is None or due == math.inf else due - now

    def take(self, host: str, now: float) -> list[Item]:
        """Return the items of one registry that are due; they are not due again before `done` names them."""
        with self._lock:
            taken = [item for item in self._hosts.get(host, ()) if self._due[item.name] <= now]
            self._due.update((item.name, math.inf) for item in taken)
            self._rest.update((item.name, now + APART) for item in taken)
            return taken

    def done(
        self, items: Collection[Item], failures: Mapping[str, int], pauses: Mapping[str, float], now: float
    ) -> None:
        """Set the next turn of items that were looked at: by interval, or sooner after a failure.

        `failures` counts those in a row by item; `pauses` are seconds that a registry asked us to stay away. Whoever
        spoke about an item while it was looked at spoke of something newer: it is due right after.
        """
        with self._lock:
            self._turn += 1
            for item in items:
                wait = item.poll_interval + jitter(item, self._turn)
                if failures.get(item.name):
                    wait = min(wait, RETRY_BASE + backoff(failures[item.name], base=RETRY_BASE, cap=wait))
                pause = now + min(pauses.get(item.name, 0.0), LONGEST)  # of the wall clock, which may have leapt
                self._rest[item.name] = max(pause, self._rest.get(item.name, 0.0))
                again = max(pause, self._again.pop(item.name, math.inf))
                self._due[item.name] = min(again, max(now + wait, pause))

    def wake(self, names: Collection[str], now: float) -> set[str]:
        """Make items due: a person said something about them. Return those that were not."""
        with self._lock:
            return {name for name in names if self._sooner(name, now)}

    def hint(self, name: str, now: float, after: float = 0.0) -> bool:
        """Make an item due in so many seconds: something may have changed. Say whether it was not so soon.

        It is looked at once in APART seconds at most, and not before a registry that asked us to stay away may be
        asked; what is hinted meanwhile makes it due then.
        """
        with self._lock:
            return self._sooner(name, max(now + after, self._rest.get(name, 0.0)))

    def overdue(self, now: float) -> set[str]:
        """Return what is due, and what will be once it is given back."""
        with self._lock:
            return {name for name, due in self._due.items() if due <= now} | set(self._again)

    def hosts_of(self, names: Iterable[str]) -> set[str]:
        """Return the registries that items ask."""
        return {self._host[name] for name in names if name in self._host}

    def _sooner(self, name: str, at: float) -> bool:
        due = self._due.get(name)
        if due is None:
            return False
        times = self._again if due == math.inf else self._due  # somebody has it, and would overwrite its time
        if times.get(name, math.inf) <= at:
            return False
        times[name] = at
        return True


def host_of(item: Item) -> str:
    """Return the registry that an item asks."""
    if item.exact:
        return item.exact.registry
    host = (item.pattern or "*").partition("/")[0]
    return "*" if "*" in host or "?" in host else host


def jitter(item: Item, turn: int) -> float:
    """Return the seconds added to an interval, from 0 to the item's jitter."""
    return zlib.crc32(f"{item.name} {turn}".encode()) / 2**32 * item.poll_jitter


def _left(item: Item, poll: Poll, wall: datetime) -> float:
    """Seconds until an item is due, by what was stored; never more than its interval, whatever the wall clock did."""
    if poll.failures:
        pause = (poll.retry_at - wall).total_seconds() if poll.retry_at else 0.0
        return min(max(0.0, pause), item.poll_interval)
    passed = (wall - poll.at).total_seconds()
    return 0.0 if passed < 0 else max(0.0, item.poll_interval + jitter(item, 0) - passed)
