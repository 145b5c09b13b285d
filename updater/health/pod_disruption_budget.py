"""PodDisruptionBudgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class PodDisruptionBudget(Rule):
    """Degraded when its controller cannot count. Too few pods to disrupt one is what a budget may be there for."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("policy", "PodDisruptionBudget")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the conditions."""
        said = read.conditions(live)
        for condition in said:
            if condition.status == "False" and condition.reason != "InsufficientPods":
                return read.degraded(": ".join(filter(None, (condition.reason, condition.message))))
        return read.healthy(said[0].reason) if said else read.progressing("Waiting for its status")
