"""The API: the same facts and deeds as the page, as JSON. The table at the end is all there is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from updater.errors import StoreError
from updater.model.event import Kind
from updater.store.outbox import State
from updater.web import deeds, facts
from updater.web.bodies import body_of
from updater.web.deeds import Refusal
from updater.web.ledger import ledger_of
from updater.web.models import (
    Application,
    ApplicationDetail,
    Change,
    ChangeDetail,
    Channel,
    Fact,
    Image,
    ImageDetail,
    LetterFact,
    Overview,
    Page,
    Told,
)
from updater.web.openapi import BASE, Get, Nothing, Other, Post, document
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk
    from updater.web.sessions import Person

MAX_BODY = 64 << 10  # bytes
MAX_LIMIT = 500
LARGEST = (1 << 63) - 1  # number of a row

T = TypeVar("T", bound=BaseModel)
N = TypeVar("N", Image, Application)
Params = Mapping[str, str]


class Paged(Fact, Generic[T]):
    """One page of a list; `next` is the cursor of the following one, null at the end."""

    items: list[T]
    next: str | None


class Letters(Fact):
    """The channels, and one page of messages."""

    channels: list[Channel]
    items: list[LetterFact]
    next: str | None


class Paging(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="of one page")
    cursor: str = Field("", max_length=1000, description="`next` of the page before")


class ImagesQuery(Paging):
    """Which images."""

    outcome: str = Field("", max_length=30, description="failed, updated, available, held, up_to_date or unknown")
    reason: str = Field("", max_length=500, description="a word of why")
    registry: str = Field("", max_length=300, description="host[:port]")
    label: str = Field("", max_length=500, description="KEY or KEY=VALUE")
    q: str = Field("", max_length=500, description="words in name, image and versions")


class ChangesQuery(Paging):
    """Which commits."""

    image: str = Field("", max_length=500, description="the name of an item")


class ApplicationsQuery(Paging):
    """Which applications."""

    sync: str = Field("", max_length=30, description="Synced, OutOfSync or Unknown")
    health: str = Field("", max_length=30, description="e.g. Degraded")
    cluster: str = Field("", max_length=300)
    project: str = Field("", max_length=300)


class LettersQuery(Paging):
    """Which messages."""

    channel: str = Field("", max_length=100)
    state: str = Field("", pattern="^(waiting|sent|dead|cancelled|)$", description="waiting, sent, dead or cancelled")


class EventsQuery(Paging):
    """Which events."""

    kind: str = Field("", pattern=f"^({'|'.join(Kind)}|)$", description="a kind of the contract")
    image: str = Field("", max_length=500, description="the name of an item")


class HoldBody(Nothing):
    """How long, and why."""

    until: str | None = Field(None, max_length=100, description="7d, or a time; null: until it is resumed")
    reason: str = Field("", max_length=500, description="one line, shown wherever the hold is")


class ApproveBody(Nothing):
    """Which tag."""

    tag: str | None = Field(None, max_length=200, description="null: the newest that a gate stopped")


class RollbackBody(Nothing):
    """Where to."""

    to: str | None = Field(None, max_length=200, description="a tag; null: what stood there before")


class Done(Fact):
    """The items, or the application, that it was done to."""

    names: list[str]


class Approved(Fact):
    """The tag that may pass once, by item."""

    approved: dict[str, str]


class RolledBack(Fact):
    """What `rollback --json` prints; `state` is `done`, or `under_way` where it takes long."""

    model_config = ConfigDict(extra="allow")

    state: str
    items: list[dict[str, Any]]


class Tried(Fact):
    """What a service answered to a test."""

    channel: str
    delivered: bool
    verdict: str
    code: str
    said: str
    meaning: str


class Unknown(ValueError):
    """A cursor that is none of ours."""


def cursor(text: str) -> str:
    """Return an opaque cursor."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def uncursor(text: str) -> str:
    """Return what a cursor stands for. Raises Unknown."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as err:
        raise Unknown("cursor: expected `next` of a page before") from err
    if found and cursor(found) != text:
        raise Unknown("cursor: expected `next` of a page before")
    return found


def _number(text: str) -> str | None:
    """Return the number of a row that a cursor stands for; None for no cursor."""
    found = uncursor(text)
    if found and not (found.isascii() and found.isdigit() and 0 < int(found[:20]) <= LARGEST):
        raise Unknown("cursor: expected `next` of a page before")
    return found or None


def _paged(page: Page) -> Page:
    return Page(items=page.items, next=cursor(page.next) if page.next else None)


def _named(found: Sequence[N], names: Sequence[str], query: Paging) -> Page:
    """Return one page of what has names; `names` are those of all, in their order, wanted or not."""
    after = uncursor(query.cursor)
    if after and after not in names:
        raise Unknown("cursor: what it stands for is not there any more; begin again")
    if after:
        rest = frozenset(names[names.index(after) + 1 :])
        found = [one for one in found if one.name in rest]
    some = list(found[: query.limit])
    return Page(items=some, next=cursor(some[-1].name) if len(found) > len(some) else None)


# --- questions -------------------------------------------------------------------------------------------------------


def _overview(desk: Desk, _: Params, __: Nothing) -> Overview:
    return facts.overview(desk)


def _images(desk: Desk, _: Params, query: ImagesQuery) -> Page:
    found = facts.images(desk)
    wanted = query.model_dump(include={"outcome", "reason", "registry", "label", "q"})
    return _named(facts.select(found, **wanted), [one.name for one in found], query)


def _image(desk: Desk, path: Params, _: Nothing) -> ImageDetail | None:
    return facts.image(desk, path["name"])


def _changes(desk: Desk, _: Params, query: ChangesQuery) -> Page:
    return _paged(facts.changes(desk, query.limit, _number(query.cursor), item=query.image))


def _change(desk: Desk, path: Params, _: Nothing) -> ChangeDetail | None:
    return facts.change(desk, path["repository"], path["revision"])


def _applications(desk: Desk, _: Params, query: ApplicationsQuery) -> Page:
    found = facts.applications(desk)
    wanted = query.model_dump(include={"sync", "health", "cluster", "project"})
    some = [one for one in found if all(not text or getattr(one, key) == text for key, text in wanted.items())]
    return _named(some, [one.name for one in found], query)


def _application(desk: Desk, path: Params, _: Nothing) -> ApplicationDetail | None:
    return facts.application(desk, path["name"])


def _letters(desk: Desk, _: Params, query: LettersQuery) -> Letters:
    states = [State(query.state)] if query.state else []
    page = facts.letters(desk, query.limit, _number(query.cursor), channel=query.channel or None, states=states)
    return Letters(channels=facts.channels(desk), **dict(_paged(page)))


def _events(desk: Desk, _: Params, query: EventsQuery) -> Page:
    subject = f"item={query.image}" if query.image else None
    kinds = [Kind(query.kind)] if query.kind else []
    return _paged(facts.events(desk, query.limit, _number(query.cursor), kinds=kinds, subject=subject))


# --- deeds -----------------------------------------------------------------------------------------------------------


def _check(desk: Desk, person: Person, path: Params, _: Nothing) -> Done:
    return Done(names=deeds.check(desk, person, path["name"]))


def _hold(desk: Desk, person: Person, path: Params, body: HoldBody) -> Done:
    return Done(names=deeds.hold(desk, person, path["name"], body.until, body.reason))


def _resume(desk: Desk, person: Person, path: Params, _: Nothing) -> Done:
    return Done(names=deeds.resume(desk, person, path["name"]))


def _approve(desk: Desk, person: Person, path: Params, body: ApproveBody) -> Approved:
    return Approved(approved=deeds.approve(desk, person, path["name"], body.tag))


def _rollback(desk: Desk, person: Person, path: Params, body: RollbackBody) -> RolledBack:
    return RolledBack(**deeds.rollback(desk, person, path["name"], body.to))


def _sync(desk: Desk, person: Person, path: Params, _: Nothing) -> Done:
    return Done(names=[deeds.sync(desk, person, path["name"])])


def _test(desk: Desk, person: Person, path: Params, _: Nothing) -> Tried:
    return Tried(**deeds.test(desk, person, path["channel"]))


ENDPOINTS = (
    Get(f"{BASE}/overview", "The whole at a glance", Overview, _overview),
    Get(f"{BASE}/images", "Every item, as it stood at the last look", Paged[Image], _images, ImagesQuery),
    Post(f"{BASE}/images/{{name:path}}/check", "Look at once", Done, _check, later=True),
    Post(f"{BASE}/images/{{name:path}}/hold", "Stop updates", Done, _hold, HoldBody),
    Post(f"{BASE}/images/{{name:path}}/resume", "Let it go on", Done, _resume),
    Post(f"{BASE}/images/{{name:path}}/approve", "Let one tag pass once", Approved, _approve, ApproveBody),
    Post(f"{BASE}/images/{{name:path}}/rollback", "Go back, and hold", RolledBack, _rollback, RollbackBody),
    Get(f"{BASE}/images/{{name:path}}", "One item, with every tag and why", ImageDetail, _image),
    Get(f"{BASE}/changes", "Our commits, the newest first", Paged[Change], _changes, ChangesQuery),
    Get(f"{BASE}/changes/{{repository}}/{{revision}}", "One commit, with its diff", ChangeDetail, _change),
    Get(f"{BASE}/applications", "Every application", Paged[Application], _applications, ApplicationsQuery),
    Post(f"{BASE}/applications/{{name:path}}/sync", "Sync at once", Done, _sync, later=True),
    Get(f"{BASE}/applications/{{name:path}}", "One application, with its objects", ApplicationDetail, _application),
    Get(f"{BASE}/notifications", "Messages: to whom, and what was answered", Letters, _letters, LettersQuery),
    Post(f"{BASE}/notifications/{{channel}}/test", "Send a real message to a channel", Tried, _test),
    Get(f"{BASE}/events", "What happened, the newest first", Paged[Told], _events, EventsQuery),
    Other(f"{BASE}/stream", "What changes, as it does: server-sent events `images`, `overview`", "text/event-stream"),
    Other("/feed.atom", "The latest commits", "application/atom+xml"),
)


# --- how it is served ------------------------------------------------------------------------------------------------


def tagged(request: Request, body: bytes, media: str) -> Response:
    """Return an answer with its ETag; without the body where the reader has it."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    headers = {"etag": etag}
    if known & {etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media)


