"""When images are due: derived from the configuration and the last polls, spread by jitter, patient after failures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from updater.config.images import Item
from updater.daemon.agenda import APART, RETRY_BASE, Agenda, host_of, jitter
from updater.model.image import ImageRef
from updater.store.polls import Poll

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
API = Item("api", "ghcr.io/acme/api", ImageRef.parse("ghcr.io/acme/api"), poll_interval=300, poll_jitter=30)
HOST = "ghcr.io"


def poll(minutes_ago: float, failures: int = 0) -> dict[str, Poll]:
    return {"api": Poll("api", AT - timedelta(minutes=minutes_ago), failures, None, "held", "level")}


@pytest.mark.parametrize(
    ("polls", "left"),
    [
        ({}, 0.0),
        (poll(1), 240.0 + jitter(API, 0)),
        (poll(60), 0.0),
        (poll(1, failures=2), 0.0),
        (poll(-60), 0.0),
    ],
    ids=["never seen", "seen a minute ago", "overdue", "failed before the restart", "the wall clock went back"],
)
def test_what_is_due_after_a_start(polls: dict[str, Poll], left: float) -> None:
    agenda = Agenda([API], polls, AT, 1000.0)
    assert agenda.due(HOST, 1000.0) == ([] if left else [API])
    assert agenda.due(HOST, 1000.0 + left) == [API]


def test_an_image_is_due_again_after_its_interval_and_jitter() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done([API], {}, {}, 0.0)
    assert agenda.due(HOST, 299.9) == []
    assert agenda.due(HOST, 330.0) == [API]


def test_a_failure_is_tried_again_sooner_but_not_at_once() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done([API], {"api": 1}, {}, 0.0)
    assert agenda.due(HOST, RETRY_BASE - 0.1) == []
    assert agenda.due(HOST, 2 * RETRY_BASE) == [API]


def test_a_registry_that_asks_for_a_pause_gets_it() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done([API], {"api": 1}, {"api": 3600.0}, 0.0)
    assert agenda.due(HOST, 3599.0) == []
    assert agenda.due(HOST, 3600.0) == [API]


def test_a_clock_that_leapt_for_years_during_a_cycle_keeps_nobody_away_for_years() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done([API], {"api": 1}, {"api": 50 * 365 * 86400.0}, 0.0)
    assert agenda.due(HOST, 3700.0) == [API]


def test_a_pause_outlives_a_restart_but_never_an_interval() -> None:
    paused = replace(poll(1, failures=1)["api"], retry_at=AT + timedelta(seconds=90))
    agenda = Agenda([API], {"api": paused}, AT, 0.0)
    assert agenda.due(HOST, 89.0) == []
    assert agenda.due(HOST, 90.0) == [API]
    distant = replace(paused, retry_at=AT + timedelta(days=90))
    assert Agenda([API], {"api": distant}, AT, 0.0).due(HOST, 300.0) == [API]


def test_what_was_taken_is_not_due_before_it_is_done() -> None:
    """A clock that was started anew while a cycle is under way must not begin it a second time."""
    agenda = Agenda([API], {}, AT, 0.0)
    assert agenda.take(HOST, 0.0) == [API]
    assert agenda.take(HOST, 1e9) == []
    agenda.done([API], {}, {}, 0.0)
    assert agenda.take(HOST, 330.0) == [API]


def test_images_that_were_asked_together_spread() -> None:
    many = [replace(API, name=f"api-{n}") for n in range(100)]
    agenda = Agenda(many, {}, AT, 0.0)
    agenda.done(many, {}, {}, 0.0)
    due = [len(agenda.due(HOST, 300.0 + second)) for second in range(0, 31, 3)]
    assert due[0] < 20
    assert due[-1] == 100
    assert all(later - sooner < 40 for sooner, later in pairwise(due))


@pytest.mark.parametrize(
    ("pattern", "host"),
    [("ghcr.io/acme/**", "ghcr.io"), ("*/acme/api", "*"), ("registry-?.example.com/x", "*")],
    ids=["literal host", "any host", "some hosts"],
)
def test_the_registry_of_a_pattern(pattern: str, host: str) -> None:
    assert host_of(Item("team", pattern, None, pattern=pattern)) == host


def test_what_a_person_spoke_about_is_due_at_once() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done([API], {}, {}, 0.0)
    agenda.wake(["api", "unknown"], 1.0)
    assert agenda.take(HOST, 1.0) == [API]


def test_a_hint_makes_an_image_due_and_one_that_is_due_needs_none() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done(agenda.take(HOST, 0.0), {}, {}, 0.0)
    assert agenda.hint("api", 10.0)
    assert not agenda.hint("api", 10.0)
    assert agenda.take(HOST, 10.0) == [API]


def test_a_hint_about_what_is_being_looked_at_is_not_lost() -> None:
    """What was pushed after the registry was asked is seen right after, not an interval later."""
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.take(HOST, 0.0)
    assert agenda.hint("api", 5.0)
    assert not agenda.hint("api", 6.0)
    agenda.done([API], {}, {}, 7.0)
    assert agenda.take(HOST, 7.0) == [API]


def test_a_person_who_speaks_while_an_image_is_looked_at_is_heard() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.take(HOST, 0.0)
    assert agenda.wake(["api", "gone"], 0.1) == {"api"}
    agenda.done([API], {}, {}, 0.2)
    assert agenda.take(HOST, 0.2) == [API]


def test_a_storm_of_hints_costs_one_look_a_second() -> None:
    agenda, looks = Agenda([API], {}, AT, 0.0), 0
    for turn in range(10_000):
        now = turn / 1000
        agenda.hint("api", now)
        if taken := agenda.take(HOST, now):
            looks += 1
            agenda.done(taken, {}, {}, now)
    assert looks == 10
    assert agenda.due(HOST, 9.0 + APART) == [API], "the last hint is not lost"


def test_a_hint_does_not_break_a_pause_but_a_person_may() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done(agenda.take(HOST, 0.0), {"api": 1}, {"api": 200.0}, 0.0)
    agenda.hint("api", 1.0)
    assert agenda.due(HOST, 199.0) == []
    assert agenda.due(HOST, 200.0) == [API]
    agenda.wake(["api"], 2.0)
    assert agenda.due(HOST, 2.0) == [API]


def test_a_hint_may_be_for_later() -> None:
    agenda = Agenda([API], {}, AT, 0.0)
    agenda.done(agenda.take(HOST, 0.0), {}, {}, 0.0)
    assert agenda.hint("api", 10.0, after=5.0)
    assert agenda.due(HOST, 14.9) == []
    assert agenda.overdue(14.9) == set()
    assert agenda.due(HOST, 15.0) == [API]
    assert agenda.overdue(15.0) == {"api"}
