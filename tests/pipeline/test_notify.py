"""Delivery: in order, merged, at each service's pace, again until it is there, and nothing lost on the way."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.lab.desk import (
    DEGRADE,
    DELIVERED,
    PAUSE,
    PERMANENT,
    RETRY,
    START,
    Clock,
    Desk,
    Hook,
    Poisoned,
    Robot,
    Sent,
    Service,
    Slow,
    Unthreaded,
    desk,
    named,
    names,
)
from tests.lab.statements import statements
from updater.demo.sink import Limit as Taken
from updater.demo.sink import MessageSink
from updater.messages.events import test_message as trial
from updater.model.event import Event
from updater.notifiers.base import LONGEST_PAUSE, Delivery, Limit, Notifier, Reply, Verdict
from updater.notifiers.dingtalk import DingTalk
from updater.notifiers.webhook import Webhook
from updater.pipeline.notify import BACKOFF, BACKOFF_CAP, MENDING, MOST, TRIES, outcome, pause, rebased
from updater.secrets import SecretError, remember
from updater.store.outbox import PAGE, Lane, State
from updater.store.schema import events

HOUR, DAY = 3600.0, 86_400.0
OUTAGE = 3 * HOUR
SEEDS = 60 if os.environ.get("UPDATER_STORM") == "full" else 3


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as opened:
        yield opened


@pytest.fixture
def service() -> Service:
    return Service()


def says(*replies: Reply) -> Callable[[Delivery], Reply]:
    """Answer these in turn, and the last for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def refusing(name: str, reply: Reply) -> Callable[[Delivery], Reply]:
    """Answer so where a message holds an event about this subject."""
    return lambda told: reply if any(e.event.subject.image == name for e in told.message.entries) else DELIVERED


# --- together and apart ----------------------------------------------------------------------------------------------


def test_what_belongs_to_one_transaction_is_one_message_and_leaves_at_once(office: Desk, service: Service) -> None:
    office.write("api", "web", "db")
    assert office.courier(Robot.at(service)).drain() is None
    assert service.messages == [["api 1", "web 2", "db 3"]]
    assert (service.attempts[0].at, office.letters()) == (START, [])


def test_what_follows_within_the_group_time_waits_and_is_merged(office: Desk, service: Service) -> None:
    courier = office.courier(Robot.at(service))
    office.write("api")
    courier.drain()
    for name in ("web", "db"):
        office.clock.move(5)
        office.write(name)
        assert courier.drain() == 30 - (office.clock() - START).total_seconds()
    office.run(courier, seconds=60)
    assert service.messages == [["api 1"], ["web 2", "db 3"]]
    assert service.attempts[1].at == START + timedelta(seconds=30)


def test_what_follows_after_the_group_time_leaves_at_once(office: Desk, service: Service) -> None:
    courier = office.courier(Robot.at(service))
    for name in ("api", "web"):
        office.write(name)
        courier.drain()
        office.clock.move(31)
    assert service.messages == [["api 1"], ["web 2"]]


def test_the_shortest_group_time_of_what_waits_counts(office: Desk, service: Service) -> None:
    courier = office.courier(Robot.at(service))
    office.write("api")
    courier.drain()
    office.clock.move(1)
    office.write("web")
    office.write("db", joins=0)
    assert courier.drain() is None
    assert service.messages == [["api 1"], ["web 2", "db 3"]]


