"""Puts the front door together: routes within the guard, every error a problem document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from updater.web import api, feed, hooks, login, pages, probes, stream
from updater.web.guard import Guard
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

log = structlog.get_logger()


def application(desk: Desk, port: int) -> ASGIApp:
    """Return the whole as an ASGI application; `port` is the one that it is served on."""
    routes: list[BaseRoute] = [
        *probes.routes, *login.routes, *hooks.routes(desk), *stream.routes, *api.routes, *feed.routes,
        *pages.routes(desk),
    ]  # fmt: skip
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False  # it would lead to an address made of what the reader calls us
    app.state.desk = desk
    app.state.guard = guard = Guard(app, desk, port)
    return guard


def _refused(_request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    return problem(err.status_code, str(err.detail), headers=err.headers)


def _failed(request: Request, err: Exception) -> Response:
    log.error("web_failed", path=request.url.path, exc_info=err)  # our own bug: said with its trace, to us alone
    return problem(500, "this is a bug; the log has its trace")
