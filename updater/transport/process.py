"""Children: what every process that we start shares.

* Its environment is an allow-list; it never sees ours.
* It leads a group of its own (`start_new_session=True`), and the whole group is ended, not only its leader.
* It has one total deadline, and bounds on what it may print. Feeding and reading happen together, so that a child
  which prints while it reads never blocks.
* There is no shell: argv is a list.

Starting is left to the caller (GitPython has its own way to do it); `finish` does everything after that.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Self

# Where programs are found, time zones, scratch space, and the usual proxy and certificate settings.
ALLOWED = frozenset({"PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}) | {
    spelled for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for spelled in (name, name.upper())
}
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
MAX_STDERR = 1 << 16  # bytes kept of the end of standard error
_CHUNK = 1 << 16

_running: set[int] = set()
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. `cut` says why we ended it, and is empty where it ended by itself."""

    code: int
    stdout: bytes
    stderr: bytes
    cut: str = ""


def outside(environment: Mapping[str, str], allowed: frozenset[str] = ALLOWED) -> tuple[str, ...]:
    """Return the names of the variables that a child must not see."""
    return tuple(name for name in environment if name not in allowed)


def finish(
    process: subprocess.Popen[bytes],
    data: bytes = b"",
    *,
    seconds: float,
    max_output: int,
    sink: Callable[[bytes], None] | None = None,
) -> Finished:
    """Feed `data` to a child that leads its own group, read what it prints, reap it, and end what is left of its group.

    `stdout` holds at most `max_output` bytes: a child that prints more is ended, as one that takes more than `seconds`.
    With a `sink`, standard output goes there piece by piece instead, under the same bound.
    """
    end = time.monotonic() + seconds
    with _registered(process), _Pipes(process, data, max_output, sink) as pipes:
        try:
            pipes.pump(end)
            cut = _why(pipes, seconds, max_output)
            if not pipes.gone:
                _signal(process, signal.SIGTERM)
                pipes.pump(time.monotonic() + GRACE)
        finally:
            # The leader is not reaped yet, so its number still names its group and nothing else.
            _signal(process, signal.SIGKILL)
            with _guard:
                _running.discard(process.pid)
            process.wait()
        pipes.drain()
        return Finished(process.returncode, bytes(pipes.out), bytes(pipes.err), cut or _why(pipes, seconds, max_output))


def end_children() -> None:
    """Ask every running child and its group to end, as a daemon that stops does; their callers see how they ended."""
    with _guard:
        for pid in _running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)


def _why(pipes: _Pipes, seconds: float, max_output: int) -> str:
    if pipes.overflow:
        return f"it printed more than {max_output} bytes"
    return "" if pipes.gone else f"it took more than {seconds:g} s"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: only zombies are left (macOS)
        os.killpg(process.pid, number)


@contextlib.contextmanager
def _registered(process: subprocess.Popen[bytes]) -> Iterator[None]:
    with _guard:
        _running.add(process.pid)
    try:
        yield
    finally:
        with _guard:
            _running.discard(process.pid)


class _Pipes:
    """The three pipes of a child and its end, as one selector."""

    def __init__(
        self, process: subprocess.Popen[bytes], data: bytes, limit: int, sink: Callable[[bytes], None] | None
    ) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.gone = self.overflow = False
        self._limit, self._seen, self._sink = limit, 0, sink or self.out.extend
        self._left = memoryview(data)
        self._files = [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe]
        self._selector = selectors.DefaultSelector()
        self._pidfd = os.pidfd_open(process.pid)
        self._selector.register(self._pidfd, selectors.EVENT_READ, self._exited)
        self._register(process.stdout, selectors.EVENT_READ, self._read_out)
        self._register(process.stderr, selectors.EVENT_READ, self._read_err)
        if process.stdin and not data:
            process.stdin.close()
        else:
            self._register(process.stdin, selectors.EVENT_WRITE, self._write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        os.close(self._pidfd)
        for pipe in self._files:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def pump(self, end: float) -> None:
        """Move bytes until the leader has exited, it printed too much, or the monotonic clock shows `end`."""
        while not self.gone and (left := end - time.monotonic()) > 0:
            before = self.overflow
            for key, _ in self._selector.select(left):
                key.data(key.fileobj)
            if self.overflow and not before:
                return

    def drain(self) -> None:
        """Read what is left in the pipes of a child that is gone, without waiting for anyone who still holds them."""
        waiting = [key for key in list(self._selector.get_map().values()) if key.events == selectors.EVENT_READ]
        for key in waiting:
            if key.fileobj != self._pidfd:
                while key.data(key.fileobj):
                    pass

    def _register(self, pipe: IO[bytes] | None, event: int, handler: Callable[[IO[bytes]], bool]) -> None:
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, event, handler)

    def _exited(self, _: int) -> None:
        self.gone = True

    def _read(self, pipe: IO[bytes]) -> bytes:
        try:
            chunk = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:
            self._selector.unregister(pipe)
        return chunk

    def _read_out(self, pipe: IO[bytes]) -> bool:
        chunk = self._read(pipe)
        kept = chunk[: max(0, self._limit - self._seen)]
        self._seen += len(chunk)
        self.overflow = self.overflow or self._seen > self._limit
        if kept:
            self._sink(kept)
        return bool(chunk)

    def _read_err(self, pipe: IO[bytes]) -> bool:
        chunk = self._read(pipe)
        self.err += chunk
        del self.err[:-MAX_STDERR]
        return bool(chunk)

    def _write(self, pipe: IO[bytes]) -> bool:
        try:
            self._left = self._left[os.write(pipe.fileno(), self._left[:_CHUNK]) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self._selector.unregister(pipe)
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return bool(self._left)
