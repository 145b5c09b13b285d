"""What a reader is told, before any service's markup: plain texts, which notifiers escape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from updater.model.event import Event, Severity

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Link:
    """A button or a link: http or https, checked."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in words, in one language, of plain text.

    headline  what happened, in one line that stands alone: `api 1.4.2 -> 1.5.0`
    line      the one line of the contract: the headline, and what went wrong or where it stands
    facts     label and value, in the order in which a reader wants them
    action    who must do what; empty where nobody must do anything
    markup    the whole entry in the service's own markup, where a template of the operator made it
    """

    event: Event
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    action: str = ""
    links: tuple[Link, ...] = ()
    markup: str | None = None
    line: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What one destination is sent at once: one entry, or several that happened together.

    id       unique, and the same for the same events: a receiver may drop what it has seen
    title    the headline of one entry, or a summary of several
    note     what is said besides, e.g. how many events were held back; empty mostly
    test     nothing happened: `updater notify test` asks whether messages arrive
    """

    id: str
    title: str
    entries: tuple[Entry, ...]
    language: Language = "en"
    note: str = ""
    test: bool = False

    @property
    def severity(self) -> Severity:
        """That of its gravest event; a test is info."""
        return max((entry.event.severity for entry in self.entries), key=lambda s: s.rank, default=Severity.INFO)

    @property
    def subject(self) -> str:
        """The key of what all its events are about, empty where they are about several: threads hang on it."""
        keys = {entry.event.subject.key for entry in self.entries}
        return keys.pop() if len(keys) == 1 else ""
