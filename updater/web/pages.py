"""The page: what there is, drawn for people, and forms for what they may do. It works without JavaScript."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from updater.errors import StoreError
from updater.web import deeds, facts
from updater.web.api import tagged
from updater.web.bodies import form_of
from updater.web.deeds import Refusal
from updater.web.drawing import timeline
from updater.web.layout import HERE, drawn, language_for, say
from updater.web.ledger import ledger_of
from updater.web.models import Image, ImageDetail, ResourceFact
from updater.web.words import WORDS

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

ROWS = 100  # of one page of a list
HTML = "text/html; charset=utf-8"
CSRF = secrets.token_urlsafe(32)  # stands in what is kept, in the place of each reader's own; no text can hold it
KEEP = 365 * 86400  # seconds that a chosen language is kept
WEIGHT = {name: at for at, name in enumerate(("failed", "held", "available", "unknown", "updated", "up_to_date"))}
SORTS: Mapping[str, Callable[[Image], Any]] = {
    "weight": lambda one: (WEIGHT.get(one.outcome, 0), one.name),
    "name": lambda one: one.name,
    "checked": lambda one: (one.last_check is None, -(one.last_check.timestamp() if one.last_check else 0), one.name),
    "age": lambda one: (-(one.age or 0), one.name),
}
_PARAMETERS = ("q", "outcome", "reason", "registry", "label", "sort")
_FORMS: Mapping[str, tuple[str, ...]] = {"hold": ("until", "reason"), "approve": ("tag",), "rollback": ("to",)}
_DEEDS: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{
        ("images", deed.__name__): deed
        for deed in (deeds.check, deeds.hold, deeds.resume, deeds.approve, deeds.rollback)
    },
    ("applications", "sync"): deeds.sync,
    ("notifications", "test"): deeds.test,
}


class Pages:
    """The pages of one daemon."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # --- pages -------------------------------------------------------------------------------------------------------

    def images(self, request: Request) -> Response:
        """Show the whole at a glance, and the images; `part` is what a page that is open fetches anew."""
        query = {name: request.query_params.get(name, "")[:200] for name in _PARAMETERS}
        query["sort"] = query["sort"] if query["sort"] in SORTS else "weight"
        part, page = request.query_params.get("part", ""), _number(request.query_params.get("page"))
        name = {"strip": "strip.html", "rows": "rows.html"}.get(part, "images.html")

        def values() -> dict[str, Any]:
            found = facts.images(self._desk) if part != "strip" else []
            fitting = sorted(facts.select(found, **query), key=SORTS[query["sort"]])
            rows = fitting[(page - 1) * ROWS : page * ROWS]
            link = partial(_link, {**query, "sort": "" if query["sort"] == "weight" else query["sort"]})
            first = min(len(fitting), (page - 1) * ROWS + 1)
            return {
                "now": facts.overview(self._desk) if part != "rows" else None,
                "rows": rows, "query": query, "outcomes": facts.OUTCOMES, "total": len(fitting),
                "first": first, "last": first + len(rows) - 1 if rows else first,
                "registries": sorted({one.registry for one in found}),
                "reasons": sorted({one.reason for one in found if one.outcome == "held"} | {query["reason"]} - {""}),
                "filtered": any(query[key] for key in _PARAMETERS if key != "sort"),
                "before": link(page=page - 1) if page > 1 else "",
                "after": link(page=page + 1) if page * ROWS < len(fitting) else "",
                "here": link(page=page, part="rows"),
            }  # fmt: skip

        return self._drawn(request, name, values, place="/", live=True)

    def image(self, request: Request) -> Response:
        """Show one item."""
        name = request.path_params["name"]
        part = request.query_params.get("part", "")

        def values() -> dict[str, Any] | None:
            one = facts.image(self._desk, name)
            if one is None:
                return None
            return {"one": one, "drawing": self._timeline(one), "here": _at("images", name, part="now")}

        template = "image_now.html" if part == "now" else "image.html"
        return self._drawn(request, template, values, place="/", live=True)

    def history(self, request: Request) -> Response:
        """Show the commits of ours."""
        before, item = _cursor(request), request.query_params.get("item", "")[:500]

        def values() -> dict[str, Any]:
            page = facts.changes(self._desk, ROWS // 2, before, item=item)
            after = "/history?" + urlencode({"before": page.next, **({"item": item} if item else {})})
            return {"found": page.items, "item": item, "after": after if page.next else ""}

        return self._drawn(request, "history.html", values, place="/history")

    def change(self, request: Request) -> Response:
        """Show one commit."""
        where = request.path_params["repository"], request.path_params["revision"]

        def values() -> dict[str, Any] | None:
            one = facts.change(self._desk, *where)
            return {"one": one} if one else None

        return self._drawn(request, "change.html", values, place="/history")

    def applications(self, request: Request) -> Response:
        """Show the applications."""
        cluster, page = request.query_params.get("cluster", "")[:253], _number(request.query_params.get("page"))
        part = request.query_params.get("part", "")

        def values() -> dict[str, Any]:
            found = [one for one in facts.applications(self._desk) if cluster in {"", one.cluster}]
            found.sort(key=lambda one: (one.sync == "Synced" and one.health == "Healthy", one.name))
            link = partial(_link, {"cluster": cluster}, at="/applications")
            return {
                "found": found[(page - 1) * ROWS : page * ROWS], "cluster": cluster,
                "before": link(page=page - 1) if page > 1 else "",
                "after": link(page=page + 1) if page * ROWS < len(found) else "",
                "here": link(page=page, part="rows"),
            }  # fmt: skip

        template = "application_rows.html" if part == "rows" else "applications.html"
        return self._drawn(request, template, values, place="/applications", live=True)

    def application(self, request: Request) -> Response:
        """Show one application."""

        def values() -> dict[str, Any] | None:
            one = facts.application(self._desk, request.path_params["name"])
            return {"one": one, "tree": _tree(one.resources)} if one else None

        return self._drawn(request, "application.html", values, place="/applications")

    def notifications(self, request: Request) -> Response:
        """Show what was sent, and what waits."""
        before, channel = _cursor(request), request.query_params.get("channel", "")[:200]

        def values() -> dict[str, Any]:
            page = facts.letters(self._desk, ROWS, before, channel=channel or None)
            after = "/notifications?" + urlencode({"before": page.next, **({"channel": channel} if channel else {})})
            return {
                "found": page.items, "channel": channel, "channels": facts.channels(self._desk),
                "after": after if page.next else "",
            }  # fmt: skip

        return self._drawn(request, "notifications.html", values, place="/notifications")

    # --- deeds -------------------------------------------------------------------------------------------------------

    async def act(self, request: Request) -> Response:
        """Do what a form asks for, and lead back to where it was."""
        from starlette.concurrency import run_in_threadpool

        kind = request.url.path.split("/")[1]
        name, deed = request.path_params["name"], request.path_params["deed"]
        back = "/notifications" if kind == "notifications" else _at(kind, name)
        try:
            form = await form_of(request)
            do = _DEEDS.get((kind, deed))
            if do is None:
                raise Refusal(404, f"there is no {deed} of {kind}")
            given = {key: form[key] for key in _FORMS.get(deed, ()) if form.get(key)}
            done = await run_in_threadpool(do, self._desk, request.state.person, name, **given)
            if deed == "test" and not done["delivered"]:
                raise Refusal(502, " ".join(filter(None, (done["code"], done["said"], done["meaning"]))))
        except HTTPException as err:
            return self._refused(request, Refusal(err.status_code, err.detail), back)
        except Refusal as err:
            return self._refused(request, err, back)
        return RedirectResponse(f"{back}?said=done_{deed}", 303)

    def _refused(self, request: Request, err: Refusal, back: str) -> Response:
        values = {"title": say(request, "refused"), "detail": err.detail, "back": back}
        body = self._render(request, "refused.html", values, place="/", live=False)
        return HTMLResponse(body.replace(CSRF, _csrf(request)), err.status)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def _timeline(self, one: ImageDetail) -> Any:
        from datetime import UTC, datetime

        tags = [(tag.tag, tag.first_seen) for tag in one.tags if tag.first_seen]
        runs = [(event.new, event.time) for event in one.events if event.kind == "image_updated" and event.new]
        return timeline(tags, runs, datetime.now(UTC))

    def _drawn(
        self, request: Request, template: str, values: Callable[[], dict[str, Any] | None], *, place: str,
        live: bool = False,
    ) -> Response:  # fmt: skip
        """Return a page, as it was made since the last change for all who speak this language and may do as much."""
        person = request.state.person
        chosen = request.query_params.get("lang", "")
        who = language_for(request), person.name, person.may_act
        key = "page", template, request.scope["path"], str(request.query_params), *who

        def make() -> bytes:
            found = values()
            return self._render(request, template, found, place=place, live=live).encode() if found is not None else b""

        try:
            body = ledger_of(self._desk).kept.get(self._desk.bell, key, make)
        except StoreError as err:
            return self._refused(request, Refusal(503, str(err)), place)
        if not body:
            return self._refused(request, Refusal(404, say(request, "not_found")), place)
        page = tagged(request, body.replace(CSRF.encode(), _csrf(request).encode()), HTML)
        page.headers["vary"] = "Accept-Language, Cookie"
        if chosen in WORDS:
            page.set_cookie("lang", chosen, max_age=KEEP, samesite="strict")
        return page

    def _render(self, request: Request, template: str, values: Mapping[str, Any], *, place: str, live: bool) -> str:
        web, person = self._desk.settings.web, request.state.person
        who = {"person": person if web and web.login else None, "may_act": person.may_act, "csrf": CSRF}
        return drawn(request, template, {"place": place, "live": live, **who, **values})


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    pages = Pages(desk)
    return [
        Mount("/static", StaticFiles(directory=HERE / "static")),
        Route("/", pages.images),
        Route("/history", pages.history),
        Route("/history/{repository}/{revision}", pages.change),
        Route("/applications", pages.applications),
        Route("/notifications", pages.notifications),
        Route("/images/{name:path}/{deed}", pages.act, methods=["POST"]),
        Route("/applications/{name:path}/{deed}", pages.act, methods=["POST"]),
        Route("/notifications/{name:path}/{deed}", pages.act, methods=["POST"]),
        Route("/images/{name:path}", pages.image),
        Route("/applications/{name:path}", pages.application),
    ]


def _tree(resources: Sequence[ResourceFact]) -> list[tuple[str, list[tuple[str, list[ResourceFact]]]]]:
    """Group objects by namespace and kind."""

    def kind_of(one: ResourceFact) -> str:
        return f"{one.kind}.{one.group}" if one.group else one.kind

    rows = sorted(resources, key=lambda one: (one.namespace, kind_of(one), one.name))
    return [
        (namespace, [(kind, list(those)) for kind, those in groupby(found, key=kind_of)])
        for namespace, found in groupby(rows, key=lambda one: one.namespace)
    ]


def _at(kind: str, name: str, **query: str) -> str:
    url = f"/{kind}/{quote(name, safe='/')}"
    return f"{url}?{urlencode(query)}" if query else url


def _link(query: Mapping[str, str], *, at: str = "/", page: int = 1, part: str = "") -> str:
    found = {key: value for key, value in query.items() if value}
    found |= ({"page": str(page)} if page > 1 else {}) | ({"part": part} if part else {})
    return f"{at}?{urlencode(found)}" if found else at


def _number(text: str | None) -> int:
    return max(1, int(text)) if text and text.isascii() and text.isdecimal() and len(text) < 7 else 1


def _cursor(request: Request) -> str | None:
    text = request.query_params.get("before", "")
    return text if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _csrf(request: Request) -> str:
    return quote(request.state.csrf or "", safe="")
