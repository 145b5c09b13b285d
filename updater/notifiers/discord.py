"""Discord: an incoming webhook, with one embed an event."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field

from updater.errors import NotifyError
from updater.model.event import Severity
from updater.model.message import Entry, Link, Message
from updater.notifiers.base import (
    Delivery,
    Limit,
    Reply,
    Request,
    Verdict,
    WebhookAddress,
    by_status,
    compact,
    document,
    said,
    seconds_of,
)
from updater.notifiers.fitting import cleaned, fitted, plain_text, repeats, short, within, worded
from updater.secrets import SecretRef
from updater.transport.http import Answer

MAX_EMBEDS = 10
MAX_EMBEDDED = 6000  # characters of all embeds of a message
MAX_TITLE, MAX_DESCRIPTION, MAX_NAME, MAX_VALUE, MAX_FIELDS = 256, 4096, 256, 1024, 25
MAX_CONTENT = 2000
INLINE = 30  # characters of a value beside which others find room
_COLOURS = {Severity.INFO: 0x2E9E5B, Severity.WARNING: 0xE8A317, Severity.ERROR: 0xD0342C}
_SPECIAL = re.compile(r"([\\*_~`|\[\]<@]|:(?=//))")
_AT_START = re.compile(r"^([#>+-]|\d+(?=[.)]\s))", re.MULTILINE)

_GONE = "the webhook or its channel was deleted: a new webhook is needed"
_CODES: dict[int, tuple[Verdict, str]] = {
    10003: (Verdict.PERMANENT, _GONE),
    10015: (Verdict.PERMANENT, _GONE),
    50027: (Verdict.PERMANENT, "the webhook's token is wrong, or was withdrawn"),
    50013: (Verdict.PERMANENT, "the webhook may not write in this channel"),
    50083: (Verdict.PERMANENT, "the thread is archived"),
    10004: (Verdict.PERMANENT, _GONE),
    220001: (Verdict.PERMANENT, "a forum channel needs ?thread_id=... in the address"),
    220003: (Verdict.PERMANENT, "the channel is no forum: take thread_id out of the address"),
    130000: (Verdict.RETRY, "the service has a bad moment"),
    40005: (Verdict.DEGRADE, "the message is too large"),
    50006: (Verdict.DEGRADE, "the service sees an empty message"),
    50035: (Verdict.DEGRADE, "the service does not take this message"),
    50109: (Verdict.DEGRADE, "the service does not take this message"),
    200000: (Verdict.DEGRADE, "the server's AutoMod does not want these words"),
    200001: (Verdict.DEGRADE, "the server's AutoMod does not want these words"),
}
"""`code` of an error, whatever its status; discord.com/developers/docs/topics/opcodes-and-status-codes."""


class Discord(WebhookAddress):
    """A channel of Discord: `url` of its webhook, or `token`, which is `ID/TOKEN`. Templates are its Markdown."""

    limit: ClassVar[Limit] = Limit(25, 60.0)  # 30 a minute and webhook are allowed
    max_bytes: ClassVar[int] = MAX_EMBEDDED  # characters, which is what the service counts
    public: ClassVar[str] = "https://discord.com/api/webhooks/{token}"

    kind: Literal["discord"] = "discord"
    token: SecretRef | None = Field(None, description="secret reference of ID/TOKEN alone, in place of url")

    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt; the service is asked to wait, so that it tells errors."""
        url = urlsplit(self.address())
        query = urlencode({**dict(parse_qsl(url.query)), "wait": "true"})
        return Request(url._replace(query=query).geturl(), compact(_payload(delivery.message, plain=delivery.plain)))

    def read(self, answer: Answer) -> Reply:
        """Judge the answer: its code before its status, and seconds to wait from its JSON."""
        found = document(answer)
        judged = by_status(answer)
        if judged is None:
            return Reply(Verdict.DELIVERED)
        code, words = found.get("code"), said(found.get("message", "")) or judged.said
        if judged.verdict is Verdict.PAUSE:
            return Reply(
                Verdict.PAUSE, judged.code, words, judged.meaning, seconds_of(found.get("retry_after")) or judged.after
            )
        if isinstance(code, int) and code in _CODES:
            verdict, meaning = _CODES[code]
            return Reply(verdict, str(code), words, meaning)
        return judged

    def weigh(self, message: Message) -> int:
        """Return the characters of all embeds, or what so many embeds count for, whichever is more."""
        return _weight(cleaned(message))

    @staticmethod
    def escape(text: str) -> str:
        """Escape Markdown, mentions and addresses."""
        return _AT_START.sub(_at_start, _SPECIAL.sub(r"\\\1", text))

    def _token(self) -> str:
        assert self.token is not None
        number, slash, token = self.token.resolve().strip().partition("/")
        if not slash or not number.isascii() or not number.isdecimal() or not re.fullmatch(r"[A-Za-z0-9_.-]+", token):
            raise NotifyError("the token is not ID/TOKEN, the end of a webhook's address")
        return f"{number}/{token}"


