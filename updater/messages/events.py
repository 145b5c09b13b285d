"""From events to words: one line, an entry of a message, a whole message. Pure, and never without words.

Every text is plain, on one line, shortened, and still unescaped: it may come from a tag, an error or a commit, and
the notifiers escape it for their service.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from updater.messages.chinese import CHINESE
from updater.messages.english import ENGLISH
from updater.messages.templates import Template
from updater.messages.words import Words, fill
from updater.model.event import Event, Kind
from updater.model.message import Entry, Language, Link, Message
from updater.secrets import redact

MAX_HEADLINE = 200  # characters; a phone shows about a third of it
MAX_VALUE = 300  # characters of a fact
MAX_LINE = 500  # characters of the one line
MAX_VERSION = 60  # characters of a version in a headline; a tag may have 128
MAX_URL = 2000  # characters; no browser is asked for more
FEW = 3  # places in one repository that are all told
SOME = 5  # names of a list that are told
MOST = 100  # entries of a list that a template is handed
GROUPS = 3  # kinds in the title of a message

WORDS: Mapping[Language, Words] = {"en": ENGLISH, "zh": CHINESE}
ANYTHING = "*"  # the template of the kinds that have none of their own

_DIGEST = re.compile(r"(sha(?:256|512):[0-9a-f]{12})[0-9a-f]+")
_PATTERN = re.compile(r"[*?\[{]")  # an entry may be a pattern, which is the name of no image
_CHANGES = frozenset({
    Kind.IMAGE_UPDATED, Kind.UPDATE_AVAILABLE, Kind.PULL_REQUEST_OPENED, Kind.PULL_REQUEST_MERGED,
    Kind.PULL_REQUEST_CLOSED,
})  # fmt: skip
"""The kinds of which one line says where; of all others it says why."""

_LISTS: Mapping[Kind, str] = {
    Kind.CLUSTER_UNREACHABLE: "applications",
    Kind.CLUSTER_RECOVERED: "applications",
    Kind.OUT_OF_SYNC: "objects",
}
"""What `Event.images` names, where that is no images: the label of it."""


def line(event: Event, language: Language = "en") -> str:
    """Return one line that stands alone: the headline, and what went wrong or where it stands."""
    return _Said(event, WORDS[language]).line


def entry(
    event: Event,
    language: Language,
    template: Template | None = None,
    escape: Callable[[str], str] = str,
    page: str = "",
) -> Entry:
    """Return an event in words; with the operator's template also in the service's markup, escaped by `escape`.

    A template that fails is named among the facts, and our own words are sent. `page` is where people reach our page.
    """
    words = WORDS[language]
    said = _Said(event, words)
    told = Entry(event, said.headline, tuple(said.facts()), said.action, tuple(said.links(page)), line=said.line)
    if template is None:
        return told
    try:
        markup = template.render(context(event, language), escape)
    except ValueError as err:
        unused = _plain(fill(words.unused, {"why": str(err)}), MAX_VALUE)
        return replace(told, facts=(*told.facts, (words.labels.template, unused)))
    return replace(told, markup=markup or None)


def message(
    events: Sequence[Event],
    language: Language,
    *,
    note: str = "",
    templates: Mapping[str, Template] = {},
    escape: Callable[[str], str] = str,
    page: str = "",
) -> Message:
    """Return the message of what happened together, in the order given. `templates` are by kind, or `*`.

    Where nothing happened the note is the title. `page` is where people reach our page, empty where they do not.
    """
    entries = [entry(e, language, templates.get(e.kind, templates.get(ANYTHING)), escape, page) for e in events]
    note = _plain(note, MAX_VALUE)
    number = hashlib.sha256("\n".join([*(event.id for event in events), *([] if events else [note])]).encode())
    if not entries:
        return Message(number.hexdigest()[:32], note, (), language)
    title = entries[0].headline if len(entries) == 1 else _summary(events, WORDS[language])
    return Message(number.hexdigest()[:32], title, tuple(entries), language, note)


def test_message(language: Language, channel: str, now: datetime) -> Message:
    """Return what `updater notify test` sends: a title and a note without any event."""
    words, values = WORDS[language], {"channel": channel, "at": moment(now)}
    key = hashlib.sha256(f"test {channel} {now.astimezone(UTC).isoformat()}".encode()).hexdigest()[:32]
    title = _plain(fill(words.test_title, values), MAX_HEADLINE)
    return Message(key, title, (), language, _plain(fill(words.test_note, values), MAX_VALUE), test=True)


def held_back(count: int, since: datetime, language: Language) -> str:
    """Return the note about events that were kept waiting."""
    words = WORDS[language]
    pattern = words.held_one if count == 1 else words.held_many
    return fill(pattern, {"count": str(count), "since": moment(since)})


def reminder(told: Entry, since: datetime, language: Language) -> Entry:
    """Return the entry of what still is so. `since` is said last, and is never what a long headline loses."""
    words = WORDS[language]
    still = fill(words.told(told.event).still or words.still, {"since": moment(since)})
    ending = words.aside.format(still)
    headline = _cut(told.headline, MAX_HEADLINE - len(ending)) + ending
    markup = told.markup and f"{told.markup}\n\n{still}"  # words of ours and a time: nothing to escape
    return replace(told, headline=headline, line=_cut(told.line, MAX_LINE - len(ending)) + ending, markup=markup)


def context(event: Event, language: Language) -> dict[str, object]:
    """Return the names that a template has (templates.py says what they are)."""
    said, subject = _Said(event, WORDS[language]), event.subject
    texts = {
        "kind": event.kind.value,
        "severity": event.severity.value,
        "text": said.line,
        "time": event.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "language": language,
        "subject": subject.words,
        "image": subject.image,
        "item": subject.item,
        "reference": said.image,
        "registry": subject.registry,
        "repository": _home(event)[0],
        "branch": _home(event)[1],
        "application": subject.application,
        "project": subject.project,
        "cluster": subject.cluster,
        "old": _version(event.old),
        "new": _version(event.new),
        "digest": event.digest or "",
        "reason": event.reason,
        "why": said.why,
        "commit": event.commit or "",
        "commit_url": event.commit_url if _is_link(event.commit_url) else "",
        "release_notes": event.release_notes if _is_link(event.release_notes) else "",
    }
    plain = {name: _plain(text or "", MAX_URL if name.endswith(("_url", "_notes")) else MAX_VALUE)
             for name, text in texts.items()}  # fmt: skip
    spots = [
        {
            "file": _plain(spot.file, MAX_VALUE),
            "line": spot.line,
            "repository": _plain(spot.repository, MAX_VALUE),
            "branch": _plain(spot.branch, MAX_VALUE),
            "spelled": _plain(spot.spelled, MAX_VALUE),
        }
        for spot in event.spots[:MOST]
    ]
    return {
        **plain,
        "spots": spots,
        "images": [_plain(image, MAX_VALUE) for image in event.images[:MOST]],
        "labels": {key: _plain(value, MAX_VALUE) for key, value in list(event.labels.items())[:MOST]},
    }


def moment(at: datetime) -> str:
    """Return a time as people read it: `2026-12-01 08:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


class _Said:
    """One event in one language, part by part."""

    def __init__(self, event: Event, words: Words) -> None:
        self._event, self._words, self._told = event, words, words.told(event)
        self._reason = words.reasons.get(event.reason) if event.kind is Kind.UPDATE_HELD else None
        subject = event.subject
        self._values = {
            "name": self._name,
            "command": shlex.quote(_plain(self._commanded, MAX_VALUE)) if self._commanded else "",
            "change": _change(event, MAX_VERSION),
            "old": _cut(_version(event.old), MAX_VERSION),
            "new": _cut(_version(event.new), MAX_VERSION),
            "reason": self._reason.words if self._reason else event.reason,
            "registry": subject.registry or self._name,
            "repository": subject.repository,
            "branch": subject.branch,
            "cluster": subject.cluster,
        }
        self.headline = _plain(fill(self._told.headline, self._values), MAX_HEADLINE)

    @property
    def line(self) -> str:
        rest = self.where if self._event.kind in _CHANGES else self.why
        return _plain(self.headline + (self._words.aside.format(rest) if rest else ""), MAX_LINE)

    @property
    def image(self) -> str:
        """The image as Git spells it, else as it is known; a pattern names none."""
        spelled = next((spot.spelled for spot in self._event.spots if spot.spelled), "")
        reference = self._event.subject.reference
        return spelled or ("" if _PATTERN.search(reference) else reference)

    @property
    def _commanded(self) -> str:
        """What a command takes: the name of an image, or of an application."""
        subject = self._event.subject
        return subject.item or subject.image or subject.application

    @property
    def _name(self) -> str:
        """Name what it is about, also where the entry has a name of its own, or is a pattern over many images."""
        name, image = self._event.subject.words, self.image
        if image and _PATTERN.search(name):
            return image
        return f"{image} ({name})" if image and image.rpartition("/")[2] not in name else name

    @property
    def action(self) -> str:
        pattern = self._reason.action if self._reason else self._told.action
        return _plain(fill(pattern, self._values), MAX_VALUE)

    @property
    def why(self) -> str:
        """The event's own words, without the word of the reason that our gates begin with."""
        reason = re.escape(self._event.reason)
        said = re.sub(rf"(^|; ){reason}: ", r"\1", self._event.why, count=1) if reason else self._event.why
        said = _plain(said, MAX_VALUE)
        decided = reason or self._event.kind in _CHANGES  # all else is an error, in the words of who failed
        return _cut(self._words.why(said), MAX_VALUE) if decided else said

    @property
    def where(self) -> str:
        """Repository, branch and places: all of a few, one of many."""
        spots, words = self._event.spots, self._words
        if not spots:
            repository, branch = _home(self._event)
            told = repository in self.headline and branch in self.headline
            return "" if told else _place(words, repository, branch, "")
        first = spots[0]
        files = [f"{spot.file}:{spot.line}" for spot in spots[:FEW]]
        if len(spots) <= FEW and len({(spot.repository, spot.branch) for spot in spots}) == 1:
            return _place(words, first.repository, first.branch, words.listing.join(files))
        one = _place(words, first.repository, first.branch, files[0])
        return fill(words.some, {"count": str(len(spots)), "first": one})

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what is known, in the order in which a reader wants it, without what the headline says already."""
        for label, value in self._known():
            if text := _plain(value, MAX_VALUE):
                yield label, text

    def _known(self) -> Iterator[tuple[str, str]]:
        event, subject, labels = self._event, self._event.subject, self._words.labels
        named = self._values["name"]
        yield labels.image, "" if self.image in named else self.image
        whole = _change(event, MAX_VALUE)
        yield labels.change, whole if self._commanded and not self._tells(whole) else ""
        yield labels.where, self.where
        yield getattr(labels, _LISTS.get(event.kind, "images")), self._listed(event.images)
        yield self._told.detail, self.why
        yield labels.registry, "" if subject.registry in self.headline + self.image else subject.registry
        yield labels.application, "" if subject.application in named else subject.application
        yield labels.project, subject.project
        yield labels.cluster, "" if subject.cluster in self.headline else subject.cluster
        digest = _version(event.digest)
        yield labels.digest, "" if digest in whole else digest
        yield labels.commit, (event.commit or "")[:12]

    def _tells(self, change: str) -> bool:
        """Whether the headline holds all of a change, also where it tells its halves apart from each other."""
        return all(half in self.headline for half in change.split(" -> "))

    def _listed(self, names: Sequence[str]) -> str:
        listed = self._words.listing.join(names[:SOME])
        if len(names) <= SOME:
            return listed
        values = {"listed": listed, "count": str(len(names) - SOME), "total": str(len(names))}
        return fill(self._words.more, values)

    def links(self, page: str) -> Iterator[Link]:
        """Yield where to look, as far as it can be opened; on our page too, where people reach it."""
        labels, event = self._words.labels, self._event
        for text, url in (
            (self._told.link or labels.see_commit, event.commit_url),
            (labels.see_notes, event.release_notes),
            (labels.see_page, self._page(page)),
        ):
            if url is not None and _is_link(url):
                yield Link(text, url)

    def _page(self, page: str) -> str | None:
        subject = self._event.subject
        name = subject.item or subject.application
        return f"{page}/{'images' if subject.item else 'applications'}/{quote(name)}" if page and name else None


def _summary(events: Sequence[Event], words: Words) -> str:
    """Count by kind, each subject once: `3 images updated, 1 failed (fleet main)`."""
    counts = Counter(told for told, _ in {(words.told(event), event.subject.key) for event in events})
    groups = [
        fill(told.one if counts[told] == 1 else told.many, {"n": str(counts[told])})
        for told in dict.fromkeys(map(words.told, events))
    ]
    listed = words.comma.join(groups[:GROUPS])
    if len(groups) > GROUPS:
        listed += words.comma + "..."
    homes = {_home(event) for event in events}
    about = " ".join(homes.pop()).strip() if len(homes) == 1 else ""
    return _plain(fill(words.group, {"summary": listed, "about": about}) if about else listed, MAX_HEADLINE)


def _home(event: Event) -> tuple[str, str]:
    """Return repository and branch: those of the subject, else of the first place."""
    subject = event.subject
    if subject.repository or not event.spots:
        return subject.repository, subject.branch
    return event.spots[0].repository, event.spots[0].branch


def _place(words: Words, repository: str, branch: str, files: str) -> str:
    return fill(words.at, {"repository": repository, "branch": branch, "files": files}) if repository else files


def _change(event: Event, most: int) -> str:
    old, new = _cut(_version(event.old), most), _cut(_version(event.new), most)
    return f"{old} -> {new}" if old and new else new or old


def _version(value: str | None) -> str:
    """Shorten digests to twelve digits; `-` is how trailers say that there was nothing."""
    return "" if value in {None, "-"} else _DIGEST.sub(r"\1", str(value))


def _is_link(url: str | None) -> bool:
    """Whether it is an address that a browser may be sent to, and nothing that only looks like one."""
    if not url or len(url) > MAX_URL or not url.isprintable() or any(c in ' "<>\\^`{|}' for c in url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    named = bool(re.fullmatch(r"[a-z0-9.:_-]+", host)) and port != 0 and parts.username is None
    return named and parts.scheme in {"http", "https"} and redact(url) == url


def _plain(text: str, most: int) -> str:
    """Return a text without secrets, control characters and line breaks, shortened."""
    shown = "".join(c if c.isprintable() else " " for c in redact(text))
    return _cut(" ".join(shown.split()), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