def query_of(request: Request, model: type[T]) -> T:
    """Return the parameters of a question. Raises ValidationError, Unknown for one that is there twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Unknown(f"{twice[0][:100]}: given more than once")
    return model.model_validate(dict(request.query_params))


def _answering(one: Get) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        desk: Desk = request.app.state.desk
        try:
            query = query_of(request, one.query)
            body = _rendered(desk, one, request.path_params, query)
        except ValidationError as err:
            return _invalid(400, err)
        except Unknown as err:
            return problem(400, str(err))
        except StoreError as err:
            return problem(503, str(err))
        return problem(404, "there is no such") if body is None else tagged(request, body, "application/json")

    return answer


def _rendered(desk: Desk, one: Get, path: Params, query: BaseModel) -> bytes | None:
    """Return the bytes of an answer, made once for all who ask the same until something changes."""

    def make() -> bytes | None:
        found = one.make(desk, path, query)
        return None if found is None else found.model_dump_json().encode()

    key = (one.path, tuple(sorted(path.items())), query.model_dump_json())
    return ledger_of(desk).kept.get(desk.bell, key, make)


def _doing(one: Post) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        raw = await body_of(request, MAX_BODY)
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if raw and media != "application/json":
            return problem(415, "expected a body of application/json")
        try:
            body = one.body.model_validate_json(raw or b"{}")
        except ValidationError as err:
            return _invalid(422, err)
        return await run_in_threadpool(_do, one, request, body)

    return answer


def _do(one: Post, request: Request, body: BaseModel) -> Response:
    desk: Desk = request.app.state.desk
    try:
        done = one.do(desk, request.state.person, request.path_params, body)
    except Refusal as err:
        return problem(err.status, err.detail)
    except StoreError as err:
        return problem(503, str(err))
    later = one.later or getattr(done, "state", "") == "under_way"
    return JSONResponse(done.model_dump(mode="json"), 202 if later else 200)


def _invalid(status: int, err: ValidationError) -> Response:
    errors = [
        {"where": ".".join(str(part)[:100] for part in one["loc"][:5]), "what": one["msg"][:300]}
        for one in err.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]
    first = f"{errors[0]['where']}: {errors[0]['what']}" if errors[0]["where"] else str(errors[0]["what"])
    return problem(status, first, errors=errors)


def _described(request: Request) -> Response:
    return tagged(request, _description(), "application/json")


@cache
def _description() -> bytes:
    return json.dumps(document(ENDPOINTS)).encode()


routes = [
    Route("/openapi.json", _described),
    *(
        Route(one.path, _answering(one), methods=["GET"])
        if isinstance(one, Get)
        else Route(one.path, _doing(one), methods=["POST"])
        for one in ENDPOINTS
        if not isinstance(one, Other)
    ),
]
