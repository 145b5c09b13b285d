"""When each item was last looked at, and what came of it: due times and "said it already" survive a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select

from updater.store.database import Database
from updater.store.schema import polls
from updater.store.times import aware, naive

_DELETE = delete(polls).where(polls.c.item == bindparam("name"))


@dataclass(frozen=True, slots=True)
class Poll:
    """The last look at one item; times are aware, in UTC."""

    item: str
    at: datetime
    failures: int
    retry_at: datetime | None
    outcome: str
    reason: str


class Polls:
    """The polls of every item, read whole and written by the batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> dict[str, Poll]:
        """Return the last poll of each item by its name."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(polls)).mappings().all()
        return {
            row["item"]: Poll(**{**row, "at": aware(row["at"]), "retry_at": aware(row["retry_at"])}) for row in rows
        }

    def write(self, batch: Sequence[Poll]) -> None:
        """Replace the polls of these items, all or none."""
        if not batch:
            return
        rows = [{**asdict(poll), "at": naive(poll.at), "retry_at": naive(poll.retry_at)} for poll in batch]
        with self._database.transaction() as connection:
            connection.execute(_DELETE, [{"name": poll.item} for poll in batch])
            connection.execute(insert(polls), rows)
