"""Applications that are gone from Git and take their objects along: which may go now, and which wait to be sure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog

from updater.model.application import ApplicationStatus
from updater.pipeline.remove import Guard, remembered
from updater.pipeline.world import Assigned

MAX_NAMES = 20  # applications that one line names

log = structlog.get_logger()


class Leaving:
    """Those that are gone, by name; the state keeps them until their objects are removed, so a restart loses none."""

    def __init__(self) -> None:
        self._guard = Guard()
        self._going: dict[str, Assigned] = {}
        self._held: frozenset[str] = frozenset()

    def seen(self, gone: Mapping[str, ApplicationStatus], left: int, now: datetime) -> list[Assigned]:
        """Take what a complete look did not find, and how many it found; return those that may go from now on."""
        allowed = self._guard.allowed(gone.keys(), left, now)
        held = gone.keys() - allowed
        if held - self._held:
            log.warning(
                "removal_held", applications=sorted(held)[:MAX_NAMES], number=len(held),
                why="no application is left" if not left else "many are gone at once: only if they still are in 10 min",
            )  # fmt: skip
        self._held = frozenset(held)
        new = {name: remembered(gone[name]) for name in allowed if name not in self._going}
        self._going = {name: one for name, one in self._going.items() if name in allowed} | new
        return list(new.values())

    def get(self, name: str) -> Assigned | None:
        """Return one that may go; None for any other."""
        return self._going.get(name)

    def done(self, name: str) -> None:
        """Its objects are removed."""
        self._going.pop(name, None)
