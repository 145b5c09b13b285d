"""HTTP/1.1 over TLS on loopback: one thread a connection, kept alive; as little as the clients of a cluster need.

No HTTP/2, no compression, no upgrades (exec, port-forward).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO

from updater.demo.cluster.asked import Answer, Asked, Cut, Drip, Fault, Hang, Stream, asked

MAX_BODY = 64 << 20  # bytes that are read at all
_MAX_LINE = 1 << 16
_REASONS = {status.value: status.phrase for status in HTTPStatus}

Handle = Callable[[Asked, str], "Fault | Stream"]  # the request, and the client certificate's common name


class Wire:
    """Accepts connections until `close`, and gives each request to `handle`. Up from the start."""

    def __init__(self, handle: Handle, certificate: tuple[Path, Path], authority: Path, port: int) -> None:
        self._handle = handle
        self.stopped = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)
        self._tls.load_verify_locations(authority)
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cuts = 0
        self.connections = 0
        self.port = port
        self.up()

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), daemon=True, name="cluster")
        self._thread.start()

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        with contextlib.suppress(OSError):  # some systems refuse this for a socket that listens
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        self.cut()

    def close(self) -> None:
        """Stop for good."""
        self.stopped.set()
        self.down()

    def cut(self) -> None:
        """Cut every open connection; new ones are welcome."""
        with self._lock:
            self._cuts += 1
            for connection in self._open:
                _shut(connection)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._open.add(connection)
                self.connections += 1
                args = (connection, self._cuts)
            threading.Thread(target=self._serve, args=args, daemon=True, name="cluster-connection").start()

    def _serve(self, plain: socket.socket, cuts: int) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = wrapped = self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                self._open.discard(plain)
                self._open.add(wrapped)
                is_cut = cuts != self._cuts
            if not is_cut:
                wrapped.do_handshake()
                _Connection(self, wrapped, self._handle).serve()
        except OSError:
            pass  # a client that went away, or does not trust the certificate, is its own affair
        finally:
            with self._lock:
                self._open -= {plain, connection}
            connection.close()


def _shut(connection: socket.socket) -> None:
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already


class _Malformed(Exception):
    """A request that can't be read; the connection ends."""


class _Connection:
    def __init__(self, wire: Wire, connection: ssl.SSLSocket, handle: Handle) -> None:
        self._wire, self._connection, self._handle = wire, connection, handle
        self._user = _common_name(connection)

    def serve(self) -> None:
        """Answer requests one after another."""
        with self._connection.makefile("rb") as reading:
            while not self._wire.stopped.is_set():
                try:
                    request = self._request(reading)
                except (_Malformed, ValueError):
                    self._send(Answer(400, b"malformed request", media="text/plain"), close=True)
                    return
                if request is None:
                    return
                close = request.headers.get("connection", "").lower() == "close"
                if not self._do(self._handled(request), request, close=close) or close:
                    return

    def _handled(self, request: Asked) -> Fault | Stream:
        try:
            return self._handle(request, self._user)
        except Exception:  # noqa: BLE001 - a bug of the stand-in must be seen, and must not look like a hang
            sys.excepthook(*sys.exc_info())
            return Answer(500, b"the stand-in failed", media="text/plain")

    def _request(self, reading: IO[bytes]) -> Asked | None:
        """Read one request; None where the client is gone."""
        line = reading.readline(_MAX_LINE)
        if not line.strip():
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := reading.readline(_MAX_LINE)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = _chunks(reading)
        else:
            body = _exactly(reading, int(headers.get("content-length") or 0))
        return asked(method, target, headers, body)

    def _do(self, fault: Fault | Stream, request: Asked, *, close: bool) -> bool:
        """Send an answer, or fail as told; return whether the connection goes on."""
        match fault:
            case Answer():
                self._send(fault, close=close, bodiless=request.method == "HEAD")
                return True
            case Stream():
                self._stream(fault)
                return True
            case Drip(answer, seconds):
                for byte in _spelled(answer, close=True):
                    self._connection.sendall(bytes((byte,)))
                    if self._wire.stopped.wait(seconds):
                        break
            case Hang():
                self._wire.stopped.wait()
            case Cut():
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def _send(self, answer: Answer, *, close: bool, bodiless: bool = False) -> None:
        self._connection.sendall(_spelled(answer, close=close, bodiless=bodiless))

    def _stream(self, stream: Stream) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {stream.media}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        self._connection.sendall(head)
        for part in stream.parts:
            if part:
                self._connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        self._connection.sendall(b"0\r\n\r\n")


def _spelled(answer: Answer, *, close: bool, bodiless: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.code} {_REASONS.get(answer.code, '')}",
        f"Content-Type: {answer.media}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-cache, private",
        *(f"{name}: {value}" for name, value in answer.headers),
        *(("Connection: close",) if close else ()),
    ]
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + (b"" if bodiless else answer.body)


def _exactly(reading: IO[bytes], size: int) -> bytes:
    if size > MAX_BODY:
        raise _Malformed
    body = reading.read(size)
    if len(body) < size:
        raise ConnectionResetError
    return body


def _chunks(reading: IO[bytes]) -> bytes:
    body = bytearray()
    while size := int(reading.readline(32).partition(b";")[0], 16):
        if len(body) + size > MAX_BODY:
            raise _Malformed
        body += _exactly(reading, size)
        reading.readline(8)
    reading.readline(8)
    return bytes(body)


def _common_name(connection: ssl.SSLSocket) -> str:
    certificate = connection.getpeercert() or {}
    subject = certificate.get("subject", ())
    pairs = [pair for part in subject if isinstance(part, tuple) for pair in part if isinstance(pair, tuple)]
    return next((str(pair[1]) for pair in pairs if pair[0] == "commonName"), "")
