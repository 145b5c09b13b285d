"""Maintenance windows: spans of time that begin by a cron schedule, in which updates may, or may not, be written.

    {kind: allow, schedule: "0 8 * * 1-5", duration: 8h, time_zone: Asia/Shanghai}

A deny window that is open closes. Where there are allow windows, one of them must be open. Without any, it is open.

The schedule is cron's own: five fields, 0 and 7 are Sunday, names of days and months, and where neither day field
begins with a star, either of them matches. It speaks of the clock on the wall; the duration is real time. Where clocks
go forward, a window that would begin in the hour that is skipped begins at its end; where they go back, a window that
begins at a time that comes twice begins once. One that begins every hour, or more often, begins whenever the clock
says so. Pure: all take `now`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, takewhile
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from updater.model.durations import Duration, spelled
from updater.plugins import Member

HORIZON = timedelta(days=400)  # how far a next opening is looked for: yearly windows are in reach
LONGEST = 366 * 86_400  # seconds of one window
HOPS = 2_000  # openings and closings that are looked at on the way
MAX_SCHEDULE = 200  # characters
_SECOND = timedelta(seconds=1)
_SHIFT = timedelta(hours=3)  # no clock is set back further
_STRIDE = timedelta(days=7)  # clocks are not changed twice within it
_LOOKS_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))
_EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001 - any clock on the wall, to try an expression


@dataclass(frozen=True, slots=True)
class Open:
    """Updates may be written."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Updates wait. `opens_at` is aware, in UTC; None where that is further away than anyone looks."""

    why: str
    opens_at: datetime | None


def _schedule(text: str) -> str:
    fields = text.split()
    try:
        if len(fields) != 5 or len(text) > MAX_SCHEDULE:
            raise ValueError("expected five fields: minute hour day month weekday")
        CronSim(text, _EPOCH)
    except CronSimError as err:
        said = str(err)
        raise ValueError(f"{said[:1].lower()}{said[1:]}; expected cron's five fields, e.g. 0 8 * * 1-5") from None
    return " ".join(fields)


def _length(seconds: int) -> int:
    if not 0 < seconds <= LONGEST:
        raise ValueError("expected a duration from 1s to 366d")
    return seconds


def _zone(name: str) -> str:
    try:
        zone(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"unknown time zone {name[:80]!r}; expected a name such as Asia/Shanghai or UTC") from None
    return name


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name; UTC needs no database. Raises ValueError, LookupError, OSError."""
    return UTC if name == "UTC" else ZoneInfo(name)


class Window(Member):
    """A span of time in which updates may, or may not, be written."""

    kind: Literal["allow", "deny"] = Field(description="allow: only within it; deny: never within it")
    schedule: Annotated[str, AfterValidator(_schedule)] = Field(description='when it begins, cron: "0 8 * * 1-5"')
    duration: Annotated[Duration, AfterValidator(_length)] = Field(description="how long it lasts")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="IANA name, for the schedule")

    @property
    def words(self) -> str:
        """Name the window as an operator would."""
        return f"{self.kind} window {self.schedule!r} for {spelled(self.duration)}, {self.time_zone}"

    def ends(self, at: datetime) -> datetime | None:
        """Return when the window that is open at a time in UTC ends, the last one of those that overlap; else None."""
        length = timedelta(seconds=self.duration)
        for back in (min(look, length) for look in _LOOKS_BACK):
            begun = list(takewhile(lambda start: start <= at, self.begins(at - back)))
            if begun:
                return begun[-1] + length
            if back == length:
                break
        return None

    def begins(self, after: datetime) -> Iterator[datetime]:
        """Yield when windows begin, strictly after a time in UTC, in order; within HORIZON of it."""
        once = not any(field.startswith("*") for field in self.schedule.split()[:2])  # not every hour or more often
        instants = _instants(self.schedule, zone(self.time_zone), after - _SHIFT if once else after, once=once)
        return (instant for instant in instants if instant > after)


def state(windows: tuple[Window, ...], now: datetime) -> Open | Closed:
    """Say whether updates may be written now, and if not why, and when they may."""
    return _state(windows, now.astimezone(UTC)) if windows else Open()


@lru_cache(maxsize=1024)
def _state(windows: tuple[Window, ...], now: datetime) -> Open | Closed:
    why = _closed(windows, now)
    return Closed(why, _opening(windows, now)) if why else Open()


def _closed(windows: Sequence[Window], at: datetime) -> str:
    """Return why it is closed, empty where it is open."""
    for window in windows:
        if window.kind == "deny" and window.ends(at) is not None:
            return f"a {window.words} is open"
    allowing = [window for window in windows if window.kind == "allow"]
    if not allowing or any(window.ends(at) is not None for window in allowing):
        return ""
    return f"outside the {allowing[0].words}" if len(allowing) == 1 else f"outside all {len(allowing)} allow windows"


def _opening(windows: Sequence[Window], now: datetime) -> datetime | None:
    """Hop from the end of one obstacle to the next until nothing is in the way."""
    at = now
    for _ in range(HOPS):
        if at > now + HORIZON:
            return None
        if ends := [end for window in windows if window.kind == "deny" and (end := window.ends(at))]:
            at = max(ends)
        elif not _closed(windows, at):
            return at
        else:
            begins = [next(islice(window.begins(at), 1), None) for window in windows if window.kind == "allow"]
            at = min((begin for begin in begins if begin), default=now + 2 * HORIZON)
    return None


def _instants(schedule: str, where: tzinfo, begin: datetime, *, once: bool) -> Iterator[datetime]:
    """Yield the instants at which a clock in a zone shows what a schedule says, from `begin` on.

    Between two changes of the clock the offset is constant, and cron runs on the bare clock. With `once`, times that
    the clock skips are taken when it does, and times that it shows twice the first time only.
    """
    at, limit = begin, begin + HORIZON
    offset = _offset(where, at)
    clock = at.replace(tzinfo=None) + offset
    while at < limit:
        change = _change(where, at, limit)
        for shown in _between(schedule, clock, change.replace(tzinfo=None) + offset):
            yield (shown - offset).replace(tzinfo=UTC)
        ended, offset = change.replace(tzinfo=None) + offset, _offset(where, change)
        clock = change.replace(tzinfo=None) + offset
        if once:
            if any(_between(schedule, ended, clock)):
                yield change
            clock = max(clock, ended)
        at = change


def _between(schedule: str, first: datetime, end: datetime) -> Iterator[datetime]:
    """Yield what a schedule says on a bare clock, from `first` until before `end`."""
    return takewhile(lambda shown: shown < end, CronSim(schedule, first - _SECOND)) if first < end else iter(())


def _change(where: tzinfo, at: datetime, limit: datetime) -> datetime:
    """Return the first instant after `at` with another offset, to the second, or the limit."""
    if where is UTC:
        return limit
    offset = _offset(where, at)
    low = at
    while low < limit:
        high = min(low + _STRIDE, limit)
        if _offset(where, high) != offset:
            while high - low > _SECOND:
                middle = low + (high - low) // 2
                low, high = (middle, high) if _offset(where, middle) == offset else (low, middle)
            return high.replace(microsecond=0)
        low = high
    return limit


def _offset(where: tzinfo, at: datetime) -> timedelta:
    offset = at.astimezone(where).utcoffset()
    assert offset is not None
    return offset
