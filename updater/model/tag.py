"""What a registry has of one image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto


class Needs(Flag):
    """The facts of tags that a rule asks for; `scan` fetches exactly these."""

    NAMES = auto()
    DIGEST = auto()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag; `digest` is that of its index or manifest where it was asked for."""

    name: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at one image. `complete` is False when the list is cut off or empty; `why` then says so in words."""

    image: str
    tags: tuple[Tag, ...]
    at: datetime
    complete: bool = True
    why: str = ""
