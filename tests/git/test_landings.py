"""What merges brought to a branch: it counts from the merge, and only as far as the merge took it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.git import FILES, Room, git, person_commits
from updater.errors import GitError
from updater.git.landings import chain, landings, parse_parents
from updater.git.log import Logged
from updater.messages.commits import OURS

MONDAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ours(n: int) -> str:
    return f"Update r/a to {n}\n\n- r/a {n - 1} -> {n} in apps/a.yaml:1\n\nImage-Update: r/a {n - 1} -> {n}\n"


def commit(bare: Path, n: int, hours: float, branch: str = "main", file: str = "apps/a.yaml") -> str:
    return person_commits(bare, {file: b"image: r/a:%d\n" % n}, ours(n), branch, MONDAY + hours * HOUR)


def branch(bare: Path, name: str, of: str = "main") -> None:
    git(bare, "update-ref", f"refs/heads/{name}", of)


def merge(bare: Path, side: str, hours: float, *, message: str = "Merge", into: str = "main", tree: str = "") -> str:
    """Merge `side`; the tree of the result is that of the side, or as it is said."""
    at = f"{(MONDAY + hours * HOUR).timestamp():.0f} +0000"
    dates = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
    args = ["commit-tree", "-m", message, "-p", into, "-p", side, f"{tree or side}^{{tree}}"]
    revision = git(bare, *args, env=dates)
    git(bare, "update-ref", f"refs/heads/{into}", revision)
    return revision


def landed(room: Room, name: str = "main", limit: int = 99, after: str = "") -> list[Logged]:
    clone = room.clone()
    with clone.lock():
        return list(clone.landed(clone.fetch(name).revision, limit=limit, grep=OURS, files=True, after=after))


def told(found: list[Logged]) -> list[tuple[str, float, tuple[str, ...]]]:
    return [(one.message.partition("\n")[0][-1], (one.at - MONDAY) / HOUR, one.files) for one in found]


def test_what_a_merge_brought_counts_from_the_merge(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 2, 1, "side")
    commit(bare, 3, 2, "side")
    person_commits(bare, {"README.md": b"ho\n"}, at=MONDAY + 3 * HOUR)
    merge(bare, "side", 5)
    commit(bare, 4, 6)
    files = ("apps/a.yaml",)
    found = landed(one)
    assert told(found) == [("4", 6, files), ("3", 5, files), ("2", 5, files)]
    assert found[1].revision == git(bare, "rev-parse", "side")


def test_the_order_is_that_of_the_branch_not_that_of_the_clock(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 3, 4, "side")
    commit(bare, 2, 2)
    merge(bare, "side", 9)
    commit(bare, 4, 3)  # a clock that is late
    assert [row[0] for row in told(landed(one))] == ["4", "3", "2"]


def test_what_the_merge_left_out_did_not_land(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 2, 1, "side")
    merge(bare, "side", 2, tree="main")
    assert told(landed(one)) == [("2", 2, ())]


def test_a_merge_that_repeats_the_trailers_counts_once(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 2, 1, "side")
    revision = merge(bare, "side", 2, message=ours(2))
    assert [row.revision for row in landed(one)] == [revision]


def test_a_branch_that_was_merged_into_a_branch_lands_with_that(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    branch(bare, "deep")
    commit(bare, 2, 1, "deep")
    person_commits(bare, {"b": b"b"}, branch="side", at=MONDAY + HOUR)
    merge(bare, "deep", 3, into="side")
    person_commits(bare, {"c": b"c"}, at=MONDAY + 4 * HOUR)
    merge(bare, "side", 7)
    assert [row[:2] for row in told(landed(one))] == [("2", 7)]


def test_a_branch_that_was_merged_twice_counts_from_the_first_time(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 2, 1, "side")
    merge(bare, "side", 2)
    commit(bare, 3, 3, "side")
    merge(bare, "side", 4)
    assert [row[:2] for row in told(landed(one))] == [("3", 4), ("2", 2)]


def test_only_what_is_new_is_told_where_that_is_asked(one: Room) -> None:
    bare = one.create(FILES)
    branch(bare, "side")
    commit(bare, 2, 1, "side")
    before = commit(bare, 3, 2, file="apps/b.yaml")
    merge(bare, "side", 4)
    assert [row[:2] for row in told(landed(one, after=before))] == [("2", 4)]
    with pytest.raises(GitError):
        landed(one, after="0" * 40)


def test_the_number_is_kept(one: Room) -> None:
    bare = one.create(FILES)
    for n in range(2, 8):
        branch(bare, "side")
        commit(bare, n, n, "side")
        merge(bare, "side", n + 0.5)
    assert [row[0] for row in told(landed(one, limit=3))] == ["7", "6", "5"]


@pytest.mark.parametrize("seed", range(20))
def test_any_history_lands_as_git_itself_says(seed: int) -> None:
    """A commit lands with the oldest of the branch from which it is reached."""
    dice = random.Random(seed)
    parents: dict[str, list[str]] = {"0": []}
    for n in range(1, 60):
        known = list(parents)
        parents[str(n)] = dice.sample(known[-8:], min(len(known), dice.choice([1, 1, 2, 3])))
    line = chain(parents, "59")
    expected: dict[str, str] = {}
    for landing in reversed(line):
        expected |= {one: landing for one in _reached(parents, landing) if one not in line and one not in expected}
    assert landings(parents, line, parents) == expected
    assert line[0] == "59"


def _reached(parents: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        one = todo.pop()
        found.add(one)
        todo += [parent for parent in parents[one] if parent not in found]
    return found


def test_a_line_that_was_cut_is_not_read() -> None:
    assert parse_parents(b"a b\nc\nd e f\ng h") == {"a": ["b"], "c": [], "d": ["e", "f"]}
    assert parse_parents(b"") == {}
