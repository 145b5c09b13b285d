"""Maintenance windows: when they are open, and when they will be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from updater.sync.windows import HORIZON, Closed, Open, Window, state

WORK = {"kind": "allow", "schedule": "0 8 * * 1-5", "duration": "8h", "time_zone": "Asia/Shanghai"}
NIGHT = {"kind": "deny", "schedule": "0 22 * * *", "duration": "8h"}
BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")


def window(**fields: Any) -> Window:
    return Window.model_validate({"kind": "allow", "duration": "1h"} | fields)


def at(text: str, zone: Any = UTC, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def opens(windows: list[Window], now: datetime) -> datetime | str | None:
    """When it opens, `open` where it is."""
    found = state(tuple(windows), now)
    return found.opens_at if isinstance(found, Closed) else "open"


MONDAY = "2026-11-23"
CASES: dict[str, tuple[list[dict[str, Any]], datetime, str | None]] = {
    "no windows: always open": ([], at(f"{MONDAY}T03:00"), "open"),
    "within an allow window": ([WORK], at(f"{MONDAY}T08:00", SHANGHAI), "open"),
    "its last moment": ([WORK], at(f"{MONDAY}T15:59:59.999999", SHANGHAI), "open"),
    "its end is outside": ([WORK], at(f"{MONDAY}T16:00", SHANGHAI), "2026-11-24T00:00"),
    "a moment before it": ([WORK], at(f"{MONDAY}T07:59:59.999999", SHANGHAI), f"{MONDAY}T00:00"),
    "Sunday is no working day": ([WORK], at("2026-11-22T09:00", SHANGHAI), f"{MONDAY}T00:00"),
    "Friday night waits for Monday": ([WORK], at("2026-11-27T20:00", SHANGHAI), "2026-11-30T00:00"),
    "0 is Sunday": ([window(schedule="0 8 * * 0").model_dump()], at("2026-11-22T08:30"), "open"),
    "7 is Sunday too": ([window(schedule="0 8 * * 7").model_dump()], at("2026-11-22T08:30"), "open"),
    "names of days": ([window(schedule="0 8 * nov Sun").model_dump()], at("2026-11-22T08:30"), "open"),
    "either day field, where neither has a star": ([{**WORK, "schedule": "0 8 1 * 1"}], at(f"{MONDAY}T02:00"), "open"),
    "both day fields, where one has": (
        [{**WORK, "schedule": "0 8 1-7 * */2"}], at(f"{MONDAY}T02:00"), "2026-12-01T00:00",
    ),
    "a deny window that is open closes": ([NIGHT], at(f"{MONDAY}T22:00"), "2026-11-24T06:00"),
    "after midnight it is still open": ([NIGHT], at(f"{MONDAY}T05:59"), f"{MONDAY}T06:00"),
    "outside of deny windows it is open": ([NIGHT], at(f"{MONDAY}T06:00"), "open"),
    "deny beats allow": (
        [WORK, {**NIGHT, "schedule": "0 0 * * *", "duration": "2h"}], at(f"{MONDAY}T01:00"), f"{MONDAY}T02:00",
    ),
    "a deny window up to the end of the allowed one": (
        [WORK, {**NIGHT, "schedule": "0 0 23 11 *", "duration": "9h"}], at(f"{MONDAY}T00:30"), "2026-11-24T00:00",
    ),
    "one of two allow windows": ([WORK, {**WORK, "schedule": "0 20 * * *"}], at(f"{MONDAY}T21:00", SHANGHAI), "open"),
    "the nearer of two allow windows": (
        [WORK, {**WORK, "schedule": "0 20 * * *"}], at(f"{MONDAY}T16:30", SHANGHAI), f"{MONDAY}T12:00",
    ),
    "deny windows that follow each other": (
        [NIGHT, {**NIGHT, "schedule": "0 6 * * *", "duration": "3h"}], at(f"{MONDAY}T23:00"), "2026-11-24T09:00",
    ),
    "longer than its period: always open": (
        [{**WORK, "schedule": "0 * * * *", "duration": "90m"}], at(f"{MONDAY}T09:59"), "open",
    ),
    "deny, longer than its period: never open": ([{**NIGHT, "duration": "25h"}], at(f"{MONDAY}T09:00"), None),
    "deny, as long as its period: never open": ([{**NIGHT, "duration": "24h"}], at(f"{MONDAY}T22:00"), None),
    "every minute of a year denied": (
        [{**NIGHT, "schedule": "* * * * *", "duration": "366d"}], at(f"{MONDAY}T22:00"), None,
    ),
    "no day is the 30th of February": ([{**WORK, "schedule": "0 0 30 2 1#5"}], at(f"{MONDAY}T22:00"), None),
    "a year away": ([{**WORK, "schedule": "0 8 22 11 *"}], at(f"{MONDAY}T12:00"), "2027-11-22T00:00"),
    "a year long": ([{**WORK, "schedule": "0 8 22 11 *", "duration": "365d"}], at("2027-11-20T12:00"), "open"),
    "further away than anyone looks": ([{**WORK, "schedule": "0 8 29 2 *"}], at("2024-03-03T12:00"), None),
}  # fmt: skip


@pytest.mark.parametrize(("windows", "now", "expected"), CASES.values(), ids=CASES.keys())
def test_when_updates_may_be_written(windows: list[dict[str, Any]], now: datetime, expected: str | None) -> None:
    found = opens([Window.model_validate(one) for one in windows], now)
    assert found == (at(expected) if expected and expected != "open" else expected)


def test_the_answer_says_which_window_closes_and_when_it_opens() -> None:
    work, night = Window.model_validate(WORK), Window.model_validate(NIGHT)
    closed = state((night,), at(f"{MONDAY}T23:00"))
    assert closed == Closed("a deny window '0 22 * * *' for 8h, UTC is open", at("2026-11-24T06:00"))
    closed = state((work,), at(f"{MONDAY}T23:00"))
    assert closed == Closed("outside the allow window '0 8 * * 1-5' for 8h, Asia/Shanghai", at("2026-11-24T00:00"))
    assert "outside all 2 allow windows" in getattr(state((work, work), at(f"{MONDAY}T23:00")), "why", "")


# Berlin skips 02:00 to 03:00 on 2026-03-29, and has them twice on 2026-10-25.
CLOCKS: dict[str, tuple[str, str, datetime, datetime | str]] = {
    "an hour that is skipped begins at its end": ("30 2 * * *", "1h", at("2026-03-29T03:00", BERLIN), "open"),
    "and lasts as long as ever": ("30 2 * * *", "1h", at("2026-03-29T04:00", BERLIN), at("2026-03-30T00:30")),
    "nothing before the skip": ("30 2 * * *", "1h", at("2026-03-29T01:59", BERLIN), at("2026-03-29T01:00")),
    "the wall clock rules before the change": ("0 8 * * *", "1h", at("2026-03-28T07:00"), "open"),
    "and after it": ("0 8 * * *", "1h", at("2026-03-29T06:00"), "open"),
    "the duration is real time over the skip": ("0 1 * * *", "2h", at("2026-03-29T03:59", BERLIN), "open"),
    "and over the repeat": ("0 1 * * *", "2h", at("2026-10-25T02:30", BERLIN, fold=1), at("2026-10-26T00:00")),
    "an hour that comes twice begins once": ("30 2 * * *", "30m", at("2026-10-25T02:30", BERLIN), "open"),
    "and not a second time": ("30 2 * * *", "30m", at("2026-10-25T02:30", BERLIN, fold=1), at("2026-10-26T01:30")),
    "open across the second time": ("30 2 * * *", "1h", at("2026-10-25T02:15", BERLIN, fold=1), "open"),
    "every hour, also the repeated one": ("0 * * * *", "5m", at("2026-10-25T02:03", BERLIN, fold=1), "open"),
    "every hour, and none for the skipped": (
        "15 * * * *", "5m", at("2026-03-29T03:00", BERLIN), at("2026-03-29T01:15"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "duration", "now", "expected"), CLOCKS.values(), ids=CLOCKS.keys())
def test_when_clocks_change(schedule: str, duration: str, now: datetime, expected: datetime | str) -> None:
    assert opens([window(schedule=schedule, duration=duration, time_zone="Europe/Berlin")], now) == expected


@pytest.mark.parametrize(
    ("zone", "schedule", "now", "expected"),
    [
        ("Africa/Cairo", "*/30 1-3 * * 5", "2026-04-23T22:00", "open"),
        ("Australia/Lord_Howe", "*/15 2 * * *", "2026-04-04T15:30", "open"),
        ("Pacific/Kiritimati", "0 0 * * *", "2026-11-22T10:00", "open"),
        ("Asia/Kathmandu", "0 0 * * *", "2026-11-22T18:15", "open"),
    ],
    ids=["midnight is skipped", "clocks change by half an hour", "fourteen hours ahead", "quarters of an hour"],
)
def test_zones_that_are_out_of_the_ordinary(zone: str, schedule: str, now: str, expected: str) -> None:
    assert opens([window(schedule=schedule, duration="10m", time_zone=zone)], at(now)) == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "six fields": ({"schedule": "0 0 8 * * 1"}, "five fields"),
    "four fields": ({"schedule": "0 8 * *"}, "five fields"),
    "a nickname": ({"schedule": "@daily"}, "five fields"),
    "minute 60": ({"schedule": "60 8 * * *"}, "bad minute; expected cron's five fields"),
    "weekday 8": ({"schedule": "0 8 * * 8"}, "bad day-of-week"),
    "a range backwards": ({"schedule": "0 8 * * 5-1"}, "bad day-of-week"),
    "the 31st of April": ({"schedule": "0 8 31 4 *"}, "bad day-of-month"),
    "too long to be meant": ({"schedule": f"{','.join(['1'] * 200)} 8 * * *"}, "expected"),
    "no length": ({"duration": "0s"}, "from 1s to 366d"),
    "longer than a year": ({"duration": "367d"}, "from 1s to 366d"),
    "a length in words": ({"duration": "two hours"}, "expected a duration such as"),
    "no such zone": ({"time_zone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
    "a zone that is a path": ({"time_zone": "../../etc/passwd"}, "unknown time zone"),
    "a zone that is a folder": ({"time_zone": "America"}, "unknown time zone"),
    "no zone": ({"time_zone": ""}, "unknown time zone"),
    "another kind": ({"kind": "block"}, "'allow' or 'deny'"),
    "an unknown key": ({"zone": "UTC"}, "not permitted"),
}


@pytest.mark.parametrize(("fields", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_window_that_cannot_be_is_refused_when_it_is_read(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Window.model_validate(WORK | fields)
    assert said in str(refused.value)


# Brute force: what a wall clock shows, minute by minute, without any library for schedules.

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Shanghai")
BEGINNINGS = [
    "2026-03-28T12:00", "2026-10-24T12:00", "2026-03-07T20:00", "2026-10-31T20:00", "2026-04-23T12:00",
    "2026-04-04T00:00", "2026-10-03T00:00", "2026-10-29T10:00", "2026-11-23T00:00", "2026-12-31T00:00",
]  # fmt: skip  # clocks change on most of these days, in one zone or another
TWO_DAYS = 2 * 24 * 60
MINUTE = timedelta(minutes=1)

minutes = st.sampled_from([{0}, {30}, {15, 45}, set(range(0, 60, 20))])
hours = st.sampled_from([None, {2}, {0}, {1, 2, 3}, {23}, {8, 14}])  # None: every hour
days = st.sampled_from([None, {0}, {6}, {1, 2, 3, 4, 5}])
lengths = st.integers(1, 36 * 60)
zones = st.sampled_from(ZONES)
kinds = st.sampled_from(["allow", "deny"])


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Window, tuple[Any, ...]]:
    minute, hour, day = draw(minutes), draw(hours), draw(days)
    text = " ".join([_field(minute), "*" if hour is None else _field(hour), "* *", "*" if day is None else _field(day)])
    made = Window.model_validate(
        {"kind": draw(kinds), "schedule": text, "duration": f"{draw(lengths)}m", "time_zone": draw(zones)}
    )
    return made, (frozenset(minute), hour and frozenset(hour), day and frozenset(day), made.time_zone)


def _field(values: set[int]) -> str:
    return ",".join(map(str, sorted(values)))


@cache
def _begun(shape: tuple[Any, ...], begin: datetime) -> frozenset[int]:
    """The minutes, counted from `begin`, at which the window of a shape begins: two days and before."""
    minute, hour, day, name = shape
    zone, found, shown = ZoneInfo(name), set(), set()
    before = (begin - (36 * 60 + 240) * MINUTE).astimezone(zone).replace(tzinfo=None) - MINUTE
    for n in range(-36 * 60 - 240, TWO_DAYS + 1):
        clock = (begin + n * MINUTE).astimezone(zone).replace(tzinfo=None)
        # What the clock shows now, and where it has jumped what it has left out.
        ticks = [clock] if hour is None else _passed(before, clock)
        for tick in ticks:
            fits = tick.minute in minute and (hour is None or tick.hour in hour)
            if fits and (day is None or tick.isoweekday() % 7 in day) and (hour is None or tick not in shown):
                found.add(n)
            shown.add(tick)
        before = clock
    return frozenset(found)


def _passed(before: datetime, clock: datetime) -> list[datetime]:
    ticks, tick = [], before + MINUTE
    while tick < clock:
        ticks.append(tick)
        tick += MINUTE
    return [*ticks, clock]


@settings(max_examples=150, deadline=None)
@given(st.lists(schedules(), min_size=1, max_size=3), st.sampled_from(BEGINNINGS), st.integers(0, TWO_DAYS - 1))
def test_the_state_is_what_a_clock_on_the_wall_says(
    drawn: list[tuple[Window, tuple[Any, ...]]], beginning: str, offset: int
) -> None:
    begin = at(beginning)

    def is_open(one: Window, shape: tuple[Any, ...], n: int) -> bool:
        return any(n - one.duration // 60 < start <= n for start in _begun(shape, begin))

    def expected(n: int) -> bool:
        if any(is_open(one, shape, n) for one, shape in drawn if one.kind == "deny"):
            return False
        allowing = [(one, shape) for one, shape in drawn if one.kind == "allow"]
        return not allowing or any(is_open(one, shape, n) for one, shape in allowing)

    windows = tuple(one for one, _ in drawn)
    answer = state(windows, begin + offset * MINUTE)
    assert isinstance(answer, Open) == expected(offset)
    if isinstance(answer, Closed):
        first = next((n for n in range(offset, TWO_DAYS) if expected(n)), None)
        if first is not None:
            assert answer.opens_at == begin + first * MINUTE
        else:
            assert answer.opens_at is None or answer.opens_at >= begin + TWO_DAYS * MINUTE


@settings(deadline=None)
@given(schedules(), st.integers(0, 365 * 86_400).map(lambda n: at("2026-01-01T00:00") + timedelta(seconds=n)))
def test_what_opens_is_open_then_and_not_a_moment_before(drawn: tuple[Window, tuple[Any, ...]], now: datetime) -> None:
    answer = state((drawn[0],), now)
    if isinstance(answer, Closed) and answer.opens_at:
        assert now < answer.opens_at <= now + HORIZON + timedelta(days=2)
        assert state((drawn[0],), answer.opens_at) == Open()
        assert isinstance(state((drawn[0],), answer.opens_at - timedelta(microseconds=1)), Closed)
