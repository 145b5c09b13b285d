"""Stores how applications and clusters stand, and what that tells, each in one transaction. Raises StoreError."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from updater.config.repositories import RepositorySettings, commit_url
from updater.config.settings import Settings
from updater.daemon.remember import routed
from updater.model.application import Application, ApplicationStatus
from updater.pipeline import announce
from updater.pipeline.alike import Has
from updater.pipeline.world import Assigned, Stepped
from updater.store.journal import Journal, Standing, Writing

TOGETHER = 200  # statuses that are stored at once


class Teller:
    """Writes to the journal, by the routes of one configuration."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings, self._journal = settings, journal
        self._noted: dict[str, ApplicationStatus] = {}
        self._settling = threading.Lock()  # what was noted is never written over what came after it

    def started(self, application: Application, cluster: str, revision: str) -> None:
        """A sync begins."""
        now = datetime.now(UTC)
        key = announce.subject_of(application, cluster).key
        self._write(lambda standing: announce.started(application, cluster, revision, standing, now), {key}, now)

    def stepped(
        self, assigned: Assigned, repository: RepositorySettings, stepped: Stepped, now: datetime, *, ended: bool
    ) -> None:
        """An application was looked at, and where a sync `ended`, synced."""
        self._forget([assigned.application.name])
        tell = self._settings.notifications is not None and self._settings.notifications.baseline == "tell"
        status = stepped.status
        url = commit_url(repository, status.revision) if status.revision else None
        found = announce.Step(assigned.application, status, stepped.drifting, url, ended, tell)
        key = announce.subject_of(assigned.application, assigned.cluster).key
        self._write(lambda standing: announce.announce(found, standing, now), {key}, now, (assigned.application.name,))

    def noted(self, status: ApplicationStatus) -> None:
        """An application was looked at, which tells nothing: that is stored with others, at the next `settle`."""
        with self._settling:
            self._noted[status.name] = status
            many = len(self._noted) >= TOGETHER
        if many:
            self.settle()

    def settle(self) -> None:
        """Store what was noted."""
        with self._settling:
            if self._noted:
                writing = Writing(applications=list(self._noted.values()))
                self._write(lambda _standing: writing, set(), datetime.now(UTC))
                self._noted.clear()

    def cluster(self, name: str, trouble: str, applications: Iterable[str]) -> None:
        """A cluster cannot be reached, or can be again."""
        now, names = datetime.now(UTC), list(applications)
        self._write(lambda standing: announce.cluster(name, trouble, names, standing, now), {f"cluster={name}"}, now)

    def alike(self, group: str, differing: Mapping[str, Has]) -> None:
        """Applications that should be alike differ, or agree again."""
        now = datetime.now(UTC)
        self._write(lambda standing: announce.alike(group, differing, standing, now), {f"application={group}"}, now)

    def refused(self, problems: Sequence[str]) -> None:
        """Application manifests cannot be used, or all can again."""
        now = datetime.now(UTC)
        self._write(lambda standing: announce.refused(problems, standing, now), {""}, now)

    def left(self, those: Collection[tuple[str, str]], *, gone: Collection[str] = ()) -> None:
        """Applications, by name and cluster, are not there any more; those that are `gone` are nowhere."""
        self._forget(name for name, _ in those)
        now = datetime.now(UTC)
        self._write(lambda standing: announce.left(those, gone, standing), None, now)

    def _forget(self, names: Iterable[str]) -> None:
        """Drop what was noted of these: what is written now is newer."""
        with self._settling:
            for name in names:
                self._noted.pop(name, None)

    def _write(
        self,
        plan: Callable[[Standing], Writing],
        subjects: set[str] | None,
        now: datetime,
        applications: tuple[str, ...] = (),
    ) -> None:
        self._journal.deliver(routed(plan, self._settings, now), now, subjects, applications)
