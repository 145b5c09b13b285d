"""Repositories, folders and environments of somebody who means harm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, git
from updater.errors import GitError
from updater.git.clone import Clone

BUMP = {"apps/a.yaml": b"image: r/a:2\n"}


def cycle(clone: Clone) -> str:
    """Everything that is done with a clone, once."""
    head = clone.fetch("main")
    clone.read(blob.oid for blob in clone.tree(head.revision) if blob.mode.startswith("100"))
    revision = clone.commit(head.revision, BUMP, "Update\n", AUTHOR, AT)
    clone.push(head.branch, head.revision, revision)
    clone.log(revision, limit=5)
    clone.show(revision)
    return revision


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a trace where it is run; whatever would run it has lost."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\nexit 1\n")
    path.chmod(0o755)
    return path


def sprung(trap: Path) -> bool:
    return trap.with_name("sprung").exists()


EVIL_CONFIG = """
[core]
	fsmonitor = {trap}
	hooksPath = {hooks}
	sshCommand = {trap}
	askPass = {trap}
	gitProxy = {trap}
	pager = {trap}
	editor = {trap}
	alternateRefsCommand = {trap}
[credential]
	helper = {trap}
[diff]
	external = {trap}
[gpg]
	program = {trap}
[protocol]
	allow = always
[protocol "ext"]
	allow = always
[filter "evil"]
	clean = {trap}
	smudge = {trap}
	process = {trap}
[diff "evil"]
	textconv = {trap}
	command = {trap}
