"""How fast, and how long until the next try."""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


def backoff(attempt: int, *, base: float, cap: float, random: Callable[[], float] = _random.random) -> float:
    """Return the seconds to wait after the failed `attempt` (counted from 1).

    Exponential with full jitter: anything between 0 and `base` doubled for each further attempt, at most `cap`.
    Full jitter spreads clients that failed together best (AWS Architecture Blog, "Exponential Backoff and Jitter").
    """
    return random() * min(cap, base * 2.0 ** min(attempt - 1, 62))


class Budget:
    """A token bucket: `rate` a second on average, `burst` at once. Shared by threads."""

    def __init__(
        self,
        rate: float,
        burst: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a budget needs a positive rate and burst, not {rate} and {burst}")
        self._rate, self._burst = rate, burst
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._tokens, self._at = float(burst), clock()

    def wait(self, deadline: float) -> bool:
        """Take a token, sleeping until it is there; False, and nothing taken, when that is after `deadline`.

        `deadline` is a time of the clock (time.monotonic). Turns are given in the order of the calls.
        """
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            delay = max(0.0, (1.0 - self._tokens) / self._rate)
            if now + delay > deadline:
                return False
            self._tokens -= 1.0  # below zero: a turn that was promised
        if delay:
            self._sleep(delay)
        return True


@dataclass(frozen=True, slots=True)
class Pass:
    """The leave to ask once. A probe is what finds out whether someone who was down is back."""

    probe: bool


class Breaker:
    """Stops asking someone who is down, so that nobody waits for an answer that will not come. Shared by threads.

    After `failures` in a row it is open: nobody may ask, but for one probe at a time, the first after `base` seconds at
    most, the next ones after a backoff of `cap` seconds at most. A probe that works closes it.
    """

    def __init__(
        self,
        failures: int = 3,
        *,
        base: float = 1.0,
        cap: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._limit, self._base, self._cap = failures, base, cap
        self._clock, self._random = clock, random
        self._changed = threading.Condition(threading.Lock())
        self._failures = 0  # in a row; while it is open, those of probes count alone
        self._next = 0.0  # when the next probe may go
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether only probes may ask."""
        with self._changed:
            return self._failures >= self._limit

    @property
    def wait(self) -> float:
        """Seconds until somebody may ask; 0 where it is closed or a probe is due."""
        with self._changed:
            return max(0.0, self._next - self._clock()) if self._failures >= self._limit else 0.0

    def enter(self, patience: float = 0.0) -> Pass | None:
        """Return the leave to ask, which is given back by `leave`, whatever happens; None where nobody may ask now.

        A probe that is under way is waited for so many seconds: where it works, all may ask.
        """
        with self._changed:
            if self._probing:
                self._changed.wait_for(lambda: not self._probing, max(0.0, patience))
            if self._failures < self._limit:
                return Pass(probe=False)
            if self._probing or self._clock() < self._next:
                return None
            self._probing = True
            return Pass(probe=True)

    def leave(self, leave: Pass, worked: bool | None) -> None:
        """Give the leave back. `worked` is None where nothing was learnt about the other side."""
        with self._changed:
            if leave.probe:
                self._probing = False
                self._changed.notify_all()
            if worked:
                self._failures = 0
            elif worked is False and (leave.probe or self._failures < self._limit):
                self._failures += 1
                if (over := self._failures - self._limit) >= 0:
                    pause = backoff(over + 1, base=self._base, cap=self._cap, random=self._random)
                    self._next = self._clock() + pause
