"""The server took a commit and we never heard of it: there is no second one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab.gate import Gate
from tests.lab.git import hook
from tests.lab.path import PATIENCE, WholePath, changed_lines, commits, fsck, head, manifest, processes

# The hook's parent is `git receive-pack`: without it the answer ends in the middle, as where a connection is cut.
CUT = "kill -9 $PPID"
WRITTEN = f'[ "$1" != committed ] || {CUT}'  # reference-transaction: the branch has moved, the report is not sent yet


@pytest.fixture
def path(transport: WholePath) -> WholePath:
    return transport


@pytest.fixture
def bare(path: WholePath) -> Path:
    """A repository behind by one tag, and its configuration."""
    path.push("acme/api", "1.0.0", "1.1.0")
    path.configure([path.entry("acme/api")])
    return path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})


@pytest.mark.parametrize(
    ("event", "script"),
    [
        pytest.param("reference-transaction", WRITTEN, id="before-the-report"),
        pytest.param("post-receive", CUT, id="after-the-report"),
    ],
)
def test_a_connection_cut_after_the_commit_was_taken_is_a_success(
    path: WholePath, bare: Path, event: str, script: str
) -> None:
    before = head(bare)
    hook(bare, event, script)
    ran = path.run("once", "--json")
    (bare / "hooks" / event).unlink()
    [revision] = commits(bare, before)
    assert (ran.code, ran.err) == (0, "")
    assert [commit["revision"] for commit in ran.json["commits"]] == [revision]
    _assert_nothing_more(path, bare, revision)


def test_a_connection_cut_before_the_commit_was_taken_is_mended_by_the_next_run(path: WholePath, bare: Path) -> None:
    before = head(bare)
    hook(bare, "pre-receive", CUT)
    ran = path.run("once", "--json")
    (bare / "hooks" / "pre-receive").unlink()
    assert (ran.code, ran.json["commits"]) == (1, [])
    assert ran.json["images"][0]["outcome"] == "failed"
    assert head(bare) == before

    assert path.run("once").code == 0
    [revision] = commits(bare, before)
    _assert_nothing_more(path, bare, revision)


@pytest.mark.parametrize("everything", [False, True], ids=["git-lives-on", "git-too"])
@pytest.mark.parametrize("event", ["pre-receive", "post-receive"])
def test_killed_while_the_server_answers_the_next_run_makes_no_second_commit(
    path: WholePath, bare: Path, event: str, *, everything: bool
) -> None:
    """The push is on its way or taken; the server ends what it began, whoever is still there to hear of it."""
    before = head(bare)
    with Gate(bare, event) as gate:
        process = path.start("once", "--json")
        gate.wait()
        for pid in {process.pid, *(processes(str(path.data / "clones")) if everything else ())}:
            _kill(pid)
        process.communicate(timeout=PATIENCE)
        assert (head(bare) != before) == (event == "post-receive")
        gate.open()
        ran = path.run("once", "--json")
    assert (ran.code, ran.err) == (0, "")
    [revision] = commits(bare, before)
    _assert_nothing_more(path, bare, revision)


def test_a_run_waits_for_the_git_of_a_killed_one(path: WholePath, bare: Path) -> None:
    """The lock of a clone goes on with git's own processes, so that nobody works beside them."""
    before = head(bare)
    with Gate(bare, "post-receive") as gate:
        process = path.start("once", "--json")
        gate.wait()
        _kill(process.pid)
        process.communicate(timeout=PATIENCE)
        second = path.start("once", "--json")
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(2.5)
        gate.open()
        out, err = second.communicate(timeout=PATIENCE)
    assert (second.returncode, err) == (0, ""), out
    assert '"commits": []' in out
    assert len(commits(bare, before)) == 1


def _assert_nothing_more(path: WholePath, bare: Path, revision: str) -> None:
    """What is there is right, and another run adds nothing."""
    assert len(changed_lines(bare, f"{revision}^", revision)) == 2
    again = path.run("once", "--json")
    assert (again.code, again.json["commits"], head(bare)) == (0, [], revision)
    assert fsck(bare) == ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended with its parent
