"""How a message is made safe and short before any markup is: cleaned, one line a text, and cut where it is too long.

Whatever is cut is cut before it is escaped, so that no tag, entity or escape is ever cut in two.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from updater.model.event import Severity
from updater.model.message import Entry, Link, Message

LONGEST_LINK = 2000  # characters of an address; services refuse the whole message for one that is longer than 2,048
ICONS = {Severity.INFO: "🟢", Severity.WARNING: "🟠", Severity.ERROR: "🔴"}

_CAPS = (1000, 400, 150, 60)  # characters of one text, tried one after the other
_MORE = {"en": "and {count} more", "zh": "另有 {count} 项"}
_LINK = re.compile(r"""https?://[^\s<>"'`\\^{}|]+""")
_NOT_IN_MARKUP = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def cleaned(message: Message) -> Message:
    """Return the message with every text on one line, printable and not empty; what stays empty is left out.

    What cannot be printed goes: control characters, half surrogates, and marks that turn the direction of a text.
    """
    return replace(
        message,
        title=one_line(message.title) or "updater",
        note=one_line(message.note),
        entries=tuple(map(_cleaned, message.entries)),
    )


def one_line(text: str) -> str:
    """Return a text on one line, of characters that can be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _cleaned(entry: Entry) -> Entry:
    facts = ((one_line(label), one_line(value)) for label, value in entry.facts)
    return replace(
        entry,
        headline=one_line(entry.headline) or entry.event.kind.value,
        facts=tuple((label, value) for label, value in facts if label and value),
        action=one_line(entry.action),
        links=tuple(Link(one_line(link.text) or link.url, link.url) for link in entry.links if _is_link(link.url)),
        markup=None if entry.markup is None else _NOT_IN_MARKUP.sub("", entry.markup).strip() or None,
    )


def _is_link(url: str) -> bool:
    try:
        return bool(_LINK.fullmatch(url) and urlsplit(url).hostname) and url.isprintable() and len(url) <= LONGEST_LINK
    except ValueError:
        return False


def fitted(message: Message, weigh: Callable[[Message], int], most: int) -> Message:
    """Return the cleaned message, shortened until `weigh` says at most `most`.

    The template of an operator cannot be cut without breaking its markup: ours takes its place. What is left at last is
    the title and how many events it stands for.
    """
    attempt = message = cleaned(message)
    for attempt in _shorter(message):
        if weigh(attempt) <= most:
            break
    return attempt


def _shorter(message: Message) -> Iterator[Message]:
    yield message
    message = replace(message, entries=tuple(replace(entry, markup=None) for entry in message.entries))
    for cap in _CAPS:
        yield _capped(message, cap)
    bare = _capped(replace(message, entries=tuple(replace(e, facts=(), links=()) for e in message.entries)), _CAPS[-1])
    kept = len(bare.entries)
    while kept:
        more = len(bare.entries) - kept
        note = _MORE[message.language].format(count=more) if more else bare.note
        yield replace(bare, entries=bare.entries[:kept], note=note)
        kept //= 2


def _capped(message: Message, cap: int) -> Message:
    return replace(
        message,
        title=short(message.title, cap),
        note=short(message.note, cap),
        entries=tuple(
            replace(
                entry,
                headline=short(entry.headline, cap),
                facts=tuple((short(label, cap), short(value, cap)) for label, value in entry.facts[:20]),
                action=short(entry.action, cap),
                links=tuple(Link(short(link.text, cap), link.url) for link in entry.links[:3] if len(link.url) < 500),
            )
            for entry in message.entries
        ),
    )


def short(text: str, count: int) -> str:
    """Return at most `count` characters of a text; the last one says that it was cut."""
    return text if len(text) <= count else text[: count - 1].rstrip() + "…"


def within(text: str, count: int, escape: Callable[[str], str] = str, size: Callable[[str], int] = len) -> str:
    """Return the escaped text, cut before it is escaped so that its size is at most `count`."""
    whole = escape(text)
    if size(whole) <= count:
        return whole
    text = text[:count]
    keep = bisect_right(range(len(text)), count, key=lambda n: size(escape(text[:n] + "…"))) - 1
    return escape(text[: max(0, keep)].rstrip() + "…")


def repeats(message: Message, entry: Entry) -> bool:
    """Say whether the title already is the headline of the only entry."""
    return len(message.entries) == 1 and entry.headline == message.title


def plain_text(message: Message) -> str:
    """Return a cleaned message as lines of plain text, events apart from each other; templates are left out."""
    head = [message.title, *filter(None, [message.note])]
    return "\n\n".join(filter(None, ["\n".join(head), *(plain_entry(message, entry) for entry in message.entries)]))


def plain_entry(message: Message, entry: Entry) -> str:
    """Return one entry as lines of plain text, empty where the title has said it all."""
    lines = [] if repeats(message, entry) else [entry.headline]
    lines += [f"{label}: {value}" for label, value in entry.facts]
    lines += filter(None, [entry.action])
    lines += [f"{link.text}: {link.url}" for link in entry.links]
    return "\n".join(lines)
