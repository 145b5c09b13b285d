"""Updates that came by a merge, as pull requests leave them: history, and what a person undoes of them stays so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.git import git, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.history import history
from updater.pipeline.rollback import rollback

CONFIG = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api}]\n"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


def proposed(lab: Lab) -> tuple[Path, str]:
    """An update two days ago that stands on a branch of its own, and main without it; return the configuration."""
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    config = lab.configure(CONFIG, fleet=fleet)
    (commit,) = lab.cycle(config, NOW - 2 * DAY).commits
    bare = lab.folder / "git" / "fleet.git"
    git(bare, "update-ref", "refs/heads/side", commit.revision)
    git(bare, "update-ref", "refs/heads/main", f"{commit.revision}~1")
    person_commits(bare, {"README.md": b"ho\n"}, at=NOW - DAY)
    return config, commit.revision


def merge(lab: Lab, at: datetime) -> str:
    """Merge the branch as a forge does; its tree is that of main with the file of the branch."""
    bare = lab.folder / "git" / "fleet.git"
    when = f"{at.timestamp():.0f} +0000"
    tree = git(bare, "merge-tree", "--write-tree", "main", "side")
    args = ("commit-tree", "-m", "Merge pull request #1", "-p", "main", "-p", "side", tree)
    revision = git(bare, *args, env={"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when})
    git(bare, "update-ref", "refs/heads/main", revision)
    return revision


def test_history_shows_it_with_the_time_of_the_merge(lab: Lab) -> None:
    config, revision = proposed(lab)
    merge(lab, NOW)
    with build(load(config, {})) as world:
        (row,) = history(world, world.settings.items, 9).rows
    assert (row["old"], row["new"], row["revision"]) == ("1.0.0", "1.1.0", revision)
    assert row["at"] == NOW.isoformat()
    assert row["reason"].startswith("docker")


def test_it_is_told_as_what_landed(lab: Lab) -> None:
    config, revision = proposed(lab)
    lab.push("acme/web", "1.0.0")
    person_commits(lab.folder / "git" / "fleet.git", {"x": b"x"}, at=NOW - DAY)
    with build(load(config, {})) as world:
        world.memory().journal.begin("fleet", "main", git(lab.folder / "git" / "fleet.git", "rev-parse", "main"))
    merge(lab, NOW)
    report = lab.cycle(config, NOW + HOUR)
    assert [(one.revision, one.at, one.files) for one in report.landed] == [(revision, NOW, ("a.yaml",))]
    assert [row.reason for row in report.rows] == ["up_to_date"]


def test_a_person_who_undoes_it_is_respected(lab: Lab) -> None:
    config, _ = proposed(lab)
    merge(lab, NOW - HOUR)
    text = lab.spell(pod("HOST/acme/api:1.0.0"))
    person_commits(lab.folder / "git" / "fleet.git", {"a.yaml": text}, at=NOW)
    (row,) = lab.cycle(config, NOW + HOUR).rows
    assert (row.outcome.value, row.reason) == ("held", "human_rollback")


def test_a_merge_that_a_person_resolved_the_other_way_is_respected(lab: Lab) -> None:
    """The merge changed the file, to what the person wanted."""
    config, _ = proposed(lab)
    bare = lab.folder / "git" / "fleet.git"
    person_commits(bare, {"a.yaml": lab.spell(pod("HOST/acme/api:0.9.0"))}, at=NOW - 3 * HOUR)
    merged = person_commits(bare, {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))}, branch="other", at=NOW)
    tree = git(bare, "rev-parse", f"{merged}^{{tree}}")
    revision = git(bare, "commit-tree", "-m", "Merge", "-p", "main", "-p", "side", tree)
    git(bare, "update-ref", "refs/heads/main", revision)
    (row,) = lab.cycle(config, NOW + HOUR).rows
    assert (row.outcome.value, row.reason) == ("held", "human_rollback")


def test_going_back_undoes_what_a_merge_brought(lab: Lab) -> None:
    config, _ = proposed(lab)
    merge(lab, NOW - HOUR)
    with build(load(config, {})) as world:
        report = rollback(world, world.settings.items, None, NOW, NOW + DAY)
    assert ([row.target for row in report.rows], report.failures) == (["1.0.0"], [])
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0")


def test_what_was_merged_lately_is_not_gone_back_from_at_once(lab: Lab) -> None:
    """The window in which a version must not come back begins with the merge, however long the request waited."""
    config, _ = proposed(lab)
    merge(lab, NOW - HOUR)
    text = config.read_text().replace(
        "acme/api}", 'acme/api, policy: {kind: semver, range: "<1.1.0"}, downgrade: allow}'
    )
    config.write_text(text)
    (row,) = lab.cycle(config, NOW).rows
    assert (row.outcome.value, row.reason) == ("held", "flapping")
