"""A further request over a connection that is open: odd answers are read as they are over a new one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from updater.cluster.kept import spelled
from updater.cluster.sockets import Exchange
from updater.cluster.wire import Answer, Cut, Identity, NoAnswer, Request, Server, Wire

FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
MAX = 100
PATIENCE = 10.0


class Raw:
    """A server that answers the first request of a connection usually, and each further one with these pieces."""

    def __init__(self, *pieces: bytes, ends: bool = False) -> None:
        self._pieces, self._ends = pieces, ends
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting = [[FIRST], self._pieces]
            while found := self._request(sock):
                self.requests.append(found)
                for piece in waiting.pop(0) if len(waiting) > 1 else waiting[0]:
                    sock.sendall(piece)
                    time.sleep(0.01)  # so that they come apart
                if self._ends and len(self.requests) == 2:
                    return

    def _request(self, sock: socket.socket) -> bytes:
        found = b""
        while not found.endswith((b"\r\n\r\n", b"body")):
            piece = sock.recv(4096)
            if not piece:
                return b""
            found += piece
        return found


@contextmanager
def second(*pieces: bytes, ends: bool = False) -> Iterator[tuple[Raw, Wire]]:
    """Yield a server, and what has asked it once and holds a connection."""
    server = Raw(*pieces, ends=ends)
    wire = Wire(Server(server.url), connections=2)
    try:
        assert asked(wire).body == b"first"
        yield server, wire
    finally:
        wire.close()
        server.close()


def asked(wire: Wire, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    request = Request(method, "/some/path?with=query", MAX, headers, body)
    return wire.send(request, Exchange(time.monotonic() + PATIENCE), Identity())


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"], 200, b"abcde"),
        ([b"HTTP/1.1 404 Not Found\r\ncontent-length:5\r\n\r\n", b"abcde"], 404, b"abcde"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"c", b"de"], 200, b"abcde"),
        ([b"HTTP/1.1 200", b" OK\r\nContent-", b"Length: 5\r\n", b"\r\nabcde"], 200, b"abcde"),
        ([CHUNKS], 200, b"abcde"),
        ([CHUNKS[:60], CHUNKS[60:]], 200, b"abcde"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na"], 201, b"a"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nabcde"], 200, b"abcde"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b""),
    ],
)
def test_an_answer_is_read_however_it_is_framed(pieces: Sequence[bytes], status: int, body: bytes) -> None:
    with second(*pieces) as (server, wire):
        found = [asked(wire), asked(wire)]
        assert [(one.status, one.body) for one in found] == [(status, body)] * 2
        assert server.connections == 1


def test_headers_count_in_any_letters_and_those_that_come_again_are_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nwarning: 299 - one\r\nWARNING:299 - two\r\ncontent-LENGTH: 5\r\n\r\n"
    with second(head, b"abcde") as (_, wire):
        headers = asked(wire).headers
        assert headers["Warning"] == headers.get("warning") == "299 - one, 299 - two"
        assert ("Content-Length" in headers, "Retry-After" in headers) == (True, False)
        assert headers.get("Retry-After", "") == ""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdeHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ],
)
def test_a_connection_that_is_to_end_or_that_says_too_much_is_not_used_again(answer: bytes) -> None:
    with second(answer) as (server, wire):
        assert asked(wire).body == b"abcde"
        assert asked(wire).body == b"first"
        assert server.connections == 2


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    with second(b"HTTP/1.1 200 OK\r\n\r\n", b"abcde", ends=True) as (server, wire):
        assert asked(wire).body == b"abcde"
        assert asked(wire).body == b"first"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "why", "reset"),
    [
        (b"", "the connection broke", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabcde", "cut off", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nabcde", "the connection broke", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, "larger than 100 bytes", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 101, "larger than 100 bytes", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + b"x" * 255, "larger than 100 bytes", False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "encoded as 'gzip'", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the connection broke", True),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Much: y\r\n" * 200 + b"\r\n", "the connection broke", True),
    ],
)
def test_an_answer_that_cannot_be_used_says_so(answer: bytes, why: str, *, reset: bool) -> None:
    with second(answer, ends=True) as (_, wire):
        with pytest.raises(NoAnswer, match=why) as raised:
            asked(wire)
        assert raised.value.reset is reset
        assert asked(wire).body == b"first"


def test_what_is_sent_is_what_was_asked_for() -> None:
    with second(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (server, wire):
        asked(wire, "PATCH", b"the body", Authorization="Bearer token")
        head, _, body = server.requests[1].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "PATCH /some/path?with=query HTTP/1.1"
        assert {"Host: " + server.url.removeprefix("http://"), "Authorization: Bearer token", "Content-Length: 8",
                "Accept-Encoding: identity"} < set(lines)  # fmt: skip
        assert body == b"the body"


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a b", {}),
        ("/a\r\nX: y", {}),
        ("/ä", {}),
        ("/a", {"X": "y\r\nZ: z"}),
        ("/a", {"X": "y\nZ: z"}),
        ("/a", {"X": "ä"}),
    ],
)
def test_a_request_that_could_be_two_is_left_to_others(target: str, headers: dict[str, str]) -> None:
    assert spelled("GET", target, "host", headers, None) is None


def test_another_thread_cuts_it() -> None:
    with second() as (_, wire):
        exchange = Exchange(time.monotonic() + PATIENCE)
        cutting = threading.Timer(0.05, exchange.cut)
        cutting.start()
        with pytest.raises(Cut):
            wire.send(Request("GET", "/", MAX, {}), exchange, Identity())
        cutting.join()
        assert exchange.left() > 0
