"""How a message is made safe and short before any markup is: cleaned, one line a text, and cut where it is too long.

Whatever is cut is cut before it is escaped, so that no tag, entity or escape is ever cut in two.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from updater.model.event import Severity
from updater.model.message import Entry, Language, Link, Message

LONGEST_LINK = 2000  # characters of an address; services refuse the whole message for one that is longer than 2,048
ICONS = {Severity.INFO: "🟢", Severity.WARNING: "🟠", Severity.ERROR: "🔴"}
COLON: Mapping[Language, str] = {"en": ": ", "zh": "\N{FULLWIDTH COLON}"}

_VALUES = (400, 200, 100, 50)  # characters of one fact, tried one after the other
_TEXTS = (200, 80)  # characters of every other text, when no fact is left
_HANDY_LINK = 500  # characters of an address that is kept until all links go
_MORE: Mapping[Language, str] = {"en": "and {} more", "zh": "另有 {} 项"}
_LINK = re.compile(r"""https?://[^\s<>"'`\\^{}|]+""")
_NOT_IN_MARKUP = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_BLANKS = re.compile(r"( *)(.*?)( *)", re.DOTALL)


# --- clean -----------------------------------------------------------------------------------------------------------


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
    """Return a text on one line: whatever does not print, or turns the direction of writing, becomes a blank."""
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


# --- short -----------------------------------------------------------------------------------------------------------


def fitted(message: Message, weigh: Callable[[Message], int], most: int) -> Message:
    """Return the cleaned message, shortened until `weigh` says at most `most`; if nothing helps, its shortest form."""
    attempt = message = cleaned(message)
    for attempt in _shortened(message):
        if weigh(attempt) <= most:
            break
    return attempt


def brief(message: Message) -> Message:
    """Return a message of several events without the facts of those that went well; who must do what stays."""
    if len(message.entries) < 2:
        return message
    return replace(
        message, entries=tuple(e if grave(e.event.severity) else replace(e, facts=()) for e in message.entries)
    )


def _shortened(message: Message) -> Iterator[Message]:
    """Yield the message, then ever shorter forms of it; the last is a few lines long.

    Our own words take the place of templates, which cannot be cut without breaking their markup; values are cut, facts
    go from the end, then the other texts are cut, links go, and at last the events from the end, which the note counts.
    """
    yield message
    for step in _steps(message):
        message = replace(message, entries=tuple(map(step, message.entries)))
        yield message
    for most in _TEXTS:
        entries = tuple(map(partial(_with_texts, most=most), message.entries))
        message = replace(message, title=short(message.title, most), note=short(message.note, most), entries=entries)
        yield message
    message = replace(message, entries=tuple(replace(entry, links=()) for entry in message.entries))
    yield message
    count, told = len(message.entries), message.note
    while len(message.entries) > 1:
        kept = message.entries[: len(message.entries) * 3 // 4]
        more = _MORE[message.language].format(count - len(kept))
        message = replace(message, entries=kept, note=" · ".join(filter(None, (told, more))))
        yield message


def _steps(message: Message) -> Iterator[Callable[[Entry], Entry]]:
    if any(entry.markup for entry in message.entries):
        yield partial(replace, markup=None)
    for most in _VALUES:
        yield partial(_with_values, most=most)
    for most in reversed(range(max((len(entry.facts) for entry in message.entries), default=0))):
        yield partial(_with_facts, most=most)


def _with_values(entry: Entry, most: int) -> Entry:
    return replace(entry, facts=tuple((short(label, most), short(value, most)) for label, value in entry.facts))


def _with_facts(entry: Entry, most: int) -> Entry:
    return replace(entry, facts=entry.facts[:most])


def _with_texts(entry: Entry, most: int) -> Entry:
    links = tuple(Link(short(link.text, most), link.url) for link in entry.links if len(link.url) <= _HANDY_LINK)
    return replace(entry, headline=short(entry.headline, most), action=_whole(entry.action, most), links=links)


def _whole(action: str, most: int) -> str:
    """Shorten an action, and leave out a command that would be cut: whoever copied it would run something else."""
    kept = short(action, most)
    return kept if kept.count("`") % 2 == 0 else kept[: kept.rindex("`")].rstrip() + "…"


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


# --- said ------------------------------------------------------------------------------------------------------------


def grave(severity: Severity) -> bool:
    """Whether it is a warning or worse."""
    return severity.rank >= Severity.WARNING.rank


def repeats(message: Message, entry: Entry) -> bool:
    """Say whether the title already is the headline of the only entry."""
    return len(message.entries) == 1 and entry.headline == message.title


def worded(action: str, escape: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Return an action whose commands, in backticks, are made by `code`, and whose words between them by `escape`."""
    parts = action.split("`")
    if len(parts) % 2 == 0:
        return escape(action)
    return "".join(code(part) if at % 2 else _escaped(part, escape) for at, part in enumerate(parts))


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    """Escape what stands between blanks: an escape may take those away."""
    found = _BLANKS.fullmatch(text)
    assert found is not None
    before, words, after = found.groups()
    return f"{before}{escape(words)}{after}" if words else text


def facts(message: Message, entry: Entry, escape: Callable[[str], str] = str) -> list[str]:
    """Return label and value of every fact, a line each."""
    return [f"{escape(label)}{COLON[message.language]}{escape(value)}" for label, value in entry.facts]


def plain_text(message: Message, escape: Callable[[str], str] = str) -> str:
    """Return a cleaned message as lines of plain text, several events apart from each other; no template counts."""
    head = "\n".join(map(escape, filter(None, [message.title, message.note])))
    parts = [head, *(plain_entry(message, entry, escape) for entry in message.entries)]
    return ("\n" if len(message.entries) == 1 else "\n\n").join(filter(None, parts))


def plain_entry(message: Message, entry: Entry, escape: Callable[[str], str] = str) -> str:
    """Return one entry as lines of plain text, empty where the title has said it all."""
    lines = [] if repeats(message, entry) else [escape(entry.headline)]
    lines += facts(message, entry, escape)
    lines += [escape(entry.action)] if entry.action else []
    lines += [f"{escape(link.text)}{COLON[message.language]}{link.url}" for link in entry.links]
    return "\n".join(lines)