def _at_start(found: re.Match[str]) -> str:
    """Escape what means something only at the start of a line: a letter cannot be escaped, what follows it can."""
    return f"{found[1]}\\" if found[1].isdecimal() else f"\\{found[1]}"


def _payload(message: Message, *, plain: bool) -> dict[str, Any]:
    quiet: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    if plain:
        return quiet | {"content": within(plain_text(cleaned(message)), MAX_CONTENT, Discord.escape), "flags": 4}
    message = fitted(message, _weight, MAX_EMBEDDED)
    content = _content(message)
    return quiet | ({"content": content} if content else {}) | {"embeds": _embeds(message)[:MAX_EMBEDS]}


def _content(message: Message) -> str:
    """Return what stands above the embeds: the summary of several, and what is said besides."""
    repeated = bool(message.entries) and repeats(message, message.entries[0])
    return within("\n".join([*([] if repeated or not message.entries else [message.title]),
                             *filter(None, [message.note])]), MAX_CONTENT, Discord.escape)  # fmt: skip


def _embeds(message: Message) -> list[dict[str, Any]]:
    if not message.entries:
        title = within(message.title, MAX_TITLE, Discord.escape)
        return [{"title": title, "color": _COLOURS[message.severity]}]
    return [_embed(entry) for entry in message.entries]


def _embed(entry: Entry) -> dict[str, Any]:
    look = {"color": _COLOURS[entry.event.severity], "timestamp": entry.event.at.astimezone(UTC).isoformat()}
    embed: dict[str, Any] = {"title": within(entry.headline, MAX_TITLE, Discord.escape), **look}
    if entry.markup and len(entry.markup) <= MAX_DESCRIPTION:
        return embed | {"description": entry.markup}
    lines = [within(entry.action, MAX_DESCRIPTION // 4, _action)] if entry.action else []
    links = " · ".join(map(_link, entry.links[:3]))
    if lines or links:
        embed["description"] = "\n".join([*lines, *filter(None, [links])])
    if entry.facts:
        embed["fields"] = [_field(label, value) for label, value in entry.facts[:MAX_FIELDS]]
    return embed


def _field(label: str, value: str) -> dict[str, Any]:
    """Return a field whose value is code, in which only a backtick means something."""
    code = short(value.replace("`", "'"), MAX_VALUE - 2)
    return {"name": within(label, MAX_NAME, Discord.escape), "value": f"`{code}`", "inline": len(code) <= INLINE}


def _action(action: str) -> str:
    return worded(action, Discord.escape, lambda command: f"`{command}`" if command else "")


def _link(link: Link) -> str:
    url = link.url.replace("(", "%28").replace(")", "%29")
    return f"[{within(link.text, 100, Discord.escape)}](<{url}>)" if len(url) < 1000 else ""


def _weight(message: Message) -> int:
    embeds = _embeds(message)
    characters = sum(
        len(embed.get("title", "")) + len(embed.get("description", ""))
        + sum(len(field["name"]) + len(field["value"]) for field in embed.get("fields", ()))
        for embed in embeds
    )  # fmt: skip
    cut = any(entry.markup and len(entry.markup) > MAX_DESCRIPTION for entry in message.entries)
    return max(characters, len(embeds) * (MAX_EMBEDDED // MAX_EMBEDS), MAX_EMBEDDED + 1 if cut else 0)
