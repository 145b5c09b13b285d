"""The applications: how each stood when it was last looked at, and of one everything that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from updater.config.repositories import RepositorySettings, commit_url
from updater.model.application import ApplicationStatus
from updater.model.event import Subject
from updater.store.applications import Applications
from updater.store.chronicle import Chronicle
from updater.web.ledger import ledger_of, plain, told
from updater.web.models import Application, ApplicationDetail, DeliveredFact, Drift, ResourceFact

if TYPE_CHECKING:
    from updater.daemon.desk import Desk
    from updater.pipeline.world import Assigned  # the client of clusters comes where there is one

MOST_RESOURCES = 2000
MOST_EVENTS = 100
MOST_HISTORY = 50
MOST_FIELDS = 100  # of one object
MOST_DIFF = 32 << 10  # characters of one object


def applications(desk: Desk) -> list[Application]:
    """Return every application by name: those that are configured, and those that are on their way out."""
    return ledger_of(desk).kept.get(desk.bell, "applications", lambda: _applications(desk))


def _applications(desk: Desk) -> list[Application]:
    delivery = desk.delivery
    if delivery is None:
        return []
    known, statuses = delivery.known, ledger_of(desk).statuses(desk)
    return [
        _application(name, known.assigned.get(name), known.repositories.get(name), statuses.get(name))
        for name in sorted(known.assigned.keys() | statuses.keys())
    ]


def application(desk: Desk, name: str) -> ApplicationDetail | None:
    """Return one application with everything that is known of it; None where there is no such. Raises StoreError."""
    delivery = desk.delivery
    if delivery is None:
        return None
    known, status = delivery.known, ledger_of(desk).statuses(desk).get(name)
    assigned, repository = known.assigned.get(name), known.repositories.get(name)
    if assigned is None and status is None:
        return None
    cluster = assigned.cluster if assigned else status.cluster if status else ""
    project = assigned.application.project if assigned else "default"
    subject = Subject(application=name, project=project, cluster=cluster)
    events = Chronicle(desk.database).page(MOST_EVENTS, subject=subject.key, baseline=True)
    history = Applications(desk.database).history(name, MOST_HISTORY)
    return ApplicationDetail(
        **dict(_application(name, assigned, repository, status)),
        resources=_resources(status) if status else [],
        drift=[
            Drift(
                object=plain(str(one.key), 500), verdict=one.verdict.value, why=plain(one.why),
                fields=[(plain(path, 500), plain(owner, 300)) for path, owner in one.fields[:MOST_FIELDS]],
                diff=text[:MOST_DIFF],
            )
            for one, text in delivery.drift(name)
        ],
        history=[
            DeliveredFact(
                revision=one.revision, at=one.at, images=[plain(image, 500) for image in one.images],
                url=commit_url(repository, one.revision) if repository else None,
            )
            for one in history
        ],
        events=[told(seq, event) for seq, event in events],
    )  # fmt: skip


def _application(
    name: str, assigned: Assigned | None, repository: RepositorySettings | None, status: ApplicationStatus | None
) -> Application:
    found = assigned.application if assigned else None
    stood = status or ApplicationStatus(name, assigned.cluster if assigned else "")
    last = stood.last
    return Application(
        name=name,
        project=found.project if found else "",
        cluster=assigned.cluster if assigned else stood.cluster,
        sync=stood.sync.value,
        health=stood.health.value,
        revision=stood.revision,
        applied=stood.applied,
        why=plain(stood.message) if status else "nobody looked yet",
        stale=plain(stood.stale),
        health_at=stood.health_at,
        compared_at=stood.compared_at,
        retry_at=stood.retry_at,
        last_phase=last.phase.value if last else None,
        last_message=plain(last.message) if last else "",
        last_finished=last.finished_at if last else None,
        resources_total=len(stood.resources),
        repository=repository.name if repository else "",
        path=plain(found.source.path) if found else "",
        url=commit_url(repository, stood.revision) if repository and stood.revision else None,
    )


def _resources(status: ApplicationStatus) -> list[ResourceFact]:
    return [
        ResourceFact(
            group=one.key.group,
            kind=plain(one.key.kind, 300),
            namespace=plain(one.key.namespace, 300),
            name=plain(one.key.name, 300),
            sync=one.sync.value,
            health=one.health.health.value if one.health else None,
            message=plain(one.message or (one.health.message if one.health else "")),
        )
        for one in status.resources[:MOST_RESOURCES]
    ]
