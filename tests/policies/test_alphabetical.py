"""Texts in the order of their bytes, both ways."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.tag import Tag
from updater.policies.alphabetical import Alphabetical
from updater.policies.choose import judge
from updater.policies.rule import Rule

ASC, DESC = Rule(policy=Alphabetical()), Rule(policy=Alphabetical(order="desc"))


def key(text: str, order: Literal["asc", "desc"] = "asc") -> tuple[object, ...]:
    rank = Alphabetical(order=order).current(text, Tag(text))
    assert rank is not None
    return rank.key


@pytest.mark.parametrize(
    "ascending",
    [
        pytest.param(["10", "9"], id="digits are letters"),
        pytest.param(["Z", "_", "a"], id="capitals before small letters"),
        pytest.param(["a", "a-b", "a.b", "ab"], id="a text comes before the longer ones that begin with it"),
        pytest.param(["main-2024-01-31", "main-2024-02-01"], id="dates from the year on"),
        pytest.param(["z", "é", "\uffff", "\U00010000"], id="what tags.extract adds, by its bytes in UTF-8"),
        pytest.param(["a", "a\0", "a\0\0"], id="and by the lowest byte"),
    ],
)
def test_the_order_of_texts_both_ways(ascending: list[str]) -> None:
    assert all(key(low) < key(high) for low, high in pairwise(ascending))
    assert all(key(low, "desc") > key(high, "desc") for low, high in pairwise(ascending))


@pytest.mark.parametrize(
    ("the", "current", "tags", "expected"),
    [
        pytest.param(ASC, "b", "a b c", "c", id="the last"),
        pytest.param(DESC, "b", "a b c", "a", id="descending: the first"),
        pytest.param(DESC, "ab", "ab a", "a", id="descending: the shorter of two that begin alike"),
        pytest.param(ASC, "c", "a b", "older", id="never back"),
        pytest.param(DESC, "a", "b c", "older", id="descending: the later text is the older one"),
        pytest.param(ASC, "c", "a b c", "up_to_date", id="at rest"),
        pytest.param(ASC, "1", "1 20240101", "20240101", id="level and step judge versions only"),
        pytest.param(ASC, None, "a b", "b", id="nothing in Git"),
        pytest.param(ASC, "a", "", "no_match", id="an empty list"),
    ],
)
def test_which_text_is_wanted(the: Rule, current: str | None, tags: str, expected: str) -> None:
    judgement = judge(the, [*map(Tag, tags.split())], current)
    assert (judgement.target or judgement.reason) == expected


TEXTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,3}", fullmatch=True)
LISTS = st.lists(TEXTS, max_size=8, unique=True)
RULES = st.sampled_from([ASC, DESC])


@given(st.text(max_size=6), st.text(max_size=6))
def test_descending_is_ascending_turned_round(one: str, other: str) -> None:
    low, high = sorted((one.encode(), other.encode()))
    assert (key(one, "desc") < key(other, "desc")) is (one.encode() > other.encode())
    assert (key(low.decode()) < key(high.decode())) is (low != high)


@given(RULES, LISTS.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))), TEXTS)
def test_the_order_of_the_list_does_not_matter(the: Rule, lists: tuple[list[str], list[str]], now: str) -> None:
    one, other = lists
    assert judge(the, [*map(Tag, one)], now) == judge(the, [*map(Tag, other)], now)


@given(RULES, LISTS, TEXTS, st.sampled_from([".dot", "-dash", "a b", "x" * 129, f"sha256-{'0' * 64}.sig", ""]))
def test_what_is_no_tag_changes_nothing(the: Rule, names: list[str], now: str, bad: str) -> None:
    before, after = (judge(the, [*map(Tag, [*names, *more])], now) for more in ([], [bad]))
    assert (before.target, before.reason, before.newest) == (after.target, after.reason, after.newest)


@given(LISTS, TEXTS)
def test_a_target_is_strictly_newer_in_the_order_that_is_asked_for(names: list[str], now: str) -> None:
    up, down = (judge(the, [*map(Tag, names)], now).target for the in (ASC, DESC))
    assert up == (max(names) if names and max(names) > now else None)
    assert down == (min(names) if names and min(names) < now else None)
