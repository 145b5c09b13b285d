"""Who is logged in: people, and the sessions that browsers hold the random name of. All of it is gone with the process.

What the program itself makes and hands out is signed by a key of this process, which nobody else knows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LIFE = 12 * 3600.0  # seconds that a session lasts, whatever is done in it
MOST = 1000  # sessions at once; the oldest ends for one more
MAX_ADDRESSES = 1000  # whose failed tries are remembered
FREE_TRIES = 5  # that cost no wait
LONGEST_WAIT = 60.0  # seconds between two tries
FORGOTTEN = 900.0  # seconds after which failed tries count no longer
_MAX_NAME = 100  # characters


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may look, and who `may_act` or not."""

    name: str
    may_act: bool


LOCAL = Person("local", may_act=True)
"""Whoever asks from this machine, where no login is configured."""


def called(name: str) -> str:
    """Return what somebody is called: a text from outside, made short and printable."""
    return "".join(char for char in name if char.isprintable())[:_MAX_NAME].strip() or "somebody"


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `proof` is what let them in: it ends where that lets nobody in any more. `csrf` goes with forms."""

    person: Person
    proof: str
    csrf: str
    until: float


class Sessions:
    """Those that are open, by a hash of their name; threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._open: OrderedDict[str, Session] = OrderedDict()

    def open(self, person: Person, proof: str) -> str:
        """Begin one and return its name."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._open) >= MOST:
                self._open.popitem(last=False)
            until = self._clock() + LIFE
            self._open[_hash(name)] = Session(person, proof, secrets.token_urlsafe(32), until)
        return name

    def find(self, name: str | None) -> Session | None:
        """Return the one with this name, None where there is none or it is over."""
        with self._lock:
            found = self._open.get(_hash(name)) if name else None
            if found is not None and found.until <= self._clock():
                del self._open[_hash(name or "")]
                return None
            return found

    def close(self, name: str | None) -> None:
        """End one."""
        with self._lock:
            self._open.pop(_hash(name or ""), None)


class Tries:
    """Failed tries to log in, by address: after some of them each has to wait, longer every time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when the last time

    def wait(self, address: str) -> float:
        """Return the seconds until an address may try again."""
        with self._lock:
            count, last = self._failed.get(address, (0, 0.0))
            passed = self._clock() - last
            if count < FREE_TRIES or passed > FORGOTTEN:
                return 0.0
            return max(0.0, min(LONGEST_WAIT, 2.0 ** min(count - FREE_TRIES, 10)) - passed)

    def failed(self, address: str) -> None:
        """Note a try that failed."""
        with self._lock:
            count, last = self._failed.pop(address, (0, 0.0))
            if self._clock() - last > FORGOTTEN:
                count = 0
            while len(self._failed) >= MAX_ADDRESSES:
                self._failed.popitem(last=False)
            self._failed[address] = (count + 1, self._clock())

    def passed(self, address: str) -> None:
        """Forget what failed."""
        with self._lock:
            self._failed.pop(address, None)


class Seal:
    """Signs what a browser is to bring back unchanged; each use has a name, so that none stands for another."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, use: str, text: str) -> str:
        """Return what only this process can make of a text."""
        digest = hmac.digest(self._key, f"{use}\0{text}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def close(self, use: str, document: Mapping[str, Any]) -> str:
        """Return a document as a text that fits into a cookie."""
        text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
        return f"{text}.{self.token(use, text)}"

    def open(self, use: str, sealed: str | None) -> dict[str, Any] | None:
        """Return the document, None where it is not one of ours."""
        text, _, signed = (sealed or "").rpartition(".")
        if not text or not same(signed, self.token(use, text)):
            return None
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return found


def same(one: str, other: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()
