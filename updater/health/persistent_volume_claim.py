"""PersistentVolumeClaims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import Health, HealthStatus

_PHASES = {"Bound": Health.HEALTHY, "Pending": Health.PROGRESSING, "Lost": Health.DEGRADED}


class PersistentVolumeClaim(Rule):
    """Healthy when it is bound."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("", "PersistentVolumeClaim")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the phase."""
        phase = read.text(live, "status", "phase")
        return HealthStatus(
            _PHASES.get(phase, Health.UNKNOWN), "" if phase == "Bound" else f"phase {phase or 'unknown'}"
        )
