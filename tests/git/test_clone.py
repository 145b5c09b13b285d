"""Fetch, read, commit and push, over every transport that the product offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, Server, git, hook, person_commits
from updater.errors import GitError, PushRefused, PushRejected
from updater.git.clone import Clone


def bump(clone: Clone, path: str = "apps/a.yaml", content: bytes = b"image: r/a:1.1.0\n") -> tuple[str, str]:
    """Fetch, and commit one file on what is there; return base and revision."""
    base = clone.fetch("main").revision
    return base, clone.commit(base, {path: content}, "Update r/a to 1.1.0\n", AUTHOR, AT)


def test_a_file_goes_the_whole_way_to_the_remote(room: Room) -> None:
    bare = room.create(FILES)
    clone = room.clone()
    with clone.lock():
        head = clone.fetch()
        assert (head.branch, head.revision) == ("main", git(bare, "rev-parse", "main"))
        tree = clone.tree(head.revision)
        assert [(blob.path, blob.mode) for blob in tree] == [(path, "100644") for path in sorted(FILES)]
        contents = clone.read(blob.oid for blob in tree)
        assert {blob.path: contents[blob.oid] for blob in tree} == FILES
        changed = {"apps/a.yaml": b"image: r/a:1.1.0\n", "apps/new.yaml": b"image: r/n:1\n"}
        revision = clone.commit(head.revision, changed, "Update r/a to 1.1.0\n\nWhy not.\n", AUTHOR, AT)
        clone.push(head.branch, head.revision, revision)
        assert clone.fetch("main").revision == revision
    assert git(bare, "rev-parse", "main") == revision
    assert git(bare, "log", "-1", "--format=%an %ae %cn %ce %at %ct%n%B") == (
        "Image Updater updater@localhost Image Updater updater@localhost 1772600767 1772600767\n"
        "Update r/a to 1.1.0\n\nWhy not.\n"
    )
    assert git(bare, "diff", "--stat", "--summary", f"{head.revision}..{revision}") == (
        " apps/a.yaml   | 2 +-\n apps/new.yaml | 1 +\n 2 files changed, 2 insertions(+), 1 deletion(-)\n"
        " create mode 100644 apps/new.yaml"
    )
    git(bare, "fsck", "--strict")


def test_the_next_process_goes_on_with_the_same_clone(room: Room) -> None:
    bare = room.create(FILES)
    for n in range(3):
        clone = room.clone()
        with clone.lock():
            base, revision = bump(clone, content=b"image: r/a:1.%d.0\n" % n)
            clone.push("main", base, revision)
    assert git(bare, "rev-list", "--count", "main") == "4"
    assert git(bare, "show", "main:apps/a.yaml") == "image: r/a:1.2.0"


def test_somebody_elses_commits_are_fetched_with_their_files(room: Room) -> None:
    bare = room.create(FILES)
    clone = room.clone()
    with clone.lock():
        clone.read(blob.oid for blob in clone.tree(clone.fetch().revision))
        theirs = person_commits(bare, {"apps/b.yaml": b"image: r/b:2\n", "apps/c.yaml": b"image: r/c:1\n"})
        assert clone.fetch("main").revision == theirs
        tree = clone.tree(theirs)
        contents = clone.read(blob.oid for blob in tree)
        assert {blob.path: contents[blob.oid] for blob in tree}["apps/b.yaml"] == b"image: r/b:2\n"
        assert len(contents) == 4


def test_a_push_after_somebody_elses_is_rejected_and_nothing_is_lost(room: Room) -> None:
    bare = room.create(FILES)
    clone = room.clone()
    with clone.lock():
        base, revision = bump(clone)
        theirs = person_commits(bare, {"apps/b.yaml": b"image: r/b:9\n"})
        with pytest.raises(PushRejected, match=f"{room.name}: cannot push main to"):
            clone.push("main", base, revision)
        assert git(bare, "rev-parse", "main") == theirs
        base, revision = bump(clone)
        assert base == theirs
        clone.push("main", base, revision)
    assert git(bare, "show", "main:apps/a.yaml", "main:apps/b.yaml") == "image: r/a:1.1.0\nimage: r/b:9"


def test_a_push_that_a_hook_refuses_says_what_the_hook_said(room: Room) -> None:
    bare = room.create(FILES)
    hook(bare, "pre-receive", "echo 'policy: not on a Friday' >&2; exit 1")
    clone = room.clone()
    with clone.lock():
        base, revision = bump(clone)
        with pytest.raises(PushRefused, match=r"pre-receive hook declined.*policy: not on a Friday"):
            clone.push("main", base, revision)
    assert git(bare, "rev-parse", "main") == base


def test_a_push_whose_answer_is_lost_is_a_success_where_the_remote_has_it(room: Room) -> None:
    bare = room.create(FILES)
    hook(bare, "post-receive", "kill -9 $PPID")
    clone = room.clone()
    with clone.lock():
        base, revision = bump(clone)
        clone.push("main", base, revision)
    assert git(bare, "rev-parse", "main") == revision


def test_a_push_that_dies_before_it_is_written_is_an_error(room: Room) -> None:
    bare = room.create(FILES)
    hook(bare, "pre-receive", "kill -9 $PPID")
    clone = room.clone()
    with clone.lock():
        base, revision = bump(clone)
        with pytest.raises(GitError, match="cannot push main to") as caught:
            clone.push("main", base, revision)
    assert type(caught.value) is GitError
    assert git(bare, "rev-parse", "main") == base


def test_a_deleted_branch_is_reported_and_never_made_again(room: Room) -> None:
    bare = room.create(FILES)
    clone = room.clone()
    with clone.lock():
        base, revision = bump(clone)
        git(bare, "update-ref", "-d", "refs/heads/main")
        with pytest.raises(PushRejected):
            clone.push("main", base, revision)
        with pytest.raises(GitError, match="it has no branch main"):
            clone.fetch("main")
        with pytest.raises(GitError, match="it is empty, or its HEAD names no branch"):
            clone.fetch()
    assert git(bare, "for-each-ref") == ""


def test_a_branch_that_never_was_is_named(room: Room) -> None:
    room.create(FILES)
    clone = room.clone()
    with clone.lock(), pytest.raises(GitError, match="it has no branch release/9"):
        clone.fetch("release/9")


def test_a_history_written_anew_is_taken_as_it_is(room: Room) -> None:
    bare = room.create(FILES)
    person_commits(bare, {"apps/a.yaml": b"dropped\n"})
    clone = room.clone()
    with clone.lock():
        clone.fetch("main")
        git(bare, "update-ref", "refs/heads/main", "main~1")
        theirs = person_commits(bare, {"apps/b.yaml": b"image: r/b:3\n"})
        base, revision = bump(clone)
        assert base == theirs
        clone.push("main", base, revision)
    assert git(bare, "log", "--format=%s", "main") == "Update r/a to 1.1.0\nBy hand\nFirst commit"


def test_branches_whose_names_clash_as_files_live_side_by_side(room: Room) -> None:
    bare = room.create(FILES)
    first = git(bare, "rev-parse", "main")
    clone = room.clone()
    with clone.lock():
        for branch in ("release", "release/1.x", "ünï@1"):
            git(bare, "update-ref", f"refs/heads/{branch}", first)
            assert clone.fetch(branch).revision == first
            git(bare, "update-ref", "-d", f"refs/heads/{branch}")


def test_the_default_branch_is_the_one_that_head_names(room: Room) -> None:
    bare = room.create(FILES, branch="trunk/next")
    clone = room.clone()
    with clone.lock():
        assert clone.fetch().branch == "trunk/next"
        git(bare, "update-ref", "refs/heads/main", "trunk/next")
        git(bare, "symbolic-ref", "HEAD", "refs/heads/main")
        assert clone.fetch().branch == "main"


def test_a_remote_without_filters_gives_everything_at_once(room: Room) -> None:
    bare = room.create(FILES)
    git(bare, "config", "uploadpack.allowFilter", "false")
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "false")
    clone = room.clone()
    with clone.lock():
        contents = clone.read(blob.oid for blob in clone.tree(clone.fetch().revision))
    assert sorted(contents.values()) == sorted(FILES.values())


def test_a_repository_that_is_not_there_is_named(room: Room) -> None:
    clone = room.clone()
    with clone.lock(), pytest.raises(GitError, match=rf"{room.name}: cannot ask for the head of .*{room.name}.git"):
        clone.fetch()


@pytest.mark.parametrize("filters", ["true", "false"])
def test_a_server_with_the_oldest_protocol_gives_every_file_too(old_ssh: Server, tmp_path: Path, filters: str) -> None:
    room = Room(old_ssh, tmp_path.name, tmp_path)
    bare = room.create(FILES)
    git(bare, "config", "uploadpack.allowFilter", filters)
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "false")
    for n in range(2):
        clone = room.clone()
        with clone.lock():
            contents = clone.read(blob.oid for blob in clone.tree(clone.fetch("main").revision))
            assert len(contents) == len(FILES) + n
            base, revision = bump(clone, content=b"%d\n" % n)
            clone.push("main", base, revision)
        person_commits(bare, {f"apps/{n}.yaml": b"theirs %d\n" % n})
