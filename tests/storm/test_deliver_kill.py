"""Syncs and removals that are killed at any moment: the next one converges, and nothing is lost or left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.lab.delivery import DeliveryLab, application, config, delivery_lab, deployment, job, made
from updater.config.load import load
from updater.daemon.build import clones
from updater.daemon.sites import sites
from updater.model.application import ApplicationStatus
from updater.model.sync import Phase, SyncStatus
from updater.pipeline.deliver import step
from updater.pipeline.remove import remembered, remove
from updater.pipeline.sources import Tree
from updater.pipeline.world import Ask, Assigned
from updater.sync.inventory import PART_OF, identity

pytestmark = pytest.mark.storm

FULL = os.environ.get("UPDATER_STORM") == "full"
KILLS = 200 if FULL else 10
SEED = int(os.environ.get("UPDATER_SEED", "0")) or random.SystemRandom().randrange(10**6)
PATIENCE = 60.0  # seconds for one run to end by itself
REMOVED = 6  # one round in so many removes the application instead
KINDS = (("ConfigMap", ""), ("ServiceAccount", ""), ("Deployment", "apps"))

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([__name__])


def deliver(file: Path, what: str, out: Path) -> None:
    """Sync the shop, or remove it, as a daemon does that was just started; say how that ended."""
    settings = load(file, {})
    [repository] = settings.repositories
    clone = clones(settings)(repository)
    with sites(settings) as found:
        now = datetime.now(UTC)
        if what == "remove":
            status = ApplicationStatus("shop", "cloud", home="shop", cascade=True)
            status = remove(found.world, remembered(status), now).status
        else:
            with clone.lock():
                revision = clone.resolve({"main"})["main"]
                assert isinstance(revision, str)
                tree = Tree(clone, revision, {blob.path: blob for blob in clone.tree(revision)})
            status = step(found.world, Assigned(application(), "cloud"), tree, Ask(), now).status
    last = status.last
    out.write_text(
        json.dumps([status.sync.value, last.phase.value if last else "", last.message if last else status.message])
    )


@dataclass
class Storm:
    """Commits, kills, and looks at what is left, until there were enough kills."""

    lab: DeliveryLab
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: {"sync": 0.6, "remove": 0.6})
    wanted: set[tuple[str, str]] = field(default_factory=set)

    def round(self, number: int) -> None:
        what = "remove" if number % REMOVED == REMOVED - 1 else "sync"
        self.commit(number)
        for _ in range(self.random.randint(1, 3)):
            if not self.killed(what):
                break
        ended = self.run(what)
        assert ended[1] in {Phase.SUCCEEDED.value, ""}, f"round {number}, seed {SEED}: {ended}"
        assert (what, ended[0]) in {("sync", SyncStatus.SYNCED.value), ("remove", SyncStatus.UNKNOWN.value)}, ended
        self.lab.server.settle()
        wanted = self.wanted if what == "sync" else set()
        assert self.marked() == wanted, f"round {number}, seed {SEED}"
        assert self.named() == wanted, f"round {number}, seed {SEED}"
        assert len(self.lab.server.objects("Job", "shop", "batch")) <= 1

    def commit(self, number: int) -> None:
        """Want other objects than before, in waves, with a hook before them."""
        names = self.random.sample(range(12), self.random.randint(3, 9))
        objects: list[Any] = [config(f"c{name}", data={"n": str(number)}, sync_wave=str(name % 3)) for name in names]
        objects += [made("ServiceAccount", f"s{name}") for name in names[:2]]
        objects.append(deployment(image=f"r.example.com/web:1.{number}.0", sync_wave="1"))
        self.lab.commit(*objects, job("migrate", f"r.example.com/job:{number}", hook="PreSync"))
        self.wanted = {(one["kind"], one["metadata"]["name"]) for one in objects}

    def killed(self, what: str) -> bool:
        """Kill a run somewhere; return whether it had not ended by itself before."""
        process = self.start(what)
        process.join(self.random.random() * self.seconds[what] * 1.1)
        alive = bool(process.is_alive())
        process.kill()
        process.join()
        recorded = self.named() if self.lab.server.get("ConfigMap", "updater-shop", "shop") else set()
        assert self.marked() <= recorded, f"seed {SEED}: the inventory misses {self.marked() - recorded}"
        if alive:
            self.kills[f"{what}, {'with' if recorded else 'without'} an inventory"] += 1
        return alive

    def run(self, what: str) -> list[str]:
        began = time.monotonic()
        process = self.start(what)
        process.join(PATIENCE)
        assert process.exitcode == 0, f"seed {SEED}: the run ended with {process.exitcode}"
        self.seconds[what] = (3 * self.seconds[what] + min(time.monotonic() - began, 3.0)) / 4
        found: list[str] = json.loads((self.lab.folder / "out").read_text())
        return found

    def start(self, what: str) -> Any:
        process = forks.Process(target=deliver, args=(self.lab.folder / "updater.yaml", what, self.lab.folder / "out"))
        process.start()
        return process

    def marked(self) -> set[tuple[str, str]]:
        """Return what is in the cluster and carries the mark of the shop."""
        mark = identity("shop", "shop")
        return {
            (kind, one["metadata"]["name"])
            for kind, group in KINDS
            for one in self.lab.server.objects(kind, "shop", group)
            if one["metadata"].get("labels", {}).get(PART_OF) == mark and "deletionTimestamp" not in one["metadata"]
        }

    def named(self) -> set[tuple[str, str]]:
        """Return what the inventory names."""
        found = self.lab.server.get("ConfigMap", "updater-shop", "shop")
        lines = found["data"]["inventory"].splitlines() if found else []
        return {(line.split("/")[1], line.split("/")[3]) for line in lines}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DeliveryLab]:
    with delivery_lab(tmp_path, remember=False) as opened:
        yield opened


def test_killed_anywhere_the_next_run_converges(lab: DeliveryLab, capsys: pytest.CaptureFixture[str]) -> None:
    """The inventory never misses an object that is there; in the end there is what Git says, and no more."""
    storm, number = Storm(lab), 0
    storm.commit(0)
    storm.run("sync")
    while storm.kills.total() < KILLS and number < 5 * KILLS:
        number += 1
        storm.round(number)
    with capsys.disabled():
        print(f"\n{dict(storm.kills)} in {number} rounds, {storm.seconds}, seed {SEED}", end="")
    assert storm.kills.total() >= KILLS
    assert not FULL or len(storm.kills) >= 3, f"the kills hit one side only: {storm.kills}"
