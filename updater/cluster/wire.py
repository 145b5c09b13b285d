"""Requests to one API server: bounded in time and bytes, over the official client's REST layer and pool.

It opens the connections, and reads streams; further requests over an open one, most of all, go as in kept.py.
Answers are plain dicts: the models of the official client cost more than the requests. Nothing is followed, nothing
is kept: no redirects, no cookies, no retries that the caller does not know of.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import certifi
import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as LateError,
)

from updater import __version__
from updater.cluster.kept import BUFFER, answered, spelled
from updater.cluster.sockets import POOLS, Exchange, Pool, TlsSocket, begin
from updater.errors import UpdaterError
from updater.secrets import remember

_PIECE = 1 << 16  # bytes read at once from a stream


class NoAnswer(UpdaterError):
    """What happened instead of an answer. `reset`: the connection broke, as a kept one does when its other end goes."""

    def __init__(self, message: str, *, reset: bool = False) -> None:
        super().__init__(message)
        self.reset = reset


class Cut(NoAnswer):
    """We ended it ourselves."""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` comes with its query. Of the answer, and of each line of a stream, `max_bytes` are read at most."""

    method: str
    path: str
    max_bytes: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """Where an API server is, and what proves that it is the one.

    authority   its CA as PEM; empty: the system's authorities
    verify      False: whoever answers is believed
    name        the name that its certificate is for, where it is not the one in the address
    proxy       the address of an http(s) proxy, empty for none
    """

    url: str
    authority: str = ""
    verify: bool = True
    name: str = ""
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate with its chain, and its key, as PEM; both empty for none."""

    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


class Wire:
    """The connections to one server. Threads share it; `connections` are kept, more are made where they are needed."""

    def __init__(self, server: Server, *, connections: int) -> None:
        self.server = server
        self._connections = connections
        # A proxy wants to hear the whole address; through a tunnel, as to the server itself, the path is enough.
        plain_proxy = server.proxy and server.url.startswith("http:")
        parts = urlsplit(server.url)
        self._base = server.url.rstrip("/") if plain_proxy else parts.path.rstrip("/")
        usual = parts.port in {None, 443 if parts.scheme == "https" else 80}
        address = parts.netloc.rpartition("@")[2]
        self._host = "" if plain_proxy else address.rpartition(":")[0] if usual and parts.port else address
        self._lock = threading.Lock()
        self._rest: RESTClientObject | None = None
        self._pool: Pool | None = None
        self._identity = Identity()
        self._closed = False

    def send(self, request: Request, exchange: Exchange, identity: Identity) -> Answer:
        """Send one request and read its answer whole. Raises NoAnswer."""
        with _Translated(exchange), exchange.bounding():
            answer = self._again(request, exchange, identity)
            if answer is not None:
                return answer
            response = self._ask(request, exchange, identity)
            try:
                announced = (response.length_remaining or 0) > request.max_bytes
                data = b"" if announced else response.read(request.max_bytes + 1, decode_content=False)
            finally:
                exchange.done()
                response.close()  # of one that was read to its end, the connection is back in the pool already
        if announced or len(data) > request.max_bytes:
            raise _too_large(request)
        if response.length_remaining:
            raise NoAnswer("the answer was cut off", reset=True)
        return Answer(response.status, response.headers, data)

    def _again(self, request: Request, exchange: Exchange, identity: Identity) -> Answer | None:
        """Send a request over a connection that is open already; None where that does not go."""
        target = f"{self._base}{request.path}"
        sent = spelled(request.method, target, self._host, _headers(request), request.body) if self._host else None
        pool = self._connections_of(identity)
        connection = pool.kept() if sent is not None else None
        if sent is None or connection is None:
            return None
        usable = False
        try:
            begin(connection)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before
                connection.sock.sendall(sent)
            with connection.sock.makefile("rb", BUFFER) as file:
                status, headers, body, missing, stays = answered(file, request.method, request.max_bytes)
            if len(body) > request.max_bytes:
                raise _too_large(request)
            if missing:
                raise NoAnswer("the answer was cut off", reset=True)
            _as_asked(headers)
            usable = stays
        finally:
            exchange.done()
            pool.back(connection, usable=usable)
        return Answer(status, headers, body)

    @contextlib.contextmanager
    def stream(
        self, request: Request, exchange: Exchange, identity: Identity
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Send one request and give its answer, whose body is there where the status is not 200, and its lines else.

        Raises NoAnswer, also from the lines: one is too large, the connection breaks, or the time is over.
        """
        with _Translated(exchange), exchange.bounding():
            response = self._ask(request, exchange, identity)
        try:
            with _Translated(exchange), exchange.bounding():
                body = b"" if response.status == 200 else response.read(request.max_bytes, decode_content=False)
            yield Answer(response.status, response.headers, body), _lines(response, exchange, request.max_bytes)
        finally:
            exchange.done()
            response.close()

    def close(self) -> None:
        """Close the connections; requests under way end by themselves."""
        with self._lock:
            rest, self._rest, self._closed = self._rest, None, True
        if rest is not None:
            rest.close()

    def _ask(self, request: Request, exchange: Exchange, identity: Identity) -> urllib3.BaseHTTPResponse:
        response = self._connections_of(identity).urlopen(
            request.method,
            f"{self._base}{request.path}",
            body=request.body,
            headers=_headers(request),
            timeout=urllib3.Timeout(exchange.left()),  # every step is bounded in sockets.py; this is the first guess
            preload_content=False,
            redirect=False,
            retries=False,
            assert_same_host=False,  # it is ours; where a proxy is asked, urllib3 takes that for the host
        )
        try:
            _as_asked(response.headers)
        except NoAnswer:
            response.close()
            raise
        return response

    def _connections_of(self, identity: Identity) -> Pool:
        with self._lock:
            if self._closed:
                raise Cut("the client is closed")
            if self._pool is None or identity != self._identity:
                old, self._rest, self._identity = self._rest, self._connected(identity), identity
                self._pool = cast("Pool", self._rest.pool_manager.connection_from_url(self.server.url))
                if old is not None:
                    old.close()  # the connections that nobody uses; the others end with their requests
            return self._pool

    def _connected(self, identity: Identity) -> RESTClientObject:
        server = self.server
        configuration = Configuration(host=server.url, proxy="", no_proxy="")  # empty: not from the environment
        configuration.verify_ssl = server.verify
        configuration.tls_server_name = server.name or None
        configuration.connection_pool_maxsize = self._connections
        configuration.keep_alive = True
        configuration.retries = False
        if server.proxy:
            configuration.proxy, configuration.proxy_headers, context = _proxied(server.proxy)
            configuration.proxy_ssl_context = context
        rest = RESTClientObject(configuration)
        rest.pool_manager.pool_classes_by_scheme = POOLS
        if server.url.startswith("https:"):
            rest.pool_manager.connection_pool_kw["ssl_context"] = tls_context(server, identity)
        return rest


