"""Puts the front door together: routes within the guard, every error a problem document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from updater.web import hooks
from updater.web.guard import Guard
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

log = structlog.get_logger()


def application(desk: Desk, port: int) -> ASGIApp:
    """Return the whole as an ASGI application; `port` is the one that it is served on."""
    routes = [Route("/livez", _live), Route("/readyz", _ready)]
    routes += hooks.routes(desk)
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.state.desk = desk
    return Guard(app, desk, port)


def _live(request: Request) -> Response:
    """Say whether the daemon lives; a restart is what helps where it does not."""
    return _word(request.app.state.desk.trouble())


def _ready(request: Request) -> Response:
    """Say whether it can do something for anyone now."""
    return _word(request.app.state.desk.unready())


def _word(why: str) -> Response:
    return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200)


def _refused(_request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    return problem(err.status_code, str(err.detail), headers=err.headers)


def _failed(request: Request, err: Exception) -> Response:
    log.error("web_failed", path=request.url.path, exc_info=err)  # our own bug: said with its trace, to us alone
    return problem(500, "this is a bug; the log has its trace")
