"""Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class Job(Rule):
    """Healthy when it is over and succeeded. Of Failed and Complete the mere presence counts, as in Argo CD."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("batch", "Job")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the conditions."""
        said = {condition.type: condition for condition in read.conditions(live)}
        if failed := said.get("Failed"):
            return read.degraded(failed.message)
        if (paused := said.get("Suspended")) and paused.status == "True":
            return read.suspended(paused.message)
        if complete := said.get("Complete"):
            return read.healthy(complete.message)
        return read.progressing()
