"""Asking one cluster: within its rate, few requests at a time, logged in, and left alone while it is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from updater.cluster.answers import Question, failure, is_alive, retry_after
from updater.cluster.credentials import Credential
from updater.cluster.login import Login
from updater.cluster.sockets import Exchange
from updater.cluster.wire import Answer, Cut, NoAnswer, Request, Wire
from updater.errors import Refused, Unreachable
from updater.transport.pace import Breaker, Budget, Pass, backoff

TRIES = 3  # of a read whose connection breaks
DEFAULT_PAUSE = 1.0  # seconds to wait after 429 without Retry-After
BACKOFF_BASE, BACKOFF_CAP = 0.2, 2.0  # seconds


class Asker:
    """The way to one cluster; shared by threads. What it is made of is described at `Cluster`."""

    def __init__(
        self,
        name: str,
        login: Login,
        *,
        concurrency: int,
        rate: float | None,
        burst: int,
        impersonate: str | None,
        request_seconds: float,
        stream_grace: float,
        sleep: Callable[[float], object],
        breaker: Breaker,
    ) -> None:
        self.name = name
        self._source, self._impersonate, self._seconds, self._sleep = login.source, impersonate, request_seconds, sleep
        self._stream_grace = stream_grace
        self._wire = Wire(login.server, connections=concurrency)
        self._turns = threading.BoundedSemaphore(concurrency)
        self._budget = Budget(rate, burst) if rate is not None else None
        self._breaker = breaker
        self._lock = threading.Lock()
        self._trouble: tuple[str, datetime] | None = None  # the last failure, and when the first in the row was
        self._streams: set[Exchange] = set()

    @property
    def trouble(self) -> tuple[str, datetime] | None:
        """Why it is considered down, and since when, in UTC; None while it is not."""
        with self._lock:
            return self._trouble if self._breaker.open else None

    def ask(self, request: Request, question: Question, as_user: str | None = None) -> Answer:
        """Return the first answer that waiting or logging in again would not change, whatever its status.

        Raises Unreachable where there is none in time.
        """
        deadline = time.monotonic() + self._seconds
        request = self._as(request, as_user, question)
        with self._leave(question) as leave:
            self._take_turn(question, deadline)
            try:
                answer = self._patiently(request, question, deadline)
            finally:
                self._turns.release()
            leave.learn(answer)
            return answer

    @contextmanager
    def stream(
        self, request: Request, question: Question, exchange: Exchange, seconds: float
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Open a stream that lasts so many seconds, and give its answer and its lines. Raises Unreachable.

        It takes none of the turns; a break in its lines is a NoAnswer.
        """
        request = self._as(request, None, question)
        with self._lock:
            self._streams.add(exchange)
        try:
            with ExitStack() as stack:
                with self._leave(question) as leave:
                    answer, lines = self._opened(request, question, exchange, stack)
                    leave.learn(answer)
                exchange.deadline = time.monotonic() + seconds + self._stream_grace
                yield answer, lines
        finally:
            with self._lock:
                self._streams.discard(exchange)

    def close(self) -> None:
        """Close the connections; streams end at once, and nothing is asked any more."""
        self._wire.close()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.cut()

    def _patiently(self, request: Request, question: Question, deadline: float) -> Answer:
        credential = self._source.current(deadline)
        renewed, tries = False, 0
        while True:
            self._pace(question, deadline)
            tries += 1
            pause = backoff(tries, base=BACKOFF_BASE, cap=BACKOFF_CAP)
            try:
                answer = self._wire.send(_shown(request, credential), Exchange(deadline), credential.identity)
            except NoAnswer as err:
                if request.method != "GET" or not err.reset or tries == TRIES:
                    raise
            else:
                if answer.status == 401 and not renewed:
                    renewed = True
                    other = self._source.renewed(credential, deadline)
                    if other is not None:
                        credential = other
                        continue
                wait = _pause(answer)
                if wait is None or time.monotonic() + wait + pause >= deadline:
                    return answer
                pause += wait
            self._sleep(pause)

    def _opened(
        self, request: Request, question: Question, exchange: Exchange, stack: ExitStack
    ) -> tuple[Answer, Iterator[bytes]]:
        """Ask for a stream, a second time with another credential where the first is not known any more."""
        exchange.deadline = deadline = time.monotonic() + self._seconds
        credential = self._source.current(deadline)
        self._pace(question, deadline)
        opened = stack.enter_context(self._wire.stream(_shown(request, credential), exchange, credential.identity))
        if opened[0].status != 401:
            return opened
        other = self._source.renewed(credential, deadline)
        if other is None:
            return opened
        stack.close()
        self._pace(question, deadline)
        return stack.enter_context(self._wire.stream(_shown(request, other), exchange, other.identity))

    def _pace(self, question: Question, deadline: float) -> None:
        if self._budget and not self._budget.wait(deadline):
            raise Unreachable(f"{question}: no turn in time; more is asked than its rate allows")

    def _take_turn(self, question: Question, deadline: float) -> None:
        if not self._turns.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unreachable(f"{question}: no turn in time; other requests to the cluster are slow")

    def _leave(self, question: Question) -> _Leave:
        """Ask the breaker, and tell it at the end of the `with` what became of it."""
        leave = self._breaker.enter()
        if leave is None:
            raise self._down(question)
        return _Leave(leave, question, self._learn)

    def _learn(self, leave: Pass, worked: bool | None, why: str) -> None:
        with self._lock:
            if worked:
                self._trouble = None
            elif worked is False:
                self._trouble = (why, self._trouble[1] if self._trouble else datetime.now(UTC))
            self._breaker.leave(leave, worked)

    def _down(self, question: Question) -> Unreachable:
        with self._lock:
            why = self._trouble[0] if self._trouble else "it failed several times in a row"
        retry_at = datetime.now(UTC) + timedelta(seconds=self._breaker.wait)
        return Unreachable(f"{question}: not asked, for the cluster is down: {why}", retry_at=retry_at)

    def _as(self, request: Request, as_user: str | None, question: Question) -> Request:
        user = as_user or self._impersonate
        if not user:
            return request
        if not user.isascii() or not user.isprintable():
            raise Refused(f"{question}: {user[:80]!r} is no user to act as", reason="Invalid")
        return replace(request, headers={**request.headers, "Impersonate-User": user})


