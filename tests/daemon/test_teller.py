"""What is stored of applications: news at once, and what is no news together with others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab.statements import statements, writes
from updater.config.load import load
from updater.config.repositories import RepositorySettings
from updater.daemon.teller import TOGETHER, Teller
from updater.errors import StoreError
from updater.model.application import Application, ApplicationStatus, Destination, Source
from updater.pipeline.world import Assigned, Stepped
from updater.store.applications import Applications
from updater.store.database import Database
from updater.store.journal import Journal

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
URL = "https://git.example.com/fleet.git"


@dataclass(frozen=True)
class Desk:
    database: Database
    teller: Teller

    def revisions(self) -> dict[str, str]:
        """What is stored, by application."""
        return {name: status.revision for name, status in Applications(self.database).read().items()}

    def stepped(self, name: str, revision: str) -> None:
        one = Assigned(Application(name, Source(URL, "."), Destination("cloud")), "cloud")
        stepped = Stepped(status(name, revision))
        self.teller.stepped(one, RepositorySettings(url=URL), stepped, NOW, ended=False)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    config = tmp_path / "updater.yaml"
    config.write_text("images: []\n")
    database = Database(f"sqlite:///{tmp_path}/state.db")
    yield Desk(database, Teller(load(config), Journal(database)))
    database.close()


def status(name: str, revision: str) -> ApplicationStatus:
    return ApplicationStatus(name, "cloud", revision)


def test_what_is_no_news_is_stored_together(desk: Desk) -> None:
    for name in "abc":
        desk.teller.noted(status(name, "1"))
    assert desk.revisions() == {}
    with statements(desk.database) as found:
        desk.teller.settle()
    assert len([one for one in writes(found) if one.startswith("INSERT INTO applications")]) == 1
    assert desk.revisions() == {"a": "1", "b": "1", "c": "1"}


def test_when_nothing_was_noted_nothing_is_asked_of_the_database(desk: Desk) -> None:
    with statements(desk.database) as found:
        desk.teller.settle()
    assert found == []


def test_many_do_not_wait(desk: Desk) -> None:
    for n in range(TOGETHER):
        desk.teller.noted(status(f"app-{n}", "1"))
    assert len(desk.revisions()) == TOGETHER


def test_news_are_not_written_over_by_what_was_noted_before(desk: Desk) -> None:
    desk.teller.noted(status("a", "1"))
    desk.stepped("a", "2")
    desk.teller.settle()
    assert desk.revisions() == {"a": "2"}


def test_what_was_noted_of_an_application_that_left_is_dropped(desk: Desk) -> None:
    desk.stepped("a", "1")
    desk.teller.noted(status("a", "2"))
    desk.teller.left([("a", "cloud")], gone=["a"])
    desk.teller.settle()
    assert desk.revisions() == {}


def test_what_could_not_be_stored_is_stored_the_next_time(desk: Desk) -> None:
    desk.teller.noted(status("a", "1"))
    with desk.database.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE applications RENAME TO away")
    with pytest.raises(StoreError):
        desk.teller.settle()
    with desk.database.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO applications")
    desk.teller.settle()
    assert desk.revisions() == {"a": "1"}
