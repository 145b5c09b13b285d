"""What goes wrong at a remote, in a clone, or in a tree: each cycle on real servers, and the one after it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import git, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod, rows
from tests.lab.path import ROOT, WholePath, commits, head, manifest
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.git_server import GitServer
from updater.git.clone import Clone
from updater.pipeline.mentions import mentions
from updater.pipeline.report import Outcome, Report
from updater.pipeline.update import update

PLAIN = (
    "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api, policy: {kind: semver, range: 1.x}}]\n"
)
OLD, NEW = pod("HOST/acme/api:1.0.0"), pod("HOST/acme/api:1.1.0")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        opened.push("acme/api", "1.0.0", "1.1.0")
        yield opened


def bare_of(lab: Lab) -> Path:
    return lab.folder / "git" / "fleet.git"


class Disturbed(Clone):
    """A clone during whose first push something happens at the remote."""

    def __init__(self, like: Clone, event: Callable[[], object]) -> None:
        super().__init__(like.folder, like.remote)
        self.events = [event]

    def push(self, branch: str, base: str, revision: str) -> None:
        if self.events:
            self.events.pop()()
        super().push(branch, base, revision)


def disturbed(config: Path, event: Callable[[], object]) -> Report:
    with build(load(config, {})) as world:
        clone = Disturbed(world.clone_of(world.settings.repositories[0]), event)
        world.clone_of = lambda _repository: clone
        world.patience = 0.01
        return update(world, world.settings.items, NOW)


# --- the tree --------------------------------------------------------------------------------------------------------

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 12345\n"
ATTRIBUTES = (
    b"* text=auto eol=lf\n*.yaml text eol=crlf ident filter=lfs diff=lfs\nwide.yaml working-tree-encoding=UTF-16\n"
)


def strange_neighbours(lab: Lab) -> dict[str, bytes]:
    """Files beside the good one that are not what they seem; each but the last ones names the image."""
    text = lab.spell(OLD)
    return {
        ".gitattributes": ATTRIBUTES,
        "good.yaml": text,
        "crlf.yaml": text.replace(b"\n", b"\r\n"),
        "mixed.yaml": text.replace(b"kind: Pod\n", b"kind: Pod\r\n"),
        "wide.yaml": b"# $Id$\n" + text,
        "bom.yaml": b"\xef\xbb\xbf" + text,
        "latin.yaml": b"# caf\xe9\n" + text,
        "nul.yaml": b"# \0\n" + text,
        "utf16.yaml": text.decode().encode("utf-16"),
        "broken.yaml": text + b"  - : [\n",
        "large.yaml": POINTER.encode(),
    }


WRITTEN = {"good.yaml", "crlf.yaml", "mixed.yaml", "wide.yaml", "bom.yaml"}
UNREAD = {"latin.yaml": "UTF-8", "nul.yaml": "NUL", "utf16.yaml": "NUL", "broken.yaml": "",
          "large.yaml": "a pointer of Git LFS", "link.yaml": "a symbolic link"}  # fmt: skip


def with_links(bare: Path) -> None:
    """Add a link to a good file, one that leads outside, and a submodule."""
    rows_of = git(bare, "ls-tree", "main").splitlines()
    for path, target in (("link.yaml", b"good.yaml"), ("out.txt", b"../../etc/passwd")):
        rows_of.append(f"120000 blob {git(bare, 'hash-object', '-w', '--stdin', data=target)}\t{path}")
    rows_of.append(f"160000 commit {'1' * 40}\tmodule")
    tree = git(bare, "mktree", "--missing", data="\n".join(rows_of).encode())
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", "-p", "main", "-m", "Links", tree))


def test_strange_neighbours_are_skipped_with_a_reason_and_no_attribute_changes_a_byte(lab: Lab) -> None:
    lab.git.create("fleet", files := strange_neighbours(lab))
    with_links(bare_of(lab))
    config = lab.configure(PLAIN, fleet=f"{lab.git.url}/fleet.git")
    report = lab.cycle(config)
    assert (report.failures, len(report.commits)) == ([], 1)
    assert {row.reference.file for row in report.rows if row.reference} == WRITTEN
    assert git(bare_of(lab), "diff", "--name-only", "main~1", "main").splitlines() == sorted(WRITTEN)
    for path in WRITTEN:
        stored = subprocess.run(
            ["git", "--git-dir", bare_of(lab), "cat-file", "blob", f"main:{path}"], check=True, capture_output=True
        ).stdout
        assert stored == files[path].replace(b":1.0.0", b":1.1.0")
    with build(load(config, {}), everything=True) as world:
        skipped = {one["file"]: one["why"] for one in mentions(world).skipped}
    assert skipped.keys() == UNREAD.keys()
    assert [path for path, why in UNREAD.items() if why not in skipped[path]] == []
    assert all(skipped.values())


# --- the remote ------------------------------------------------------------------------------------------------------


def test_a_remote_that_goes_down_at_the_push_gets_the_commit_when_it_is_back(lab: Lab) -> None:
    config = lab.configure(PLAIN, fleet=lab.repository("fleet", {"a.yaml": OLD}))
    port = int(lab.git.url.rpartition(":")[2])
    report = disturbed(config, lab.git.close)
    assert [failure.what for failure in report.failures] == ["push fleet main"]
    assert (rows(report)["api"].outcome, report.commits) == (Outcome.FAILED, [])
    down = lab.cycle(config)
    assert [failure.what for failure in down.failures] == ["repository fleet"]
    lab.git = GitServer(lab.folder / "git", port=port)
    try:
        assert len(lab.cycle(config).commits) == 1
        assert lab.cycle(config).commits == []
    finally:
        lab.git.close()
    assert lab.commits("fleet") == ["Update HOST/acme/api to 1.1.0", "First commit"]


def test_a_branch_that_is_deleted_meanwhile_is_never_made_again(lab: Lab) -> None:
    config = lab.configure(PLAIN, fleet=lab.repository("fleet", {"a.yaml": OLD}))
    report = disturbed(config, lambda: git(bare_of(lab), "update-ref", "-d", "refs/heads/main"))
    assert (rows(report)["api"].outcome, len(report.failures)) == (Outcome.FAILED, 1)
    again = lab.cycle(config)
    assert "its HEAD names no branch" in again.failures[0].error
    assert git(bare_of(lab), "for-each-ref") == ""


def test_a_history_that_is_written_anew_is_decided_anew_and_nothing_dropped_comes_back(lab: Lab) -> None:
    config = lab.configure(PLAIN, fleet=lab.repository("fleet", {"a.yaml": OLD}))
    person_commits(bare_of(lab), {"secret.txt": b"to be dropped\n"}, "Dropped")
    lab.cycle(config)
    git(bare_of(lab), "update-ref", "refs/heads/main", "main~2")
    person_commits(bare_of(lab), {"b.yaml": lab.spell(OLD)}, "Anew")
    report = lab.cycle(config)
    assert (report.failures, len(report.commits)) == ([], 1)
    assert lab.commits("fleet") == ["Update HOST/acme/api to 1.1.0", "Anew", "First commit"]
    assert (lab.show("fleet", "a.yaml"), lab.show("fleet", "b.yaml")) == (NEW, NEW)


def test_a_history_that_is_written_anew_while_we_push_is_read_again(lab: Lab) -> None:
    config = lab.configure(PLAIN, fleet=lab.repository("fleet", {"a.yaml": OLD}))
    person_commits(bare_of(lab), {"b.yaml": lab.spell(OLD)}, "Dropped")

    def rewrite() -> None:
        git(bare_of(lab), "update-ref", "refs/heads/main", "main~1")
        person_commits(bare_of(lab), {"c.yaml": lab.spell(OLD)}, "Anew")

    report = disturbed(config, rewrite)
    assert (report.failures, len(report.commits)) == ([], 1)
    assert lab.commits("fleet") == ["Update HOST/acme/api to 1.1.0", "Anew", "First commit"]
    assert git(bare_of(lab), "ls-tree", "--name-only", "main").splitlines() == ["a.yaml", "c.yaml"]


# --- the clone, and the disk -----------------------------------------------------------------------------------------


def garbled(clone: Path) -> None:
    for path in (clone / "objects" / "pack").glob("*.pack"):
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:12] + b"\xff" * 80 + whole[92:])


def locks(clone: Path) -> None:
    for name in ("refs/updater/main.lock", "config.lock", "HEAD.lock", "packed-refs.lock", "shallow.lock"):
        (clone / name).write_text("")


@pytest.mark.parametrize(
    ("harm", "aside"), [(garbled, 1), (locks, 0)], ids=["other bytes in its packs", "locks left over"]
)
def test_a_clone_that_came_to_harm_costs_no_cycle(lab: Lab, harm: Callable[[Path], None], aside: int) -> None:
    config = lab.configure(PLAIN, fleet=lab.repository("fleet", {"a.yaml": OLD}))
    lab.cycle(config, write=False)
    [clone] = (path for path in (lab.folder / "data" / "clones").iterdir() if path.is_dir())
    harm(clone)
    person_commits(bare_of(lab), {"b.yaml": lab.spell(OLD)})
    report = lab.cycle(config)
    assert (report.failures, len(report.commits), lab.show("fleet", "b.yaml")) == ([], 1, NEW)
    assert len(list((lab.folder / "data" / "clones").glob("*.aside"))) == aside


@pytest.mark.parametrize(
    ("size", "words"),
    [(40_000, "disk I/O error"), (1_000_000, "cannot fetch files from")],
    ids=["no room for the state", "no room for the clone"],
)
def test_a_full_disk_ends_the_run_in_words_and_the_next_one_goes_on(tmp_path: Path, size: int, words: str) -> None:
    with WholePath.embedded(tmp_path) as path:
        path.push("acme/api", "1.0.0", "1.1.0")
        large = b"# " + os.urandom(1_500_000).hex().encode() + b"\n"
        bare = path.create("fleet", {"a.yaml": manifest(path.image("acme/api"), "1.0.0"), "b.yaml": large})
        path.configure([path.entry("acme/api")])
        first, full = head(bare), _limited(path, size)
        assert (full.returncode, "Traceback" in full.stderr) == (1, False)
        assert words in json.loads(full.stdout)["failures"][0]["error"]
        assert head(bare) == first
        ran = path.run("once", "--json")
        assert (ran.code, ran.json["failures"], len(commits(bare, first))) == (0, [], 1)
        assert not list((path.data / "clones").glob("*.aside"))


def _limited(path: WholePath, size: int) -> subprocess.CompletedProcess[str]:
    """Run a cycle whose files may not become larger than this, as on a disk without more room.

    Python would leave halves of compiled modules there.
    """
    env = path.environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    argv: list[Any] = ["prlimit", f"--fsize={size}", "--", *path.argv("once", "--json")]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, env=env, timeout=60)
