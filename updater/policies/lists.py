"""The rule of incomplete lists: a list that suddenly lost much is not believed at once.

    grown, or lost at most a fifth     accepted
    lost more than a fifth             doubted, until three scans, each at least ten minutes after the one before, agree
    empty                              doubted as long as it is empty

Scans agree when they miss the same of the tags that we knew; what was pushed meanwhile does not matter, and a tag that
is back, or one more that is gone, begins the count anew. Scans in between that come too early neither count nor harm.
An empty list counts as no scan at all, like one that was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

TOLERATED = 5  # a list may lose one in five of its tags at once: cleaning up after releases loses less
AGREEING = 3  # scans
APART = timedelta(minutes=10)  # longer than caches of registries and their restarts


@dataclass(frozen=True, slots=True)
class Doubt:
    """What `seen` scans between `since` and `last` agree on: the fingerprint of the tags that they miss."""

    fingerprint: str
    seen: int
    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """The list is believed; on the first look at an image everything is added."""

    added: frozenset[str]
    gone: frozenset[str]


@dataclass(frozen=True, slots=True)
class Doubted:
    """The list is not believed, and why; `doubt` is what to remember of it."""

    why: str
    doubt: Doubt | None


def fingerprint(names: Iterable[str]) -> str:
    """Return the same 32 hexadecimal characters for the same names in any order."""
    # surrogatepass: a registry may answer with halves of characters, and that is no reason to fall over.
    return blake2b("\n".join(sorted(names)).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def weigh(
    known: frozenset[str] | None, doubt: Doubt | None, names: frozenset[str], now: datetime
) -> Accepted | Doubted:
    """Say whether a complete list is believed.

    known  the names of the last list that was believed, None before the first
    doubt  what was returned for the list before, None where that was believed
    """
    if not known:
        return Accepted(names, frozenset())
    if not names:
        why = (
            f"the list is empty, {len(known)} known tags missing; an empty list is never believed, this ends with tags"
        )
        return Doubted(why, doubt)
    gone = known - names
    if len(gone) * TOLERATED <= len(known):
        return Accepted(names - known, gone)
    now_doubt = _counted(doubt, fingerprint(gone), now)
    if now_doubt.seen >= AGREEING:
        return Accepted(names - known, gone)
    return Doubted(_words(len(gone), len(known), now_doubt), now_doubt)


def _counted(doubt: Doubt | None, missing: str, now: datetime) -> Doubt:
    """Count this scan. A clock that was set back begins anew, else it could stop the count for years."""
    if doubt is None or doubt.fingerprint != missing or now < doubt.last:
        return Doubt(missing, 1, now, now)
    if now - doubt.last < APART:
        return doubt
    return Doubt(missing, doubt.seen + 1, doubt.since, now)


def _words(gone: int, known: int, doubt: Doubt) -> str:
    """Say it in the same words until something happens: a reason that changes is told again."""
    left = AGREEING - doubt.seen
    what = "1 more scan misses" if left == 1 else f"{left} more scans miss"
    earliest = doubt.last + left * APART
    apart = APART // timedelta(minutes=1)
    return (
        f"{gone} of {known} known tags missing, more than one in {TOLERATED}; believed when {what} the same, "
        f"each at least {apart} min after the one before: {earliest:%Y-%m-%dT%H:%M:%SZ} or later"
    )
