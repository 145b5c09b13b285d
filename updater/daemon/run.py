"""`updater run`: one process that turns the clock until it is told to stop.

APScheduler runs one job a registry and one that beats; what is due waits in our own agenda. The main thread watches:
it takes signals, and it restarts the clock when the wall clock jumped (APScheduler sleeps an hour when the wall clock
goes back an hour, measured), because liveness is judged by monotonic time.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from updater import __version__
from updater.config.images import Item
from updater.config.load import Rejected, changed, load
from updater.config.settings import Settings
from updater.config.web import LISTEN
from updater.daemon import heartbeat
from updater.daemon.agenda import Agenda
from updater.daemon.build import Counting, build, prepare, unusable
from updater.daemon.couriers import Couriers
from updater.daemon.desk import Desk
from updater.daemon.logs import configure
from updater.daemon.metrics import Metrics
from updater.daemon.remember import open_state, remember, remember_configuration, remember_time, state_url
from updater.errors import ConfigError, Problem, StoreError, UpdaterError
from updater.model.limits import USUAL, Limits
from updater.model.people import People
from updater.pipeline.look import World
from updater.pipeline.report import Outcome, Report, unique
from updater.pipeline.tell import polls_of
from updater.pipeline.update import update
from updater.registry.host import Hosts
from updater.store.database import Database
from updater.store.journal import Journal
from updater.store.polls import Poll, Polls
from updater.transport import process

if TYPE_CHECKING:
    from updater.daemon.delivery import Delivery

PULSE = 1.0  # seconds between two looks at what is due
CALM = 5.0  # seconds in which looks that find nothing new ring the bell once: that they were is all there is to see
REMIND = 60.0  # seconds between two looks at what still holds
RECENT = 200  # events of before that commits are known by
MAX_JOBS = 50  # threads at the most: a registry that hangs holds one
REMEMBERED = 1000  # revisions of our own, to know them again when a forge tells of them

log = structlog.get_logger()


@dataclass(slots=True)
class _Generation:
    """Everything that one configuration made."""

    settings: Settings
    world: World
    agenda: Agenda
    couriers: Couriers
    closing: ExitStack
    delivery: Delivery | None = None
    clusters: tuple[object, ...] = ()  # what their folders held


Front = Callable[[Desk], AbstractContextManager[object]]
"""Opens a front door; what it opens is closed before the daemon ends."""


class Daemon:
    """Polls, decides and commits by one configuration at a time; `path` is where it was read from.

    `front` is opened when everything is there, and closed when nothing further begins.
    """

    def __init__(
        self,
        settings: Settings,
        path: Path | None,
        limits: Limits = USUAL,
        front: Front = lambda _desk: nullcontext(),
    ) -> None:
        # What was found in a usual place stays the one that counts, also while it is away.
        self._first, self._path = settings, path or next((file.path for file in settings.files.files), None)
        self._limits = limits
        self._stopping = threading.Event()
        self._reload = threading.Event()
        self._idle = threading.Condition()
        self._active = 0
        self.beaten = time.monotonic()
        self.rejected: Rejected | None = None
        self._failing: dict[str, frozenset[str]] = {}  # what failed and was said, and the items that met it
        self._mute = False
        self._people: dict[str, People] = {}
        self._reminded = time.monotonic()
        self._front = front
        self._rung = -CALM  # when a cycle last rang the bell
        self._waking = threading.Lock()  # what is made due is not lost while another configuration comes
        self.written: deque[str] = deque(maxlen=REMEMBERED)  # revisions
        self.metrics = Metrics()
        self._hosts = Hosts()  # a new configuration is no reason to ask whoever wants to be left alone
        self.desk = Desk(self)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        gc.set_threshold(700, 10, 10)  # a daemon has time; memory counts
        configure(self._first.log.level, self._first.log.format)
        prepare(self._first.data)
        with ExitStack() as closing:
            signals = closing.enter_context(_signals())
            closing.enter_context(_only_one(self._first.data))
            self.database: Database = open_state(self._first)
            closing.callback(self.database.close)
            closing.callback(heartbeat.stop, self._first.data)
            self.known = Polls(self.database).read()
            self.metrics.before(reversed(Journal(self.database).recent(RECENT)))
            self.now = self._generation(self._first)
            remember_configuration(self._first, self.now.world.memory().journal, [], datetime.now(UTC))
            self._scheduler = self._clock()
            log.info("started", version=__version__, images=len(self._first.items), data=str(self._first.data))
            with self._front(self.desk):
                self._watch(signals)
                self._stopping.set()
            return self._drain()

    def _generation(self, settings: Settings) -> _Generation:
        with ExitStack() as closing:  # of what is made before something cannot be made
            news = self.desk.bell.ring
            couriers = Couriers(settings, self.database, self._limits, self.metrics.told, news)
            closing.callback(couriers.close)
            counting = Counting(self.metrics.asked, self.metrics.pushed, self.metrics.conflicted, self.metrics.happened)
            world = closing.enter_context(
                build(settings, database=self.database, written=couriers.wake, counting=counting, hosts=self._hosts)
            )
            agenda = Agenda(settings.items, self.known, datetime.now(UTC), time.monotonic())
            made = _Generation(settings, world, agenda, couriers, closing)
            if settings.clusters:
                from updater.daemon.delivery import delivery  # the client of clusters comes where there is one
                from updater.daemon.sites import signature

                made.clusters = signature(settings.clusters)
                loop = delivery(settings, self.database, world.memory().journal, self._limits, news)
                made.delivery = closing.enter_context(loop)
            made.closing = closing.pop_all()
            return made

    def _clock(self) -> BackgroundScheduler:
        hosts = self.now.agenda.hosts
        scheduler = BackgroundScheduler(
            timezone=UTC,
            # The beat has a thread of its own: registries that hang must not look like a clock that stands still.
            executors={"default": ThreadPoolExecutor(min(len(hosts) or 1, MAX_JOBS)), "beat": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        beat = {"seconds": heartbeat.TICK, "executor": "beat", "next_run_time": datetime.now(UTC)}
        scheduler.add_job(self._beat, "interval", **beat)
        for host in hosts:
            pulse = {"seconds": PULSE, "id": host, "next_run_time": datetime.now(UTC)}
            scheduler.add_job(self._poll, "interval", (host,), **pulse)
        scheduler.start()
        self.beaten = time.monotonic()
        return scheduler

    def _watch(self, signals: socket.socket) -> None:
        """Wait for signals; restart a clock that stands still."""
        while True:
            ready, _, _ = select.select([signals], [], [], PULSE)
            for number in signals.recv(64) if ready else b"":
                if number == signal.SIGHUP:
                    self._reload.set()
                else:
                    log.info("stopping", signal=signal.Signals(number).name)
                    return
            if time.monotonic() - self.beaten > heartbeat.STALE:
                log.warning("clock_restarted", why="no beat: the wall clock jumped")
                self._restart_clock()

    def _beat(self) -> None:
        self.beaten = time.monotonic()
        if self._stopping.is_set():
            return  # nothing comes after the last beat
        try:
            heartbeat.beat(self.now.settings.data)
            self._mute = False
        except OSError as err:
            if not self._mute:
                log.error("heartbeat_not_written", error=str(err))
            self._mute = True
        try:
            self._listen(datetime.now(UTC))
        except StoreError as err:
            log.error("state_not_read", error=str(err))
        try:
            if self._reload.is_set() or changed(self.rejected or self.now.settings) or self._clusters_changed():
                self._take_up()
        except Exception:
            log.exception("reload_failed")  # our own bug: what was read before goes on

    def _clusters_changed(self) -> bool:
        """Say whether kubeconfigs came, changed or went since they were read, or since that failed."""
        if self.now.delivery is None:
            return False
        from updater.daemon.sites import signature

        found = signature(self.now.settings.clusters)
        before, self.now.clusters = self.now.clusters, found
        return found != before

    def _listen(self, now: datetime) -> None:
        """Look at once at what people spoke about; say which holds are over."""
        memory = self.now.world.memory()
        holds, reminders = memory.holds, time.monotonic() - self._reminded > REMIND
        if reminders or holds.over(now):
            self._reminded = time.monotonic() if reminders else self._reminded
            for item, why in remember_time(self.now.settings, memory.journal, now, reminders=reminders).items():
                log.info("hold_expired", image=item, held=why)
        people = holds.read(now)
        spoken = {item for item in people.keys() | self._people.keys() if people.get(item) != self._people.get(item)}
        self.now.agenda.wake(spoken, time.monotonic())
        self._people = people
        if spoken:
            self.desk.bell.ring()

    def wake(self, names: Collection[str]) -> None:
        """Look at items at once: a person said something about them."""
        with self._waking:
            woken = self.now.agenda.wake(names, time.monotonic())
        self._hurry(woken)

    def hint(self, name: str, after: float) -> bool:
        """Look at an item in so many seconds, as something may have changed; False where it is due by then anyway."""
        with self._waking:
            sooner = self.now.agenda.hint(name, time.monotonic(), after)
        if sooner and after < PULSE:
            self._hurry((name,))
        return sooner

    def _hurry(self, names: Collection[str]) -> None:
        for host in self.now.agenda.hosts_of(names):
            self._before_pulse(host)

    def _before_pulse(self, host: str) -> None:
        """Have the clock not wait for its next pulse where something is due at a registry before that."""
        wait = self.now.agenda.soonest(host, time.monotonic())
        if wait >= PULSE:
            return
        at = datetime.now(UTC) + timedelta(seconds=max(0.0, wait))
        with suppress(JobLookupError):  # the clock is being put away: what is due stays due
            job = self._scheduler.get_job(host)
            if job is not None and job.next_run_time > at:
                self._scheduler.modify_job(host, next_run_time=at)

    def _poll(self, host: str) -> None:
        """Run cycles for what is due at one registry; what becomes due meanwhile does not wait for the next pulse."""
        while self._turn(host):
            pass
        self._before_pulse(host)

    def _turn(self, host: str) -> bool:
        """Run a cycle; False where nothing is due."""
        with self._idle:
            if self._stopping.is_set() or self._reload.is_set():
                return False
            now = self.now
            due = now.agenda.take(host, time.monotonic())
            if not due:
                return False
            self._active += 1
        try:
            self._cycle(now, due)
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()
        return True

    def _cycle(self, now: _Generation, due: list[Item]) -> None:
        try:
            self._look(now, due, datetime.now(UTC))
        except Exception as err:
            now.agenda.done(due, {item.name: 1 for item in due}, {}, time.monotonic())
            if isinstance(err, StoreError):
                log.error("state_not_read", error=str(err))
            else:
                log.exception("cycle_failed")  # our own bug: said with its trace, and the others go on

    def _look(self, now: _Generation, due: list[Item], at: datetime) -> None:
        report = update(now.world, due, at, patient=True)
        self.written.extend(commit.revision for commit in report.commits)
        try:
            self.metrics.cycle(report, now.world.memory().tags, datetime.now(UTC))
        except StoreError as err:
            log.error("state_not_read", error=str(err))
        try:
            polls = remember(now.settings, now.world.memory().journal, report, at)
        except StoreError as err:
            log.error("state_not_written", error=str(err))
            polls = polls_of(report, self.known, at)  # commits that were not told are found in Git again
        self._tell(report, polls)
        if report.commits and now.delivery is not None:
            now.delivery.wake()
        pauses = {p.item: (p.retry_at - at).total_seconds() for p in polls.values() if p.retry_at}
        failures = {p.item: p.failures for p in polls.values()}
        now.agenda.done(due, failures, pauses, time.monotonic())
        for name, until in report.collected.items():
            now.agenda.hint(name, time.monotonic(), max(0.0, (until - at).total_seconds()))
        before = [self.known.get(name) for name in polls]
        self.known |= polls
        if time.monotonic() - self._rung > CALM or any(map(_is_news, before, polls.values())):
            self._rung = time.monotonic()
            self.desk.bell.ring()

    def _tell(self, report: Report, polls: dict[str, Poll]) -> None:
        """Log what changed: commits always, an outcome once."""
        for name, poll in polls.items():
            last = self.known.get(name)
            if last is None or (last.outcome, last.reason) != (poll.outcome, poll.reason):
                level = log.error if poll.outcome == Outcome.FAILED else log.info
                level("decided", image=name, outcome=poll.outcome, reason=poll.reason)
        for written in report.written:
            if written.commit:
                bumps = [bump for change in written.changes for bump in change.bumps]
                log.info(
                    "committed",
                    repository=written.repository,
                    branch=written.branch,
                    revision=written.commit.revision,
                    changes=[f"{b.image} {b.old} -> {b.new} in {b.file}:{b.line}" for b in bumps],
                )
        self._tell_failures(report, frozenset(polls))

    def _tell_failures(self, report: Report, items: frozenset[str]) -> None:
        """Log a failure once, until a cycle of items that met it does without."""
        failures = unique(report.failures)
        with self._idle:
            for what in self._failing.keys() - {failure.what for failure in failures}:
                if self._failing[what] & items:
                    del self._failing[what]
            new = [failure for failure in failures if failure.what not in self._failing]
            self._failing |= {f.what: self._failing.get(f.what, frozenset()) | items for f in failures}
        for failure in new:
            log.warning("failed", what=failure.what, error=failure.error)

    def _take_up(self) -> None:
        """Read the configuration again; a broken one is said once and changes nothing."""
        self._reload.set()
        with self._idle:
            if self._active:
                return  # the next beat tries again; nothing new begins until then
            self._reload.clear()  # a signal that comes from here on asks for another reading
            try:
                new = self._renewed()
            except ConfigError as err:
                problems = [str(problem) for problem in err.problems]
                log.error("config_rejected", problems=problems)
                self._remember_configuration(problems)
                self.rejected = err if isinstance(err, Rejected) else Rejected(list(err.problems), self._read.files)
                self.desk.bell.ring()
                return
            with self._waking:
                old, self.now, self.rejected = self.now, new, None
                new.agenda.wake(old.agenda.overdue(time.monotonic()), time.monotonic())
            old.couriers.stop()
            if old.delivery is not None:
                old.delivery.stop()
            # An attempt that is under way may take its time: who closes waits for it, and nothing here may.
            threading.Thread(target=old.closing.close, daemon=True).start()
            self._remember_configuration([])
            configure(new.settings.log.level, new.settings.log.format)
            log.info("config_loaded", images=len(new.settings.items))
            self.desk.bell.ring()
        self._restart_clock()

    def _remember_configuration(self, problems: list[str]) -> None:
        try:
            remember_configuration(
                self.now.settings, self.now.world.memory().journal, problems, datetime.now(UTC)
            )  # fmt: skip
        except StoreError as err:
            log.error("state_not_written", error=str(err))

    def _renewed(self) -> _Generation:
        """Return what the files say now. Raises ConfigError, also for what this process cannot take up."""
        self._read = self.now.settings
        self._read = load(self._path)
        try:
            if self._read.data != self._first.data or state_url(self._read) != state_url(self._first):
                raise ConfigError([Problem(str(self._path), 0, 0, "data, state", "another place", "a restart")])
            if _listen(self._read) != _listen(self._first):  # who need no login hangs on it
                raise ConfigError([Problem(str(self._path), 0, 0, "web.listen", "another address", "a restart")])
            return self._generation(self._read)
        except ConfigError:
            raise
        except UpdaterError as err:
            raise ConfigError([Problem(str(self._path), 0, 0, "state", str(err), "a secret that can be read")]) from err

    def _restart_clock(self) -> None:
        """Put a new clock in place of the old, which may be waiting for the job that calls this: it ends by itself."""
        with self._idle:
            if self._stopping.is_set():
                return  # the old clock is the last
            old, self._scheduler = self._scheduler, self._clock()
        threading.Thread(target=old.shutdown, kwargs={"wait": False}, daemon=True).start()

    def _drain(self) -> int:
        """Let what is under way end; what has not by the deadline is ended, the next start converges."""
        self._stopping.set()
        self.now.world.stop.set()
        self.now.couriers.stop()
        if self.now.delivery is not None:
            self.now.delivery.stop()
        end = time.monotonic() + self._limits.drain
        with self._idle:
            idle = self._idle.wait_for(lambda: self._active == 0, timeout=self._limits.drain)
            self._scheduler.shutdown(wait=False)
        if not idle:
            process.end_children()
            with self._idle:
                idle = self._idle.wait_for(lambda: self._active == 0, timeout=max(0.5, end + 1 - time.monotonic()))
        if self.now.delivery is not None and not self.now.delivery.ended(max(0.5, end - time.monotonic())):
            idle = False
            process.end_children()
        self.now.couriers.close(max(0.5, end + 1 - time.monotonic()))
        log.info("stopped", drained=idle)
        if not idle:  # a thread that cannot be ended would keep the interpreter alive
            heartbeat.stop(self._first.data)
            sys.stderr.flush()
            os._exit(0)
        self.now.closing.close()
        return 0


def _is_news(before: Poll | None, now: Poll) -> bool:
    """Whether a look found something else than the one before it."""
    return before is None or replace(before, at=now.at) != now


def _listen(settings: Settings) -> str:
    return settings.web.listen if settings.web else LISTEN


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the data folder; a second `run` on it is refused."""
    with ExitStack() as closing:
        try:
            file = closing.enter_context((data / "run.lock").open("w"))
        except OSError as err:
            raise unusable(data, err) from err
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise ConfigError([Problem(str(data), 0, 0, "data", "another `updater run` at work on it", "one")]) from err
        yield


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Yield a socket that receives the number of each signal; nothing runs inside a handler."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    old = signal.set_wakeup_fd(writing.fileno())
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()
