"""The timeline of an image as numbers: tags by the day they were first seen, and what ran when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 960, 130
LEFT, RIGHT = 16, 944
TAGS, RUNS, AXIS = 34, 62, 104  # heights of the lanes
LEAST = timedelta(hours=1)
MOST_TAGS, MOST_RUNS = 200, 40
WIDE = 7  # units of a character


@dataclass(frozen=True, slots=True)
class Dot:
    """One tag."""

    x: float
    tag: str
    at: datetime
    newest: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """What ran from one commit to the next; `label` is empty where it would not fit."""

    x: float
    width: float
    version: str
    label: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tick:
    """A day of the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything to draw, in units of a sheet of WIDTH by HEIGHT."""

    dots: tuple[Dot, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def timeline(
    tags: Sequence[tuple[str, datetime]], runs: Sequence[tuple[str, datetime]], now: datetime
) -> Timeline | None:
    """Return the drawing of tags with the times they were first seen, and of versions with those they were committed.

    None where nothing is known. Of many the latest are drawn.
    """
    tags = sorted(tags, key=lambda one: one[1])[-MOST_TAGS:]
    runs = sorted(runs, key=lambda one: one[1])[-MOST_RUNS:]
    if not tags and not runs:
        return None
    start = min(now - LEAST, *(at for _, at in (*tags, *runs)))
    span = now - start

    def x(at: datetime) -> float:
        return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, (at - start) / span)), 1)

    ends = [at for _, at in runs[1:]] + [now]
    bars = []
    for (version, at), end in zip(runs, ends, strict=False):  # the last end is that of none where nothing ran
        width = max(2.0, round(x(end) - x(at), 1))
        short = version.partition("@")[0] or version[:19]
        bars.append(Bar(x(at), width, version, short if len(short) * WIDE < width - 8 else "", at))
    dots = tuple(Dot(x(at), tag, at, newest=(tag, at) == tags[-1]) for tag, at in tags)
    days = [start, start + span / 2, start + span]
    form = "%Y-%m-%d" if span > timedelta(days=2) else "%m-%d %H:%M"
    return Timeline(dots, tuple(bars), tuple(Tick(x(day), day.strftime(form)) for day in days))
