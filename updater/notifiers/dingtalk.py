"""DingTalk: a custom robot of a group chat.

One event is a card with buttons, several are one Markdown list, and what calls people is Markdown too: cards cannot
call. DingTalk answers HTTP 200 to everything; `errcode` in the body says what became of the message.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field

from updater.model.message import Entry, Message
from updater.notifiers.base import Delivery, Limit, Reply, Request, Verdict, compact, document
from updater.notifiers.fitting import facts, plain_text
from updater.notifiers.robots import (
    AtMobiles,
    Codes,
    KeywordRobot,
    advised,
    inert,
    judged,
    linked,
    links,
    number,
    signing,
    unmarked,
)
from updater.secrets import SecretRef
from updater.transport.http import Answer

PAUSE = 600.0  # seconds: 20 messages a minute are taken, and after more than that none for ten minutes

_SECURITY = 310000
_CODES: Codes = {
    0: (Verdict.DELIVERED, ""),
    -1: (Verdict.RETRY, "DingTalk is busy"),
    130101: (Verdict.PAUSE, "too many messages: the robot is silent for ten minutes; other senders may use it too"),
    410100: (Verdict.PAUSE, "too many messages: the robot is silent for ten minutes; other senders may use it too"),
    _SECURITY: (
        Verdict.PERMANENT,
        "the robot's security settings refused the message: compare them with secret and keywords here",
    ),
    300001: (Verdict.PERMANENT, "there is no robot with this token: copy the webhook's address from the group again"),
    300005: (
        Verdict.PERMANENT,
        "there is no robot with this token, or its group is an external one: copy the webhook's address again",
    ),
    400101: (Verdict.PERMANENT, "there is no robot with this token: copy the webhook's address from the group again"),
    400013: (Verdict.PERMANENT, "the group was dissolved: add a robot to another group"),
    400102: (Verdict.PERMANENT, "the robot is switched off: switch it on in the settings of the group"),
    400106: (Verdict.PERMANENT, "the robot is no longer in the group: add it again, and copy its new address"),
    400105: (Verdict.DEGRADE, "DingTalk does not take this type of message; it is sent as text"),
    400402: (Verdict.DEGRADE, "DingTalk misses the title; it is sent as text"),
    40035: (Verdict.DEGRADE, "DingTalk misses a part of the message; it is sent as text"),
    430101: (Verdict.DEGRADE, "DingTalk takes a link for unsafe; it is sent as text"),
    430102: (Verdict.DEGRADE, "DingTalk's moderation refused the words; it is sent as text"),
    430103: (Verdict.DEGRADE, "DingTalk's moderation refused an image; it is sent as text"),
    430104: (Verdict.DEGRADE, "DingTalk's moderation refused the content; it is sent as text"),
    460101: (Verdict.DEGRADE, "DingTalk takes the message for too long; it is sent as text"),
}
"""The codes that DingTalk documents for robots."""

_SECURITY_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("timestamp", "过期", "时间戳"), "this machine's clock is wrong by more than an hour: set it, best by NTP"),
    (("sign", "签名"), "the signature is wrong: copy the robot's secret, which starts with SEC, again"),
    (("keyword", "关键词"), "the message holds none of the robot's keywords: write them under `keywords`"),
    (("whitelist", "白名单"), "this machine's address is not in the robot's list: add it, or sign instead"),
)
"""Which security setting refused, by the words of old and new servers; the first that is found counts."""


class DingTalk(KeywordRobot):
    """A custom robot of a DingTalk group."""

    kind: Literal["dingtalk"] = "dingtalk"
    secret: SecretRef | None = Field(None, description="secret reference of the signing secret; it starts with SEC")
    at: AtMobiles = Field(AtMobiles(), description="whom warnings and errors call; info calls nobody")

    public: ClassVar[str] = "https://oapi.dingtalk.com/robot/send?access_token={token}"
    limit: ClassVar[Limit] = Limit(15, 60.0)  # DingTalk takes 20; the rest is for a second process and drifting clocks
    max_bytes: ClassVar[int] = 19_500  # of the body; DingTalk takes fewer than 20 000

    @staticmethod
    def escape(text: str) -> str:
        """Return a text from outside that stays text in DingTalk's Markdown."""
        return unmarked(text)

    def request(self, delivery: Delivery) -> Request:
        """Return the message, signed where there is a secret."""
        body = compact(self.fitted(delivery.message, plain=delivery.plain))
        return Request(self._signed(self.address(), delivery.now), body)

    def read(self, answer: Answer) -> Reply:
        """Judge by `errcode`; 310000 says in words which setting refused."""
        found = document(answer)
        reply = judged(answer, number(found, "errcode"), found.get("errmsg"), _CODES, PAUSE)
        return replace(reply, meaning=_refusal(found)) if reply.code == str(_SECURITY) else reply

    def content(self, message: Message, *, plain: bool) -> dict[str, Any]:
        """Return text, Markdown or a card."""
        called = self._called() if self.calls(message) else {}
        if plain:
            text = self.keyed("\n".join(filter(None, (plain_text(message, inert), self._names(called)))))
            return {"msgtype": "text", "text": {"content": text}} | called
        single = message.entries[0] if len(message.entries) == 1 and not message.test else None
        if single and not called and (buttons := links(single)):
            return self._card(message, single, buttons)
        text = "\n\n".join(filter(None, (_markdown(message), self._names(called))))
        title = self.titled(message.title, text)
        return {"msgtype": "markdown", "markdown": {"title": title, "text": text}} | called

    def size(self, content: Mapping[str, Any]) -> int:
        """Return the bytes of the body."""
        return len(compact(content))

    def _card(self, message: Message, entry: Entry, buttons: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        text = "\n\n".join(filter(None, (_whole(message, entry), _note(message))))
        card: dict[str, Any] = {"title": self.titled(message.title, text), "text": text}
        if len(buttons) == 1:
            card |= {"singleTitle": buttons[0][0], "singleURL": buttons[0][1]}
        else:
            # Two short buttons fit beside each other on a phone, more do not.
            orientation = "1" if len(buttons) == 2 else "0"
            card |= {"btnOrientation": orientation, "btns": [{"title": t, "actionURL": u} for t, u in buttons]}
        return {"msgtype": "actionCard", "actionCard": card}

    def _called(self) -> dict[str, Any]:
        return {"at": {"atMobiles": self.at.mobiles, "atUserIds": self.at.users, "isAtAll": self.at.all}}

    def _names(self, called: Mapping[str, Any]) -> str:
        """Whoever is called must also stand in the text."""
        return " ".join(f"@{one}" for one in (*self.at.mobiles, *self.at.users)) if called else ""

    def _signed(self, url: str, now: datetime) -> str:
        """Return the address with timestamp (ms) and signature, each encoded once, in place of those that it holds."""
        if self.secret is None:
            return url
        secret, stamp = signing(self.secret), str(int(now.timestamp() * 1000))
        digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
        sign = quote(base64.b64encode(digest), safe="")
        parts = urlsplit(url)
        kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] not in {"timestamp", "sign"}]
        return urlunsplit(parts._replace(query="&".join([*kept, f"timestamp={stamp}", f"sign={sign}"])))


