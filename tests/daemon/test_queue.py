"""What is due, in order, for many threads: never twice at once, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from updater.daemon.queue import Queue

PATIENCE = 10.0


def taken(queue: Queue, count: int) -> list[str]:
    """Take so many, and give each back at once."""
    found = []
    for _ in range(count):
        name = queue.take()
        assert name is not None
        queue.done(name)
        found.append(name)
    return found


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-100, -1), min_size=1))
def test_what_is_due_comes_in_order(due: dict[str, float]) -> None:
    queue, now = Queue(), time.monotonic()
    at = {name: now + ago for name, ago in due.items()}  # what differs by less than a clock can tell is one time
    for name, when in at.items():
        queue.add(name, when)
    order = taken(queue, len(at))
    assert [at[name] for name in order] == sorted(at.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 50)), min_size=1))
def test_the_earliest_time_counts(adds: list[tuple[str, int]]) -> None:
    queue, now = Queue(), time.monotonic() - 1000
    first: dict[str, int] = {}
    for name, at in adds:
        queue.add(name, now + at)
        first[name] = min(at, first.get(name, at))
    order = taken(queue, len(first))
    assert [first[name] for name in order] == sorted(first.values())
    queue.close()
    assert queue.take() is None


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(1, 6))
def test_no_two_threads_have_one_name_and_nothing_is_lost(adds: list[str], threads: int) -> None:
    queue, lock = Queue(), threading.Lock()
    busy: set[str] = set()
    twice: list[str] = []
    asked: Counter[str] = Counter()  # how often each was asked for when its last work began
    worked: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    settled = threading.Condition(lock)

    def work() -> None:
        while (name := queue.take()) is not None:
            with lock:
                twice.extend([name] if name in busy else [])
                busy.add(name)
                worked[name] += 1
                asked[name] = wanted[name]
            time.sleep(0)
            with settled:
                busy.discard(name)
                queue.done(name)
                settled.notify_all()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for name in adds:
        with lock:
            wanted[name] += 1
        queue.add(name, time.monotonic())
    with settled:
        done = settled.wait_for(lambda: not busy and asked == wanted, PATIENCE)
    queue.close()
    for worker in workers:
        worker.join(PATIENCE)
    assert done, (asked, wanted)
    assert twice == []
    assert all(worked[name] <= wanted[name] for name in wanted)


def test_what_becomes_due_wakes_who_waits_for_something_later() -> None:
    queue, found = Queue(), threading.Event()
    queue.add("later", time.monotonic() + 1000)
    names: list[str | None] = []

    def work() -> None:
        names.append(queue.take())
        found.set()

    worker = threading.Thread(target=work)
    worker.start()
    queue.add("now", time.monotonic() + 0.05)
    assert found.wait(PATIENCE)
    worker.join()
    assert names == ["now"]


def test_one_that_is_busy_comes_again_when_it_was_given_back() -> None:
    queue = Queue()
    queue.add("a", time.monotonic() - 2)
    assert queue.take() == "a"
    queue.add("a", time.monotonic() - 3)
    queue.add("b", time.monotonic() - 1)
    assert queue.take() == "b"
    queue.done("a")
    assert queue.take() == "a"


def test_forgotten_is_not_due_and_a_closed_queue_lets_everybody_go() -> None:
    queue = Queue()
    queue.add("a", time.monotonic() - 1)
    queue.forget(["a", "unknown"])
    workers = [threading.Thread(target=queue.take) for _ in range(5)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(PATIENCE)
    assert not any(worker.is_alive() for worker in workers)


def test_what_is_asked_for_over_and_over_takes_no_room() -> None:
    queue, now = Queue(), time.monotonic()
    for number in range(100_000):
        queue.add("a", now - number)
        queue.add("b", now + 1000 - number / 1000)
    assert len(queue._heap) < 10_000
    assert taken(queue, 1) == ["a"]
    queue.forget(["b"])
    queue.add("b", now)
    assert taken(queue, 1) == ["b"]


def test_a_thousand_are_taken_in_no_time() -> None:
    queue, now = Queue(), time.monotonic()
    for number in range(10_000):
        queue.add(f"app-{number}", now - number)
    start = time.thread_time()
    assert taken(queue, 10_000)[0] == "app-9999"
    assert time.thread_time() - start < 1


def test_a_queue_rests_while_nothing_is_due_that_nobody_works_on() -> None:
    queue, now = Queue(), time.monotonic()
    assert queue.rests()
    queue.add("a", now)
    queue.add("later", now + 1000)
    assert not queue.rests()
    assert queue.take() == "a"
    assert queue.rests()
    queue.add("a", now)
    assert queue.rests()
    queue.done("a")
    assert not queue.rests()
