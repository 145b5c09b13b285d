"""A server on loopback that answers exactly the bytes that a test writes down: for servers that misbehave."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, str]:
        """Each field of a form once."""
        return dict(parse_qsl(self.body.decode("latin-1"), strict_parsing=True))


_TLS = b"\x16"  # how a client's greeting of TLS begins (RFC 8446, 5.1)

Answered = bytes | Iterable[bytes] | None
"""What to send and keep the connection; pieces as they come; None: reset the connection."""


def reply(status: int, body: object = b"", *headers: tuple[str, str]) -> bytes:
    """Spell a response; anything but bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers)]
    if "content-length" not in given:
        lines.append(f"Content-Length: {len(content)}")
    if "content-type" not in given and not isinstance(body, bytes):
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


class Waits:
    """Waits that take no time: the clock leaps over them, and `slept` holds how long they were."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.leapt = 0.0

    def now(self) -> float:
        return time.monotonic() + self.leapt

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.leapt += seconds


class Scripted:
    """Calls `script` for every request, in a thread for each connection; a context manager.

    `requests` holds what was asked; `stopped` ends waits inside a script.
    """

    def __init__(self, script: Callable[[Asked], Answered]) -> None:
        self.script = script
        self.requests: list[Asked] = []
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """How many there were so far."""
        return len(self._threads) - 1

    def drip(self, data: bytes, seconds: float) -> Iterable[bytes]:
        """Yield single bytes, so many seconds apart, until the server is stopped."""
        for byte in data:
            if self.stopped.wait(seconds):
                return
            yield bytes([byte])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if lines.peek(1)[:1] == _TLS:
                    return  # whoever greets so would wait for an answer for ever: the greeting may lack a line end
                while (asked := _read(lines.readline)) is not None:
                    asked = replace(asked, body=lines.read(int(asked.headers.get("content-length", "0"))))
                    self.requests.append(asked)
                    if not self._send(connection, self.script(asked)):
                        return
            except OSError:
                return  # the client hung up
            finally:
                self._open.discard(connection)

    def _send(self, connection: socket.socket, answered: Answered) -> bool:
        """Return whether the connection goes on."""
        if answered is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(answered, bytes):
            connection.sendall(answered)
            return True
        for piece in answered:
            connection.sendall(piece)
        return False

    def close(self) -> None:
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _read(readline: Callable[[], bytes]) -> Asked | None:
    first = readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while line := readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers)
