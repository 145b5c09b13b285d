"""`POST /hooks/{name}`: who knows a secret may hint that something changed. What came is read, proved, then parsed.

A hook without an entry in the configuration does not exist. Every wrong proof is refused in the same words, and no
answer says which part of it was wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from updater.hooks.base import LEAST_PATH, MAX_HINTS, Hook, same
from updater.secrets import SecretError, SecretRef
from updater.web.hints import Hints

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

MAX_BODY = 1 << 20  # bytes that are read
MAX_HELD = 32 << 20  # bytes of all bodies that are being read
READ = 10.0  # seconds until the whole body is there
FORM = "application/x-www-form-urlencoded"  # what GitHub and Gitea send unless told otherwise
CLOSE = {"connection": "close"}  # the rest of a body is not read

REFUSED = "the proof is missing or wrong"

_off: dict[str, str] = {}  # hooks whose secret cannot be used, and why

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a hook, but for its body; `shown` is the path behind its name."""

    name: str
    hook: Hook
    shown: str
    headers: Mapping[str, str]


def routes(desk: Desk) -> list[Route]:
    """Return the hooks of a daemon, whatever its configuration says later."""
    hints, reader = Hints(desk), Reader()

    async def post(request: Request) -> Response:
        call = _call(desk, request)
        await run_in_threadpool(_admit, call)
        with reader.body() as body:
            await reader.read(request, body)
            return await run_in_threadpool(_judged, hints, call, bytes(body))

    paths = ("/hooks/{name}", "/hooks/{name}/{shown:path}")
    return [Route(path, post, methods=["POST"]) for path in paths]


class Reader:
    """Reads bodies, not more at once than memory should hold. Belongs to one event loop."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def body(self) -> Iterator[bytearray]:
        """Yield what a body is read into; it counts until the end."""
        body = bytearray()
        try:
            yield body
        finally:
            self._held -= len(body)

    async def read(self, request: Request, body: bytearray) -> None:
        """Read a body. What its sender says about its length is not believed."""
        try:
            async with asyncio.timeout(READ):
                async for chunk in request.stream():
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > MAX_BODY:
                        raise HTTPException(413, f"a payload of more than {MAX_BODY} bytes", CLOSE)
                    if self._held > MAX_HELD:
                        raise HTTPException(503, "too many payloads at once", CLOSE)
        except TimeoutError:
            raise HTTPException(408, f"the payload was not there in {READ:g} s", CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(400, "the payload ended before its end", CLOSE) from None


def _call(desk: Desk, request: Request) -> Call:
    name, web = request.path_params["name"], desk.settings.web
    hook = web.hooks.get(name) if web else None
    if hook is None:
        raise HTTPException(404, "there is no hook of this name in web.hooks")
    assert isinstance(hook, Hook)
    headers = {key.lower(): value for key, value in request.headers.items()}
    return Call(name, hook, request.path_params.get("shown", ""), headers)


def _admit(call: Call) -> None:
    """Refuse who shows a wrong token or path, before anything is read. Secrets are read now: they may have changed."""
    hook, right = call.hook, not call.shown
    if hook.path is not None:
        right = same(call.shown, _secret(call, hook.path, LEAST_PATH))
    elif hook.token is not None:
        right = same(hook.shown(call.headers), _secret(call, hook.token)) and right
    if not right:
        raise HTTPException(403, REFUSED, CLOSE)


def _judged(hints: Hints, call: Call, body: bytes) -> Response:
    """Answer a payload that was read."""
    hook = call.hook
    if hook.secret is not None and not hook.signed(call.headers, body, _secret(call, hook.secret)):
        raise HTTPException(403, REFUSED)
    try:
        found = list(islice(hook.hints(call.headers, _parsed(call.headers, body)), MAX_HINTS))
    except ValueError as err:
        raise HTTPException(400, str(err)) from None
    count = hints.take(call.name, found)
    log.debug("hinted", hook=call.name, items=count)
    return JSONResponse({"items": count}, 202)


def _secret(call: Call, reference: SecretRef, least: int = 1) -> str:
    try:
        value = reference.resolve()
        if len(value) < least:
            raise SecretError(f"a path of less than {least} characters can be guessed")
    except SecretError as err:
        if _off.get(call.name) != str(err):  # once: anybody may knock as often as they like
            log.error("hook_off", hook=call.name, error=str(err))
        _off[call.name] = str(err)
        raise HTTPException(503, "this hook is off: its secret cannot be used; the log says why", CLOSE) from None
    _off.pop(call.name, None)
    return value


def _parsed(headers: Mapping[str, str], body: bytes) -> Any:
    """Return the JSON of a payload, also out of a form. Raises ValueError, with words for the sender."""
    try:
        if headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            body = parse_qs(body.decode(), max_num_fields=8).get("payload", [""])[0].encode()
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the payload is not JSON") from None
