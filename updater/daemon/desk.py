"""What a front door may ask of a running daemon, and have it do. The daemon does not know who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from updater.daemon import heartbeat
from updater.daemon.build import http_of
from updater.errors import StoreError

if TYPE_CHECKING:
    from updater.config.images import Item
    from updater.config.settings import Settings
    from updater.daemon.delivery import Delivery
    from updater.daemon.metrics import Metrics
    from updater.daemon.run import Daemon
    from updater.pipeline.look import World
    from updater.store.database import Database
    from updater.store.polls import Poll
    from updater.transport.http import Http

ASKED_AGAIN = 2.0  # seconds between two tries whether the state can be written


class Bell:
    """Rung when something changed that people may look at; `serial` says how often it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], object]] = []
        self.serial = 0

    def ring(self) -> None:
        """Tell everybody; listeners return at once and do not raise."""
        with self._lock:
            self.serial += 1
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call this at every ring, from any thread; return what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end


class _Writable:
    """Whether the state can be written, asked of it once in a while: probes come as often as anyone likes."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._lock = daemon, threading.Lock()
        self._until, self._why = 0.0, ""

    def answer(self) -> str:
        """Return why it cannot, empty where it can; what was found last, while somebody else asks."""
        if time.monotonic() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._daemon.database.try_out()
                self._why = ""
            except StoreError as err:
                self._why = str(err)
            finally:
                self._until = time.monotonic() + ASKED_AGAIN
                self._lock.release()
        return self._why


class Desk:
    """One daemon, as its front door sees it. What it returns is of one moment; threads may use it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.bell = Bell()
        self.started = datetime.now(UTC)
        self._writable = _Writable(daemon)

    # --- what there is -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The configuration that counts now; with another one everything that was read from it may be another."""
        return self._daemon.now.settings

    @property
    def database(self) -> Database:
        """The state."""
        return self._daemon.database

    @property
    def polls(self) -> Mapping[str, Poll]:
        """The last look at each item, by its name; items that are configured no more may be among them."""
        return dict(self._daemon.known)

    @property
    def problems(self) -> tuple[str, ...]:
        """The mistakes of the configuration as the files have it now; empty where it is the one that counts."""
        rejected = self._daemon.rejected
        return tuple(str(problem) for problem in rejected.problems) if rejected else ()

    @property
    def world(self) -> World:
        """The clients of loop one."""
        return self._daemon.now.world

    @property
    def delivery(self) -> Delivery | None:
        """The second loop, None without clusters."""
        return self._daemon.now.delivery

    def http(self) -> Http:
        """Return a client for questions of the front door's own; who asked closes it. Raises SecretError."""
        return http_of(self.settings.network)

    def next_check(self, item: str, now: datetime) -> datetime | None:
        """Return when an item is due; None while it is being looked at, or is not configured."""
        wait = self._daemon.now.agenda.wait(item, time.monotonic())
        return None if wait is None else now + timedelta(seconds=max(0.0, wait))

    @property
    def metrics(self) -> Metrics:
        """The figures."""
        return self._daemon.metrics

    # --- how it is ---------------------------------------------------------------------------------------------------

    def trouble(self) -> str:
        """Say why the daemon does not live: its clock stands still. Empty while it does."""
        silent = time.monotonic() - self._daemon.beaten
        return f"no tick for {silent:.0f} s" if silent > heartbeat.STALE else ""

    def unready(self) -> str:
        """Say why nothing can be done for anyone now; empty while it can."""
        if why := self.trouble():
            return why
        return self._writable.answer()

    # --- what it is to do --------------------------------------------------------------------------------------------

    def check(self, items: Collection[str]) -> None:
        """Look at these items at once, whenever they are due; returns before that is done."""
        self._daemon.wake(items)

    def hint(self, item: str, after: float = 0.0) -> bool:
        """Look at an item in so many seconds, at most once a second; False where it is due by then anyway."""
        return self._daemon.hint(item, after)

    def check_git(self) -> None:
        """Look at Git at once, as after a push."""
        if (delivery := self.delivery) is not None:
            delivery.wake()

    def default_branch(self, repository: str) -> str:
        """Return the branch that the HEAD of a repository's remote was when it was last looked at; empty if never."""
        seen = self.world.looks.get((repository, None))
        return seen.head.branch if seen else ""

    def ours(self, revision: str) -> bool:
        """Say whether a commit is one that this process pushed: what follows from it is under way."""
        return revision in self._daemon.written

    def told(self) -> None:
        """A person said something, or something was written: whoever looks is told, and letters are sent."""
        self._daemon.now.couriers.wake()
        self.bell.ring()

    def items(self, name: str) -> Sequence[Item]:
        """Return the items of an image by its name, or one by its own; none where there is no such."""
        return [item for item in self.settings.items if name in {item.name, item.image_name or item.name}]
