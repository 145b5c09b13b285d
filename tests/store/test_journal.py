"""What happened is stored with what changed, in one transaction, however many processes write."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import func, insert, select, update

from tests.lab.diary import ALL, Diary, down, open_diary
from tests.lab.statements import statements
from updater.errors import StoreError
from updater.model.event import Event, Kind, Subject
from updater.store import journal as store_journal
from updater.store.database import Database
from updater.store.documents import read_back
from updater.store.holds import Holds
from updater.store.journal import EVENTS_KEPT, Condition, Journal, Post, Standing, Writing
from updater.store.outbox import Lane, Outbox, Settled, State
from updater.store.polls import Poll, Polls
from updater.store.schema import conditions, events, heads, metadata, outbox, polls, threads

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
API = Subject("api", "api")
HEAD = ("fleet", "main")

Plan = Callable[[Standing], Writing]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def held(at: datetime = AT, subject: Subject = API) -> Event:
    return Event(Kind.UPDATE_HELD, at, subject, "1.0", "1.1", reason="level", why="too far")


def lasting(event: Event) -> Condition:
    return Condition(event.subject.key, "item", event.key, event.id, event.at)


def post(event: Event, due: timedelta = timedelta(), **more: Any) -> Post:
    return Post("chat", event.id, event.subject.key, event.at + due, 30, **more)


def everything(event: Event) -> Writing:
    return Writing(
        polls=[Poll("api", event.at, 0, None, "held", "level")],
        events=[event],
        conditions=[lasting(event)],
        heads={HEAD: "ab" * 20},
        posts=[post(event)],
    )


def _seen(seen: list[Standing], known: Standing) -> Writing:
    seen.append(known)
    return Writing()


def _written(writing: Writing, _known: Standing) -> Writing:
    return writing


def counts(database: Database) -> dict[str, int]:
    with database.transaction() as connection:
        tables = (polls, events, conditions, heads, outbox)
        return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def test_all_is_written_or_nothing(database: Database) -> None:
    journal = Journal(database)
    Holds(database).hold("api", "a freeze", AT - HOUR, until=AT)

    def raises(known: Standing) -> Writing:
        assert known.expired == {"api": "a freeze"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        journal.write(raises, AT)
    doubled = everything(held())
    doubled.conditions *= 2  # the second cannot be written
    with pytest.raises(StoreError):
        journal.write(lambda _: doubled, AT)
    assert set(counts(database).values()) == {0}
    assert Holds(database).over(AT)
    journal.write(lambda _: everything(held()), AT)
    assert set(counts(database).values()) == {1}


def test_a_text_that_utf_8_cannot_spell_is_stored_all_the_same(database: Database) -> None:
    journal, event = Journal(database), replace(held(subject=Subject("a\udcff", "a\udcff")), why="in apps/\udcff.yaml")
    journal.write(lambda _: everything(event), AT)
    assert journal.recent(5) == [event]
    assert [letter.event for letter in Outbox(database).ready("chat", AT)] == [event]


@pytest.mark.parametrize(
    "document", ["", "{}", "[]", '{"kind": "of_tomorrow"}', "[" * 100_000], ids=["empty", "bare", "list", "new", "deep"]
)
def test_an_event_that_cannot_be_read_back_keeps_nothing_from_being_written(database: Database, document: str) -> None:
    journal, event = Journal(database), held()
    journal.write(lambda _: everything(event), AT)
    with database.transaction() as connection:
        connection.execute(update(events).values(document=document))
    seen: list[Standing] = []
    journal.write(lambda known: _seen(seen, known), AT + HOUR)
    assert (seen[0].events, list(seen[0].conditions)) == ({}, [("item=api", "item")])
    assert journal.recent(5) == []
    [letter] = Outbox(database).ready("chat", AT)
    assert letter.event is None
    assert letter.broken.startswith("Traceback")


def test_what_was_delivered_is_known_to_the_next_whether_it_is_remembered_or_read_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process stored it; another one reads it; and of many only the latest are remembered."""
    monkeypatch.setattr(store_journal, "REMEMBERED", 1)
    first, latest = held(), held(subject=Subject("web", "web"))
    mine, subjects = Journal(database), {first.subject.key, latest.subject.key}
    for event in (first, latest):
        writing = Writing(events=[event], conditions=[lasting(event)])
        mine.deliver(partial(_written, writing), AT, {event.subject.key})
    read: list[str | None] = []

    def reading(document: str | None) -> Event | str:
        read.append(document)
        return read_back(document)

    monkeypatch.setattr(store_journal, "read_back", reading)
    for journal, many in ((mine, 1), (Journal(database), 2)):
        read.clear()
        seen: list[Standing] = []
        journal.deliver(partial(_seen, seen), AT, subjects)
        assert seen[0].events == {first.id: first, latest.id: latest}
        assert len(read) == many


