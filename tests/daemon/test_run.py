"""`updater run` as a process: it polls, commits, takes up a new configuration, and stops when it is told to."""

from __future__ import annotations

import json
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.path import ROOT, WholePath, commits, head, manifest
from tests.lab.scripted import Scripted, reply
from updater.config.load import load
from updater.daemon.remember import open_state
from updater.demo.sink import MessageSink
from updater.store.holds import Holds

PATIENCE = 30.0  # seconds for one event; they take one to three
QUICK = {"poll": {"interval": "1s", "jitter": "0s"}}


class Running:
    """The daemon, and its log lines as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.events.put(json.loads(line))

    def wait(self, event: str, **fields: object) -> dict[str, Any]:
        """Return the next event of this name with these fields."""
        while True:
            try:
                found = self.events.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no {event} {fields}; seen: {self.seen}") from None
            self.seen.append(found)
            if found["event"] == event and fields.items() <= found.items():
                return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def running(path: WholePath) -> Iterator[Running]:
    with watching(path.start("run")) as daemon:
        yield daemon


@contextmanager
def watching(process: subprocess.Popen[str]) -> Iterator[Running]:
    daemon = Running(process)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait(PATIENCE)
        daemon.reader.join(PATIENCE)
        for stream in (daemon.process.stdout, daemon.process.stderr):
            assert stream
            stream.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        opened.create("fleet", {"api.yaml": manifest(opened.image("acme/api"), "1.0.0")})
        opened.configure([opened.entry("acme/api", range="1.x", **QUICK)])
        yield opened


def test_a_pushed_tag_is_committed_and_a_restart_says_nothing_twice(path: WholePath) -> None:
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        assert path.run("health").code == 0
        path.push("acme/api", "1.1.0")
        told = daemon.wait("committed", repository="fleet")
        assert told["changes"] == [f"{path.image('acme/api')} 1.0.0 -> 1.1.0 in api.yaml:11"]
        assert path.run("check", "--json").json["images"][0]["outcome"] == "up_to_date"
        daemon.wait("decided", outcome="up_to_date")
        assert daemon.stop() == 0
    assert path.run("health").code == 1
    with running(path) as daemon:
        daemon.wait("started")
        path.push("acme/api", "1.2.0")
        daemon.wait("committed")
        assert daemon.stop(signal.SIGINT) == 0
    assert [event["event"] for event in daemon.seen if event.get("outcome") == "up_to_date"] == []


def test_a_second_run_on_the_same_data_is_refused(path: WholePath) -> None:
    with running(path) as daemon:
        daemon.wait("started")
        second = path.run("run")
        assert (second.code, "another `updater run`" in second.err) == (2, True)
        assert daemon.process.poll() is None


def test_a_new_configuration_is_taken_up_and_a_broken_one_changes_nothing(path: WholePath) -> None:
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        good = path.config.read_text()
        path.config.write_text(good.replace('"1.x"', '">> 1"'))
        [problem] = daemon.wait("config_rejected")["problems"]
        assert str(path.config) in problem
        path.push("acme/api", "1.1.0")
        daemon.wait("committed")
        path.config.write_text(good.replace('"1.x"', '"2.x"'))
        daemon.wait("config_loaded")
        path.push("acme/api", "2.0.0")
        daemon.wait("committed")
        assert [event["event"] for event in daemon.seen].count("config_rejected") == 1
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait("config_loaded")
        assert daemon.stop() == 0


def test_another_address_to_listen_on_needs_a_restart(path: WholePath) -> None:
    """Who needs no login hangs on it: a file that says loopback must not open what others reach."""
    path.variables["UPDATER_LISTEN"] = ""
    images = [path.entry("acme/api", range="1.x", **QUICK)]
    path.configure(images, web={"listen": "127.0.0.1:0"})
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        path.configure(images, web={"listen": "[::1]:0"})
        [problem] = daemon.wait("config_rejected")["problems"]
        assert "web.listen" in problem
        assert "a restart" in problem
        path.configure(images, web={"listen": "127.0.0.1:0", "public_url": "http://updater.example.com"})
        daemon.wait("config_loaded")
        assert daemon.stop() == 0


def test_a_registry_that_fails_is_said_once_and_its_recovery_too(path: WholePath) -> None:
    bare = path.create("second", {"down.yaml": manifest("127.0.0.1:1/acme/down", "1.0.0")})
    before = head(bare)
    down = {"image": "127.0.0.1:1/acme/down", "name": "down"} | QUICK
    path.configure([path.entry("acme/api", range="1.x", **QUICK), down], ["fleet", "second"])
    with running(path) as daemon:
        daemon.wait("decided", image="down", outcome="failed")
        path.push("acme/api", "1.1.0")
        daemon.wait("committed", repository="fleet")
        assert daemon.stop() == 0
        assert len([e for e in daemon.seen if e["event"] == "decided" and e["image"] == "down"]) == 1
    assert commits(bare, before) == []


def test_a_registry_that_wants_to_be_left_alone_is_so_under_a_new_configuration_too(path: WholePath) -> None:
    with Scripted(lambda _: reply(429, {}, ("Retry-After", "3600"))) as server:
        images = [f"{server.host}/acme/one", f"{server.host}/acme/two"]
        path.create("second", {f"{n}.yaml": manifest(image, "1.0.0") for n, image in enumerate(images)})
        entries = [{"image": image} | QUICK for image in images]
        registries = [{"host": server.host, "insecure": True}]
        path.configure(entries[:1], ["second"], registries=registries)
        with running(path) as daemon:
            daemon.wait("decided", image=images[0], outcome="failed")
            path.configure(entries, ["second"], registries=registries)
            daemon.wait("decided", image=images[1], outcome="failed")
            assert daemon.stop() == 0
        assert len(server.requests) == 1


def test_a_repository_that_fails_is_said_once_though_no_image_fails(path: WholePath) -> None:
    """What every repository may mention is up to date in one; that another cannot be read must not stay unsaid."""
    path.configure([path.entry("acme/api", range="1.x", **QUICK)], ["fleet", "gone"])
    with running(path) as daemon:
        assert "gone" in daemon.wait("failed")["error"]
        path.push("acme/api", "1.1.0")
        daemon.wait("committed")
        path.create("gone", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
        daemon.wait("committed", repository="gone")
        assert daemon.stop() == 0
    assert [event["event"] for event in daemon.seen].count("failed") == 1


@pytest.mark.parametrize("spoil", ["gone", "state"])
def test_polling_goes_on_whatever_a_new_configuration_lacks(path: WholePath, spoil: str) -> None:
    """Also where the file was found in a usual place and is away, or names a secret that is not there."""
    home = path.folder / "home"
    (home / "updater").mkdir(parents=True)
    config = home / "updater" / "updater.yaml"
    config.write_text(path.config.read_text())
    command = [sys.executable, "-m", "updater", "run"]
    variables = path.environment() | {"XDG_CONFIG_HOME": str(home), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=path.folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with watching(process) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        if spoil == "gone":
            config.unlink()
        else:
            config.write_text(json.dumps(json.loads(path.config.read_text()) | {"state": "env:NO_SUCH_VARIABLE"}))
        daemon.wait("config_rejected")
        path.push("acme/api", "1.1.0")
        daemon.wait("committed")
        config.write_text(path.config.read_text())
        daemon.wait("config_loaded")
        assert daemon.stop() == 0
    assert [event["event"] for event in daemon.seen].count("config_rejected") == 1


def test_what_people_say_is_seen_within_a_tick(path: WholePath) -> None:
    path.configure([path.entry("acme/api", range="1.x", poll={"interval": "1h"})])
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        assert path.run("hold", "api", "--reason", "a busy day").code == 0
        daemon.wait("decided", outcome="held", reason="held")
        path.push("acme/api", "1.1.0")
        assert path.run("resume", "api").code == 0
        daemon.wait("committed")
        assert daemon.stop() == 0


@pytest.fixture
def sink() -> Iterator[MessageSink]:
    with MessageSink() as opened:
        yield opened


def notifications(sink: MessageSink, *others: dict[str, Any]) -> dict[str, Any]:
    """Return a section by which a program, and others, are told everything, at once."""
    channels = [{"name": "program", "kind": "webhook", "url": f"{sink.url}/hook"}, *others]
    return {"channels": channels, "routes": [{"channels": [one["name"] for one in channels], "group": "0s"}]}


def kinds(sink: MessageSink) -> list[str]:
    return [str(message.body["type"]).removeprefix("updater.") for message in sink.messages]


def test_a_pushed_tag_is_one_message_in_each_channel_and_a_restart_none(path: WholePath, sink: MessageSink) -> None:
    group = {"name": "group", "kind": "dingtalk", "token": "env:LAB_REGISTRY_PASSWORD", "base_url": sink.url}
    path.configure([path.entry("acme/api", range="1.x", **QUICK)], notifications=notifications(sink, group))
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        path.push("acme/api", "1.1.0")
        sink.wait(2, PATIENCE)
        assert daemon.stop() == 0
    with running(path) as daemon:
        daemon.wait("started")
        path.push("acme/api", "1.2.0")
        sink.wait(4, PATIENCE)
        assert daemon.stop() == 0
    assert len(sink.messages) == 4
    told = [message.body["data"] for message in sink.messages if message.service == "webhook"]
    assert [(data["kind"], data["old"], data["new"]) for data in told] == [
        ("image_updated", "1.0.0", "1.1.0"),
        ("image_updated", "1.1.0", "1.2.0"),
    ]
    read = [text for text, one in zip(sink.texts, sink.messages, strict=True) if one.service == "dingtalk"]
    assert ["1.2.0" in text for text in read] == [False, True]


def test_a_broken_configuration_is_one_message_and_a_mended_one_none(path: WholePath, sink: MessageSink) -> None:
    path.configure([path.entry("acme/api", range="1.x", **QUICK)], notifications=notifications(sink))
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        good = path.config.read_text()
        path.config.write_text(good.replace('"1.x"', '">> 1"'))
        daemon.wait("config_rejected")
        assert [str(path.config) in message.body["data"]["why"] for message in sink.wait(1, PATIENCE)] == [True]
        path.config.write_text(good)
        daemon.wait("config_loaded")
        path.push("acme/api", "1.1.0")
        sink.wait(2, PATIENCE)
        assert daemon.stop() == 0
    assert kinds(sink) == ["config_rejected", "image_updated"]


def test_a_registry_that_goes_down_and_comes_back_is_one_message_each(path: WholePath, sink: MessageSink) -> None:
    up = threading.Event()
    up.set()
    with Scripted(lambda _: reply(200, {"tags": ["1.0.0"]}) if up.is_set() else None) as registry:
        names = [f"i{n}" for n in range(5)]
        path.create("second", {f"{name}.yaml": manifest(f"{registry.host}/acme/{name}", "1.0.0") for name in names})
        images = [{"image": f"{registry.host}/acme/{name}", "name": name} | QUICK for name in names]
        path.configure(
            [path.entry("acme/api", range="1.x", **QUICK), *images],
            ["fleet", "second"],
            registries=[*path.settings([])["registries"], {"host": registry.host, "insecure": True}],
            notifications=notifications(sink),
        )
        with running(path) as daemon:
            for name in names:
                daemon.wait("decided", image=name, outcome="up_to_date")
            up.clear()
            sink.wait(1, PATIENCE)
            up.set()
            sink.wait(2, PATIENCE)
            path.push("acme/api", "1.1.0")
            sink.wait(3, PATIENCE)
            assert daemon.stop() == 0
    assert kinds(sink) == ["scan_failed", "scan_recovered", "image_updated"]
    met = set(sink.messages[0].body["data"]["images"])
    assert met
    assert met <= set(names)  # those that were asked after it went down


def test_a_hold_that_ended_while_the_daemon_was_away_is_told_when_it_is_back(
    path: WholePath, sink: MessageSink
) -> None:
    path.configure([path.entry("acme/api", range="1.x", **QUICK)], notifications=notifications(sink))
    database = open_state(load(path.config, {}))
    held_at = datetime.now(UTC) - timedelta(hours=2)
    Holds(database).hold("api", "a freeze", held_at, until=held_at + timedelta(hours=1))
    database.close()
    with running(path) as daemon:
        assert [message.body["data"]["why"] for message in sink.wait(1, PATIENCE)] == ["a freeze"]
        path.push("acme/api", "1.1.0")
        sink.wait(2, PATIENCE)
        assert daemon.stop() == 0
    assert kinds(sink) == ["hold_expired", "image_updated"]


def test_a_state_that_cannot_be_read_is_said_without_a_trace_and_polling_goes_on(path: WholePath) -> None:
    with running(path) as daemon:
        daemon.wait("decided", outcome="up_to_date")
        with closing(sqlite3.connect(path.data / "state.db", timeout=PATIENCE)) as state:
            state.execute("ALTER TABLE heads RENAME TO away")
            assert "no such table: heads" in daemon.wait("state_not_read")["error"]
            state.execute("ALTER TABLE away RENAME TO heads")
        path.push("acme/api", "1.1.0")
        daemon.wait("committed")
        assert daemon.stop() == 0
    assert [event for event in daemon.seen if event["event"] == "cycle_failed"] == []
