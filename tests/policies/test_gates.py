"""The gates that need facts: what each answers, what they ask for together, and how a time is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from updater.model.decision import Reason
from updater.model.tag import Needs, Tag
from updater.policies.base import Rank
from updater.policies.gates import COSTLY, Asked, Scene, Stop, change, costly, plain, words
from updater.policies.rule import Rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
D, C, P, S = Needs.DIGEST, Needs.CREATED, Needs.PLATFORMS, Needs.SEEN
NONE = Needs(0)
AMD, ARM = "linux/amd64", "linux/arm64"


def asked(known: Needs = NONE, now: Needs = NONE, *, approved: bool = False, **fields: Any) -> Asked:
    """Ask about 1.5.0 beside 1.4.0, of which these facts are known; `tag` and `current` are what the facts say."""
    tag = {"digest": "sha256:b", "first_digest": "sha256:b", "platforms": frozenset({AMD})} | fields.pop("tag", {})
    current = {"platforms": frozenset({AMD})} | fields.pop("current", {})
    rule = Rule.model_validate(fields)
    return Asked(Tag("1.5.0", **tag, known=known), Tag("1.4.0", **current, known=now), rule, NOW, approved)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param(asked(), {"1.5.0": D | S | P, "1.4.0": P}, id="nothing is known: all of it at once"),
        pytest.param(asked(D | S), {"1.5.0": P, "1.4.0": P}, id="what is known is not asked again"),
        pytest.param(asked(D | S | P), {"1.4.0": P}, id="only the tag in Git is left"),
        pytest.param(asked(D | S | P, P), None, id="everything is known, and it passes"),
        pytest.param(asked(platforms=[AMD]), {"1.5.0": D | S | P}, id="a list needs nothing of the tag in Git"),
        pytest.param(asked(platforms=[]), {"1.5.0": D | S}, id="no platforms, no question"),
        pytest.param(asked(moved_tag="follow", platforms=[]), None, id="whoever follows moved tags asks for no digest"),
        pytest.param(
            asked(P, P, moved_tag="follow"), {"1.5.0": D}, id="platforms that are remembered are not those of today"
        ),
        pytest.param(asked(min_age="1d"), {"1.5.0": S}, id="age alone may stop it, so it is asked first"),
        pytest.param(asked(S, min_age="1d"), {"1.5.0": C}, id="there from the start: its date too, and nothing else"),
        pytest.param(
            asked(S, min_age="1d", tag={"first_seen": NOW - 2 * DAY}), {"1.5.0": D | S | P, "1.4.0": P}, id="old enough"
        ),
        pytest.param(
            asked(min_age="1d", approved=True), {"1.5.0": D | S | P, "1.4.0": P}, id="approved: its age is no question"
        ),
    ],
)  # fmt: skip
def test_what_is_lacking_is_asked_for_together(question: Asked, answer: object) -> None:
    assert costly(question) == answer


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        pytest.param(asked(S, min_age="1d", tag={"first_seen": NOW}), Reason.MIN_AGE, id="too young"),
        pytest.param(asked(S | C, min_age="1d"), Reason.MIN_AGE, id="without any date"),
        pytest.param(asked(D | S, tag={"first_digest": "sha256:a"}), Reason.MOVED_TAG, id="moved, before platforms"),
        pytest.param(asked(D | S | P, P, tag={"platforms": frozenset({ARM})}), Reason.PLATFORM_MISSING, id="platforms"),
        pytest.param(
            asked(D | S | P, P, min_age="1d", tag={"first_seen": NOW, "first_digest": "sha256:a"}),
            Reason.MIN_AGE, id="the first gate speaks",
        ),
        pytest.param(
            asked(D | S | P, P, approved=True, tag={"platforms": frozenset[str]()}),
            Reason.PLATFORM_MISSING, id="approved, and yet",
        ),
    ],
)  # fmt: skip
def test_one_that_stops_asks_nothing_more(question: Asked, reason: Reason) -> None:
    answer = costly(question)
    assert isinstance(answer, Stop)
    assert answer.reason is reason
    assert answer.why.startswith(f"{reason}: ")


@pytest.mark.parametrize("gate", COSTLY, ids=lambda gate: str(gate.__name__))
def test_a_gate_that_has_all_it_wants_asks_nothing(gate: Any) -> None:
    everything = ~Needs(0)
    assert not isinstance(gate(asked(everything, everything, min_age="1d")), dict)


@pytest.mark.parametrize(
    ("seen", "created", "passes"),
    [
        (NOW - DAY, None, True),
        (NOW - DAY + timedelta(microseconds=1), None, False),
        (NOW - DAY / 2, NOW - 9 * DAY, False),
        (None, NOW - DAY, True),
        (None, NOW - DAY / 2, False),
        (None, None, False),
        (NOW + DAY, None, False),
    ],
    ids=[
        "just old enough",
        "not quite",
        "seen counts",
        "created long ago",
        "created lately",
        "neither",
        "in the future",
    ],
)
def test_an_age_counts_from_when_it_was_seen(seen: datetime | None, created: datetime | None, passes: bool) -> None:
    question = asked(~Needs(0), P, min_age="1d", tag={"first_seen": seen, "created": created})
    assert (costly(question) is None) == passes


def test_a_digest_cannot_move() -> None:
    """What is known by its digest is asked for platforms alone."""
    digest = "sha256:" + "0" * 64
    question = Asked(Tag(digest, digest), Tag("", known=P), Rule(), NOW)
    assert costly(question) == {digest: P}


def test_words_of_a_move_name_both_digests() -> None:
    answer = costly(asked(D | S, tag={"digest": "sha256:" + "b" * 64, "first_digest": "sha256:" + "a" * 64}))
    assert isinstance(answer, Stop)
    assert answer.why == "moved_tag: it was sha256:aaaaaaaaaaaa when we first saw it and is sha256:bbbbbbbbbbbb now"


@pytest.mark.parametrize(
    ("platform", "spelled"),
    [
        (AMD, AMD),
        (ARM, ARM),
        ("linux/arm64/v8", ARM),
        ("windows/arm64/v8", "windows/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm/v8", "linux/arm/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
    ],
)
def test_the_variant_that_says_nothing_is_left_out(platform: str, spelled: str) -> None:
    assert plain(platform) == spelled


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=3), "3 d"),
        (timedelta(days=2, hours=23, minutes=59), "2 d 23 h"),
        (timedelta(hours=3, minutes=12), "3 h 12 min"),
        (timedelta(hours=3, seconds=50), "3 h"),
        (timedelta(minutes=12, seconds=5), "12 min 5 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(milliseconds=1), "1 s"),
        (timedelta(hours=23, minutes=59, seconds=59.6), "1 d"),
    ],
)
def test_a_time_is_said_in_its_two_largest_units(left: timedelta, said: str) -> None:
    assert words(left) == said


def rank(*release: int) -> Rank:
    return Rank(release, release, len(release))


def scene(**fields: Any) -> Scene:
    left = fields.pop("left", None)
    return Scene.of(Rule.model_validate(fields), rank(8, 1, 0), left, "8.5.0" if left else "")


@pytest.mark.parametrize(
    ("where", "candidate", "approved", "reason"),
    [
        pytest.param(scene(), rank(8, 2, 0), False, None, id="newer"),
        pytest.param(scene(), rank(8, 1, 0), True, "up_to_date", id="the same, approved or not"),
        pytest.param(scene(), rank(8, 0, 0), True, "older", id="older, approved or not"),
        pytest.param(scene(downgrade="allow"), rank(8, 0, 0), False, None, id="older where that is allowed"),
        pytest.param(scene(), rank(9, 0, 0), False, "level", id="a major"),
        pytest.param(scene(), rank(9, 0, 0), True, None, id="a major that was approved"),
        pytest.param(scene(level="major"), rank(29, 0, 0), False, "ambiguous", id="far ahead"),
        pytest.param(scene(level="major"), rank(28, 0, 0), False, None, id="as far ahead as allowed"),
        pytest.param(scene(level="major"), rank(29, 0, 0), True, None, id="far ahead and approved"),
        pytest.param(scene(level="major", max_major_step=0), rank(29, 0, 0), False, None, id="any step"),
        pytest.param(scene(left=rank(8, 5, 0)), rank(8, 5, 0), True, "human_rollback", id="what a person left"),
        pytest.param(scene(left=rank(8, 5, 0)), rank(8, 3, 0), False, "human_rollback", id="below what a person left"),
        pytest.param(scene(left=rank(8, 5, 0)), rank(8, 6, 0), False, None, id="above what a person left"),
        pytest.param(
            scene(left=rank(8, 5, 0), downgrade="allow"), rank(8, 0, 0), False, "human_rollback", id="further back"
        ),
        pytest.param(scene(left=rank(8, 5, 0)), rank(9, 0, 0), False, "level", id="above it, and too far"),
    ],
)
def test_the_cheap_gates(where: Scene, candidate: Rank, approved: bool, reason: str | None) -> None:
    stop = where.stop(candidate, approved=approved)
    assert (stop and stop.reason.value) == reason
    assert stop is None or stop.why.startswith(f"{reason}: ")


@pytest.mark.parametrize(
    ("old", "new", "stopped"),
    [(2021, 2026, False), (2024, 20240606, True), (20240101, 20250606, False), (1899, 2026, True), (8, 2026, True)],
    ids=["years", "a day is no year", "days", "a number and a year", "a version and a year"],
)
def test_majors_that_are_dates_may_be_far_apart(old: int, new: int, stopped: bool) -> None:
    stop = Scene(rank(old), "major", 20).stop(rank(new))
    assert (stop is not None) == stopped


def test_nothing_older_is_wanted_as_long_as_what_git_holds_is_there() -> None:
    where = scene(downgrade="allow")
    assert where.among([rank(8, 1, 0), rank(8, 0, 0)]).stop(rank(8, 0, 0)) is not None
    assert where.among([rank(8, 0, 0)]).stop(rank(8, 0, 0)) is None


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ((1, 2, 3), (2, 0, 0), "major"),
        ((1, 2, 3), (1, 3, 0), "minor"),
        ((1, 2, 3), (1, 2, 4), "patch"),
        ((1, 2, 3, 4), (1, 2, 3, 5), "patch"),
        ((1,), (1, 2), "minor"),
        ((1, 2), (1, 2), "patch"),
        ((), (), "patch"),
    ],
)
def test_a_change_is_named_by_the_first_number_that_differs(
    old: tuple[int, ...], new: tuple[int, ...], level: str
) -> None:
    assert change(old, new) == level
