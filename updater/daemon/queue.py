"""The applications of one cluster by when they are due: each once, and nobody works on one that another thread has."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable


class Queue:
    """Due times are seconds of the monotonic clock; shared by threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._closed = False

    def add(self, name: str, at: float) -> None:
        """Make one due at a time, unless it is due sooner."""
        with self._changed:
            if at < self._due.get(name, float("inf")):
                self._due[name] = at
                self._changed.notify()

    def take(self) -> str | None:
        """Wait for the next that is due, and return it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                at, name = min(
                    ((at, name) for name, at in self._due.items() if name not in self._busy), default=(None, "")
                )  # fmt: skip
                if at is not None and at <= time.monotonic():
                    del self._due[name]
                    self._busy.add(name)
                    return name
                self._changed.wait(None if at is None else at - time.monotonic())
            return None

    def done(self, name: str) -> None:
        """Give one back."""
        with self._changed:
            self._busy.discard(name)
            self._changed.notify()

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
