"""Stores what a cycle found, so that a restart neither asks nor says everything again."""

from __future__ import annotations

from datetime import datetime

from updater.config.settings import Settings
from updater.pipeline.report import Outcome, Report, Row, weightiest
from updater.secrets import SecretRef, redact
from updater.store.database import Database
from updater.store.polls import Poll, Polls


def open_state(settings: Settings) -> Database:
    """Open the state database of a configuration. Raises StoreError."""
    return Database(state_url(settings))


def state_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the state. Raises SecretError."""
    return settings.state.resolve() if isinstance(settings.state, SecretRef) else settings.state


def remember(settings: Settings, report: Report, now: datetime) -> None:
    """Store the outcome of a cycle. Raises StoreError."""
    database = open_state(settings)
    try:
        polls = Polls(database)
        polls.write(list(polls_of(report, polls.read(), now).values()))
    finally:
        database.close()


def polls_of(report: Report, before: dict[str, Poll], now: datetime) -> dict[str, Poll]:
    """Return the poll of every item in a report; failures in a row are counted on."""
    rows: dict[str, list[Row]] = {}
    for row in report.rows:
        rows.setdefault(row.item.name, []).append(row)
    found = {}
    for name, of_item in rows.items():
        first = weightiest(of_item)
        last = before.get(name)
        failures = 1 + (last.failures if last else 0) if first.outcome is Outcome.FAILED else 0
        retry = [f.retry_at for f in report.failures if f.retry_at and f.what == f"image {_image(first)}"]
        found[name] = Poll(name, now, failures, max(retry, default=None), first.outcome.value, redact(first.reason))
    return found


def _image(row: Row) -> str:
    return row.reference.image.name if row.reference else ""