class _Leave:
    """What became of a request: whether the cluster is alive, None where that was not learnt, and why not.

    A NoAnswer becomes Unreachable at the end of its `with`.
    """

    __slots__ = ("_leave", "_question", "_tell", "_why", "_worked")

    def __init__(self, leave: Pass, question: Question, tell: Callable[[Pass, bool | None, str], object]) -> None:
        self._leave, self._question, self._tell = leave, question, tell
        self._worked: bool | None = None
        self._why = ""

    def __enter__(self) -> Self:
        return self

    def learn(self, answer: Answer) -> None:
        """Learn from an answer."""
        self._worked = is_alive(answer)
        if self._worked is False:
            self._why = str(failure(answer, self._question))

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, NoAnswer) and not isinstance(err, Cut):
            self._worked, self._why = False, f"{self._question}: {err}"
        self._tell(self._leave, self._worked, self._why)
        if isinstance(err, NoAnswer):
            raise Unreachable(f"{self._question}: {err}") from err


def _shown(request: Request, credential: Credential) -> Request:
    if not credential.token:
        return request
    if not credential.token.isascii() or not credential.token.isprintable():
        raise NoAnswer("we cannot log in: the token holds characters that no token has")
    headers = {**request.headers, "Authorization": f"Bearer {credential.token}"}
    return Request(request.method, request.path, request.max_bytes, headers, request.body)


def _pause(answer: Answer) -> float | None:
    """Return how long the server asks us to wait, None where it does not."""
    if answer.status == 429:
        return retry_after(answer.headers) or DEFAULT_PAUSE
    return retry_after(answer.headers) if answer.status == 503 else None
