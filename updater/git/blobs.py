"""Blobs as `git cat-file --batch` prints them, read piece by piece; what is too large never stands in memory."""

from __future__ import annotations

import hashlib


class Damaged(Exception):
    """What cat-file printed is not what was asked for: the object database is damaged."""


class Blobs:
    """Collects `found` (contents by object id), `missing` and `large` (object ids)."""

    def __init__(self, max_bytes: int) -> None:
        self.found: dict[str, bytes] = {}
        self.missing: list[str] = []
        self.large: list[str] = []
        self._max = max_bytes
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of output. Raises Damaged."""
        self._buffer += chunk
        while self._next():
            pass

    def _next(self) -> bool:
        """Take one object off the buffer; False when it is not whole yet."""
        if self._skip:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            return not self._skip
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        oid, kind, *size = self._buffer[:end].decode("ascii", "replace").split(" ")
        if kind == "missing":
            self.missing.append(oid)
            del self._buffer[: end + 1]
            return True
        return self._content(oid, int(size[0]), end + 1)

    def _content(self, oid: str, size: int, start: int) -> bool:
        if size > self._max:
            self.large.append(oid)
            del self._buffer[:start]
            self._skip = size + 1
            return True
        if len(self._buffer) < start + size + 1:
            return False
        content = bytes(self._buffer[start : start + size])
        # git checks an object against its name when it comes in, not when it is read.
        if hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest() != oid:
            raise Damaged(oid)
        self.found[oid] = content
        del self._buffer[: start + size + 1]
        return True
