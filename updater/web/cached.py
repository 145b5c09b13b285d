"""What was rendered is kept until something changes: readers share it, and an ETag says that they have it already."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

MOST = 256  # answers that are kept
FRESH = 5.0  # seconds; what hangs on the time alone is as old as that at most


@dataclass(slots=True)
class _Kept:
    """One answer, and one thread at a time that makes it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    serial: int = -1
    at: float = float("-inf")
    body: bytes = b""


class Cache:
    """Bodies by what was asked for; shared by threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def body(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what was made since the last change, or make it; whoever asks meanwhile waits for that."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        with kept.lock:
            serial = self._desk.bell.serial
            if kept.serial != serial or time.monotonic() - kept.at > FRESH:
                kept.body = make()
                kept.serial, kept.at = serial, time.monotonic()
            return kept.body


def answer(request: Request, body: bytes, media_type: str) -> Response:
    """Return a body with its ETag, or that the reader has it already."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "")[:4096].split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers={"etag": etag})
    return Response(body, media_type=media_type, headers={"etag": etag})
