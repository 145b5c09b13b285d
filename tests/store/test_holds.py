"""What people say counts until they take it back, it is used, or it is over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.lab.statements import statements, writes
from updater.errors import StoreError
from updater.model.people import HeldBy, People
from updater.store.database import Database
from updater.store.holds import Holds, expire_holds

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
WEEK = AT + timedelta(days=7)
API = "api/prod"


def expire(database: Database, at: datetime) -> dict[str, HeldBy]:
    with database.transaction() as connection:
        return expire_holds(connection, at)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


Said = list[Callable[[Holds], object]]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param([], {}, id="nobody said anything"),
        pytest.param(
            [lambda h: h.hold(API, "an incident", AT)],
            {API: People(HeldBy(AT, "an incident"))},
            id="a hold without an end",
        ),
        pytest.param(
            [lambda h: h.hold(API, "", AT, until=WEEK.astimezone(timezone(timedelta(hours=8))))],
            {API: People(HeldBy(AT, "", WEEK))},
            id="a hold with an end, in UTC",
        ),
        pytest.param(
            [lambda h: h.hold(API, "broken", AT, by="rollback", tag="1.4.2")],
            {API: People(HeldBy(AT, "broken", None, "rollback", "1.4.2"))},
            id="a hold of a rollback says what it went back to",
        ),
        pytest.param(
            [lambda h: h.hold(API, "first", AT, until=WEEK), lambda h: h.hold(API, "second", LATER)],
            {API: People(HeldBy(LATER, "second"))},
            id="a later hold takes the place of the one before",
        ),
        pytest.param(
            [lambda h: h.hold(API, "", AT), lambda h: h.resume(API, LATER)],
            {API: People(None, LATER)},
            id="resume ends a hold, and is remembered",
        ),
        pytest.param(
            [lambda h: h.resume(API, AT)],
            {API: People(None, AT)},
            id="resume without a hold is remembered, for rollbacks in Git",
        ),
        pytest.param(
            [lambda h: h.resume(API, AT), lambda h: h.resume(API, LATER)],
            {API: People(None, LATER)},
            id="the last resume counts",
        ),
        pytest.param(
            [lambda h: h.resume(API, AT), lambda h: h.hold(API, "again", LATER)],
            {API: People(HeldBy(LATER, "again"), AT)},
            id="a hold after a resume holds, and the resume still counts",
        ),
        pytest.param(
            [lambda h: h.approve(API, "2.0.0", AT), lambda h: h.approve(API, "2.0.1", AT)],
            {API: People(approved=frozenset({"2.0.0", "2.0.1"}))},
            id="several tags may be approved",
        ),
        pytest.param(
            [lambda h: h.approve(API, "2.0.0", AT), lambda h: h.approve(API, "2.0.0", LATER)],
            {API: People(approved=frozenset({"2.0.0"}))},
            id="to approve twice is to approve",
        ),
        pytest.param(
            [
                lambda h: h.approve(API, "2.0.0", AT),
                lambda h: h.approve(API, "2.0.1", AT),
                lambda h: h.used(API, "2.0.0"),
            ],
            {API: People(approved=frozenset({"2.0.1"}))},
            id="an approval counts once",
        ),
        pytest.param([lambda h: h.used(API, "2.0.0")], {}, id="what was not approved can be used"),
        pytest.param(
            [lambda h: h.approve(API, "2.0.0", AT), lambda h: h.resume(API, LATER)],
            {API: People(None, LATER, frozenset({"2.0.0"}))},
            id="resume leaves approvals alone",
        ),
        pytest.param(
            [lambda h: h.hold(API, "", AT), lambda h: h.hold("web", "", AT), lambda h: h.resume("web", LATER)],
            {API: People(HeldBy(AT)), "web": People(None, LATER)},
            id="items do not know each other",
        ),
    ],
)
def test_what_people_said(database: Database, said: Said, expected: dict[str, People]) -> None:
    for word in said:
        word(Holds(database))
    assert Holds(database).read(LATER) == expected


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        pytest.param(WEEK - timedelta(microseconds=1), True, id="before"),
        pytest.param(WEEK, False, id="at the very moment"),
        pytest.param(WEEK + timedelta(days=1), False, id="after"),
    ],
)
def test_a_hold_ends_by_itself(database: Database, at: datetime, holds: bool) -> None:
    held = Holds(database)
    held.hold(API, "", AT, until=WEEK)
    assert (API in held.read(at)) is holds
    assert (API in expire(database, at)) is not holds


def test_a_hold_that_is_over_is_told_once(database: Database) -> None:
    held = Holds(database)
    held.hold(API, "an incident", AT, until=WEEK)
    held.hold("web", "", AT)
    assert expire(database, WEEK) == {API: HeldBy(AT, "an incident", WEEK)}
    assert expire(database, WEEK) == {}
    assert held.read(WEEK).keys() == {"web"}


def test_resume_says_what_it_ended(database: Database) -> None:
    held = Holds(database)
    held.hold(API, "an incident", AT)
    assert held.resume(API, LATER) == HeldBy(AT, "an incident")
    assert held.resume(API, LATER) is None


def test_reading_writes_nothing(database: Database) -> None:
    Holds(database).hold(API, "", AT, until=WEEK)
    with statements(database) as asked:
        Holds(database).read(WEEK)
        Holds(database).over(LATER)
    assert writes(asked) == []


CHILD = """
import sys
from datetime import UTC, datetime, timedelta
from updater.store.database import Database
from updater.store.holds import Holds

held = Holds(Database(sys.argv[1]))
at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
for n in range(40):
    held.hold("api", sys.argv[2], at, until=at)
    held.approve("api", f"{n}", at)
    held.resume("web", at)
    held.used("api", f"{n - 5}")
"""


def test_processes_that_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    Database(url).close()
    running = [subprocess.Popen([sys.executable, "-c", CHILD, url, w], stderr=subprocess.PIPE) for w in "ab"]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    database = Database(url)
    assert Holds(database).read(AT)["web"] == People(None, AT)
    assert len(expire(database, AT)) == 1
    database.close()


def test_of_several_processes_one_is_told_of_the_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    database = Database(url)
    for n in range(30):
        Holds(database).hold(f"i{n}", "", AT, until=AT)
    database.close()
    code = (
        "import sys; from datetime import UTC, datetime; from updater.store.database import Database;"
        "from updater.store.journal import Journal, Writing; told = {};"
        "plan = lambda known: told.update(known.expired) or Writing();"
        "Journal(Database(sys.argv[1])).write(plan, datetime(2026, 11, 23, 8, 0, tzinfo=UTC)); print(len(told))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) for _ in range(3)]
    assert sum(int(process.communicate(timeout=120)[0]) for process in running) == 30


def test_a_state_that_cannot_be_written_says_so(database: Database) -> None:
    with pytest.raises(StoreError, match=r"state\.db"):
        Holds(database).hold(API, None, AT)  # type: ignore[arg-type]


def test_a_rollback_ends_what_was_approved_before_it(database: Database) -> None:
    said = Holds(database)
    said.approve("api", "2.0.0", AT)
    said.hold("api", "", AT, by="rollback", tag="1.0.0")
    assert said.read(AT)["api"].approved == frozenset()
