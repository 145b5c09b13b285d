"""How people log in, and out: a token typed once, or a provider that knows them; both become a session."""

from __future__ import annotations

import ipaddress
import math
import time
from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from updater.config.web import Oidc
from updater.web import oidc, tokens
from updater.web.bodies import form_of
from updater.web.guard import cookies, onward, safe_next
from updater.web.layout import drawn, say
from updater.web.problems import problem
from updater.web.sessions import Person

if TYPE_CHECKING:
    from updater.web.guard import Guard

UNDER_WAY = 600.0  # seconds that a login at a provider may take
log = structlog.get_logger()


def _form(request: Request) -> Response:
    """Show how one can log in; who is logged in already, or need not, is led on."""
    guard = _guard(request)
    to = safe_next(request.query_params.get("next"))
    if guard.web.open or (request.state.person is not None and request.state.csrf):
        return RedirectResponse(to, 303)
    return _shown(request, to)


async def _token(request: Request) -> Response:
    """Begin a session for a token."""
    guard, address = _guard(request), _address(request)
    if guard.web.login is None:
        return RedirectResponse("/", 303)
    if wait := guard.tries.wait(address):
        seconds = math.ceil(wait)
        words = say(request, "login_wait", seconds=seconds)
        return _shown(request, "/", words, 429, headers={"retry-after": str(seconds)})
    form = await form_of(request)
    to = safe_next(form.get("next"))
    found = guard.tokens.whose(guard.web.login.tokens, form.get("token", ""))
    if found is None:
        guard.tries.failed(address)
        log.warning("login_refused", address=address)
        return _shown(request, to, say(request, "login_unknown"), 401)
    guard.tries.passed(address)
    return _begun(request, Person(found[0], may_act=True), tokens.proof(*found), RedirectResponse(to, 303))


def _provider(request: Request) -> Response:
    """Lead to the provider."""
    guard, settings = _guard(request), _settings(request)
    if settings is None:
        return problem(404, "no provider is configured: web.login.oidc")
    flow = oidc.Flow.new()
    try:
        url = guard.providers.of(settings).begin(flow, _callback(guard))
    except oidc.LoginFailed as err:
        return _failed(request, err)
    document = {"state": flow.state, "nonce": flow.nonce, "verifier": flow.verifier, "until": time.monotonic() +
                UNDER_WAY, "next": safe_next(request.query_params.get("next"))}  # fmt: skip
    answer = RedirectResponse(url, 303)
    kept = guard.seal.close("flow", document)
    answer.headers.append("set-cookie", guard.baked(kept, name=_under_way(guard), lax=True, seconds=int(UNDER_WAY)))
    return answer


def _back(request: Request) -> Response:
    """Take who comes back from the provider."""
    guard, settings = _guard(request), _settings(request)
    if settings is None:
        return problem(404, "no provider is configured: web.login.oidc")
    kept = guard.seal.open("flow", cookies(request.headers).get(_under_way(guard)))
    if kept is None or kept["until"] < time.monotonic():
        return _failed(request, oidc.LoginFailed("this login was not begun here, or too long ago; begin again"))
    flow = oidc.Flow(kept["state"], kept["nonce"], kept["verifier"])
    try:
        person = guard.providers.of(settings).finish(flow, _callback(guard), request.query_params)
    except oidc.LoginFailed as err:
        answer = _failed(request, err)
    else:
        # What a chain of redirects from another site leads to is not sent a strict cookie: a page of ours leads on.
        answer = _begun(request, person, oidc.proof(settings), onward(safe_next(kept["next"])))
    answer.headers.append("set-cookie", guard.baked("", name=_under_way(guard), lax=True))
    return answer


def _on(request: Request) -> Response:
    """Lead on to a page of ours: from here its cookie is sent."""
    return RedirectResponse(safe_next(request.query_params.get("next")), 303)


def _out(request: Request) -> Response:
    """End a session."""
    guard = _guard(request)
    guard.sessions.close(cookies(request.headers).get(guard.cookie))
    answer = RedirectResponse("/login", 303)
    answer.headers.append("set-cookie", guard.baked(""))
    return answer


def _session(request: Request) -> Response:
    """Say who asks, and what a program sends along with what changes something."""
    person = request.state.person
    said = {"person": person.name, "may_act": person.may_act, "csrf": request.state.csrf or None}
    return JSONResponse(said, headers={"cache-control": "no-store"})


routes = [
    Route("/login", _form, methods=["GET"]),
    Route("/login", _token, methods=["POST"]),
    Route("/login/oidc", _provider),
    Route("/login/callback", _back),
    Route("/login/back", _on),
    Route("/logout", _out, methods=["POST"]),
    Route("/api/v1/session", _session),
]


def _guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


def _settings(request: Request) -> Oidc | None:
    login = _guard(request).web.login
    return login.oidc if login else None


def _callback(guard: Guard) -> str:
    return f"{guard.web.public_url}/login/callback"


def _under_way(guard: Guard) -> str:
    return f"{guard.cookie}-login"


def _begun(request: Request, person: Person, proof: str, answer: Response) -> Response:
    guard = _guard(request)
    guard.sessions.close(cookies(request.headers).get(guard.cookie))
    name = guard.sessions.open(person, proof)
    answer.headers.append("set-cookie", guard.baked(name))
    log.info("logged_in", person=person.name, may_act=person.may_act, by=proof.partition(" ")[0])
    return answer


def _failed(request: Request, err: oidc.LoginFailed) -> Response:
    log.warning("login_refused", address=_address(request), error=str(err))
    return _shown(request, "/", str(err), 401)


def _address(request: Request) -> str:
    """Return who tries: an address, or the network that one household has of the longer ones."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else host


def _shown(
    request: Request, to: str, why: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Draw the page, with why it is shown again."""
    if status >= 400 and "text/html" not in request.headers.get("accept", "text/html"):
        return problem(status, why, headers=headers)
    login = _guard(request).web.login
    shown: dict[str, Any] = {
        "why": why, "next": to, "tokens": login is not None and login.tokens is not None,
        "oidc": login is not None and login.oidc is not None,
    }  # fmt: skip
    text = drawn(request, "login.html", shown)
    return HTMLResponse(text, status, headers={"cache-control": "no-store", **(headers or {})})
