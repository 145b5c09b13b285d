"""Chats: Slack, Teams, Telegram, Discord."""

from __future__ import annotations

import html
import math
import re

from updater.demo.services.base import (
    Answered,
    Arrived,
    Json,
    Limit,
    Service,
    Setup,
    always,
    bearer,
    list_at,
    retry_after,
    same,
    say,
    size,
    text_at,
)

# --- Slack: a webhook answers in words, the API in `ok` -------------------------------------------------------------

SLACK_TEXT = 40_000  # characters
SLACK_BLOCKS = {"header": 150, "section": 3000, "markdown": 12_000, "context": 0, "actions": 0, "divider": 0}
SLACK_MOST = {"blocks": 50, "fields": 10, "context": 10, "actions": 25}
SLACK_WORDS = {"ok": 200, "no_text": 400, "invalid_payload": 400, "invalid_blocks": 400, "msg_too_long": 400}


def _slack_word(word: str) -> Answered:
    return Answered(SLACK_WORDS.get(word, 404), word.encode(), (("Content-Type", "text/html"),))


def _slack_error(word: str) -> Answered:
    return say({"ok": False, "error": word})


def _slack_hook_door(arrived: Arrived, setup: Setup) -> Answered | None:
    return None if setup.knows(arrived.token) else _slack_word("no_service")


def _slack_hook_content(arrived: Arrived, _: Setup) -> Answered | None:
    if arrived.document is None:
        return _slack_word("invalid_payload")
    wrong = _slack_wrong(arrived.document)
    return _slack_word(wrong) if wrong else None


def _slack_api_door(arrived: Arrived, setup: Setup) -> Answered | None:
    if not bearer(arrived.headers):
        return _slack_error("not_authed")
    return None if setup.knows(arrived.token) else _slack_error("invalid_auth")


def _slack_api_content(arrived: Arrived, _: Setup) -> Answered | None:
    if arrived.document is None:
        return _slack_error("invalid_json")
    if not text_at(arrived.document, "channel"):
        return _slack_error("channel_not_found")
    wrong = _slack_wrong(arrived.document)
    return _slack_error(wrong) if wrong else None


def _slack_wrong(document: Json) -> str:
    """Return the word for what is wrong with a message, empty where nothing is."""
    attached = list_at(document, "attachments")
    blocks = [*list_at(document, "blocks"), *(block for part in attached for block in list_at(part, "blocks"))]
    if not (text_at(document, "text").strip() or blocks or attached):
        return "no_text"
    if len(text_at(document, "text")) > SLACK_TEXT:
        return "msg_too_long"
    return "" if len(blocks) <= SLACK_MOST["blocks"] and all(map(_slack_block, blocks)) else "invalid_blocks"


def _slack_block(block: object) -> bool:
    kind = text_at(block, "type")
    if kind not in SLACK_BLOCKS:
        return False
    text = text_at(block, "text") or text_at(block, "text", "text")
    fields, elements = list_at(block, "fields"), list_at(block, "elements")
    fits = len(text) <= SLACK_BLOCKS[kind] and len(fields) <= SLACK_MOST["fields"]
    counts = len(elements) <= SLACK_MOST.get(kind, 0) and bool(elements) == (kind in {"context", "actions"})
    return fits and counts and (kind in {"context", "actions", "divider"} or bool(text or fields))


def _slack_slow(seconds: float, _: bool) -> Answered:
    wait = str(math.ceil(seconds))
    return say({"ok": False, "error": "ratelimited"}, 429, ("Retry-After", wait))


def _slack_posted(arrived: Arrived, number: int) -> Answered:
    document = arrived.document or {}
    return say({"ok": True, "channel": document.get("channel"), "ts": f"{int(arrived.at)}.{number:06}"})


# --- Teams: a workflow's trigger -----------------------------------------------------------------------------------

TEAMS_BYTES = 28 << 10
TEAMS_CARD = "application/vnd.microsoft.card.adaptive"


