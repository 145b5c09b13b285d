"""Who comes in: the first thing that a request meets, before anything of its body is read.

Pure ASGI, because it must not touch streams. What it lets through carries the headers that keep a page to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from updater.config.web import WebSettings, is_loopback
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

FREE = ("/livez", "/readyz", "/metrics")  # need no login anywhere
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuses, or lets through."""

    def __init__(self, app: ASGIApp, desk: Desk, port: int) -> None:
        self._app, self._desk, self._port = app, desk, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        web = self._desk.settings.web or WebSettings()
        path: str = scope["path"]

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if path in FREE or path.startswith("/hooks/"):
            await self._app(scope, receive, marked)
        elif web.closed:
            why = f"page and API are not served on {web.listen} without a login: set web.login"
            await problem(403, why)(scope, receive, marked)
        elif web.open and not self._named(Headers(scope=scope), web):
            why = "this address is for this machine alone, and was asked for by another name"
            await problem(403, why)(scope, receive, marked)
        else:
            await self._app(scope, receive, marked)

    def _named(self, headers: Headers, web: WebSettings) -> bool:
        """Whether it was asked for by a name of this machine: a page elsewhere may have its name lead here."""
        host = headers.get("host", "").rpartition(":")[0].strip("[]") or headers.get("host", "")
        public = (web.public_url or "").partition("://")[2].partition("/")[0].partition(":")[0]
        return is_loopback(host) or (bool(public) and host == public)
