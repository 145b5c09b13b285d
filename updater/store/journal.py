"""What happened, stored in the transaction that changes the state: polls, conditions, events, and who is to be told.

Who writes is handed what is known under a lock, and returns what is to be known from now on: of several processes each
sees what the one before it told, so that nothing is told twice and nothing is lost between two of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from updater.model.application import ApplicationStatus
from updater.model.event import Event
from updater.store.applications import Delivered, read_applications, write_applications, write_deliveries
from updater.store.batches import SOME, batches, chore_is_due
from updater.store.database import Database
from updater.store.documents import read_back, spelled
from updater.store.holds import expire_holds
from updater.store.polls import Poll, failing_items, read_polls, write_polls
from updater.store.schema import conditions, events, heads, meta, outbox, threads
from updater.store.times import aware, naive

EVENTS_KEPT = timedelta(days=90)
TOGETHER = 100  # things that one transaction stores
REMEMBERED = 1_000  # events that need not be read back: what an id stands for never changes

# Statements of every transaction, made once: making one takes longer than running it.
_LOCK = update(meta).where(meta.c.key == "version").values(key="version")
_CONDITIONS = select(conditions)
_CONDITIONS_OF = _CONDITIONS.where(conditions.c.subject.in_(SOME))
_EVENTS_OF = select(events.c.id, events.c.document).where(events.c.id.in_(SOME))
_KNOWN_EVENTS = select(events.c.id).where(events.c.id.in_(SOME))
_DOUBTFUL = (  # the letters that are taken back where what they tell ends now
    outbox.c.lasting.is_(True)
    & (outbox.c.state == "waiting")
    & (outbox.c.attempts == 0)
    & (outbox.c.due > bindparam("now"))
)
_TOLD = (
    select(
        outbox.c.event,
        outbox.c.channel,
        func.max(outbox.c.created).label("latest"),
        func.max(case((_DOUBTFUL, 0), else_=1)).label("sure"),
    )
    .where(outbox.c.event.in_(SOME), outbox.c.state.in_(("waiting", "sent")))
    .group_by(outbox.c.event, outbox.c.channel)
)
_CANCEL = (
    update(outbox)
    .where(outbox.c.event.in_(SOME), _DOUBTFUL)
    .values(state="cancelled", done=bindparam("now"), answer="it did not last")
)
_END = delete(conditions).where(conditions.c.subject == bindparam("about"), conditions.c.topic == bindparam("on"))
_BEGIN, _APPEND, _POST = insert(conditions), insert(events), insert(outbox)


@dataclass(frozen=True, slots=True)
class Condition:
    """The last word about a subject on one topic; `event` is the id of the event that said it, `key` is its key."""

    subject: str
    topic: str
    key: str
    event: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Post:
    """One event for one channel.

    due      not before; wanted: when that was first to be, which `due` may be moved beyond by failures
    joins    seconds after another message in which it waits for more to come
    lasting  told only if what it tells still holds when it is due
    since    it is a reminder: it holds since then
    """

    channel: str
    event: str
    subject: str
    due: datetime
    joins: int
    lasting: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known before something is written.

    polls       the last poll of the items that are asked about
    failing     the items, of all there are, that share a failure: by what it is about
    conditions  by subject and topic, of the subjects that are asked about and of those that failures are about
    heads       up to where the commits of each repository and branch were told
    events      those that the conditions are about, by id
    told        when each channel was, or will be, told of an event the last time, by its id
    doubtful    the channels that are told of an event only if it lasts, which it may not, by its id
    applications  how those that are asked about stood, by name
    expired     the holds that are over since the last look, by item: why they were
    """

    polls: Mapping[str, Poll] = field(default_factory=dict)
    failing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    conditions: Mapping[tuple[str, str], Condition] = field(default_factory=dict)
    heads: Mapping[tuple[str, str], str] = field(default_factory=dict)
    events: Mapping[str, Event] = field(default_factory=dict)
    told: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    doubtful: Mapping[str, frozenset[str]] = field(default_factory=dict)
    applications: Mapping[str, ApplicationStatus] = field(default_factory=dict)
    expired: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Writing:
    """What is to be known from now on; `baseline` are events that are stored and told to nobody."""

    polls: Sequence[Poll] = ()
    events: list[Event] = field(default_factory=list)
    baseline: list[Event] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    ended: list[Condition] = field(default_factory=list)
    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    applications: list[ApplicationStatus] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    deliveries: list[Delivered] = field(default_factory=list)
    keep: dict[str, int] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)


