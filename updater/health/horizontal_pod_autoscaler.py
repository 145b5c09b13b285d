"""HorizontalPodAutoscalers, of all versions of their API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus

_V1_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"  # where autoscaling/v1 keeps them, as JSON
_FAILURES = {"AbleToScale": ("FailedGetScale", "FailedUpdateScale"), "ScalingActive": ("Failed", "InvalidSelector")}
_FINE = {"AbleToScale", "ScalingLimited"}


class HorizontalPodAutoscaler(Rule):
    """Healthy when it can scale. One without metrics is Degraded, also where the last scale was reached."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("autoscaling", "HorizontalPodAutoscaler")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the conditions, the bad ones first."""
        said = read.conditions(live) or _of_v1(live)
        for condition in said:
            if condition.reason.startswith(_FAILURES.get(condition.type, ("\0",))):
                return read.degraded(condition.message or condition.reason)
        for condition in said:
            if condition.type in _FINE and condition.status == "True":
                return read.healthy(condition.message)
        return read.progressing("Waiting to autoscale")


def _of_v1(live: Mapping[str, Any]) -> tuple[read.Condition, ...]:
    written = read.text(live, "metadata", "annotations", _V1_CONDITIONS)
    try:
        found = json.loads(written) if written else []
    except (ValueError, RecursionError):
        raise read.Odd(f"found no JSON in the annotation {_V1_CONDITIONS}, expected conditions") from None
    return read.conditions({"status": {"conditions": found}})
