"""How applications stand, and what was delivered: written in the transaction that tells of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from updater.model.application import ApplicationStatus
from updater.model.health import Health, HealthStatus
from updater.model.resource import Key
from updater.model.sync import Phase, ResourceStatus, SyncResult, SyncStatus
from updater.store.batches import SOME, batches
from updater.store.database import Database
from updater.store.schema import applications, deliveries
from updater.store.times import aware, naive

MAX_RESULTS = 200  # objects of a sync whose outcome is kept: those that failed first

# Statements of every transaction, made once.
_ALL = select(applications)
_THESE = _ALL.where(applications.c.name.in_(SOME))
_FORGET = delete(applications).where(applications.c.name.in_(SOME))
_WRITE, _DELIVER = insert(applications), insert(deliveries)
_MANY = (
    select(deliveries.c.application, func.count(deliveries.c.seq))
    .where(deliveries.c.application.in_(SOME))
    .group_by(deliveries.c.application)
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One line of an application's history."""

    application: str
    revision: str
    rendered: str
    images: tuple[str, ...]
    at: datetime


class Applications:
    """Reads what the journal wrote. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, names: Collection[str] | None = None) -> dict[str, ApplicationStatus]:
        """Return how these applications stand, by name; all, for None."""
        with self._database.transaction() as connection:
            return read_applications(connection, names)

    def written(self) -> dict[str, datetime]:
        """Return when each status was written, by name: who knows one of then need not read it again."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(applications.c.name, applications.c.at)).all()
        return {row.name: aware(row.at) for row in rows}

    def history(self, name: str, limit: int) -> list[Delivered]:
        """Return what was delivered, the latest first."""
        wanted = select(deliveries).where(deliveries.c.application == name).order_by(deliveries.c.seq.desc())
        with self._database.transaction() as connection:
            rows = connection.execute(wanted.limit(limit)).all()
        return [Delivered(r.application, r.revision, r.rendered, tuple(r.images.split()), aware(r.at)) for r in rows]


def read_applications(connection: Connection, names: Collection[str] | None) -> dict[str, ApplicationStatus]:
    """Return how these applications stand, by name; all, for None."""
    found = (
        [connection.execute(_ALL)]
        if names is None
        else (connection.execute(_THESE, {"some": some}) for some in batches(names))
    )
    rows = (row for one in found for row in one)
    return {row.name: status_of(json.loads(row.document)) for row in rows}


def write_applications(
    connection: Connection, found: Sequence[ApplicationStatus], gone: Collection[str], now: datetime
) -> None:
    """Replace how these applications stand, and forget those that are gone."""
    for some in batches({*gone, *(one.name for one in found)}):
        connection.execute(_FORGET, {"some": some})
    rows = [
        {"name": one.name, "cluster": one.cluster, "document": json.dumps(document(one)), "at": naive(now)}
        for one in found
    ]
    if rows:
        connection.execute(_WRITE, rows)


def write_deliveries(connection: Connection, found: Sequence[Delivered], keep: Mapping[str, int]) -> None:
    """Append to the histories, each of which keeps so many lines."""
    rows = [
        {"application": one.application, "revision": one.revision, "rendered": one.rendered,
         "images": "\n".join(one.images), "at": naive(one.at)}
        for one in found
    ]  # fmt: skip
    if not rows:
        return
    connection.execute(_DELIVER, rows)
    for some in batches({one.application for one in found}):
        for name, count in connection.execute(_MANY, {"some": some}).all():
            if count > keep[name]:
                mine = deliveries.c.application == name
                old = select(deliveries.c.seq).where(mine).order_by(deliveries.c.seq.desc()).offset(keep[name])
                first = connection.execute(old.limit(1)).scalar_one()
                connection.execute(delete(deliveries).where(mine, deliveries.c.seq <= first))


def document(status: ApplicationStatus) -> dict[str, Any]:
    """Return a status as JSON knows it; of a sync what matters most."""
    found = {one.name: getattr(status, one.name) for one in fields(status)} | {"last": None}
    found["resources"] = [_object(one) for one in status.resources]
    for name in ("health_at", "retry_at", "compared_at"):
        found[name] = _text(getattr(status, name))
    if status.last is not None:
        last = status.last
        results = sorted(last.resources, key=lambda one: one.done)[:MAX_RESULTS]
        found["last"] = {
            "revision": last.revision, "phase": last.phase.value, "started_at": _text(last.started_at),
            "finished_at": _text(last.finished_at), "message": last.message, "images": list(last.images),
            "resources": [
                {"key": str(one.task.key), "action": one.task.action.value, "done": one.done, "message": one.message,
                 "taken": list(one.taken)}
                for one in results
            ],
        }  # fmt: skip
    return found


def _object(one: ResourceStatus) -> dict[str, Any]:
    key, health = one.key, one.health
    return {
        "key": {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name},
        "sync": one.sync,
        "health": health and {"health": health.health, "message": health.message},
        "message": one.message,
    }


def status_of(found: Mapping[str, Any]) -> ApplicationStatus:
    """Read back what `document` returned; the outcomes of single objects stay in the document."""
    last = found["last"]
    times = {name: _time(found[name]) for name in ("health_at", "retry_at", "compared_at")}
    return ApplicationStatus(
        **{
            **found,
            **times,
            "sync": SyncStatus(found["sync"]),
            "health": Health(found["health"]),
            "options": tuple(found.get("options", ())),
            "last": last and SyncResult(
                last["revision"], Phase(last["phase"]), datetime.fromisoformat(last["started_at"]),
                _time(last["finished_at"]), last["message"], (), tuple(last["images"]),
            ),
            "resources": tuple(
                ResourceStatus(
                    Key(**one["key"]), SyncStatus(one["sync"]),
                    HealthStatus(Health(one["health"]["health"]), one["health"]["message"]) if one["health"] else None,
                    one["message"],
                )
                for one in found["resources"]
            ),
        }
    )  # fmt: skip


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
