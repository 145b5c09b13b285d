"""CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus

_BAD = {
    ("NamesAccepted", "False"): "its names are not accepted",
    ("NonStructuralSchema", "True"): "its schema is not structural",
}


class CustomResourceDefinition(Rule):
    """Healthy when it is established: objects of its kind can be made."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("apiextensions.k8s.io", "CustomResourceDefinition")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the conditions, the bad ones first."""
        said = read.conditions(live)
        for condition in said:
            if why := _BAD.get((condition.type, condition.status)):
                return read.degraded(condition.message or why)
        if any(condition.type == "Established" and condition.status == "True" for condition in said):
            return read.healthy()
        return read.progressing("Waiting to be established")
