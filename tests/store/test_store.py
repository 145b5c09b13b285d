"""The state survives restarts, several processes and power cuts, and says in plain words when it cannot."""

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from updater.errors import StoreError
from updater.model.tag import Described, Scan, Tag
from updater.store.database import Database
from updater.store.descriptions import Descriptions
from updater.store.journal import Journal, Writing
from updater.store.polls import Poll, Polls
from updater.store.tags import Tags

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
POLL = Poll("api/prod", AT, 0, None, "held", "level")


def write(database: Database, batch: list[Poll]) -> None:
    Journal(database).write(lambda _: Writing(batch), AT)


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/state.db"


def test_whoever_writes_what_was_seen_waits_in_line(tmp_path: Path) -> None:
    """Studies of many registries end together; those that SQLite lets wait are not woken, and give up in the end."""
    database, told = Database(url(tmp_path)), list[bool]()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("SELECT"):
            told.append(database.writing.locked())

    event.listen(database._engine, "before_cursor_execute", note)
    tags, digest = Tags(database), f"sha256:{1:064x}"
    tags.learn([Scan("r/api", (Tag("1.0.0"),), AT)], AT)
    tags.saw("r/api", {"1.0.0": digest}, AT)
    Descriptions(database).put({digest: Described(None, frozenset(), asked_created=False)}, AT)
    database.close()
    assert told
    assert all(told)


def test_polls_come_back_after_a_restart(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    write(database, [POLL, replace(POLL, item="web", retry_at=AT + timedelta(minutes=1))])
    database.close()
    again = Database(url(tmp_path))
    assert Polls(again).read() == {
        "api/prod": POLL,
        "web": replace(POLL, item="web", retry_at=AT + timedelta(minutes=1)),
    }
    again.close()


def test_a_poll_replaces_the_one_before(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    polls = Polls(database)
    write(database, [POLL])
    write(database, [replace(POLL, outcome="updated", failures=2)])
    assert polls.read() == {"api/prod": replace(POLL, outcome="updated", failures=2)}


def test_times_are_stored_in_utc(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    polls = Polls(database)
    write(database, [replace(POLL, at=AT.astimezone(timezone(timedelta(hours=8))))])
    assert polls.read()["api/prod"].at == AT


def test_ten_thousand_polls_are_one_batch(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    polls = Polls(database)
    batch = [replace(POLL, item=f"i{n}") for n in range(10_000)]
    write(database, batch)
    write(database, batch)
    assert len(polls.read()) == 10_000


@pytest.mark.parametrize(
    ("pragma", "expected"), [("journal_mode", "wal"), ("synchronous", 2)], ids=["write-ahead log", "full sync"]
)
def test_sqlite_keeps_what_it_acknowledged(tmp_path: Path, pragma: str, expected: object) -> None:
    with Database(url(tmp_path)).transaction() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == expected


def test_processes_that_start_together_share_one_state(tmp_path: Path) -> None:
    code = f"from updater.store.database import Database; Database({url(tmp_path)!r}).close()"
    running = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")


def test_a_state_that_another_process_is_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite does not wait by itself when it switches to the write-ahead log: it upgrades a read lock."""
    first = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
    first.execute("CREATE TABLE t (x)")
    first.execute("BEGIN IMMEDIATE")
    opened: list[Database] = []
    second = threading.Thread(target=lambda: opened.append(Database(url(tmp_path))))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    first.execute("COMMIT")
    first.close()
    second.join(30)
    [database] = opened
    assert Polls(database).read() == {}
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    polls = Polls(database)
    with pytest.raises(StoreError):
        write(database, [POLL, replace(POLL, item="web", reason=None)])  # type: ignore[arg-type]
    assert polls.read() == {}


def test_a_state_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'version'")
    database.close()
    with pytest.raises(StoreError, match="version 99"):
        Database(url(tmp_path))


def test_a_damaged_file_is_said_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"state\.db.*not a database"):
        Database(url(tmp_path))
