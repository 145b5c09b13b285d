"""Stores what a cycle found and did, and who is to be told of it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from updater.config.settings import Settings
from updater.pipeline.report import Before, Report, before_of
from updater.pipeline.route import remind, route
from updater.pipeline.tell import addressed, commits, configuration, expired, polls_of, subjects_of, tell
from updater.secrets import SecretRef
from updater.store.database import Database
from updater.store.journal import Journal, Standing, Writing
from updater.store.polls import Poll, Polls


def open_state(settings: Settings) -> Database:
    """Open the state database of a configuration. Raises StoreError."""
    return Database(state_url(settings))


def state_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the state. Raises SecretError."""
    return settings.state.resolve() if isinstance(settings.state, SecretRef) else settings.state


def known_before(database: Database) -> dict[str, Before]:
    """Return what the last look that found out had found, by item. Raises StoreError."""
    polls = Polls(database).read()
    return {name: known for name, poll in polls.items() if (known := before_of(poll.at, poll.document))}


def remember(settings: Settings, journal: Journal, report: Report, now: datetime) -> dict[str, Poll]:
    """Store a cycle and what it tells, and return the poll of each item. Raises StoreError."""
    polls: dict[str, Poll] = {}
    done = commits(report, settings)

    def plan(standing: Standing) -> Writing:
        polls.update(polls_of(report, standing.polls, now))
        return tell(report, polls, settings, standing, now, done=done)

    items = {row.item.name for row in report.rows}
    journal.write(routed(plan, settings, now), now, items, subjects_of(report))
    return polls


def remember_configuration(settings: Settings, journal: Journal, problems: list[str], now: datetime) -> None:
    """Store that a new configuration was not taken, and why; without problems that it was. Raises StoreError."""
    plan = routed(lambda standing: configuration(problems, settings, standing, now), settings, now)
    journal.write(plan, now, (), {""} if problems else None)


def remember_time(settings: Settings, journal: Journal, now: datetime, *, reminders: bool) -> dict[str, str]:
    """Store what the passing of time tells: holds that are over, and with `reminders` what holds still.

    Return the holds that are over, by item, with why they were. Raises StoreError.
    """
    over: dict[str, str] = {}
    routes = settings.notifications.routes if settings.notifications else ()
    reminders = reminders and any(one.remind for one in routes)

    def plan(standing: Standing) -> Writing:
        over.update(standing.expired)
        writing = routed(lambda known: expired(settings, known, now), settings, now)(standing)
        if reminders:
            writing.posts += remind(standing, settings.notifications, now)
        return writing

    journal.write(plan, now, (), None if reminders else ())
    return over


def routed(plan: Callable[[Standing], Writing], settings: Settings, now: datetime) -> Callable[[Standing], Writing]:
    """Let a plan be told to whom the configuration says."""
    return lambda standing: addressed(
        plan(standing), standing, lambda event, known: route(event, known, settings.notifications, now)
    )
