"""DaemonSets: as `kubectl rollout status` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class DaemonSet(Rule):
    """Healthy when every node that should have one has an available pod of the newest spec."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apps", "DaemonSet")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the counts of the status."""
        if read.behind(live):
            return read.progressing("Waiting for the new spec to be observed")
        wanted, updated, available = (
            read.number(live, "status", name)
            for name in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        )
        if read.text(live, "spec", "updateStrategy", "type") == "OnDelete":
            return read.healthy(f"{updated} of {wanted} new pods have been updated")
        if updated < wanted:
            return read.progressing(f"{updated} of {wanted} new pods have been updated")
        if available < wanted:
            return read.progressing(f"{available} of {wanted} updated pods are available")
        return read.healthy()
