"""What branches, tags and commits mean at the remote: one question, however many, over every transport."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.git.conftest import Calls
from tests.lab.git import FILES, OldSsh, Room, Server, git, person_commits
from updater.errors import GitError, NoRevision
from updater.git.clone import Clone


def tagged(bare: Path, name: str, *, annotated: bool) -> str:
    """Tag what main is at; return the commit."""
    git(bare, "tag", "-f", *(["-a", "-m", name] if annotated else []), name, "main")
    return git(bare, "rev-parse", "main")


def content(clone: Clone, revision: str, path: str = "apps/a.yaml") -> bytes:
    oid = next(blob.oid for blob in clone.tree(revision) if blob.path == path)
    return clone.read([oid])[oid]


def test_every_kind_of_name_in_one_question(room: Room) -> None:
    bare = room.create(FILES)
    first = tagged(bare, "light", annotated=False)
    second = person_commits(bare, {"apps/a.yaml": b"two\n"})
    assert tagged(bare, "v1", annotated=True) == second
    git(bare, "branch", "release/1.x", first)
    head = person_commits(bare, {"apps/a.yaml": b"three\n"})
    clone = room.clone()
    with clone.lock():
        found = clone.resolve(["HEAD", "main", "release/1.x", "light", "v1", second])
        assert found == {
            "HEAD": head, "main": head, "release/1.x": first, "light": first, "v1": second, second: second,
        }  # fmt: skip
        contents = [content(clone, str(found[name])) for name in ("light", "v1", "main")]
    assert contents == [FILES["apps/a.yaml"], b"two\n", b"three\n"]


def test_names_that_are_not_there_are_errors_and_the_others_are_answered(room: Room) -> None:
    head = git(room.create(FILES), "rev-parse", "main")
    clone = room.clone()
    gone = "0123456789" * 4
    with clone.lock():
        found = clone.resolve(["main", "no-such", gone])
    assert found["main"] == head
    assert isinstance(found["no-such"], NoRevision)
    assert "it has no branch and no tag no-such" in str(found["no-such"])
    assert isinstance(found[gone], GitError)


@pytest.mark.parametrize(
    "name",
    ["", "-x", "--upload-pack=touch /tmp/x", "a b", "a..b", "*", "refs/heads/*", "a\nb", "a\0b", "x" * 5000, "@{u}",
     "main:apps", "../../etc", "a/.lock", "main^{}", "héad\u202e"],
    ids=repr,
)  # fmt: skip
def test_a_hostile_name_is_an_error_that_can_be_shown(one: Room, name: str) -> None:
    head = git(one.create(FILES), "rev-parse", "main")
    clone = one.clone()
    with clone.lock():
        found = clone.resolve([name, "main"])
    assert found["main"] == head
    assert isinstance(found[name], GitError)
    assert len(str(found[name])) < 500
    assert str(found[name]).isprintable()


def test_a_branch_wins_over_a_tag_of_its_name(room: Room) -> None:
    bare = room.create(FILES)
    tagged(bare, "both", annotated=True)
    branch = person_commits(bare, {"apps/a.yaml": b"branch\n"})
    git(bare, "branch", "both", branch)
    clone = room.clone()
    with clone.lock():
        assert clone.resolve(["both"]) == {"both": branch}


@pytest.mark.parametrize("annotated", [False, True], ids=["light", "annotated"])
def test_a_tag_that_moved_is_followed(room: Room, annotated: bool) -> None:
    bare = room.create(FILES)
    old = tagged(bare, "stable", annotated=annotated)
    clone = room.clone()
    with clone.lock():
        assert clone.resolve(["stable"]) == {"stable": old}
        new = person_commits(bare, {"apps/a.yaml": b"moved\n"})
        tagged(bare, "stable", annotated=annotated)
        assert clone.resolve(["stable"]) == {"stable": new}
        assert content(clone, new) == b"moved\n"


def test_a_history_that_was_written_anew_is_taken_as_it_is(room: Room) -> None:
    bare = room.create(FILES)
    person_commits(bare, {"apps/a.yaml": b"two\n"})
    clone = room.clone()
    with clone.lock():
        clone.resolve(["main"])
        git(bare, "update-ref", "-d", "refs/heads/main")
        new = person_commits(bare, {"apps/a.yaml": b"forced\n"})
        assert clone.resolve(["main"]) == {"main": new}
        assert content(clone, new) == b"forced\n"


def test_what_did_not_change_is_one_question_and_nothing_else(one: Room, calls: Calls) -> None:
    bare = one.create(FILES)
    tagged(bare, "v1", annotated=True)
    names = ["HEAD", "main", "v1", git(bare, "rev-parse", "main")]
    clone = one.clone()
    with clone.lock():
        clone.resolve(names)
        assert [call for call in calls() if call == "ls-remote"] == ["ls-remote"]
        clone.resolve(names)
        assert calls() == ["ls-remote"]
        clone.resolve(names[-1:])
        assert calls() == []


def test_a_branch_that_was_deleted_is_an_error_and_not_made_anew(one: Room) -> None:
    bare = one.create(FILES)
    git(bare, "branch", "other", "main")
    clone = one.clone()
    with clone.lock():
        clone.resolve(["other", "main"])
        git(bare, "branch", "-D", "other")
        found = clone.resolve(["other", "main"])
    assert isinstance(found["other"], GitError)
    assert found["main"] == git(bare, "rev-parse", "main")


def test_a_remote_that_is_away_is_one_error(one: Room) -> None:
    clone = one.clone()
    with clone.lock(), pytest.raises(GitError, match="cannot ask for the heads of"):
        clone.resolve(["main", "v1"])


def test_a_damaged_clone_is_made_anew(one: Room) -> None:
    bare = one.create(FILES)
    git(bare, "branch", "other", "main")
    clone = one.clone()
    with clone.lock():
        clone.resolve(["main", "other"])
        for pack in (clone.folder / "objects" / "pack").glob("*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(b"rubbish")
        head = person_commits(bare, {"apps/a.yaml": b"two\n"})
        assert clone.resolve(["main", "other"])["main"] == head
        assert content(clone, head) == b"two\n"


def test_gits_oldest_protocol_has_the_files_of_every_branch(old_ssh: Server, tmp_path: Path) -> None:
    """It gives no file by its name, so that whole histories come: those of all that was asked for."""
    assert isinstance(old_ssh, OldSsh)
    room = Room(old_ssh, tmp_path.name, tmp_path)
    bare = room.create({"apps/a.yaml": b"first\n"})
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "false")
    git(bare, "branch", "first", "main")
    tagged(bare, "v1", annotated=True)
    head = person_commits(bare, {"apps/a.yaml": b"second\n"})
    person_commits(bare, {"apps/a.yaml": b"third\n"}, branch="third")
    clone = room.clone()
    with clone.lock():
        found = clone.resolve(["first", "main", "third", "v1"])
        assert found["main"] == head
        contents = [content(clone, str(found[name])) for name in ("first", "main", "third", "v1")]
    assert contents == [b"first\n", b"second\n", b"third\n", b"first\n"]
