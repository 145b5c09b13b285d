"""The latest commits as an Atom feed. Everything in it is text from outside, and escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from updater.errors import StoreError
from updater.web import facts
from updater.web.api import tagged
from updater.web.ledger import ledger_of
from updater.web.models import Change
from updater.web.problems import problem

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

ENTRIES = 50
PATH = "/feed.atom"


def feed(request: Request) -> Response:
    """Return the feed."""
    desk: Desk = request.app.state.desk
    try:
        body = ledger_of(desk).kept.get(desk.bell, PATH, lambda: _feed(desk))
    except StoreError as err:
        return problem(503, str(err))
    return tagged(request, body, "application/atom+xml")


def _feed(desk: Desk) -> bytes:
    found: list[Change] = facts.changes(desk, ENTRIES).items
    page = (desk.settings.web.public_url if desk.settings.web else None) or ""
    links = f"<link rel='self' href={quoteattr(page.rstrip('/') + PATH)}/>" if page else ""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        "<id>urn:x-updater:changes</id><title>Image updates</title>",
        f"<author><name>Image Updater</name></author>{links}",
        f"<updated>{_time(found[0].at if found else desk.started)}</updated>",
        *(_entry(one) for one in found),
        "</feed>",
    ]
    return "\n".join(lines).encode()


def _entry(one: Change) -> str:
    changes = [f"{link.image} {link.old or '-'} -> {link.new or '-'}" for link in one.changes]
    text = "\n".join([*changes, *(f"in {place}" for place in one.places), one.why])
    name = quote(f"{one.repository}:{one.revision}", safe=":")
    return (
        f"<entry><id>urn:x-updater:{name}</id><title>{escape(one.subject)}</title>"
        f"<updated>{_time(one.at)}</updated>{_link('alternate', one.url)}{_link('related', one.release_notes)}"
        f"<category term={quoteattr(one.repository)}/><content type='text'>{escape(text)}</content></entry>"
    )


def _link(rel: str, url: str | None) -> str:
    return f"<link rel='{rel}' href={quoteattr(url)}/>" if url else ""


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


routes = [Route(PATH, feed)]
