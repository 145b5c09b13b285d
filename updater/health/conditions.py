"""Custom resources that say how they are in one condition. A kind of another operator is one more line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import HealthStatus


@dataclass(frozen=True, slots=True)
class _Saying:
    """True of `type` is Healthy, False is Degraded, anything else Progressing; `busy` is Progressing before them."""

    type: str = "Ready"
    busy: str = ""


_READY = _Saying()
_TABLE: dict[GroupKind, _Saying] = {
    ("external-secrets.io", "ExternalSecret"): _READY,
    ("external-secrets.io", "SecretStore"): _READY,
    ("external-secrets.io", "ClusterSecretStore"): _READY,
    ("cert-manager.io", "Certificate"): _Saying(busy="Issuing"),  # while it is renewed, Ready may be False
    ("cert-manager.io", "Issuer"): _READY,
    ("cert-manager.io", "ClusterIssuer"): _READY,
    ("bitnami.com", "SealedSecret"): _Saying("Synced"),
}


class Conditions(Rule):
    """Healthy when the condition of its kind is True."""

    kinds: ClassVar[frozenset[GroupKind]] = frozenset(_TABLE)

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the conditions; what was said of an older spec does not count."""
        saying = _TABLE[read.text(live, "apiVersion").rpartition("/")[0], read.text(live, "kind")]
        if read.has(live, "status", "observedGeneration") and read.behind(live):
            return read.progressing("Waiting for the new spec to be observed")
        said = {condition.type: condition for condition in read.conditions(live)}
        if (busy := said.get(saying.busy)) and busy.status == "True":
            return read.progressing(busy.message)
        found = said.get(saying.type)
        if found is None or found.status not in {"True", "False"}:
            return read.progressing(found.message if found else f"Waiting for the condition {saying.type}")
        return read.healthy(found.message) if found.status == "True" else read.degraded(found.message)
