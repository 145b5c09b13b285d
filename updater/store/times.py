"""Times are aware inside the program, and naive UTC in the database: not every one knows zones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def aware(value: datetime) -> datetime: ...
@overload
def aware(value: None) -> None: ...
def aware(value: datetime | None) -> datetime | None:
    """Return what was stored."""
    return None if value is None else value.replace(tzinfo=UTC)


@overload
def naive(value: datetime) -> datetime: ...
@overload
def naive(value: None) -> None: ...
def naive(value: datetime | None) -> datetime | None:
    """Return what to store."""
    return None if value is None else value.astimezone(UTC).replace(tzinfo=None)
