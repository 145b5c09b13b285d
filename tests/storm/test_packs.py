"""A clone that has served for long: its packs are made one from time to time, and nothing is lost with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab.git import Embedded, git, person_commits
from tests.lab.path import fsck
from updater.git.clone import MAX_PACKS, Author, Clone

FILES = {f"f{n}": b"%d\n" % n for n in range(5)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    running = Embedded(tmp_path / "git")
    yield running
    running.close()


@pytest.mark.parametrize("others_write", [True, False], ids=["a-person-writes-too", "we-alone-write"])
def test_many_cycles_keep_every_commit_and_few_packs(server: Embedded, tmp_path: Path, *, others_write: bool) -> None:
    """git's own repack drops commits of ours that it reaches only through the remote's; ours are still there."""
    bare = server.create("fleet", FILES)
    clone = Clone(tmp_path / "clone", server.remote("fleet"))
    packs = [0]
    made, left = 0, 3  # cycles after the first repack
    revisions: list[str] = []
    while left:
        made += 1
        assert made < 2 * MAX_PACKS, packs
        if others_write:
            person_commits(bare, {"f0": b"a person's %d\n" % made})
        revisions.append(_cycle(clone, made))
        packs.append(len([*clone.folder.glob("objects/pack/*.pack")]))
        left -= max(packs) > packs[-1]
    assert max(packs) < MAX_PACKS + 5
    assert fsck(clone.folder) == ""
    assert _lost(clone, revisions) == []
    with clone.lock():
        history = clone.log(clone.fetch("main").revision, limit=5 * MAX_PACKS)
    assert len(history) == 1 + made * (2 if others_write else 1)


def _lost(clone: Clone, revisions: list[str]) -> list[str]:
    """Return the commits of ours of which something is not here any more."""
    names = "".join(f"{name}\n" for revision in revisions for name in (revision, f"{revision}:", f"{revision}:f1"))
    told = git(clone.folder, "cat-file", "--batch-check", data=names.encode(), env={"GIT_DIR": str(clone.folder)})
    return [line for line in told.splitlines() if line.endswith("missing")]


def _cycle(clone: Clone, number: int) -> str:
    with clone.lock():
        head = clone.fetch("main")
        oids = {blob.path: blob.oid for blob in clone.tree(head.revision)}
        clone.read(oids.values())
        files = {"f1": b"ours %d\n" % number}
        revision = clone.commit(head.revision, files, f"{number}\n", Author("A", "a@example.test"), datetime.now(UTC))
        clone.push(head.branch, head.revision, revision)
    return revision
