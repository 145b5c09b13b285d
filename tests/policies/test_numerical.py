"""Numbers: exact, whatever their length, and one bad tag never spoils the rest."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.decision import Reason
from updater.model.tag import Tag
from updater.policies.choose import judge
from updater.policies.numerical import Numerical
from updater.policies.rule import Rule

Order = Literal["asc", "desc"]
ASC, DESC = Rule(policy=Numerical()), Rule(policy=Numerical(order="desc"))
BIG = 2**53


def key(text: str, order: Order = "asc") -> tuple[object, ...]:
    rank = Numerical(order=order).current(text, Tag(text))
    assert rank is not None, text
    return rank.key


@pytest.mark.parametrize(
    "ascending",
    [
        pytest.param(["9", "10", "100"], id="numbers are no text"),
        pytest.param(["1.05", "1.1", "1.25", "1.3"], id="decimals, not versions"),
        pytest.param([str(BIG), str(BIG + 1), str(BIG + 2)], id="integers that a float cannot tell apart"),
        pytest.param([f"{'9' * 40}{digit}" for digit in "012"], id="more digits than the context of decimals has"),
        pytest.param([f"0.{'0' * 40}{digit}" for digit in "123"], id="more places than that"),
        pytest.param(["20240131235959", "20240201000000"], id="timestamps"),
    ],
)
def test_the_order_of_numbers_is_exact_both_ways(ascending: list[str]) -> None:
    assert all(key(low) < key(high) for low, high in pairwise(ascending))
    assert all(key(low, "desc") > key(high, "desc") for low, high in pairwise(ascending))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        pytest.param("1.10", "1.1", id="zeros after a decimal"),
        pytest.param("007", "7", id="zeros before"),
        pytest.param("7.000", "7", id="a decimal that is whole"),
        pytest.param("0.0", "00", id="nothing"),
    ],
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_texts_of_one_number_are_equal(text: str, same: str, order: Order) -> None:
    assert key(text, order) == key(same, order)


NO_NUMBERS = [
    pytest.param("", id="nothing"),
    pytest.param("latest", id="a word"),
    pytest.param("1.2.3", id="a version"),
    pytest.param("v1", id="a v before"),
    pytest.param("1.", id="a dot and nothing"),
    pytest.param(".5", id="a dot and no digit before"),
    pytest.param("-1", id="a sign"),
    pytest.param("1e9", id="an exponent"),
    pytest.param("0x1F", id="hexadecimal"),
    pytest.param("1_000", id="an underscore"),
    pytest.param("nan", id="not a number"),
    pytest.param("inf", id="infinity"),
    pytest.param("1\n", id="a line end after it"),
    pytest.param("٣", id="digits of another script"),
    pytest.param("9" * 129, id="longer than any tag"),
]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_no_candidate(text: str) -> None:
    assert Numerical().current(text, Tag(text)) is None
    assert Numerical().rank(text, "1", Tag(text)) == "no_match: not a number"


@pytest.mark.parametrize(
    ("the", "current", "tags", "expected"),
    [
        pytest.param(ASC, "9", "9 10 11 bad 1.2.3", "11", id="the greatest"),
        pytest.param(DESC, "9", "9 10 8 bad 1.2.3", "8", id="descending: the smallest"),
        pytest.param(ASC, "11", "9 10", "older", id="never back"),
        pytest.param(DESC, "8", "9 10", "older", id="descending: the greater is the older one"),
        pytest.param(ASC, "1.1", "1.10 1.100", "up_to_date", id="equal numbers do not alternate"),
        pytest.param(ASC, "1", "2.0 2 02", "02", id="of equal numbers the smallest text"),
        pytest.param(ASC, "1", "1 20240101", "20240101", id="level and step judge versions only"),
        pytest.param(ASC, "main", "1 2", "unparsable_current", id="no number in Git"),
        pytest.param(ASC, "1", "main latest", "no_match", id="no number in the list"),
        pytest.param(DESC, None, "3 1 2", "1", id="descending, and nothing in Git"),
    ],
)
def test_which_number_is_wanted(the: Rule, current: str | None, tags: str, expected: str) -> None:
    judgement = judge(the, [*map(Tag, tags.split())], current)
    assert (judgement.target or judgement.reason) == expected


NUMBERS = st.one_of(
    st.integers(0, 99).map(str),
    st.integers(BIG - 3, BIG + 3).map(str),
    st.decimals(0, 9, places=2, allow_nan=False).map(lambda number: str(abs(number))),
)
LISTS = st.lists(NUMBERS, max_size=8, unique=True)
RULES = st.sampled_from([ASC, DESC])


@given(RULES, LISTS.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))), NUMBERS)
def test_the_order_of_the_list_does_not_matter(the: Rule, lists: tuple[list[str], list[str]], now: str) -> None:
    one, other = lists
    assert judge(the, [*map(Tag, one)], now) == judge(the, [*map(Tag, other)], now)


@given(RULES, LISTS, NUMBERS, st.sampled_from([str(param.values[0]) for param in NO_NUMBERS]))
def test_a_bad_tag_changes_nothing(the: Rule, names: list[str], now: str, bad: str) -> None:
    before, after = (judge(the, [*map(Tag, [*names, *more])], now) for more in ([], [bad]))
    assert (before.target, before.reason, before.newest) == (after.target, after.reason, after.newest)


@given(LISTS, NUMBERS)
def test_a_target_is_strictly_newer_in_the_order_that_is_asked_for(names: list[str], now: str) -> None:
    up, down = (judge(the, [*map(Tag, names)], now) for the in (ASC, DESC))
    assert (up.target is not None) is any(Decimal(name) > Decimal(now) for name in names)
    assert (down.target is not None) is any(Decimal(name) < Decimal(now) for name in names)
    assert up.target is None or Decimal(up.target) == max(map(Decimal, names))
    assert down.target is None or Decimal(down.target) == min(map(Decimal, names))
    for judgement in (up, down):
        same = any(Decimal(name) == Decimal(now) for name in names)
        wanted = (Reason.NO_MATCH, Reason.UP_TO_DATE if same else Reason.OLDER)[bool(names)]
        assert judgement.reason in {None, wanted}
