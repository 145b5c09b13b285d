"""Any receiver of CloudEvents: one event a request, as JSON, signed where a secret is set."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from updater.errors import NotifyError
from updater.model.message import Entry, Message
from updater.notifiers.base import Delivery, HttpNotifier, Limit, Reply, Request, Verdict, by_status
from updater.notifiers.fitting import one_line, short
from updater.notifiers.gateway import checked, reference
from updater.secrets import SecretRef
from updater.transport.http import Answer

SOURCE = "urn:updater"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SIGNATURE = "X-Updater-Signature"
TIMESTAMP = "X-Updater-Timestamp"
MAX_BODY = 64 << 10  # bytes; what CloudEvents wants every intermediary to pass on
_KEPT = (20, 3, 0)  # places and images that are told of an event that is too large, tried one after the other
_TEXTS = ("why", "old", "new", "digest", "reason", "commit", "commit_url", "release_notes", "text", "note")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({
    "content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding", "upgrade", "te",
    "trailer", "expect", "accept-encoding", "user-agent", SIGNATURE.lower(), TIMESTAMP.lower(),
})  # fmt: skip
_REFERENCES = frozenset({"env", "file", "k8s", "vault", "kms"})


def _address(value: object) -> object:
    """Take a plain address without secrets as it is, and a reference as one."""
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected https://host[:port][/path], env:NAME or file:/path")
    if value.partition(":")[0] in _REFERENCES:
        return reference(value)
    try:
        parts = urlsplit(checked(value))
    except NotifyError as err:
        raise ValueError(f"{err}; expected https://host[:port][/path], env:NAME or file:/path") from err
    if parts.query or parts.fragment:
        raise ValueError("a query may hold a secret; expected a secret reference of the whole address")
    return value


def _headers(value: dict[str, SecretRef]) -> dict[str, SecretRef]:
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError("expected names of headers")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is set by the program; expected other names of headers")
    return value


Address = Annotated[str | SecretRef, BeforeValidator(_address), WithJsonSchema({"type": "string", "minLength": 1})]
Headers = Annotated[dict[str, SecretRef], AfterValidator(_headers)]


class Webhook(HttpNotifier):
    """Any HTTP receiver: one CloudEvent 1.0 a request, of type `updater.<kind>`, whose data is the event.

    With `secret`, X-Updater-Signature is `sha256=` and the hexadecimal HMAC-SHA256 of `<timestamp>.<body>`, where the
    timestamp is that of X-Updater-Timestamp, in seconds: a receiver that refuses old ones cannot be sent one again by
    others. A repeated id is the same event again. Templates do not apply: data is data.
    """

    merges: ClassVar[bool] = False
    templated: ClassVar[bool] = False
    limit: ClassVar[Limit | None] = None  # it is the operator's own; one that answers 429 is left alone
    max_bytes: ClassVar[int] = MAX_BODY

    kind: Literal["webhook"] = "webhook"
    url: Address = Field(description="address of the receiver, as a secret reference where it holds a secret")
    secret: SecretRef | None = Field(None, description="secret reference of the key that signs requests")
    headers: Headers = Field({}, description="further headers: name -> secret reference of the whole value")

    def address(self) -> str:
        """Return the whole address. Raises SecretError, NotifyError."""
        return checked(self.url if isinstance(self.url, str) else self.url.resolve().strip())

    def request(self, delivery: Delivery) -> Request:
        """Return the signed request of one event. Raises SecretError, NotifyError."""
        body = _fitted(_event(delivery.message, delivery.now))
        headers = {"Content-Type": CONTENT_TYPE} | {name: _value(name, ref) for name, ref in self.headers.items()}
        if self.secret:
            timestamp = str(int(delivery.now.timestamp()))
            signed = hmac.new(self.secret.resolve().encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
            headers |= {TIMESTAMP: timestamp, SIGNATURE: f"sha256={signed.hexdigest()}"}
        return Request(self.address(), body, headers)

    def read(self, answer: Answer) -> Reply:
        """Judge the answer by its status alone: any 2xx is delivered."""
        return by_status(answer) or Reply(Verdict.DELIVERED)

    def weigh(self, message: Message) -> int:
        """Return the bytes of all its events."""
        parts = [replace(message, entries=(entry,)) for entry in message.entries] or [message]
        return sum(len(_spelled(_event(part, datetime.fromtimestamp(0, UTC)))) for part in parts)


def _event(message: Message, now: datetime) -> dict[str, Any]:
    """Return the CloudEvent of the only entry, or of a test, which has none."""
    if not message.entries:
        kind, name = ("test" if message.test else "note"), "updater"
        told = {"text": one_line(message.title)} | _note(message)
        return _envelope(message.id, kind, name, now, told)
    entry: Entry
    (entry,) = message.entries
    event = entry.event
    data = event.as_json() | {"text": one_line(entry.line or entry.headline)} | _note(message)
    kind = "test" if message.test else event.kind.value
    return _envelope(event.id, kind, one_line(event.subject.words), event.at, data)


def _note(message: Message) -> dict[str, str]:
    return {"note": one_line(message.note)} if message.note else {}


def _envelope(number: str, kind: str, subject: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": number,
        "source": SOURCE,
        "type": f"updater.{kind}",
        "subject": subject,
        "time": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }


def _spelled(event: dict[str, Any]) -> bytes:
    """Spell JSON in UTF-8; half surrogates, which no UTF-8 has, become question marks."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _fitted(event: dict[str, Any]) -> bytes:
    """Spell the event; what is too large says `truncated`, and lacks places and images first, then ends of texts."""
    body = b""
    for attempt in _shorter(event):
        body = _spelled(attempt)
        if len(body) <= MAX_BODY:
            break
    return body


def _shorter(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield event
    for kept in _KEPT:
        yield event | {"subject": short(event["subject"], 200), "data": _cut(event["data"], kept)}


def _cut(data: dict[str, Any], kept: int) -> dict[str, Any]:
    """Return the data with so many places and images; with fewer than at first, texts end early and labels go."""
    cut: dict[str, Any] = {key: data[key][:kept] for key in ("spots", "images") if key in data}
    if kept < _KEPT[0]:
        cut |= {key: short(data[key], 500) for key in _TEXTS if isinstance(data.get(key), str)}
        cut |= {"labels": {}} if "labels" in data else {}
        cut |= {"subject": {key: short(value, 200) for key, value in data.get("subject", {}).items()}}
    return data | cut | {"truncated": True}


def _value(name: str, held: SecretRef) -> str:
    value = held.resolve().strip()
    if not value.isascii() or not value.isprintable():
        raise NotifyError(f"the value of {name} holds characters that no header has")
    return value