def test_what_is_written_is_known_to_the_next(database: Database) -> None:
    journal, event = Journal(database), held()
    journal.write(lambda _: everything(event), AT)
    seen: list[Standing] = []
    journal.write(lambda known: _seen(seen, known), AT + HOUR)
    (known,) = seen
    assert known.polls["api"].reason == "level"
    assert known.conditions == {("item=api", "item"): lasting(event)}
    assert known.events == {event.id: event}
    assert known.heads == {HEAD: "ab" * 20}
    assert known.told == {event.id: {"chat": AT}}
    assert journal.recent(5) == [event]


def test_only_what_is_asked_about_is_read_and_what_failures_are_about(database: Database) -> None:
    journal, shared = Journal(database), Event(Kind.SCAN_FAILED, AT, Subject(registry="r"), why="down")
    writing = everything(held())
    writing.polls = [
        Poll("api", AT, 0, None, "held", "level"),
        Poll("web", AT, 1, None, "failed", "x", "down registry=r"),
    ]
    writing.events.append(shared)
    writing.conditions.append(Condition("registry=r", "down", shared.key, shared.id, AT))
    journal.write(lambda _: writing, AT)
    seen: list[Standing] = []
    journal.write(lambda known: _seen(seen, known), AT, {"other"}, {"item=other"})
    assert (set(seen[0].polls), set(seen[0].conditions)) == (set(), {("registry=r", "down")})
    assert seen[0].failing == {"down registry=r": frozenset({"web"})}


def test_who_waits_for_letters_is_woken_when_there_are_some(database: Database) -> None:
    woken: list[int] = []
    journal = Journal(database, lambda: woken.append(len(Outbox(database).queue(None, 9))))
    journal.write(lambda _: Writing(events=[held()]), AT)
    assert woken == []
    journal.write(lambda _: Writing(events=[held(AT + HOUR)], posts=[post(held(AT + HOUR))]), AT)
    assert woken == [1]  # after the transaction: it is there


def test_a_baseline_event_is_told_to_nobody_and_shown_where_it_is_asked_for(database: Database) -> None:
    journal, event = Journal(database), held()
    journal.write(lambda _: Writing(baseline=[event], conditions=[lasting(event)]), AT)
    assert (journal.recent(5), journal.recent(5, baseline=True)) == ([], [event])
    assert Outbox(database).queue(None, 5) == []


def test_the_telling_of_a_branch_begins_once(database: Database) -> None:
    journal = Journal(database)
    journal.begin("fleet", "main", "first")
    journal.begin("fleet", "main", "second")
    journal.begin("fleet", "release", "third")
    assert journal.heads() == {HEAD: "first", ("fleet", "release"): "third"}


def test_what_was_told_is_told_once_whoever_writes_it_again(database: Database) -> None:
    journal, event = Journal(database), held()
    for _ in range(3):
        journal.write(lambda _: Writing(events=[event], posts=[post(event)]), AT)
    assert len(Outbox(database).queue(None, 9)) == 1
    journal.write(lambda _: Writing(posts=[post(event, since=AT)]), AT)  # a reminder
    assert len(Outbox(database).queue(None, 9)) == 2


LETTERS: dict[str, tuple[dict[str, Any], timedelta, str]] = {
    "not due yet": ({"due": HOUR, "lasting": True}, timedelta(minutes=59), "cancelled"),
    "just due": ({"due": HOUR, "lasting": True}, HOUR, "waiting"),
    "long due": ({"due": HOUR, "lasting": True}, 3 * HOUR, "waiting"),
    "told whether it lasts or not": ({"due": HOUR}, timedelta(minutes=1), "waiting"),
}


@pytest.mark.parametrize(("letter", "after", "state"), LETTERS.values(), ids=LETTERS.keys())
def test_what_does_not_last_is_taken_back_before_it_is_due(
    database: Database, letter: dict[str, Any], after: timedelta, state: str
) -> None:
    journal, event = Journal(database), held()
    journal.write(lambda _: Writing(events=[event], conditions=[lasting(event)], posts=[post(event, **letter)]), AT)
    journal.write(lambda _: Writing(ended=[lasting(event)]), AT + after)
    assert Outbox(database).figures(["chat"])["chat"].states == {state: 1}


