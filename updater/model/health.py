"""How an object, or an application, is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The words of Argo CD, the best first: an application is as its worst object is."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def rank(self) -> int:
        """Where it stands: 0 for Healthy."""
        return list(Health).index(self)


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """A health, and what the object says about it."""

    health: Health
    message: str = ""
