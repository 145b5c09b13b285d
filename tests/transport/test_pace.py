"""Waiting: how long until the next try, and how often at most."""

from __future__ import annotations

import threading

import pytest

from updater.transport.pace import Breaker, Budget, Pass, backoff


@pytest.mark.parametrize(
    ("attempt", "luck", "seconds"),
    [(1, 1.0, 0.5), (2, 1.0, 1.0), (3, 1.0, 2.0), (5, 1.0, 4.0), (10_000, 1.0, 4.0), (3, 0.25, 0.5), (3, 0.0, 0.0)],
)  # fmt: skip
def test_backoff_doubles_up_to_its_cap_and_is_spread_down_to_zero(attempt: int, luck: float, seconds: float) -> None:
    assert backoff(attempt, base=0.5, cap=4.0, random=lambda: luck) == seconds


def test_backoff_is_random_by_itself() -> None:
    waits = {backoff(5, base=1.0, cap=60.0) for _ in range(50)}
    assert len(waits) > 10
    assert all(0 <= wait <= 16 for wait in waits)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def budget(self, rate: float, burst: int) -> Budget:
        return Budget(rate, burst, clock=self, sleep=self.sleep)


def test_a_burst_is_free_and_then_the_rate_counts() -> None:
    clock = Clock()
    budget = clock.budget(2.0, 3)
    assert [budget.wait(1000) for _ in range(5)] == [True] * 5
    assert clock.slept == [0.5, 0.5]


def test_an_idle_time_saves_up_no_more_than_the_burst() -> None:
    clock = Clock()
    budget = clock.budget(1.0, 2)
    clock.now += 3600
    for _ in range(3):
        budget.wait(clock.now + 60)
    assert clock.slept == [1.0]


def test_a_turn_after_the_deadline_is_refused_at_once_and_costs_nothing() -> None:
    clock = Clock()
    budget = clock.budget(0.1, 1)
    assert budget.wait(clock.now)
    assert not budget.wait(clock.now + 9)
    assert clock.slept == []
    assert budget.wait(clock.now + 11)
    assert clock.slept == [10.0]


def test_threads_get_turns_one_after_the_other() -> None:
    clock = Clock()
    waits: list[float] = []
    budget = Budget(1.0, 1, clock=clock, sleep=waits.append)
    threads = [threading.Thread(target=budget.wait, args=(1000,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(waits) == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_budget_of_nothing_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Budget(rate, burst)


class Broken:
    """A breaker, with a clock that stands and luck that always waits longest."""

    def __init__(self, failures: int = 3) -> None:
        self.now = 0.0
        self.breaker = Breaker(failures, base=1.0, cap=60.0, clock=lambda: self.now, random=lambda: 1.0)

    def ask(self, worked: bool | None) -> None:
        leave = self.breaker.enter()
        assert leave is not None
        self.breaker.leave(leave, worked)


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    broken = Broken()
    for worked in (False, False, True, False, False):
        broken.ask(worked)
    assert not broken.breaker.open
    broken.ask(worked=False)
    assert broken.breaker.open
    assert broken.breaker.enter() is None


def test_an_open_breaker_lets_one_probe_at_a_time_pass() -> None:
    broken = Broken(1)
    broken.ask(worked=False)
    assert broken.breaker.wait == 1.0
    broken.now = 1.0
    probe = broken.breaker.enter()
    assert probe == Pass(probe=True)
    assert broken.breaker.enter() is None
    broken.breaker.leave(probe, worked=True)
    assert not broken.breaker.open
    assert broken.breaker.enter() == Pass(probe=False)


def test_probes_that_fail_come_further_apart_up_to_the_cap() -> None:
    broken = Broken(1)
    waits = []
    for _ in range(9):
        broken.ask(worked=False)
        waits.append(broken.breaker.wait)
        broken.now += broken.breaker.wait
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_probe_that_learns_nothing_makes_way_for_the_next() -> None:
    broken = Broken(1)
    broken.ask(worked=False)
    broken.now = 1.0
    broken.ask(worked=None)
    assert broken.breaker.open
    broken.ask(worked=True)
    assert not broken.breaker.open


def test_stragglers_do_not_disturb_an_open_breaker() -> None:
    broken = Broken(2)
    stragglers = [broken.breaker.enter() for _ in range(6)]
    for straggler in stragglers[:5]:
        assert straggler is not None
        broken.breaker.leave(straggler, worked=False)
    assert broken.breaker.wait == 1.0
    assert stragglers[5] is not None
    broken.breaker.leave(stragglers[5], worked=True)
    assert not broken.breaker.open