def test_what_was_tried_already_is_not_taken_back(database: Database) -> None:
    journal, event, box = Journal(database), held(), Outbox(database)
    letter = post(event, HOUR, lasting=True)
    journal.write(lambda _: Writing(events=[event], conditions=[lasting(event)], posts=[letter]), AT)
    box.settle(box.queue("chat", 1), Settled(State.WAITING, "HTTP 503", AT + 2 * HOUR), "lane", Lane(), AT + HOUR)
    journal.write(lambda _: Writing(ended=[lasting(event)]), AT + HOUR)
    assert box.figures(["chat"])["chat"].states == {"waiting": 1}


def test_who_may_never_be_told_is_known_apart_from_who_is(database: Database) -> None:
    journal, event = Journal(database), held()
    posts = [post(event, HOUR, lasting=True), Post("other", event.id, "item=api", AT, 30)]
    journal.write(lambda _: Writing(events=[event], conditions=[lasting(event)], posts=posts), AT)
    seen: list[Standing] = []
    for minutes in (59, 60):
        at = AT + timedelta(minutes=minutes)
        journal.write(lambda known: _seen(seen, known), at)
    assert [known.doubtful for known in seen] == [{event.id: frozenset({"chat"})}, {}]
    assert [set(known.told[event.id]) for known in seen] == [{"chat", "other"}] * 2


def test_old_letters_and_events_are_forgotten_but_for_what_lasts_or_waits(database: Database) -> None:
    journal, box = Journal(database), Outbox(database)
    names = ("told", "waits", "lasts", "silent")
    found = {name: held(AT, Subject(name, name)) for name in names}
    writing = Writing(
        events=[found["told"], found["waits"], found["lasts"]],
        baseline=[found["silent"]],
        conditions=[lasting(found["lasts"])],
        posts=[post(found[name]) for name in ("told", "waits", "lasts")],
    )
    journal.write(lambda _: writing, AT)
    sent = [letter for letter in box.queue("chat", 9) if letter.subject != "item=waits"]
    box.settle(sent, Settled(State.SENT, "", thread=("item=told", "a thread")), "lane", Lane(), AT)
    journal.write(lambda _: Writing(), AT + EVENTS_KEPT)
    assert counts(database)["events"] == 4
    journal.write(lambda _: Writing(), AT + EVENTS_KEPT + 2 * timedelta(days=1))
    left = {event.subject.item for event in journal.recent(9, baseline=True)}
    assert (left, counts(database)["outbox"]) == ({"waits", "lasts"}, 1)
    assert box.thread("chat", "item=told") is None


CHILD = """
import sys
from datetime import UTC, datetime, timedelta
from updater.model.event import Event, Kind, Subject
from updater.store.database import Database
from updater.store.journal import Condition, Journal, Post, Writing

at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC) + timedelta(seconds=int(sys.argv[2]))
journal = Journal(Database(sys.argv[1]))

def plan(n):
    event = Event(Kind.SCAN_FAILED, at, Subject(registry=f"r{n}"), why="down")
    commit = Event(Kind.IMAGE_UPDATED, datetime(2026, 11, 23, tzinfo=UTC), Subject("i", f"i{n}"), commit="ab")
    def made(known):
        writing = Writing(events=[commit], posts=[Post("chat", commit.id, commit.subject.key, at, 0)])
        if (event.subject.key, "down") not in known.conditions:
            writing.events.append(event)
            writing.conditions.append(Condition(event.subject.key, "down", event.key, event.id, at))
            writing.posts.append(Post("chat", event.id, event.subject.key, at, 0))
        return writing
    return made

for n in range(40):
    journal.write(plan(n), at)
    journal.begin("fleet", f"b{n}", sys.argv[2])
"""


