"""A clone is a cache: whatever happens to it, the next cycle has one that is whole, and one at a time works in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, git, hook, person_commits
from updater.errors import GitError, PushRejected
from updater.git import folder as folders
from updater.git.clone import MAX_PACKS, Clone

Damage = Callable[[Path], object]


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def packs(folder: Path, suffix: str = "pack") -> list[Path]:
    return sorted((folder / "objects" / "pack").glob(f"*.{suffix}"))


def empty_packs(folder: Path) -> None:
    for path in packs(folder):
        overwrite(path, b"")


def cut_packs(folder: Path) -> None:
    for path in packs(folder):
        overwrite(path, path.read_bytes()[:40])


def garbled_packs(folder: Path) -> None:
    for path in packs(folder):
        whole = path.read_bytes()
        overwrite(path, whole[:12] + b"\xff" * 80 + whole[92:])


def empty_indexes(folder: Path) -> None:
    for path in packs(folder, "idx"):
        overwrite(path, b"")


def no_packs(folder: Path) -> None:
    for path in packs(folder):
        path.unlink()


def a_file(folder: Path) -> None:
    folders.remove(folder)
    folder.write_bytes(b"?")


def a_link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def a_work_tree(folder: Path) -> None:
    folders.remove(folder)
    git(folder.parent, "init", "-q", str(folder))


DAMAGES: dict[str, Damage] = {
    "packs are empty": empty_packs,
    "packs are cut": cut_packs,
    "packs hold other bytes": garbled_packs,
    "indexes are empty": empty_indexes,
    "packs are gone": no_packs,
    "objects are gone": lambda folder: folders.remove(folder / "objects"),
    "the head is no hash": lambda folder: overwrite(folder / "refs/updater/main", b"\0" * 41),
    "the config is empty": lambda folder: overwrite(folder / "config", b""),
    "HEAD is gone": lambda folder: (folder / "HEAD").unlink(),
    "it is a file": a_file,
    "it is a link": a_link,
    "it is a clone of another remote": lambda folder: overwrite(
        folder / "config", folders.config("https://h/x").encode()
    ),
    "it is a repository with a work tree": a_work_tree,
}
LEFT_BEHIND = (
    "refs/updater/main.lock",
    "refs/updater/=work.lock",
    "refs/updater/=new",
    "HEAD.lock",
    "config.lock",
    "packed-refs.lock",
    "shallow",
    "login-x",
    "fast_import_crash_1",
    "objects/pack/tmp_pack_x",
    "objects/info/alternates",
)


def whole(clone: Clone) -> dict[str, bytes]:
    tree = clone.tree(clone.fetch("main").revision)
    contents = clone.read(blob.oid for blob in tree)
    return {blob.path: contents[blob.oid] for blob in tree}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_or_foreign_folder_is_set_aside_and_cloned_anew(one: Room, damage: Damage) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        assert whole(clone) == FILES
    damage(clone.folder)
    for again in (clone, one.clone()):
        with again.lock():
            assert whole(again) == FILES
            head = again.fetch("main")
            revision = again.commit(head.revision, {"apps/a.yaml": b"2\n"}, "Update\n", AUTHOR, AT)
            assert [row.revision for row in again.log(revision, limit=9)] == [revision, head.revision]
    git(clone.folder, "log", "-1", head.revision)


def test_a_remote_that_is_damaged_itself_is_not_cloned_again_and_again(one: Room) -> None:
    one.create(FILES)
    clone = one.clone()
    for healed in (True, False):
        with clone.lock():
            clone.fetch("main")
            empty_packs(clone.folder)
            if healed:
                assert whole(clone) == FILES
            else:
                with pytest.raises(GitError, match="cannot list the files of"):
                    whole(clone)
    aside = clone.folder.with_name("clone.aside")
    os.utime(aside, (0, time.time() - folders.PROBATION - 1))
    with clone.lock():
        assert whole(clone) == FILES


def test_a_full_disk_is_no_damage(one: Room, tmp_path: Path) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        clone.fetch("main")
    person_commits(bare, {"big.yaml": os.urandom(40_000)})
    code = """
import resource, sys
from pathlib import Path
from updater.git.clone import Clone, Remote
from updater.git.credentials.basic import Basic
from updater.secrets import SecretRef
from updater.errors import GitError
login = Basic(username="ci", password=SecretRef("env:LAB_PASSWORD"))
clone = Clone(Path(sys.argv[1]), Remote("fleet", sys.argv[2], credentials=login))
with clone.lock():
    tree = clone.tree(clone.fetch("main").revision)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        clone.read(blob.oid for blob in tree)
    except GitError as err:
        print(err)
