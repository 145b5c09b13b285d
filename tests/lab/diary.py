"""Cycles as reports that a test writes down, on a real state: what each of them tells, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.lab.config import settings
from updater.config.images import Item
from updater.config.settings import Settings
from updater.daemon.remember import remember, remember_configuration, remember_time
from updater.model.event import Event, Kind, Subject
from updater.pipeline.report import Cause, Failure, Outcome, Report, Row
from updater.store.database import Database
from updater.store.journal import Journal
from updater.store.outbox import Lane, Letter, Outbox, Settled, State
from updater.store.schema import events

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
CYCLE = timedelta(minutes=5)
CHANNELS = (
    "channels: [{kind: webhook, url: 'http://127.0.0.1:9/'}, {name: other, kind: webhook, url: 'http://127.0.0.1:9/o'}]"
)
ALL = f"notifications:\n  {CHANNELS}\n  routes: [{{channels: [webhook]}}]\n"
IMAGES = """\
repositories:
  - {name: fleet, url: 'https://git.example.com/fleet.git'}
  - {name: other, url: 'https://git.example.com/other.git'}
images:
  - {image: r.example.com/acme/api, name: api}
  - {image: r.example.com/acme/web, name: web}
"""


@dataclass
class Diary:
    """A state, a configuration, and a clock that goes on by five minutes with every cycle."""

    folder: Path
    settings: Settings
    database: Database
    now: datetime = NOW
    seen: int = 0

    def configure(self, text: str) -> None:
        """Take another configuration, as the daemon does."""
        self.settings = settings(self.folder, text)
        remember_configuration(self.settings, self.journal, [], self.now)

    @property
    def journal(self) -> Journal:
        return Journal(self.database)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.database)

    def item(self, name: str) -> Item:
        return next(item for item in self.settings.items if item.name == name)

    def cycle(self, *rows: Row, after: timedelta = CYCLE, **parts: Any) -> list[str]:
        """Store what a cycle found; return what that tells, as `channel kind subject` or, to `webhook`, without it."""
        self.now += after
        remember(self.settings, self.journal, Report(rows=list(rows), **parts), self.now)
        return self.told()

    def reject(self, *problems: str) -> list[str]:
        """Store that a configuration was not taken; without problems that it was."""
        self.now += CYCLE
        remember_configuration(self.settings, self.journal, list(problems), self.now)
        return self.told()

    def pass_time(self, length: timedelta) -> list[str]:
        """Store what the passing of time tells."""
        self.now += length
        remember_time(self.settings, self.journal, self.now, reminders=True)
        return self.told()

    def told(self) -> list[str]:
        """Return what was written for channels since the last look."""
        new = self.letters(self.seen)
        self.seen = max((letter.seq for letter in new), default=self.seen)
        return [_words(letter) for letter in new]

    def letters(self, after: int = 0) -> list[Letter]:
        """Return what waits, in order."""
        waiting = (one for one in self.outbox.queue(None, 100_000) if one.state is State.WAITING)
        return sorted((one for one in waiting if one.seq > after), key=lambda one: one.seq)

    def send(self) -> None:
        """Let every channel have all that waits and is due."""
        due = [letter for letter in self.letters() if letter.due <= self.now]
        if due:
            self.outbox.settle(due, Settled(State.SENT, ""), "lane", Lane(), self.now)

    def stored(self) -> list[tuple[str, bool]]:
        """Return the kind of every event that is stored, and whether it was told to nobody on purpose."""
        with self.database.transaction() as connection:
            return [(row.kind, row.baseline) for row in connection.execute(select(events).order_by(events.c.seq))]

    def last(self) -> Event:
        """Return the latest event."""
        return self.journal.recent(1, baseline=True)[0]

    # What a cycle may find of an item.

    def fine(self, name: str = "api") -> Row:
        return Row(self.item(name), Outcome.UP_TO_DATE, "up_to_date", "nothing newer", "1.0.0")

    def held(self, reason: str = "min_age", newest: str | None = "1.1.0", name: str = "api", why: str = "wait") -> Row:
        return Row(self.item(name), Outcome.HELD, reason, why, "1.0.0", newest=newest)

    def available(self, target: str = "1.1.0", name: str = "api") -> Row:
        return Row(self.item(name), Outcome.AVAILABLE, "semver", "newest of 2", "1.0.0", target, target)

    def updated(self, name: str = "api") -> Row:
        return Row(self.item(name), Outcome.UPDATED, "semver", "newest of 2", "1.0.0", "1.1.0", "1.1.0")

    def failed(self, name: str = "api", cause: Cause | None = None, error: str = "went wrong") -> Row:
        return Row(self.item(name), Outcome.FAILED, error, error, "1.0.0", cause=cause)


def down(topic: str = "unreachable", registry: str = "r.example.com") -> Cause:
    """A registry that fails for all."""
    return Cause(Kind.SCAN_FAILED, Subject(registry=registry), topic)


def refused(branch: str = "main") -> Cause:
    """A push that a hook did not want."""
    return Cause(Kind.PUSH_REJECTED, Subject(repository="fleet", branch=branch), "push")


def unreadable(branch: str = "") -> Cause:
    """A repository that cannot be read."""
    return Cause(Kind.UPDATE_FAILED, Subject(repository="fleet", branch=branch), "repository")


def failure(cause: Cause, error: str = "went wrong") -> Failure:
    return Failure("it", error, cause=cause)


@contextmanager
def open_diary(folder: Path, text: str = IMAGES + ALL) -> Iterator[Diary]:
    """Open a state in the folder."""
    database = Database(f"sqlite:///{folder}/state.db")
    try:
        yield Diary(folder, settings(folder, text), database)
    finally:
        database.close()


def _words(letter: Letter) -> str:
    assert letter.event is not None
    what = f"{letter.event.kind} {letter.event.subject.words}"
    return what if letter.channel == "webhook" else f"{letter.channel} {what}"
