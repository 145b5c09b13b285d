"""What a git process is given: argv, environment, settings; and how many of them a cycle costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.git.conftest import Calls
from tests.lab.git import AT, AUTHOR, FILES, Room, person_commits
from updater.errors import GitError
from updater.git import folder
from updater.git.runner import Call, run


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    path = tmp_path / "clone"
    folder.create(path, "https://git.example.com/fleet.git")
    return path


def test_a_fresh_cycle_takes_seven_processes_and_a_resident_poll_one(one: Room, calls: Calls) -> None:
    bare = one.create(FILES)
    clone = one.clone()
    calls()
    with clone.lock():
        head = clone.fetch()
        tree = clone.tree(head.revision)
        clone.read(blob.oid for blob in tree)
        revision = clone.commit(head.revision, {"apps/a.yaml": b"image: r/a:2\n"}, "Update\n", AUTHOR, AT)
        clone.push(head.branch, head.revision, revision)
        assert calls() == ["ls-remote", "fetch", "ls-tree", "fetch", "cat-file", "fast-import", "push"]
        clone.fetch("main")
        assert calls() == ["ls-remote"]
        clone.read(blob.oid for blob in tree)
        assert calls() == ["cat-file"]
        person_commits(bare, {"apps/b.yaml": b"image: r/b:2\n"})
        clone.tree(clone.fetch("main").revision)
        assert calls() == ["ls-remote", "fetch", "ls-tree"]


def test_a_fresh_clone_of_a_named_branch_asks_nothing_first(one: Room, calls: Calls) -> None:
    one.create(FILES)
    clone = one.clone()
    calls()
    with clone.lock():
        clone.fetch("main")
    assert calls() == ["fetch"]


def test_a_child_sees_the_allow_list_and_what_we_set(
    bare: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "touch /tmp/evil")
    monkeypatch.setenv("GIT_CONFIG_KEY_9999", "core.pager")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    (tmp_path / "seen").unlink(missing_ok=True)
    run(bare, Call(("ls-remote",), ("origin",)), seconds=20, environment={"GIT_SSH_COMMAND": "false"})
    seen = dict(line.partition("=")[::2] for line in (tmp_path / "seen").read_text().splitlines())
    assert {key: seen.get(key) for key in ("GIT_SSH_COMMAND", "LC_ALL", "TZ", "HOME", "GIT_CONFIG_GLOBAL")} == {
        "GIT_SSH_COMMAND": "false",
        "LC_ALL": "C",
        "TZ": "Asia/Shanghai",
        "HOME": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    known = {"PATH", "TZ", "TMPDIR", "HOME", "LC_ALL", "LANGUAGE", "PWD", "SHLVL", "_", "OLDPWD"}
    strangers = {
        name for name in seen if name not in known and not name.startswith("GIT_") and "proxy" not in name.lower()
    }
    assert strangers <= {"LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    assert "GIT_CONFIG_KEY_9999" not in seen


@pytest.mark.parametrize(
    "call",
    [
        Call(("fetch",), ("--upload-pack=touch /tmp/x",)),
        Call(("fetch",), ("origin", "-c")),
        Call(("fetch",), ("origin", "")),
        Call(("log",), ("main\n--output=/tmp/x",)),
        Call(("log",), ("main\0",)),
        Call(("config",), ("core.sshCommand", "x")),
        Call(("-c",), ("core.sshCommand=x",)),
    ],
    ids=["an option", "a short option", "an empty value", "a line feed", "a NUL", "another command", "a setting"],
)
def test_what_git_could_take_for_an_option_never_reaches_it(bare: Path, calls: Calls, call: Call) -> None:
    calls()
    with pytest.raises(GitError, match=r"cannot take the value|is not one of the commands"):
        run(bare, call, seconds=20)
    assert calls() == []


def test_values_come_after_the_end_of_options() -> None:
    call = Call(("log", "-1"), ("main",), ("--",))
    assert call.argv() == ["git", "log", "-1", "--end-of-options", "main", "--"]


def test_a_machine_without_git_is_told_so(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program in ("env", "false"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    run(bare, Call(("ls-tree",)), seconds=20)  # GitPython is loaded
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(bare, Call(("ls-tree",)), seconds=20)
    assert done.code == 127
    assert b"git" in done.stderr
