"""What waits to be sent, what became of it, and what each address took."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.statements import statements, writes
from updater.errors import StoreError
from updater.model.event import Event, Kind, Subject
from updater.store.database import Database
from updater.store.journal import Journal, Post, Writing
from updater.store.outbox import Figures, Lane, Letter, Outbox, Settled, State

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def fill(database: Database, count: int, channel: str = "chat", at: datetime = AT) -> list[Event]:
    """Write so many letters, a minute after each other."""
    found = [Event(Kind.UPDATE_HELD, at + n * MINUTE, Subject(f"i{n}", f"i{n}"), channel, "1.1") for n in range(count)]
    posts = [Post(channel, one.id, one.subject.key, one.at, 30) for one in found]
    Journal(database).write(lambda _: Writing(events=found, posts=posts), at)
    return found


def told(letters: Sequence[Letter]) -> list[str]:
    return [letter.subject or f"{letter.held} held back" for letter in letters]


def test_letters_come_in_the_order_in_which_they_were_written(database: Database) -> None:
    found, box = fill(database, 3), Outbox(database)
    fill(database, 1, "other")
    letters = box.queue("chat", 10)
    assert [letter.event for letter in letters] == found
    assert [(one.channel, one.state, one.joins, one.attempts, one.form) for one in letters] == [
        ("chat", State.WAITING, 30, 0, 0)
    ] * 3
    assert [letter.due for letter in letters] == [letter.wanted for letter in letters] == [one.at for one in found]
    assert told(box.queue(None, 10)) == ["item=i0", "item=i1", "item=i2", "item=i0"]
    assert told(box.queue("chat", 2)) == ["item=i0", "item=i1"]


def test_what_was_sent_waits_no_more_and_what_was_given_up_is_still_shown(database: Database) -> None:
    fill(database, 3)
    box = Outbox(database)
    first, second, _ = box.queue("chat", 10)
    box.settle([first], Settled(State.SENT, "ok"), "lane", Lane(), AT)
    box.settle([second], Settled(State.DEAD, "refused"), "lane", Lane(), AT + MINUTE)
    left = box.queue("chat", 10)
    assert [(one.subject, one.state, one.attempts, one.answer, one.done) for one in left] == [
        ("item=i2", State.WAITING, 0, "", None),
        ("item=i1", State.DEAD, 1, "refused", AT + MINUTE),
    ]


def test_an_attempt_that_failed_leaves_the_letter_for_later(database: Database) -> None:
    fill(database, 1)
    box = Outbox(database)
    for attempt in (1, 2):
        later = AT + attempt * MINUTE
        box.settle(box.queue("chat", 1), Settled(State.WAITING, "HTTP 503", later, attempt), "lane", Lane(), AT)
        (letter,) = box.queue("chat", 1)
        assert (letter.attempts, letter.due, letter.form, letter.wanted) == (attempt, later, attempt, AT)


def test_an_address_is_known_by_what_it_took(database: Database) -> None:
    fill(database, 2)
    box = Outbox(database)
    assert box.lane("one") == Lane()
    took = Lane(3, AT + MINUTE, (1.25, 2.5))
    box.settle(box.queue("chat", 1), Settled(State.SENT, ""), "one", took, AT)
    assert (box.lane("one"), box.lane("two")) == (took, Lane())
    box.settle(box.queue("chat", 1), Settled(State.SENT, ""), "one", Lane(), AT)
    assert box.lane("one") == Lane()


def test_what_later_messages_hang_on_is_kept_by_channel_and_subject(database: Database) -> None:
    fill(database, 2)
    box = Outbox(database)
    for thread in ("first", "second" * 100):
        box.settle(
            box.queue("chat", 1), Settled(State.WAITING, "", thread=("item=i0", thread)), "lane", Lane(), AT
        )  # fmt: skip
    assert box.thread("chat", "item=i0") == ("second" * 100)[:255]
    assert (box.thread("chat", "item=i1"), box.thread("other", "item=i0")) == (None, None)


def test_what_was_to_be_sent_long_ago_is_overdue_whatever_was_tried_since(database: Database) -> None:
    fill(database, 3)
    box = Outbox(database)
    (first,) = box.queue("chat", 1)
    box.settle([first], Settled(State.WAITING, "", AT + 99 * MINUTE), "lane", Lane(), AT)
    assert told(box.overdue("chat", AT + 2 * MINUTE)) == ["item=i0", "item=i1"]
    assert box.overdue("chat", AT) == []
    assert box.overdue("other", AT + 9 * MINUTE) == []


def test_what_is_held_back_leaves_a_count_in_its_place(database: Database) -> None:
    fill(database, 5)
    box = Outbox(database)
    letters = sorted(box.queue("chat", 10), key=lambda one: one.seq)
    box.hold_back(letters[:3], AT + 9 * MINUTE)
    box.hold_back(letters[2:4], AT + 10 * MINUTE)  # one of them was held back before
    waiting = [one for one in box.queue("chat", 10) if one.state is State.WAITING]
    assert told(waiting) == ["item=i4", "4 held back"]
    note = waiting[1]
    assert (note.event, note.since, note.due) == (None, AT, AT + 10 * MINUTE)
    assert box.overdue("chat", AT + 99 * MINUTE) == waiting[:1]
    box.hold_back(letters[:4], AT + 11 * MINUTE)
    assert told([one for one in box.queue("chat", 10) if one.state is State.WAITING]) == ["item=i4", "4 held back"]


CHILD = """
import sys
from datetime import UTC, datetime
from updater.store.database import Database
from updater.store.outbox import Outbox

