"""Messages for the tests of notifiers: one event, several, a failure, a test, and texts that want to do harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.lab import robots
from tests.lab.scripted import Answered, Asked, Scripted
from updater.model.event import Event, Kind, Spot, Subject
from updater.model.message import Entry, Language, Link, Message
from updater.notifiers.base import Delivery, HttpNotifier, Reply, Request, Wire
from updater.transport.http import Answer, Http

NOW = datetime(2026, 11, 25, 18, 0, 5, tzinfo=UTC)
EVIL = "evil.example"
HOSTILE = (
    "v1*b*_i_~s~`c`|t| <!channel> <!here> <@U123> <#C1> @everyone @channel <at>all</at> "
    f'[x](https://{EVIL}) <https://{EVIL}|x> <a href="https://{EVIL}">x</a> <b>x</b> </code> &lt; &amp; # h ${{x}} '
    f"{{{{ 7*7 }}}} \r\nBcc: victim@{EVIL}\r\n\r\n> q\n- l\n1. l\x00\x1b[31m\u202egpj.exe\ud800 https://{EVIL}/?a=1&b=2"
)
COMMIT = Link("Commit", "https://git.example.com/fleet/commit/4f2c9d1")
NOTES = Link("Release notes", "https://github.com/acme/api/releases")


def event(kind: Kind = Kind.IMAGE_UPDATED, name: str = "api", **more: Any) -> Event:
    given: dict[str, Any] = {"old": "1.4.2", "new": "1.5.0", "reason": "", "commit": "4f2c9d1"} | more
    spots = (Spot("fleet", "main", "apps/api/deployment.yaml", 17, f"ghcr.io/acme/{name}"),)
    return Event(
        kind, NOW, Subject(image=name, reference=f"ghcr.io/acme/{name}", repository="fleet"), spots=spots, **given
    )


def entry(kind: Kind = Kind.IMAGE_UPDATED, name: str = "api", **more: Any) -> Entry:
    given: dict[str, Any] = {
        "headline": f"{name} 1.4.2 -> 1.5.0",
        "facts": (("Image", f"ghcr.io/acme/{name}"), ("File", "apps/api/deployment.yaml:17")),
        "links": (COMMIT, NOTES),
    } | more
    return Entry(event(kind, name), **given)


def message(*entries: Entry, language: Language = "en", **more: Any) -> Message:
    title = entries[0].headline if len(entries) == 1 else f"{len(entries)} images updated"
    given: dict[str, Any] = {"id": "0123456789abcdef0123456789abcdef", "title": title} | more
    return Message(given.pop("id"), given.pop("title"), entries, language, **given)


SINGLE = message(entry())
SEVERAL = message(entry(), entry(name="web"), entry(Kind.UPDATE_HELD, "db", links=(NOTES,)))
FAILURE = message(entry(Kind.SCAN_FAILED, headline="api: scan failed", action="Look at the registry.", links=()))
TEST = message(title="Test message of updater", test=True)
HELD_BACK = message(title="12 events were held back", note="12 events were held back since yesterday.")
EVERY = {"single": SINGLE, "several": SEVERAL, "failure": FAILURE, "test": TEST, "held back": HELD_BACK}

HOSTILE_MESSAGE = message(
    entry(
        headline=HOSTILE,
        facts=((HOSTILE, HOSTILE), ("Tag", HOSTILE)),
        action=HOSTILE,
        links=(
            Link(HOSTILE, COMMIT.url),
            Link("x", "javascript:alert(1)"),
            Link("x", f'https://{EVIL}/"><script>'),
            Link("x", f"https://{EVIL}/\r\nBcc: x"),
            Link("x", "https://" + "a" * 5000),
        ),
    ),
    note=HOSTILE,
)
LONG = "longword " * 2000
HUGE = message(
    entry(
        headline=LONG,
        facts=tuple((f"Label {number} {LONG}", f"<&*_`>{LONG}") for number in range(60)),
        action=LONG,
        links=tuple(Link(LONG, f"https://git.example.com/{number}/" + "a" * 1800) for number in range(30)),
    ),
    note=LONG,
)
MANY = message(*(entry(name=f"image-{number}") for number in range(300)))
MARKED = message(entry(markup="operator's *own* <b>words</b>"))
MARKED_HUGE = message(entry(markup="<b>" + "x" * 300_000 + "</b>"))


def delivery(told: Message = SINGLE, *, plain: bool = False, thread: str | None = None) -> Delivery:
    return Delivery(told, NOW, plain, thread)


def body(request: Request) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a document, however deep."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    return robots.answer(body.encode() if isinstance(body, str) else body, status, **headers)


@contextmanager
def served(script: Callable[[Asked], Answered]) -> Iterator[tuple[Scripted, Wire]]:
    """A service on loopback, and a wire that reaches it."""
    with Scripted(script) as server, Http() as http:
        yield server, Wire(http, seconds=5.0)


def over_the_wire(channel: HttpNotifier, wire: Wire, secret: str) -> tuple[Reply, Reply]:
    """Deliver twice, and check that no secret is in what is kept or shown."""
    replies = channel.deliver(delivery(), wire), channel.deliver(delivery(SEVERAL), wire)
    request = channel.request(delivery())
    for shown in (*map(repr, replies), *map(str, replies), repr(channel), str(channel), repr(request)):
        assert secret not in shown
    return replies


def in_turn(*answers: Answered) -> Callable[[Asked], Answered]:
    """Answer one request after the other."""
    left = list(answers)
    return lambda _: left.pop(0)
