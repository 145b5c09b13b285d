"""A repository that cannot be read for a while: what was known stays three minutes, and then it is not known."""

from __future__ import annotations

from pathlib import Path

from tests.lab.delivery import application, config, delivery_lab
from updater.errors import GitError
from updater.model.sync import SyncStatus

DOWN = GitError("fleet: it has not answered in 20 s")
SYNCED, UNKNOWN = SyncStatus.SYNCED, SyncStatus.UNKNOWN


def test_what_was_known_stays_for_three_minutes_after_the_first_failure(tmp_path: Path) -> None:
    """However long ago it was compared: a look at what is in sync comes every ten minutes."""
    with delivery_lab(tmp_path) as lab:
        lab.commit(config())
        shop, found = application(), []
        lab.step(shop)
        for minutes in (9, 2, 2):
            lab.later(minutes=minutes)
            found.append(lab.step(shop, DOWN).status)
        assert [one.sync for one in found] == [SYNCED, SYNCED, UNKNOWN]
        assert {one.message for one in found} == {str(DOWN)}
        assert lab.step(shop).status.sync is SYNCED
        lab.later(minutes=9)
        assert lab.step(shop, DOWN).status.sync is SYNCED


def test_an_application_that_was_never_seen_is_not_known(tmp_path: Path) -> None:
    with delivery_lab(tmp_path) as lab:
        assert lab.step(application(), DOWN).status.sync is UNKNOWN
