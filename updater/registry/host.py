"""How a host stands with us, whoever asks it: whether it is down, when it wants to be asked, what it lets us pull.

A host is the address that is asked: a registry, its token service, its storage. So one that is angry or down is known
to be so by every image, entry and login that needs it, and nobody else is kept waiting for it.
"""

from __future__ import annotations

import random as _random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from updater.errors import RegistryError
from updater.transport.http import Answer
from updater.transport.pace import Breaker, Budget, Pass

CONCURRENCY = 4  # requests at a time: GHCR answers 429 to some ten at once, with a login too
LONGEST_PAUSE = 5.0  # seconds that are waited for here; the next poll is better at longer ones
SPREAD = 5.0  # seconds, the most that is added to a pause so that not all come back in the same moment
PATIENT = 3  # answers of "too many requests" in a row that are no sign of trouble
MAX_HOSTS = 500  # whose standing is known: whoever writes challenges and redirects can name others without end

BUDGETS = {
    # "in the order of thousands of requests per minute" for each address, HEAD and lists too (Docker's usage manual)
    "docker.io": (10.0, 50),
    # some 70 lists at once were answered by 429, whoever logged in; one bucket is shared by all who come without login
    "ghcr.io": (10.0, 50),
    # "a few requests per second per IP, with some bursting" (Red Hat); its nginx gives lists of tags 5 a second
    "quay.io": (5.0, 20),
    # those who come without a login get one request a second, from memory; 400 and 429 otherwise
    "public.ecr.aws": (1.0, 10),
}
"""Requests a second, and at once, for hosts known to throttle; an entry's own `rate` and `burst` win."""

