"""StatefulSets: as `kubectl rollout status` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class StatefulSet(Rule):
    """Healthy when all pods are ready, and as many of the newest spec as its strategy asks for."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apps", "StatefulSet")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the counts and revisions of the status."""
        if not read.number(live, "status", "observedGeneration") or read.behind(live):
            return read.progressing("Waiting for the new spec to be observed")
        wanted, ready = read.number(live, "spec", "replicas"), read.number(live, "status", "readyReplicas")
        if ready < wanted:
            return read.progressing(f"Waiting for {wanted - ready} pods to be ready")
        return _rollout(live, wanted)


def _rollout(live: Mapping[str, Any], wanted: int) -> HealthStatus:
    strategy, updated = (
        read.text(live, "spec", "updateStrategy", "type"),
        read.number(live, "status", "updatedReplicas"),
    )
    if strategy == "RollingUpdate" and read.has(live, "spec", "updateStrategy", "rollingUpdate"):
        share = wanted - read.number(live, "spec", "updateStrategy", "rollingUpdate", "partition")
        partitioned = read.has(live, "spec", "updateStrategy", "rollingUpdate", "partition")
        if partitioned and updated < share:
            return read.progressing(f"{updated} of {share} new pods have been updated")
        return read.healthy(f"{updated} new pods have been updated")
    if strategy == "OnDelete":
        return read.healthy(f"{read.number(live, 'status', 'readyReplicas')} pods are ready")
    newest = read.text(live, "status", "updateRevision")
    if newest != read.text(live, "status", "currentRevision"):
        return read.progressing(f"{updated} pods are at revision {newest}")
    return read.healthy()
