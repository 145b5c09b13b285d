"""An OCI registry in a thread: the read and push paths of the distribution API, small but real.

It pages its tag lists, checks every digest, asks for a login where one is set, and remembers what it was asked.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from updater.demo.distribution import Api, Content, Door, error
from updater.demo.image import push_image

__all__ = ["EmbeddedRegistry", "Request", "push_image"]

MAX_BODY = 64 << 20  # bytes of one request


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came, and the status of its answer."""

    method: str
    path: str
    authorization: str
    status: int


class EmbeddedRegistry:
    """Serves on loopback until `close`; a context manager.

    folder           where it keeps its content; without one everything is in memory
    login, auth      user name and password that it asks for, and how: Basic, or Bearer with its own token service
    anonymous_pull   whether the token service lets everyone pull
    token_seconds    how long a token lives
    tls              files of certificate and key
    page_size        tags in a page at most; None: as many as the client asks for
    requests         what it was asked, in the order of the answers
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        login: tuple[str, str] | None = None,
        auth: Literal["basic", "token"] = "basic",
        anonymous_pull: bool = False,
        token_seconds: float = 300,
        tls: tuple[Path, Path] | None = None,
        page_size: int | None = None,
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        self.content = Content(folder)
        self.door = Door(login, auth, anonymous_pull, token_seconds)
        self._server = _Server(Api(self.content, self.door, page_size), self.requests, port, tls)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.door.realm = f"{self.url}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="registry")
        self._thread.start()

    def seed(self, repository: str, tags: Sequence[str], digest: str | None = None) -> str:
        """Add tags of one manifest directly: that of `digest`, else that of a new small image. Return the digest."""
        return self.content.seed(repository, tags, digest)

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, api: Api, requests: list[Request], port: int, tls: tuple[Path, Path] | None) -> None:
        self.api, self.requests = api, requests
        self._open: set[socket.socket] = set()
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; the handshake happens with the first read, in the connection's own thread."""
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Shut every open connection, whose thread then ends."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is gone already

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or does not trust the certificate, is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the registry keeps its requests."""

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            reply = error(413, "SIZE_INVALID", f"more than {MAX_BODY} bytes", ("Connection", "close"))
        else:
            reply = self.server.api.answer(self.command, self.path, self.headers, body)
        asked = Request(self.command, self.path, self.headers.get("Authorization", ""), reply.status)
        self.server.requests.append(asked)
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
            self.send_header(name, value)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes | None:
        """Read the whole body, so that the connection can go on; None when it is too large."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length) if length <= MAX_BODY else None
        body = bytearray()
        while size := int(self.rfile.readline(32).partition(b";")[0], 16):
            if len(body) + size > MAX_BODY:
                return None
            body += self.rfile.read(size)
            self.rfile.readline(8)
        self.rfile.readline(8)
        return bytes(body)
