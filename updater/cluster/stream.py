"""Changes of the objects of a kind as they come: one JSON document a line, with the place in the stream.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from updater.cluster.answers import Question, meaning, read_status
from updater.cluster.sockets import Exchange
from updater.cluster.wire import NoAnswer
from updater.errors import Unreachable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """`ADDED`, `MODIFIED` or `DELETED`, and the object as it is, or was last.

    line  a JSON document whose `object` it is, as it came; empty where that says less than `object`
    """

    type: str
    object: Json = field(repr=False)
    line: bytes = field(default=b"", repr=False, compare=False)


class Watch:
    """An iterable of changes, to be gone through once; `resource_version` is the place up to which it was read.

    Bookmarks move the place and are no changes.
    """

    def __init__(
        self,
        lines: AbstractContextManager[Iterator[bytes]],
        exchange: Exchange,
        question: Question,
        *,
        resource_version: str,
        named: Callable[[Json], Json],
        stop: Callable[[], bool],
    ) -> None:
        self._lines, self._exchange, self._question = lines, exchange, question
        self._stop, self._named = stop, named
        self.resource_version = resource_version
        self.lines = 0  # how many came, bookmarks with them

    def __iter__(self) -> Iterator[Change]:
        try:
            with self._lines as lines:
                for line in lines:
                    if self._stop():
                        return
                    change = self._read(line)
                    if change is not None:
                        yield change
        except (NoAnswer, Unreachable) as err:
            if self._exchange.was_cut:
                return
            if isinstance(err, NoAnswer):
                raise Unreachable(f"{self._question}: {err}") from err
            raise

    def close(self) -> None:
        """End it at once, from any thread."""
        self._exchange.cut()

    def _read(self, line: bytes) -> Change | None:
        """Read one line, and move on. Raises what an ERROR in it means."""
        if not line.strip():
            return None
        try:
            document = json.loads(line)
            kind, found = document["type"], document["object"]
            if not isinstance(found, dict):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Unreachable(f"{self._question}: a change that cannot be read") from None
        if kind == "ERROR":
            raise meaning(read_status(found), self._question)
        self.lines += 1
        metadata = found.get("metadata")
        place = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if isinstance(place, str) and place:
            self.resource_version = place
        whole = "apiVersion" in found and "kind" in found
        return None if kind == "BOOKMARK" else Change(str(kind), self._named(found), line if whole else b"")
