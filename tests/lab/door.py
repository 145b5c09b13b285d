"""The guard and the ways to log in, before an application that says what reached it; asked without a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote, urlencode

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from updater.config.web import WebSettings
from updater.transport.http import Http
from updater.web import login
from updater.web.guard import Guard

PORT = 8080
TOKEN = "a-token-of-the-lab-0123456789abcdef"
OTHER = "another-token-of-the-lab-0123456789"
HTML = {"accept": "text/html,*/*"}


@dataclass(frozen=True)
class Answered:
    """An answer, and how many pieces of the body were read before it."""

    status: int
    headers: Headers
    body: bytes
    reads: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cookies(self) -> list[str]:
        return self.headers.getlist("set-cookie")


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def tokens_file(folder: Path, *lines: str) -> str:
    """Write a file of tokens, the lab's own where no lines are given; return the reference to it."""
    path = folder / "tokens"
    path.write_text("\n".join(lines or [f"ada:{hashed(TOKEN)}"]) + "\n")
    return f"file:{path}"


class Door:
    """What is asked; `web` are the settings, which may be replaced at any time."""

    def __init__(self, **web: Any) -> None:
        self.desk = SimpleNamespace(http=Http, settings=SimpleNamespace(web=None))
        self.configure(**web)
        everything = Route("/{path:path}", _echo, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        app = Starlette(routes=[*login.routes, everything])
        app.state.desk = self.desk
        app.state.guard = self.guard = Guard(app, cast("Any", self.desk), PORT)

    def configure(self, **web: Any) -> None:
        self.desk.settings.web = WebSettings.model_validate(web)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        host: str = f"127.0.0.1:{PORT}",
        client: str = "127.0.0.1",
        kind: str = "http",
    ) -> Answered:
        """Send one request."""
        sent = {"host": host} | {name.lower(): value for name, value in (headers or {}).items()}
        where, _, query = path.partition("?")
        scope = {
            "type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(where), "raw_path": where.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": (client, 40000), "server": ("127.0.0.1", PORT),
        }  # fmt: skip
        messages: list[Any] = []
        reads = 0

        async def receive() -> dict[str, Any]:
            nonlocal reads
            reads += 1
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        asyncio.run(self.guard(scope, receive, send))
        start = messages[0]
        if start["type"] != "http.response.start":
            return Answered(0, Headers(), json.dumps(start).encode(), reads)
        content = b"".join(one.get("body", b"") for one in messages[1:])
        return Answered(start["status"], Headers(raw=list(start["headers"])), content, reads)


@dataclass
class Browser:
    """One reader with a jar of cookies, who comes from a page of ours."""

    door: Door
    host: str = f"127.0.0.1:{PORT}"
    origin: str = f"http://127.0.0.1:{PORT}"
    client: str = "127.0.0.1"
    jar: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answered:
        return self._ask("GET", path, HTML | _named(headers), b"")

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answered:
        sent = HTML | {"origin": self.origin, "sec-fetch-site": "same-origin"} | _named(headers)
        return self._ask("POST", path, {name: value for name, value in sent.items() if value}, body)

    def log_in(self, token: str = TOKEN, to: str = "/") -> Answered:
        form = urlencode({"token": token, "next": to}).encode()
        return self.post("/login", form, **{"content-type": "application/x-www-form-urlencoded"})

    def session(self) -> Any:
        return self.get("/api/v1/session").json

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        sent = dict(headers) | ({"cookie": cookie} if cookie else {})
        answer = self.door.ask(method, path, sent, body, host=self.host, client=self.client)
        for baked in answer.cookies:
            name, _, rest = baked.partition("=")
            value = rest.partition(";")[0]
            if value:
                self.jar[name] = value
            else:
                self.jar.pop(name, None)
        return answer


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def _echo(request: Request) -> Response:
    body = await request.body() if request.method not in {"GET", "HEAD"} else b""
    person = getattr(request.state, "person", None)
    said = {
        "method": request.method, "path": request.url.path, "person": person and person.name,
        "may_act": person and person.may_act, "csrf": getattr(request.state, "csrf", None), "body": len(body),
    }  # fmt: skip
    return JSONResponse(said)
