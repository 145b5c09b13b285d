"""The applications of one cluster by when they are due: each once, and nobody works on one that another thread has."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable

ROOM = 1_000  # entries of the heap, beside those that count, above which it is made anew


class Queue:
    """Due times are seconds of the monotonic clock; shared by threads.

    The heap holds an entry for each name that is due and nobody has, and others that count no more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._closed = False

    def add(self, name: str, at: float) -> None:
        """Make one due at a time, unless it is due sooner."""
        with self._changed:
            if at < self._due.get(name, float("inf")):
                self._due[name] = at
                self._push(name)

    def take(self) -> str | None:
        """Wait for the next that is due, and return it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                at, name = self._first()
                if at is not None and at <= time.monotonic():
                    heapq.heappop(self._heap)
                    del self._due[name]
                    self._busy.add(name)
                    return name
                self._changed.wait(None if at is None else at - time.monotonic())
            return None

    def rests(self) -> bool:
        """Say whether nothing is due now that nobody works on."""
        with self._changed:
            at, _ = self._first()
            return at is None or at > time.monotonic()

    def done(self, name: str) -> None:
        """Give one back."""
        with self._changed:
            self._busy.discard(name)
            if name in self._due:
                self._push(name)

    def forget(self, names: Iterable[str]) -> None:
        """Drop these."""
        with self._changed:
            for name in names:
                self._due.pop(name, None)

    def close(self) -> None:
        """Let every waiting thread go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _push(self, name: str) -> None:
        if name in self._busy:
            return  # who has it gives it back
        heapq.heappush(self._heap, (self._due[name], name))
        if len(self._heap) > 2 * len(self._due) + ROOM:
            self._heap = [(at, name) for name, at in self._due.items() if name not in self._busy]
            heapq.heapify(self._heap)
        self._changed.notify()

    def _first(self) -> tuple[float | None, str]:
        """Return the earliest that counts, which then is the first of the heap."""
        while self._heap:
            at, name = self._heap[0]
            if self._due.get(name) == at and name not in self._busy:
                return at, name
            heapq.heappop(self._heap)
        return None, ""
