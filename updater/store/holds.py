"""What people said: holds, resumes and approvals. They count until they are taken back, used or over."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import Connection, Row, delete, insert, or_, select

from updater.model.people import By, HeldBy, People
from updater.store.database import Database
from updater.store.schema import approvals, holds, resumes
from updater.store.times import aware, naive


class Holds:
    """Words of people by item. Every method is one short transaction and raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, now: datetime) -> dict[str, People]:
        """Return what counts now, of every item about which people said something; it writes nothing."""
        valid = or_(holds.c.until.is_(None), holds.c.until > naive(now))
        with self._database.transaction() as connection:
            held = {row.item: _held(row) for row in connection.execute(select(holds).where(valid))}
            resumed = {row.item: aware(row.at) for row in connection.execute(select(resumes))}
            approved: dict[str, dict[str, datetime]] = defaultdict(dict)
            for row in connection.execute(select(approvals)):
                approved[row.item][row.tag] = aware(row.at)
        return {
            item: People(held.get(item), resumed.get(item), frozenset(tags := approved.get(item, {})), tags)
            for item in held.keys() | resumed.keys() | approved.keys()
        }

    def hold(
        self,
        item: str,
        reason: str,
        now: datetime,
        *,
        until: datetime | None = None,
        by: By = "hold",
        tag: str | None = None,
    ) -> None:
        """Stop an item; a later hold takes the place of the one before. A rollback ends what was approved before it."""
        row = {"item": item, "at": naive(now), "until": naive(until), "reason": reason, "by": by, "tag": tag}
        with self._database.transaction() as connection:
            connection.execute(delete(holds).where(holds.c.item == item))
            connection.execute(insert(holds).values(row))
            if by == "rollback":
                connection.execute(delete(approvals).where(approvals.c.item == item))

    def resume(self, item: str, now: datetime) -> HeldBy | None:
        """Let an item go on, whatever held it until now; return the hold that this ended, None where there was none."""
        with self._database.transaction() as connection:
            connection.execute(delete(resumes).where(resumes.c.item == item))
            connection.execute(insert(resumes).values(item=item, at=naive(now)))
            ended = connection.execute(select(holds).where(holds.c.item == item)).one_or_none()
            connection.execute(delete(holds).where(holds.c.item == item))
        return None if ended is None else _held(ended)

    def approve(self, item: str, tag: str, now: datetime) -> None:
        """Let one tag pass once."""
        with self._database.transaction() as connection:
            _forget(connection, item, tag)
            connection.execute(insert(approvals).values(item=item, tag=tag, at=naive(now)))

    def used(self, item: str, tag: str) -> None:
        """Take back an approval that was used."""
        with self._database.transaction() as connection:
            _forget(connection, item, tag)

    def over(self, now: datetime) -> bool:
        """Say whether a hold is over that nobody has told yet."""
        with self._database.transaction() as connection:
            return (
                connection.execute(select(holds.c.item).where(holds.c.until <= naive(now)).limit(1)).first() is not None
            )


def expire_holds(connection: Connection, now: datetime) -> dict[str, HeldBy]:
    """Remove the holds that are over and return them by item; of several processes one is told of each."""
    found = connection.execute(select(holds).where(holds.c.until <= naive(now))).all()
    return {row.item: _held(row) for row in found if _removed(connection, row)}


def _held(row: Row[tuple[object, ...]]) -> HeldBy:
    return HeldBy(aware(row.at), row.reason, aware(row.until), row.by, row.tag)


def _removed(connection: Connection, row: Row[tuple[object, ...]]) -> bool:
    same = (holds.c.item == row.item) & (holds.c.until == row.until)
    return connection.execute(delete(holds).where(same)).rowcount == 1


def _forget(connection: Connection, item: str, tag: str) -> None:
    connection.execute(delete(approvals).where((approvals.c.item == item) & (approvals.c.tag == tag)))
