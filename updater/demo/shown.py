"""A received message as its reader would see it, in lines for a terminal: headings, facts, and buttons with addresses.

Every service's markup is undone, so that what was escaped well reads as it was meant, and what was not shows.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from updater.demo.services.base import Json, Received, at, list_at, text_at

MAX_CHARACTERS = 40_000  # of one message; no service takes more
_FONT = re.compile(r"</?font[^<>]*>")
_HEADING = re.compile(r"(?m)^#{1,6} +")
_LINK = re.compile(r"(?<!\\)\[((?:[^\[\]\\]|\\.)*)\]\(<?([^()<>\s]*)>?\)")
_BOLD = re.compile(r"(?<!\\)(?:\*\*|~~|(?<!\w)__|__(?!\w))")
_CODE = re.compile(r"(?<!\\)`([^`\n]+)`")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_ANCHOR = re.compile(r"""<a href=["']([^"'<>]*)["']>([^<>]*)</a>""")
_TAG = re.compile(r"</?[a-z][^<>]*>")
_SLACK_LINK = re.compile(r"<([^<>|]*)\|([^<>|]*)>")
_STAR = re.compile(r"(?<!\w)\*([^*\n]+)\*(?!\w)")
_SLACK_BARE = re.compile(r"<(https?:[^<>|]*)>")


def shown(message: Received) -> str:
    """Return the message as lines of printable text, with buttons as `[Commit] https://...`."""
    try:
        lines = list(filter(None, _SHOWN[message.service](message.body)))
    except RecursionError:
        lines = ["(nested too deeply to be shown)"]
    text = "\n".join(lines)[:MAX_CHARACTERS]
    printable = ("".join(c for c in line if c.isprintable()).rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(printable)).strip("\n")


def _button(text: str, url: str) -> str:
    """Show a button; DingTalk's wrapper, which opens the browser, is taken off."""
    if url.startswith("dingtalk:"):
        url = parse_qs(url.partition("?")[2]).get("url", [url])[0]
    return f"[{text}] {url}".rstrip()


def _markdown(text: str) -> str:
    text = _LINK.sub(r"\1 (\2)", _HEADING.sub("", _FONT.sub("", text)))
    return html.unescape(_ESCAPED.sub(r"\1", _CODE.sub(r"\1", _BOLD.sub("", text))))


def _titled(title: str, text: str) -> Iterator[str]:
    """Yield title and text; a title that the text begins with is shown once."""
    if title and not text.lstrip().startswith(title):
        yield title
    yield text


def _dingtalk(body: Json) -> Iterator[str]:
    card: Any = body.get(text_at(body, "msgtype"))
    yield from _titled(text_at(card, "title"), _markdown(text_at(card, "text") or text_at(card, "content")))
    buttons = [(text_at(card, "singleTitle"), text_at(card, "singleURL"))]
    buttons += [(text_at(button, "title"), text_at(button, "actionURL")) for button in list_at(card, "btns")]
    buttons += [(text_at(link, "title"), text_at(link, "messageURL")) for link in list_at(card, "links")]
    yield from (_button(title, url) for title, url in buttons if url)
    if url := text_at(card, "messageUrl"):
        yield url
    called = [str(who) for name in ("atMobiles", "atUserIds") for who in list_at(body, "at", name)]
    called += ["all"] if at(body, "at", "isAtAll") is True else []
    if called:
        yield " ".join(f"@{who}" for who in called)


def _feishu(body: Json) -> Iterator[str]:
    match text_at(body, "msg_type"):
        case "text":
            yield text_at(body, "content", "text")
        case "post":
            posts = at(body, "content", "post")
            yield from _post(next(iter(posts.values()), None) if isinstance(posts, dict) else None)
        case _:
            yield text_at(body, "card", "header", "title", "content")
            yield from _feishu_card(body.get("card"))


def _post(post: object) -> Iterator[str]:
    yield text_at(post, "title")
    for paragraph in list_at(post, "content"):
        parts = paragraph if isinstance(paragraph, list) else ()
        inline = [(text_at(part, "text"), text_at(part, "href")) for part in parts]
        yield "".join(f"{text} ({url})" if url else text for text, url in inline)


