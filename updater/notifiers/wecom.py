"""WeCom (WeChat Work): the message push of a group chat, formerly called group robot.

WeCom answers HTTP 200 to everything; `errcode` in the body says what became of the message. Its Markdown knows
headings, bold, links, code, quotations, three colours and `<@userid>`, but no lists and no escapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.model.event import Severity
from updater.model.message import Entry, Message
from updater.notifiers.base import Delivery, Limit, Reply, Request, Verdict, compact, document
from updater.notifiers.fitting import facts, plain_text
from updater.notifiers.robots import AtMobiles, Codes, Robot, advised, inert, judged, linked, number, unmarked
from updater.transport.http import Answer

PAUSE = 60.0  # seconds: the limit is one of messages a minute
TEXT_WEIGHT = 2  # text takes half the bytes of Markdown, so that each of its bytes weighs twice

_CODES: Codes = {
    0: (Verdict.DELIVERED, ""),
    -1: (Verdict.RETRY, "WeCom is busy"),
    40008: (Verdict.DEGRADE, "WeCom does not take this type of message; it is sent as text"),
    40035: (Verdict.DEGRADE, "WeCom does not take a part of the message; it is sent as text"),
    40058: (Verdict.DEGRADE, "WeCom does not take a part of the message, or it is too long; it is sent as text"),
    44004: (Verdict.DEGRADE, "WeCom found no text in the message; it is sent as text"),
    45009: (Verdict.PAUSE, "too many messages: WeCom takes 20 a minute; other senders may use the same key"),
    45033: (Verdict.RETRY, "too many messages at the same time"),
    47001: (Verdict.DEGRADE, "WeCom cannot read the message; it is sent as text"),
    93000: (Verdict.PERMANENT, "there is no such webhook, or it was removed: copy its address from the group again"),
}
"""The codes of WeCom's list that concern a webhook."""

_COLOURS: Mapping[Severity, str] = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "warning"}


class WeCom(Robot):
    """The message push (group robot) of a WeCom group."""

    kind: Literal["wecom"] = "wecom"
    at: AtMobiles = Field(
        AtMobiles(),
        description="whom warnings and errors call; mobiles and all make them plain text, which alone can call those",
    )

    public: ClassVar[str] = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={token}"
    limit: ClassVar[Limit] = Limit(15, 60.0)  # WeCom takes 20; the rest is for a second process and drifting clocks
    max_bytes: ClassVar[int] = 4096  # of the content as Markdown; of text 2048

    @staticmethod
    def escape(text: str) -> str:
        """Return a text from outside that stays text in WeCom's Markdown."""
        return unmarked(text)

    def request(self, delivery: Delivery) -> Request:
        """Return the message; the key in the address is all that WeCom asks for."""
        return Request(self.address(), compact(self.fitted(delivery.message, plain=delivery.plain)))

    def read(self, answer: Answer) -> Reply:
        """Judge by `errcode`."""
        found = document(answer)
        return judged(answer, number(found, "errcode"), found.get("errmsg"), _CODES, PAUSE)

    def content(self, message: Message, *, plain: bool) -> dict[str, Any]:
        """Return Markdown, or text where markup is not wanted or where only text can call."""
        calls = self.calls(message)
        if plain or (calls and (self.at.mobiles or self.at.all)):
            everybody = ["@all"] if self.at.all else []
            called = {"mentioned_list": [*self.at.users, *everybody], "mentioned_mobile_list": self.at.mobiles}
            return {"msgtype": "text", "text": {"content": plain_text(message, inert)} | (called if calls else {})}
        names = " ".join(f"<@{user}>" for user in self.at.users) if calls else ""
        text = "\n".join(filter(None, (_markdown(message), names)))
        return {"msgtype": "markdown", "markdown": {"content": text}}

    def size(self, content: Mapping[str, Any]) -> int:
        """Return the bytes of the content alone, which is what WeCom counts; those of text weigh twice."""
        if content["msgtype"] == "text":
            return TEXT_WEIGHT * len(content["text"]["content"].encode())
        return len(content["markdown"]["content"].encode())


def _markdown(message: Message) -> str:
    if len(message.entries) == 1 and not message.test:
        blocks = [_whole(message, message.entries[0])]
    else:
        blocks = [f"**{unmarked(message.title)}**", *(_item(message, entry) for entry in message.entries)]
    return "\n".join([*blocks, unmarked(message.note)] if message.note else blocks)


def _whole(message: Message, entry: Entry) -> str:
    if entry.markup is not None:
        return entry.markup
    head = f'**<font color="{_COLOURS[entry.event.severity]}">{unmarked(entry.headline)}</font>**'
    links = " ".join(linked(entry, unmarked))
    return "\n".join(filter(None, (head, *_details(message, entry), links)))


def _item(message: Message, entry: Entry) -> str:
    """Show one of several."""
    if entry.markup is not None:
        return entry.markup
    head = " ".join([f"• {unmarked(entry.headline)}", *linked(entry, unmarked)])
    return "\n".join([head, *_details(message, entry)])


def _details(message: Message, entry: Entry) -> list[str]:
    return [*facts(message, entry, unmarked), *advised(entry.action)]
