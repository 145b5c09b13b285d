"""What a remote's words about a push mean."""

from __future__ import annotations

import os

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, git, hook
from updater.errors import GitError, PushRefused, PushRejected
from updater.git.push import Outcome, outcome

LINE = "To https://h/x\n!\t{0}:refs/heads/main\t[{1}] ({2})\nDone\n"


@pytest.mark.parametrize(
    ("word", "why", "expected"),
    [
        ("rejected", "stale info", Outcome.MOVED),
        ("rejected", "fetch first", Outcome.MOVED),
        ("rejected", "non-fast-forward", Outcome.MOVED),
        ("remote rejected", "cannot lock ref 'refs/heads/main': is at 1 but expected 2", Outcome.MOVED),
        ("remote rejected", "failed to update ref", Outcome.MOVED),
        ("remote rejected", "pre-receive hook declined", Outcome.REFUSED),
        ("remote rejected", "protected branch hook declined", Outcome.REFUSED),
        ("remote rejected", "refusing to update checked out branch", Outcome.REFUSED),
        ("remote failure", "remote failed to report status", Outcome.UNKNOWN),
    ],
)
def test_words(word: str, why: str, expected: Outcome) -> None:
    assert outcome(1, LINE.format("1" * 40, word, why))[0] is expected


def test_a_push_without_a_word_is_unknown_and_one_without_an_error_is_done() -> None:
    assert outcome(128, "")[0] is Outcome.UNKNOWN
    assert outcome(-15, "To https://h/x\n")[0] is Outcome.UNKNOWN
    assert outcome(0, "")[0] is Outcome.DONE


def test_a_remote_that_lets_nobody_write_refuses(room: Room) -> None:
    bare = room.create(FILES)
    git(bare, "config", "http.receivepack", "false")
    hook(bare, "update", "echo 'permission denied by the lab' >&2; exit 1")
    clone = room.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"new": b"1"}, "New\n", AUTHOR, AT)
        with pytest.raises(PushRefused, match=r"403|hook declined"):
            clone.push("main", head.revision, revision)


def test_a_push_that_takes_too_long_is_ended_and_looked_after(one: Room) -> None:
    bare = one.create(FILES)
    gate = one.folder / "gate"
    os.mkfifo(gate)
    hook(bare, "pre-receive", f"cat {gate} > /dev/null; exit 1")
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"new": b"1"}, "New\n", AUTHOR, AT)
    slow = one.clone(deadline=2)
    with slow.lock(), pytest.raises(GitError, match="it took more than 2 s"):
        slow.push("main", head.revision, revision)
    gate.write_text("go")


def test_a_lock_left_on_the_remote_is_a_push_to_try_again(one: Room) -> None:
    bare = one.create(FILES)
    (bare / "refs/heads/main.lock").write_text("")
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"new": b"1"}, "New\n", AUTHOR, AT)
        with pytest.raises(PushRejected, match="cannot push main to"):
            clone.push("main", head.revision, revision)


def test_the_same_push_twice_is_rejected_the_second_time(one: Room) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"new": b"1"}, "New\n", AUTHOR, AT)
        clone.push("main", head.revision, revision)
        git(bare, "update-ref", "refs/heads/main", head.revision)
        clone.push("main", head.revision, revision)
        other = clone.commit(head.revision, {"new": b"2"}, "New\n", AUTHOR, AT)
        with pytest.raises(PushRejected):
            clone.push("main", head.revision, other)
    assert git(bare, "rev-parse", "main") == revision