def _markdown(message: Message) -> str:
    if len(message.entries) == 1 and not message.test:
        (entry,) = message.entries
        blocks = [_whole(message, entry), " · ".join(linked(entry, unmarked))]
    else:
        # A template's words are no item of a list: they stand apart.
        apart = "\n\n" if any(entry.markup is not None for entry in message.entries) else "\n"
        items = apart.join(_item(message, entry) for entry in message.entries)
        blocks = [f"#### {unmarked(message.title)}", items]
    return "\n\n".join(filter(None, (*blocks, _note(message))))


def _whole(message: Message, entry: Entry) -> str:
    """Show everything but the links, which are buttons on a card."""
    if entry.markup is not None:
        return entry.markup
    known = "\n".join(f"- {fact}" for fact in facts(message, entry, unmarked))
    return "\n\n".join(filter(None, (f"#### {unmarked(entry.headline)}", known, *advised(entry.action))))


def _item(message: Message, entry: Entry) -> str:
    """Show one of several."""
    if entry.markup is not None:
        return entry.markup
    head = " ".join([f"- {unmarked(entry.headline)}", *linked(entry, unmarked)])
    lines = [head, *facts(message, entry, unmarked), *advised(entry.action)]
    return "  \n  ".join(lines)  # two blanks at its end break a line within an item


def _note(message: Message) -> str:
    return f"> {unmarked(message.note)}" if message.note else ""


def _refusal(found: Mapping[str, Any]) -> str:
    """Say which setting refused.

    Newer servers answer `description:...;solution:...;link:...` in Chinese; the solution to a wrong signature speaks of
    timestamps too, so the description alone counts.
    """
    words = re.split(r"[;\uff1b]|, more:", str(found.get("errmsg", "")).lower())[0]
    told = (meaning for needles, meaning in _SECURITY_WORDS if any(needle in words for needle in needles))
    return next(told, _CODES[_SECURITY][1])
