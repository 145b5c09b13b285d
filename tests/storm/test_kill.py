"""kill -9 at any point: the next run converges to exactly one commit an update, and nothing is damaged.

The kills are spread evenly over the measured length of a cycle, from a seed. Half of them hit our process alone, and
git may finish what it began, which is what a container's init or the out-of-memory killer leaves; half hit all.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab.git import git
from tests.lab.path import WholePath, commits, fsck, head, kustomization, manifest, trailers, values
from tests.storm.runner import Ended, Runner
from updater.git.folder import ASIDE

pytestmark = pytest.mark.storm

FULL = os.environ.get("UPDATER_STORM") == "full"
KILLS = {"http": 500 if FULL else 16, "ssh": 200 if FULL else 4}  # a round over SSH takes five times as long
FEW = 40  # kills, of which fewer may all hit one side of the push
STATE_KILLS = 100 if FULL else 10
SEED = 20250101
AGAIN = 3  # kills of one update at most, before a run is let to its end
FRESH = 5  # every so many rounds the data folder is new, so that kills hit the making of a clone
AGED = 60  # after so many rounds it is never new again, so that kills hit a clone whose packs are made one
CHECK = 25  # rounds between two looks by fsck
SECONDS = 20.0  # for the run after a kill: nothing that was left behind makes it wait


class Fleet:
    """Two images in four files; `push` makes both due, `expected` is what the branch must hold then."""

    def __init__(self, path: WholePath) -> None:
        self.path, self.number = path, 0
        self.api, self.web = path.image("acme/api"), path.image("acme/web")
        self.bare = path.create("fleet", self.expected())
        self.seed()
        self.config = path.configure([path.entry("acme/api"), path.entry("acme/web")])

    def expected(self) -> dict[str, bytes]:
        tag = f"1.{self.number}.0"
        return {
            "apps/api.yaml": manifest(self.api, tag),
            "apps/values.yaml": values(self.api, tag),
            "envs/kustomization.yaml": kustomization(self.api, tag),
            "web/web.yaml": manifest(self.web, tag),
        }

    def push(self) -> None:
        self.number += 1
        self.seed()

    def seed(self) -> None:
        for repository in ("acme/api", "acme/web"):
            self.path.registry.seed(repository, [f"1.{self.number}.0"])

    def content(self) -> dict[str, bytes]:
        return {name: git(self.bare, "show", f"main:{name}").encode() + b"\n" for name in self.expected()}


class Storm:
    """Pushes, kills, and looks at what is left, until there were enough kills."""

    def __init__(self, fleet: Fleet, runner: Runner, kills: int) -> None:
        self.fleet, self.runner, self.wanted = fleet, runner, kills
        self.random = random.Random(SEED)
        self.place = self.random.random()  # of the next kill in a cycle, 0 its start and 1 its end
        self.length = {True: 0.0, False: 0.0}  # seconds of a whole cycle with and without a clone to make
        self.kills: Counter[str] = Counter()
        self.rounds = 0

    def blow(self) -> Iterator[int]:
        """Yield after each round."""
        self.measure()
        while self.kills.total() < self.wanted and self.rounds < 3 * self.wanted:
            self.rounds += 1
            self.round(fresh=self.rounds < AGED and self.rounds % FRESH == 1)
            yield self.rounds

    def measure(self) -> None:
        for fresh in (True, False):
            self.fleet.push()
            ended = self.runner.run(*self.once())
            assert ended.code == 0, ended.out
            self.length[fresh] = ended.seconds

    def round(self, *, fresh: bool) -> None:
        """Push, kill once or more often, then let a run come to its end: there is one commit more, and it is right."""
        before = head(self.fleet.bare)
        self.fleet.push()
        if fresh:
            self.runner.settle()
            shutil.rmtree(self.fleet.path.data)
        for _ in range(self.random.randint(1, AGAIN)):
            if not self.kill(before, fresh=fresh):
                break
        ended = self.runner.run(*self.once())
        assert ended.code == 0, ended.out
        assert ended.seconds < SECONDS
        self.converged(before, ended)
        if json.loads(ended.out)["commits"]:  # a whole cycle, on a machine that others use too
            self.length[False] = (3 * self.length[False] + min(ended.seconds, 2.0)) / 4

    def kill(self, before: str, *, fresh: bool) -> bool:
        """Kill a cycle somewhere; return whether it had not ended by itself before."""
        self.place = (self.place + (math.sqrt(5) - 1) / 2) % 1
        everything = self.random.random() < 0.5
        delay = self.place * self.length[fresh] * 1.05
        ended = self.runner.run(*self.once(), kill_after=delay, everything=everything)
        if not ended.killed:
            assert ended.code == 0, ended.out
            return False
        made = "the commit was there" if head(self.fleet.bare) != before else "no commit yet"
        self.kills[f"{'all' if everything else 'alone'}, {made}"] += 1
        return True

    def converged(self, before: str, ended: Ended) -> None:
        revisions = commits(self.fleet.bare, before)
        assert len(revisions) == 1, f"round {self.rounds}: {revisions}: {ended.out}"
        assert len(trailers(self.fleet.bare, "main", "Image-Update")) == 2
        assert self.fleet.content() == self.fleet.expected()

    def once(self) -> tuple[str, ...]:
        return "--config", str(self.fleet.config), "once", "--json"


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        yield opened


def test_killed_anywhere_the_next_run_makes_exactly_one_commit(
    transport: WholePath, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    path, wanted = transport, KILLS[request.node.callspec.params["transport"]]
    fleet = Fleet(path)
    first = head(fleet.bare)
    with Runner(path.folder, path.environment()) as runner:
        storm = Storm(fleet, runner, wanted)
        for number in storm.blow():
            if number % CHECK == 0:
                runner.settle()
                _assert_sound(path, fleet)
                with capsys.disabled():
                    print(f"\n{storm.kills.total()} of {wanted} kills in {number} rounds, seed {SEED}", end="")
        runner.settle()
        last = runner.run(*storm.once())
    print(dict(storm.kills), storm.length)
    assert storm.kills.total() >= wanted
    assert len(storm.kills) == 4 or wanted < FEW, f"the kills hit one side of the push only: {storm.kills}"
    assert (last.code, json.loads(last.out)["commits"]) == (0, [])
    assert len(commits(fleet.bare, first)) == fleet.number
    _assert_sound(path, fleet)


def _assert_sound(path: WholePath, fleet: Fleet) -> None:
    """Both ends pass fsck, the state is whole, and no lock, key or half a pack is left."""
    assert fsck(fleet.bare) == ""
    folders = [folder for folder in (path.data / "clones").iterdir() if folder.is_dir()]
    [clone] = (folder for folder in folders if folder.suffix != ASIDE)  # what was half made is kept aside
    assert fsck(clone) == ""
    assert not [*clone.rglob("*.lock"), *clone.rglob("tmp_*"), *clone.glob("login-*"), *clone.glob("fast_import*")]
    with closing(sqlite3.connect(path.data / "state.db")) as state:
        assert state.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_killed_while_it_writes_the_state_keeps_whole_cycles(path: WholePath) -> None:
    """A cycle is stored whole or not at all, whatever moment of SQLite's work the kill hits."""
    image = path.image("acme/api")
    path.create("fleet", {"api.yaml": manifest(image, "1.0.0")})
    config = path.configure([path.entry("acme/api") | {"image": f"{image}{n}", "name": f"api{n}"} for n in range(20)])
    state, span = path.data / "state.db", 0.15
    stored: set[tuple[str]] = set()
    generator = random.Random(SEED)
    with Runner(path.folder, path.environment()) as runner:
        for number in range(STATE_KILLS):
            if number % FRESH == 1:
                shutil.rmtree(path.data, ignore_errors=True)
            ended = runner.remember(config, 0.02 + generator.random() * span)
            assert ended.killed, ended.out
            if len(stored) < 2:
                span *= 1.5  # a busy machine needs longer to store anything
            if not state.exists():
                continue  # it came before the database
            with closing(sqlite3.connect(state)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'polls'").fetchall()
                rows = connection.execute("SELECT reason FROM polls").fetchall() if tables else []
            assert len(rows) in {0, 20}
            assert len(set(rows)) <= 1, "a cycle was stored in half"
            stored |= set(rows)
        assert len(stored) > 1
        last = runner.run("--config", str(config), "check", "--json")
    assert json.loads(last.out)["images"], last.out
