"""Slack: an incoming webhook, or a bot's token and a channel."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

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
    retry_after,
    said,
)
from updater.notifiers.fitting import ICONS, cleaned, fitted, plain_text, repeats, short, within
from updater.notifiers.gateway import rebased, token_of
from updater.transport.http import Answer

PUBLIC = "https://slack.com"
MAX_BLOCKS = 50
MAX_TEXT = 12_000  # characters of all blocks; the service refuses from some 13,200 on, and documents no number
MAX_SECTION = 3000
MAX_FIELD = 2000
FIELDS = 10  # of one section
BUTTONS = 5  # more in one row are hard to read; 25 are allowed

_SET_UP = "the bot or its channel is not set up: check token, channel and membership"
_LOGIN = "the token or the webhook is wrong, or was withdrawn"
_CONTENT = "the service does not take this message"
_BUSY = "the service has a bad moment"
_RATE = "too many messages"

# api.slack.com/methods/chat.postMessage#errors, and the words with which incoming webhooks answer
ERRORS: dict[str, tuple[Verdict, str]] = {
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), (Verdict.PAUSE, _RATE)),
    **dict.fromkeys(
        (
            "internal_error", "service_unavailable", "fatal_error", "request_timeout", "team_added_to_org",
            "rollup_error", "timeout",
        ),
        (Verdict.RETRY, _BUSY),
    ),
    **dict.fromkeys(
        (
            "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "invalid_token",
            "no_service", "no_service_id", "no_active_hooks", "no_team", "team_disabled", "two_factor_setup_required",
        ),
        (Verdict.PERMANENT, _LOGIN),
    ),
    **dict.fromkeys(
        (
            "channel_not_found", "not_in_channel", "is_archived", "channel_is_archived", "user_not_found",
            "missing_scope", "no_permission", "not_allowed_token_type", "access_denied", "accesslimited",
            "ekm_access_denied", "org_login_required", "enterprise_is_restricted", "team_access_not_granted",
            "team_not_found", "restricted_action", "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel",
            "messages_tab_disabled", "action_prohibited", "posting_to_general_channel_denied",
            "deprecated_endpoint", "method_deprecated", "as_user_not_supported",
        ),
        (Verdict.PERMANENT, _SET_UP),
    ),
    **dict.fromkeys(
        (
            "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "invalid_attachments",
            "no_text", "too_many_attachments", "too_many_blocks", "invalid_arguments", "invalid_arg_name",
            "invalid_charset", "invalid_form_data", "invalid_json", "json_not_object", "invalid_payload",
            "cannot_reply_to_message", "thread_not_found", "message_not_found", "markdown_text_conflict",
            "missing_text_or_fallback_or_attachments",
        ),
        (Verdict.DEGRADE, _CONTENT),
    ),
}  # fmt: skip


class Slack(WebhookAddress):
    """A channel of Slack: `url` of an incoming webhook, or a bot's `token` (scope chat:write) and `channel`.

    With a token what is told about one image hangs in one thread. Templates are Slack's mrkdwn.
    """

    threads: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit(1, 1.0)
    max_bytes: ClassVar[int] = MAX_TEXT  # characters, which is what the service counts
    public: ClassVar[str] = PUBLIC

    kind: Literal["slack"] = "slack"
    channel: str | None = Field(
        None, pattern=r"^[#@]?[^\s,<>&#@]{1,80}$", description="id or name of the channel, where a bot's token writes"
    )

    @model_validator(mode="after")
    def _channel_of_token(self) -> Self:
        if (self.token is None) == (self.channel is None):
            return self
        found = "`token` without `channel`" if self.token else "`channel` beside `url`, whose channel is fixed"
        raise PydanticCustomError("at", "{said}", {"said": f"found {found}, expected both or none", "key": "kind"})

    def address(self) -> str:
        """Return the webhook's address, or the bot's token."""
        return token_of(self.token) if self.token else super().address()

    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt; in a thread where there is one. Raises SecretError, NotifyError."""
        payload = self._payload(delivery.message, plain=delivery.plain)
        if not self.token:
            return Request(self.address(), compact(payload))
        payload["channel"] = self.channel
        if delivery.thread and delivery.message.subject and not delivery.plain:
            payload["thread_ts"] = delivery.thread
        url = rebased(f"{PUBLIC}/api/chat.postMessage", self.base_url)
        return Request(url, compact(payload), {"Authorization": f"Bearer {token_of(self.token)}"})

    def read(self, answer: Answer) -> Reply:
        """Judge the answer: JSON of the API, a word of a webhook."""
        return self._read_api(answer) if self.token else self._read_webhook(answer)

    def _read_api(self, answer: Answer) -> Reply:
        found = document(answer)
        if 200 <= answer.status < 300 and found.get("ok") is True:
            message = found.get("message")
            root = message.get("thread_ts") if isinstance(message, dict) else None
            thread = root or found.get("ts")
            return Reply(Verdict.DELIVERED, thread=thread if isinstance(thread, str) else None)
        detail = found.get("response_metadata")
        messages = detail.get("messages") if isinstance(detail, dict) else None
        return _judged(answer, str(found.get("error") or ""), str(messages or ""))

    def _read_webhook(self, answer: Answer) -> Reply:
        text = answer.body[:2000].decode(errors="replace").strip()
        if answer.status == 200 and text == "ok":
            return Reply(Verdict.DELIVERED)
        return _judged(answer, text.partition("\n")[0].partition(":")[0].strip(), text)

    def weigh(self, message: Message) -> int:
        """Return the characters of all blocks, or what so many blocks count for, whichever is more."""
        return _weight(cleaned(message))

    @staticmethod
    def escape(text: str) -> str:
        """Escape what could mention somebody or be a link."""
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def _payload(self, message: Message, *, plain: bool) -> dict[str, Any]:
        message = fitted(message, _weight, self.max_bytes)
        payload: dict[str, Any] = {
            "text": within(plain_text(message), MAX_TEXT if plain else MAX_SECTION, Slack.escape),
            "mrkdwn": False, "parse": "none", "unfurl_links": False, "unfurl_media": False,
        }  # fmt: skip
        return payload if plain else payload | {"blocks": _blocks(message)[:MAX_BLOCKS]}


