"""Messages for group robots, their answers, and texts that strangers would like to see in a chat."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx

from updater.model.event import Event, Kind, Subject
from updater.model.message import Entry, Language, Link, Message
from updater.notifiers.base import Delivery, HttpNotifier
from updater.transport.http import Answer

NOW = datetime(2026, 11, 25, 8, 30, 15, 250_000, tzinfo=UTC)
UPDATED, FAILED, HELD, HELD_UPDATE = Kind.IMAGE_UPDATED, Kind.SCAN_FAILED, Kind.MOVED_TAG, Kind.UPDATE_HELD
COMMIT = Link("View commit", "https://git.example.com/fleet/commit/abc")
NOTES = Link("Changelog", "https://example.com/notes(1.5)")

HOSTILE = {
    "link": "[click](https://evil.example/x)",
    "image": "![x](https://evil.example/x.png)",
    "heading": "# Urgent",
    "quotation": "> said",
    "list item": "- item",
    "numbered item": "1. item",
    "rule": "---",
    "bold": "**free**",
    "code": "`rm`",
    "strike": "~~gone~~",
    "html": "<font color='red'>x</font><at user_id=\"all\">x</at>",
    "entity": "&lt;at id=all&gt;",
    "mention": "@all @13800000000 <@boss>",
    "address": "https://evil.example/x and www.evil.example",
    "lines": "one\n# two\r\n- three\u2028four",
    "direction": "1.5.0\u202e0.5.1",
    "backslash": "\\[x\\]",
}


def entry(
    kind: Kind = UPDATED,
    headline: str = "api 1.4.2 -> 1.5.0",
    facts: tuple[tuple[str, str], ...] = (("Image", "ghcr.io/acme/api"),),
    action: str = "",
    *,
    links: tuple[Link, ...] = (),
    markup: str | None = None,
) -> Entry:
    return Entry(Event(kind, NOW, Subject(image="api")), headline, facts, action, links, markup)


def message(*entries: Entry, title: str = "", note: str = "", test: bool = False, language: Language = "en") -> Message:
    return Message("id-1", title or (entries[0].headline if entries else "Updater"), entries, language, note, test)


def body(notifier: HttpNotifier, told: Message, *, plain: bool = False) -> dict[str, Any]:
    """Return the document that would be sent."""
    found: dict[str, Any] = json.loads(notifier.request(Delivery(told, NOW, plain)).body)
    return found


def answer(document: object, status: int = 200, **headers: str) -> Answer:
    said = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), said, "")
