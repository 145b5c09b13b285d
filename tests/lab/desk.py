"""A place from which events go out: a clock that is set by hand, a real state, and services that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PrivateAttr

from updater.model.event import Event, Kind, Subject
from updater.model.message import Message
from updater.notifiers.base import Delivery, Limit, Notifier, Reply, Verdict, Wire
from updater.pipeline.notify import Channel, Courier
from updater.store.database import Database
from updater.store.journal import Journal, Post, Writing
from updater.store.outbox import Letter, Outbox, State
from updater.transport.http import Http

START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
DELIVERED = Reply(Verdict.DELIVERED, "0", "ok")
RETRY = Reply(Verdict.RETRY, "HTTP 503", "busy", "the service has a bad moment")
PAUSE = Reply(Verdict.PAUSE, "130101", "send too fast", "too many messages", 600.0)
PERMANENT = Reply(Verdict.PERMANENT, "310000", "sign not match", "the signature is wrong")
DEGRADE = Reply(Verdict.DEGRADE, "430104", "unsafe content", "the moderation refused it")


@dataclass
class Clock:
    """Stands until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Go on, or back."""
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Sent:
    """One attempt: when, by the clock; what; and what the service answered."""

    at: datetime
    message: Message
    plain: bool
    thread: str | None
    reply: Reply

    @property
    def names(self) -> list[str]:
        """The name and the new value of each event: `api 1`."""
        return [named(entry.event) for entry in self.message.entries]


@dataclass
class Service:
    """Answers as `script` says, and remembers what it was sent."""

    script: Callable[[Delivery], Reply] = lambda _: DELIVERED
    attempts: list[Sent] = field(default_factory=list)

    def take(self, delivery: Delivery) -> Reply:
        """Judge one message."""
        reply = self.script(delivery)
        sent = Sent(delivery.now, delivery.message, delivery.plain, delivery.thread, reply)
        self.attempts.append(sent)
        return reply

    @property
    def accepted(self) -> list[Sent]:
        """What was delivered."""
        return [sent for sent in self.attempts if sent.reply.verdict is Verdict.DELIVERED]

    @property
    def messages(self) -> list[list[str]]:
        """The events of each message that was delivered."""
        return [sent.names for sent in self.accepted]

    @property
    def names(self) -> list[str]:
        """The events that were delivered, in order."""
        return [name for names in self.messages for name in names]


class Robot(Notifier):
    """A member of the family as far as the pipeline can see: 100 bytes an event, 10,000 a message."""

    kind: Literal["robot"] = "robot"
    threads: ClassVar[bool] = True
    limit: ClassVar[Limit | None] = None
    max_bytes: ClassVar[int] = 10_000

    _service: Service = PrivateAttr(default_factory=Service)
    _token: str | Exception = PrivateAttr("token")

    @classmethod
    def at(cls, service: Service, token: str | Exception = "token", **fields: Any) -> Robot:
        """Make one that speaks to a service."""
        made = cls(**fields)
        made._service, made._token = service, token
        return made

    def address(self) -> str:
        """Return the token."""
        if isinstance(self._token, Exception):
            raise self._token
        return self._token

    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Ask the service."""
        self.address()
        return self._service.take(delivery)

    def weigh(self, message: Message) -> int:
        """Return 100 bytes for each event, and more for what is said at length."""
        return sum(100 + len(entry.event.why) for entry in message.entries)


class Hook(Robot):
    """The same where each event is a message."""

    kind: Literal["hook"] = "hook"  # type: ignore[assignment]
    merges: ClassVar[bool] = False


class Slow(Robot):
    """The same with a limit of three messages a minute."""

    kind: Literal["slow"] = "slow"  # type: ignore[assignment]
    limit: ClassVar[Limit | None] = Limit(3, 60.0)


class Unthreaded(Robot):
    """The same where a message cannot hang on another."""

    kind: Literal["unthreaded"] = "unthreaded"  # type: ignore[assignment]
    threads: ClassVar[bool] = False


class Poisoned(Robot):
    """The same with a bug: an event whose labels hold `poison` cannot be rendered."""

    kind: Literal["poisoned"] = "poisoned"  # type: ignore[assignment]

    def weigh(self, message: Message) -> int:
        """Fail as our own code would."""
        if any("poison" in entry.event.labels for entry in message.entries):
            raise KeyError("poison")
        return super().weigh(message)

    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Fail as our own code would."""
        self.weigh(delivery.message)
        return super().deliver(delivery, wire)


class Desk:
    """Writes events and drains channels, by one clock."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder, self.clock = folder, clock or Clock()
        self.database = Database(f"sqlite:///{folder}/state.db")
        self.outbox, self.journal = Outbox(self.database), Journal(self.database)
        self.http, self.number = Http(), 0

    def courier(self, notifier: Notifier) -> Courier:
        """Return one for a channel, as every process has its own."""
        return Courier(Channel(notifier, "en", {}, Wire(self.http)), self.outbox, self.folder / "lanes", self.clock)

    def write(self, *names: str, channel: str = "robot", **more: Any) -> list[Event]:
        """Write events about `names`, in one transaction; a repeated name is the next thing about that subject."""
        return self.post([(channel, self.event(name)) for name in names], **more)

    def event(self, name: str, **more: Any) -> Event:
        """Return the next event about a subject."""
        self.number += 1
        return Event(Kind.IMAGE_UPDATED, self.clock(), Subject(image=name), old="0", new=str(self.number), **more)

    def post(
        self, told: Iterable[tuple[str, Event]], *, joins: int = 30, after: float = 0.0, lasting: bool = False
    ) -> list[Event]:
        """Store events for channels, to be sent after so many seconds."""
        now = self.clock()
        due = now + timedelta(seconds=after)
        pairs = list(told)
        events = list({event.id: event for _, event in pairs}.values())
        posts = [Post(channel, event.id, event.subject.key, due, joins, lasting) for channel, event in pairs]
        self.journal.write(lambda _: Writing(events=events, posts=posts), now, (), ())
        return events

    def run(self, *couriers: Courier, seconds: float) -> None:
        """Turn the clock for so long, and drain whenever a courier asked for it, or a second passed."""
        end = self.clock() + timedelta(seconds=seconds)
        while True:
            waits = [wait for courier in couriers if (wait := courier.drain()) is not None]
            left = (end - self.clock()).total_seconds()
            if left <= 0:
                return
            self.clock.move(min([left, *(max(wait, 0.001) for wait in waits)]))

    def letters(self, *states: State, channel: str = "robot") -> list[Letter]:
        """Return what waits or was given up."""
        wanted = states or (State.WAITING,)
        return [letter for letter in self.outbox.queue(channel, 100_000) if letter.state in wanted]

    def close(self) -> None:
        """Close the state, and connections."""
        self.http.close()
        self.database.close()


@contextmanager
def desk(folder: Path, clock: Clock | None = None) -> Iterator[Desk]:
    """Open a desk."""
    opened = Desk(folder, clock)
    try:
        yield opened
    finally:
        opened.close()


def named(event: Event) -> str:
    """Return the name and the new value."""
    return f"{event.subject.image} {event.new}"


def names(events: Sequence[Event]) -> list[str]:
    """Return the names of what was written."""
    return [named(event) for event in events]
