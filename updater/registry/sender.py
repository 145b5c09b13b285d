"""Sends requests to one registry patiently: few at once, within its budget, tried again where that can help.

What a host asked for, and whether it is down, is known to all who ask it (host.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from updater.errors import RegistryError
from updater.registry.challenge import retry_after
from updater.registry.host import LONGEST_PAUSE, Host, Hosts, Visit, subject_of
from updater.transport.addresses import Kind
from updater.transport.http import Answer, Http, TransportError
from updater.transport.pace import Budget, backoff
from updater.transport.words import without_secrets

TRIES = 3
BACKOFF_BASE, BACKOFF_CAP = 0.5, 4.0  # seconds
LIMITED_PAUSE = 60.0  # seconds until we ask again after 429 without a usable Retry-After
PAUSES = 3  # that somebody waits for: a host that wants one after the other is better asked at the next poll
_BUSY = frozenset({429, 500, 502, 503, 504})

Asked = Callable[[str, str], object]  # what was asked for, and the status of the answer, or `error`


class Sender:
    """The way to one registry. Threads share it.

    `request_seconds` is the total time on the wire that one request gets, its tries together; waiting for a turn
    does not count, but everything ends at the caller's deadline. `turns` bound the requests at a time.
    """

    def __init__(
        self,
        http: Http,
        *,
        turns: threading.BoundedSemaphore,
        budget: Budget | None,
        request_seconds: float,
        hosts: Hosts | None = None,
        sleep: Callable[[float], object] = time.sleep,
        asked: Asked = lambda _endpoint, _code: None,
    ) -> None:
        self._http = http
        self._turns = turns
        self._budget = budget
        self._request_seconds = request_seconds
        self._hosts = hosts or Hosts()
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
        Raises RegistryError when no such answer came; without a request where the host is down, at the latest when
        the one probe that is under way ends, or asked for a pause that is too long to be waited for.
        """
        asked, patience = f"{method} {without_secrets(url, led=reach is not None)}", self._request_seconds
        host = self._hosts.at(url)
        self._wait_for(host, deadline)
        visit = host.enter(min(LONGEST_PAUSE, deadline - time.monotonic()), subject_of(url))
        try:
            for attempt in range(1, TRIES + 1):
                last = attempt == TRIES or visit.probe
                start = self._turn(host, asked, deadline)
                if attempt == 1:
                    visit.begin()
                try:
                    answer = self._http.request(
                        method, url, headers=headers, content=content, max_bytes=max_bytes,
                        deadline=min(deadline, start + patience), reach=reach,
                    )  # fmt: skip
                except TransportError as err:
                    self._asked(endpoint, "error")
                    patience -= time.monotonic() - start
                    if not err.retryable:
                        raise RegistryError(str(err)) from err
                    if last or patience <= 0:
                        raise visit.leave(worked=False, why=str(err)) or RegistryError(str(err)) from err
                    pause = backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP)
                else:
                    self._asked(endpoint, str(answer.status))
                    if answer.status not in _BUSY:
                        host.heard(answer)
                        visit.leave(worked=True)
                        return answer
                    patience -= time.monotonic() - start
                    pause = _pause(visit, asked, answer, attempt, last=last)
                finally:
                    self._turns.release()
                if time.monotonic() + pause >= deadline:
                    break
                self._sleep(pause)
            raise RegistryError(f"{asked}: no usable answer in time")
        finally:
            visit.leave()

    def _turn(self, host: Host, asked: str, deadline: float) -> float:
        """Wait for our turn and return when it began; the host may have asked for a pause meanwhile."""
        for _ in range(PAUSES):
            if not self._turns.acquire(timeout=max(0.0, deadline - time.monotonic())):
                break
            if self._budget is not None and not self._budget.wait(deadline):
                self._turns.release()
                break
            if not host.pause:
                return time.monotonic()
            self._turns.release()
            self._wait_for(host, deadline)
        else:
            raise host.away()
        raise RegistryError(f"{asked}: no turn in time; other requests to the registry are slow")

    def _wait_for(self, host: Host, deadline: float) -> None:
        """Wait for the end of a short pause. Raises RegistryError at once for a long one."""
        if pause := host.pause:
            if pause > LONGEST_PAUSE or time.monotonic() + pause >= deadline:
                raise host.away()
            self._sleep(pause)


def _pause(visit: Visit, asked: str, answer: Answer, attempt: int, *, last: bool) -> float:
    """Return the seconds to wait before the next try; raise RegistryError where it is not worth waiting here."""
    host, limited = visit.host, answer.status == 429
    why = f"{asked}: answered {answer.status} ({'too many requests' if limited else 'the server has trouble'})"
    many = host.heard(answer)
    wish = retry_after(answer.header("retry-after"), datetime.now(UTC)) if answer.status in {429, 503} else None
    if wish is None and not last:
        return backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP)
    if wish is None and not limited:
        raise visit.leave(worked=False, why=why, answered=True) or RegistryError(why)
    pause = host.ask_for_pause(LIMITED_PAUSE if wish is None else wish, why)
    if not last and wish is not None and wish <= LONGEST_PAUSE:
        return pause
    if many:
        visit.leave(worked=False, why=why)
    raise RegistryError(why, retry_at=datetime.now(UTC) + timedelta(seconds=pause))
