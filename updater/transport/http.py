"""HTTP for every outgoing connection but Git's: bounded in time and bytes, and no state that could leak.

The only module that imports httpx. What it promises, and why not plain httpx:

* A total deadline. httpx's timeouts are per read, so a server that drips bytes holds a caller for as long as it
  likes, also within the headers. Here every step gets only the time that is left (transport/sockets.py).
* A cap on the bytes of a body. `Accept-Encoding: identity` is asked for and any other encoding refused, because
  64 KiB of gzip inflate to 64 MiB in one step.
* No cookies, no redirects, no credentials kept anywhere: what a request does not carry is not sent.
* An address guard: where somebody else named the host, only addresses of the given kinds are connected to, over
  connections that are shared with nobody who may reach more (transport/addresses.py).
* TLS is verified against the system's trust and, where set, a private CA. One SSL context a CA file and process,
  made when the first https address is asked (21 ms of CPU each).
* Proxies as configured, else the usual *_PROXY variables, which never apply to loopback addresses.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import certifi
import httpcore
import httpx

from updater import __version__
from updater.errors import UpdaterError
from updater.secrets import remember
from updater.transport.addresses import Kind, kind_of
from updater.transport.proxies import Routes
from updater.transport.sockets import PEER, AddressRefused, BoundedBackend, until
from updater.transport.words import plain, without_secrets

_REACH = "updater.reach"  # a key of httpx's extensions, as PEER is
_HEADERS = {"User-Agent": f"updater/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
KEEP_ALIVE = 60.0  # seconds an idle connection is kept: common servers close at 60 to 75

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they log whole URLs, which may hold a webhook's secret


class TransportError(UpdaterError):
    """No usable answer came: what was asked of whom, and what happened instead.

    `retryable` is False where asking again cannot help: an untrusted certificate, an answer that is too large or
    encoded, a broken address.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `url` is the address that gave it; header names are case-insensitive.

    `peer` is the kind of address that it came from, None where a proxy stood in between.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    url: str
    peer: Kind | None = None

    def header(self, name: str) -> str | None:
        """The value of a header, several merged with commas."""
        value: str | None = self.headers.get(name)
        return value

    @property
    def kind(self) -> str:
        """What it says that its body is, in a few words for people."""
        return plain(self.header("content-type") or "no content type", 60)

    def values(self, name: str) -> list[str]:
        """Every value of a header that may come several times, unmerged."""
        return self.headers.get_list(name)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a host showed and we trust: who signed it, and until when it is good."""

    issuer: str
    until: datetime


class Http:
    """Sends requests. Threads share it; connections are kept alive in one pool for each proxy.

    `proxy` (http or https) wins over the environment; `no_proxy` lists hosts, domains, host:port, addresses or networks
    that are reached directly. `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        no_proxy: Sequence[str] = (),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._routes = Routes.configured(proxy, no_proxy) if proxy else Routes.from_environment(no_proxy)
        self._ca_file = ca_file
        # Not httpx.Client: it reads redirects even where it is to follow none, and fails at broken ones
        self._transport = transport or _Transport(ca_file, self._routes)

    def request(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        reach: frozenset[Kind] | None = None,
    ) -> Answer:
        """Send one request and read its answer whole, whatever its status.

        `deadline` is a time of time.monotonic(): nothing is waited for beyond it. A body of more than `max_bytes`
        is not read to its end. Only addresses of the kinds in `reach` are connected to, None: any; behind a proxy,
        which resolves names by itself, that holds for addresses in the URL alone. Raises TransportError.
        """
        asked = f"{method} {without_secrets(url, led=reach is not None)}"
        with _translated(asked), until(deadline):
            request = httpx.Request(
                method, url, headers=_HEADERS | dict(headers or {}), content=content, extensions={_REACH: reach}
            )
            if request.url.userinfo:
                next(httpx.BasicAuth(request.url.username, request.url.password).sync_auth_flow(request))
            response = self._transport.handle_request(request)
            try:
                body = _read(response, max_bytes, deadline, asked, head=method == "HEAD")
            finally:
                response.close()
        return Answer(response.status_code, response.headers, body, url, response.extensions.get(PEER))

    def proxied(self, scheme: str, host: str, port: int) -> bool:
        """Whether a proxy stands in between."""
        return self._routes.proxy(scheme, host, port) is not None

    def certificate(self, host: str, port: int, deadline: float) -> Certificate | None:
        """Return the certificate that a host shows, None behind a proxy.

        Raises TransportError, where it is not trusted too.
        """
        if self.proxied("https", host, port):
            return None
        with _translated(f"TLS with {host}:{port}"), until(deadline):
            connection = BoundedBackend().connect_tcp(host, port)
            try:
                connection = connection.start_tls(_tls_context(self._ca_file), host)
                shown = connection.get_extra_info("ssl_object").getpeercert()
            finally:
                connection.close()
        names = dict(pair for part in shown["issuer"] for pair in part)
        issuer = names.get("organizationName") or names.get("commonName") or "nobody named"
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
        return Certificate(issuer[:100], ends)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _read(response: httpx.Response, max_bytes: int, deadline: float, asked: str, *, head: bool) -> bytes:
    assert isinstance(response.stream, httpx.SyncByteStream)
    if head:
        deque(response.stream, maxlen=0)  # nothing comes, but only what was read to its end leaves its connection free
        return b""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise TransportError(
            f"{asked}: the answer is encoded as {encoding[:40]!r}, which was not asked for", retryable=False
        )
    too_large = TransportError(f"{asked}: the answer is larger than {max_bytes} bytes", retryable=False)
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    body = bytearray()
    for chunk in response.stream:  # raw bytes, as they came
        body += chunk
        if len(body) > max_bytes:
            raise too_large
        if time.monotonic() > deadline:  # a body that keeps coming never blocks a read
            raise httpcore.ReadTimeout
    return bytes(body)


@contextmanager
def _translated(asked: str) -> Iterator[None]:
    """Turn what httpx and httpcore raise into TransportError."""
    try:
        yield
    except (httpcore.TimeoutException, httpx.TimeoutException) as err:
        phase = "connecting" if isinstance(err, httpcore.ConnectTimeout | httpx.ConnectTimeout) else "waiting"
        raise TransportError(f"{asked}: no answer in time ({phase})") from err
    except (
        httpx.InvalidURL,
        httpx.UnsupportedProtocol,
        httpcore.UnsupportedProtocol,
        httpcore.LocalProtocolError,
        UnicodeError,  # what httpx raises of an `xn--` with nothing usable behind it
    ) as err:
        raise TransportError(f"{asked}: not an address that can be asked", retryable=False) from err
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpx.TransportError) as err:
        if isinstance(err, AddressRefused):
            raise TransportError(f"{asked}: {err}", retryable=False) from err
        if isinstance(untrusted := _cause(err), ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({untrusted.verify_message}); a private CA belongs into ca_file"
            raise TransportError(f"{asked}: {why}", retryable=False) from err
        raise TransportError(f"{asked}: {str(err)[:200] or type(err).__name__}") from err


def _cause(err: BaseException) -> BaseException:
    """Return the first error of the chain."""
    seen = err
    while (deeper := seen.__cause__ or seen.__context__) is not None:
        seen = deeper
    return seen


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return this process's context for the CA file as it is now. Raises TransportError when it cannot be read."""
    try:
        return _tls_context_of(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)
    except (OSError, ssl.SSLError) as err:
        raise TransportError(f"the CA file {ca_file} cannot be used: {err.strerror or err}", retryable=False) from err


@cache
def _tls_context_of(ca_file: Path | None, _changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))):
        context.load_verify_locations(certifi.where())  # a bare machine without ca-certificates
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


_Way = tuple[str, str | None, frozenset[Kind] | None]  # scheme, proxy, reach


class _Transport(httpx.BaseTransport):
    """Hands httpx's requests to httpcore's pools: one for each scheme, proxy and reach, made when first needed."""

    def __init__(self, ca_file: Path | None, routes: Routes) -> None:
        self._ca_file, self._routes = ca_file, routes
        self._pools: dict[_Way, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if not url.host or port > 65535:  # the resolver takes it modulo 65536
            raise httpx.InvalidURL("no such host or port")
        proxy, reach = self._routes.proxy(url.scheme, url.host, port), request.extensions.get(_REACH)
        if proxy is not None and reach is not None and (kind := kind_of(url.host)) not in {None, *reach}:
            raise AddressRefused(f"{url.host} is a {kind} address, where this server may not lead us")
        pool = self._pool(url.scheme, proxy, reach if proxy is None else None)
        assert isinstance(request.stream, httpx.SyncByteStream)
        answer = pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        assert isinstance(answer.stream, Iterable)
        extensions = {PEER: _peer(answer) if proxy is None else None}
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=extensions)

    def _pool(self, *way: *_Way) -> httpcore.ConnectionPool:
        with self._lock:
            pool = self._pools.get(way)
            if pool is None:
                pool = self._pools[way] = self._new_pool(*way)
            return pool

    def _new_pool(self, scheme: str, proxy: str | None, reach: frozenset[Kind] | None) -> httpcore.ConnectionPool:
        """Make a pool without a bound on its connections.

        Callers bound themselves, and one slow host must not take the connections of the others.
        """
        context = _tls_context(self._ca_file) if scheme == "https" or (proxy or "").startswith("https:") else None
        options: dict[str, Any] = {
            "ssl_context": context, "network_backend": BoundedBackend(reach),
            "max_connections": None, "keepalive_expiry": KEEP_ALIVE,
        }  # fmt: skip
        if proxy is not None:
            options["proxy"] = _proxy(proxy, context)
        return httpcore.ConnectionPool(**options)

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _peer(answer: httpcore.Response) -> Any:
    """Return the kind of address at the other end of an answer's connection."""
    stream = answer.extensions.get("network_stream")
    return stream.get_extra_info(PEER) if stream is not None else None


def _proxy(text: str, context: ssl.SSLContext | None) -> httpcore.Proxy:
    """Read a proxy's address; `host:port` alone means http. Raises TransportError."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TransportError("the proxy's address is not one of http:// or https://", retryable=False)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = None
    if parts.username is not None:
        remember(password := unquote(parts.password or ""))
        login = (unquote(parts.username).encode(), password.encode())
    tls = context if parts.scheme == "https" else None
    return httpcore.Proxy(f"{parts.scheme}://{host}:{port}", auth=login, ssl_context=tls)