@dataclass(slots=True)
class _Asked:
    """One thing that a thread waits to have stored."""

    plan: Callable[[Standing], Writing] = field(repr=False)
    now: datetime
    subjects: Collection[str] | None
    applications: Collection[str]
    writing: Writing | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.writing is not None or self.error is not None

    @property
    def alone(self) -> bool:
        """Whether it asks about everything."""
        return self.subjects is None

    @property
    def about(self) -> frozenset[str]:
        """What two of them may not both be about, if each is to see what the other wrote."""
        return frozenset(self.subjects or ()) | {f"application {name}" for name in self.applications}

    def result(self) -> Writing:
        if self.error is not None:
            raise self.error
        assert self.writing is not None
        return self.writing


class Journal:
    """Writes what happened. Every method is one short transaction and raises StoreError.

    `written` is called after a transaction that has something to send, `happened` with what was to be told.
    """

    def __init__(
        self,
        database: Database,
        written: Callable[[], object] = lambda: None,
        happened: Callable[[Sequence[Event]], object] = lambda _events: None,
    ) -> None:
        self._database, self._written, self._happened = database, written, happened
        self._asking = threading.Lock()
        self._asked: list[_Asked] = []  # nobody has begun with these
        self._known: OrderedDict[str, Event] = OrderedDict()  # the latest that we stored, by id

    def write(
        self,
        plan: Callable[[Standing], Writing],
        now: datetime,
        items: Collection[str] | None = None,
        subjects: Collection[str] | None = None,
    ) -> Writing:
        """Store what `plan` makes of what is known; nothing, if it raises.

        `items` and `subjects` are those that it asks about, None for all: a state may know many.
        """
        with self._database.writing, self._database.transaction() as connection:
            _lock(connection)
            writing = plan(_standing(connection, now, items, subjects))
            _store(connection, writing, now)
            if chore_is_due(connection, "journal_tidied", now):
                _tidy(connection, now)
        if writing.posts:
            self._written()
        self._happened(writing.events)
        return writing

    def deliver(
        self,
        plan: Callable[[Standing], Writing],
        now: datetime,
        subjects: Collection[str] | None,
        applications: Collection[str] = (),
    ) -> Writing:
        """Store what `plan` makes of what is known of the second loop: conditions of `subjects`, and `applications`.

        Nothing is asked about images, and above all no hold that is over is taken notice of: who asks tells of it.
        Threads that would wait for one another share a transaction; `plan` knows at least what it asks about.
        """
        mine = _Asked(plan, now, subjects, applications)
        with self._asking:
            self._asked.append(mine)
        with self._database.writing:
            if not mine.done:  # else who had the lock before us took it along
                self._deliver(self._taken(mine))
        return mine.result()

    def _taken(self, mine: _Asked) -> list[_Asked]:
        """Take what waits and has nothing to do with one another, the one that is mine in any case."""
        with self._asking:
            taken, left, about = [mine], [], set(mine.about)
            for one in self._asked:
                if one is mine:
                    continue
                if mine.alone or one.alone or len(taken) == TOGETHER or about & one.about:
                    left.append(one)
                else:
                    taken.append(one)
                    about |= one.about
            self._asked = left
        return taken

    def _deliver(self, taken: Sequence[_Asked]) -> None:
        """Store these in one transaction; where it fails, each in its own, so that one bad thing stops no other."""
        try:
            writings = self._stored(taken)
        except Exception as err:  # noqa: BLE001  # raised again in the thread that asked
            if len(taken) > 1:
                for one in taken:
                    self._deliver([one])
            else:
                taken[0].error = err
        else:
            for one, writing in zip(taken, writings, strict=True):
                one.writing = writing
            if any(writing.posts for writing in writings):
                self._written()
            self._happened([event for writing in writings for event in writing.events])

    def _stored(self, taken: Sequence[_Asked]) -> list[Writing]:
        now = max(one.now for one in taken)
        with self._database.transaction() as connection:
            _lock(connection)
            known = _delivered(connection, taken, now, self._known)
            writings = [one.plan(known) for one in taken]
            new = _store(connection, together(writings), now)
            if chore_is_due(connection, "journal_tidied", now):
                _tidy(connection, now)
        self._known.update(new)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return writings

    def heads(self) -> dict[tuple[str, str], str]:
        """Return up to where the commits of each repository and branch were told."""
        with self._database.transaction() as connection:
            return _heads(connection)

    def begin(self, repository: str, branch: str, revision: str) -> None:
        """Note where the telling of a branch begins, before the first commit to it; a known branch stays as it is."""
        with self._database.transaction() as connection:
            _lock(connection)
            if (repository, branch) not in _heads(connection):
                connection.execute(insert(heads).values(repository=repository, branch=branch, revision=revision))

    def recent(self, limit: int, *, baseline: bool = False) -> list[Event]:
        """Return the latest events that can be read, the newest first."""
        wanted = select(events.c.document).order_by(events.c.seq.desc()).limit(limit)
        if not baseline:
            wanted = wanted.where(events.c.baseline.is_(False))
        with self._database.transaction() as connection:
            found = map(read_back, connection.execute(wanted).scalars())
            return [event for event in found if isinstance(event, Event)]