def _feishu_card(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for child in node:
            yield from _feishu_card(child)
    if not isinstance(node, dict):
        return
    match text_at(node, "tag"):
        case "button":
            opened = next((text_at(done, "default_url") for done in list_at(node, "behaviors")), "")
            yield _button(text_at(node, "text", "content"), text_at(node, "url") or opened)
        case "lark_md" | "markdown":
            yield _markdown(text_at(node, "content"))
        case "plain_text":
            yield text_at(node, "content")
        case _:
            for name in ("body", "text", "fields", "elements", "columns", "actions", "extra"):
                yield from _feishu_card(at(node, name))


def _wecom(body: Json) -> Iterator[str]:
    kind = text_at(body, "msgtype")
    card: Any = body.get(kind)
    if kind != "template_card":
        yield _markdown(text_at(card, "content")) if kind.startswith("markdown") else text_at(card, "content")
        return
    yield text_at(card, "main_title", "title")
    yield text_at(card, "main_title", "desc")
    yield text_at(card, "sub_title_text")
    for fact in list_at(card, "horizontal_content_list"):
        yield f"{text_at(fact, 'keyname')}: {text_at(fact, 'value')}"
    for jump in (*list_at(card, "jump_list"), at(card, "card_action")):
        if text_at(jump, "url"):
            yield _button(text_at(jump, "title") or "Open", text_at(jump, "url"))


def _mrkdwn(text: str) -> str:
    text = _SLACK_BARE.sub(r"\1", _SLACK_LINK.sub(r"\2 (\1)", text))
    return html.unescape(_CODE.sub(r"\1", _STAR.sub(r"\1", text)))


def _slack(body: Json) -> Iterator[str]:
    """Yield the blocks; the text is what is shown where there are none."""
    attached = list_at(body, "attachments")
    blocks = [*list_at(body, "blocks"), *(block for part in attached for block in list_at(part, "blocks"))]
    if not blocks:
        yield _mrkdwn(text_at(body, "text"))
        yield from (_mrkdwn(text_at(part, "text") or text_at(part, "fallback")) for part in attached)
    for block in blocks:
        yield _slack_text(block) or _mrkdwn(text_at(block, "text"))
        yield from map(_slack_text, list_at(block, "fields"))
        for element in (*list_at(block, "elements"), at(block, "accessory")):
            url = text_at(element, "url")
            yield _button(text_at(element, "text", "text"), url) if url else _mrkdwn(text_at(element, "text"))


def _slack_text(node: object) -> str:
    inner = node if text_at(node, "text") else at(node, "text")
    text = text_at(inner, "text")
    return _mrkdwn(text) if text_at(inner, "type") == "mrkdwn" else html.unescape(text)


def _teams(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for child in node:
            yield from _teams(child)
    if not isinstance(node, dict):
        return
    match text_at(node, "type"):
        case "TextBlock" | "TextRun":
            yield _markdown(text_at(node, "text"))
        case "FactSet":
            for fact in list_at(node, "facts"):
                yield f"{_markdown(text_at(fact, 'title'))}: {_markdown(text_at(fact, 'value'))}"
        case "Action.OpenUrl":
            yield _button(text_at(node, "title"), text_at(node, "url"))
        case _:
            for name in ("attachments", "content", "body", "items", "columns", "rows", "cells", "inlines", "actions"):
                yield from _teams(at(node, name))


def _telegram(body: Json) -> Iterator[str]:
    text = text_at(body, "text")
    if text_at(body, "parse_mode") == "HTML":
        text = html.unescape(_TAG.sub("", _ANCHOR.sub(r"\2 (\1)", text)))
    yield text
    for row in list_at(body, "reply_markup", "inline_keyboard"):
        for button in row if isinstance(row, list) else ():
            yield _button(text_at(button, "text"), text_at(button, "url"))


def _discord(body: Json) -> Iterator[str]:
    yield _markdown(text_at(body, "content"))
    for embed in list_at(body, "embeds"):
        title, url = _markdown(text_at(embed, "title")), text_at(embed, "url")
        yield f"{title} ({url})" if url else title
        yield _markdown(text_at(embed, "description"))
        for fact in list_at(embed, "fields"):
            yield f"{_markdown(text_at(fact, 'name'))}: {_markdown(text_at(fact, 'value'))}"
        yield text_at(embed, "footer", "text")
    for row in list_at(body, "components"):
        for button in list_at(row, "components"):
            yield _button(text_at(button, "label"), text_at(button, "url"))


def _ntfy(body: Json) -> Iterator[str]:
    message = text_at(body, "message")
    yield from _titled(text_at(body, "title"), _markdown(message) if body.get("markdown") is True else message)
    for action in list_at(body, "actions"):
        yield _button(text_at(action, "label"), text_at(action, "url"))
    if (url := text_at(body, "click")) not in {text_at(action, "url") for action in list_at(body, "actions")}:
        yield url


def _webhook(body: Json) -> Iterator[str]:
    """Yield the data, which is the whole body where the attributes are headers."""
    data = at(body, "data") or body
    yield from _titled(text_at(data, "title") or text_at(body, "type"), text_at(data, "text"))
    if url := text_at(data, "commit_url"):
        yield url


_SHOWN: dict[str, Callable[[Json], Iterable[str]]] = {
    "dingtalk": _dingtalk,
    "feishu": _feishu,
    "wecom": _wecom,
    "slack": _slack,
    "teams": _teams,
    "telegram": _telegram,
    "discord": _discord,
    "ntfy": _ntfy,
    "webhook": _webhook,
}