"""


def poison(folder: Path, trap: Path) -> None:
    """Write into a clone what would make git run the trap."""
    hooks = trap.with_name("hooks")
    for place in (hooks, folder / "hooks"):
        place.mkdir(exist_ok=True)
        for hook in ("pre-push", "reference-transaction", "post-checkout", "pre-auto-gc", "post-rewrite"):
            shutil.copy(trap, place / hook)
    with (folder / "config").open("a") as file:
        file.write(EVIL_CONFIG.format(trap=trap, hooks=hooks))
    (folder / "info").mkdir(exist_ok=True)
    (folder / "info" / "attributes").write_text("* filter=evil diff=evil\n")


def test_a_clone_that_somebody_wrote_to_is_set_aside(room: Room, trap: Path) -> None:
    room.create(FILES)
    clone = room.clone()
    with clone.lock():
        clone.fetch("main")
    poison(clone.folder, trap)
    with clone.lock():
        cycle(clone)
    assert not sprung(trap)
    assert "fsmonitor" not in (clone.folder / "config").read_text()
    assert "fsmonitor" in (clone.folder.with_name("clone.aside") / "config").read_text()
    assert sorted(path.name for path in clone.folder.iterdir()) == ["HEAD", "config", "objects", "refs"]


def test_what_somebody_writes_into_a_clone_meanwhile_runs_nothing(room: Room, trap: Path) -> None:
    room.create(FILES)
    clone = room.clone()
    with clone.lock():
        head = clone.fetch("main")
        poison(clone.folder, trap)
        clone.read(blob.oid for blob in clone.tree(head.revision))
        revision = clone.commit(head.revision, BUMP, "Update\n", AUTHOR, AT)
        clone.push(head.branch, head.revision, revision)
        clone.log(revision, limit=1)
        assert "+image: r/a:2" in clone.show(revision)
    assert not sprung(trap)


def test_a_url_that_somebody_rewrote_to_a_command_runs_nothing(one: Room, trap: Path) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch("main")
        revision = clone.commit(head.revision, BUMP, "Update\n", AUTHOR, AT)
        with (clone.folder / "config").open("a") as file:
            file.write(f'[url "ext::{trap} "]\n\tinsteadOf = http\n[protocol "ext"]\n\tallow = always\n')
        with pytest.raises(GitError, match="transport 'ext' not allowed"):
            clone.push("main", head.revision, revision)
    assert not sprung(trap)


PROGRAMS = ("GIT_ASKPASS", "SSH_ASKPASS", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_SSH", "GIT_SSH_COMMAND",
            "GIT_PAGER", "PAGER", "GIT_EDITOR", "BASH_ENV", "ENV")  # fmt: skip


def test_no_variable_of_ours_reaches_git(room: Room, trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room.create(FILES)
    settings = {"core.fsmonitor": trap, "core.hooksPath": trap.parent, "core.sshCommand": trap, "diff.external": trap}
    evil = {
        "GIT_CONFIG_PARAMETERS": " ".join(f"'{key}={value}'" for key, value in settings.items()),
        "GIT_CONFIG_COUNT": "200",
        **{f"GIT_CONFIG_KEY_{n}": "core.fsmonitor" for n in range(200)},
        **{f"GIT_CONFIG_VALUE_{n}": str(trap) for n in range(200)},
        "GIT_DIR": "/nonexistent",
        "GIT_WORK_TREE": "/nonexistent",
        "GIT_OBJECT_DIRECTORY": "/nonexistent",
        "GIT_INDEX_FILE": "/nonexistent",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_TRACE": str(trap.with_name("sprung")),
        "GIT_TRACE_CURL": str(trap.with_name("sprung")),
        **dict.fromkeys(PROGRAMS, str(trap)),
        "GIT_ALLOW_PROTOCOL": "ext:file",
    }
    clone = room.clone()
    with clone.lock():
        clone.fetch("main")  # GitPython is loaded, and has asked git for its version
        for name, value in evil.items():
            monkeypatch.setenv(name, value)
        cycle(clone)
    assert not sprung(trap)


def test_a_home_full_of_settings_is_not_read(one: Room, trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one.create(FILES)
    home = trap.with_name("home")
    (home / ".config" / "git").mkdir(parents=True)
    for path in (home / ".gitconfig", home / ".config" / "git" / "config"):
        path.write_text(EVIL_CONFIG.format(trap=trap, hooks=trap.parent) + "[http]\n\tproxy = http://127.0.0.1:1\n")
    (home / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    clone = one.clone()
    with clone.lock():
        cycle(clone)
    assert not sprung(trap)


def test_links_and_submodules_are_shown_by_their_mode_and_never_written(room: Room) -> None:
    bare = room.create(FILES)
    target = git(bare, "hash-object", "-w", "--stdin", data=b"/etc/passwd")
    modules = git(bare, "hash-object", "-w", "--stdin", data=b'[submodule "x"]\n\tpath = sub\n\turl = ../x\n')
    script = git(bare, "hash-object", "-w", "--stdin", data=b"#!/bin/sh\n")
    rows = [
        f"120000 blob {target}\tlink.yaml",
        f"160000 commit {'1' * 40}\tsub",
        f"100644 blob {modules}\t.gitmodules",
        f"100755 blob {script}\trun.sh",
    ]
    tree = git(bare, "mktree", "--missing", data="\n".join(rows).encode())
    first = git(bare, "commit-tree", "-m", "Hostile", tree)
    git(bare, "update-ref", "refs/heads/main", first)
    clone = room.clone()
    with clone.lock():
        head = clone.fetch()
        assert {blob.path: blob.mode for blob in clone.tree(head.revision)} == {
            ".gitmodules": "100644",
            "link.yaml": "120000",
            "run.sh": "100755",
            "sub": "160000",
        }
        for path in ("link.yaml", "sub"):
            with pytest.raises(ValueError, match=r"is a (symbolic link|submodule), which is never written"):
                clone.commit(head.revision, {path: b"x"}, "No\n", AUTHOR, AT)
        revision = clone.commit(head.revision, {"run.sh": b"#!/bin/sh\nid\n"}, "Yes\n", AUTHOR, AT)
        clone.push(head.branch, head.revision, revision)
    assert git(bare, "diff", "--raw", "--abbrev=4", first, revision).split("\t")[0].startswith(":100755 100755 ")


@pytest.mark.parametrize("name", ["..", ".git", ".GIT"])
def test_a_tree_that_points_outside_never_comes_in(one: Room, name: str) -> None:
    bare = one.create(FILES)
    entry = f"40000 {name}\0".encode() + bytes.fromhex(git(bare, "rev-parse", "main:apps"))
    tree = git(bare, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", data=entry)
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", "-m", "Hostile", tree))
    clone = one.clone()
    with clone.lock(), pytest.raises(GitError, match="an object that git's own check refuses"):
        clone.fetch()


NO_PATHS = ["/etc/passwd", "../x", "a/../x", ".git/config", "a/.GIT/hooks/x", "a//b", "a/", "", "./a", "a\0b"]
NO_BRANCHES = ["-f", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "*", "/a", "a/", "a//b", "a.lock", "x/.a",
               "a@{1}", "", "a\n"]  # fmt: skip


@pytest.mark.parametrize("path", NO_PATHS)
def test_paths_outside_the_tree_are_refused(one: Room, path: str) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        with pytest.raises(ValueError, match="is no path of a file"):
            clone.commit(head.revision, {path: b"x"}, "No\n", AUTHOR, AT)


@pytest.mark.parametrize("branch", NO_BRANCHES)
def test_names_that_are_no_branches_are_refused(one: Room, branch: str) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        with pytest.raises(ValueError, match="is no name of a branch"):
            clone.push(branch, head.revision, head.revision)
        if branch:
            with pytest.raises(ValueError, match="is no name of a branch"):
                clone.fetch(branch)


@pytest.mark.parametrize("revision", ["main", "HEAD~1", "--output=/tmp/x", "abc", "A" * 40, "0" * 39, "0" * 41, ""])
def test_only_whole_object_ids_are_looked_at(one: Room, revision: str) -> None:
    one.create(FILES)
    clone = one.clone()
    with clone.lock():
        clone.fetch()
        with pytest.raises(ValueError, match="is no object id"):
            clone.tree(revision)
        with pytest.raises(ValueError, match="is no object id"):
            clone.read([revision])


def test_what_a_remote_says_cannot_play_with_the_terminal(one: Room) -> None:
    bare = one.create(FILES)
    path = bare / "hooks" / "pre-receive"
    path.write_text("#!/bin/sh\nprintf 'no\\033[2J\\033]0;owned\\007 https://u:pw@h/x\\n' >&2\nexit 1\n")
    path.chmod(0o755)
    clone = one.clone()
    with clone.lock(), pytest.raises(GitError) as caught:
        cycle(clone)
    assert str(caught.value).isprintable()
    assert "u:pw" not in str(caught.value)


def test_a_message_cannot_forge_a_header_of_the_commit(one: Room) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    with clone.lock():
        head = clone.fetch()
        name = type(AUTHOR)("Evil\nparent 0 <x>", "a@b>\ncommitter x")
        revision = clone.commit(head.revision, BUMP, "Subject\0\n\ndata 3\nfrom x\ndone\n", name, AT)
        clone.push(head.branch, head.revision, revision)
    assert git(bare, "log", "-1", "--format=%P|%an|%ae|%B", revision).strip() == (
        f"{head.revision}|Evilparent 0 x|a@bcommitter x|Subject\n\ndata 3\nfrom x\ndone"
    )


def test_the_clone_is_ours_alone_to_read(one: Room) -> None:
    one.create(FILES)
    clone = one.clone()
    before = os.umask(0)
    try:
        with clone.lock():
            clone.fetch()
    finally:
        os.umask(before)
    assert clone.folder.stat().st_mode & 0o777 == 0o700
