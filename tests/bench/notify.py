"""Events on their way to a service, in a process of its own; prints JSON. The state is that of $UPDATER_DATA.

`notify.py latency URL COUNT`: the daemon's couriers and its journal; one event after the other for a webhook at URL,
each written when nothing waits. `written`: id, and time.monotonic() just before it was written.
`notify.py fill URL COUNT`: so many events are written for a webhook, and none is sent.
`notify.py drain URL`: what waits is sent to the webhook; `seconds` that it took.
`notify.py burst COUNT`: so many events at once for one DingTalk robot; who waits moves a clock of its own. Seconds,
`messages`, those that were `refused`, and the `minutes` that robot and readers would have seen pass.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from updater.config.load import load
from updater.config.settings import Settings
from updater.daemon.build import prepare
from updater.daemon.couriers import Couriers, couriers
from updater.daemon.logs import configure
from updater.daemon.remember import open_state
from updater.demo.sink import MessageSink
from updater.model.event import Event, Kind, Spot, Subject
from updater.pipeline.route import route
from updater.pipeline.tell import addressed
from updater.store.database import Database
from updater.store.journal import Journal, Standing, Writing
from updater.store.outbox import Outbox, State

HEAD = "images: []\nnotifications:\n  channels:\n"
WEBHOOK = HEAD + '    - {{kind: webhook, url: "{url}/hook"}}\n'
DINGTALK = HEAD + '    - {{kind: dingtalk, token: "file:{token}", base_url: "{url}"}}\n'
CALM = 0.02  # seconds between two events: the courier looked again, found nothing, and waits
LOOK = 0.005  # seconds between two looks at what waits


def latency(url: str, count: int) -> dict[str, Any]:
    """Write event after event while the daemon's couriers run."""
    settings = _settings(WEBHOOK.format(url=url))
    configure(settings.log.level, settings.log.format)
    written = []
    with closing(open_state(settings)) as database:
        running, outbox = Couriers(settings, database), Outbox(database)
        with closing(running):
            journal = Journal(database, running.wake)
            for n in range(count):
                event = _event(n, datetime.now(UTC))
                before = time.monotonic()
                _write(settings, journal, [event], event.at)
                written.append((event.id, before))
                while outbox.figures(["webhook"])["webhook"].states.get(State.WAITING):
                    time.sleep(LOOK)
                time.sleep(CALM)
    return {"written": written}


def fill(url: str, count: int) -> dict[str, Any]:
    """Write so many events at once."""
    settings = _settings(WEBHOOK.format(url=url))
    with closing(open_state(settings)) as database:
        _fill(settings, database, count, datetime.now(UTC))
    return {"letters": count}


def drain(url: str) -> dict[str, Any]:
    """Send all that waits."""
    settings = _settings(WEBHOOK.format(url=url))
    with closing(open_state(settings)) as database, couriers(settings, database) as (courier,):
        start = time.perf_counter()
        _until_done(courier.drain, time.sleep)
        return {"seconds": time.perf_counter() - start}


def burst(count: int) -> dict[str, Any]:
    """Send so many events to a robot that takes twenty messages a minute."""
    clock = _Clock()
    first = clock.now
    with MessageSink(clock=clock.seconds) as sink:
        token = _data() / "token"
        token.write_text("robot")
        settings = _settings(DINGTALK.format(url=sink.url, token=token))
        with closing(open_state(settings)) as database, couriers(settings, database) as (made,):
            _fill(settings, database, count, clock.now)
            courier = replace(made, clock=lambda: clock.now)
            start = time.perf_counter()
            _until_done(courier.drain, clock.pass_by)
            seconds = time.perf_counter() - start
            states = Outbox(database).figures(["dingtalk"])["dingtalk"].states
        if states != {State.SENT.value: count}:
            raise RuntimeError(f"{count} events were to be sent, and became {states}")
        messages = len(sink.messages)
        return {
            "seconds": seconds,
            "messages": messages,
            "refused": len(sink.arrivals) - messages,
            "minutes": (clock.now - first).total_seconds() / 60,
        }


class _Clock:
    """Stands still until somebody waits."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def seconds(self) -> float:
        """Return the time as seconds since 1970."""
        return self.now.timestamp()

    def pass_by(self, seconds: float) -> None:
        """Let time pass; a wait that rounds to nothing passes too."""
        self.now += timedelta(seconds=max(seconds, 0.001))


def _until_done(work: Callable[[], float | None], wait: Callable[[float], object]) -> None:
    while (seconds := work()) is not None:
        wait(seconds)


def _data() -> Path:
    data = Path(os.environ["UPDATER_DATA"])
    prepare(data)
    return data


def _settings(text: str) -> Settings:
    config = _data() / "updater.yaml"
    config.write_text(text)
    return load(config)


def _fill(settings: Settings, database: Database, count: int, now: datetime) -> None:
    _write(settings, Journal(database), [_event(n, now) for n in range(count)], now)


def _write(settings: Settings, journal: Journal, events: Sequence[Event], now: datetime) -> None:
    """Store events, with a letter to whom the configuration says, as a cycle does."""

    def plan(standing: Standing) -> Writing:
        to_whom = partial(route, notifications=settings.notifications, now=now)
        return addressed(Writing(events=list(events)), standing, to_whom)

    if len(journal.write(plan, now, (), {event.subject.key for event in events}).posts) != len(events):
        raise RuntimeError("not every event is told once")


def _event(n: int, at: datetime) -> Event:
    """Return an update as a cycle tells it: two places, a commit that has a page."""
    name, commit = f"app-{n:05}", f"{n * 7919:040x}"
    image = f"registry.example.test/team/{name}"
    files = (f"apps/{name}/deployment.yaml", f"envs/prod/{name}/values.yaml")
    return Event(
        Kind.IMAGE_UPDATED,
        at,
        Subject(image=image, item=f"{image}/prod", reference=image, registry="registry.example.test"),
        old="1.0.0",
        new="1.9.16",
        digest="sha256:" + f"{n * 104729:064x}",
        why="the newest in range 1.x",
        commit=commit,
        commit_url=f"https://git.example.test/team/fleet/commit/{commit}",
        spots=tuple(Spot("fleet", "main", file, 17, image) for file in files),
    )


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    modes: dict[str, Callable[..., dict[str, Any]]] = {"latency": latency, "fill": fill, "drain": drain, "burst": burst}
    print(json.dumps(modes[name](*(int(text) if text.isdecimal() else text for text in arguments))))
