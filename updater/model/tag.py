"""What a registry has of one image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto

from updater.model.origin import NOWHERE, Origin


class Needs(Flag):
    """The facts of tags that a rule asks for; `scan` fetches exactly these."""

    NAMES = auto()
    DIGEST = auto()
    CREATED = auto()
    PLATFORMS = auto()
    SEEN = auto()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, and what is known of it. `known` says which facts were asked for: None may be the answer.

    digest      that of its index, or of its manifest where there is no index
    created     what its configuration says, aware, in UTC; None for a date that is none (before 1981)
    platforms   `os/architecture[/variant]`, without attestations
    first_seen  when we first listed it, aware, in UTC; None where it was there on our first scan
    first_digest  its digest when we first asked; SEEN asks for it where nobody did before
    """

    name: str
    digest: str | None = None
    created: datetime | None = None
    platforms: frozenset[str] = frozenset()
    first_seen: datetime | None = None
    first_digest: str | None = None
    known: Needs = Needs.NAMES


@dataclass(frozen=True, slots=True)
class Described:
    """The content of one digest; times are aware, in UTC.

    created        None where it says none, or was not asked
    asked_created  whether it was asked, and its origin with it
    first_seen     when we first stored this digest; None before that
    origin         what it says of where it comes from; of an index that was not asked, by its annotations alone
    speaker        of an index, the digest of the image that says the rest
    """

    created: datetime | None
    platforms: frozenset[str]
    asked_created: bool
    first_seen: datetime | None = None
    origin: Origin = NOWHERE
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at one image. `complete` is False when the list is cut off or empty; `why` then says so in words."""

    image: str
    tags: tuple[Tag, ...]
    at: datetime
    complete: bool = True
    why: str = ""
