"""Feishu: a custom robot of a group chat; Lark is the same service elsewhere (lark.py).

A message is one card: its header has the colour of the severity, links are buttons. `code` in the body says what
became of it, whatever the HTTP status; older servers say `StatusCode`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.model.event import Severity
from updater.model.message import Entry, Message
from updater.notifiers.base import Delivery, Limit, Reply, Request, Verdict, bounded, compact, document
from updater.notifiers.fitting import facts, plain_text
from updater.notifiers.robots import (
    ARROW,
    MAX_TITLE,
    Codes,
    KeywordRobot,
    inert,
    judged,
    linked,
    links,
    number,
    signing,
    unlinked,
)
from updater.secrets import SecretRef
from updater.transport.http import Answer

PAUSE = 60.0  # seconds, where the service names none: the wider of its two limits is one a minute
SIGNED = {"timestamp": "0" * 10, "sign": "=" * 44}  # seconds, and SHA-256 in base64: as long as the real ones

_CODES: Codes = {
    0: (Verdict.DELIVERED, ""),
    9499: (Verdict.DEGRADE, "the service cannot read the message, or it is too large; it is sent as text"),
    11232: (Verdict.PAUSE, "too many messages, or the service is busy, as often at full and half hours"),
    99991400: (Verdict.PAUSE, "too many messages: a robot may send 100 a minute and 5 a second"),
    19001: (Verdict.PERMANENT, "there is no robot with this token: copy the webhook's address from the group again"),
    19002: (Verdict.DEGRADE, "the service does not take a part of the message; it is sent as text"),
    19021: (
        Verdict.PERMANENT,
        "the signature is wrong, or this machine's clock by more than an hour: copy the secret again, or set the clock",
    ),
    19022: (Verdict.PERMANENT, "this machine's address is not in the robot's list: add it, or sign instead"),
    19024: (Verdict.PERMANENT, "the message holds none of the robot's keywords: write them under `keywords`"),
}
"""The codes that the guide to custom robots, and its guide to rate limits, name."""

_COLOURS: Mapping[Severity, str] = {Severity.INFO: "blue", Severity.WARNING: "orange", Severity.ERROR: "red"}
_ENTITIES = str.maketrans({c: f"&#{ord(c)};" for c in "&<>*_~`[]()!#+-\\:"})
"""What a card shows as it is: characters of its Markdown are written as entities (guide to cards, Markdown)."""


class OpenPlatform(KeywordRobot):
    """What Feishu and Lark share."""

    secret: SecretRef | None = Field(None, description="secret reference of the signing secret")

    # At most 4 in any second and 80 in any minute: 5 and 100 are taken, and the robots of a group share the 5.
    limit: ClassVar[Limit] = Limit(4, 3.0)
    max_bytes: ClassVar[int] = 19_500  # of the body; 20 KB are taken

    @staticmethod
    def escape(text: str) -> str:
        """Return a text from outside that stays text in the Markdown of a card."""
        return unlinked(text).translate(_ENTITIES)

    def request(self, delivery: Delivery) -> Request:
        """Return the message, signed where there is a secret."""
        content = self.fitted(delivery.message, plain=delivery.plain)
        return Request(self.address(), compact(content | self._signature(delivery.now)))

    def read(self, answer: Answer) -> Reply:
        """Judge by `code`, else by `StatusCode`."""
        found = document(answer)
        words = found.get("msg") or found.get("StatusMessage")
        return judged(answer, number(found, "code", "StatusCode"), words, _CODES, _pause(answer))

    def content(self, message: Message, *, plain: bool) -> dict[str, Any]:
        """Return text or a card, with room for the signature."""
        room = SIGNED if self.secret else {}
        if plain:
            text = self.keyed("\n".join(filter(None, (plain_text(message, inert), self._named(message)))))
            return room | {"msg_type": "text", "content": {"text": text}}
        text = "\n".join(filter(None, (self._body(message), self._called(message))))
        elements: list[dict[str, Any]] = [{"tag": "div", "text": {"tag": "lark_md", "content": text}}]
        if message.note:
            elements.append({"tag": "div", "text": {"tag": "plain_text", "content": message.note}})
        if len(message.entries) == 1 and (buttons := links(message.entries[0])):
            elements.append({"tag": "action", "actions": [_button(words, url) for words, url in buttons]})
        title = {"tag": "plain_text", "content": self.titled(message.title, text)}
        header = {"template": _COLOURS[message.severity], "title": title}
        card = {"config": {"wide_screen_mode": True}, "header": header, "elements": elements}
        return room | {"msg_type": "interactive", "card": card}

    def size(self, content: Mapping[str, Any]) -> int:
        """Return the bytes of the body."""
        return len(compact(content))

    def _body(self, message: Message) -> str:
        if len(message.entries) == 1:
            return self._whole(message, message.entries[0])
        return "\n".join(self._item(message, entry) for entry in message.entries) or self.escape(message.title)

    def _whole(self, message: Message, entry: Entry) -> str:
        """Show everything but the links, which are buttons, and but a headline that the header shows in full."""
        if entry.markup is not None:
            return entry.markup
        details, headline = self._details(message, entry), f"**{self.escape(entry.headline)}**"
        told = bool(details) and entry.headline == message.title and len(message.title) <= MAX_TITLE
        return "\n".join(details if told else [headline, *details])

    def _item(self, message: Message, entry: Entry) -> str:
        """Show one of several."""
        if entry.markup is not None:
            return entry.markup
        head = " ".join([f"• {self.escape(entry.headline)}", *linked(entry, self.escape)])
        return "\n".join([head, *self._details(message, entry)])

    def _details(self, message: Message, entry: Entry) -> list[str]:
        """Return facts and action. It is not bold: the service ends that at Chinese punctuation."""
        lines = facts(message, entry, self.escape)
        return [*lines, f"{ARROW}{self.escape(entry.action)}"] if entry.action else lines

    def _called(self, message: Message) -> str:
        """Return the mentions of a card."""
        everybody = ["all"] if self.at.all else []
        return " ".join(f"<at id={one}></at>" for one in (*self.at.users, *everybody)) if self.calls(message) else ""

    def _named(self, message: Message) -> str:
        """Return the mentions of a text: people alone, as a group that forbids `all` refuses the whole message."""
        named = (f'<at user_id="{user}">{user}</at>' for user in self.at.users)
        return " ".join(named) if self.calls(message) else ""

    def _signature(self, now: datetime) -> dict[str, str]:
        """Return timestamp (seconds) and signature: the key is made of both, and what is signed is empty."""
        if self.secret is None:
            return {}
        stamp = str(int(now.timestamp()))
        key = f"{stamp}\n{signing(self.secret)}"
        return {"timestamp": stamp, "sign": base64.b64encode(hmac.digest(key.encode(), b"", hashlib.sha256)).decode()}


class Feishu(OpenPlatform):
    """A custom robot of a Feishu group."""

    kind: Literal["feishu"] = "feishu"
    public: ClassVar[str] = "https://open.feishu.cn/open-apis/bot/v2/hook/{token}"


def _button(words: str, url: str) -> dict[str, Any]:
    return {"tag": "button", "text": {"tag": "plain_text", "content": words}, "type": "default", "url": url}


def _pause(answer: Answer) -> float:
    """Return the seconds that the service asks us to stay away, from one to an hour."""
    text = (answer.header("x-ogw-ratelimit-reset") or "").strip()
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return PAUSE
    return bounded(float(text))
