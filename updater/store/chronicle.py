"""What happened, read back: by subject, by kind, in pages. Every method is one short transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, func, select

from updater.model.event import Event, Kind
from updater.store.database import Database
from updater.store.documents import read_back
from updater.store.schema import events

Numbered = tuple[int, Event]  # the events are numbered in the order in which they were stored


class Chronicle:
    """The events of the last three months; those that cannot be read back are left out. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        limit: int,
        *,
        before: int | None = None,
        after: int | None = None,
        kinds: Collection[Kind] = (),
        subject: str | None = None,
        baseline: bool = False,
        oldest: bool = False,
    ) -> list[Numbered]:
        """Return the latest events, the newest first, whose numbers lie between; of these kinds, about this subject.

        With `oldest` they are the first, in the order in which they were stored.

        With `baseline` those that were found on a first run, and told to nobody, are among them.
        """
        order = events.c.seq if oldest else events.c.seq.desc()
        wanted = select(events.c.seq, events.c.document).order_by(order).limit(limit)
        if before is not None:
            wanted = wanted.where(events.c.seq < before)
        if after is not None:
            wanted = wanted.where(events.c.seq > after)
        if kinds:
            wanted = wanted.where(events.c.kind.in_([kind.value for kind in kinds]))
        if subject is not None:
            wanted = wanted.where(events.c.subject == subject)
        if not baseline:
            wanted = wanted.where(events.c.baseline.is_(False))
        return self._read(wanted)

    def latest(self, kind: Kind) -> list[Numbered]:
        """Return the last event of a kind of every subject."""
        last = select(func.max(events.c.seq)).where(events.c.kind == kind.value).group_by(events.c.subject)
        return self._read(select(events.c.seq, events.c.document).where(events.c.seq.in_(last)))

    def of_commit(self, revision: str, limit: int) -> list[Numbered]:
        """Return the updates that a commit told, in their order; `revision` is a full object id."""
        mentions = events.c.document.contains(f'"{revision}"', autoescape=True)
        wanted = select(events.c.seq, events.c.document).where(events.c.kind == Kind.IMAGE_UPDATED.value, mentions)
        found = self._read(wanted.order_by(events.c.seq).limit(limit))
        return [(seq, event) for seq, event in found if event.commit == revision]

    def _read(self, statement: Select[Any]) -> list[Numbered]:
        with self._database.transaction() as connection:
            rows = [(row.seq, read_back(row.document)) for row in connection.execute(statement)]
        return [(seq, event) for seq, event in rows if isinstance(event, Event)]
