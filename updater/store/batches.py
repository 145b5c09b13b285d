"""What bounds the work of one statement, and of chores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select

from updater.store.schema import meta
from updater.store.times import aware, naive

BATCH = 500  # values in one statement: every database takes as many
KEPT = timedelta(days=90)  # what nobody needed for so long is forgotten
CHORES = timedelta(days=1)  # between two times of forgetting

SOME: BindParameter[Any] = bindparam("some", expanding=True)
"""The values of one batch, in a statement that is made once: making one takes longer than running it."""

_WHEN = select(meta.c.value).where(meta.c.key == bindparam("chore"))

T = TypeVar("T")


def batches(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut into lists that one statement takes."""
    rest = iter(values)
    while some := list(islice(rest, BATCH)):
        yield some


def chore_is_due(connection: Connection, chore: str, now: datetime) -> bool:
    """Say whether a chore was last done a day ago or more, by any process, and note that it is done now."""
    value = connection.execute(_WHEN, {"chore": chore}).scalar_one_or_none()
    if value is not None and abs(now - aware(datetime.fromisoformat(value))) < CHORES:
        return False
    connection.execute(delete(meta).where(meta.c.key == chore))
    connection.execute(insert(meta).values(key=chore, value=naive(now).isoformat()))
    return True
