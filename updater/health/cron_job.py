"""CronJobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class CronJob(Rule):
    """Healthy, unless its last run is over and did not succeed. One that never succeeded may not have run yet."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("batch", "CronJob")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the times of the status."""
        if read.flag(live, "spec", "suspend"):
            return read.suspended("CronJob is suspended")
        scheduled = read.instant(live, "status", "lastScheduleTime")
        succeeded = read.instant(live, "status", "lastSuccessfulTime")
        if scheduled and succeeded and succeeded < scheduled and not read.items(live, "status", "active"):
            return read.degraded("The last run did not succeed")
        return read.healthy()