def _headers(request: Request) -> dict[str, str]:
    return {"User-Agent": f"updater/{__version__}", "Accept-Encoding": "identity", **request.headers}


def _as_asked(headers: Mapping[str, str]) -> None:
    """Raise NoAnswer where a body is encoded."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise NoAnswer(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")


def _too_large(request: Request) -> NoAnswer:
    return NoAnswer(f"the answer is larger than {request.max_bytes} bytes")


def tls_context(server: Server, identity: Identity) -> ssl.SSLContext:
    """Return what TLS to this server trusts and shows. Raises NoAnswer where a certificate or key cannot be used."""
    try:
        context = ssl.create_default_context(cadata=server.authority or None)
        if not server.authority:
            _trust_something(context)
        if not server.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if identity.certificate:
            _show(context, identity)
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        raise NoAnswer(f"its certificate authority or the client certificate cannot be used ({_why(err)})") from err
    context.sslsocket_class = TlsSocket
    return context


def _trust_something(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))):
        context.load_verify_locations(certifi.where())  # a bare machine without ca-certificates


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    """Load the client certificate: Python takes files alone, so it lies in one that is ours alone, for a moment."""
    with tempfile.TemporaryDirectory(prefix="updater-") as folder:  # 0700
        path = Path(folder, "identity.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{identity.certificate}\n{identity.key}\n")
        context.load_cert_chain(path, password=lambda: "")  # an encrypted key must not ask at the terminal


def _proxied(address: str) -> tuple[str, Mapping[str, str], ssl.SSLContext | None]:
    """Return the proxy's address without its login, the headers that log in there, and what TLS to it trusts."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    headers: Mapping[str, str] = {}
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        remember(password)
        headers = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}")
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        _trust_something(context)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", headers, context


def _lines(response: urllib3.BaseHTTPResponse, exchange: Exchange, max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a body as they come, without their ends; one that is cut off is no line."""
    waiting = b""
    while True:
        with _Translated(exchange), exchange.bounding():
            piece = response.read1(_PIECE, decode_content=False)
        if not piece:
            break
        *lines, waiting = (waiting + piece).split(b"\n")
        if len(waiting) > max_bytes or any(len(line) > max_bytes for line in lines):
            raise NoAnswer(f"a line of the answer is larger than {max_bytes} bytes")
        yield from lines
    if waiting.strip():
        raise NoAnswer("the answer was cut off", reset=True)


class _Translated:
    """Turns what urllib3 and sockets raise into NoAnswer."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        """There is nothing to do before."""

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, HTTPError | OSError):
            if self._exchange.was_cut:
                raise Cut("we ended it ourselves") from err
            raise _meaning(err) from err


def _meaning(err: Exception) -> NoAnswer:
    causes = list(_causes(err))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswer(f"its certificate is not trusted ({cause.verify_message})")
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return NoAnswer("its name cannot be resolved")
    late = [cause for cause in causes if not isinstance(cause, NewConnectionError)]  # which is one that is late, too
    if any(isinstance(cause, ConnectTimeoutError) for cause in late):
        return NoAnswer("no connection in time")
    if any(isinstance(cause, LateError | TimeoutError) for cause in late):
        return NoAnswer("no answer in time")
    if isinstance(err, ProxyError):
        return NoAnswer(f"its proxy does not let us through ({_why(causes[-1])})")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return NoAnswer("connection refused")
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return NoAnswer(f"no connection ({_why(causes[-1])})")
    if isinstance(err, SSLError | ssl.SSLError):
        return NoAnswer(f"TLS failed ({_why(causes[-1])})")
    reset = isinstance(err, ProtocolError | OSError)
    return NoAnswer(f"the connection broke ({_why(causes[-1])})", reset=reset)


def _causes(err: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, the first cause last."""
    seen: BaseException | None = err
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _why(err: BaseException) -> str:
    text = str(getattr(err, "strerror", None) or err)[:200]
    return "".join(letter if letter.isprintable() else " " for letter in text).strip() or type(err).__name__
