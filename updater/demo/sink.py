"""A sink on loopback that behaves as each messaging service does: addresses, signatures, limits, refusals.

Tests send to it, `updater demo` shows what it got, and `python -m updater.demo.sink` lets a person try a channel.
What the services' rules are, and what is left out of them, stands in updater/demo/services. It judges on its own:
nothing here knows how our notifiers work.
"""

from __future__ import annotations

import argparse
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from re import Match
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

from updater.demo.services import SERVICES
from updater.demo.services.base import (
    Answered,
    Arrived,
    Json,
    Limit,
    Meter,
    Received,
    Service,
    Setup,
    bearer,
    object_in,
    say,
    text_at,
)
from updater.demo.shown import shown
from updater.secrets import SecretRef

__all__ = ["Answered", "Arrived", "Cut", "Drip", "Fault", "Hang", "Limit", "MessageSink", "Received", "say", "shown"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
MAX_BODY = 4 << 20  # bytes of one request; no service takes as many


@dataclass(frozen=True, slots=True)
class Cut:
    """Reset the connection without an answer; `stored`: the service had taken the message by then."""

    stored: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing until the sink closes."""

    stored: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """Send an answer byte by byte, so many seconds apart."""

    answer: Answered
    seconds: float = 0.1
    stored: bool = False


Fault = Answered | Cut | Hang | Drip


class MessageSink:
    """Serves every service on one port of loopback until `close`; a context manager.

    script    called for every arrival in the thread of its connection; None: behave, else what to do instead. Such an
              arrival never reaches the service's rules, unless the fault says `stored`: then it is judged and kept
              as usual, and only the answer is another
    tokens    those that exist, of every service; None: any. How a service names its robots: DingTalk's access_token,
              WeCom's key, Slack's `T/B/X` or bearer token, Discord's `id/token`, ntfy's topic, the path of a webhook
    secrets   token -> secret, of those that have one: signing keys, ntfy's access token, Teams' sig
    keywords  token -> words, one of which a message must hold (DingTalk, Feishu)
    limits    service -> limits in place of its own; () for none
    clock     seconds since 1970, for limits and signatures
    arrivals  every request, whatever became of it
    """

    def __init__(
        self,
        *,
        script: Callable[[Arrived], Fault | None] | None = None,
        tokens: Collection[str] | None = None,
        secrets: Mapping[str, str] | None = None,
        keywords: Mapping[str, Sequence[str]] | None = None,
        limits: Mapping[str, Sequence[Limit]] | None = None,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        self.script, self.clock = script, clock
        self.arrivals: list[Arrived] = []
        self._messages: list[Received] = []
        self._setup = Setup(None if tokens is None else frozenset(tokens), secrets or {}, keywords or {})
        self._limits, self._meter = limits or {}, Meter()
        self._changed = threading.Condition()
        self._server = _Server(self, port)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True, name="sink")
        self._thread.start()

    @property
    def messages(self) -> list[Received]:
        """What was accepted until now, in order."""
        with self._changed:
            return list(self._messages)

    @property
    def texts(self) -> list[str]:
        """The accepted messages as readers see them."""
        return [shown(message) for message in self.messages]

    def wait(self, count: int, seconds: float = 10.0) -> list[Received]:
        """Return the accepted messages as soon as there are so many. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, seconds):
                raise TimeoutError(f"{len(self._messages)} messages came in {seconds:g} s, {count} were awaited")
            return list(self._messages)

    def answer(self, arrived: Arrived, service: Service | None) -> Fault:
        """Return what to do about an arrival; the message is kept where it is accepted."""
        with self._changed:
            self.arrivals.append(arrived)
        fault = self.script(arrived) if self.script else None
        if fault is None or fault.stored:
            judged = self._judge(arrived, service)
        return judged if fault is None else fault

    def _judge(self, arrived: Arrived, service: Service | None) -> Answered:
        if service is None:
            return say({"error": "no service has this path"}, 404)
        limits = self._limits.get(service.name, service.limits)
        with self._changed:
            if refused := service.refusal(arrived, self._setup, self._meter, limits):
                return refused
            kept = Received(
                arrived.service, arrived.token, arrived.path, arrived.document or {}, arrived.at, arrived.arrived
            )
            self._messages.append(kept)
            self._changed.notify_all()
            return service.taken(arrived, len(self._messages))

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._server.stopped.set()
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _found(path: str) -> tuple[Service | None, Match[str] | None]:
    for service in SERVICES:
        if match := service.route.fullmatch(path):
            return service, match
    return None, None


