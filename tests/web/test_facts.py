"""What there is: from the desk and the state alone, and the same for page and API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab.front import Front, fleet, open_front
from tests.lab.loop import open_lab
from tests.lab.statements import statements
from updater.store.polls import Poll
from updater.web import facts
from updater.web.ledger import ledger_of


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("front")
    with open_lab(folder) as lab, fleet(lab) as found:
        found.cycle()
        yield found


def test_every_item_is_there_with_what_the_last_look_found(front: Front) -> None:
    api, web, gone = facts.images(front.desk)
    assert (api.name, api.outcome, api.current, api.target) == ("api", "updated", "1.4.2", "1.5.0")
    assert api.last_commit
    assert api.last_commit.new == "1.5.0"
    assert api.last_commit.repository == "fleet"
    assert (web.outcome, web.reason, web.newest) == ("held", "level", "2.0.0")
    assert (gone.outcome, gone.failures) == ("failed", 1)
    assert api.repository_path == "acme/api"
    assert api.labels == {"team": "shop"}


def test_one_image_shows_every_tag_with_its_verdict(front: Front) -> None:
    found = facts.image(front.desk, "web")
    assert found is not None
    assert [(one.tag, one.verdict) for one in found.tags] == [("2.0.0", "rejected"), ("1.0.0", "candidate")]
    assert "level" in found.tags[0].why
    [place] = found.references
    assert (place.file, place.line, place.repository, place.branch) == ("apps/web.yaml", 5, "fleet", "main")


def test_a_commit_is_shown_with_its_diff(front: Front) -> None:
    [made] = facts.changes(front.desk).items
    assert made.subject.startswith("Update ")
    assert made.subject.endswith("to 1.5.0")
    assert made.places == ["apps/api.yaml:5"]
    found = facts.change(front.desk, "fleet", made.revision)
    assert found is not None
    assert not found.diff_why
    assert [line[-9:] for line in found.diff.splitlines() if line.startswith(("-  ", "+  "))] == [
        "api:1.4.2",
        "api:1.5.0",
    ]
    assert facts.change(front.desk, "fleet", "0" * 40) is None


def test_the_whole_at_a_glance(front: Front) -> None:
    found = facts.overview(front.desk)
    assert found.counts == {"updated": 1, "available": 0, "held": 1, "up_to_date": 0, "failed": 1, "unknown": 0}
    [registry] = found.registries
    assert (registry.images, registry.failing) == (3, 1)
    [repository] = found.repositories
    assert repository.name == "fleet"
    assert repository.last_push
    assert len(repository.head) == 40
    assert not found.red


def test_what_did_not_change_is_not_made_anew(front: Front) -> None:
    before = facts.images(front.desk)
    ledger_of(front.desk).kept.forget()
    after = facts.images(front.desk)
    assert [id(one) for one in before] == [id(one) for one in after]


def test_a_list_asks_the_state_as_often_for_many_as_for_few(front: Front) -> None:
    facts.images(front.desk)
    ledger_of(front.desk).kept.forget()
    with statements(front.daemon.database) as told:
        facts.images(front.desk)
    assert len(told) <= 6


def test_ten_thousand_images_are_a_few_questions(tmp_path: Path) -> None:
    many, batches = 10_000, 20
    file = tmp_path / "updater.yaml"
    images = "".join(f"  - {{image: ghcr.io/acme/s{n}, name: s{n}}}\n" for n in range(many))
    file.write_text(f"data: {tmp_path}/data\nrepositories: []\nimages:\n{images}")
    now = datetime.now(UTC)
    found = json.dumps({"outcome": "held", "why": "level", "current": "1.0.0", "newest": "2.0.0", "references": []})
    with open_front(file) as big:
        names = [item.name for item in big.desk.settings.items]
        big.daemon.known = {name: Poll(name, now, 0, None, "held", "level", None, True, found) for name in names}
        with statements(big.daemon.database) as told:
            assert len(facts.images(big.desk)) == many
        assert len(told) <= batches + 8
        ledger_of(big.desk).kept.forget()
        with statements(big.daemon.database) as told:
            assert len(facts.images(big.desk)) == many
            assert facts.overview(big.desk).counts["held"] == many
        assert len(told) <= 12