def test_processes_that_find_the_same_at_once_tell_it_once(tmp_path: Path) -> None:
    """A condition by what is known of it, a commit by what it is."""
    url = f"sqlite:///{tmp_path}/state.db"
    running = [subprocess.Popen([sys.executable, "-c", CHILD, url, str(n)], stderr=subprocess.PIPE) for n in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    database = Database(url)
    letters = Outbox(database).queue("chat", 1000)
    assert counts(database) | {"heads": 40, "polls": 0} == {
        "polls": 0, "events": 80, "conditions": 40, "heads": 40, "outbox": 80,
    }  # fmt: skip
    assert len({letter.event for letter in letters}) == 80
    database.close()


# How much it costs.


def crowd(count: int) -> str:
    images = "\n".join(f"  - {{image: r.example.com/acme/i{n}, name: i{n}}}" for n in range(count))
    return f"repositories: [{{name: fleet, url: 'https://git.example.com/fleet.git'}}]\nimages:\n{images}\n{ALL}"


def cost(diary: Diary) -> tuple[int, int]:
    """Return the statements, and the rows that they read or write, of a cycle of one item with nothing new."""
    rows = 0

    def count(_connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, several: bool) -> None:
        nonlocal rows
        rows += len(parameters) if several else max(cursor.rowcount, 0)

    engine = diary.database._engine
    with statements(diary.database) as asked:
        hooks.listen(engine, "after_cursor_execute", count)
        assert diary.cycle(diary.held("level", name="i7"), heads={("fleet", "main"): "ab" * 20}) == []
        hooks.remove(engine, "after_cursor_execute", count)
    plans = [_plan(diary, statement) for statement in asked if "SELECT" in statement]
    assert not [plan for plan in plans if "SCAN polls" in plan or "SCAN events" in plan or "SCAN conditions" in plan]
    return len(asked), rows


def _plan(diary: Diary, statement: str) -> str:
    with diary.database.transaction() as connection:
        arguments = tuple("x" for _ in range(statement.count("?")))
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", arguments)
        return "\n".join(row[3] for row in found)


def test_a_cycle_with_nothing_new_costs_the_same_however_many_items_there_are(tmp_path: Path) -> None:
    found = []
    for count in (20, 1_000):
        folder = tmp_path / str(count)
        with open_diary(folder, crowd(count)) as diary:
            names = [item.name for item in diary.settings.items]
            diary.cycle(*(diary.held("level", name=name) for name in names))
            diary.cycle(diary.held("level", name="i7"), heads={("fleet", "main"): "ab" * 20})
            found.append(cost(diary))
    assert found[0] == found[1]
    assert found[1][0] <= 16
    assert found[1][1] <= 16


def test_a_registry_that_is_down_for_a_thousand_is_one_condition_and_one_event(tmp_path: Path) -> None:
    with open_diary(tmp_path, crowd(1_000)) as diary:
        names = [item.name for item in diary.settings.items]
        diary.cycle(*map(diary.fine, names))
        for some in (names[:500], names[500:]):
            diary.cycle(*(diary.failed(name, down()) for name in some))
        assert counts(diary.database) | {"polls": 0} == {
            "polls": 0, "events": 1, "conditions": 1, "heads": 0, "outbox": 1,
        }  # fmt: skip


# States of older programs.


def test_a_state_of_an_older_program_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    """What stands there after the update is the baseline, too: an update is no reason for a storm."""
    url = f"sqlite:///{tmp_path}/state.db"
    database = Database(url)
    with database.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE polls")
        connection.exec_driver_sql(
            "CREATE TABLE polls (item VARCHAR(512) NOT NULL PRIMARY KEY, at DATETIME NOT NULL, failures"
            " INTEGER NOT NULL, retry_at DATETIME, outcome VARCHAR(32) NOT NULL, reason TEXT NOT NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO polls VALUES ('api', '2026-11-23 07:00:00.000000', 0, NULL, 'held', 'level')"
        )
        for name in metadata.tables.keys() - {"polls", "meta"}:
            connection.exec_driver_sql(f"DROP TABLE {name}")
    database.close()
    code = "import sys; from updater.store.database import Database; Database(sys.argv[1])"
    running = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate(timeout=60)[1] for process in running] == [b""] * 3
    with open_diary(tmp_path) as diary:
        assert Polls(diary.database).read()["api"].outcome == "held"
        assert diary.cycle(diary.held("level")) == []
        assert diary.cycle(diary.held("level", "1.2.0")) == ["update_held api"]
        with diary.database.transaction() as connection:  # the older program writes on
            row = {"item": "old", "at": AT.replace(tzinfo=None), "failures": 0, "outcome": "held", "reason": "level"}
            connection.execute(insert(polls).values(row))
        assert not Polls(diary.database).read()["old"].looked


def test_documents_of_events_survive_the_way_through_the_state(database: Database) -> None:
    hostile = "1.1 \u202e\x00 <at>all</at> 😀 'quoted\""
    event = Event(Kind.UPDATE_HELD, AT, API, "1.0", hostile, why=hostile, labels={hostile: hostile})
    Journal(database).write(lambda _: Writing(events=[event]), AT)
    (read,) = Journal(database).recent(1)
    assert (read, json.loads(json.dumps(read.as_json()))) == (event, event.as_json())
    with database.transaction() as connection:
        assert connection.execute(select(threads)).all() == []


