"""Applications that should be alike, on clusters that stand in for each other: who has what. Pure.

Those that share a value of the label are one group. They are alike where all have the same images, are in sync and
healthy, as far as is known: a cluster that cannot be reached is told of by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from updater.model.application import Application, ApplicationStatus

LABEL = "consistency-group"


@dataclass(frozen=True, slots=True)
class Has:
    """What one application has: images, or the commit where there are none; and how that stands."""

    what: str
    stands: str
    stale: bool = False

    def __str__(self) -> str:
        return f"{self.what} ({self.stands}{', not reachable' if self.stale else ''})"


def groups(applications: Iterable[Application]) -> dict[str, list[Application]]:
    """Return the applications of each group that has more than one, in the order of their names."""
    found: dict[str, list[Application]] = {}
    for one in sorted(applications, key=lambda application: application.name):
        if group := one.labels.get(LABEL):
            found.setdefault(group, []).append(one)
    return {group: those for group, those in found.items() if len(those) > 1}


def differing(those: Iterable[Application], statuses: Mapping[str, ApplicationStatus]) -> dict[str, Has]:
    """Return what each application of a group has, by its name; nothing where all agree."""
    has = {one.name: _has(statuses.get(one.name)) for one in those}
    return has if len({(one.what, one.stands) for one in has.values()}) > 1 else {}


def _has(status: ApplicationStatus | None) -> Has:
    if status is None:
        return Has("nothing", "not known")
    images = ", ".join(sorted(image.rpartition("/")[2] for image in status.last.images)) if status.last else ""
    stands = f"{status.sync.value}, {status.health.value}"
    return Has(images or status.applied[:12] or "nothing", stands, bool(status.stale))
