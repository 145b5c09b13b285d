"""Calendar versions: what a format reads, the order of dates, and formats that are refused."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from updater.model.tag import Tag
from updater.policies.base import Rank
from updater.policies.calver import Calver
from updater.policies.choose import judge
from updater.policies.rule import Rule


def read(format_: str, text: str) -> Rank | None:
    return Calver(format=format_).current(text, Tag(text))


@pytest.mark.parametrize(
    ("format_", "text", "key"),
    [
        pytest.param("YYYY.0M.0D", "2024.04.01", (2024, 4, 1), id="a full date"),
        pytest.param("YYYY0M0D", "20240401", (2024, 4, 1), id="no separators, where every width is fixed"),
        pytest.param("YYYY0M0DMICRO", "20240401123059", (2024, 4, 1, 123059), id="MICRO takes the digits left over"),
        pytest.param("YYYY0M0D-MICRO", "20240401-3", (2024, 4, 1, 3), id="two kinds of separators"),
        pytest.param("YYYY.MM.MICRO", "2024.12.10", (2024, 12, 10), id="a month of two digits without padding"),
        pytest.param("YYYY.MM.DD", "2024.4.1", (2024, 4, 1), id="numbers without padding"),
        pytest.param("YYYY.MICRO", "2024.003", (2024, 3), id="MICRO may be padded"),
        pytest.param("YYYY", "2024", (2024,), id="only a year"),
        pytest.param("YY.0M", "24.04", (24, 4), id="a short year"),
        pytest.param("YY.0M", "6.06", (6, 6), id="a short year of one digit"),
        pytest.param("0Y.0M", "06.06", (6, 6), id="a padded short year"),
        pytest.param("vYYYY.0M", "v2024.04", (2024, 4), id="a v that the format has"),
        pytest.param("debian12-YYYY_0M", "debian12-2024_04", (2024, 4), id="text before the date"),
        pytest.param("0D.0M.YYYY", "31.12.2024", (2024, 12, 31), id="the day first compares last"),
        pytest.param("YYYY-0M-0D", "2024-02-29", (2024, 2, 29), id="the day of a leap year"),
    ],
)
def test_a_tag_that_fits(format_: str, text: str, key: tuple[int, ...]) -> None:
    rank = read(format_, text)
    assert rank == Rank(key, key, len(key))


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        pytest.param("YYYY.0M.0D", "2024.4.01", id="a month without the padding that the format has"),
        pytest.param("YYYY.MM.DD", "2024.04.1", id="a month with padding that the format has not"),
        pytest.param("YYYY.0M.0D", "2024.13.01", id="a thirteenth month"),
        pytest.param("YYYY.0M.0D", "2024.00.01", id="month zero"),
        pytest.param("YYYY.0M.0D", "2024.04.31", id="the 31st of April"),
        pytest.param("YYYY.0M.0D", "2024.04.00", id="day zero"),
        pytest.param("YYYY.0M.0D", "2023.02.29", id="the 29th of February in a common year"),
        pytest.param("YY.0M.0D", "23.02.29", id="and with a short year"),
        pytest.param("YYYY.0M.0D", "2024.04", id="a part is missing"),
        pytest.param("YYYY.0M", "2024.04.01", id="a part too many"),
        pytest.param("YYYY.0M", "v2024.04", id="a v that the format has not"),
        pytest.param("YYYY.0M", "2024.04-alpine", id="a suffix"),
        pytest.param("YYYY.0M", "2024x04", id="a dot is a dot"),
        pytest.param("YYYY.0M", "2024-04", id="another separator"),
        pytest.param("YYYY.0M", "0999.04", id="a counter that is no year"),
        pytest.param("YYYY.0M", "1899.12", id="before there were calendar majors"),
        pytest.param("YYYY.0M", "24.04", id="a short year"),
        pytest.param("YY.0M", "2024.04", id="a long year"),
        pytest.param("YY.0M", "06.06", id="a padded year, for one without padding"),
        pytest.param("YYYY.0M", "2024.04\n", id="a line end after it"),
        pytest.param("YYYY.0M", "٢٠٢٤.04", id="digits of another script"),
        pytest.param("YYYY.MICRO", "2024." + "9" * 200, id="longer than any tag"),
        pytest.param("YYYY.0M", "latest", id="a word"),
        pytest.param("YYYY.0M", "", id="nothing"),
    ],
)
def test_a_tag_that_does_not_fit_is_no_candidate(format_: str, text: str) -> None:
    assert read(format_, text) is None
    assert Calver(format=format_).rank(text, None, Tag(text)) == f"no_match: not a date like {format_}"


@pytest.mark.parametrize(
    ("format_", "ascending"),
    [
        pytest.param("YYYY.MM.MICRO", "2023.12.4 2024.1.0 2024.2.9 2024.2.10 2024.10.0", id="numbers, not texts"),
        pytest.param("0D0MYYYY", "31122023 01012024 02012024 01022024", id="the year first, wherever it stands"),
        pytest.param("YYYY0M0DMICRO", "202404012 2024040110 202404021", id="MICRO after the day"),
        pytest.param("YY.0M", "9.10 10.04 24.04 24.10", id="short years"),
    ],
)
def test_the_order_of_dates(format_: str, ascending: str) -> None:
    keys = [rank.key for text in ascending.split() if (rank := read(format_, text))]
    assert len(keys) == len(ascending.split())
    assert all(low < high for low, high in pairwise(keys))


@pytest.mark.parametrize(
    ("format_", "said"),
    [
        pytest.param("", "no year in ''; expected one of YYYY, YY, 0Y", id="nothing"),
        pytest.param("latest", "no year in 'latest'", id="no token"),
        pytest.param("0M.0D", "no year in '0M.0D'", id="no year"),
        pytest.param("MICRO", "no year in 'MICRO'", id="only a counter"),
        pytest.param("YYYY.0D", "a day without a month in 'YYYY.0D'; expected MM or 0M", id="a day of no month"),
        pytest.param("YYYY.WW", "unknown token 'WW' in a format; expected one of YYYY, YY, 0Y", id="weeks"),
        pytest.param("YYYY.0W", "unknown token '0W'", id="padded weeks"),
        pytest.param("YYYY.MINOR", "unknown token 'MINOR'", id="another word"),
        pytest.param("YYYYY", "unknown token 'Y'", id="five letters for a year"),
        pytest.param("RELEASE.YYYY", "unknown token 'RELEASE'", id="capital letters are tokens"),
        pytest.param("YYYY/0M", "'/' in a format; expected tokens and a-z 0-9 . _ -", id="no character of tags"),
        pytest.param("YYYY.0M.é", "'é' in a format", id="a letter that tags have not"),
        pytest.param("YYYY.0M ", "' ' in a format", id="a blank"),
        pytest.param("YYYY.YY", "a year twice in 'YYYY.YY'; expected it once", id="two years"),
        pytest.param("YYYY.MM.0M", "a month twice", id="two months"),
        pytest.param("YYYY.MM.DD.0D", "a day twice", id="two days"),
        pytest.param("YYYY.MICRO.MICRO", "MICRO twice", id="two counters"),
        pytest.param(
            "YYYYMM", "YYYYMM in a format is ambiguous; expected 0M or a separator", id="a month of any width"
        ),
        pytest.param("YYYY.MMDD", "MMDD in a format is ambiguous", id="a day after a month of any width"),
        pytest.param("YY0M", "YY0M in a format is ambiguous; expected 0Y or a sep", id="a month after a short year"),
        pytest.param("MICROYYYY", "MICROYYYY in a format is ambiguous; expected a sep", id="a year after a counter"),
        pytest.param("YYYY.MM2", "MM2 in a format is ambiguous", id="a digit after a month of any width"),
        pytest.param("YYYY.1DD.0M", "1DD in a format is ambiguous", id="a digit before a day of any width"),
        pytest.param("YYYY" + "." * 200, "a format of 204 characters; expected at most 128", id="longer than any tag"),
    ],
)
def test_a_format_that_is_refused(format_: str, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Calver(format=format_)
    (detail,) = error.value.errors()
    assert detail["loc"] == ("format",)
    assert said in detail["msg"]


def test_a_format_must_be_given() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        Calver.model_validate({"kind": "calver"})


@pytest.mark.parametrize(
    ("level", "target"),
    [
        pytest.param("patch", "2023.04.2", id="patch: MICRO"),
        pytest.param("minor", "2023.11.1", id="minor: the month"),
        pytest.param(None, "2025.01.1", id="no level: the year"),
    ],
)
def test_the_year_is_the_major_the_month_the_minor(level: str | None, target: str) -> None:
    the = Rule.model_validate({"policy": {"kind": "calver", "format": "YYYY.0M.MICRO"}, "level": level})
    names = [Tag(name) for name in ["2023.04.1", "2023.04.2", "2023.11.1", "2025.01.1", "8.1.0", "latest"]]
    assert judge(the, names, "2023.04.1").target == target


THE = Rule(policy=Calver(format="YYYY.MM.DD"))
DATES = st.dates(min_value=date(1900, 1, 1))
BAD = st.sampled_from(["latest", "2024.13.1", "9999.99.99", "2024.04.1", "2024.4", "v2024.4.1", "20240401", "24.4.1"])


def spelled(day: date) -> str:
    return f"{day.year}.{day.month}.{day.day}"


def tags(days: list[date]) -> list[Tag]:
    return [Tag(spelled(day)) for day in days]


@given(st.lists(DATES, unique=True, min_size=1).flatmap(lambda days: st.tuples(st.just(days), st.permutations(days))))
def test_the_latest_date_wins_in_any_order(lists: tuple[list[date], list[date]]) -> None:
    one, other = lists
    assert judge(THE, tags(one), None).target == spelled(max(one))
    assert judge(THE, tags(one), spelled(one[0])) == judge(THE, tags(other), spelled(one[0]))


@given(st.lists(DATES), DATES, BAD)
def test_a_tag_that_does_not_fit_changes_nothing(days: list[date], now: date, bad: str) -> None:
    before, after = (judge(THE, [*tags(days), *more], spelled(now)) for more in ([], [Tag(bad)]))
    assert (before.target, before.newest) == (after.target, after.newest)
    assert before.reason == after.reason


@given(st.lists(DATES), DATES)
def test_a_target_is_later_than_the_current_date(days: list[date], now: date) -> None:
    target = judge(THE, tags(days), spelled(now)).target
    assert target == (spelled(max(days)) if days and max(days) > now else None)


@given(st.text(alphabet="YMD0ICRO.-_v1x", max_size=24), st.text(alphabet="0123456789.-_vx", max_size=24))
def test_any_text_is_a_format_or_a_complaint(format_: str, text: str) -> None:
    try:
        Calver(format=format_).current(text, Tag(text))
    except ValidationError as error:
        complaint = str(error)
    else:
        complaint = ""
    assert not complaint or "expected" in complaint
