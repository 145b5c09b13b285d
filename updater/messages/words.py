"""What a language says: one table a language (english.py, chinese.py), one row an event kind or a reason of a hold.

A pattern holds `{placeholders}`; a part in `[brackets]` is left out where one of its placeholders is empty:
`{name} updated[: {change}]`. Placeholders of headlines and actions:

    name command     which image, application or cluster; the same as a command takes it, quoted for a shell
    change old new   `1.4.2 -> 1.5.0`, and its halves
    reason           why it is held, in words
    repository branch registry cluster
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from updater.model.decision import Reason
from updater.model.event import Event, Kind

_OPTIONAL = re.compile(r"\[([^\[\]{}]*\{[^\[\]]*)\]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Told:
    """How one kind of event is told.

    headline  pattern of the line that stands alone
    one, many  patterns of how several are counted, `{n} images updated`
    detail    what the event's own `why` is called
    action    pattern of who must do what; empty where nobody must do anything
    link      what the link to the commit is called, where it leads elsewhere
    still     pattern of what a reminder says, with `{since}`
    """

    headline: str
    one: str
    many: str
    detail: str
    action: str = ""
    link: str = ""
    still: str = ""


@dataclass(frozen=True, slots=True)
class Reasoned:
    """Why an update is held, and who must do what so that it goes on; empty where it goes on by itself."""

    words: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """What facts and links are called."""

    image: str
    change: str
    where: str
    digest: str
    registry: str
    application: str
    project: str
    cluster: str
    images: str
    applications: str
    objects: str
    commit: str
    template: str
    see_commit: str
    see_notes: str
    see_page: str


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that one language says.

    still          pattern of what a reminder says, with `{since}`, where the kind has no own
    at, some       patterns of where: `{files}` in `{repository}` and `{branch}`, or `{count}` of them and the `{first}`
    more           pattern of a list that was cut: `{listed}` and `{count}` more of `{total}`
    group          pattern of a summary and what all of it is about
    comma, listing  between the parts of a summary, and of a list
    aside          what a remark at the end of a line stands in
    unused         pattern of why the operator's template was not used
    held_one, held_many  patterns of `{count}` and `{since}`
    test_title, test_note  patterns of `{channel}` and `{at}`
    back           how an update is told that is a rollback
    whys           how what decisions say is said in this language, part by part; what is not here stays as it is
    pause          between these parts
    """

    kinds: Mapping[Kind, Told]
    back: Told
    reasons: Mapping[str, Reasoned]
    labels: Labels
    still: str
    at: str
    some: str
    more: str
    group: str
    comma: str
    listing: str
    aside: str
    unused: str
    held_one: str
    held_many: str
    test_title: str
    test_note: str
    whys: tuple[tuple[re.Pattern[str], str], ...] = ()
    pause: str = "; "

    def told(self, event: Event) -> Told:
        """Return how an event is told. An update whose commit holds the image as well is a rollback."""
        back = event.kind is Kind.IMAGE_UPDATED and event.reason == Reason.HELD
        return self.back if back else self.kinds[event.kind]

    def why(self, said: str) -> str:
        """Say what a decision said in this language, as far as it is known."""
        parts = said.split("; ")
        told = [self._part(part) for part in parts]
        return said if told == parts else self.pause.join(told)

    def _part(self, said: str) -> str:
        for pattern, words in self.whys:
            if found := pattern.fullmatch(said):
                return fill(words, {f"_{at}": text or "" for at, text in enumerate(found.groups(), 1)})
        return said


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """Fill in a pattern. Values are never read as patterns themselves."""

    def part(found: re.Match[str]) -> str:
        names = _PLACEHOLDER.findall(found[1])
        return found[1] if all(values.get(name) for name in names) else ""

    return _OPTIONAL.sub(part, pattern).format_map(values)
