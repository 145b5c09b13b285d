"""Applications that should be alike, on clusters that stand in for each other: who has what. Pure.

Those that share a value of the label are one group. They are alike where all have the same images, are in sync and
healthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from updater.model.application import Application, ApplicationStatus

LABEL = "consistency-group"


def groups(applications: Iterable[Application]) -> dict[str, list[Application]]:
    """Return the applications of each group that has more than one, in the order of their names."""
    found: dict[str, list[Application]] = {}
    for one in sorted(applications, key=lambda application: application.name):
        if group := one.labels.get(LABEL):
            found.setdefault(group, []).append(one)
    return {group: those for group, those in found.items() if len(those) > 1}


def differing(those: Iterable[Application], statuses: Mapping[str, ApplicationStatus]) -> dict[str, str]:
    """Return what each application of a group has, by its name; nothing where all agree."""
    has = {one.name: _words(statuses.get(one.name)) for one in those}
    return has if len(set(has.values())) > 1 else {}


def _words(status: ApplicationStatus | None) -> str:
    if status is None:
        return "nothing is known"
    images = ", ".join(sorted(image.rpartition("/")[2] for image in status.last.images)) if status.last else ""
    stale = ", not reachable" if status.stale else ""
    return f"{images or status.applied[:12] or 'nothing'} ({status.sync.value}, {status.health.value}{stale})"
