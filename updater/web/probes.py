"""What machines ask: whether it lives, whether it is ready, and the figures. None of it needs a login."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from updater.secrets import redact


def live(request: Request) -> Response:
    """Say whether the daemon lives; a restart is what helps where it does not."""
    return _word(request.app.state.desk.trouble())


def ready(request: Request) -> Response:
    """Say whether it can do something for anyone now, and if not, why."""
    return _word(request.app.state.desk.unready())


def metrics(request: Request) -> Response:
    """Answer Prometheus, also while the state cannot be read."""
    desk = request.app.state.desk
    body, kind = desk.metrics.text(desk)
    return Response(body, headers={"content-type": kind})


routes = [Route("/livez", live), Route("/readyz", ready), Route("/metrics", metrics)]


def _word(why: str) -> Response:
    return PlainTextResponse(f"{redact(why) or 'ok'}\n", 503 if why else 200)