@pytest.mark.parametrize("count", [101, MOST + 1, 2 * PAGE + 1], ids=["bytes", "events", "pages"])
def test_what_one_message_does_not_take_follows_at_once_in_order_and_whole(
    office: Desk, service: Service, count: int
) -> None:
    written = office.write(*(f"app{n}" for n in range(count)))
    assert office.courier(Robot.at(service)).drain() is None
    assert service.names == names(written)
    assert len(service.messages) == -(-count // 100)
    assert {sent.at for sent in service.attempts} == {START}
    assert all(sent.message.id for sent in service.attempts)
    assert len({sent.message.id for sent in service.attempts}) == len(service.attempts)


def test_one_event_that_is_too_large_goes_alone_and_nothing_is_lost(office: Desk, service: Service) -> None:
    large = office.event("web", why="x" * 20_000)
    told = [office.event("api"), large, office.event("db")]
    office.post([("robot", event) for event in told])
    office.courier(Robot.at(service)).drain()
    assert service.names == names(told)
    assert [named(large)] in service.messages


def test_one_event_that_is_too_large_for_a_real_service_arrives_shortened(
    office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spots = 3_000 * ("x" * 300,)
    with MessageSink() as sink:
        monkeypatch.setenv("HOOK", f"{sink.url}/hook/a")
        office.post([("webhook", office.event("api", why="w" * 30_000, images=spots))])
        channel = Webhook.model_validate({"url": "env:HOOK"})
        assert channel.weigh(trial("en", "webhook", START)) < channel.max_bytes
        office.courier(channel).drain()
        [message] = sink.messages
    assert message.body["data"]["truncated"] is True
    assert message.body["data"]["new"] == "1"


def test_without_merging_each_event_is_a_message_in_order_and_waits_for_no_other(
    office: Desk, service: Service
) -> None:
    written = office.write("api", "web", channel="hook") + office.write("db", channel="hook")
    office.courier(Hook.at(service)).drain()
    assert service.messages == [[name] for name in names(written)]


# --- order -----------------------------------------------------------------------------------------------------------


def test_the_order_of_each_subject_is_kept_through_failures(office: Desk, service: Service) -> None:
    """Whatever fails whenever: about one subject nothing overtakes."""
    answers = iter([DELIVERED, RETRY, RETRY, DELIVERED, DEGRADE, RETRY, DELIVERED, PAUSE, DEGRADE] * 40)
    service.script = lambda _: next(answers, DELIVERED)
    courier = office.courier(Hook.at(service))
    for n in range(30):
        office.write(f"app{n % 4}", f"app{n % 3}", channel="hook")
        office.run(courier, seconds=20)
    office.run(courier, seconds=DAY / 2)
    assert office.letters(channel="hook") == []
    dead = office.letters(State.DEAD, channel="hook")
    assert len(service.names) + len(dead) == 60
    for subject in {name.split()[0] for name in service.names}:
        told = [int(name.split()[1]) for name in service.names if name.split()[0] == subject]
        assert told == sorted(told)


def test_what_is_told_only_if_it_lasts_holds_nothing_back(office: Desk, service: Service) -> None:
    office.write("api", after=600, lasting=True)
    office.write("api", "web")
    assert office.courier(Robot.at(service)).drain() == 600
    assert service.messages == [["api 2", "web 3"]]


def test_a_lasting_one_that_was_tried_holds_back_what_follows_about_it(office: Desk, service: Service) -> None:
    service.script = says(RETRY, DELIVERED)
    courier = office.courier(Robot.at(service))
    office.write("api", after=60, lasting=True)
    office.run(courier, seconds=60)
    assert [sent.names for sent in service.attempts] == [["api 1"]]
    office.write("api")
    office.run(courier, seconds=60)
    assert service.names == ["api 1", "api 2"]


def test_quiet_holds_back_its_own_subject_and_no_other(office: Desk, service: Service) -> None:
    courier = office.courier(Robot.at(service))
    office.write("api", after=8 * HOUR)
    office.write("api", "web")
    office.run(courier, seconds=8 * HOUR)
    assert service.messages == [["web 3"], ["api 1", "api 2"]]
    assert service.attempts[1].at == START + timedelta(hours=8)


@pytest.mark.parametrize("lasting", [False, True], ids=["quiet", "only if it lasts"])
def test_any_number_that_waits_for_later_does_not_hide_what_is_due(
    office: Desk, service: Service, lasting: bool
) -> None:
    office.write(*(f"quiet{n}" for n in range(2 * PAGE)), after=8 * HOUR, lasting=lasting)
    office.write("api")
    assert office.courier(Robot.at(service)).drain() == 8 * HOUR
    assert service.names == [f"api {2 * PAGE + 1}"]


# --- bad moments -----------------------------------------------------------------------------------------------------


def test_a_bad_moment_is_tried_again_ever_later_up_to_a_quarter_of_an_hour(office: Desk, service: Service) -> None:
    service.script = says(RETRY)
    office.write("api")
    office.run(office.courier(Robot.at(service)), seconds=10 * HOUR)
    waits = [(b.at - a.at).total_seconds() for a, b in pairwise(service.attempts)]
    for number, wait in enumerate(waits, 1):
        assert wait <= min(BACKOFF_CAP, BACKOFF * 2 ** (number - 1)) + 0.01
    late = waits[12:]
    assert max(late) > BACKOFF_CAP / 2
    assert len(set(late)) > len(late) / 2  # jitter: no two clients keep step
    assert len(service.attempts) < 150


def test_as_long_as_a_service_asks_to_stay_away_nothing_is_sent(office: Desk, service: Service) -> None:
    service.script = says(replace(RETRY, after=120.0), DELIVERED)
    office.write("api")
    courier = office.courier(Robot.at(service))
    office.run(courier, seconds=119)
    office.write("web")
    office.run(courier, seconds=60)
    assert [sent.at for sent in service.attempts][:2] == [START, START + timedelta(seconds=120)]
    assert sorted(service.names) == ["api 1", "web 2"]


def test_a_poison_event_does_not_block_others_for_ever(office: Desk, service: Service) -> None:
    service.script = refusing("poison", RETRY)
    courier = office.courier(Hook.at(service))
    office.write("poison", "api", "poison", channel="hook")
    office.run(courier, seconds=60)
    written = [office.write(f"app{n}", channel="hook")[0] for n in range(20)]
    office.run(courier, seconds=BACKOFF_CAP)
    assert service.names == ["api 2", *names(written)]
    assert [named(one.event) for one in office.letters(channel="hook") if one.event] == ["poison 1", "poison 3"]


@pytest.mark.parametrize("count", [1, 5], ids=["alone", "among others"])
def test_an_event_that_cannot_be_read_back_is_a_dead_letter_after_five_tries(
    office: Desk, service: Service, count: int
) -> None:
    broken, *others = office.write(*(f"app{n}" for n in range(count)))
    with office.database.transaction() as connection:
        connection.execute(update(events).where(events.c.id == broken.id).values(document='{"kind": "of_tomorrow"}'))
    assert_others_go_on(office, service, others, "of_tomorrow")


@pytest.mark.parametrize("count", [1, 5], ids=["alone", "among others"])
def test_an_event_that_cannot_be_rendered_is_a_dead_letter_after_five_tries(
    office: Desk, service: Service, count: int
) -> None:
    broken = office.event("web", labels={"poison": "yes"})
    others = [office.event(f"app{n}") for n in range(count - 1)]
    office.post([("robot", event) for event in (*others[:2], broken, *others[2:])])
    assert_others_go_on(office, service, others, "KeyError: 'poison'")


def assert_others_go_on(office: Desk, service: Service, others: list[Event], trace: str) -> None:
    """The others are one message at once, what is written later arrives, and the dead letter says why."""
    courier = office.courier(Poisoned.at(service, name="robot"))
    courier.drain()
    assert service.messages == ([names(others)] if others else [])
    later = office.write("later")
    office.run(courier, seconds=BACKOFF_CAP)
    assert (service.names, office.letters()) == ([*names(others), *names(later)], [])
    [dead] = office.letters(State.DEAD)
    assert dead.attempts == TRIES
    assert dead.answer.startswith("Traceback")
    assert trace in dead.answer


def test_an_event_that_breaks_what_sends_it_is_a_dead_letter_and_the_others_arrive_alone(
    office: Desk, service: Service
) -> None:
    def breaks(told: Delivery) -> Reply:
        assert all(entry.event.subject.image != "web" for entry in told.message.entries)
        return DELIVERED

    service.script = breaks
    courier = office.courier(Robot.at(service))
    written = office.write("api", "web", "db")
    courier.drain()
    assert service.messages == []
    office.run(courier, seconds=BACKOFF_CAP)
    assert sorted(service.names) == sorted(names([written[0], written[2]]))
    [dead] = office.letters(State.DEAD)
    assert (dead.event, dead.attempts, office.letters()) == (written[1], TRIES, [])
    assert "AssertionError" in dead.answer


def test_what_our_own_bug_ended_is_told_without_secrets(office: Desk, service: Service) -> None:
    def breaks(_: Delivery) -> Reply:
        raise KeyError("token-of-the-channel")

    remember("token-of-the-channel")
    service.script, seen = breaks, list[Reply]()
    office.write("api")
    courier = office.courier(Robot.at(service))
    replace(courier, told=lambda _channel, reply, _letters: seen.append(reply)).drain()
    assert [(reply.verdict, reply.said) for reply in seen] == [(Verdict.RETRY, "KeyError: '***'")]
    [letter] = office.letters()
    assert "token-of-the-channel" not in letter.answer


def test_only_a_service_with_threads_is_asked_for_one(office: Desk, service: Service) -> None:
    service.script = says(replace(DELIVERED, thread="42"))
    courier = office.courier(Unthreaded.at(service, name="robot"))
    for _ in range(2):
        office.write("api", joins=0)
        with statements(office.database) as asked:
            courier.drain()
        assert not any("SELECT threads" in one for one in asked)
    assert [sent.thread for sent in service.attempts] == [None, None]


def test_new_events_do_not_share_a_message_with_what_failed(office: Desk, service: Service) -> None:
    """Merged with a poison event they would wait as it does."""
    service.script = refusing("poison", RETRY)
    courier = office.courier(Robot.at(service))
    office.write("poison")
    for n in range(40):
        office.run(courier, seconds=HOUR / 2)
        office.write(f"app{n}")
    office.run(courier, seconds=BACKOFF_CAP)
    assert len(service.names) == 40


def test_too_many_messages_pause_the_address_for_ten_minutes_also_after_a_restart(
    tmp_path: Path, service: Service
) -> None:
    service.script = says(PAUSE, DELIVERED)
    clock = Clock()
    with desk(tmp_path, clock) as first:
        first.write("api")
        assert first.courier(Robot.at(service)).drain() == 600
    with desk(tmp_path, clock) as second:
        second.write("web")
        courier = second.courier(Robot.at(service))
        second.run(courier, seconds=599.9)
        assert len(service.attempts) == 1
        second.run(courier, seconds=1)
    assert service.attempts[1].at == START + timedelta(seconds=600)
    assert sorted(service.names) == ["api 1", "web 1"]


def test_dingtalk_says_130101_and_is_left_alone_for_ten_minutes(office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with MessageSink(clock=lambda: office.clock().timestamp(), limits={"dingtalk": [Taken(1, 60.0, 600.0)]}) as sink:
        courier = office.courier(dingtalk(sink, monkeypatch))
        office.write("api", channel="dingtalk")
        courier.drain()
        office.clock.move(31)
        office.write("web", channel="dingtalk")
        office.run(courier, seconds=599)
        assert [arrived.at - START.timestamp() for arrived in sink.arrivals] == [0, 31]
        office.run(courier, seconds=1)
        assert [message.at - START.timestamp() for message in sink.messages] == [0, 631]


def test_what_a_person_must_mend_is_tried_every_quarter_of_an_hour(office: Desk, service: Service) -> None:
    service.script = says(PERMANENT)
    office.write("api")
    office.run(office.courier(Robot.at(service)), seconds=2 * HOUR)
    assert [(sent.at - START).total_seconds() for sent in service.attempts] == [n * MENDING for n in range(9)]


def test_a_test_message_that_arrives_lets_what_waits_go_at_once(office: Desk, service: Service) -> None:
    service.script = says(PERMANENT, PERMANENT, DELIVERED)
    courier = office.courier(Robot.at(service))
    office.write("api")
    assert courier.drain() == MENDING
    assert courier.try_out(trial("en", "robot", START)) == PERMANENT
    assert courier.drain() == MENDING
    assert courier.try_out(trial("en", "robot", START)) == DELIVERED
    assert courier.drain() is None
    assert service.messages == [[], ["api 1"]]
    assert service.accepted[0].message.test


def test_a_test_message_keeps_to_the_limit_and_to_what_the_service_says(office: Desk, service: Service) -> None:
    courier = office.courier(Slow.at(service))
    said = [courier.try_out(trial("en", "slow", START)).verdict for _ in range(4)]
    assert (said, len(service.attempts)) == ([Verdict.DELIVERED] * 3 + [Verdict.PAUSE], 3)
    office.clock.move(60)
    service.script = says(PAUSE, DELIVERED)
    assert courier.try_out(trial("en", "slow", START)) == PAUSE
    office.write("api", channel="slow")
    assert courier.drain() == 600


def test_content_that_is_refused_goes_plain_then_alone_and_then_is_a_dead_letter(
    office: Desk, service: Service
) -> None:
    service.script = refusing("bad", DEGRADE)
    written = office.write("api", "bad", "web", "bad")
    assert office.courier(Robot.at(service)).drain() is None
    every = names(written)
    assert [(sent.names, sent.plain) for sent in service.attempts] == [
        (every, False),
        (every, True),
        *(([name], True) for name in every),
    ]
    assert service.names == ["api 1", "web 3"]
    dead = office.letters(State.WAITING, State.DEAD)
    assert sorted(named(one.event) for one in dead if one.event) == ["bad 2", "bad 4"]
    assert {(one.state, one.attempts) for one in dead} == {(State.DEAD, 3)}
    assert {one.answer for one in dead} == {"430104 unsafe content (the moderation refused it)"}


def test_one_event_that_is_refused_as_plain_text_is_given_up(office: Desk, service: Service) -> None:
    service.script = says(DEGRADE)
    office.write("api")
    office.courier(Robot.at(service)).drain()
    assert [sent.plain for sent in service.attempts] == [False, True]
    assert [one.state for one in office.letters(State.WAITING, State.DEAD)] == [State.DEAD]


def test_the_queue_shows_what_waits_before_what_was_given_up(office: Desk, service: Service) -> None:
    service.script = lambda told: PAUSE if told.message.title.startswith("web") else DEGRADE
    office.write("api", "db", channel="hook")
    office.write("web", channel="hook")
    office.courier(Hook.at(service)).drain()
    shown = [named(one.event) for one in office.letters(State.WAITING, State.DEAD, channel="hook") if one.event]
    assert shown == ["web 3", "db 2", "api 1"]


def test_plain_text_is_taken_where_markup_was_not(office: Desk, service: Service) -> None:
    service.script = lambda told: DELIVERED if told.plain else DEGRADE
    written = office.write("api", "web")
    office.courier(Robot.at(service)).drain()
    assert service.messages == [names(written)]


def test_what_a_later_message_hangs_on_is_handed_to_it(office: Desk, service: Service) -> None:
    service.script = lambda told: replace(DELIVERED, thread=f"thread of {told.message.title}")
    courier = office.courier(Hook.at(service))
    office.write("api", "web", "api", channel="hook")
    courier.drain()
    first, web, second = service.attempts
    assert (first.thread, web.thread) == (None, None)
    assert second.thread == f"thread of {first.message.title}"


# --- long outages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Robot, Hook], ids=["merging", "one by one"])
def test_three_hours_of_outage_lose_nothing_and_ask_little(office: Desk, service: Service, kind: type[Robot]) -> None:
    end = START + timedelta(seconds=OUTAGE)
    service.script = lambda told: DELIVERED if told.now >= end else RETRY
    channel = kind.at(service)
    courier, written = office.courier(channel), []
    while office.clock() < end:
        written += office.write("api", f"app{office.number}", channel=channel.title)
        office.run(courier, seconds=300)
    failed = len(service.attempts) - len(service.accepted)
    assert failed < 120
    office.run(courier, seconds=BACKOFF_CAP)
    assert sorted(service.names) == sorted(names(written))
    assert [name for name in service.names if name.startswith("api ")] == [
        named(event) for event in written if event.subject.image == "api"
    ]
    assert office.letters(channel=channel.title) == []
    assert service.accepted[-1].at <= end + timedelta(seconds=BACKOFF_CAP)


def test_after_a_day_one_count_takes_the_place_of_what_is_no_news_any_more(office: Desk, service: Service) -> None:
    service.script = says(replace(RETRY, said="down for maintenance"))
    courier = office.courier(Robot.at(service))
    old = office.write(*(f"app{n}" for n in range(PAGE + 5)))
    courier.drain()
    office.clock.move(DAY - HOUR)
    young = office.write("api")
    office.clock.move(HOUR + 1)
    service.script = says(DELIVERED)
    office.run(courier, seconds=60)
    count = f"{len(old)} events were held back since 2026-11-25 08:00 UTC"
    assert (service.names, office.letters()) == (names(young), [])
    assert sum(f"{sent.message.title} {sent.message.note}".count(count) for sent in service.accepted) == 1
    dead = office.letters(State.DEAD)
    assert [letter.event for letter in reversed(dead)] == old
    assert "down for maintenance" in dead[-1].answer


def test_what_becomes_too_old_later_is_added_to_a_count_that_was_not_told_yet(office: Desk, service: Service) -> None:
    service.script = says(RETRY)
    courier = office.courier(Robot.at(service))
    for name in ("api", "web"):
        office.write(name)
        office.run(courier, seconds=HOUR)
    office.run(courier, seconds=DAY)
    service.script = says(DELIVERED)
    office.run(courier, seconds=BACKOFF_CAP)
    [sent] = service.accepted
    assert sent.message.title.startswith("2 events were held back since 2026-11-25 08:00 UTC")


# --- clocks ----------------------------------------------------------------------------------------------------------


BACK = pytest.mark.parametrize("back", [HOUR / 2, HOUR, DAY], ids=["half an hour", "an hour", "a day"])


@BACK
@pytest.mark.parametrize("kind", [Robot, Slow, Hook], ids=["merging", "with a limit", "one by one"])
def test_a_clock_that_is_set_back_makes_nobody_wait_for_it(
    office: Desk, service: Service, back: float, kind: type[Robot]
) -> None:
    channel = kind.at(service)
    courier = office.courier(channel)
    for n in range(3):
        office.write(f"app{n}", channel=channel.title, joins=0)
        courier.drain()
    office.write("written before", channel=channel.title)
    office.clock.move(-back)
    office.write("written after", channel=channel.title)
    office.run(courier, seconds=61)
    assert service.names[3:] == ["written before 4", "written after 5"]


def test_a_limit_is_kept_across_a_clock_that_is_set_back(office: Desk, service: Service) -> None:
    """The service's clock did not move: the messages of the last minute still count there."""
    courier = office.courier(Slow.at(service))
    for n in range(3):
        office.write(f"app{n}", channel="slow", joins=0)
        courier.drain()
    office.clock.move(-DAY)
    office.write("api", channel="slow")
    assert courier.drain() == pytest.approx(60)
    office.clock.move(59)
    assert courier.drain() == pytest.approx(1)
    office.clock.move(1)
    assert courier.drain() is None


@BACK
def test_a_pause_is_kept_across_a_clock_that_is_set_back_and_lasts_no_longer(
    office: Desk, service: Service, back: float
) -> None:
    service.script = says(PAUSE, DELIVERED)
    courier = office.courier(Robot.at(service))
    office.write("api")
    courier.drain()
    office.clock.move(-back)
    assert courier.drain() == pytest.approx(600)
    office.run(courier, seconds=601)
    assert service.names == ["api 1"]


@BACK
def test_a_retry_is_not_put_off_for_longer_than_an_hour_by_a_clock_that_is_set_back(
    office: Desk, service: Service, back: float
) -> None:
    service.script = says(RETRY, DELIVERED)
    courier = office.courier(Robot.at(service))
    office.write("api")
    courier.drain()
    office.clock.move(-back)
    office.run(courier, seconds=HOUR + BACKOFF_CAP)
    assert service.names == ["api 1"]


def test_quiet_is_by_the_clock_on_the_wall_wherever_it_is_set(office: Desk, service: Service) -> None:
    courier = office.courier(Robot.at(service))
    office.write("api", after=8 * HOUR)
    office.clock.move(-HOUR)
    office.run(courier, seconds=9 * HOUR - 1)
    assert service.names == []
    office.run(courier, seconds=2)
    assert service.names == ["api 1"]


# --- addresses, processes, secrets -----------------------------------------------------------------------------------


def test_channels_with_one_token_share_its_limit(office: Desk, service: Service) -> None:
    couriers = [office.courier(Slow.at(service, name=name)) for name in ("slow", "other")]
    for n in range(6):
        for name in ("slow", "other"):
            office.write(f"app{n}", channel=name, joins=0)
        office.run(*couriers, seconds=1)
    office.run(*couriers, seconds=5 * 60)
    assert len(service.names) == 12
    assert_limit([sent.at.timestamp() for sent in service.attempts], Slow.limit)


def test_what_one_channel_was_told_of_a_token_pauses_the_other(office: Desk, service: Service) -> None:
    service.script = says(PAUSE, DELIVERED)
    first, second = (office.courier(Robot.at(service, name=name)) for name in ("robot", "other"))
    office.write("api")
    office.write("web", channel="other")
    assert (first.drain(), second.drain()) == (600, 600)
    assert len(service.attempts) == 1


def test_channels_with_tokens_of_their_own_share_nothing(office: Desk, service: Service) -> None:
    other = Service()
    service.script = says(PAUSE)
    first, second = office.courier(Robot.at(service)), office.courier(Robot.at(other, "own", name="other"))
    office.write("api")
    office.write("web", channel="other")
    assert (first.drain(), second.drain()) == (600, None)
    assert other.names == ["web 2"]


def test_a_secret_that_cannot_be_read_is_the_trouble_of_one_channel(office: Desk, service: Service) -> None:
    broken = Robot.at(service, SecretError("secret env:HOOK is not set"), name="broken")
    office.write("api", channel="broken")
    office.write("api")
    assert office.courier(broken).drain() == MENDING
    assert office.courier(Robot.at(service)).drain() is None
    [letter] = office.letters(channel="broken")
    assert letter.answer == "secret env:HOOK is not set (a secret of this channel cannot be read)"
    assert office.courier(Robot.at(service, name="broken")).drain() is None  # mended: its address is another
    assert len(service.names) == 2


def test_several_processes_that_drain_one_channel_send_each_letter_once(office: Desk, service: Service) -> None:
    office.write(*(f"app{n}" for n in range(100)), channel="hook")
    together = threading.Barrier(4)

    def drain() -> None:
        with desk(office.folder, office.clock) as own:
            courier = own.courier(Hook.at(service))
            together.wait(10)
            while courier.drain() is not None:
                continue

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(service.names) == Counter(f"app{n} {n + 1}" for n in range(100))
    assert len(service.attempts) == 100


def test_who_comes_while_another_is_at_work_comes_back_soon(office: Desk, service: Service) -> None:
    """Also for what becomes too old meanwhile: only who is at work counts it."""
    said: list[float | None] = []
    other = office.courier(Robot.at(Service()))
    office.write("api")

    def meanwhile(told: Delivery) -> Reply:
        office.clock.move(DAY + 1)
        said.append(other.drain())
        return DELIVERED

    service.script = meanwhile
    office.courier(Robot.at(service)).drain()
    assert said == [pytest.approx(0.2)]
    assert (office.letters(State.WAITING, State.DEAD), service.names) == ([], ["api 1"])


def test_a_letter_on_its_way_to_an_old_address_is_not_sent_to_the_new_one(office: Desk, service: Service) -> None:
    """A new configuration begins while an attempt of the old one is under way."""
    new = office.courier(Robot.at(service, "another"))
    office.write("api")
    said: list[float | None] = []

    def meanwhile(_: Delivery) -> Reply:
        said.append(new.drain())
        return DELIVERED

    service.script = meanwhile
    office.courier(Robot.at(service)).drain()
    assert said == [pytest.approx(0.2)]
    assert service.names == ["api 1"]


def test_no_attempt_begins_after_a_stop(office: Desk, service: Service) -> None:
    office.write("api", "web", "db", channel="hook")
    assert office.courier(Hook.at(service)).drain(lambda: len(service.attempts) == 2) == 0.0
    assert len(service.attempts) == 2
    assert len(office.letters(channel="hook")) == 1


def test_the_state_holds_no_address(office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "0123456789abcdef-token-of-the-test"
    with MessageSink(secrets={token: "SECof-the-test"}) as sink:
        channel = dingtalk(sink, monkeypatch, token, secret="env:NOT_SO")
        monkeypatch.setenv("NOT_SO", "SECanother-secret")
        sink.clock = START.timestamp
        office.write("api", channel="dingtalk")
        office.courier(channel).drain()
    [letter] = office.letters(channel="dingtalk")
    assert "sign not match" in letter.answer
    files = b"".join(file.read_bytes() for file in office.folder.rglob("*") if file.is_file())
    assert b"sign not match" in files
    assert token.encode() not in files
    assert b"SECanother" not in files


# --- five thousand ---------------------------------------------------------------------------------------------------


def dingtalk(sink: MessageSink, monkeypatch: pytest.MonkeyPatch, token: str = "robot", **fields: str) -> DingTalk:
    monkeypatch.setenv("HOOK", f"{sink.url}/robot/send?access_token={token}")
    return DingTalk.model_validate({"url": "env:HOOK"} | fields)


def assert_limit(times: list[float], limit: Limit | None) -> None:
    """No more than the limit in any window."""
    assert limit is not None
    for first, last in zip(times, times[limit.count :], strict=False):
        assert last - first >= limit.seconds - 0.001


def test_five_thousand_events_in_a_minute_arrive_once_each_within_the_limits_of_the_robot(
    office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Event] = []
    with MessageSink(clock=lambda: office.clock().timestamp()) as sink:
        courier = office.courier(dingtalk(sink, monkeypatch))
        start, worked = time.perf_counter(), time.process_time()
        for _ in range(60):
            count = len(written)
            written += office.write(
                *(f"app-{n % 700}" for n in range(count, min(count + 84, 5000))), channel="dingtalk"
            )
            office.run(courier, seconds=1)
        office.run(courier, seconds=HOUR)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        took = (sink.messages[-1].at - START.timestamp()) / 60
        arrivals, messages = len(sink.arrivals), sink.messages
        lines = [line.removeprefix("- ") for text in sink.texts for line in text.splitlines()]
    print(f"{seconds:.1f} s, {worked:.1f} s of CPU, {len(messages)} messages in {took:.1f} minutes")
    assert len(written) == 5000
    assert arrivals == len(messages)  # nothing was ever refused
    assert_limit([message.at for message in messages], Limit(20, 60.0))
    heads = [line for line in lines if line.startswith("app-")]
    assert Counter(heads) == Counter(f"{event.subject.image} updated: 0 -> {event.new}" for event in written)
    told: dict[str, int] = {}
    for head in heads:
        name, new = head.split()[0], int(head.rsplit(" ", 1)[1])
        assert told.get(name, 0) < new
        told[name] = new
    assert len(messages) < 5000 / 30
    assert office.letters(channel="dingtalk") == []
    assert worked < 20  # seconds of CPU, the sink included; three are usual


# --- the rules alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "notifier", "expected"),
    [
        pytest.param(Lane(), Slow(), 0.0, id="nothing was sent"),
        pytest.param(Lane(0, None, (-10.0,)), Slow(), 0.0, id="within the limit"),
        pytest.param(Lane(0, None, (-50.0, -20.0, -10.0)), Slow(), 10.0, id="limit reached"),
        pytest.param(Lane(0, None, (-60.0, -20.0, -10.0)), Slow(), 0.0, id="a minute ago counts no more"),
        pytest.param(Lane(1, START + timedelta(seconds=7), (-1.0,)), Robot(), 7.0, id="paused"),
        pytest.param(Lane(1, START - timedelta(seconds=7), (-9.0,)), Robot(), 0.0, id="was paused"),
    ],
)
def test_pause(lane: Lane, notifier: Notifier, expected: float) -> None:
    at = START.timestamp()
    known = replace(lane, sent=tuple(at + ago for ago in lane.sent))
    assert pause((), known, notifier, START) == pytest.approx(expected)


def test_a_lane_of_the_past_is_left_as_it_is() -> None:
    lane = Lane(1, START + timedelta(hours=1), (START.timestamp(),))
    assert rebased(lane, START) is lane


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.PAUSE])
def test_no_service_keeps_us_away_for_longer_than_an_hour(verdict: Verdict) -> None:
    _, lane = outcome((), Reply(verdict, after=1e9), Lane(), Robot(), START)
    assert lane.paused_until == START + timedelta(seconds=LONGEST_PAUSE)


# --- anything at all -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.storm
@pytest.mark.parametrize("kind", [Robot, Hook, Slow], ids=["merging", "one by one", "with a limit"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_nothing_is_lost_overtaken_or_sent_twice_without_need(
    tmp_path: Path, seed: int, kind: type[Robot]
) -> None:
    """Answers, kills, waits, and clocks that jump, from a seed; afterwards the service is well for a while."""
    chance, clock, service = random.Random(seed), Clock(), Service()
    written: list[Event] = []
    cut: Counter[str] = Counter()
    bad = {f"app{n}" for n in range(7) if chance.random() < 0.15}
    well = [False]

    def script(told: Delivery) -> Reply:
        about = {entry.event.subject.image for entry in told.message.entries}
        if about & bad and chance.random() < 0.7:
            return DEGRADE
        return DELIVERED if well[0] else chance.choice([DELIVERED] * 6 + [RETRY, RETRY, PAUSE, PERMANENT])

    def kill(told: Delivery) -> Reply:
        reply = script(told)
        if reply is DELIVERED and not well[0] and chance.random() < 0.1:
            service.attempts.append(Sent(told.now, told.message, told.plain, told.thread, reply))
            cut.update(service.attempts[-1].names)
            raise Killed
        return reply

    service.script = kill
    with desk(tmp_path, clock) as office:
        channel = kind.at(service)
        for _ in range(40):
            subjects = [f"app{chance.randrange(7)}" for _ in range(chance.choice([0, 1, 1, 2, 5, 30]))]
            after = chance.choice([0.0, 0.0, 0.0, 300.0])
            written += office.write(*subjects, channel=channel.title, after=after, joins=chance.choice([0, 30]))
            with suppress(Killed):
                office.run(office.courier(channel), seconds=chance.choice([0.0, 1.0, 20.0, 700.0]))
            clock.move(chance.choice([0.0, 0.0, 0.0, 0.0, -40.0, -HOUR]))
        well[0] = True
        office.run(office.courier(channel), seconds=14 * HOUR)
        dead = [named(letter.event) for letter in office.letters(State.DEAD, channel=channel.title) if letter.event]
        assert office.letters(channel=channel.title) == []
    assert set(service.names) | set(dead) == set(names(written))
    assert not set(dead) - {name for name in names(written) if name.split()[0] in bad}
    twice = Counter(service.names) - Counter(set(service.names))
    assert twice - cut == Counter()
    for subject in {event.subject.image for event in written}:
        told = [int(name.split()[1]) for name in dict.fromkeys(service.names) if name.split()[0] == subject]
        assert told == sorted(told)