def test_a_hold_that_is_over_is_left_to_those_who_tell_of_it(tmp_path: Path) -> None:
    """The second loop writes all the time, and nobody there would tell."""
    database = Database(f"sqlite:///{tmp_path}/state.db")
    Holds(database).hold("api", "freeze", AT, until=AT)
    journal = Journal(database)
    journal.deliver(lambda _: Writing(), AT, {""})
    told: dict[str, str] = {}

    def plan(known: Standing) -> Writing:
        told.update(known.expired)
        return Writing()

    journal.write(plan, AT)
    assert told == {"api": "freeze"}
    database.close()


# --- threads share a transaction -------------------------------------------------------------------------------------


@dataclass
class Shared:
    """Threads that came to the journal while it was taken, and the transactions that they cost."""

    database: Database
    journal: Journal
    found: dict[str, Any] = field(default_factory=dict)

    def meet(self, plans: dict[str, tuple[Plan, set[str] | None]]) -> int:
        """Deliver all at once, each in a thread of its own; return how many transactions there were."""
        begun: list[object] = []
        hooks.listen(self.database._engine, "begin", begun.append)
        threads = [threading.Thread(target=self._deliver, args=(name, *one)) for name, one in plans.items()]
        with self.database.writing:
            for thread in threads:
                thread.start()
            end = time.monotonic() + 30
            while len(self.journal._asked) < len(plans) and time.monotonic() < end:
                threads[0].join(0.005)
        for thread in threads:
            thread.join(30)
        return len(begun)

    def _deliver(self, name: str, plan: Plan, subjects: set[str] | None) -> None:
        try:
            self.found[name] = self.journal.deliver(plan, AT, subjects)
        except (ValueError, StoreError) as err:
            self.found[name] = err


def about(name: str) -> tuple[Plan, set[str] | None]:
    """Return a plan that begins a condition where there is none."""
    event = held(subject=Subject(application=name))

    def plan(standing: Standing) -> Writing:
        known = (event.subject.key, "item") in standing.conditions
        return Writing() if known else Writing(events=[event], conditions=[lasting(event)], posts=[post(event)])

    return plan, {event.subject.key}


def test_threads_that_wait_for_one_another_share_a_transaction(database: Database) -> None:
    woken: list[int] = []
    shared = Shared(database, Journal(database, lambda: woken.append(1)))
    assert shared.meet({name: about(name) for name in ("one", "two", "three")}) == 1
    assert [len(shared.found[name].events) for name in ("one", "two", "three")] == [1, 1, 1]
    assert len(shared.journal.recent(10)) == 3
    assert len(Outbox(database).queue(None, 10)) == 3
    assert woken == [1]


def test_threads_about_the_same_see_what_the_other_wrote(database: Database) -> None:
    shared = Shared(database, Journal(database))
    assert shared.meet({"first": about("one"), "second": about("one"), "other": about("two")}) == 2
    assert sorted(len(one.events) for one in shared.found.values()) == [0, 1, 1]


def test_who_asks_about_everything_is_alone(database: Database) -> None:
    shared = Shared(database, Journal(database))
    assert shared.meet({"one": about("one"), "all": (lambda _: Writing(), None), "two": about("two")}) == 2


def test_one_plan_that_fails_stops_no_other(database: Database) -> None:
    def broken(_: Standing) -> Writing:
        raise ValueError("our own bug")

    shared = Shared(database, Journal(database))
    shared.meet({"one": about("one"), "bad": (broken, {"bad"}), "two": about("two")})
    assert str(shared.found["bad"]) == "our own bug"
    assert {event.subject.application for event in shared.journal.recent(10)} == {"one", "two"}


def test_one_thing_that_the_state_refuses_stops_no_other(database: Database) -> None:
    twice = held(subject=Subject(application="bad"))
    bad = Writing(events=[twice], conditions=[lasting(twice), lasting(twice)])  # one key, two rows
    shared = Shared(database, Journal(database))
    shared.meet({"one": about("one"), "bad": (lambda _: bad, {"bad"}), "two": about("two")})
    assert isinstance(shared.found["bad"], StoreError)
    assert {event.subject.application for event in shared.journal.recent(10)} == {"one", "two"}
