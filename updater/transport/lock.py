"""A lock between processes and threads that wakes its waiter, and gives up at a deadline."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


def acquire(path: Path, timeout: float) -> int | None:
    """Lock the file at `path`, made where it is missing; return its descriptor, or None after `timeout` seconds.

    0 does not wait. Closing the descriptor frees the lock; a child that inherited it keeps it for as long as it lives.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if timeout <= 0:
            os.close(descriptor)
            return None
        return _Waiter(descriptor).wait(timeout)
    return descriptor


class _Waiter:
    """flock has no timeout: a thread waits in it, and closes the descriptor itself when nobody wants it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._locked = threading.Event()
        self._abandoned = False

    def wait(self, timeout: float) -> int | None:
        threading.Thread(target=self._lock, name="lock", daemon=True).start()
        self._locked.wait(timeout)
        with self._guard:
            self._abandoned = not self._locked.is_set()
        return None if self._abandoned else self._descriptor

    def _lock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._guard:
            if self._abandoned:
                os.close(self._descriptor)
            else:
                self._locked.set()
