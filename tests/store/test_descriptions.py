"""What images are made of is asked for once, and forgotten when nobody uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.lab.statements import statements, writes
from updater.model.origin import Origin
from updater.model.tag import Described
from updater.store import descriptions as module
from updater.store.database import Database
from updater.store.descriptions import Descriptions

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MADE = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
ONE, TWO = f"sha256:{1:064x}", f"sha512:{2:0128x}"
BOTH = frozenset({"linux/amd64", "linux/arm64/v8"})
FROM = Origin("https://github.com/acme/api", "0123456789abcdef", "v1.5.0", "https://api.example.com")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def days(number: float) -> datetime:
    return AT + timedelta(days=number)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(Described(MADE, BOTH, asked_created=True), id="date and platforms"),
        pytest.param(Described(None, BOTH, asked_created=True), id="asked for a date, and it has none"),
        pytest.param(Described(None, BOTH, asked_created=False), id="not asked for a date"),
        pytest.param(Described(None, frozenset(), asked_created=True), id="nothing at all"),
        pytest.param(Described(MADE, BOTH, asked_created=True, origin=FROM), id="where it comes from"),
        pytest.param(
            Described(None, BOTH, asked_created=False, origin=Origin(revision="0123abc"), speaker=TWO),
            id="an index, and the image in it that is to be asked",
        ),
    ],
)
def test_a_description_comes_back_with_the_time_it_was_first_seen(database: Database, found: Described) -> None:
    Descriptions(database).put({ONE: found}, AT)
    assert Descriptions(database).get([ONE, TWO]) == {ONE: replace(found, first_seen=AT)}


def test_one_process_answers_as_another_would(database: Database) -> None:
    known = Descriptions(database)
    known.put({ONE: Described(MADE.astimezone(timezone(timedelta(hours=8))), BOTH, asked_created=True)}, AT)
    assert known.get([ONE]) == Descriptions(database).get([ONE])


def test_a_date_that_is_asked_for_later_is_added(database: Database) -> None:
    known = Descriptions(database)
    known.put({ONE: Described(None, BOTH, asked_created=False)}, AT)
    known.put({ONE: Described(MADE, BOTH, asked_created=True)}, days(1))
    assert known.get([ONE]) == Descriptions(database).get([ONE]) == {ONE: Described(MADE, BOTH, True, AT)}


def test_a_date_is_not_lost_when_nobody_asks_for_it(database: Database) -> None:
    known = Descriptions(database)
    known.put({ONE: Described(MADE, BOTH, asked_created=True)}, AT)
    known.put({ONE: Described(None, BOTH, asked_created=False)}, days(1))
    assert known.get([ONE]) == Descriptions(database).get([ONE]) == {ONE: Described(MADE, BOTH, True, AT)}


def test_where_it_comes_from_is_added_once_and_not_lost(database: Database) -> None:
    known = Descriptions(database)
    index = Described(None, BOTH, asked_created=False, speaker=TWO)
    asked = replace(index, created=MADE, asked_created=True, origin=FROM)
    for at, found in enumerate((index, asked, index)):
        known.put({ONE: found}, days(at))
    assert known.get([ONE]) == Descriptions(database).get([ONE]) == {ONE: replace(asked, first_seen=AT)}


def test_what_is_at_hand_costs_no_statement(database: Database) -> None:
    known = Descriptions(database)
    known.put({ONE: Described(MADE, BOTH, asked_created=True)}, AT)
    with statements(database) as asked:
        known.get([ONE], AT)
        known.get([ONE], days(1))
        known.put({}, AT)
    assert len(asked) <= 1


def test_reading_without_a_time_writes_nothing(database: Database) -> None:
    Descriptions(database).put({ONE: Described(MADE, BOTH, asked_created=True)}, AT)
    with statements(database) as asked:
        Descriptions(database).get([ONE, TWO])
    assert writes(asked) == []


def test_reading_what_was_used_this_week_writes_nothing(database: Database) -> None:
    Descriptions(database).put({ONE: Described(MADE, BOTH, asked_created=True)}, AT)
    with statements(database) as asked:
        Descriptions(database).get([ONE, TWO], days(6))
    assert writes(asked) == []


def test_more_than_are_kept_at_hand_are_stored_and_read(database: Database) -> None:
    many = {f"sha256:{n:064x}": Described(MADE, BOTH, asked_created=True) for n in range(30_000)}
    known = Descriptions(database)
    known.put(many, AT)
    assert len(known.get(many.keys(), AT)) == len(Descriptions(database).get(many.keys(), AT)) == 30_000


def test_a_process_keeps_a_bounded_number_at_hand(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", 10)
    known = Descriptions(database)
    for n in range(50):
        known.put({f"sha256:{n:064x}": Described(MADE, BOTH, asked_created=True)}, AT)
    assert len(known._memory) <= 10
    assert len(known.get([f"sha256:{n:064x}" for n in range(50)])) == 50


def test_what_nobody_used_for_three_months_is_forgotten(database: Database) -> None:
    one = Described(MADE, BOTH, asked_created=True)
    Descriptions(database).put({ONE: one, TWO: one}, AT)
    Descriptions(database).get([ONE], days(60))
    Descriptions(database).put({"sha256:new": one}, days(91))
    assert Descriptions(database).get([ONE, TWO]).keys() == {ONE}


def test_what_a_long_life_uses_is_kept(database: Database) -> None:
    """A process that has everything at hand still says now and then that it is used."""
    one = Described(MADE, BOTH, asked_created=True)
    known = Descriptions(database)
    known.put({ONE: one}, AT)
    for day in range(120):
        known.get([ONE], days(day))
    known.put({TWO: one}, days(120))
    assert Descriptions(database).get([ONE, TWO]).keys() == {ONE, TWO}


def test_forgetting_happens_once_a_day_for_all_processes(database: Database) -> None:
    one = Described(MADE, BOTH, asked_created=True)
    deleted = []
    for hour in range(0, 48, 3):
        with statements(database) as asked:
            Descriptions(database).put({f"sha256:{hour}": one}, days(hour / 24))
        deleted += [text for text in asked if text.startswith("DELETE FROM descriptions")]
    assert len(deleted) == 2


def test_a_clock_that_was_ahead_does_not_stop_forgetting(database: Database) -> None:
    one = Described(MADE, BOTH, asked_created=True)
    Descriptions(database).put({ONE: one}, AT)
    Descriptions(database).put({"sha256:future": one}, days(3650))
    with statements(database) as asked:
        Descriptions(database).put({TWO: one}, days(2))
    assert any(text.startswith("DELETE FROM descriptions") for text in asked)
