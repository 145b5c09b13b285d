"""Many writers on one branch: every commit lands, one an update, none is lost, and nobody forces anything."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.gate import Gate
from tests.lab.git import git
from tests.lab.path import PATIENCE, WholePath, changed_lines, commits, fsck, head, manifest, trailers

pytestmark = pytest.mark.storm

CROWD = 3 * PATIENCE  # seconds until sixteen processes on two cores have come so far
FULL = os.environ.get("UPDATER_STORM") == "full"
ROUNDS = 6 if FULL else 1
WRITERS = [("http", 8), ("http", 16), ("ssh", 8), ("ssh", 16)] if FULL else [("http", 8), ("ssh", 4)]
one_is_enough = pytest.mark.parametrize("transport", ["http", "ssh"] if FULL else ["http"], indirect=True)


class Fleet:
    """One image and one file for each writer; a round pushes the next tag of all of them."""

    def __init__(self, path: WholePath, writers: int) -> None:
        self.path = path
        self.names = [f"app{n}" for n in range(writers)]
        self.tag = 0
        files = {self.file(name): manifest(path.image(f"acme/{name}"), "1.0.0") for name in self.names}
        self.bare = path.create("fleet", files)
        self.next_tag()
        self.images = [path.entry(f"acme/{name}") for name in self.names]

    def file(self, name: str) -> str:
        return f"apps/{name}.yaml"

    def next_tag(self) -> str:
        self.tag += 1
        for name in self.names:
            self.path.registry.seed(f"acme/{name}", [f"1.{self.tag}.0"])
        return f"1.{self.tag}.0"

    def configure(self, own: str) -> Path:
        """Write a configuration with a data folder of its own."""
        config = self.path.folder / f"{own}.yaml"
        settings = self.path.settings(self.images) | {"data": str(self.path.folder / f"data-{own}")}
        config.write_text(json.dumps(settings))
        return config


@pytest.fixture
def path(transport: WholePath) -> WholePath:
    return transport


@pytest.mark.parametrize(
    ("transport", "writers"), WRITERS, indirect=["transport"], ids=[f"{transport}-{n}" for transport, n in WRITERS]
)
def test_writers_with_clones_of_their_own_all_land(path: WholePath, writers: int) -> None:
    """All push on the same head at once: the server takes one, and every other one plans anew on what it left."""
    fleet = Fleet(path, writers)
    configs = [fleet.configure(name) for name in fleet.names]
    for _ in range(ROUNDS):
        before, tag = head(fleet.bare), f"1.{fleet.tag}.0"
        with Gate(fleet.bare) as gate, ExitStack() as stack:
            running = [path.start("once", name, "--json", config=config)
                       for name, config in zip(fleet.names, configs, strict=True)]  # fmt: skip
            stack.callback(_end, running)
            gate.wait(writers, seconds=CROWD)
            gate.open()
            reports = [_report(process) for process in running]
        _assert_all_landed(fleet, before, tag, reports)
        fleet.next_tag()


@one_is_enough
def test_writers_that_share_a_data_folder_all_land(path: WholePath) -> None:
    """One clone and one state for all: they take turns, and what a neighbour pushed meanwhile is no failure."""
    fleet = Fleet(path, 8)
    config = fleet.configure("shared")
    for _ in range(ROUNDS):
        before, tag = head(fleet.bare), f"1.{fleet.tag}.0"
        with ExitStack() as stack:
            running = [path.start("once", name, "--json", config=config) for name in fleet.names]
            stack.callback(_end, running)
            reports = [_report(process) for process in running]
        _assert_all_landed(fleet, before, tag, reports)
        fleet.next_tag()


@one_is_enough
def test_the_same_update_by_eight_writers_is_one_commit(path: WholePath) -> None:
    """Replicas that all see one tag write it once; who comes second finds it written, and that is no failure."""
    fleet = Fleet(path, 8)
    before = head(fleet.bare)
    configs = [fleet.configure(name) for name in fleet.names]
    with Gate(fleet.bare) as gate, ExitStack() as stack:
        running = [path.start("once", "app0", "--json", config=config) for config in configs]
        stack.callback(_end, running)
        gate.wait(len(running), seconds=CROWD)
        gate.open()
        reports = [_report(process) for process in running]
    [revision] = commits(fleet.bare, before)
    assert [commit["revision"] for report in reports for commit in report["commits"]] == [revision]
    assert sorted(report["images"][0]["outcome"] for report in reports) == ["up_to_date"] * 7 + ["updated"]


def _assert_all_landed(fleet: Fleet, before: str, tag: str, reports: list[dict[str, Any]]) -> None:
    revisions = commits(fleet.bare, before)
    assert git(fleet.bare, "rev-list", "--merges", f"{before}..main") == ""
    assert len(revisions) == len(fleet.names)
    told = {report["images"][0]["name"]: [c["revision"] for c in report["commits"]] for report in reports}
    parent = before
    for revision in revisions:
        assert git(fleet.bare, "rev-parse", f"{revision}^") == parent
        name = next(name for name, own in told.items() if own == [revision])
        image = fleet.path.image(f"acme/{name}")
        assert git(fleet.bare, "diff", "--name-only", parent, revision) == fleet.file(name)
        assert [line.split("#")[0].split()[-1] for line in changed_lines(fleet.bare, parent, revision)][1] == (
            f'"{image}:{tag}"'
        )
        assert len(trailers(fleet.bare, revision, "Image-Update")) == 1
        parent = revision
    for name in fleet.names:
        image = fleet.path.image(f"acme/{name}")
        assert git(fleet.bare, "show", f"main:{fleet.file(name)}").encode() + b"\n" == manifest(image, tag)
    assert fsck(fleet.bare) == ""


def _report(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=CROWD)
    assert (process.returncode, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def _end(running: list[subprocess.Popen[str]]) -> None:
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