def _lock(connection: Connection) -> None:
    """Keep other writers away until the end of the transaction: an update does, in every database."""
    connection.execute(_LOCK)


def _standing(
    connection: Connection, now: datetime, items: Collection[str] | None, subjects: Collection[str] | None
) -> Standing:
    failing = failing_items(connection)
    if subjects is not None:
        subjects = {*subjects, *(about.partition(" ")[2] for about in failing)}
    found = _conditions(connection, subjects)
    ids = {condition.event for condition in found.values()}
    expired = {item: held.reason or held.by for item, held in expire_holds(connection, now).items()}
    told, doubtful = _told(connection, ids, now)
    return Standing(
        read_polls(connection, items), failing, found, _heads(connection), _events(connection, ids), told, doubtful,
        expired=expired,
    )  # fmt: skip


def _delivered(
    connection: Connection, taken: Sequence[_Asked], now: datetime, remembered: Mapping[str, Event]
) -> Standing:
    """Return what these ask about."""
    subjects: set[str] | None = {subject for one in taken for subject in one.subjects or ()}
    names = {name for one in taken for name in one.applications}
    found = _conditions(connection, None if any(one.alone for one in taken) else subjects)
    ids = {condition.event for condition in found.values()}
    told, doubtful = _told(connection, ids, now)
    known = read_applications(connection, names) if names else {}
    told_of = {one: remembered[one] for one in ids if one in remembered}
    told_of |= _events(connection, ids - told_of.keys())
    return Standing(conditions=found, events=told_of, told=told, doubtful=doubtful, applications=known)


def together(writings: Iterable[Writing]) -> Writing:
    """Return as one what several threads write of different things."""
    all_of_them = Writing()
    for one in writings:
        all_of_them.polls = [*all_of_them.polls, *one.polls]
        for name in ("events", "baseline", "conditions", "ended", "applications", "gone", "deliveries", "posts"):
            getattr(all_of_them, name).extend(getattr(one, name))
        all_of_them.heads |= one.heads
        all_of_them.keep |= one.keep
    return all_of_them


def _conditions(connection: Connection, subjects: Collection[str] | None) -> dict[tuple[str, str], Condition]:
    found = (
        [connection.execute(_CONDITIONS)]
        if subjects is None
        else (connection.execute(_CONDITIONS_OF, {"some": some}) for some in batches(subjects))
    )
    rows = (row for one in found for row in one)
    return {(r.subject, r.topic): Condition(r.subject, r.topic, r.key, r.event, aware(r.since)) for r in rows}


def _heads(connection: Connection) -> dict[tuple[str, str], str]:
    return {(row.repository, row.branch): row.revision for row in connection.execute(select(heads))}


def _events(connection: Connection, ids: set[str]) -> dict[str, Event]:
    """Return these events by id, as far as they can be read back."""
    found = {}
    for some in batches(ids):
        rows = connection.execute(_EVENTS_OF, {"some": some})
        found.update({row.id: event for row in rows if isinstance(event := read_back(row.document), Event)})
    return found


