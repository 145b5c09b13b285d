"""A memory of bounded size: what was used longest ago is forgotten first. It is never written to disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """Values by key; what they weigh together stays below `limit`. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._weight = 0
        self._guard = threading.Lock()

    def get(self, key: str) -> T | None:
        """Return a value, if it is still known."""
        with self._guard:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: str, value: T, weight: int) -> None:
        """Keep a value; not one that alone weighs too much."""
        with self._guard:
            if key in self._values:
                self._weight -= self._values.pop(key)[1]
            if weight > self._limit:
                return
            self._values[key] = (value, weight)
            self._weight += weight
            while self._weight > self._limit:
                self._weight -= self._values.popitem(last=False)[1][1]
