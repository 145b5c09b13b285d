"""One engine, and the settings that make SQLite keep what it acknowledged.

WAL lets commands read while the daemon writes; FULL makes a commit survive a power cut (280 us instead of 14 us a
commit, measured); a writer waits for another for at most ten seconds. The switch to WAL is the one statement for which
SQLite itself does not wait: it upgrades a read lock, and fails at once while another process makes the same file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from updater.errors import StoreError
from updater.secrets import redact
from updater.store import schema
from updater.transport.pace import backoff

BUSY = 10.0  # seconds that a writer waits for another


class Database:
    """The state at a SQLAlchemy URL; tables are made when they are missing. Raises StoreError.

    writing  who writes from many threads takes this before the transaction: SQLite itself wakes none of those that
             wait for one another, they sleep and try again
    """

    def __init__(self, url: str) -> None:
        self.writing = threading.Lock()
        with _as_store_error(url):
            parsed = make_url(url)
            self.name = parsed.render_as_string(hide_password=True)
            if parsed.database and parsed.get_backend_name() == "sqlite":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._engine: Engine = create_engine(parsed, connect_args={"timeout": BUSY})
            event.listen(self._engine, "connect", _prepare)
            with self._engine.begin() as connection:
                _prepare_tables(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit at the end of the block, roll back when it raises; keep it short, others wait."""
        with _as_store_error(self.name), self._engine.begin() as connection:
            yield connection

    def try_out(self) -> None:
        """Write something that changes nothing. Raises StoreError where nothing could be written."""
        with self.transaction() as connection:
            connection.execute(update(schema.meta).where(schema.meta.c.key == "version").values(key="version"))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _prepare(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        _switch_to_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    end, attempt = time.monotonic() + BUSY, 0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            attempt += 1
            time.sleep(backoff(attempt, base=0.01, cap=0.2))
        else:
            return


def _prepare_tables(connection: Connection) -> None:
    """Make what is missing; statements that several starting processes may run at once."""
    for table in schema.metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    key, value = schema.meta.c.key, schema.meta.c.value
    row = select(literal("version"), literal(str(schema.VERSION)))
    known = select(literal(1)).where(key == "version").exists()
    connection.execute(insert(schema.meta).from_select([key, value], row.where(~known)))
    found = connection.execute(select(value).where(key == "version")).scalar_one()
    if int(found) > schema.VERSION:
        raise StoreError(f"the state is of version {found}, this program knows {schema.VERSION}: use a newer program")
    connection.execute(update(schema.meta).where(key == "version").values(key="version"))  # one process at a time
    for table in schema.metadata.sorted_tables:
        _add_columns(connection, table)
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add_columns(connection: Connection, table: Table) -> None:
    """Add what an older program did not know; it is null where that program wrote, and writes on."""
    known = {column["name"] for column in inspect(connection).get_columns(table.name)}
    quote = connection.dialect.identifier_preparer
    for column in (column for column in table.columns if column.name not in known):
        kind = column.type.compile(connection.dialect)
        add = f"ALTER TABLE {quote.format_table(table)} ADD COLUMN {quote.format_column(column)} {kind}"
        connection.execute(text(add))


@contextmanager
def _as_store_error(name: str) -> Iterator[None]:
    try:
        yield
    except ArgumentError as err:
        raise StoreError("the state URL cannot be read: expected sqlite:///path") from err
    except (SQLAlchemyError, OSError) as err:
        cause = getattr(err, "orig", None) or err
        raise StoreError(redact(f"state {name}: {cause}")) from err