def _judged(answer: Answer, error: str, words: str) -> Reply:
    """Look the error's word up; without one the status tells."""
    verdict, meaning = ERRORS.get(error, (None, ""))
    by_number = by_status(answer)
    if verdict is None and by_number is not None:
        return by_number
    if verdict is None:
        known = "an error that is not known here" if error.isidentifier() else "this is no answer of Slack"
        verdict = Verdict.PERMANENT if error.isidentifier() else Verdict.RETRY
        return Reply(verdict, said(error)[:80], said(words), known)
    after = retry_after(answer, time.time())
    if verdict is Verdict.PAUSE:
        after = after or 60.0
    return Reply(verdict, error, said(words), meaning, after if verdict in {Verdict.PAUSE, Verdict.RETRY} else None)


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Return the blocks of a cleaned message. Outside text is plain text or code: neither holds markup."""
    icon = ICONS[message.severity]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(f"{icon} {message.title}", 150)}]
    if message.note:
        blocks.append({"type": "context", "elements": [_plain(message.note, MAX_FIELD)]})
    for entry in message.entries:
        blocks += _entry(message, entry)
    return blocks


def _entry(message: Message, entry: Entry) -> list[dict[str, Any]]:
    single = len(message.entries) == 1
    sections = _sections(message, entry)
    if single and entry.links:
        buttons = [_button(link) for link in entry.links[:BUTTONS]]
        return [*sections, {"type": "actions", "elements": buttons}]
    if sections and entry.links:
        sections[0]["accessory"] = _button(entry.links[0])
    return sections


def _sections(message: Message, entry: Entry) -> list[dict[str, Any]]:
    """Return what is said, without any button."""
    if entry.markup and len(entry.markup) <= MAX_SECTION:
        return [{"type": "section", "text": _markdown(entry.markup)}]
    icon = "" if len(message.entries) == 1 else f"{ICONS[entry.event.severity]} "
    lines = [*([] if repeats(message, entry) else [icon + entry.headline]), *filter(None, [entry.action])]
    fields = [_field(label, value) for label, value in entry.facts]
    rows = [fields[at : at + FIELDS] for at in range(0, len(fields), FIELDS)] or [[]]
    sections: list[dict[str, Any]] = [
        {"type": "section", "fields": row} if row else {"type": "section"} for row in rows
    ]
    if lines:
        sections[0]["text"] = _plain("\n".join(lines), MAX_SECTION)
    return [section for section in sections if len(section) > 1]


def _plain(text: str, count: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": short(text, count), "emoji": False}


def _markdown(text: str) -> dict[str, Any]:
    """Return text with markup, in which bare names and addresses stay what they are."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _field(label: str, value: str) -> dict[str, Any]:
    name = within(label.replace("*", ""), 200, Slack.escape)
    code = within(value.replace("`", "'"), MAX_FIELD - 210, Slack.escape)
    return _markdown(f"*{name}*\n`{code}`")


def _button(link: Link) -> dict[str, Any]:
    return {"type": "button", "text": _plain(link.text, 75), "url": link.url}


def _weight(message: Message) -> int:
    blocks = _blocks(message)
    return max(_characters(blocks), len(blocks) * MAX_TEXT // MAX_BLOCKS)


def _characters(value: Any) -> int:
    """Count what stands in texts and addresses, however deep."""
    if isinstance(value, list):
        return sum(map(_characters, value))
    if not isinstance(value, dict):
        return 0
    own = sum(len(text) for key, text in value.items() if key in {"text", "url"} and isinstance(text, str))
    return own + sum(map(_characters, value.values()))
