"""What history tells."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, git, person_commits
from updater.git import clone as clones
from updater.git.log import FORMAT, parse_log, trailers
from updater.messages.commits import OURS

UPDATE = "Update r/a to 2\n\n- r/a 1 -> 2 in apps/a.yaml:1\n\nImage-Update: r/a 1 -> 2\nImage-Reason: r/a newest of 3\n"


def test_commits_come_newest_first_with_who_when_and_why(one: Room) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch("main")
        revision = clone.commit(head.revision, {"apps/a.yaml": b"image: r/a:2\n"}, UPDATE, AUTHOR, AT)
        clone.push("main", head.revision, revision)
        person_commits(bare, {"README.md": b"ho\n"}, "Say ho\n\nNot: a trailer\nbut text")
        newest, ours, first = clone.log(clone.fetch("main").revision, limit=9)
    assert (ours.revision, ours.at, ours.author, ours.email) == (revision, AT, AUTHOR.name, AUTHOR.email)
    assert ours.message.strip() == UPDATE.strip()
    assert ours.trailers == (("Image-Update", "r/a 1 -> 2"), ("Image-Reason", "r/a newest of 3"))
    assert (newest.author, newest.trailers) == ("Person", ())
    assert first.message.strip() == "First commit"


def test_history_is_cut_by_number_and_by_age(one: Room) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        revision = clone.fetch("main").revision
        for n in range(5):
            at = datetime(2036, 1, 1 + n, tzinfo=UTC)
            revision = clone.commit(revision, {"n": b"%d" % n}, f"{n}\n", AUTHOR, at)
        assert [row.message.strip() for row in clone.log(revision, limit=2)] == ["4", "3"]
        since = datetime(2036, 1, 3, tzinfo=UTC) - timedelta(hours=1)
        assert [row.message.strip() for row in clone.log(revision, limit=9, since=since)] == ["4", "3", "2"]


def test_a_merge_counts_once(one: Room) -> None:
    bare = one.create(FILES)
    main = git(bare, "rev-parse", "main")
    git(bare, "update-ref", "refs/heads/side", main)
    side = person_commits(bare, {"side": b"1"}, "Side", branch="side")
    tree = git(bare, "rev-parse", f"{side}^{{tree}}")
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", "-m", "Merge", "-p", main, "-p", side, tree))
    clone = one.clone()
    with clone.lock():
        assert [row.message.strip() for row in clone.log(clone.fetch("main").revision, limit=9)] == [
            "Merge",
            "First commit",
        ]


def test_ours_are_found_however_many_others_lie_between(room: Room) -> None:
    """A branch where people are busy: what we did long ago counts, and nothing is asked of the remote for it."""
    bare = room.create(FILES)
    for n in range(3):
        person_commits(bare, {"apps/a.yaml": b"image: r/a:%d\n" % n}, UPDATE.replace("-> 2", f"-> {n}"))
        for m in range(5):
            person_commits(
                bare, {"README.md": b"%d\n" % m}, f"Image-Updates: {n}{m}\n\nNot an Image-Update: r/a 1 -> 2"
            )
    clone = room.clone()
    with clone.lock():
        head = clone.fetch("main").revision
        ours = clone.log(head, limit=2, grep=OURS, files=True)
        assert [row.trailers[0] for row in ours] == [("Image-Update", "r/a 1 -> 2"), ("Image-Update", "r/a 1 -> 1")]
        assert [row.files for row in ours] == [("apps/a.yaml",)] * 2
        assert clone.log(head, limit=9, grep="^Nobody: ") == ()


def test_the_files_of_a_commit_are_those_that_differ_from_its_first_parent(room: Room) -> None:
    """Though none of them was ever read here: a clone without contents fetches none for it."""
    bare = room.create(FILES | {"gone.yaml": b"x" * 999})
    paths = {
        "new.yaml": b"1\n",
        "a b/\u00fc.yaml".encode().decode(): b"2\n",
        "line\nend.yaml": b"3\n",
        "0" * 40: b"4\n",
    }
    person_commits(bare, {name: content for name, content in paths.items() if "\n" not in name}, "Many")
    main = git(bare, "rev-parse", "main")
    git(bare, "update-ref", "refs/heads/side", main)
    side = person_commits(bare, {"moved.yaml": b"x" * 999, "apps/a.yaml": b"image: r/a:2\n"}, "Side", branch="side")
    tree = git(bare, "rev-parse", f"{side}^{{tree}}")
    merged = git(bare, "commit-tree", "-m", "Merge", "-p", main, "-p", side, tree)
    empty = git(bare, "commit-tree", "-m", "Empty", "-p", merged, tree)
    git(bare, "update-ref", "refs/heads/main", empty)
    clone = room.clone()
    with clone.lock():
        rows = clone.log(clone.fetch("main").revision, limit=9, files=True)
    assert [(row.message.strip(), row.files) for row in rows] == [
        ("Empty", ()),
        ("Merge", ("apps/a.yaml", "moved.yaml")),
        ("Many", ("0" * 40, "a b/\u00fc.yaml", "new.yaml")),
        ("First commit", tuple(sorted([*FILES, "gone.yaml"]))),
    ]
    packs = (clone.folder / "objects" / "pack").glob("*.pack")
    assert sum(pack.stat().st_size for pack in packs) < 4000


def test_history_that_is_too_large_loses_its_oldest(one: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        revision = clone.fetch("main").revision
        for n in range(9):
            files = {f"{n}/{m}": b"" for m in range(20)}
            revision = clone.commit(revision, files, f"{n}\n\n{'x' * 500}\n", AUTHOR, AT)
        monkeypatch.setattr(clones, "MAX_LOG", 3000)
        rows = clone.log(revision, limit=9, files=True)
    assert [row.message[0] for row in rows] == ["8", "7", "6"]
    assert {len(row.files) for row in rows} == {20}


def test_paths_that_look_like_anything_are_told_apart() -> None:
    """A message, a name and a path may hold whatever but NUL, the line end before the first path is git's."""
    revision = b"a" * 40
    first = b"\0".join(
        [b"", revision, b"", b"1", b"", b"", b"", b"\n\n", b"", b"\n\nodd", b"b" * 40, b"2", b"\xff", b"n", b""]
    )
    rows = parse_log(first + b"\0".join([b"", revision, b"b c", b"2", b"N", b"e", b"c", b"m", b"", b""]))
    assert FORMAT[0] == "-z"
    assert [(row.at.timestamp(), row.author, row.files, row.parents) for row in rows] == [
        (1.0, "", ("\nodd", "b" * 40, "2", "n"), ()),
        (2.0, "N", (), ("b", "c")),
    ]


