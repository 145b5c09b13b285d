"""How fast, and how long until the next try."""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable


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
