"""Delivers what waits: in order, merged, at the pace that each service takes, and again until it is there.

At least once: a letter is sent before it is noted as sent, so that a kill in between repeats that one message. In order
for each subject: what waits for a later moment holds back what came after it about the same subject, and nothing else.
One channel that hangs holds back no other: each is drained on its own. Nor does an event that our own bug keeps from
being told: it is a dead letter after some tries.
"""

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from updater.errors import NotifyError, StoreError
from updater.messages.events import held_back, message, reminder
from updater.model.event import sound
from updater.model.message import Language, Message
from updater.notifiers.base import LONGEST_PAUSE, MAX_SAID, Delivery, Notifier, Reply, Verdict, Wire
from updater.secrets import SecretError, redact
from updater.store.outbox import PAGE, Lane, Letter, Outbox, Settled, State
from updater.transport import lock as locks
from updater.transport.pace import backoff

if TYPE_CHECKING:
    from updater.messages.templates import Template

BACKOFF, BACKOFF_CAP = 2.0, 900.0  # seconds
MENDING = 900.0  # seconds until a channel that a person must mend is tried again
TOO_LATE = timedelta(hours=24)  # what could not be sent for so long is news no more: it is counted, and kept
MOST = 200  # events in one message: more than that nobody reads, and no service takes
TRIES = 5  # of an event that cannot be read back, worded or rendered
MAX_TRACE = 4000  # characters of the end of a trace that are kept
OUR_BUG = "a mistake in the updater itself; please report it"
TURN = 0.2  # seconds until a channel is looked at again that another process is at work on


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel, made ready: who renders and sends, in which language, and over which wire.

    page  where people reach our page, empty where they do not
    """

    notifier: Notifier
    language: Language
    templates: Mapping[str, Template]
    wire: Wire
    page: str = ""

    @property
    def title(self) -> str:
        """Its name."""
        return self.notifier.title


class _UnreadableError(Exception):
    """An event that cannot be read back; `trace` says why."""

    def __init__(self, trace: str) -> None:
        super().__init__("the event cannot be read back")
        self.trace = trace


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers the letters of one channel; every process has its own.

    One at a time is at work on a channel, and one on an address: a letter may be on its way to an old address, and one
    address may be that of several channels.

    folder  where the locks of the addresses are
    clock   aware, in UTC
    """

    channel: Channel
    outbox: Outbox
    folder: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    told: Callable[[Channel, Reply, Sequence[Letter]], object] = lambda _channel, _reply, _letters: None

    def drain(self, stopped: Callable[[], bool] = lambda: False) -> float | None:
        """Send what is due; return the seconds until there may be more to do, None where nothing waits.

        Raises StoreError.
        """
        if not self.outbox.waits(self.channel.title):
            return None
        lane = self.lane()
        channel = self.folder / f"channel-{_hash(self.channel.title)}.lock"
        with _turn(channel, self.folder / f"{lane}.lock") as mine:
            if not mine:
                return TURN
            self._give_up()
            return self._send(lane, stopped)

    def try_out(self, text: Message) -> Reply:
        """Send one message beside the queue, and let what waits go at once where it was delivered.

        Raises StoreError.
        """
        lane = self.lane()
        with _turn(self.folder / f"{lane}.lock", seconds=self.channel.wire.seconds):
            now = self.clock()
            state = self._took(lane, now)
            full = pause((), replace(state, paused_until=None), self.channel.notifier, now)
            if full:
                said = f"{len(state.sent)} messages were sent lately; try again in {full:.0f} s"
                return Reply(Verdict.PAUSE, "", said, "we keep to the limit of the service", full)
            reply = self._attempt(self._delivery((), text, now))
            after = replace(state, sent=_sent(state, self.channel.notifier, now))
            if reply.verdict is Verdict.DELIVERED:
                after = replace(after, failures=0, paused_until=None)
            elif reply.verdict is Verdict.PAUSE:
                after = outcome((), reply, state, self.channel.notifier, now)[1]
            self.outbox.keep_lane(lane, after)
            return reply

    def lane(self) -> str:
        """Return what limits are counted by: a hash, because the address is a secret."""
        try:
            address = self.channel.notifier.address()
        except (SecretError, NotifyError):
            address = self.channel.title  # it will be told when it is sent to
        kind = getattr(self.channel.notifier, "kind", "")
        return f"{kind}-{_hash(address)}"

    def _give_up(self) -> None:
        """Put a count in the place of what is too old."""
        while late := self.outbox.overdue(self.channel.title, self.clock() - TOO_LATE):
            self.outbox.hold_back(late, self.clock())

    def _took(self, lane: str, now: datetime) -> Lane:
        """Read what an address took lately, by the clock as it is now."""
        known = self.outbox.lane(lane)
        state = rebased(known, now)
        if state is not known:
            self.outbox.keep_lane(lane, state)
        return state

    def _send(self, lane: str, stopped: Callable[[], bool]) -> float | None:
        """Send message after message until nothing is due any more, or the service wants a pause."""
        rest = False  # what one message did not take does not wait for more to come
        while not stopped():
            now = self.clock()
            state = self._took(lane, now)
            if wait := pause((), state, self.channel.notifier, now):
                return wait
            due = self.outbox.ready(self.channel.title, now)  # under the lock: nobody else sends these
            if not due:
                later = self.outbox.next_due(self.channel.title, now)
                return None if later is None else (later - now).total_seconds()
            if not rest and (wait := pause(due, state, self.channel.notifier, now)):
                return wait
            rest = self._page(due, lane, state, stopped) and len(due) == PAGE
        return 0.0

    def _page(self, due: Sequence[Letter], lane: str, state: Lane, stopped: Callable[[], bool]) -> bool:
        """Send these letters in as many messages as they take; return whether none is left."""
        left, notifier = list(due), self.channel.notifier
        while left and not stopped():
            now = self.clock()
            try:
                batch, text = self._batch(left)
            except Exception as err:  # noqa: BLE001 - our own bug; the others go on
                left = self._without_broken(left, err, lane, state, now)
                continue
            delivery = self._delivery(batch, text, now)
            try:
                reply = self._attempt(delivery)
            except Exception as err:  # noqa: BLE001 - our own bug; the others go on
                state = replace(state, sent=_sent(state, notifier, now))  # it may have left
                self._failed(batch, err, lane, state, now)
                left = left[len(batch) :]
                break
            settled, state = outcome(batch, reply, state, notifier, now)
            if reply.thread is not None and text.subject:
                settled = replace(settled, thread=(text.subject, reply.thread))
            self.outbox.settle(batch, settled, lane, state, now)
            self.told(self.channel, reply, batch)
            left = left[len(batch) :]
            if reply.verdict is not Verdict.DELIVERED or pause((), state, notifier, self.clock()):
                break
        return not left

    def _batch(self, due: Sequence[Letter]) -> tuple[list[Letter], Message]:
        """Return as many letters as one message takes, and the message."""
        notifier, first = self.channel.notifier, due[0]
        most = MOST if notifier.merges and first.form < 2 else 1
        # What failed goes on its own: where one of its events is the trouble, new ones do not share it.
        alike = (first.form, first.attempts > 0)
        batch = list(takewhile(lambda one: (one.form, one.attempts > 0) == alike, due[:most]))
        text = self._message(batch)
        while len(batch) > 1 and (weight := notifier.weigh(text)) > notifier.max_bytes:
            batch = batch[: max(1, min(len(batch) - 1, len(batch) * notifier.max_bytes // weight))]
            text = self._message(batch)
        return batch, text

    def _without_broken(
        self, due: Sequence[Letter], err: Exception, lane: str, state: Lane, now: datetime
    ) -> list[Letter]:
        """Note which of the first letters cannot be worded alone, the very first if each can; return the others."""
        troubles = {letter.seq: found for letter in due[:MOST] if (found := self._trouble(letter)) is not None}
        troubles = troubles or {due[0].seq: err}
        for letter in due[:MOST]:
            if letter.seq in troubles:
                self._failed([letter], troubles[letter.seq], lane, state, now)
        return [letter for letter in due if letter.seq not in troubles]

    def _trouble(self, letter: Letter) -> Exception | None:
        try:
            self.channel.notifier.weigh(self._message([letter]))
        except Exception as err:  # noqa: BLE001 - our own bug; the others go on
            return err
        return None

    def _failed(self, batch: Sequence[Letter], err: Exception, lane: str, state: Lane, now: datetime) -> None:
        """Note a try that our own bug ended: later, plainer, and alone; the last one is the end of a letter."""
        tries = batch[0].attempts + 1
        trace = err.trace if isinstance(err, _UnreadableError) else "".join(traceback.format_exception(err))
        words = sound(redact(trace).replace("\0", " "))[-MAX_TRACE:]
        due = now + timedelta(seconds=backoff(tries, base=BACKOFF, cap=BACKOFF_CAP))
        form = max(batch[0].form, 1 if len(batch) == 1 else 2)
        settled = Settled(State.WAITING, words, due, form)
        if tries >= TRIES and len(batch) == 1:
            settled = Settled(State.DEAD, words)
        self.outbox.settle(batch, settled, lane, state, now)
        said = redact(trace.strip().rpartition("\n")[2])[:MAX_SAID]
        self.told(self.channel, Reply(Verdict.RETRY, "", said, OUR_BUG), batch)

    def _message(self, letters: Sequence[Letter]) -> Message:
        """Word the letters of one message; what was held back is a note."""
        if broken := next((letter.broken for letter in letters if letter.broken), ""):
            raise _UnreadableError(broken)
        channel = self.channel
        notes = [held_back(one.held, one.since or one.wanted, channel.language) for one in letters if one.event is None]
        events = [letter for letter in letters if letter.event is not None]
        text = message(
            [letter.event for letter in events if letter.event],
            channel.language,
            note=" ".join(notes),
            templates=channel.templates,
            escape=channel.notifier.escape,
            page=channel.page,
        )
        entries = tuple(
            entry if letter.since is None else reminder(entry, letter.since, channel.language)
            for entry, letter in zip(text.entries, events, strict=True)
        )
        rows = (f"{letter.seq} {letter.event.id if letter.event else ''}" for letter in letters)
        number = hashlib.sha256("\n".join((channel.title, *rows)).encode()).hexdigest()[:32]
        title = entries[0].headline if len(entries) == 1 else text.title
        return replace(text, id=number, title=title, entries=entries)

    def _delivery(self, batch: Sequence[Letter], text: Message, now: datetime) -> Delivery:
        thread = None
        if self.channel.notifier.threads and text.subject:
            thread = self.outbox.thread(self.channel.title, text.subject)
        return Delivery(text, now, any(letter.form > 0 for letter in batch), thread)

    def _attempt(self, delivery: Delivery) -> Reply:
        try:
            return self.channel.notifier.deliver(delivery, self.channel.wire)
        except SecretError as err:
            return Reply(Verdict.PERMANENT, "", redact(str(err)), "a secret of this channel cannot be read")


def rebased(lane: Lane, now: datetime) -> Lane:
    """Return the same lane; where the clock went back behind its last message, as if that had left just now."""
    ahead = lane.sent[-1] - now.timestamp() if lane.sent else 0.0
    if ahead <= 0:
        return lane
    until = lane.paused_until and lane.paused_until - timedelta(seconds=ahead)
    return Lane(lane.failures, until, tuple(at - ahead for at in lane.sent))


def pause(due: Sequence[Letter], lane: Lane, notifier: Notifier, now: datetime) -> float:
    """Return the seconds until a message may leave; 0.0: now."""
    if lane.paused_until is not None and (left := (lane.paused_until - now).total_seconds()) > 0:
        return left
    at, limit = now.timestamp(), notifier.limit
    joins = min((0 if letter.attempts or letter.event is None else letter.joins for letter in due), default=0)
    wait = lane.sent[-1] + joins - at if lane.sent and notifier.merges else 0.0
    if limit is not None and len(lane.sent) >= limit.count:
        wait = max(wait, lane.sent[-limit.count] + limit.seconds - at)
    return max(0.0, wait)


def outcome(
    batch: Sequence[Letter], reply: Reply, lane: Lane, notifier: Notifier, now: datetime
) -> tuple[Settled, Lane]:
    """Return what becomes of the letters of one message, and of the address that it went to."""
    sent = _sent(lane, notifier, now)
    words = redact(" ".join(filter(None, (reply.code, reply.said, f"({reply.meaning})" if reply.meaning else ""))))
    if reply.verdict is Verdict.DELIVERED:
        return Settled(State.SENT, words), Lane(0, None, sent)
    if reply.verdict is Verdict.DEGRADE:
        form = batch[0].form
        if form == 2 or (form == 1 and len(batch) == 1):
            return Settled(State.DEAD, words), replace(lane, sent=sent)
        return Settled(State.WAITING, words, form=form + 1), replace(lane, sent=sent)
    tried, failures = (batch[0].attempts if batch else 0) + 1, lane.failures + 1
    wait = backoff(failures, base=BACKOFF, cap=BACKOFF_CAP)
    if reply.verdict is Verdict.PERMANENT:
        wait = MENDING
    if reply.after is not None:
        wait = min(LONGEST_PAUSE, max(reply.after, wait if reply.verdict is Verdict.RETRY else 0.0))
    # The letters wait longer than the address: where one of them is the trouble, others go before it.
    own = max(wait, backoff(tried, base=BACKOFF, cap=BACKOFF_CAP))
    due = now + timedelta(seconds=own) if reply.verdict is Verdict.RETRY else None
    return Settled(State.WAITING, words, due), Lane(failures, now + timedelta(seconds=wait), sent)


def _sent(lane: Lane, notifier: Notifier, now: datetime) -> tuple[float, ...]:
    """Return when the latest messages left, this one included: as many as the limit is about."""
    kept = notifier.limit.count if notifier.limit else 1
    return (*lane.sent, now.timestamp())[-kept:]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextmanager
def _turn(*paths: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Hold channels and addresses against other processes and threads; False where one is held for so long.

    Raises StoreError.
    """
    with ExitStack() as held:
        for path in paths:
            try:
                descriptor = locks.acquire(path, seconds)
            except OSError as err:
                raise StoreError(f"the folder {path.parent} takes no locks: {err.strerror}") from err
            if descriptor is None:
                yield False
                return
            held.callback(os.close, descriptor)
        yield True
