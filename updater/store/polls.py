"""When each item was last looked at, and what came of it: due times and "said it already" survive a restart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select

from updater.store.batches import batches
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
    failing: str | None = None  # what it shares a failure with others about
    looked: bool = False  # whether any attempt found out how it stands
    document: str | None = None  # what the last look that found out found: JSON as `once --json` has it of an image


class Polls:
    """The polls of every item, read whole; the journal writes them together with what they tell."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> dict[str, Poll]:
        """Return the last poll of each item by its name."""
        with self._database.transaction() as connection:
            return read_polls(connection)


def read_polls(connection: Connection, items: Collection[str] | None = None) -> dict[str, Poll]:
    """Return the last poll of these items by their name; of all, for None."""
    wanted = [select(polls)]
    if items is not None:
        wanted = [select(polls).where(polls.c.item.in_(some)) for some in batches(items)]
    rows = (row for one in wanted for row in connection.execute(one).mappings())
    return {row["item"]: _poll(row) for row in rows}


def _poll(row: RowMapping) -> Poll:
    read = {"at": aware(row["at"]), "retry_at": aware(row["retry_at"]), "looked": bool(row["looked"])}
    return Poll(**{**row, **read})


def failing_items(connection: Connection) -> dict[str, frozenset[str]]:
    """Return the items that share a failure, by what it is about."""
    found: dict[str, set[str]] = {}
    some = polls.c.failing > ""  # SQLite uses no index for `IS NOT NULL`
    for row in connection.execute(select(polls.c.failing, polls.c.item).where(some)):
        found.setdefault(row.failing, set()).add(row.item)
    return {about: frozenset(items) for about, items in found.items()}


def write_polls(connection: Connection, batch: Sequence[Poll]) -> None:
    """Replace the polls of these items."""
    if not batch:
        return
    rows = [{**asdict(poll), "at": naive(poll.at), "retry_at": naive(poll.retry_at)} for poll in batch]
    connection.execute(_DELETE, [{"name": poll.item} for poll in batch])
    connection.execute(insert(polls), rows)
