"""kill -9 while messages are sent: every event arrives, and only the message that was under way may come twice.

A third of the kills come at moments spread over a whole run, from a seed. A third come exactly between the moment in
which the service took a message and the one in which we know that; a third while it reads a message that it loses.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.lab.desk import Clock, Desk, desk
from tests.lab.git import CLEAN
from tests.storm.runner import Runner, kill
from updater.demo.sink import Arrived, Cut, Fault, MessageSink, Received, shown

pytestmark = pytest.mark.storm

FULL = os.environ.get("UPDATER_STORM") == "full"
KILLS = 300 if FULL else 15
SEED = 20250101
AGAIN = 3  # kills at most, before a run is let to its end
EVENTS = 12  # written before each round, for each of two channels
SUBJECTS = 5
ROUND = 5_000.0  # seconds by the clock of the messages between two runs
PATIENCE = 20.0  # seconds for a process to be gone
MOMENTS = ("anywhere", "taken", "lost")

Numbers = frozenset[int]


class Storm:
    """Writes, kills, and looks at what arrived and at what the state knows, until there were enough kills."""

    def __init__(self, folder: Path, office: Desk, sink: MessageSink, runner: Runner) -> None:
        self.office, self.sink, self.runner = office, sink, runner
        self.config, self.pid = folder / "updater.yaml", folder / "pid"
        self.random = random.Random(SEED)
        self.kills: Counter[str] = Counter()
        self.written: list[int] = []
        self.twice: Counter[tuple[str, int]] = Counter()  # how often a message was under way at a kill
        self.fault, self.service, self.left = "", "", 0  # the kill of this run: arrivals of a service until it
        self.length = 0.0
        sink.script = self.script

    def script(self, arrived: Arrived) -> Fault | None:
        """Kill the sender while it waits for the answer to this message, where it is the one."""
        if not self.service or arrived.service != self.service:
            return None
        self.left -= 1
        if self.left != 0:
            return None
        assert kill(int(self.pid.read_text()), PATIENCE)
        return None if self.fault == "taken" else Cut()

    def blow(self) -> None:
        self.write()
        self.length = self.run()
        while self.kills.total() < KILLS:
            self.write()
            for _ in range(self.random.randint(1, AGAIN)):
                self.kill(self.random.choice(MOMENTS))
            self.length = (self.length + min(self.run(), 2.0)) / 2
            self.assert_everything_arrived()

    def write(self) -> None:
        """Write events for both channels, two or three about each subject."""
        for _ in range(EVENTS):
            event = self.office.event(f"app{len(self.written) % SUBJECTS}")
            self.office.post([("webhook", event), ("dingtalk", event)])
            self.written.append(int(event.new or ""))

    def run(self) -> float:
        """Let a run come to its end."""
        ran = self.runner.drain(self.config, self.next(), self.pid)
        assert ran.code == 0, ran.out
        return ran.seconds

    def next(self) -> float:
        self.office.clock.move(ROUND)
        return self.office.clock().timestamp()

    def kill(self, moment: str) -> None:
        """Kill a run; note what was under way, which is one message of one channel at most."""
        self.service = "" if moment == "anywhere" else self.random.choice(("webhook", "dingtalk"))
        self.fault, self.left = moment, self.random.randint(1, EVENTS) if self.service == "webhook" else 1
        after = self.random.random() * self.length if moment == "anywhere" else None
        before = len(self.sink.messages)
        ran = self.runner.drain(self.config, self.next(), self.pid, kill_after=after)
        self.service = ""
        assert ran.code in {0, -signal.SIGKILL}, ran.out
        if ran.code == 0:
            return
        self.kills[moment] += 1
        self.settle()
        under_way = self.under_way(before)
        assert len(under_way) <= 1, under_way
        if moment == "taken":
            assert len(under_way) == 1
        elif moment == "lost":
            assert under_way == []
        for channel, numbers in under_way:
            self.twice.update((channel, number) for number in numbers)

    def settle(self) -> None:
        """Wait until the service has seen all that the killed process sent: connections are taken in their order."""
        with closing(HTTPConnection(self.sink.host, timeout=PATIENCE)) as last:
            last.request("GET", "/nothing")
            last.getresponse().read()
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join(PATIENCE)

    def under_way(self, before: int) -> list[tuple[str, Numbers]]:
        """Return the messages that the service took in this run, and of which the state does not know that."""
        known = self.acknowledged()
        taken = [(message.service, numbers(message)) for message in self.sink.messages[before:]]
        mixed = [(channel, told) for channel, told in taken if told & known[channel] and told - known[channel]]
        assert mixed == [], "a message was acknowledged in half"
        return [(channel, told) for channel, told in taken if not told & known[channel]]

    def acknowledged(self) -> dict[str, Numbers]:
        query = "SELECT o.channel, e.document FROM outbox o JOIN events e ON e.id = o.event WHERE o.state = 'sent'"
        with closing(sqlite3.connect(self.office.folder / "state.db")) as state:
            assert state.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = state.execute(query).fetchall()
        return {
            channel: frozenset(int(json.loads(document)["new"]) for name, document in rows if name == channel)
            for channel in ("webhook", "dingtalk")
        }

    def assert_everything_arrived(self) -> None:
        """Each event came once, and once more for each kill while it was under way; the order is kept."""
        for channel in ("webhook", "dingtalk"):
            came = [number for m in self.sink.messages if m.service == channel for number in sorted(numbers(m))]
            assert Counter(came) == Counter({number: 1 + self.twice[channel, number] for number in self.written}), (
                channel
            )
            for subject in range(SUBJECTS):
                about = [number for number in dict.fromkeys(came) if number % SUBJECTS == subject]
                assert about == sorted(about)


def numbers(message: Received) -> Numbers:
    """Return what a message tells: the new value of each event."""
    if message.service == "webhook":
        return frozenset({int(message.body["data"]["new"])})
    return frozenset(map(int, re.findall(r"app\d updated: 0 -> (\d+)", shown(message))))


@pytest.fixture
def sink() -> Iterator[MessageSink]:
    with MessageSink(limits={"dingtalk": ()}) as opened:
        yield opened


def test_killed_anywhere_every_event_arrives_and_only_what_was_under_way_comes_twice(
    tmp_path: Path, sink: MessageSink
) -> None:
    data, hook = tmp_path / "data", tmp_path / "hook"
    hook.write_text(f"{sink.url}/robot/send?access_token=robot")
    channels = [{"kind": "webhook", "url": f"{sink.url}/hook/a"}, {"kind": "dingtalk", "url": f"file:{hook}"}]
    settings = {"data": str(data), "repositories": [], "images": [], "notifications": {"channels": channels}}
    (tmp_path / "updater.yaml").write_text(json.dumps(settings))
    environment = {"PATH": CLEAN["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    with desk(data, Clock()) as office, Runner(tmp_path, environment) as runner:
        storm = Storm(tmp_path, office, sink, runner)
        storm.blow()
        assert office.letters(channel="webhook") == office.letters(channel="dingtalk") == []
    print(dict(storm.kills), f"{len(storm.written)} events, {storm.twice.total()} came twice")
    assert set(storm.kills) == set(MOMENTS)
    assert {channel for channel, _ in storm.twice} == {"webhook", "dingtalk"}
