"""Ingresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


class Ingress(Rule):
    """Healthy when it has an address, where the cluster gives any."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("networking.k8s.io", "Ingress"), ("extensions", "Ingress")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the addresses of the status."""
        if read.items(live, "status", "loadBalancer", "ingress") or not context.ingress_address:
            return read.healthy()
        return read.progressing("Waiting for an address")
