"""Tags by the date of their images; no date is no candidate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.tag import Needs, Tag
from updater.policies.base import Rank
from updater.policies.choose import judge
from updater.policies.newest import EARLIEST, Newest
from updater.policies.rule import Rule

THE = Rule(policy=Newest())
KNOWN = Needs.NAMES | Needs.CREATED


def tag(name: str, created: datetime | None = None) -> Tag:
    return Tag(name, created=created, known=KNOWN)


def day(number: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def tags(**days: int) -> list[Tag]:
    return [tag(name, day(number)) for name, number in days.items()]


def test_it_needs_names_and_dates() -> None:
    assert Newest.needs == KNOWN


@pytest.mark.parametrize(
    ("created", "known"),
    [
        pytest.param(day(1), True, id="a date"),
        pytest.param(EARLIEST, True, id="the first day that counts"),
        pytest.param(EARLIEST - timedelta(microseconds=1), False, id="the moment before"),
        pytest.param(datetime(1980, 1, 1, tzinfo=UTC), False, id="what ZIP files know as the first day"),
        pytest.param(datetime(1970, 1, 1, tzinfo=UTC), False, id="the epoch of reproducible builds"),
        pytest.param(datetime(1, 1, 1, tzinfo=UTC), False, id="the zero of another language"),
        pytest.param(datetime(1981, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), False, id="1981 only east of here"),
        pytest.param(None, False, id="none"),
    ],
)
def test_a_date_before_1981_says_nothing(created: datetime | None, known: bool) -> None:
    one = tag("a", created)
    assert (Newest().current("a", one) is not None) is known
    assert isinstance(Newest().rank("a", None, one), Rank) is known
    assert known or Newest().rank("a", None, one) == "no_match: no date of creation"


def test_a_tag_whose_date_was_not_asked_for_is_no_candidate() -> None:
    assert Newest().rank("a", None, Tag("a")) == "no_match: the date was not asked for"


@pytest.mark.parametrize(
    ("current", "listed", "expected"),
    [
        pytest.param("b", tags(a=9, b=1, c=5), "a", id="the latest date, whatever the names"),
        pytest.param("a", tags(a=9, b=1, c=5), "up_to_date", id="at rest"),
        pytest.param("a", [*tags(a=1, b=2), tag("c")], "b", id="no date is no candidate"),
        pytest.param("a", [tag("a"), *tags(b=2)], "unparsable_current", id="what Git holds has no date"),
        pytest.param("a", tags(a=2, b=2), "up_to_date", id="equal dates do not alternate"),
        pytest.param("c", tags(a=2, b=2, c=1), "a", id="of equal dates the smallest text"),
        pytest.param("v1", [tag("v1", day(1)), tag("2", day(2)), tag("v2", day(2))], "v2", id="or spelled as in Git"),
        pytest.param("1", [tag("1", day(1)), tag("20240101", day(2))], "20240101", id="level and step do not judge it"),
        pytest.param(None, tags(a=1, b=2), "b", id="nothing in Git"),
        pytest.param("a", [*tags(a=1), tag("b", day(1).astimezone(timezone(timedelta(hours=8))))], "up_to_date",
                     id="one moment in two time zones"),
    ],
)  # fmt: skip
def test_which_tag_is_wanted(current: str | None, listed: list[Tag], expected: str) -> None:
    judgement = judge(THE, listed, current)
    assert (judgement.target or judgement.reason) == expected


DATED = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 9).map(day), min_size=1)


@given(DATED.flatmap(lambda dates: st.tuples(st.just(dates), st.permutations([*dates]))))
def test_the_order_of_the_list_does_not_matter(lists: tuple[dict[str, datetime], list[str]]) -> None:
    dates, other = lists
    now = min(dates)
    assert judge(THE, [tag(*pair) for pair in dates.items()], now) == judge(
        THE, [tag(name, dates[name]) for name in other], now
    )


@given(DATED, st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=500_000)).map(lambda age: EARLIEST - age))
def test_a_tag_without_a_date_changes_nothing(dates: dict[str, datetime], bad: datetime | None) -> None:
    listed, now = [tag(*pair) for pair in dates.items()], min(dates)
    before, after = (judge(THE, [*listed, *more], now) for more in ([], [tag("zz", bad)]))
    assert (before.target, before.reason, before.newest) == (after.target, after.reason, after.newest)


@given(DATED)
def test_a_target_is_strictly_later(dates: dict[str, datetime]) -> None:
    now = min(dates)
    target = judge(THE, [tag(*pair) for pair in dates.items()], now).target
    latest = max(dates.values())
    assert (target is None) is (dates[now] == latest)
    assert target is None or dates[target] == latest
