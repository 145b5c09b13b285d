"""Connections to mail servers, all of whose steps together have one deadline. Who sends no mail does not load this."""

from __future__ import annotations

import re
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from updater.transport.sockets import CONNECT_TIMEOUT

if TYPE_CHECKING:
    import ssl


@contextmanager
def connected(
    host: str, port: int, seconds: float, context: ssl.SSLContext | None, *, implicit: bool
) -> Iterator[smtplib.SMTP]:
    """Connect, and encrypt where there is a context: from the first byte, or by STARTTLS.

    Everything until the end of the block has `seconds` in all. Raises SMTPException, OSError; TimeoutError when late.
    """
    server = _Server(host, _own_name(), seconds, context if implicit else None)
    watch = threading.Timer(seconds, server.hang_up)
    watch.daemon = True
    watch.start()
    try:
        code, text = server.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        if context is not None and not implicit:
            server.starttls(context=context)
        yield server
        with suppress(OSError):
            server.quit()  # what was sent is taken: what happens to the goodbye changes nothing
    except OSError as err:
        if server.late and (
            not isinstance(err, smtplib.SMTPException) or isinstance(err, smtplib.SMTPServerDisconnected)
        ):
            raise TimeoutError from err
        raise
    finally:
        watch.cancel()
        server.close()
        if server.handle is not None:
            server.handle.close()


def _own_name() -> str:
    """Return how we greet, without asking any name server."""
    name = socket.gethostname()
    return name if "." in name and re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) else "[127.0.0.1]"


class _Server(smtplib.SMTP):
    """A connection of which a second handle is kept: it ends whatever waits on the first, also within a handshake."""

    handle: socket.socket | None = None

    def __init__(self, host: str, name: str, seconds: float, implicit: ssl.SSLContext | None) -> None:
        super().__init__(local_hostname=name, timeout=seconds)
        self._host = host  # what a certificate is compared with
        self._implicit = implicit
        self.late = False

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = _reached(host, port, time.monotonic() + timeout)
        plain.settimeout(timeout)
        self.handle = plain.dup()
        return self._implicit.wrap_socket(plain, server_hostname=host) if self._implicit else plain

    def hang_up(self) -> None:
        self.late = True
        if self.handle is not None:
            with suppress(OSError):
                self.handle.shutdown(socket.SHUT_RDWR)


def _reached(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of a name that answers in time. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as err:  # a label too long for IDNA
        raise OSError(f"{host} cannot be resolved") from err
    failure = OSError(f"{host} has no address")
    for address in dict.fromkeys(str(entry[4][0]) for entry in found):
        left = min(deadline - time.monotonic(), CONNECT_TIMEOUT)
        if left <= 0:
            raise TimeoutError
        try:
            return socket.create_connection((address, port), left)
        except OSError as err:
            failure = err
    raise failure