def _told(
    connection: Connection, ids: set[str], now: datetime
) -> tuple[dict[str, dict[str, datetime]], dict[str, frozenset[str]]]:
    """Return when each channel was told of each event the last time, and which of them are told only if it lasts."""
    found: dict[str, dict[str, datetime]] = {}
    doubtful: dict[str, frozenset[str]] = {}
    for some in batches(ids):
        rows = connection.execute(_TOLD, {"some": some, "now": naive(now)})
        for row in rows:
            found.setdefault(row.event, {})[row.channel] = aware(row.latest)
            if not row.sure:
                doubtful[row.event] = doubtful.get(row.event, frozenset()) | {row.channel}
    return found, doubtful


def _store(connection: Connection, writing: Writing, now: datetime) -> Mapping[str, Event]:
    """Store it; return the events that are new, by id."""
    write_polls(connection, writing.polls)
    write_applications(connection, writing.applications, writing.gone, now)
    write_deliveries(connection, writing.deliveries, writing.keep)
    for (repository, branch), revision in writing.heads.items():
        here = (heads.c.repository == repository) & (heads.c.branch == branch)
        connection.execute(delete(heads).where(here))
        connection.execute(insert(heads).values(repository=repository, branch=branch, revision=revision))
    new = _append(connection, writing)
    if former := [{"about": c.subject, "on": c.topic} for c in (*writing.ended, *writing.conditions)]:
        connection.execute(_END, former)
    if writing.conditions:
        rows = [
            {"subject": c.subject, "topic": c.topic, "key": c.key, "event": c.event, "since": naive(c.since)}
            for c in writing.conditions
        ]
        connection.execute(_BEGIN, rows)
    _cancel(connection, [condition.event for condition in writing.ended], now)
    _post(connection, [post for post in writing.posts if post.since or post.event in new], now)
    return new


def _append(connection: Connection, writing: Writing) -> Mapping[str, Event]:
    """Store the events that are not there yet; return those that were not, by id."""
    all_of_them = {event.id: (event, False) for event in writing.events}
    all_of_them |= {event.id: (event, True) for event in writing.baseline}
    for some in batches(list(all_of_them)):
        for known in connection.execute(_KNOWN_EVENTS, {"some": some}).scalars():
            del all_of_them[known]
    rows = [
        {
            "id": number,
            "at": naive(event.at),
            "kind": event.kind.value,
            "subject": event.subject.key,
            "document": spelled(event),
            "baseline": baseline,
        }
        for number, (event, baseline) in all_of_them.items()
    ]
    if rows:
        connection.execute(_APPEND, rows)
    return {number: event for number, (event, _) in all_of_them.items()}


def _cancel(connection: Connection, ended: Sequence[str], now: datetime) -> None:
    """Take back what was to be told only if it lasts, and does not."""
    for some in batches(ended):
        connection.execute(_CANCEL, {"some": some, "now": naive(now)})


def _post(connection: Connection, posts: Sequence[Post], now: datetime) -> None:
    rows = [
        {
            "channel": post.channel, "state": "waiting", "event": post.event, "subject": post.subject,
            "created": naive(now), "wanted": naive(post.due), "due": naive(post.due), "joins": post.joins,
            "lasting": post.lasting, "since": naive(post.since), "held": 0, "attempts": 0, "form": 0, "answer": "",
        }
        for post in posts
    ]  # fmt: skip
    if rows:
        connection.execute(_POST, rows)


def _tidy(connection: Connection, now: datetime) -> None:
    """Forget what was told long ago; what lasts, and what waits, stays."""
    old = naive(now - EVENTS_KEPT)
    connection.execute(delete(outbox).where(outbox.c.state != "waiting", outbox.c.done < old))
    connection.execute(delete(threads).where(threads.c.at < old))
    lasting = select(conditions.c.event)
    waiting = select(outbox.c.event).where(outbox.c.event.is_not(None))
    connection.execute(
        delete(events).where(events.c.at < old, events.c.id.not_in(lasting), events.c.id.not_in(waiting))
    )
