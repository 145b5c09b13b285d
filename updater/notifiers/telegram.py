"""Telegram: a bot that writes into a chat, in HTML."""

from __future__ import annotations

import html
import re
import time
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.model.message import Entry, Message
from updater.notifiers.base import (
    Delivery,
    HttpNotifier,
    Limit,
    Reply,
    Request,
    Verdict,
    by_status,
    compact,
    document,
    retry_after,
    said,
    seconds_of,
)
from updater.notifiers.fitting import COLON, ICONS, cleaned, fitted, plain_text, repeats, within, worded
from updater.notifiers.gateway import BaseUrl, rebased, token_of
from updater.secrets import SecretRef
from updater.transport.http import Answer

PUBLIC = "https://api.telegram.org"
MAX_TEXT = 4096  # UTF-16 units of the text that is seen, after its tags are read
JOINER = "\u2060"  # invisible, and ends every address, mention and tag that Telegram would make out of a bare text

_TAG = re.compile(r"<[^>]*>")
_TRIGGER = re.compile(
    r"(?:(?<=^[@#/$])|(?<=\W[@#/$]))(?=\S)"  # mention, hashtag, command, sum of money, and the `//` of an address
    r"|(?<=\.)(?=[^\W\d])|(?<=\d\.)(?=\d+\.\d+\.\d)"  # domain, and an address of four numbers: a version has three
)

_BAD_REQUESTS: tuple[tuple[str, Verdict, str], ...] = (
    ("chat not found", Verdict.PERMANENT, "the bot knows no such chat: check chat_id, and write to the bot once"),
    ("message thread not found", Verdict.PERMANENT, "the chat has no such topic: check thread_id"),
    ("topic_closed", Verdict.PERMANENT, "the topic is closed"),
    ("topic_deleted", Verdict.PERMANENT, "the topic was deleted"),
    ("peer_id_invalid", Verdict.PERMANENT, "the bot knows no such chat: check chat_id"),
    ("group chat was deactivated", Verdict.PERMANENT, "the group was deleted"),
    ("chat_write_forbidden", Verdict.PERMANENT, "the bot may not write in this chat"),
    ("not enough rights", Verdict.PERMANENT, "the bot may not write in this chat"),
    ("have no rights", Verdict.PERMANENT, "the bot may not write in this chat"),
    ("need administrator rights", Verdict.PERMANENT, "the bot may not write in this chat"),
    ("chat_restricted", Verdict.PERMANENT, "the chat is restricted"),
    ("can't parse entities", Verdict.DEGRADE, "the service does not take this markup"),
    ("message is too long", Verdict.DEGRADE, "the message is too long"),
)
"""Words of a 400's description, in lower case. core.telegram.org/bots/api#making-requests names no codes."""

_STATUS: dict[int, str] = {
    401: "the token is wrong, or was withdrawn",
    403: "the bot was removed from the chat or blocked: let it in again",
    404: "the token is wrong, or was withdrawn",
}


class Telegram(HttpNotifier):
    """A chat, group or channel of Telegram. Templates are its HTML: b, i, code, pre, a."""

    limit: ClassVar[Limit] = Limit(20, 60.0)  # of a group; one chat takes one a second
    max_bytes: ClassVar[int] = MAX_TEXT  # UTF-16 units, which is what the service counts

    kind: Literal["telegram"] = "telegram"
    token: SecretRef = Field(description="secret reference of the bot's token, as @BotFather gives it")
    chat_id: str = Field(
        pattern=r"^(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,64})$", coerce_numbers_to_str=True,
        description="number of the chat, negative for a group, or @name of a public channel",
    )  # fmt: skip
    thread_id: int | None = Field(None, ge=1, description="number of a topic in a group that has topics")
    base_url: BaseUrl | None = Field(None, description=f"a Bot API server of one's own in place of {PUBLIC}")

    def address(self) -> str:
        """Return the token and the chat: the limit is that of a chat. Raises SecretError, NotifyError."""
        return f"{token_of(self.token)} {self.chat_id}"

    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt. Raises SecretError, NotifyError."""
        payload: dict[str, Any] = {"chat_id": self.chat_id, "link_preview_options": {"is_disabled": True}}
        if self.thread_id is not None:
            payload["message_thread_id"] = self.thread_id
        if delivery.plain:
            payload["text"] = within(plain_text(cleaned(delivery.message)), MAX_TEXT, _tame, _units)
        else:
            message = fitted(delivery.message, lambda m: _seen(_html(m)), self.max_bytes)
            payload |= {"text": _html(message), "parse_mode": "HTML"}
        url = rebased(f"{PUBLIC}/bot{token_of(self.token)}/sendMessage", self.base_url)
        return Request(url, compact(payload))

    def read(self, answer: Answer) -> Reply:
        """Judge the answer by its JSON; what is none is no answer of Telegram."""
        found = document(answer)
        words = said(found.get("description", ""))
        if 200 <= answer.status < 300:
            fine = found.get("ok") is True
            return (
                Reply(Verdict.DELIVERED) if fine else Reply(Verdict.RETRY, "", words, "this is no answer of Telegram")
            )
        code = f"HTTP {answer.status}"
        parameters = found.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        moved = parameters.get("migrate_to_chat_id")
        if isinstance(moved, int):
            return Reply(Verdict.PERMANENT, code, words, f"the group became a supergroup: its chat_id is {moved} now")
        if answer.status == 429:
            after = seconds_of(parameters.get("retry_after")) or retry_after(answer, time.time()) or 60.0
            return Reply(Verdict.PAUSE, code, words, "too many messages", after)
        if answer.status in _STATUS and found:
            return Reply(Verdict.PERMANENT, code, words, _STATUS[answer.status])
        if answer.status == 400:
            for pattern, verdict, meaning in _BAD_REQUESTS:
                if pattern in words.lower():
                    return Reply(verdict, code, words, meaning)
        judged = by_status(answer)
        assert judged is not None
        return judged

    def weigh(self, message: Message) -> int:
        """Return the UTF-16 units of what is seen."""
        return _seen(_html(cleaned(message)))

    @staticmethod
    def escape(text: str) -> str:
        """Escape HTML, and keep Telegram from making links, mentions and commands of bare names."""
        return html.escape(_tame(text))


def _tame(text: str) -> str:
    return _TRIGGER.sub(JOINER, text)


def _html(message: Message) -> str:
    head = [f"{ICONS[message.severity]} <b>{Telegram.escape(message.title)}</b>"]
    if message.note:
        head.append(f"<i>{Telegram.escape(message.note)}</i>")
    return "\n\n".join(filter(None, ["\n".join(head), *(_entry(message, entry) for entry in message.entries)]))


def _entry(message: Message, entry: Entry) -> str:
    if entry.markup:
        return entry.markup
    lines = [] if repeats(message, entry) else [f"{ICONS[entry.event.severity]} {Telegram.escape(entry.headline)}"]
    colon = COLON[message.language]
    lines += [f"{Telegram.escape(label)}{colon}{_code(value)}" for label, value in entry.facts]
    lines += [worded(entry.action, Telegram.escape, _code)] if entry.action else []
    links = [f'<a href="{html.escape(link.url)}">{Telegram.escape(link.text)}</a>' for link in entry.links]
    return "\n".join([*lines, *([" · ".join(links)] if links else [])])


def _code(text: str) -> str:
    """Return what is copied as it stands: within code Telegram makes nothing of a text."""
    return f"<code>{html.escape(text)}</code>"


def _seen(text: str) -> int:
    return _units(html.unescape(_TAG.sub("", text)))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2
