"""What proves who we are at one registry, as it is now: read anew each time, renewed once it was refused."""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace

from updater.errors import RegistryError, UpdaterError
from updater.registry.credentials.base import Credentials, Proof
from updater.secrets import forget, remember

AGAIN_SECONDS = 60.0  # between two renewals: what is refused as soon as it is renewed is wrong, and not old
MAX_KEPT = 16  # one login has one proof, a configuration of Docker one for each of a few paths

_HEADER = re.compile(r"[\x21-\x7e]{1,65536}")


class Proofs:
    """The login at one registry; shared by threads. `empty`: there is a login, and it had nothing to give."""

    def __init__(self, name: str, credentials: Credentials | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._credentials, self._clock = name, credentials, clock
        self._renewed_at = -AGAIN_SECONDS
        self._lock, self._renewing = threading.Lock(), threading.Lock()
        self._pairs: list[str] = []
        self._following: dict[str, str] = {}  # the identity token that came last, by the one that was given
        self.configured, self.empty = credentials is not None, False

    def now(self, repository: str, deadline: float) -> Proof | None:
        """Return the proof as it is now, None where nobody is to log in. Raises RegistryError."""
        given = self.given(repository, deadline)
        return self._latest(given) if given else None

    def given(self, repository: str, deadline: float) -> Proof | None:
        """Return the proof as whoever keeps it has it, which no token service replaces. Raises RegistryError."""
        if self._credentials is None:
            return None
        try:
            given = self._credentials.login(repository, deadline)
        except UpdaterError as err:
            raise RegistryError(f"no login for {self._name}: {err}") from err
        self.empty = given is None
        return given

    def renewed(self, refused: Proof, repository: str, deadline: float) -> Proof | None:
        """Return another proof in place of a refused one, None where there is no other. Raises RegistryError."""
        given = self.given(repository, deadline)
        if given is None or self._credentials is None:
            return None
        if (latest := self._latest(given)) != refused:
            return latest  # it changed meanwhile, or another thread renewed it
        if not self._renewing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise RegistryError(f"no login for {self._name} in time; another request renews it")
        try:  # whoever is refused at the same time comes after us, and finds the new one
            with self._lock:
                self._drop(given.identity_token)
            if self._clock() - self._renewed_at >= AGAIN_SECONDS:
                self._renewed_at = self._clock()
                self._credentials.renew(given)
        finally:
            self._renewing.release()
        again = self.given(repository, deadline)
        return again if again != refused else None

    def follow(self, used: Proof, identity_token: str) -> None:
        """Take another identity token for the next time: a token service may replace it with every use."""
        with self._lock:
            olds = (given for given, latest in self._following.items() if latest == used.identity_token)
            given = next(olds, used.identity_token)
            if identity_token in {given, self._following.get(given)}:
                return
            self._drop(given if given in self._following or len(self._following) < MAX_KEPT else min(self._following))
            remember(identity_token)
            self._following[given] = identity_token

    def _drop(self, given: str) -> None:
        if old := self._following.pop(given, ""):
            forget(old)

    def header(self, proof: Proof | None) -> str | None:
        """Return the `Authorization` for whoever is to see the proof itself, None where it is none for that."""
        if proof is None or not (proof.bearer or proof.username or proof.password):
            return None
        if not proof.bearer:
            return self._basic(proof)
        if not _HEADER.fullmatch(proof.bearer):
            raise RegistryError(f"no login for {self._name}: the token holds characters that no header can carry")
        return f"Bearer {proof.bearer}"

    def _basic(self, proof: Proof) -> str:
        pair = f"{proof.username}:{proof.password}"
        with self._lock:
            if pair not in self._pairs:  # a server may echo the header, which holds neither name nor password as such
                remember(pair)
                self._pairs.append(pair)
            if len(self._pairs) > MAX_KEPT:
                forget(self._pairs.pop(0))
        return f"Basic {b64encode(pair.encode()).decode()}"

    def _latest(self, given: Proof) -> Proof:
        with self._lock:
            return replace(given, identity_token=self._following.get(given.identity_token, given.identity_token))
