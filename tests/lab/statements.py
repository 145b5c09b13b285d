"""Counts what a database is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from updater.store.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Yield the list that the statements of the block are added to."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    event.listen(database._engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database._engine, "before_cursor_execute", note)


def writes(found: list[str]) -> list[str]:
    """Return those that are no questions."""
    return [statement for statement in found if not statement.startswith("SELECT")]
