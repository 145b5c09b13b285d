"""ExternalSecrets of Alibaba Cloud's ack-secret-manager, whose status is always empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import Health, HealthStatus
from updater.model.resource import Key

PATIENCE = timedelta(minutes=5)  # a secret that is not there by then will hardly come by itself


class ExternalSecret(Rule):
    """Healthy when the Secret of the same namespace and name exists; its content is never asked for."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("alibabacloud.com", "ExternalSecret")})

    def needs(self, live: Mapping[str, Any]) -> tuple[Key, ...]:
        """Return the Secret that it makes."""
        return (Key("", "Secret", read.text(live, "metadata", "namespace"), read.text(live, "metadata", "name")),)

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by whether the Secret exists, and how long it has been waited for."""
        (secret,) = self.needs(live)
        exists = context.exists(secret)
        if exists is None:
            return HealthStatus(Health.UNKNOWN, f"could not find out whether {secret} exists")
        if exists:
            return read.healthy()
        made = read.instant(live, "metadata", "creationTimestamp")
        if made is None or context.now - made < PATIENCE:
            return read.progressing(f"Waiting for {secret}")
        return read.degraded(f"{secret} does not exist")
