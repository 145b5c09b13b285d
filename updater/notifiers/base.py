"""The family of notifiers: how each service wants a message, and what its answers mean.

A member renders with its own escaping and judges the answer; it neither waits, nor retries, nor remembers. Pace,
backoff, order and what was delivered are the pipeline's (pipeline/notify.py).
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from updater.errors import NotifyError
from updater.model.limits import USUAL
from updater.model.message import Language, Message
from updater.notifiers.gateway import BaseUrl, rebased, token_of
from updater.plugins import Member
from updater.secrets import SecretRef, redact
from updater.transport.http import Answer, Http, TransportError

MAX_ANSWER = 64 << 10  # bytes of an answer
MAX_SAID = 300  # characters of what a service says that are kept
LONGEST_PAUSE = 3600.0  # seconds that a service may ask us to stay away


class Verdict(StrEnum):
    """What an answer means for the message.

    RETRY      a bad moment: again, with backoff
    PAUSE      too many: nothing more to this service for a while
    PERMANENT  this channel is set up wrong, or not wanted any more: a person must mend it
    DEGRADE    this content is not wanted: again as plain text, and if that is refused too it is given up
    """

    DELIVERED = "delivered"
    RETRY = "retry"
    PAUSE = "pause"
    PERMANENT = "permanent"
    DEGRADE = "degrade"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered.

    code     its own code, or `HTTP 503`; said: its own words, shortened; never a secret
    meaning  in plain words, with what to do where something is to do
    after    seconds to stay away, where it said so
    thread   what the next message about the same subject hangs on, where the service has threads
    """

    verdict: Verdict
    code: str = ""
    said: str = ""
    meaning: str = ""
    after: float | None = None
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` messages in `seconds`, whoever sends them with the same address or token."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `url` may hold a secret and is never shown."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Wire:
    """The way out: one HTTP client, the private CA for what is no HTTP, and how long a message may take."""

    http: Http
    ca_file: Path | None = None
    seconds: float = USUAL.message


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver.

    plain    the service refused the content before: markup and cards are left out
    thread   what the service returned for an earlier message about the same subject, else None
    now      aware, in UTC; signatures are made of it
    """

    message: Message
    now: datetime
    plain: bool = False
    thread: str | None = None


class Notifier(Member, ABC):
    """One channel of the configuration.

    merges    whether several events may be one message
    templated  whether templates apply
    threads   whether a message may hang on an earlier one, by what the service answered to that
    limit     how often it may be sent to; None: as often as one likes
    max_bytes  of one rendered message; what is larger is cut into several, and a single event is shortened
    """

    merges: ClassVar[bool] = True
    templated: ClassVar[bool] = True
    threads: ClassVar[bool] = False
    limit: ClassVar[Limit | None] = Limit(60, 60.0)
    max_bytes: ClassVar[int] = 16_000

    name: str | None = Field(None, min_length=1, max_length=64, description="how routes call it; default its kind")
    language: Language | None = Field(None, description="en | zh; default that of `notifications`")
    templates: dict[str, str] = Field(
        {}, description="event kind (or *) -> Jinja text that takes the place of our words, in the service's markup"
    )

    @property
    def title(self) -> str:
        """The name that routes, tables and metrics use."""
        return str(self.name or getattr(self, "kind", ""))

    @abstractmethod
    def address(self) -> str:
        """Return what limits are counted by: the resolved address or token. A secret: it is only hashed.

        Raises SecretError, NotifyError.
        """

    @abstractmethod
    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Send once and read the answer. What the network did wrong is a Reply as well; raises SecretError alone."""

    @abstractmethod
    def weigh(self, message: Message) -> int:
        """Return the bytes of the rendered message, without any secret being read."""

    @staticmethod
    def escape(text: str) -> str:
        """Return a text from outside so that the service shows it and does nothing else with it."""
        return text


class HttpNotifier(Notifier):
    """A notifier whose message is one HTTP request: members say which, and read the answer. Both are pure."""

    @abstractmethod
    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt. Raises SecretError, NotifyError."""

    @abstractmethod
    def read(self, answer: Answer) -> Reply:
        """Judge the answer."""

    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Send the request and judge the answer; no answer is a bad moment."""
        try:
            request = self.request(delivery)
        except NotifyError as err:
            return Reply(Verdict.PERMANENT, "", redact(str(err)), "this channel is not configured completely")
        headers = {"Content-Type": "application/json; charset=utf-8"} | dict(request.headers)
        try:
            answer = wire.http.request(
                request.method, request.url, content=request.body, headers=headers,
                max_bytes=MAX_ANSWER, deadline=time.monotonic() + wire.seconds,
            )  # fmt: skip
        except TransportError as err:
            verdict = Verdict.RETRY if err.retryable else Verdict.PERMANENT
            said = redact(self.without_path(str(err), request.url))
            return Reply(verdict, "", said[:MAX_SAID], "no usable answer came")
        return self.read(answer)

    @staticmethod
    def without_path(text: str, url: str) -> str:
        """Blank the path of an address in a text: many services keep their secret there."""
        path = urlsplit(url).path
        return text.replace(path, "/***") if len(path) > 1 else text


def said(text: object) -> str:
    """Return what a service said, on one line and shortened; hostile until shown, and never a secret."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return redact(" ".join(line.split()))[:MAX_SAID]


def body_said(answer: Answer) -> str:
    """Return what stands in the body of an answer that is none of the service's own."""
    return said(answer.body[:2000].decode(errors="replace"))


def document(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer, empty where it is none."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def by_status(answer: Answer, now: Callable[[], float] = time.time) -> Reply | None:
    """Judge an answer by its status alone: None for 2xx, whose body must be judged.

    408, 425, 5xx: a bad moment. 429: stay away, as long as Retry-After says, else a minute. 401, 403, 404, 410: the
    channel is set up wrong or gone. Other 3xx and 4xx: this content is not wanted; redirects are never followed.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    code, words = f"HTTP {status}", body_said(answer)
    if status == 429:
        return Reply(Verdict.PAUSE, code, words, "too many messages", retry_after(answer, now()) or 60.0)
    if status in {408, 425} or status >= 500:
        return Reply(Verdict.RETRY, code, words, "the service has a bad moment", retry_after(answer, now()))
    if status in {401, 403, 404, 410}:
        return Reply(Verdict.PERMANENT, code, words, "the address or the token is wrong, or was withdrawn")
    if 300 <= status < 400:
        return Reply(Verdict.PERMANENT, code, words, "the address leads elsewhere; a redirect is not followed")
    return Reply(Verdict.DEGRADE, code, words, "the service does not take this message")


def retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds of Retry-After, a number or a date, from 1 s to an hour; None where it says nothing."""
    text = (answer.header("retry-after") or "").strip()
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return bounded(seconds)


def seconds_of(value: object) -> float | None:
    """Return the seconds of a field of JSON, from 1 s to an hour; None where it is no number above nothing."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return bounded(value) if fine else None  # type: ignore[arg-type]


def bounded(seconds: float) -> float:
    """Return from 1 s to an hour: nobody keeps us away for longer."""
    return min(max(1.0, float(seconds)), LONGEST_PAUSE)


def compact(value: Any) -> bytes:
    """Spell JSON as it is sent: UTF-8, no blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class WebhookAddress(HttpNotifier):
    """What the services with an incoming webhook share: `url` is all of it, or `token` stands alone.

    Members set `public`, the service's address with `{token}` in it.
    """

    public: ClassVar[str]

    url: SecretRef | None = Field(None, description="secret reference of the whole address of the webhook")
    token: SecretRef | None = Field(None, description="secret reference of the token alone, in place of url")
    base_url: BaseUrl | None = Field(None, description="a private gateway in place of the service's public address")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.token is None):
            found = "both `url` and `token`" if self.url else "neither `url` nor `token`"
            raise PydanticCustomError("at", "{said}", {"said": f"found {found}, expected one of them", "key": "kind"})
        return self

    def address(self) -> str:
        """Return the whole address, which holds the token."""
        whole = self.url.resolve().strip() if self.url else self.public.format(token=self._token())
        return rebased(whole, self.base_url)

    def _token(self) -> str:
        assert self.token is not None
        return token_of(self.token)
