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


class Agenda:
    """The due times of one configuration's items, in seconds of the monotonic clock; shared by threads."""

    def __init__(self, items: Iterable[Item], polls: Mapping[str, Poll], wall: datetime, now: float) -> None:
        self._lock = threading.Lock()
        self._turn = 0
        self._hosts: dict[str, list[Item]] = {}
        self._due: dict[str, float] = {}
        for item in items:
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
            return taken

    def done(
        self, items: Collection[Item], failures: Mapping[str, int], pauses: Mapping[str, float], now: float
    ) -> None:
        """Set the next turn of items that were looked at: by interval, or sooner after a failure.

        `failures` counts those in a row by item; `pauses` are seconds that a registry asked us to stay away.
        """
        with self._lock:
            self._turn += 1
            for item in items:
                wait = item.poll_interval + jitter(item, self._turn)
                if failures.get(item.name):
                    wait = min(wait, RETRY_BASE + backoff(failures[item.name], base=RETRY_BASE, cap=wait))
                self._due[item.name] = now + max(wait, pauses.get(item.name, 0.0))

    def wake(self, names: Collection[str], now: float) -> None:
        """Make items due: a person said something about them."""
        with self._lock:
            self._due |= {name: now for name in names if name in self._due}


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