def _teams(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answered:
    return say({"error": {"code": code, "message": message}}, status, *headers)


def _teams_door(arrived: Arrived, setup: Setup) -> Answered | None:
    if not setup.knows(arrived.token):
        return _teams(404, "WorkflowNotFound", "The workflow could not be found.")
    given = arrived.query.get("sig", "")
    if given and same(given, setup.secrets.get(arrived.token, given)):
        return None
    return _teams(401, "DirectApiAuthorizationRequired", "The request must be authenticated by its signature.")


def _teams_content(arrived: Arrived, _: Setup) -> Answered | None:
    """Refuse what a flow would take and then fail at: nobody would ever see it."""
    if len(arrived.body) > TEAMS_BYTES:
        return _teams(413, "RequestEntityTooLarge", f"more than {TEAMS_BYTES} bytes")
    cards = list_at(arrived.document, "attachments")
    right = (
        text_at(card, "contentType") == TEAMS_CARD and text_at(card, "content", "type") == "AdaptiveCard"
        for card in cards
    )
    if text_at(arrived.document, "type") == "message" and cards and all(right):
        return None
    return _teams(400, "TriggerInputSchemaMismatch", "expected a message with adaptive cards")


# --- Telegram: https://core.telegram.org/bots/api#sendmessage ------------------------------------------------------

TELEGRAM_UNITS = 4096  # of UTF-16, after entities: the documentation says characters, and offsets count these
TELEGRAM_TAGS = frozenset(
    {"a", "b", "blockquote", "code", "del", "em", "i", "ins", "pre", "s", "span", "strike", "strong", "tg-emoji",
     "tg-spoiler", "u"}
)  # fmt: skip
_TAG = re.compile(r"<([^<>]*)>|<")


def _telegram(status: int, description: str, **more: object) -> Answered:
    return say({"ok": False, "error_code": status, "description": description, **more}, status)


def _telegram_door(arrived: Arrived, setup: Setup) -> Answered | None:
    return None if setup.knows(arrived.token) else _telegram(401, "Unauthorized")


def _telegram_content(arrived: Arrived, _: Setup) -> Answered | None:
    document, text = arrived.document or {}, text_at(arrived.document, "text")
    if not document.get("chat_id"):
        return _telegram(400, "Bad Request: chat_id is empty")
    if text_at(document, "parse_mode") == "HTML":
        if wrong := unbalanced(text):
            return _telegram(400, f"Bad Request: can't parse entities: {wrong}")
        text = html.unescape(_TAG.sub("", text))
    if not text.strip():
        return _telegram(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le", errors="replace")) // 2 > TELEGRAM_UNITS:
        return _telegram(400, "Bad Request: message is too long")
    return None


def unbalanced(text: str) -> str:
    """Return what is wrong with the tags of Telegram's HTML, empty where nothing is."""
    opened: list[str] = []
    for found in _TAG.finditer(text):
        inside = found[1] or ""
        name = (inside.lstrip("/").split() or [""])[0].lower()
        ends = inside.startswith("/")
        expected = (opened.pop() if opened else "") if ends else ""
        if ends and name != expected:
            offset = size(text[: found.start()])
            return f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name[:40]}>"'
        if not ends and name not in TELEGRAM_TAGS:
            return f'Unsupported start tag "{name[:40]}" at byte offset {size(text[: found.start()])}'
        opened += [] if ends else [name]
    return f'Can\'t find end tag corresponding to start tag "{opened[-1]}"' if opened else ""


def _telegram_slow(seconds: float, _: bool) -> Answered:
    wait = math.ceil(seconds)
    return _telegram(429, f"Too Many Requests: retry after {wait}", parameters={"retry_after": wait})


def _telegram_taken(arrived: Arrived, number: int) -> Answered:
    document = arrived.document or {}
    chat = {"id": document.get("chat_id")}
    sent = {"message_id": number, "date": int(arrived.at), "chat": chat, "text": text_at(document, "text")}
    return say({"ok": True, "result": sent})


# --- Discord -------------------------------------------------------------------------------------------------------

DISCORD_CONTENT = 2000  # characters
DISCORD_EMBEDS = 10
DISCORD_FIELDS = 25
DISCORD_EMBED = {"title": 256, "description": 4096}  # characters
DISCORD_TOTAL = 6000  # characters of all embeds


def _discord(status: int, code: int, message: str) -> Answered:
    return say({"message": message, "code": code}, status)


def _discord_door(arrived: Arrived, setup: Setup) -> Answered | None:
    return None if setup.knows(arrived.token) else _discord(404, 10015, "Unknown Webhook")


def _discord_content(arrived: Arrived, _: Setup) -> Answered | None:
    content, embeds = text_at(arrived.document, "content"), list_at(arrived.document, "embeds")
    if not content.strip() and not embeds:
        return _discord(400, 50006, "Cannot send an empty message")
    fields = [field for embed in embeds for field in list_at(embed, "fields")]
    texts = [text_at(embed, name) for embed in embeds for name in DISCORD_EMBED]
    texts += [text_at(field, name) for field in fields for name in ("name", "value")]
    fits = (
        len(content) <= DISCORD_CONTENT
        and len(embeds) <= DISCORD_EMBEDS
        and all(len(list_at(embed, "fields")) <= DISCORD_FIELDS for embed in embeds)
        and all(len(text_at(embed, name)) <= most for embed in embeds for name, most in DISCORD_EMBED.items())
        and all(len(text_at(field, "name")) <= 256 and len(text_at(field, "value")) <= 1024 for field in fields)
        and sum(map(len, texts)) <= DISCORD_TOTAL
    )
    return None if fits else _discord(400, 50035, "Invalid Form Body")


def _discord_slow(seconds: float, _: bool) -> Answered:
    said = {"message": "You are being rate limited.", "retry_after": round(seconds, 3), "global": False}
    return say(said, 429, retry_after(seconds))


def _discord_taken(arrived: Arrived, number: int) -> Answered:
    if arrived.query.get("wait") != "true":
        return Answered(204)
    return say({"id": str(number), "type": 0, "content": text_at(arrived.document, "content")})


SERVICES = (
    Service(
        "slack", re.compile(r"/services/(?P<token>[^/]+/[^/]+/[^/]+)"), "path", _slack_hook_door, _slack_hook_content,
        _slack_slow, always(_slack_word("ok")), (Limit(5, 5),),
    ),
    Service(
        "slack", re.compile(r"/api/chat\.postMessage"), "bearer", _slack_api_door, _slack_api_content,
        _slack_slow, _slack_posted, (Limit(5, 5),),
    ),
    Service(
        "teams", re.compile(r"(?:/powerautomate/automations/direct)?/workflows/(?P<token>[^/]+)(?:/.*)?"), "path",
        _teams_door, _teams_content,
        lambda seconds, _: _teams(429, "TooManyRequests", "slow down", retry_after(seconds)),
        always(Answered(202)), (Limit(4, 1),),
    ),
    Service(
        "telegram", re.compile(r"/bot(?P<token>[^/]+)/sendMessage"), "path", _telegram_door, _telegram_content,
        _telegram_slow, _telegram_taken, (Limit(20, 60),),
    ),
    Service(
        "discord", re.compile(r"/api(?:/v\d+)?/webhooks/(?P<token>[^/]+/[^/]+)"), "path", _discord_door,
        _discord_content, _discord_slow, _discord_taken, (Limit(5, 2), Limit(30, 60)),
    ),
)  # fmt: skip
