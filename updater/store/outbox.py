"""What waits to be sent, what was, and what each service takes. Every method is one short transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, not_, or_, select, update

from updater.model.event import Event
from updater.store.batches import batches
from updater.store.database import Database
from updater.store.documents import read_back
from updater.store.schema import events, lanes, outbox, threads
from updater.store.times import aware, naive

PAGE = 500  # rows read at once: more than any service takes in one message
LONGEST = timedelta(hours=1)  # that a letter waits after an attempt


class State(StrEnum):
    """What became of one row."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Letter:
    """One row: an event for a channel; without an event it tells how many were held back, and since when.

    form    0 as it should be; 1 as plain text; 2 plain and alone: the service refused it before
    wanted  when it was first to be sent; due: not before
    joins   seconds after another message in which it waits for more to come
    since   it is a reminder: it holds since then
    held    how many were held back, in a letter without an event
    broken  why its event cannot be read back, with the trace
    answer  the last one, in words
    """

    seq: int
    channel: str
    state: State
    event: Event | None
    subject: str
    created: datetime
    wanted: datetime
    due: datetime
    joins: int = 0
    lasting: bool = False
    since: datetime | None = None
    held: int = 0
    broken: str = ""
    attempts: int = 0
    form: int = 0
    answer: str = ""
    done: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """What one address of a service took lately; `sent` are seconds of the epoch, in order."""

    failures: int = 0
    paused_until: datetime | None = None
    sent: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of letters after an attempt; `thread` by subject is what later ones hang on."""

    state: State
    answer: str
    due: datetime | None = None
    form: int | None = None
    thread: tuple[str, str] | None = None


@dataclass(slots=True)
class Figures:
    """One channel: letters by state, and since when the oldest waits that is due."""

    states: dict[str, int] = field(default_factory=dict)
    oldest: datetime | None = None


class Outbox:
    """Letters by channel, in the order in which they were written. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waits(self, channel: str) -> bool:
        """Say whether anything waits."""
        with self._database.transaction() as connection:
            return connection.execute(select(outbox.c.seq).where(_waiting(channel)).limit(1)).first() is not None

    def ready(self, channel: str, now: datetime) -> list[Letter]:
        """Return the first letters that may be sent now.

        What waits for a later moment holds back those after it about the same subject, and nothing else; what is told
        only if it lasts holds nothing back: it may never be told.
        """
        may_never_be = outbox.c.lasting & (outbox.c.attempts == 0)
        ahead = (
            select(outbox.c.subject, func.min(outbox.c.seq).label("first"))
            .where(_waiting(channel), not_(_due(now)), not_(may_never_be), outbox.c.subject != "")
            .group_by(outbox.c.subject)
            .subquery()
        )
        behind = (ahead.c.subject == outbox.c.subject) & (ahead.c.first < outbox.c.seq)
        return self._letters(
            _WITH_EVENT.join(ahead, behind, isouter=True)
            .where(_waiting(channel), _due(now), ahead.c.first.is_(None))
            .order_by(outbox.c.seq)
            .limit(PAGE)
        )

    def next_due(self, channel: str, now: datetime) -> datetime | None:
        """Return when the moment comes of the first letter that waits for one."""
        later = select(func.min(outbox.c.due)).where(_waiting(channel), not_(_due(now)))
        with self._database.transaction() as connection:
            found: datetime | None = connection.execute(later).scalar_one()
        return aware(found)

    def overdue(self, channel: str, before: datetime) -> list[Letter]:
        """Return letters that were first to be sent before then and still wait; notes are not among them."""
        late = _waiting(channel) & outbox.c.event.is_not(None) & (outbox.c.wanted < naive(before))
        return self._letters(_WITH_EVENT.where(late).order_by(outbox.c.seq).limit(PAGE))

    def queue(self, channel: str | None, limit: int) -> list[Letter]:
        """Return what waits, the oldest first, then what was given up, the latest first."""
        dead = outbox.c.state == State.DEAD.value
        wanted = _WITH_EVENT.where(dead | (outbox.c.state == State.WAITING.value))
        wanted = wanted.order_by(dead, case((dead, -outbox.c.seq), else_=outbox.c.seq)).limit(limit)
        return self._letters(wanted if channel is None else wanted.where(outbox.c.channel == channel))

    def page(
        self, limit: int, *, before: int | None = None, channel: str | None = None, states: Collection[State] = ()
    ) -> list[Letter]:
        """Return the latest letters, whatever became of them, the newest first; those before a number."""
        wanted = _WITH_EVENT.order_by(outbox.c.seq.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(outbox.c.seq < before)
        if channel is not None:
            wanted = wanted.where(outbox.c.channel == channel)
        if states:
            wanted = wanted.where(outbox.c.state.in_([state.value for state in states]))
        return self._letters(wanted)

    def last(self, channel: str, state: State) -> Letter | None:
        """Return the last letter of a channel in a state."""
        mine = (outbox.c.channel == channel) & (outbox.c.state == state.value)
        found = self._letters(_WITH_EVENT.where(mine).order_by(outbox.c.seq.desc()).limit(1))
        return found[0] if found else None

    def _letters(self, statement: Any) -> list[Letter]:
        with self._database.transaction() as connection:
            return [_letter(row) for row in connection.execute(statement)]

    def lane(self, lane: str) -> Lane:
        """Return what an address took lately."""
        with self._database.transaction() as connection:
            row = connection.execute(select(lanes).where(lanes.c.lane == lane)).one_or_none()
        if row is None:
            return Lane()
        return Lane(row.failures, aware(row.paused_until), tuple(map(float, row.sent.split())))

    def settle(self, letters: Sequence[Letter], settled: Settled, lane: str, after: Lane, now: datetime) -> None:
        """Note what became of letters, and of the address, in one transaction."""
        values: dict[str, Any] = {
            "state": settled.state.value, "answer": settled.answer, "attempts": outbox.c.attempts + 1
        }  # fmt: skip
        if settled.state is not State.WAITING:
            values["done"] = naive(now)
        if settled.due is not None:
            values["due"] = naive(settled.due)
        if settled.form is not None:
            values["form"] = settled.form
        with self._database.transaction() as connection:
            _keep(connection, lane, after)
            for some in batches(letter.seq for letter in letters):
                connection.execute(update(outbox).where(outbox.c.seq.in_(some)).values(values))
            if settled.thread is not None:
                subject, thread = settled.thread
                channel = letters[0].channel
                here = (threads.c.channel == channel) & (threads.c.subject == subject)
                connection.execute(delete(threads).where(here))
                row = {"channel": channel, "subject": subject, "thread": thread[:255], "at": naive(now)}
                connection.execute(insert(threads).values(row))

    def hold_back(self, letters: Sequence[Letter], now: datetime) -> None:
        """Give letters up, and leave one in their place that says how many they were."""
        channel, since = letters[0].channel, min(letter.wanted for letter in letters)
        note = _waiting(channel) & outbox.c.event.is_(None)
        with self._database.transaction() as connection:
            count = 0
            for some in batches(letter.seq for letter in letters):
                mine = outbox.c.seq.in_(some) & (outbox.c.state == State.WAITING.value)
                dead = {"state": State.DEAD.value, "done": naive(now)}
                count += connection.execute(update(outbox).where(mine).values(dead)).rowcount
            if not count:
                return
            found = connection.execute(
                update(outbox).where(note).values(held=outbox.c.held + count, due=naive(now))
            ).rowcount  # fmt: skip
            if not found:
                row = {
                    "channel": channel, "state": State.WAITING.value, "event": None, "subject": "", "joins": 0,
                    "created": naive(now), "wanted": naive(since), "due": naive(now), "lasting": False,
                    "since": naive(since), "held": count, "attempts": 0, "form": 0, "answer": "",
                }  # fmt: skip
                connection.execute(insert(outbox).values(row))

    def thread(self, channel: str, subject: str) -> str | None:
        """Return what a message about this subject hangs on."""
        here = (threads.c.channel == channel) & (threads.c.subject == subject)
        with self._database.transaction() as connection:
            return connection.execute(select(threads.c.thread).where(here)).scalar_one_or_none()

    def keep_lane(self, lane: str, after: Lane) -> None:
        """Note what an address took, where no letter was concerned."""
        with self._database.transaction() as connection:
            _keep(connection, lane, after)

    def figures(self, channels: Collection[str]) -> dict[str, Figures]:
        """Return what each channel has; channels that are configured no more are among them while letters wait."""
        found = {channel: Figures() for channel in channels}
        counted = select(outbox.c.channel, outbox.c.state, func.count(), func.min(outbox.c.wanted)).group_by(
            outbox.c.channel, outbox.c.state
        )
        with self._database.transaction() as connection:
            rows = connection.execute(counted).all()
        for channel, state, count, oldest in rows:
            if channel not in found and state != State.WAITING.value:
                continue
            figures = found.setdefault(channel, Figures())
            figures.states[state] = count
            if state == State.WAITING.value:
                figures.oldest = aware(oldest)
        return found


_WITH_EVENT = select(outbox, events.c.document).join_from(outbox, events, outbox.c.event == events.c.id, isouter=True)


def _letter(row: Row[Any]) -> Letter:
    found = None if row.event is None else read_back(row.document)
    event, broken = (None, found) if isinstance(found, str) else (found, "")
    return Letter(
        row.seq, row.channel, State(row.state), event, row.subject, aware(row.created), aware(row.wanted),
        aware(row.due), row.joins, row.lasting, aware(row.since), row.held, broken, row.attempts, row.form, row.answer,
        aware(row.done),
    )  # fmt: skip


def _waiting(channel: str) -> ColumnElement[bool]:
    return (outbox.c.channel == channel) & (outbox.c.state == State.WAITING.value)


def _due(now: datetime) -> ColumnElement[bool]:
    """Say whether the moment of a letter has come.

    A clock that went back makes nobody wait for it: what was to be sent at once, and was written in what is the future
    now, is sent at once; and nothing waits for longer after an attempt than we ever let it.
    """
    at = naive(now)
    at_once = (outbox.c.due <= outbox.c.created) & (outbox.c.created > at)
    return or_(outbox.c.due <= at, at_once, (outbox.c.attempts > 0) & (outbox.c.due > at + LONGEST))


def _keep(connection: Connection, name: str, lane: Lane) -> None:
    sent = "\n".join(f"{at:.6f}" for at in lane.sent)
    row = {"lane": name, "failures": lane.failures, "paused_until": naive(lane.paused_until), "sent": sent}
    connection.execute(delete(lanes).where(lanes.c.lane == name))
    connection.execute(insert(lanes).values(row))
