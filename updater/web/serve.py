"""Serves the front door in a thread of its own, for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from updater.config.web import WebSettings
from updater.daemon.desk import Desk
from updater.web import stream
from updater.web.app import application

BACKLOG = 128
CLOSING = 2  # seconds that answers under way get at the end
MOST_OPEN = 500  # requests and streams at once; more are answered 503
UNASKED = 5.0  # seconds in which the head of the first request is there
HEAD = 32 << 10  # bytes of a request's head

log = structlog.get_logger()


class _Connection(H11Protocol):
    """Closes a connection on which nothing was asked for a while: many of those would keep everybody else out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of a request."""
        super().connection_made(transport)
        self.loop.call_later(UNASKED, self._judge, transport)

    def _judge(self, transport: asyncio.Transport) -> None:
        if self.cycle is None:
            transport.close()


class _Server(uvicorn.Server):
    """Ends the streams first: they would last until they are cut, each with a traceback."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stream.end()
        await super().shutdown(sockets)


@contextmanager
def serve(desk: Desk) -> Iterator[None]:
    """Serve as the configuration says; where the address is taken that is said, and the daemon works on without."""
    web = desk.settings.web or WebSettings()
    try:
        listening = _listen(web.host, web.port)
    except OSError as err:
        log.error("web_not_served", listen=web.listen, error=err.strerror or str(err))
        yield
        return
    host, port = listening.getsockname()[:2]
    server = _Server(
        uvicorn.Config(
            application(desk, port),
            access_log=False,
            log_config=None,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            http=_Connection,
            limit_concurrency=MOST_OPEN,
            h11_max_incomplete_event_size=HEAD,
            timeout_graceful_shutdown=CLOSING,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
    thread.start()
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(CLOSING + 2)
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind, proto)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