def _token(
    service: Service, found: Match[str], query: Mapping[str, str], headers: Message, document: Json | None
) -> str:
    """Return what names the robot, hook or topic, from where this service has it; empty where it is missing."""
    place, _, name = service.token.partition(" ")
    match place:
        case "path":
            return unquote(found["token"])
        case "query":
            return query.get(name, "")
        case "bearer":
            return bearer(headers)
        case _:
            return text_at(document, name)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, sink: MessageSink, port: int) -> None:
        self.sink = sink
        self.stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._reset: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def reset(self, connection: socket.socket) -> None:
        """Have the connection end with a reset, not with an orderly end."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._reset.add(connection)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        if request in self._reset:
            self._reset.discard(request)
            self.close_request(request)
            return
        super().shutdown_request(request)

    def cut(self) -> None:
        """Shut every open connection, whose thread then ends."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is gone already

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is its own affair; a script that fails is told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body in one packet
    server: _Server
    arrived = 0.0

    def parse_request(self) -> bool:
        """Note when the request line was there."""
        self.arrived = time.monotonic()
        return super().parse_request()

    def log_message(self, *_: object) -> None:
        """Say nothing: the sink keeps its arrivals."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length[:12]) > MAX_BODY:
            self.close_connection = True
            self._send(Answered(413, b"", (("Connection", "close"),)))
            return
        arrived, service = self._arrived(self.rfile.read(int(length)))
        self._do(self.server.sink.answer(arrived, service))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _arrived(self, body: bytes) -> tuple[Arrived, Service | None]:
        path, _, asked = self.path.partition("?")
        service, found = _found(path)
        query, document = dict(parse_qsl(asked)), object_in(body)
        token = _token(service, found, query, self.headers, document) if service and found else ""
        arrived = Arrived(
            service.name if service else "", token,
            self.command, path, query, self.headers, body, document, self.server.sink.clock(), self.arrived,
        )  # fmt: skip
        return arrived, service

    def _do(self, fault: Fault) -> None:
        match fault:
            case Answered():
                self._send(fault)
            case Drip(answer, seconds):
                self.close_connection = True
                self._send(answer, lambda: self.server.stopped.wait(seconds))
            case Hang():
                self.close_connection = True
                self.server.stopped.wait()
            case Cut():
                self.close_connection = True
                self.server.reset(self.connection)

    def _send(self, answer: Answered, pause: Callable[[], object] | None = None) -> None:
        """Send an answer whole, or byte by byte with a pause after each."""
        spelled = _spelled(answer, with_body=self.command != "HEAD")
        if pause is None:
            self.wfile.write(spelled)
            return
        for byte in spelled:
            self.wfile.write(bytes((byte,)))
            self.wfile.flush()
            pause()


def _spelled(answer: Answered, *, with_body: bool) -> bytes:
    """Return the response; one without content has no length either."""
    reason = _REASONS.get(answer.status, "")
    sized = () if answer.status == HTTPStatus.NO_CONTENT else (("Content-Length", str(len(answer.body))),)
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in (*answer.headers, *sized))]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (answer.body if with_body else b"")


def main() -> None:
    """Print what arrives, as its readers would see it, until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m updater.demo.sink", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--secret", action="append", default=[], metavar="TOKEN=env:NAME", help="of a robot or hook")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts it in the background has it ignored
    named = (entry.rpartition("=") for entry in given.secret)
    secrets = {token: SecretRef.parse(reference).resolve() for token, _, reference in named}
    with MessageSink(port=given.port, secrets=secrets) as sink:
        _tell(f"listening on {sink.url}")
        try:
            _follow(sink)
        except KeyboardInterrupt:
            _tell("ending")


def _follow(sink: MessageSink) -> None:
    seen = 0
    while True:
        try:
            messages = sink.wait(seen + 1, 3600)
        except TimeoutError:
            continue
        for message in messages[seen:]:
            _tell(f"\n--- {message.service} {time.strftime('%H:%M:%S', time.localtime(message.at))}\n{shown(message)}")
        seen = len(messages)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
