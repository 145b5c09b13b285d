"""Services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class Service(Rule):
    """Healthy, but a load balancer must have its address."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("", "Service")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the type and the addresses of the status."""
        if read.text(live, "spec", "type") != "LoadBalancer" or read.items(live, "status", "loadBalancer", "ingress"):
            return read.healthy()
        return read.progressing("Waiting for an address")
