"""Answers that are made once for each ring of the bell, however many ask for them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from updater.daemon.desk import Bell

SHORT = 2.0  # seconds that an answer holds without a ring: the time is part of it
SHARE = 10  # times what it took to make one that it holds in any case
MOST = 256  # answers that are kept
BYTES = 8 << 20  # of those that are bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answer:
    """Something that was made: at which ring, when, and how long that took."""

    serial: int
    at: float
    cost: float
    value: Any

    @property
    def size(self) -> int:
        return len(self.value) if isinstance(self.value, bytes) else 0

    def holds(self, serial: int) -> bool:
        age = time.monotonic() - self.at
        return age < SHARE * self.cost or (serial == self.serial and age < SHORT)


class Kept:
    """What was asked for last; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._turns: dict[Hashable, threading.Lock] = {}

    def get(self, bell: Bell, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept while it holds, else make it; who asks meanwhile waits for who makes it.

        What takes long to make is not made at each ring: it would take the time of everybody else.
        """
        found, turn = self._find(key, bell.serial)
        if found is None:
            with turn:
                found, _ = self._find(key, bell.serial)
                if found is None:
                    found = self._made(key, bell.serial, make)
        value: T = found.value
        return value

    def forget(self) -> None:
        """Make everything anew when it is next asked for: who had something done wants to see it."""
        with self._lock:
            self._answers.clear()
            self._turns.clear()

    def _find(self, key: Hashable, serial: int) -> tuple[_Answer | None, threading.Lock]:
        with self._lock:
            found, turn = self._answers.get(key), self._turns.setdefault(key, threading.Lock())
            if found is not None:
                self._answers.move_to_end(key)
        return found if found is not None and found.holds(serial) else None, turn

    def _made(self, key: Hashable, serial: int, make: Callable[[], Any]) -> _Answer:
        start = time.monotonic()
        value = make()
        now = time.monotonic()
        answer = _Answer(serial, now, now - start, value)
        with self._lock:
            self._answers[key] = answer
            size = sum(one.size for one in self._answers.values())
            while len(self._answers) > MOST or (size > BYTES and len(self._answers) > 1):
                old, gone = self._answers.popitem(last=False)
                self._turns.pop(old, None)
                size -= gone.size
            if len(self._turns) > 2 * MOST:  # of answers that could not be made
                self._turns = {name: turn for name, turn in self._turns.items() if name in self._answers}
        return answer