_SUBJECT = re.compile(r"/v2/(.+)/(?:tags|manifests|blobs|referrers)/")
_COUNT = re.compile(r"(\d{1,9})(?:;w=(\d{1,9}))?", re.ASCII)
_SOURCE = re.compile(r"[A-Za-z0-9.:_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be pulled, as the host said last. Docker Hub counts GETs of manifests, and nothing else.

    total      in a window, None where it was not told; remaining: of these
    window     seconds, None where it was not told
    source     whose pulls are counted: an address or an account, empty where it was not told
    at         when it was told, aware, in UTC
    """

    total: int | None
    remaining: int
    window: int | None
    source: str
    at: datetime

    @property
    def low(self) -> bool:
        """Whether less than a tenth is left."""
        return self.total is not None and 10 * self.remaining < self.total


def subject_of(url: str) -> str:
    """Return the repository that a request is about, empty where it is about none, as at a token service."""
    found = _SUBJECT.search(url)
    return found[1] if found else ""


def read_limit(answer: Answer, now: datetime) -> Limit | None:
    """Read `ratelimit-limit`, `ratelimit-remaining` and `docker-ratelimit-source`; None where nothing usable is told.

    https://docs.docker.com/docker-hub/usage/pulls/
    """
    remaining = _COUNT.fullmatch((answer.header("ratelimit-remaining") or "")[:40].strip())
    if remaining is None:
        return None
    total = _COUNT.fullmatch((answer.header("ratelimit-limit") or "")[:40].strip())
    window = (total and total[2]) or remaining[2]
    source = (answer.header("docker-ratelimit-source") or "")[:80].strip()
    return Limit(
        int(total[1]) if total else None, int(remaining[1]), int(window) if window else None,
        source if _SOURCE.fullmatch(source) else "", now,
    )  # fmt: skip


class Host:
    """One host; shared by threads. `name` is what errors call it."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.name = name
        self.limit: Limit | None = None
        self._clock, self._random = clock, random
        self._breaker = Breaker(1, clock=clock, random=random)  # a failure here is that of all tries of one request
        self._lock = threading.Lock()
        self._until, self._wish = 0.0, ""  # when the host wants to be asked again, and what it answered
        self._limited = 0  # answers of "too many requests" in a row
        self._answered = float("-inf")  # when it last gave an answer
        self._down: tuple[datetime, str] | None = None  # since when, and what happened
        self._doubt = ""  # the one repository that it answered with trouble for, which may be that one's alone

    @property
    def pause(self) -> float:
        """Seconds until the host wants to be asked again, 0 for now."""
        with self._lock:
            return max(0.0, self._until - self._clock())

    def now(self) -> float:
        """Return the time of its clock."""
        return self._clock()

    def away(self) -> RegistryError:
        """Return what to tell whoever would not wait for the end of the pause."""
        with self._lock:
            wait, wish = self._until - self._clock(), self._wish
        return RegistryError(f"{self.name} wants fewer requests: {wish}", retry_at=_after(wait))

    def enter(self, patience: float = 0.0, subject: str = "") -> Visit:
        """Begin a request, which ends with `Visit.leave`. Raises RegistryError where the host is down.

        Who comes while somebody finds out whether it is back waits for that, so many seconds at most: else one
        question that it cannot answer would have all of the next ones refused but the first. `subject` is the
        repository that is asked about: where there is trouble with one alone, each other one has a try.
        """
        leave = self._breaker.enter(patience)
        if leave is None:
            with self._lock:
                known = not self._doubt or subject in {"", self._doubt}
            if known:
                raise self._gone()
            leave = Pass(probe=True)
        return Visit(self, leave, self._clock(), subject)

    def ask_for_pause(self, seconds: float, wish: str) -> float:
        """Have nobody ask for so many seconds and a few more; return how many they are."""
        pause = seconds + self._random() * min(SPREAD, seconds / 4)
        with self._lock:
            self._until, self._wish = max(self._until, self._clock() + pause), wish
        return pause

    def heard(self, answer: Answer) -> bool:
        """Keep what an answer says of limits; return whether it is one "too many requests" too many in a row."""
        limit = read_limit(answer, datetime.now(UTC))
        with self._lock:
            if limit is not None:
                self.limit = limit
            self._limited = self._limited + 1 if answer.status == 429 else 0
            return self._limited > PATIENT

    def leave(self, visit: Visit, worked: bool | None, why: str, *, answered: bool) -> RegistryError | None:
        """Learn from a request that ended; see `Visit.leave`."""
        with self._lock:
            if worked:
                self._answered, self._down = self._clock(), None
            elif worked is False and self._answered >= visit.since:
                worked = None  # others were answered meanwhile: this question is the trouble, not the host
            elif worked is False and self._down is None:
                self._down, self._doubt = (datetime.now(UTC), why), visit.subject if answered else ""
            elif worked is False and not (answered and visit.subject == self._doubt):
                self._doubt = ""
        self._breaker.leave(visit.granted, worked)
        return self._gone() if worked is False else None

    def _gone(self) -> RegistryError:
        """Return the same words for as long as it lasts: who tells of changes has none to tell."""
        with self._lock:
            since, why = self._down or (datetime.now(UTC), "no answer")
        wait = max(1.0, self._breaker.wait)  # a probe that is under way takes a moment too
        return RegistryError(f"{self.name} is down since {since:%Y-%m-%d %H:%M:%S} UTC: {why}", retry_at=_after(wait))


@dataclass(slots=True)
class Visit:
    """One request, its tries together. A probe, at a host that is down, has one try."""

    host: Host
    granted: Pass
    since: float  # of the host's clock: its first try
    subject: str = ""
    _left: bool = False

    @property
    def probe(self) -> bool:
        """Whether it is to find out if the host is back."""
        return self.granted.probe

    def begin(self) -> None:
        """The first try goes out; what was waited for before says nothing of the host."""
        self.since = self.host.now()

    def leave(self, worked: bool | None = None, why: str = "", *, answered: bool = False) -> RegistryError | None:
        """End it, once: True for an answer, False for none, with `why`, and None where nothing was learnt.

        `answered` says of False that there was one, which tells of trouble. Return what to tell of a host that is down.
        """
        if self._left:
            return None
        self._left = True
        return self.host.leave(self, worked, why, answered=answered)


class Hosts:
    """The hosts that were asked; shared by threads. `clock` and `random` are those of each."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, random: Callable[[], float] = _random.random
    ) -> None:
        self._clock, self._random = clock, random
        self._lock = threading.Lock()
        self._hosts: OrderedDict[tuple[str, str], Host] = OrderedDict()
        self._budgets: dict[str, Budget] = {}
        self._turns: dict[str, threading.BoundedSemaphore] = {}

    def at(self, url: str) -> Host:
        """Return the host of an address; the one that was not asked for longest is forgotten where there are many."""
        try:
            parts = urlsplit(url)
            key = parts.scheme, parts.netloc.rpartition("@")[2].lower()
        except ValueError:
            key = "", ""  # is no address, and will not be asked
        with self._lock:
            host = self._hosts.pop(key, None) or Host(key[1][:100], clock=self._clock, random=self._random)
            self._hosts[key] = host
            if len(self._hosts) > MAX_HOSTS:
                self._hosts.popitem(last=False)
            return host

    def budget(self, registry: str) -> Budget | None:
        """Return the built-in budget of a registry, by its name in images, which all of its entries share."""
        if registry not in BUDGETS:
            return None
        with self._lock:
            return self._budgets.setdefault(registry, Budget(*BUDGETS[registry]))

    def turns(self, base: str) -> threading.BoundedSemaphore:
        """Return the turns at an address, which all entries share that say no `concurrency` of their own."""
        with self._lock:
            return self._turns.setdefault(base, threading.BoundedSemaphore(CONCURRENCY))


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
