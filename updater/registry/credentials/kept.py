"""A login that ends: fetched once however many threads want it, and renewed before its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from updater.errors import RegistryError, UpdaterError
from updater.registry.credentials.base import Proof
from updater.secrets import forget, remember

SHORTEST = 60.0  # seconds that a login counts as good for at least: else every request would fetch one
EARLY = 300.0  # seconds before its end a long one is renewed; of a short one a quarter
REFUSED_FOR = 30.0  # seconds that a failed fetch stands for all who ask: whoever gives logins is not to be stormed


@dataclass(frozen=True, slots=True)
class Lent:
    """A proof and how long it is good for, in seconds from now."""

    proof: Proof
    seconds: float


class Kept:
    """Keeps one login; threads share it.

    `fetch` gets a time of time.monotonic() until which it may take, and raises UpdaterError. Ends are reckoned by the
    clock that nobody sets, from when the login came.
    """

    def __init__(self, fetch: Callable[[float], Lent], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._proof: Proof | None = None
        self._until = self._end = 0.0
        self._failed: tuple[float, str] | None = None

    def get(self, deadline: float) -> Proof:
        """Return a proof that is good for a while. Raises UpdaterError."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise RegistryError("no login in time; another request waits for the same one")
        try:
            if self._proof is None or self._clock() >= self._until:
                self._try(deadline)
            assert self._proof is not None
            return self._proof
        finally:
            self._lock.release()

    def forget(self, refused: Proof) -> bool:
        """Fetch another one when it is wanted again, unless somebody did already; always True."""
        with self._lock:
            if self._proof == refused:
                self._until = self._end = 0.0
        return True

    def _try(self, deadline: float) -> None:
        try:
            self._renew(deadline)
        except UpdaterError:
            if self._clock() >= self._end:  # until then what there is does, though nobody renews it
                raise

    def _renew(self, deadline: float) -> None:
        if self._failed is not None and self._clock() < self._failed[0]:
            raise RegistryError(self._failed[1])
        try:
            lent = self._fetch(deadline)
        except UpdaterError as err:
            if time.monotonic() < deadline:  # else it lacked the time of this caller, and others have their own
                self._failed = self._clock() + REFUSED_FOR, str(err)
            raise
        old = self._proof
        for secret in filter(None, (lent.proof.password, lent.proof.identity_token, lent.proof.bearer)):
            remember(secret)
        life = max(lent.seconds, SHORTEST)
        self._proof, self._failed = lent.proof, None
        self._end = self._clock() + life
        self._until = self._end - min(EARLY, life / 4)
        if old is not None and old != lent.proof:
            for secret in filter(None, (old.password, old.identity_token, old.bearer)):
                forget(secret)
