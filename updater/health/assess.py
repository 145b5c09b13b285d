"""How one object is, and how an application is by its objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from updater.health import read
from updater.health.base import Context, Rule, rules
from updater.model.health import Health, HealthStatus
from updater.model.resource import Key

IGNORE = "argocd.argoproj.io/ignore-healthcheck"
LONGEST = 500  # characters of a message; controllers put whole traces into them


def health_of(
    live: Mapping[str, Any],
    *,
    exists: Callable[[Key], bool | None],
    now: datetime,
    ingress_address: bool = True,
) -> HealthStatus | None:
    """Say how a live object is; None where its kind has no health, or its annotation asks not to look.

    What cannot be read is Unknown, and its message says what is wrong. `now` is aware.
    """
    try:
        if read.mapping(live, "metadata", "annotations").get(IGNORE) == "true":
            return None
        if read.has(live, "metadata", "deletionTimestamp"):
            return read.progressing(_pending(live))
        rule = _rule(live)
        found = rule.assess(live, Context(now, exists, ingress_address)) if rule else None
    except read.Odd as err:
        return HealthStatus(Health.UNKNOWN, str(err))
    return replace(found, message=_line(found.message)) if found else None


def needs(live: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the objects about whose existence `health_of` will ask."""
    try:
        rule = _rule(live)
        return rule.needs(live) if rule else ()
    except read.Odd:
        return ()


def overall(statuses: Iterable[HealthStatus | None]) -> Health:
    """Return the health of an application by its objects, hooks left out: that of the worst one.

    None stands for an object that is there and has no health. Missing objects do not count, unless all are missing.
    """
    everything = list(statuses)
    there = [status for status in everything if status is None or status.health is not Health.MISSING]
    if everything and not there:
        return Health.MISSING
    return max((status.health for status in there if status), key=lambda health: health.rank, default=Health.HEALTHY)


def _rule(live: Mapping[str, Any]) -> Rule | None:
    version, kind = live.get("apiVersion"), live.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        version, kind = read.text(live, "apiVersion"), read.text(live, "kind")
    return rules().get((version.rpartition("/")[0], kind))


def _pending(live: Mapping[str, Any]) -> str:
    finalizers = [name for name in read.items(live, "metadata", "finalizers") if isinstance(name, str)]
    return _line(f"Pending deletion; blocked by {', '.join(finalizers)}" if finalizers else "Pending deletion")


def _line(message: str) -> str:
    """Return text from outside as one line that a terminal can show."""
    line = " ".join("".join(char if char.isprintable() else " " for char in message).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
