"""What was read of one daemon's state and need not be read again: a list costs what changed, not what there is."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from updater.config.repositories import RepositorySettings
from updater.messages.events import line
from updater.model.application import ApplicationStatus
from updater.model.event import Event, Kind
from updater.secrets import redact
from updater.store.applications import Applications
from updater.store.chronicle import Chronicle, Numbered
from updater.store.polls import Poll
from updater.web.kept import Kept
from updater.web.models import CommitLink, Image, Told

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

RECENT = 500  # updates that are read at the start, besides the last of each item
MOST = 1000  # updates that are read at once
DEAR = 64  # results that are dear, of each sort
LONG = 2000  # characters of one text from outside

T = TypeVar("T")


def plain(text: str | None, most: int = LONG) -> str:
    """Return a text from outside without control characters and secrets, shortened."""
    found = redact((text or "")[: 2 * most])
    found = found if found.isprintable() else "".join(c if c.isprintable() else " " for c in found)
    return found if len(found) <= most else f"{found[: most - 1]}…"


def value(text: str | None) -> str | None:
    """Return the same of what may be absent."""
    return None if text is None else plain(text, 300)


def page(url: str | None) -> str | None:
    """Return the address of a page, None for anything that a browser would not merely open."""
    fine = url and len(url) <= LONG and url.isprintable() and url.startswith(("https://", "http://"))
    return redact(url) if url and fine else None


def told(seq: int, event: Event) -> Told:
    """Return an event as people and scripts get it."""
    found = _clean(event.as_json())
    found |= {"commit_url": page(event.commit_url), "release_notes": page(event.release_notes)}
    return Told.model_validate({**found, "seq": seq, "text": plain(line(event))})


def link(event: Event) -> CommitLink:
    """Return what an update did."""
    return CommitLink(
        repository=repository_of(event), revision=event.commit or "", at=event.at, old=value(event.old),
        new=value(event.new), url=page(event.commit_url), item=event.subject.item, image=plain(event.subject.reference),
        why=plain(event.why), rollback=event.reason == "held",
    )  # fmt: skip


def repository_of(event: Event) -> str:
    """Return the repository that an update was written to; `-` where no place was told."""
    return event.spots[0].repository if event.spots else "-"


class Ledger:
    """What is known of one daemon's state; threads share it. Raises StoreError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: dict[str, Numbered] = {}
        self._links: dict[str, CommitLink] = {}
        self._pushes: dict[tuple[str, str], datetime] = {}
        self._upto = -1
        self._statuses: dict[str, tuple[datetime, ApplicationStatus]] = {}
        self._dear: dict[str, OrderedDict[Hashable, Any]] = {}
        self.kept = Kept()
        self.documents: dict[str, tuple[Poll, dict[str, Any]]] = {}
        self.rows: dict[str, tuple[tuple[object, ...], Image]] = {}
        self.seen: dict[str, tuple[Poll, datetime | None]] = {}

    def updates(self, desk: Desk) -> dict[str, CommitLink]:
        """Return what our last commit to each item did, by its name."""
        with self._lock:
            self._read_updates(Chronicle(desk.database))
            return self._links

    def pushes(self, desk: Desk) -> dict[tuple[str, str], datetime]:
        """Return when each repository and branch was last committed to, as far as that is known."""
        self.updates(desk)
        return self._pushes

    def statuses(self, desk: Desk) -> dict[str, ApplicationStatus]:
        """Return how all applications stood when that was last stored."""
        store = Applications(desk.database)
        with self._lock:
            written = store.written()
            news = [name for name, at in written.items() if self._statuses.get(name, (None,))[0] != at]
            found = store.read(news) if news else {}
            kept = {name: self._statuses[name] for name in written.keys() & self._statuses.keys()}
            self._statuses = kept | {name: (written[name], status) for name, status in found.items()}
            return {name: status for name, (_, status) in sorted(self._statuses.items())}

    def document(self, poll: Poll | None) -> dict[str, Any]:
        """Return what the last look found; empty where none did, or a later version wrote it."""
        if poll is None or not poll.document:
            return {}
        known = self.documents.get(poll.item)
        if known is not None and known[0].document == poll.document:
            return known[1]
        try:
            found = json.loads(poll.document)
        except ValueError:
            found = {}
        found = found if isinstance(found, dict) else {}
        self.documents[poll.item] = poll, found
        return found

    def once(self, sort: str, key: Hashable, make: Callable[[], T]) -> T:
        """Make something that is dear once, as long as it is asked for."""
        with self._lock:
            kept = self._dear.setdefault(sort, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                found: T = kept[key]
                return found
        made = make()
        with self._lock:
            kept[key] = made
            while len(kept) > DEAR:
                kept.popitem(last=False)
        return made

    def _read_updates(self, chronicle: Chronicle) -> None:
        if self._upto < 0:
            found = chronicle.latest(Kind.IMAGE_UPDATED)
            found += chronicle.page(RECENT, kinds=[Kind.IMAGE_UPDATED], baseline=True)
        else:
            found, more = [], True
            while more:
                after = max([self._upto, *(seq for seq, _ in found)])
                some = chronicle.page(MOST, after=after, kinds=[Kind.IMAGE_UPDATED], baseline=True, oldest=True)
                found, more = found + some, len(some) == MOST
        for seq, event in found:
            if seq >= self._updates.get(event.subject.item, (0, event))[0]:
                self._updates[event.subject.item] = seq, event
                self._links[event.subject.item] = link(event)
            for spot in event.spots:
                place = spot.repository, spot.branch
                self._pushes[place] = max(event.at, self._pushes.get(place, event.at))
        self._upto = max([self._upto, 0, *(seq for seq, _ in found)])


_ledgers: WeakKeyDictionary[Desk, Ledger] = WeakKeyDictionary()
_making = threading.Lock()


def ledger_of(desk: Desk) -> Ledger:
    """Return the ledger of a daemon."""
    with _making:
        return _ledgers.setdefault(desk, Ledger())


def repository_named(desk: Desk, name: str | None) -> RepositorySettings | None:
    """Return the settings of a repository that is configured."""
    return next((one for one in desk.settings.repositories if one.name == name), None)


def _clean(found: Any) -> Any:
    if isinstance(found, str):
        return plain(found)
    if isinstance(found, dict):
        return {plain(str(key), 300): _clean(value) for key, value in found.items()}
    return [_clean(one) for one in found] if isinstance(found, list) else found
