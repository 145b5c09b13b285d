"""Reading what an object says about itself. Anyone may write a status, so a wrong type is Odd, never a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from updater.model.health import Health, HealthStatus


class Odd(ValueError):
    """A field has another type than its kind gives it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of `status.conditions`; a field that is not there is empty."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


def mapping(live: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path, empty where there is none."""
    found = _at(live, path)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _odd(path, found, "a mapping")
    return found


def has(live: Mapping[str, Any], *path: str) -> bool:
    """Whether there is something at a path."""
    return _at(live, path) is not None


def number(live: Mapping[str, Any], *path: str) -> int:
    """Return the whole number at a path, 0 where there is none, as the API leaves zeros out."""
    found = _at(live, path)
    if found is None:
        return 0
    if isinstance(found, bool) or not isinstance(found, int):
        raise _odd(path, found, "a whole number")
    return found


def text(live: Mapping[str, Any], *path: str) -> str:
    """Return the text at a path, empty where there is none."""
    found = _at(live, path)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _odd(path, found, "a text")
    return found


def flag(live: Mapping[str, Any], *path: str) -> bool:
    """Whether the boolean at a path is true."""
    found = _at(live, path)
    if found is not None and not isinstance(found, bool):
        raise _odd(path, found, "true or false")
    return bool(found)


def items(live: Mapping[str, Any], *path: str) -> list[Any]:
    """Return the list at a path, empty where there is none."""
    found = _at(live, path)
    if found is None:
        return []
    if not isinstance(found, list):
        raise _odd(path, found, "a list")
    return found


def mappings(live: Mapping[str, Any], *path: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a list of mappings."""
    for entry in items(live, *path):
        if not isinstance(entry, Mapping):
            raise _odd(path, entry, "mappings in it")
        yield entry


def instant(live: Mapping[str, Any], *path: str) -> datetime | None:
    """Return the time at a path, aware; None where there is none."""
    found = text(live, *path)
    if not found:
        return None
    try:
        at = datetime.fromisoformat(found)
    except ValueError:
        raise _odd(path, found, "a time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def conditions(live: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return `status.conditions`."""
    return tuple(condition(entry) for entry in mappings(live, "status", "conditions"))


def condition(entry: Mapping[str, Any]) -> Condition:
    """Read one condition."""
    return Condition(text(entry, "type"), text(entry, "status"), text(entry, "reason"), text(entry, "message"))


def behind(live: Mapping[str, Any]) -> bool:
    """Whether the controller has not yet seen the newest spec."""
    return number(live, "metadata", "generation") > number(live, "status", "observedGeneration")


def healthy(message: str = "") -> HealthStatus:
    """Healthy."""
    return HealthStatus(Health.HEALTHY, message)


def progressing(message: str = "") -> HealthStatus:
    """Progressing."""
    return HealthStatus(Health.PROGRESSING, message)


def degraded(message: str = "") -> HealthStatus:
    """Degraded."""
    return HealthStatus(Health.DEGRADED, message)


def suspended(message: str = "") -> HealthStatus:
    """Suspended."""
    return HealthStatus(Health.SUSPENDED, message)


def _at(live: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = live
    for done, name in enumerate(path):
        if found is None:
            return None
        if not isinstance(found, dict):  # as JSON is read
            raise _odd(path[:done], found, "a mapping")
        found = found.get(name)
    return found


def _odd(path: tuple[str, ...], found: Any, expected: str) -> Odd:
    return Odd(f"found {type(found).__name__} in .{'.'.join(path)}, expected {expected}")
