"""ReplicaSets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class ReplicaSet(Rule):
    """Healthy when its replicas are available, Degraded when it cannot make them."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apps", "ReplicaSet")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the condition ReplicaFailure and the counts of the status."""
        if read.behind(live):
            return read.progressing("Waiting for the new spec to be observed")
        for condition in read.conditions(live):
            if condition.type == "ReplicaFailure" and condition.status == "True":
                return read.degraded(condition.message)
        wanted, available = read.number(live, "spec", "replicas"), read.number(live, "status", "availableReplicas")
        if available < wanted:
            return read.progressing(f"{available} of {wanted} replicas are available")
        return read.healthy()
