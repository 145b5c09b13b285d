"""Who comes in: the first thing that a request meets, before anything of its body is read.

Pure ASGI, because it must not touch streams. What it lets through has `person` and `csrf` in its state, and carries the
headers that keep a page to itself. What changes something needs a login token, or the CSRF token of the reader's own
session and an origin that is ours; where no login is configured the session is a random cookie of this machine.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from updater.config.web import WebSettings, is_loopback
from updater.web import oidc, tokens
from updater.web.problems import problem
from updater.web.sessions import LOCAL, Person, Seal, Session, Sessions, Tries, same

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

__all__ = ["Guard", "Person"]

FREE = ("/livez", "/readyz", "/metrics")  # need no login anywhere
OPEN = ("/login", "/login/oidc", "/login/callback", "/login/back")  # are how one logs in
STATIC = "/static/"  # is in every package
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}")
_PORTS = {"http": 80, "https": 443}
MAX_NEXT = 2000  # characters


@dataclass(slots=True)
class _Visit:
    """Who asks; `cookie` is one to be set, `bearer` says that a token was shown, right or not."""

    person: Person | None = None
    csrf: str = ""
    cookie: str = ""
    bearer: bool = False


class Guard:
    """Refuses, or lets through; it keeps who is logged in."""

    def __init__(self, app: ASGIApp, desk: Desk, port: int) -> None:
        self._app, self._desk, self._port = app, desk, port
        self.sessions, self.tries, self.seal = Sessions(), Tries(), Seal()
        self.tokens, self.providers = tokens.Tokens(), oidc.Providers(desk.http)

    @property
    def web(self) -> WebSettings:
        """The settings that count now."""
        return self._desk.settings.web or WebSettings()

    @property
    def cookie(self) -> str:
        """The name of our cookie: browsers send those of one host to all of its ports."""
        return "__Host-updater" if self._secure else f"updater-{self._port}"

    @property
    def _secure(self) -> bool:
        return (self.web.public_url or "").startswith("https:")

    def baked(self, value: str, *, name: str = "", lax: bool = False, seconds: int | None = None) -> str:
        """Return a `Set-Cookie`; without a value it takes the cookie away."""
        parts = [f"{name or self.cookie}={value}", "Path=/", "HttpOnly", f"SameSite={'Lax' if lax else 'Strict'}"]
        parts += ["Secure"] if self._secure else []
        life = seconds if value else 0
        parts += [] if life is None else [f"Max-Age={life}"]
        return "; ".join(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        visit = _Visit()

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not path.startswith(STATIC):
                    headers.setdefault("cache-control", "private, no-cache")
                if visit.cookie:
                    headers.append("set-cookie", self.baked(visit.cookie))
            await send(message)

        refused = None
        if path not in FREE and not path.startswith("/hooks/"):
            refused = self._judge(scope, Headers(scope=scope), visit)
        await (refused or self._app)(scope, receive, marked)

    def _judge(self, scope: Scope, headers: Headers, visit: _Visit) -> Response | None:
        """Return what refuses a request; None lets it through."""
        web, path = self.web, scope["path"]
        if web.closed:
            return problem(403, f"page and API are not served on {web.listen} without a login: set web.login")
        if web.open and not self._named(headers):
            return problem(403, "this address is for this machine alone, and was asked for by another name")
        safe = scope["method"] in SAFE
        if safe and path.startswith((STATIC, "/favicon.ico")):
            return None
        self._look(headers, visit)
        state = scope.setdefault("state", {})
        state["person"], state["csrf"] = visit.person, visit.csrf
        if safe:
            return self._shown(scope, headers, visit)
        return self._acting(scope, headers, visit)

    def _look(self, headers: Headers, visit: _Visit) -> None:
        """Find out who asks."""
        web, value = self.web, cookies(headers).get(self.cookie, "")
        if web.open:
            random = value if _RANDOM.fullmatch(value) else ""
            visit.person, visit.csrf = LOCAL, self.seal.token("csrf", random) if random else ""
            return
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            visit.bearer = True
            found = self.tokens.whose(web.login.tokens if web.login else None, shown.strip())
            visit.person = Person(found[0], may_act=True) if found else None
        elif (session := self.session(value)) is not None:
            visit.person, visit.csrf = session.person, session.csrf

    def session(self, name: str | None) -> Session | None:
        """Return an open session, unless what let them in lets nobody in any more."""
        session, login = self.sessions.find(name), self.web.login
        if session is None or login is None:
            return None
        proofs = {tokens.proof(*one) for one in self.tokens.known(login.tokens)}
        if login.oidc is not None:
            proofs.add(oidc.proof(login.oidc))
        if session.proof not in proofs:
            self.sessions.close(name)
            return None
        return session

    def _shown(self, scope: Scope, headers: Headers, visit: _Visit) -> Response | None:
        """Judge what only looks."""
        path = scope["path"]
        browser = "text/html" in headers.get("accept", "")
        known = bool(visit.csrf) or visit.bearer
        if path in OPEN:
            return None
        if browser and not known and headers.get("sec-fetch-site") == "cross-site":
            return _again(_here(scope))  # a browser keeps the cookie to itself while another page leads here
        if visit.person is None:
            if browser and not visit.bearer:
                return RedirectResponse(f"/login?next={quote(_here(scope), safe='')}", 303)
            return _unknown(visit)
        if self.web.open and not known and (browser or path == "/api/v1/session"):
            visit.cookie = secrets.token_urlsafe(32)
            scope["state"]["csrf"] = self.seal.token("csrf", visit.cookie)
        return None

    def _acting(self, scope: Scope, headers: Headers, visit: _Visit) -> Response | None:
        """Judge what changes something."""
        path = scope["path"]
        ours = self._ours(headers)
        refuse = _plainly if "text/html" in headers.get("accept", "") and ours else problem
        if path == "/login" and not self.web.open:
            return None if ours else problem(403, "this form was sent by another site")
        if visit.person is None:
            return _unknown(visit, refuse)
        if not visit.bearer:
            given = headers.get("x-csrf-token") or _csrf(scope)
            if not visit.csrf or not same(given, visit.csrf):
                return refuse(
                    403, "it lacks the token of its page: csrf in its query, or X-CSRF-Token; reload the page"
                )
            if not ours:
                return problem(403, "it was sent by another site: Origin is not that of this page")
        if not visit.person.may_act and path != "/logout":
            return refuse(403, f"{visit.person.name} may look, but not act: see web.login.oidc.operators")
        return None

    def _ours(self, headers: Headers) -> bool:
        """Whether a page of ours sent it: by its origin, or where that is not told by what the browser says of it."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site not in {None, "same-origin"}:
            return False
        if origin is None:
            return site == "same-origin"
        public = self.web.public_url
        return _place(origin) in {
            _place(public or ""), *(_place(f"{scheme}://{headers.get('host', '')}") for scheme in _PORTS)
        } - {None}  # fmt: skip

    def _named(self, headers: Headers) -> bool:
        """Whether it was asked for by a name of this machine: a page elsewhere may have its name lead here."""
        found = _place(f"http://{headers.get('host', '')}")
        public = _place(self.web.public_url or "")
        return found is not None and (is_loopback(found[1]) or (public is not None and found[1] == public[1]))


def cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request; the first of a name counts: it is the one for the longest path."""
    found: dict[str, str] = {}
    for part in headers.get("cookie", "")[:8192].split(";"):
        name, _, value = part.strip().partition("=")
        found.setdefault(name, value)
    return found


def safe_next(path: str | None) -> str:
    """Return where to go after a login: a path of ours."""
    path = path or "/"
    fine = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable() and len(path) <= MAX_NEXT
    return path if fine and not path.startswith("/login") else "/"


def page(body: str, status: int = 200) -> HTMLResponse:
    """Return a page that is there for a moment only."""
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Updater</title>'
    return HTMLResponse(f"{head}{body}</html>", status)


def onward(to: str) -> HTMLResponse:
    """Return a page of ours that leads on: a browser sends our cookie there, and not to where another site leads."""
    where = quote(to, safe="/?&=%:;,@!$()*+-._~")
    where = where.replace("&", "&amp;")
    return page(f'<meta http-equiv="refresh" content="0;url={where}"><p><a href="{where}">Continue</a></p>')


def _again(here: str) -> Response:
    return onward(f"/login/back?next={quote(safe_next(here), safe='')}")


def _csrf(scope: Scope) -> str:
    """Return the token in the query; empty where there is none, or more fields than a form of ours has."""
    try:
        query: str = scope.get("query_string", b"").decode("latin-1")
        return parse_qs(query, max_num_fields=100).get("csrf", [""])[0]
    except ValueError:
        return ""


def _here(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return quote(scope["path"], safe="/:@!$&()*+,;=~") + (f"?{query}" if query else "")


def _plainly(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error for who sent a form: a page, with a way on."""
    found = page(f'<p role="alert">{escape(detail)}</p><p><a href="/">Updater</a></p>', status)
    found.headers.update(headers or {})
    return found


def _unknown(visit: _Visit, refuse: Callable[..., Response] = problem) -> Response:
    said = "this token lets nobody in" if visit.bearer else "log in at /login, or show a token: Authorization: Bearer"
    return refuse(401, said, headers={"www-authenticate": "Bearer"})


def _place(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an address; None for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    return (parts.scheme, host, port) if host and port and "@" not in parts.netloc else None
