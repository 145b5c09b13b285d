"""Sends requests to one registry patiently: few at once, within its budget, tried again where that can help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from updater.errors import RegistryError
from updater.registry.challenge import retry_after
from updater.transport.addresses import Kind
from updater.transport.http import Answer, Http, TransportError, without_secrets
from updater.transport.pace import Budget, backoff

TRIES = 3
BACKOFF_BASE, BACKOFF_CAP = 0.5, 4.0  # seconds
LONGEST_PAUSE = 5.0  # seconds of Retry-After that are waited for here; the next poll is better at longer ones
LIMITED_PAUSE = 60.0  # seconds until we ask again after 429 without a usable Retry-After
_BUSY = frozenset({429, 500, 502, 503, 504})

Asked = Callable[[str, str], object]  # what was asked for, and the status of the answer, or `error`


class Sender:
    """The way to one registry. Threads share it.

    `request_seconds` is the total time on the wire that one request gets, its tries together; waiting for a turn
    does not count, but everything ends at the caller's deadline.
    """

    def __init__(
        self,
        http: Http,
        *,
        concurrency: int,
        budget: Budget | None,
        request_seconds: float,
        sleep: Callable[[float], object] = time.sleep,
        asked: Asked = lambda _endpoint, _code: None,
    ) -> None:
        self._http = http
        self._turns = threading.BoundedSemaphore(concurrency)
        self._budget = budget
        self._request_seconds = request_seconds
        self._sleep, self._asked = sleep, asked

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        deadline: float,
        endpoint: str,
        content: bytes | None = None,
        reach: frozenset[Kind] | None = None,
    ) -> Answer:
        """Return the first answer that another try would not change, whatever its status.

        `endpoint` is what every answer is counted by. `deadline` is a time of time.monotonic(). `reach` are the kinds
        of addresses that may be connected to, None where the operator named the host.
        Raises RegistryError when no such answer came.
        """
        patience = self._request_seconds
        for attempt in range(1, TRIES + 1):
            start = self._turn(method, url, deadline)
            try:
                until = min(deadline, start + patience)
                answer = self._http.request(
                    method, url, headers=headers, content=content, max_bytes=max_bytes, deadline=until, reach=reach
                )
            except TransportError as err:
                self._asked(endpoint, "error")
                patience -= time.monotonic() - start
                if not err.retryable or attempt == TRIES or patience <= 0:
                    raise RegistryError(str(err)) from err
                pause = backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP)
            else:
                self._asked(endpoint, str(answer.status))
                if answer.status not in _BUSY:
                    return answer
                patience -= time.monotonic() - start
                pause = _pause(method, answer, attempt)
            finally:
                self._turns.release()
            if time.monotonic() + pause >= deadline:
                break
            self._sleep(pause)
        raise RegistryError(f"{method} {without_secrets(url)}: no usable answer in time")

    def _turn(self, method: str, url: str, deadline: float) -> float:
        """Wait for our turn and return when it began."""
        if self._turns.acquire(timeout=max(0.0, deadline - time.monotonic())):
            if self._budget is None or self._budget.wait(deadline):
                return time.monotonic()
            self._turns.release()
        raise RegistryError(
            f"{method} {without_secrets(url)}: no turn in time; other requests to the registry are slow"
        )


def _pause(method: str, answer: Answer, attempt: int) -> float:
    """Return the seconds to wait before the next try; raise RegistryError where it is not worth waiting here."""
    now = datetime.now(UTC)
    asked = retry_after(answer.header("retry-after"), now)
    last = attempt == TRIES
    if not last and (asked is None or asked <= LONGEST_PAUSE):
        return max(asked or 0.0, backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP))
    limited = answer.status == 429
    wait = asked if asked is not None else LIMITED_PAUSE if limited else None
    why = "too many requests" if limited else "the server has trouble"
    raise RegistryError(
        f"{method} {without_secrets(answer.url)}: answered {answer.status} ({why})",
        retry_at=None if wait is None else now + timedelta(seconds=wait),
    )
