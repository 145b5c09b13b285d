"""Connections each step of which gets only the time that is left: resolve, connect, handshake, read and write.

The timeouts of HTTP libraries are per step, so a server that drips bytes could hold a caller for as long as it
likes; the system's resolver has limits of its own, of a minute and more where it tries many suffixes of a name.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import httpcore

from updater.transport.addresses import Kind, kind_of

_Info = tuple[Any, Any, int, str, tuple[Any, ...]]  # what getaddrinfo says of one address

PEER = "updater.peer"  # what a connection is asked by for the kind of address at its other end
CONNECT_TIMEOUT = 10.0  # seconds for one address, so that a dead IPv6 route leaves time for IPv4


class _Deadline(threading.local):
    """The deadline of the request that this thread is about; synchronous code does one at a time."""

    at = math.inf


_deadline = _Deadline()


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Bound what this thread does on its connections by a time of time.monotonic()."""
    _deadline.at = deadline
    try:
        yield
    finally:
        _deadline.at = math.inf


def _left(late: type[httpcore.TimeoutException], at_most: float | None = None) -> float | None:
    """Return the seconds until the deadline, at most `at_most`, None for no end; raise when there are none left."""
    left = _deadline.at - time.monotonic()
    if left <= 0:
        raise late
    left = left if at_most is None else min(left, at_most)
    return None if left == math.inf else left


class _BoundedStream(httpcore.NetworkStream):
    """A connection each step of which gets only the time that is left; it knows the `kind` of its other end."""

    def __init__(self, inner: httpcore.NetworkStream, kind: Kind | None) -> None:
        self._inner, self._kind = inner, kind

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(httpcore.ReadTimeout, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(httpcore.WriteTimeout, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(httpcore.ConnectTimeout, timeout)
        return _BoundedStream(self._inner.start_tls(ssl_context, server_hostname, left), self._kind)

    def get_extra_info(self, info: str) -> Any:
        return self._kind if info == PEER else self._inner.get_extra_info(info)


class AddressRefused(httpcore.ConnectError):
    """A name has only addresses where we were not to be led."""


class BoundedBackend(httpcore.NetworkBackend):
    """Connects to the addresses of a name one by one, within the time that is left; only to these kinds, None: all."""

    def __init__(self, reach: frozenset[Kind] | None = None) -> None:
        self._inner, self._reach = httpcore.SyncBackend(), reach

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Return the first connection that one of the addresses takes.

        Raises httpcore's ConnectError or a timeout, AddressRefused where no address is of a kind that may be reached.
        """
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            kind = kind_of(address)
            if self._reach is not None and kind not in self._reach:
                failure = AddressRefused(f"{host} is at a {kind} address, where this server may not lead us")
                continue
            try:
                left = _left(httpcore.ConnectTimeout, timeout or CONNECT_TIMEOUT)
                inner = self._inner.connect_tcp(address, port, left, local_address, socket_options)
                return _BoundedStream(inner, kind)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as err:
                failure = err
        raise failure


def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a name, empty where it has none."""
    try:
        return _addresses(host, port)
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        return []


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = _resolved(host, port)
    except TimeoutError as err:
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from err
    except (OSError, UnicodeError) as err:  # UnicodeError: a label too long for IDNA
        raise httpcore.ConnectError(f"{host} cannot be resolved") from err
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolved(host: str, port: int) -> list[_Info]:
    """Ask the system's resolver, in a thread of its own: nothing ends a call of it. Raises OSError, UnicodeError."""
    if kind_of(host) is not None:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answer: Future[list[_Info]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as err:
            answer.set_exception(err)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return answer.result(_left(httpcore.ConnectTimeout))
