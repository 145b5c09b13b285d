"""Connections to a cluster that end in time, or when another thread says so.

The timeouts of urllib3 are per read, so a server that drips bytes could hold a caller for as long as it likes. Here
every step of a connection gets only the time that is left, within the headers too. Resolving a name is left to the
system's resolver and its own time limits.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from queue import Empty, Full
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

CONNECT_SECONDS = 10.0  # for one address, so that a dead IPv6 route leaves time for IPv4
IDLE_SECONDS = 60.0  # gateways forget an older connection without a word


class Exchange:
    """One request and its answer, with the time of time.monotonic() at which they end; any thread may cut them."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def bounding(self) -> Bounding:
        """Bound what this thread does on its connections, within the `with` of what is returned."""
        return Bounding(self)

    def uses(self, sock: socket.socket) -> None:
        """Take note of the connection's socket. Raises OSError where the exchange was cut."""
        with self._lock:
            self._socket = sock
            if self._cut:
                raise OSError("cut")

    def done(self) -> None:
        """Forget the socket: it may serve others now."""
        with self._lock:
            self._socket = None

    def cut(self) -> None:
        """End it at once, also while another thread waits for its bytes."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # not connected any more
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not TLS's, which waits for its own words

    @property
    def was_cut(self) -> bool:
        """Whether somebody ended it."""
        return self._cut

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError where there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        return left


class Bounding:
    """A context manager. It is a class, as are those beside it: each request goes through several of them."""

    __slots__ = ("_before", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._before, _here.exchange = _here.exchange, self._exchange

    def __exit__(self, *_: object) -> None:
        _here.exchange = self._before


class _Here(threading.local):
    """The exchange that this thread is about; synchronous code does one at a time."""

    exchange: Exchange | None = None


_here = _Here()

if TYPE_CHECKING:
    _Base = socket.socket
else:
    _Base = object


class _Bounded(_Base):
    """A socket each step of which gets only the time that is left."""

    def recv_into(self, *args: Any) -> int:
        self._bound()
        return super().recv_into(*args)

    def recv(self, *args: Any) -> bytes:
        self._bound()
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        self._bound()
        return super().send(*args)

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data)
        while view:
            view = view[self.send(view, flags) :]

    def _bound(self) -> None:
        if _here.exchange is None:
            return
        left, bound = _here.exchange.left(), self.gettimeout()
        if bound is None or abs(bound - left) > left / 100:  # near enough else: to set it is a system call
            self.settimeout(left)


class _Socket(_Bounded, socket.socket):
    pass


class TlsSocket(_Bounded, ssl.SSLSocket):
    """A socket that an SSLContext makes; set it as `sslsocket_class`."""


def _connect(connection: HTTPConnection) -> socket.socket:
    """Return a connection to the first address that takes one, in the words of urllib3."""
    try:
        found = socket.getaddrinfo(connection._dns_host, connection.port, type=socket.SOCK_STREAM)  # noqa: SLF001
    except (OSError, UnicodeError) as err:  # UnicodeError: a label too long for IDNA
        raise NameResolutionError(connection.host, connection, socket.gaierror(str(err))) from err
    failure: Exception = OSError("no address")
    for family, kind, protocol, _, address in dict.fromkeys(found):
        sock = _Socket(family, kind, protocol)
        try:
            left = CONNECT_SECONDS
            if (exchange := _here.exchange) is not None:
                left = min(left, exchange.left())
                exchange.uses(sock)
            sock.settimeout(left)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except OSError as err:
            sock.close()
            failure = err
        else:
            return sock
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "no connection in time") from failure
    raise NewConnectionError(connection, str(failure)) from failure


class _Plain(HTTPConnection):
    """Plain HTTP: to a proxy, or to a cluster on loopback (`kubectl proxy`)."""

    used = 0.0

    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        begin(self)
        super().putrequest(*args, **kwargs)


class _Tls(HTTPSConnection):
    used = 0.0

    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        begin(self)
        super().putrequest(*args, **kwargs)


def begin(connection: _Plain | _Tls) -> None:
    """Note that a request begins on a connection. Raises OSError where its exchange was cut."""
    connection.used = time.monotonic()
    if _here.exchange is not None and connection.sock is not None:
        _here.exchange.uses(connection.sock)


def _fresh(connection: Any) -> Any:
    """Have a connection that was idle for long made anew: its other end may have forgotten it."""
    if connection.sock is not None and time.monotonic() - connection.used > IDLE_SECONDS:
        connection.close()
    return connection


class _Stack:
    """What urllib3 keeps connections in: a queue.LifoQueue, but nobody ever waits here."""

    def __init__(self, maxsize: int) -> None:
        self._items: deque[Any] = deque()
        self._maxsize = maxsize

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002
        try:
            return self._items.pop()
        except IndexError:
            raise Empty from None

    def put(self, item: Any, block: bool = True) -> None:  # noqa: ARG002
        if len(self._items) >= self._maxsize:
            raise Full
        self._items.append(item)

    def qsize(self) -> int:
        return len(self._items)


class Pool(urllib3.HTTPConnectionPool):
    """The connections to one server that nobody uses now."""

    QueueCls = _Stack  # type: ignore[assignment]

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _fresh(super()._get_conn(timeout))

    def kept(self) -> Any:
        """Return a connection that is open, None where there is none; to be given `back`."""
        connection = self._get_conn()
        if not connection.is_closed:
            return connection
        self._put_conn(connection)
        return None

    def back(self, connection: Any, *, usable: bool) -> None:
        """Take back what `kept` returned."""
        if not usable:
            connection.close()
        self._put_conn(connection)


class _PlainPool(Pool):
    ConnectionCls = _Plain


class _TlsPool(Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls

    def _validate_conn(self, conn: Any) -> None:
        # As urllib3 has it, without its warning where the kubeconfig says that nobody verifies: we say so once.
        if conn.is_closed:
            conn.connect()


POOLS: dict[str, type[Pool]] = {"http": _PlainPool, "https": _TlsPool}
