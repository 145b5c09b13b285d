"""Pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from updater.health import read
from updater.health.base import Context, GroupKind, Rule
from updater.model.health import Health, HealthStatus


class Pod(Rule):
    """A pod that restarts always is Healthy when it is ready; one that ends is Healthy when it has succeeded.

    Of the latter an image that cannot be pulled yet is no failure: it would fail the hook that it often is.
    """

    kinds: ClassVar[frozenset[GroupKind]] = frozenset({("", "Pod")})

    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Judge by the phase, and by what the containers wait for."""
        stays = (read.text(live, "spec", "restartPolicy") or "Always") == "Always"
        if stays and (stuck := list(_stuck(live))):
            return read.degraded(", ".join(stuck))
        message = read.text(live, "status", "message")
        match read.text(live, "status", "phase"):
            case "Pending":
                return read.progressing(message)
            case "Succeeded":
                return read.healthy(message)
            case "Failed":
                return read.degraded(message or next(_failures(live), ""))
            case "Running":
                return _running(live, message) if stays else read.progressing(message)
            case phase:
                return HealthStatus(Health.UNKNOWN, message or f"phase {phase or 'unknown'}")


def _stuck(live: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps containers from running: ErrImagePull, CrashLoopBackOff, CreateContainerConfigError."""
    for status in read.mappings(live, "status", "containerStatuses"):
        reason = read.text(status, "state", "waiting", "reason")
        if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
            message = read.text(status, "state", "waiting", "message")
            yield f"{reason}: {message}" if message else reason


def _failures(live: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for status in read.mappings(live, "status", kind):
            ended = read.mapping(status, "state", "terminated")
            if message := read.text(ended, "message"):
                yield message
            elif read.text(ended, "reason") == "OOMKilled":
                yield "OOMKilled"
            elif code := read.number(ended, "exitCode"):
                yield f"container {read.text(status, 'name')} failed with exit code {code}"


def _running(live: Mapping[str, Any], message: str) -> HealthStatus:
    if any(condition.type == "Ready" and condition.status == "True" for condition in read.conditions(live)):
        return read.healthy(message)
    if any(
        read.has(status, "lastState", "terminated") for status in read.mappings(live, "status", "containerStatuses")
    ):
        return read.degraded(message or "not ready, and a container has ended before")
    return read.progressing(message)
