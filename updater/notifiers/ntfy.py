"""ntfy: a topic on ntfy.sh, or on a server of one's own."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from updater.errors import NotifyError
from updater.model.event import Severity
from updater.model.message import Entry, Link, Message
from updater.notifiers.base import (
    Delivery,
    HttpNotifier,
    Limit,
    Reply,
    Request,
    Verdict,
    body_said,
    by_status,
    compact,
    document,
    said,
)
from updater.notifiers.fitting import cleaned, fitted, plain_entry, plain_text, short, within
from updater.notifiers.gateway import BaseUrl, rebased, reference, token_of
from updater.secrets import SecretRef, remember
from updater.transport.http import Answer

PUBLIC = "https://ntfy.sh"
MAX_TEXT = 4096  # bytes of the text; what is longer becomes an attachment
MAX_TITLE = 200  # characters
ACTIONS = 3
_PRIORITIES = {Severity.INFO: 3, Severity.WARNING: 4, Severity.ERROR: 5}
_TAGS = {Severity.INFO: "package", Severity.WARNING: "warning", Severity.ERROR: "rotating_light"}
_SPECIAL = re.compile(r"([\\*_~`|>\[\]()<#!&])")

_CODES: dict[int, tuple[Verdict, str, float | None]] = {
    40009: (Verdict.PERMANENT, "the topic is no name of a topic", None),
    40010: (Verdict.PERMANENT, "the server does not allow this name of a topic", None),
    42901: (Verdict.PAUSE, "too many requests", 60.0),
    42904: (Verdict.PAUSE, "the server holds as many topics as it may", 3600.0),
    42905: (Verdict.PAUSE, "too much was sent today", 3600.0),
    42908: (Verdict.PAUSE, "too many messages were sent today", 3600.0),
}
"""`code` of an error: verdict, meaning, seconds to stay away; heckel/ntfy server/errors.go."""


def _topic(value: object) -> object:
    """Take a name as it is, and a reference as one: on a public server the name is all that keeps others out."""
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected the name of a topic, env:NAME or file:/path")
    if ":" in value:
        return reference(value)
    if not _TOPIC.fullmatch(value):
        raise ValueError("expected at most 64 letters, digits, _ and -, or env:NAME, file:/path")
    return value


_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
Topic = Annotated[str | SecretRef, BeforeValidator(_topic), WithJsonSchema({"type": "string", "minLength": 1})]


class Ntfy(HttpNotifier):
    """A topic of ntfy. Templates are its Markdown, which its web application shows."""

    limit: ClassVar[Limit] = Limit(12, 60.0)  # the public server gives one request back every 5 s
    max_bytes: ClassVar[int] = MAX_TEXT

    kind: Literal["ntfy"] = "ntfy"
    topic: Topic = Field(description="name of the topic, or a secret reference of it: who knows it can read it")
    base_url: BaseUrl = Field(PUBLIC, description="the server")
    token: SecretRef | None = Field(None, description="secret reference of an access token")
    username: str | None = Field(None, pattern=r"^[^:\x00-\x1f\x7f]+$", description="in place of a token")
    password: SecretRef | None = Field(None, description="secret reference of the user's password")

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if self.token and (self.username or self.password):
            found, expected = "`token` beside `username` or `password`", "one of them"
        elif (self.username is None) != (self.password is None):
            found, expected = "`username` or `password` alone", "both"
        else:
            return self
        raise PydanticCustomError("at", "{said}", {"said": f"found {found}, expected {expected}", "key": "kind"})

    def address(self) -> str:
        """Return the server and who we are there: it counts visitors, not topics."""
        return f"{self.base_url} {token_of(self.token) if self.token else self.username or ''}"

    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt. Raises SecretError, NotifyError."""
        payload = _payload(delivery.message, plain=delivery.plain)
        return Request(rebased(f"{self.base_url}/", None), compact({"topic": self._name()} | payload), self._login())

    def read(self, answer: Answer) -> Reply:
        """Judge the answer: a message with an id is delivered, errors have codes."""
        found = document(answer)
        judged = by_status(answer)
        if judged is None:
            if isinstance(found.get("id"), str):
                return Reply(Verdict.DELIVERED)
            words = body_said(answer)
            return Reply(Verdict.RETRY, f"HTTP {answer.status}", words, "this is no answer of ntfy: check base_url")
        code, words = found.get("code"), said(found.get("error", "")) or judged.said
        if not isinstance(code, int):
            return judged
        verdict, meaning, after = _CODES.get(code, (judged.verdict, judged.meaning, judged.after))
        asked = judged.after if answer.header("retry-after") else None
        return Reply(verdict, str(code), words, meaning, asked or after)

    def weigh(self, message: Message) -> int:
        """Return the bytes of the text, or half of those of the request, which may have twice as many."""
        return _weight(cleaned(message))

    @staticmethod
    def escape(text: str) -> str:
        """Escape Markdown."""
        return _SPECIAL.sub(r"\\\1", text)

    def _name(self) -> str:
        name = self.topic if isinstance(self.topic, str) else self.topic.resolve().strip()
        if not _TOPIC.fullmatch(name):
            raise NotifyError("the topic is no name of a topic")
        return name

    def _login(self) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {token_of(self.token)}"}
        if self.username is None or self.password is None:
            return {}
        encoded = b64encode(f"{self.username}:{self.password.resolve()}".encode()).decode()
        remember(encoded)
        return {"Authorization": f"Basic {encoded}"}


def _payload(message: Message, *, plain: bool) -> dict[str, Any]:
    if plain:
        message = cleaned(message)
        return {"title": short(message.title, MAX_TITLE), "message": within(plain_text(message), MAX_TEXT, size=_bytes)}
    return _rendered(fitted(message, _weight, MAX_TEXT))


def _rendered(message: Message) -> dict[str, Any]:
    marked = any(entry.markup for entry in message.entries)
    escape = Ntfy.escape if marked else str
    parts = [entry.markup or escape(plain_entry(message, _told(message, entry))) for entry in message.entries]
    payload: dict[str, Any] = {
        "title": short(message.title, MAX_TITLE),
        "message": "\n\n".join(filter(None, [escape(message.note), *parts])) or message.title,
        "priority": _PRIORITIES[message.severity],
        "tags": ["test_tube" if message.test else _TAGS[message.severity]],
    }
    links = _links(message.entries)
    if links:
        payload |= {"click": links[0].url, "actions": [_action(link) for link in links[:ACTIONS]]}
    return payload | ({"markdown": True} if marked else {})


def _told(message: Message, entry: Entry) -> Entry:
    """Return the entry without those links that are buttons anyway."""
    return replace(entry, links=entry.links[ACTIONS:]) if len(message.entries) == 1 else entry


def _links(entries: tuple[Entry, ...]) -> list[Link]:
    """Return the links of one event, or the first one of each of several; each address once."""
    found = entries[0].links if len(entries) == 1 else tuple(entry.links[0] for entry in entries if entry.links)
    return list({link.url: link for link in found}.values())


def _action(link: Link) -> dict[str, str]:
    return {"action": "view", "label": short(link.text, 60), "url": link.url}


def _weight(message: Message) -> int:
    payload = _rendered(message)
    return max(_bytes(payload["message"]), (len(compact(payload)) + 100) // 2)


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
