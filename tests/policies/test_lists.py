"""A list that suddenly lost much is not believed until several scans agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.policies.lists import Accepted, Doubt, Doubted, fingerprint, weigh

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TEN = frozenset("0123456789")


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def look(*lists: tuple[float, str]) -> list[str]:
    """Weigh one list after the other against the ten tags that are known; return what each came to.

    An accepted list becomes the known one, as the store does it.
    """
    known, doubt, words = TEN, None, []
    for minutes, names in lists:
        answer = weigh(known, doubt, frozenset(names), after(minutes))
        if isinstance(answer, Accepted):
            known, doubt = frozenset(names), None
            words.append("accepted")
        else:
            doubt = answer.doubt
            words.append(f"doubted {doubt.seen if doubt else 0}")
    return words


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        pytest.param([(0, "0123456789")], "accepted", id="the same list"),
        pytest.param([(0, "0123456789ab")], "accepted", id="a list that grew"),
        pytest.param([(0, "01234567")], "accepted", id="two of ten gone is a fifth: believed at once"),
        pytest.param([(0, "0123456")], "doubted 1", id="three of ten gone is more than a fifth: doubted"),
        pytest.param([(0, "0123456abcdef")], "doubted 1", id="new tags do not make up for lost ones"),
        pytest.param(
            [(0, "012345"), (10, "012345"), (20, "012345")],
            "doubted 1, doubted 2, accepted",
            id="three scans ten minutes apart that agree are believed",
        ),
        pytest.param(
            [(0, "012345"), (5, "012345"), (10, "012345"), (15, "012345"), (20, "012345")],
            "doubted 1, doubted 1, doubted 2, doubted 2, accepted",
            id="scans that come sooner do not count, and do no harm",
        ),
        pytest.param(
            [(0, "012345"), (9, "012345"), (18, "012345"), (27, "012345")],
            "doubted 1, doubted 1, doubted 2, doubted 2",
            id="ten minutes are counted from the last scan that counted",
        ),
        pytest.param(
            [(0, "012345"), (10, "012345a"), (20, "012345ab")],
            "doubted 1, doubted 2, accepted",
            id="what is pushed meanwhile does not matter",
        ),
        pytest.param(
            [(0, "012345"), (10, "01234"), (20, "01234"), (30, "01234")],
            "doubted 1, doubted 1, doubted 2, accepted",
            id="one more tag that is gone begins the count anew",
        ),
        pytest.param(
            [(0, "012345"), (10, "0123456"), (20, "012345")],
            "doubted 1, doubted 1, doubted 1",
            id="a tag that comes and goes never agrees",
        ),
        pytest.param(
            [(0, "012345"), (10, "456789"), (20, "012345")],
            "doubted 1, doubted 1, doubted 1",
            id="as many others that are gone do not agree",
        ),
        pytest.param(
            [(0, "012345"), (10, "0123456789"), (20, "012345")],
            "doubted 1, accepted, doubted 1",
            id="a whole list in between ends the doubt",
        ),
        pytest.param(
            [(0, ""), (10, ""), (20, ""), (30, "")],
            "doubted 0, doubted 0, doubted 0, doubted 0",
            id="an empty list is never believed",
        ),
        pytest.param(
            [(0, ""), (10, ""), (20, "a")],
            "doubted 0, doubted 0, doubted 1",
            id="empty lists do not speak for a list with other tags",
        ),
        pytest.param(
            [(0, "012345"), (10, ""), (20, "012345"), (30, "012345")],
            "doubted 1, doubted 1, doubted 2, accepted",
            id="an empty list in between counts as no scan",
        ),
        pytest.param(
            [(0, "012345"), (10, "012345"), (-600, "012345"), (-590, "012345"), (-580, "012345")],
            "doubted 1, doubted 2, doubted 1, doubted 2, accepted",
            id="a clock that is set back begins the count anew",
        ),
    ],
)
def test_lists_one_after_the_other(lists: list[tuple[float, str]], expected: str) -> None:
    assert ", ".join(look(*lists)) == expected


@pytest.mark.parametrize("known", [None, frozenset()], ids=["no list yet", "nothing was known"])
def test_the_first_list_is_believed_as_it_is(known: frozenset[str] | None) -> None:
    assert weigh(known, None, TEN, AT) == Accepted(TEN, frozenset())


def test_an_accepted_list_says_what_came_and_what_went() -> None:
    assert weigh(TEN, None, TEN - {"9"} | {"a"}, AT) == Accepted(frozenset("a"), frozenset("9"))


@pytest.mark.parametrize(
    ("known", "doubt", "names", "words"),
    [
        pytest.param(
            TEN,
            None,
            frozenset("0123"),
            "6 of 10 known tags missing, more than one in 5; believed when 2 more scans miss the same, "
            "each at least 10 min after the one before: 2026-11-23T08:20:00Z or later",
            id="how many of how many, and what would end it",
        ),
        pytest.param(
            frozenset("1"),
            Doubt(fingerprint("1"), 1, after(-10), after(-10)),
            frozenset("2"),
            "1 of 1 known tags missing, more than one in 5; believed when 1 more scan misses the same, "
            "each at least 10 min after the one before: 2026-11-23T08:10:00Z or later",
            id="one scan is left",
        ),
        pytest.param(
            TEN,
            None,
            frozenset(),
            "the list is empty, 10 known tags missing; an empty list is never believed, this ends with tags",
            id="empty",
        ),
    ],
)
def test_a_doubt_says_why(known: frozenset[str], doubt: Doubt | None, names: frozenset[str], words: str) -> None:
    answer = weigh(known, doubt, names, AT)
    assert isinstance(answer, Doubted)
    assert answer.why == words


def test_the_words_stay_the_same_between_two_scans_that_count() -> None:
    first = weigh(TEN, None, frozenset("0"), AT)
    assert isinstance(first, Doubted)
    second = weigh(TEN, first.doubt, frozenset("0"), after(5))
    assert first == second


names = st.frozensets(st.text("abcdefgh", min_size=1, max_size=2), max_size=40)
# Few different lists and long waits, so that scans often agree.
steps = st.lists(names, min_size=1, max_size=3).flatmap(
    lambda lists: st.lists(st.tuples(st.sampled_from([0, 5, 9, 10, 15]), st.sampled_from(lists)), max_size=12)
)


@given(st.lists(st.text(), unique=True), st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_the_order(tags: list[str], random: object) -> None:
    shuffled = list(tags)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fingerprint(tags) == fingerprint(shuffled)


def test_a_fingerprint_takes_whatever_a_registry_answers() -> None:
    assert fingerprint(["\ud800"]) != fingerprint(["\udfff"])


@given(names, names, st.none() | st.builds(Doubt, st.text(), st.integers(1, 9), st.just(AT), st.just(AT)))
def test_a_list_that_kept_everything_is_always_believed(
    known: frozenset[str], more: frozenset[str], doubt: Doubt | None
) -> None:
    answer = weigh(known, doubt, known | more, AT)
    assert answer == Accepted((known | more) - known, frozenset())


@given(names.filter(bool), steps)
def test_a_shrunken_list_is_never_believed_before_twenty_minutes(
    known: frozenset[str], lists: list[tuple[int, frozenset[str]]]
) -> None:
    """Whatever comes in between, and at any pace: three scans with the same tags missing, over twenty minutes."""
    now, doubt, missed = AT, None, []
    for minutes, names_ in lists:
        now += timedelta(minutes=minutes)
        gone = known - names_
        answer = weigh(known, doubt, names_, now)
        if isinstance(answer, Doubted):
            doubt = answer.doubt
            missed.append((now, gone))
            continue
        if len(gone) * 5 > len(known):
            agreed = [at for at, before in missed if before == gone]
            assert names_
            assert len(agreed) >= 2
            assert now - agreed[0] >= timedelta(minutes=20)
        known, doubt, missed = names_, None, []