"""
    env = os.environ | {"LAB_PASSWORD": "s3cret-of-the-lab"}
    argv = [sys.executable, "-c", code, str(clone.folder), clone.remote.url]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=True)
    assert "cannot fetch files from" in done.stdout
    assert not clone.folder.with_name("clone.aside").exists()
    with clone.lock():
        assert len(whole(clone)) == 4


def test_what_a_killed_git_left_behind_is_swept(one: Room) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        clone.fetch("main")
    for left in LEFT_BEHIND:
        (clone.folder / left).write_text("")
    person_commits(bare, {"apps/a.yaml": b"2\n"})
    with clone.lock():
        assert whole(clone)["apps/a.yaml"] == b"2\n"
        head = clone.fetch("main")
        clone.commit(head.revision, {"apps/a.yaml": b"3\n"}, "Update\n", AUTHOR, AT)
    assert sorted(path.name for path in clone.folder.iterdir()) == ["HEAD", "config", "objects", "refs"]
    assert not list((clone.folder / "objects" / "pack").glob("tmp_*"))


def test_many_packs_become_few_and_every_file_stays(one: Room) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        whole(clone)
        head = clone.fetch("main").revision
        for n in range(MAX_PACKS):
            head = clone.commit(head, {"apps/n.yaml": b"%d\n" % n}, f"Update {n}\n", AUTHOR, AT)
        clone.push("main", clone.fetch("main").revision, head)
        person_commits(bare, {"apps/z.yaml": b"z\n"})
        assert whole(clone) == FILES | {"apps/n.yaml": b"%d\n" % (MAX_PACKS - 1), "apps/z.yaml": b"z\n"}
        assert folders.packs(clone.folder) < 6


def test_a_clone_is_used_under_its_lock_alone(one: Room) -> None:
    one.create(FILES)
    clone = one.clone()
    with pytest.raises(RuntimeError, match="under its lock"):
        clone.fetch()


def test_two_clones_of_one_folder_take_turns(one: Room) -> None:
    one.create(FILES)
    first, second = one.clone(), one.clone()
    with first.lock(), pytest.raises(GitError, match=r"has been in use by another process for 0.1 s"), second.lock(0.1):
        pass
    with second.lock(0.1):
        second.fetch("main")


def test_whoever_waits_is_woken_at_once(one: Room) -> None:
    one.create(FILES)
    first, second = one.clone(), one.clone()
    waiting, got = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        with second.lock(30):
            got.set()

    with first.lock():
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(10)
        assert not got.wait(0.1)
    assert got.wait(10)
    thread.join()


def test_a_lock_that_nobody_waited_for_any_more_is_free_again(one: Room) -> None:
    first, second, third = one.clone(), one.clone(), one.clone()
    with first.lock():
        for _ in range(3):
            with pytest.raises(GitError, match="in use"), second.lock(0.05):
                pass
    with third.lock(10):
        pass


def test_git_that_survives_its_parent_keeps_the_lock(one: Room, tmp_path: Path) -> None:
    bare = one.create(FILES)
    gate, arrived = tmp_path / "gate", tmp_path / "arrived"
    os.mkfifo(gate)
    os.mkfifo(arrived)
    hook(bare, "pre-receive", f"echo here > {arrived}; cat {gate} > /dev/null")
    clone = one.clone()
    child = os.fork()
    if not child:
        with clone.lock():
            head = clone.fetch("main")
            revision = clone.commit(head.revision, {"apps/a.yaml": b"2\n"}, "Update\n", AUTHOR, AT)
            clone.push("main", head.revision, revision)
        os._exit(0)
    assert arrived.read_text() == "here\n"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(GitError, match="in use"), clone.lock(0.2):
        pass
    gate.write_text("go")
    with clone.lock(30):
        assert whole(clone)["apps/a.yaml"] == b"2\n"


def test_two_clones_race_and_nothing_is_lost(room: Room) -> None:
    bare = room.create(FILES)
    start = threading.Barrier(2)
    lost: list[str] = []

    def write(who: str) -> None:
        clone = room.clone(who)
        start.wait()
        for n in range(3):
            with clone.lock():
                while True:
                    base = clone.fetch("main").revision
                    revision = clone.commit(base, {f"apps/{who}-{n}": who.encode()}, f"{who} {n}\n", AUTHOR, AT)
                    try:
                        clone.push("main", base, revision)
                    except PushRejected as err:
                        lost.append(str(err))
                        continue
                    break

    threads = [threading.Thread(target=write, args=(who,)) for who in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    subjects = git(bare, "log", "--format=%s", "main").splitlines()
    assert sorted(subjects) == ["First commit", "one 0", "one 1", "one 2", "two 0", "two 1", "two 2"]
    assert len(git(bare, "ls-tree", "-r", "--name-only", "main").splitlines()) == len(FILES) + 6
    git(bare, "fsck", "--strict")
