"""APIServices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class APIService(Rule):
    """Healthy when it is available. One that is not may be on its way, so it is never Degraded."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apiregistration.k8s.io", "APIService")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the condition Available."""
        for condition in read.conditions(live):
            if condition.type == "Available":
                said = ": ".join(filter(None, (condition.reason, condition.message)))
                return read.healthy(said) if condition.status == "True" else read.progressing(said)
        return read.progressing("Waiting to be processed")
