"""What a messaging service is to its senders: an address, a door, limits, and rules for contents. No socket here."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer; in a script, `stored` says that the service took the message and fails only now."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stored: bool = False


def say(value: object, status: int = 200, *headers: tuple[str, str], stored: bool = False) -> Answered:
    """Return an answer in JSON."""
    named = (("Content-Type", "application/json; charset=utf-8"), *headers)
    return Answered(status, json.dumps(value, ensure_ascii=False).encode(errors="replace"), named, stored)


def retry_after(seconds: float) -> tuple[str, str]:
    """Return the header that says how long to stay away, in whole seconds."""
    return "Retry-After", str(math.ceil(seconds))


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request as it came, whatever became of it.

    service   the kind of service that has such a path, empty for none
    token     what names the robot, hook or topic: of the path, the query, the login or the body
    query     percent-decoded once
    document  the JSON object of the body, None where it is none
    at        by the sink's clock; arrived: time.monotonic() when the request line was read
    """

    service: str
    token: str = field(repr=False)
    method: str
    path: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Message = field(repr=False)
    body: bytes
    document: Json | None
    at: float
    arrived: float


def bearer(headers: Message) -> str:
    """Return the token of the Authorization header, empty where it has none."""
    scheme, _, value = str(headers.get("Authorization", "")).partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class Received:
    """One message that a service accepted; times as in Arrived."""

    service: str
    token: str = field(repr=False)
    path: str = field(repr=False)
    body: Json
    at: float
    arrived: float


@dataclass(frozen=True, slots=True)
class Setup:
    """What is set up for the tokens; `tokens` None: any token is known."""

    tokens: frozenset[str] | None = field(default=None, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    keywords: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def knows(self, token: str) -> bool:
        """Whether there is such a robot, hook or login."""
        return bool(token) and (self.tokens is None or token in self.tokens)

    def speaks(self, token: str, document: Json | None) -> bool:
        """Whether the message holds one of the keywords of the token, where it has some."""
        wanted = self.keywords.get(token, ())
        return not wanted or any(word in text for text in texts_in(document) for word in wanted)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` messages in any `seconds`; what is more shuts the token out for `away` seconds."""

    count: int
    seconds: float
    away: float = 0.0


class Meter:
    """Remembers how often each token was let through; its owner lets one thread in at a time."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str], list[deque[float]]] = {}
        self._away: dict[tuple[str, str], float] = {}

    def over(self, key: tuple[str, str], limits: Sequence[Limit], now: float) -> tuple[float, bool] | None:
        """Count a message; else return the seconds to stay away, and whether it was shut out before."""
        if (left := self._away.get(key, now) - now) > 0:
            return left, True
        passed = self._passed.setdefault(key, [deque(maxlen=limit.count) for limit in limits])
        for times, limit in zip(passed, limits, strict=True):
            if len(times) == limit.count and (left := times[0] + limit.seconds - now) > 0:
                self._away[key] = now + limit.away
                return max(left, limit.away), False
        for times in passed:
            times.append(now)
        return None


Check = Callable[[Arrived, Setup], Answered | None]
"""Returns how a message is refused, or None."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its address, and what it checks in this order.

    route    the whole path; a group `token` where the token stands in it
    token    where it stands: `path`, `query NAME`, `bearer`, or `body NAME`
    door     token, signature and headers; what passes it counts against the limits, whatever its content
    slow     the refusal of what is too much: the seconds to stay away, and whether that was said before
    taken    the answer to what is accepted, which has a number
    """

    name: str
    route: re.Pattern[str]
    token: str
    door: Check
    content: Check
    slow: Callable[[float, bool], Answered]
    taken: Callable[[Arrived, int], Answered]
    limits: tuple[Limit, ...] = ()
    methods: tuple[str, ...] = ("POST",)

    def refusal(self, arrived: Arrived, setup: Setup, meter: Meter, limits: Sequence[Limit]) -> Answered | None:
        """Return how the service refuses the request, None where it accepts it."""
        if arrived.method not in self.methods:
            return Answered(405, headers=(("Allow", ", ".join(self.methods)),))
        if refused := self.door(arrived, setup):
            return refused
        if over := meter.over((self.name, arrived.token), limits, arrived.at):
            return self.slow(*over)
        return self.content(arrived, setup)


def always(answer: Answered) -> Callable[[Arrived, int], Answered]:
    """Return what answers so to every message."""
    return lambda _arrived, _number: answer


def object_in(body: bytes) -> Json | None:
    """Return the JSON object of a body, None where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def at(document: object, *path: str) -> Any:
    """Return what stands there in nested objects, None where nothing does."""
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def text_at(document: object, *path: str) -> str:
    """Return the text that stands there, empty where none does."""
    found = at(document, *path)
    return found if isinstance(found, str) else ""


def list_at(document: object, *path: str) -> list[Any]:
    """Return the list that stands there, empty where none does."""
    found = at(document, *path)
    return found if isinstance(found, list) else []


def texts_in(document: object) -> Iterator[str]:
    """Yield every text in a document, however deep."""
    rest: list[object] = [document]
    while rest:
        match rest.pop():
            case str(text):
                yield text
            case list(values):
                rest.extend(values)
            case dict(values):
                rest.extend(values.values())
            case _:
                continue


def size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    return len(text.encode(errors="replace"))


def sha256(key: str, message: bytes) -> bytes:
    """Return the HMAC-SHA256."""
    return hmac.new(key.encode(), message, hashlib.sha256).digest()


def same(one: str, other: str) -> bool:
    """Compare two signatures in constant time."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def near(text: object, now: float, seconds: float, unit: float = 1.0) -> bool:
    """Whether a time, in units of so many seconds, is no further from now."""
    digits = str(text)
    return digits.isdecimal() and len(digits) <= 16 and abs(int(digits) * unit - now) <= seconds