def test_a_commit_is_shown_with_its_difference_though_its_files_were_never_read(room: Room) -> None:
    bare = room.create(FILES)
    revision = person_commits(bare, {"apps/a.yaml": b"image: r/a:2\n"})
    clone = room.clone()
    with clone.lock():
        clone.fetch("main")
        shown = clone.show(revision)
    assert shown == git(bare, "log", "-p", "-1", revision) + "\n"
    assert "-image: r/a:1.0.0\n+image: r/a:2\n" in shown


SQUASH = "Squash (#7)\n\n* One\n\n- x\n\nA: 1\n\n* Two\n\n- y\n\nA: 2\n"
TRAILERS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "a subject is none": ("Subject: not a trailer", []),
    "a block": ("S\n\nA: 1\nB-c: 2\n", [("A", "1"), ("B-c", "2")]),
    "a block with text is none": ("S\n\nText\nA: 1\n", []),
    "a line that goes on": ("S\n\nA: 1\n  and more\nB: 2", [("A", "1 and more"), ("B", "2")]),
    "a squash keeps every block": (SQUASH, [("A", "1"), ("A", "2")]),
    "carriage returns": ("S\r\n\r\nA: 1\r\n", [("A", "1")]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("message", "found"), TRAILERS.values(), ids=TRAILERS.keys())
def test_trailers_are_the_blocks_that_hold_nothing_else(message: str, found: list[tuple[str, str]]) -> None:
    assert list(trailers(message)) == found


def test_a_block_of_a_hundred_thousand_trailers_is_read_in_no_time() -> None:
    message = "S\n\n" + "".join(f"A: {n}\n" for n in range(100_000))
    started = time.process_time()
    assert sum(1 for _ in trailers(message)) == 100_000
    assert time.process_time() - started < 5