box, now = Outbox(Database(sys.argv[1])), datetime(2026, 11, 25, tzinfo=UTC)
while late := box.overdue("chat", now):
    box.hold_back(late[:7], now)
"""


def test_of_several_processes_that_give_up_the_same_letters_each_counts_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    database = Database(url)
    fill(database, 200)
    running = [subprocess.Popen([sys.executable, "-c", CHILD, url], stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    (note,) = [one for one in Outbox(database).queue("chat", 500) if one.state is State.WAITING]
    assert (note.event, note.held, note.since) == (None, 200, AT)
    assert Outbox(database).figures(["chat"])["chat"].states == {"waiting": 1, "dead": 200}
    database.close()


def test_figures_count_by_state_and_know_the_oldest_that_waits(database: Database) -> None:
    box = Outbox(database)
    fill(database, 4)
    fill(database, 1, "removed")
    fill(database, 1, "long removed")
    first, second, *_ = box.queue("chat", 10)
    box.settle([first], Settled(State.SENT, ""), "lane", Lane(), AT)
    box.settle([second], Settled(State.DEAD, ""), "lane", Lane(), AT)
    box.settle(box.queue("long removed", 1), Settled(State.SENT, ""), "lane", Lane(), AT)
    assert box.figures(["chat", "quiet"]) == {
        "chat": Figures({"waiting": 2, "sent": 1, "dead": 1}, AT + 2 * MINUTE),
        "quiet": Figures(),
        "removed": Figures({"waiting": 1}, AT),
    }


def test_a_look_writes_nothing(database: Database) -> None:
    fill(database, 2)
    box = Outbox(database)
    with statements(database) as asked:
        box.queue("chat", 10)
        box.overdue("chat", AT)
        box.figures(["chat"])
        box.lane("lane")
        box.thread("chat", "item=i0")
    assert (len(asked), writes(asked)) == (5, [])


def test_many_letters_are_settled_at_once_or_not_at_all(database: Database) -> None:
    fill(database, 1_200)
    box = Outbox(database)
    letters = box.queue("chat", 5_000)
    broken = Settled(State.SENT, "", thread=("item=i0", None))  # type: ignore[arg-type]
    with pytest.raises((StoreError, TypeError)):
        box.settle(letters, broken, "lane", Lane(2), AT)
    assert (box.figures(["chat"])["chat"].states, box.lane("lane")) == ({"waiting": 1_200}, Lane())
    with statements(database) as asked:
        box.settle(letters, Settled(State.SENT, ""), "lane", Lane(), AT)
    assert len(asked) <= 6
    assert box.figures(["chat"])["chat"].states == {"sent": 1_200}
