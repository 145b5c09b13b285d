"""The couriers of one configuration: a thread for each channel, woken when there is something to send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from updater.config.network import Network
from updater.config.settings import Settings
from updater.errors import StoreError
from updater.model.event import Kind
from updater.model.limits import USUAL, Limits
from updater.secrets import SecretRef
from updater.store.database import Database
from updater.transport.http import Answer, Http

if TYPE_CHECKING:
    from updater.messages.templates import Template
    from updater.notifiers.base import Reply
    from updater.pipeline.notify import Channel, Courier
    from updater.store.outbox import Letter

PULSE = 1.0  # seconds between two looks at what other processes may have written
AFTER_TROUBLE = 5.0  # seconds until a state that cannot be read is tried again
JOIN = 2.0  # seconds, besides those of one attempt, that it may take to end

Told = Callable[["Channel", "Reply", "Sequence[Letter]"], object]


@contextmanager
def couriers(
    settings: Settings,
    database: Database,
    told: Told = lambda _channel, _reply, _letters: None,
    limits: Limits = USUAL,
) -> Iterator[list[Courier]]:
    """Yield a courier for each channel, and close their clients at the end; none where nothing is configured."""
    if settings.notifications is None:
        yield []
        return
    from updater.notifiers.base import Wire
    from updater.pipeline.notify import Channel, Courier
    from updater.store.outbox import Outbox

    outbox, clients, made = Outbox(database), [], []
    page = (settings.web.public_url if settings.web else None) or ""
    for one in settings.notifications.channels:
        clients.append(http := _LateHttp(one.network))
        language = one.language or settings.notifications.language
        wire = Wire(http, one.network.ca_file, limits.message)
        channel = Channel(one, language, templates(one.templates), wire, page)
        made.append(Courier(channel, outbox, settings.data / "lanes", told=told))
    try:
        yield made
    finally:
        for client in clients:
            client.close()


def try_out(settings: Settings, database: Database, channel: str, limits: Limits = USUAL) -> Reply:
    """Send a real message to a channel, beside the queue. Raises StoreError."""
    from datetime import UTC, datetime

    from updater.messages.events import test_message

    with couriers(settings, database, limits=limits) as made:
        courier = next(one for one in made if one.channel.title == channel)
        return courier.try_out(test_message(courier.channel.language, channel, datetime.now(UTC)))


class _LateHttp(Http):
    """Made when the first message is sent: a secret that cannot be read is the trouble of this channel alone."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._made: Http | None = None

    def request(self, method: str, url: str, **options: Any) -> Answer:
        """Send one request. Raises TransportError, SecretError."""
        if self._made is None:
            network = self._network
            proxy = network.proxy.resolve() if isinstance(network.proxy, SecretRef) else network.proxy
            self._made = Http(ca_file=network.ca_file, proxy=proxy, no_proxy=network.no_proxy)
        return self._made.request(method, url, **options)

    def close(self) -> None:
        """Close what was made."""
        if self._made is not None:
            self._made.close()


def templates(texts: Mapping[str, str]) -> dict[str, Template]:
    """Return the operator's template of each kind of event: the longest glob that means it counts."""
    if not texts:
        return {}
    from updater.messages.templates import compile_template

    compiled = {glob: compile_template(text) for glob, text in texts.items()}
    found = {}
    for kind in Kind:
        fitting = [glob for glob in compiled if fnmatchcase(kind.value, glob)]
        if fitting:
            found[kind.value] = compiled[max(fitting, key=lambda glob: (glob == kind.value, len(glob)))]
    return found


def deliver(made: Sequence[Courier], limits: Limits = USUAL) -> None:
    """Send what waits, within limits; what is left stays in the queue. Every channel has a thread of its own.

    No attempt begins that might not have ended by then: its message would be sent again. Raises StoreError.
    """
    end = time.monotonic() + limits.messages - limits.message
    stopped, troubles = threading.Event(), list[StoreError]()

    def over() -> bool:
        return stopped.is_set() or time.monotonic() > end

    def run(courier: Courier) -> None:
        try:
            while not over():
                wait = courier.drain(over)
                if wait is None or wait >= end - time.monotonic():
                    return
                stopped.wait(wait)
        except StoreError as err:
            troubles.append(err)

    running = [threading.Thread(target=run, args=(courier,), daemon=True) for courier in made]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(max(0.0, end + limits.message - time.monotonic()))
    stopped.set()
    if troubles:
        raise troubles[0]


class Couriers:
    """The threads of the daemon. `close` lets the attempts that are under way end.

    `news` is called after every attempt.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        limits: Limits = USUAL,
        told: Callable[[Sequence[Letter]], object] = lambda _letters: None,
        news: Callable[[], object] = lambda: None,
    ) -> None:
        from structlog import get_logger  # commands that end log nothing, and start without it

        self._logger = get_logger()
        self._told, self._stopped = told, threading.Event()
        self._said: dict[str, str] = {}
        self._news = news
        self._join = limits.message + JOIN
        self._closing = ExitStack()
        made = self._closing.enter_context(couriers(settings, database, self._tell, limits))
        self._wakes = [threading.Event() for _ in made]
        self._threads = [
            threading.Thread(target=self._run, args=pair, daemon=True, name=f"notify-{pair[0].channel.title}")
            for pair in zip(made, self._wakes, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let every thread look at once."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopped.set()
        self.wake()

    def close(self, seconds: float | None = None) -> None:
        """Wait for the attempts that are under way, for so long at most, or their own time; close the clients."""
        self.stop()
        end = time.monotonic() + (self._join if seconds is None else seconds)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._closing.close()

    def _run(self, courier: Courier, wake: threading.Event) -> None:
        while True:
            wake.clear()
            if self._stopped.is_set():  # looked at after that: who stops wakes, too
                return
            try:
                wait = courier.drain(self._stopped.is_set)
            except StoreError as err:
                self._once(courier.channel.title, str(err))
                wait = AFTER_TROUBLE
            except Exception:  # our own bug: others are not met by it
                self._logger.exception("notify_failed", channel=courier.channel.title)
                wait = AFTER_TROUBLE
            wake.wait(PULSE if wait is None else min(wait, AFTER_TROUBLE))

    def _tell(self, channel: Channel, reply: Reply, letters: Sequence[Letter]) -> None:
        """Log what was told, and trouble once until it is over."""
        self._news()
        from updater.notifiers.base import Verdict

        if reply.verdict is Verdict.DELIVERED:
            self._said.pop(channel.title, None)
            self._told(letters)
            self._logger.info("told", channel=channel.title, events=len(letters))
        else:
            self._once(channel.title, f"{reply.verdict.value}: {reply.code} {reply.said} ({reply.meaning})")

    def _once(self, channel: str, words: str) -> None:
        if self._said.get(channel) != words:
            self._said[channel] = words
            self._logger.warning("not_told", channel=channel, answer=words)
