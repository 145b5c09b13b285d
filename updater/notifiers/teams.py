"""Microsoft Teams: the webhook of a Workflow (Power Automate), which takes an Adaptive Card."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.model.event import Severity
from updater.model.message import Entry, Link, Message
from updater.notifiers.base import (
    Delivery,
    HttpNotifier,
    Reply,
    Request,
    Verdict,
    by_status,
    compact,
    document,
    said,
)
from updater.notifiers.fitting import cleaned, fitted, plain_text, repeats, short
from updater.notifiers.gateway import BaseUrl, rebased
from updater.secrets import SecretRef
from updater.transport.http import Answer

ACTIONS = 6  # buttons that a card shows at once
_STYLES = {Severity.INFO: "good", Severity.WARNING: "warning", Severity.ERROR: "attention"}

_ERRORS: dict[str, tuple[Verdict, str]] = {
    "WorkflowTriggerIsNotEnabled": (Verdict.PERMANENT, "the workflow is turned off: its owner must turn it on"),
    "WorkflowNotFound": (Verdict.PERMANENT, "the workflow was deleted: a new webhook is needed"),
    "DirectApiAuthorizationRequired": (Verdict.PERMANENT, "the whole address is needed, with everything after `?`"),
    "DirectApiInvalidAuthorizationScheme": (Verdict.PERMANENT, "the workflow must take requests from anyone"),
    "TriggerInputSchemaMismatch": (Verdict.DEGRADE, "the workflow does not take this card"),
    "InvalidRequestContent": (Verdict.DEGRADE, "the workflow does not take this card"),
    "NoResponse": (Verdict.RETRY, "the workflow did not end in time"),
}
"""`error.code` of what Power Automate answers, whatever its status."""

_REMOTE_STATUS = re.compile(
    r"HTTP error (\d{3})"
)  # a legacy connector's `Microsoft Teams endpoint returned HTTP error 429`
_FAILED = re.compile(r"fail|error|invalid|bad payload|required", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\*_\[\]`~<])")
_AT_START = re.compile(r"^(>|(?:#+|[-+]|\d+[.)])(?=\s|$))")


class Teams(HttpNotifier):
    """A channel or chat of Microsoft Teams; `url` is that of a workflow's webhook, which holds its signature.

    Templates are the Markdown of Adaptive Cards. The service knows nothing but cards: plain is one without markup.
    """

    max_bytes: ClassVar[int] = 25_000  # 28 KB with what the service adds around the card

    kind: Literal["teams"] = "teams"
    url: SecretRef = Field(description="secret reference of the whole address of the webhook")
    base_url: BaseUrl | None = Field(None, description="a private gateway in place of the service's public address")

    def address(self) -> str:
        """Return the whole address, which holds the signature. Raises SecretError, NotifyError."""
        return rebased(self.url.resolve().strip(), self.base_url)

    def request(self, delivery: Delivery) -> Request:
        """Return the request of one attempt. Raises SecretError, NotifyError."""
        card = _plain_card if delivery.plain else _card
        message = fitted(delivery.message, lambda m: len(compact(card(m))), self.max_bytes)
        return Request(self.address(), compact(card(message)))

    def read(self, answer: Answer) -> Reply:
        """Judge the answer: 202 is a workflow's, 200 with `1` or nothing a connector's; a text there is a failure."""
        error = document(answer).get("error")
        code = str(error.get("code", "")) if isinstance(error, dict) else ""
        if code in _ERRORS:
            verdict, meaning = _ERRORS[code]
            assert isinstance(error, dict)
            return Reply(verdict, code, said(error.get("message", "")), meaning)
        judged = by_status(answer)
        if judged is not None and answer.status == 413:
            return replace(judged, verdict=Verdict.DEGRADE)
        return judged or _body(answer)

    def weigh(self, message: Message) -> int:
        """Return the bytes of the rendered message."""
        return len(compact(_card(cleaned(message))))

    @staticmethod
    def escape(text: str) -> str:
        """Escape the Markdown of cards."""
        escaped = _AT_START.sub(lambda found: found[1][:-1] + "\\" + found[1][-1], _SPECIAL.sub(r"\\\1", text))
        return escaped.replace("\n", " ")


def _body(answer: Answer) -> Reply:
    """Judge the body of an answer whose status says that all is well."""
    text = answer.body[:2000].decode(errors="replace").strip()
    if answer.status == 202 or text.lower() in {"", "1", "ok"} or document(answer):
        return Reply(Verdict.DELIVERED)
    remote = _REMOTE_STATUS.search(text)
    judged = by_status(replace(answer, status=int(remote[1]))) if remote else None
    if judged is not None:
        return judged
    verdict = Verdict.DEGRADE if _FAILED.search(text[:400]) and not text.startswith("<") else Verdict.RETRY
    return Reply(verdict, f"HTTP {answer.status}", said(text), "the answer tells of a failure")


def _card(message: Message) -> dict[str, Any]:
    head: list[dict[str, Any]] = [_text(message.title, size="medium", weight="bolder")]
    if message.note:
        head.append(_text(message.note, isSubtle=True))
    body = [{"type": "Container", "style": _STYLES[message.severity], "bleed": True, "items": head}]
    for entry in message.entries:
        body += _entry(message, entry)
    single = message.entries[0].links if len(message.entries) == 1 else ()
    return _envelope({"body": body} | ({"actions": _actions(single)} if single else {}))


def _plain_card(message: Message) -> dict[str, Any]:
    lines = plain_text(message).splitlines()
    return _envelope({"body": [_text(line) for line in lines if line]})


def _envelope(card: dict[str, Any]) -> dict[str, Any]:
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "msteams": {"width": "Full"}, **card,
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _entry(message: Message, entry: Entry) -> list[dict[str, Any]]:
    items = _told(message, entry)
    if entry.links and len(message.entries) > 1:
        items.append({"type": "ActionSet", "actions": _actions(entry.links)})
    return items


def _told(message: Message, entry: Entry) -> list[dict[str, Any]]:
    """Return what is said, without any button."""
    if entry.markup:
        return [{"type": "TextBlock", "text": entry.markup, "wrap": True, "separator": True}]
    items: list[dict[str, Any]] = []
    if not repeats(message, entry):
        items.append(_text(entry.headline, weight="bolder", separator=True))
    if entry.facts:
        facts = [{"title": Teams.escape(label), "value": Teams.escape(value)} for label, value in entry.facts]
        items.append({"type": "FactSet", "facts": facts})
    if entry.action:
        items.append(_text(entry.action))
    return items


def _text(text: str, **look: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": Teams.escape(text), "wrap": True, **look}


def _actions(links: tuple[Link, ...]) -> list[dict[str, Any]]:
    return [{"type": "Action.OpenUrl", "title": short(link.text, 100), "url": link.url} for link in links[:ACTIONS]]
