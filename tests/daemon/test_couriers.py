"""The couriers of a configuration: a thread for each channel, woken by what is written, stopped in time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.lab.path import Daemon, WholePath, manifest
from updater.config.load import load
from updater.config.settings import Settings
from updater.daemon.couriers import Couriers, couriers, deliver, templates
from updater.daemon.remember import open_state
from updater.demo.sink import Arrived, Fault, Hang, MessageSink, Received, say
from updater.errors import StoreError
from updater.messages.events import entry
from updater.model.event import Event, Kind, Subject
from updater.model.limits import USUAL, Limits
from updater.store.journal import Journal, Post, Writing
from updater.store.outbox import Letter, Outbox, State

PATIENCE = 20.0  # seconds for one thing to happen; it takes less than two
DRAIN = 20.0  # seconds from SIGTERM to the end
HASTY = Limits(message=2.0)
AT_ONCE = 5.0  # seconds, on a machine that others use too
NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


@dataclass
class Held:
    """A service that keeps its answers to one path back until it is let go."""

    path: str
    begun: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)

    def __call__(self, arrived: Arrived) -> Fault | None:
        if arrived.path == self.path:
            self.begun.set()
            self.free.wait(PATIENCE)
        return None


@dataclass
class House:
    """A configuration with channels, its state, and the service that they speak to."""

    folder: Path
    sink: MessageSink
    number: int = 0

    def configure(self, *channels: Mapping[str, Any]) -> Settings:
        """Read a configuration with these channels."""
        config = self.folder / "updater.yaml"
        settings = {"data": str(self.folder / "data"), "repositories": [], "images": []}
        config.write_text(json.dumps(settings | {"notifications": {"channels": list(channels)}}))
        return load(config)

    def hook(self, name: str, **more: Any) -> dict[str, Any]:
        """Return a channel of that name, which sends to a path of that name."""
        return {"kind": "webhook", "name": name, "url": f"{self.sink.url}/hook/{name}"} | more

    @contextmanager
    def running(self, settings: Settings) -> Iterator[tuple[Couriers, Journal, Outbox]]:
        """Run the couriers, with a journal that wakes them."""
        with closing(open_state(settings)) as database:
            made = Couriers(settings, database)
            try:
                yield made, Journal(database, made.wake), Outbox(database)
            finally:
                made.close()

    def left(self, settings: Settings) -> list[Letter]:
        """Return what waits or was given up."""
        with closing(open_state(settings)) as database:
            return Outbox(database).queue(None, 100)

    def write(self, journal: Journal, *channels: str) -> Event:
        """Write one event for channels."""
        self.number += 1
        now = datetime.now(UTC)
        event = Event(Kind.IMAGE_UPDATED, now, Subject(image=f"app{self.number}"), old="0", new=str(self.number))
        posts = [Post(channel, event.id, event.subject.key, now, 30) for channel in channels]
        journal.write(lambda _: Writing(events=[event], posts=posts), now, (), ())
        return event


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with MessageSink() as sink:
        yield House(tmp_path, sink)


@contextmanager
def logged(event: str) -> Iterator[threading.Event]:
    """Yield what is set as soon as this event is logged."""
    found, before = threading.Event(), structlog.get_config()["processors"]

    def watch(_logger: object, _level: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if told["event"] == event:
            found.set()
        raise structlog.DropEvent

    structlog.configure(processors=[watch])
    try:
        yield found
    finally:
        structlog.configure(processors=before)


def hooks(messages: list[Received]) -> list[tuple[str, str]]:
    """Return the path and the id of each event."""
    return [(message.path, message.body["id"]) for message in messages]


# --- threads ---------------------------------------------------------------------------------------------------------


def test_what_is_written_is_told_at_once(house: House) -> None:
    with house.running(house.configure(house.hook("a"), house.hook("b"))) as (_, journal, _outbox):
        event = house.write(journal, "a", "b")
        messages = house.sink.wait(2, PATIENCE)
    assert sorted(hooks(messages)) == [("/hook/a", event.id), ("/hook/b", event.id)]


def test_what_another_process_wrote_is_found(house: House) -> None:
    settings = house.configure(house.hook("a"))
    with house.running(settings), closing(open_state(settings)) as other:
        event = house.write(Journal(other), "a")
        assert hooks(house.sink.wait(1, PATIENCE)) == [("/hook/a", event.id)]


def test_a_channel_that_hangs_delays_no_other(house: House) -> None:
    house.sink.script = slow = Held("/hook/slow")
    with house.running(house.configure(house.hook("slow"), house.hook("quick"))) as (_, journal, _outbox):
        for _ in range(3):
            house.write(journal, "slow", "quick")
        assert slow.begun.wait(PATIENCE)
        assert [path for path, _ in hooks(house.sink.wait(3, PATIENCE))] == 3 * ["/hook/quick"]
        slow.free.set()
        assert [path for path, _ in hooks(house.sink.wait(6, PATIENCE))][3:] == 3 * ["/hook/slow"]


def test_closing_lets_the_attempt_that_is_under_way_end_and_begins_no_other(house: House) -> None:
    house.sink.script = slow = Held("/hook/slow")
    settings = house.configure(house.hook("slow"))
    with closing(open_state(settings)) as database:
        made = Couriers(settings, database)
        for _ in range(2):
            house.write(Journal(database, made.wake), "slow")
        assert slow.begun.wait(PATIENCE)
        made.stop()
        threading.Thread(target=slow.free.set).start()
        made.close()
        figures = Outbox(database).figures(["slow"])["slow"].states
    assert figures == {State.SENT: 1, State.WAITING: 1}
    assert len(house.sink.messages) == 1


def test_closing_waits_for_no_pause(house: House) -> None:
    house.sink.script = lambda _: say({}, 401)
    settings = house.configure(house.hook("a"))
    with logged("not_told") as refused, closing(open_state(settings)) as database:
        made = Couriers(settings, database)
        house.write(Journal(database, made.wake), "a")
        assert refused.wait(PATIENCE)
        start = time.monotonic()
        made.close()
        assert time.monotonic() - start < AT_ONCE
    assert [letter.attempts for letter in house.left(settings)] == [1]


def test_a_folder_that_takes_no_locks_is_tried_again(house: House) -> None:
    settings = house.configure(house.hook("a"))
    settings.data.mkdir()
    lanes = settings.data / "lanes"
    lanes.write_text("in the way")
    with logged("not_told") as failed, house.running(settings) as (made, journal, _):
        event = house.write(journal, "a")
        assert failed.wait(PATIENCE)
        lanes.unlink()
        made.wake()
        assert hooks(house.sink.wait(1, PATIENCE)) == [("/hook/a", event.id)]
    assert house.left(settings) == []


def test_a_new_configuration_takes_over_what_waits_while_the_old_one_ends(house: House) -> None:
    """The letter that is under way is not sent to the new address too; those behind it go there."""
    house.sink.script = slow = Held("/hook/old")
    old = house.configure(house.hook("a", url=f"{house.sink.url}/hook/old"))
    new = house.configure(house.hook("a"))
    with house.running(old) as (before, journal, _):
        events = [house.write(journal, "a") for _ in range(3)]
        assert slow.begun.wait(PATIENCE)
        with house.running(new):
            before.stop()
            slow.free.set()
            messages = house.sink.wait(3, PATIENCE)
    assert house.left(new) == []
    assert hooks(messages) == [("/hook/old", events[0].id), *(("/hook/a", event.id) for event in events[1:])]
    assert len(house.sink.arrivals) == 3


def test_a_state_that_fails_while_once_sends_is_raised(house: House) -> None:
    settings = house.configure(house.hook("a"))
    with closing(open_state(settings)) as database, couriers(settings, database) as made:
        house.write(Journal(database), "a")
        (settings.data / "lanes").write_text("in the way")
        with pytest.raises(StoreError, match="takes no locks"):
            deliver(made, Limits(messages=PATIENCE))


# --- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, None),
        ({"scan_failed": "S"}, None),
        ({"*": "every"}, "every"),
        ({"*": "every", "image_*": "image"}, "image"),
        ({"image_*": "image", "image_updated": "exact", "*": "every"}, "exact"),
        ({"image_updated*": "longer", "image_updated": "exact"}, "exact"),
        ({"*_updated": "short", "image_upd*": "longest", "image_*": "shorter"}, "longest"),
    ],
    ids=["none", "of another kind", "of all", "a family", "the kind itself", "the kind before a glob", "the longest"],
)
def test_the_template_that_means_a_kind_most_closely_counts(texts: dict[str, str], expected: str | None) -> None:
    event = Event(Kind.IMAGE_UPDATED, NOW, Subject(image="api"), old="1", new="2")
    assert entry(event, "en", templates(texts).get(event.kind)).markup == expected


def test_a_template_words_what_is_sent_and_data_has_none(house: House) -> None:
    hook = house.folder / "robot"
    hook.write_text(f"{house.sink.url}/robot/send?access_token=robot")
    robot = {"kind": "dingtalk", "url": f"file:{hook}", "templates": {"image_*": "{{ image }} is {{ new }} now"}}
    with house.running(house.configure(robot)) as (_, journal, _outbox):
        house.write(journal, "dingtalk")
        house.sink.wait(1, PATIENCE)
    assert "app1 is 1 now" in house.sink.texts[0]


# --- the daemon ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        opened.create("fleet", {"api.yaml": manifest(opened.image("acme/api"), "1.0.0")})
        yield opened


def _configure(path: WholePath, *channels: Mapping[str, Any]) -> None:
    image = path.entry("acme/api", range="1.x", poll={"interval": "1s", "jitter": "0s"})
    path.configure([image], notifications={"channels": list(channels)})


def test_sigterm_while_a_service_hangs_ends_in_time_with_the_message_in_the_queue(
    path: WholePath, house: House
) -> None:
    arrived = threading.Event()

    def script(_: Arrived) -> Fault:
        arrived.set()
        return Hang()

    house.sink.script = script
    _configure(path, house.hook("a"))
    path.limits = HASTY
    with Daemon(path) as daemon:
        daemon.wait("decided")
        path.push("acme/api", "1.1.0")
        assert arrived.wait(PATIENCE)
        start = time.monotonic()
        daemon.ask()
        assert daemon.end(seconds=2 * DRAIN) == 0
        assert time.monotonic() - start < DRAIN - (USUAL.message - HASTY.message)
    assert daemon.wait("stopped")["drained"] is True
    [letter] = path.run("notify", "queue", "--json").json["messages"]
    assert (letter["state"], letter["attempts"]) == ("waiting", 1)
    assert "no answer in time" in letter["answer"]
    house.sink.script, path.limits = None, USUAL
    assert path.run("notify", "test", "a").code == 0
    with Daemon(path) as again:
        again.wait("told")
        again.ask()
        assert again.end() == 0
    assert [message.body["type"] for message in house.sink.messages] == ["updater.test", "updater.image_updated"]


def test_a_channel_that_changes_is_taken_up_and_each_commit_is_told_once(path: WholePath, house: House) -> None:
    _configure(path, house.hook("a"))
    with Daemon(path) as daemon:
        daemon.wait("decided")
        path.push("acme/api", "1.1.0")
        house.sink.wait(1, PATIENCE)
        _configure(path, house.hook("b"))
        daemon.wait("config_loaded")
        path.push("acme/api", "1.2.0")
        house.sink.wait(2, PATIENCE)
        daemon.ask()
        assert daemon.end() == 0
    told = [(message.path, message.body["data"]["new"]) for message in house.sink.messages]
    assert told == [("/hook/a", "1.1.0"), ("/hook/b", "1.2.0")]
    assert [event["channel"] for event in daemon.events if event["event"] == "told"] == ["a", "b"]
