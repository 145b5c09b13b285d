"""Deployments: as `kubectl rollout status` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class Deployment(Rule):
    """Healthy when every replica is of the newest spec, available, and no old one is left."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apps", "Deployment")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the counts of the status."""
        if read.flag(live, "spec", "paused"):
            return read.suspended("Deployment is paused")
        if read.behind(live):
            return read.progressing("Waiting for the new spec to be observed")
        for condition in read.conditions(live):
            if condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded":
                return read.degraded(condition.message or "Deployment exceeded its progress deadline")
        return _rollout(live) or read.healthy()


def _rollout(live: Mapping[str, Any]) -> HealthStatus | None:
    wanted = read.number(live, "spec", "replicas")
    total, updated, available = (
        read.number(live, "status", name) for name in ("replicas", "updatedReplicas", "availableReplicas")
    )
    if updated < wanted:
        return read.progressing(f"{updated} of {wanted} new replicas have been updated")
    if total > updated:
        return read.progressing(f"{total - updated} old replicas are pending termination")
    if available < updated:
        return read.progressing(f"{available} of {updated} updated replicas are available")
    return None
