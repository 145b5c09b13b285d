"""What a large repository costs a cycle: which questions to the remote, and which files are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.git.clone import MAX_BLOB, Clone
from updater.pipeline.report import Report
from updater.pipeline.update import update

CONFIG = """\
repositories: [{url: FLEET, branch: main}]
images: [{image: 'HOST/acme/**', policy: {kind: semver, range: 1.x}}]
"""
FILES, TRACKED = 2_000, 20

Calls = Callable[[], list[str]]


class Counting(Clone):
    """A clone that counts how often each file is read."""

    def __init__(self, like: Clone) -> None:
        super().__init__(like.folder, like.remote)
        self.reads: Counter[str] = Counter()

    def read(self, oids: Iterable[str], *, max_bytes: int = MAX_BLOB) -> dict[str, bytes]:
        wanted = list(oids)
        self.reads.update(wanted)
        return super().read(wanted, max_bytes=max_bytes)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        yield opened


def test_a_large_repository_is_read_once_and_then_asked_one_question(lab: Lab, calls: Calls) -> None:
    files = {f"apps/{n % 50}/{n}.yaml": f"name: app-{n}\n" for n in range(FILES)}
    files |= {f"apps/{n}/api.yaml": pod("HOST/acme/api:1.0.0").replace("Pod", f"Pod # {n}") for n in range(TRACKED)}
    files |= {f"src/{n}.txt": f"{n}" for n in range(FILES)}
    config = lab.configure(CONFIG, fleet=lab.repository("fleet", files))
    with build(load(config, {})) as world:
        clone = Counting(world.clone_of(world.settings.repositories[0]))
        world.clone_of = lambda _repository: clone

        def cycle() -> tuple[Report, list[str], Counter[str]]:
            clone.reads = Counter()
            calls()
            report = update(world, world.settings.items, NOW)
            return report, [command for command in calls() if command != "log"], clone.reads  # history costs no file

        report, asked, read = cycle()
        assert (len(report.rows), report.failures) == (TRACKED, [])
        assert asked == ["fetch", "ls-tree", "fetch", "cat-file"]
        assert (len(read), max(read.values())) == (FILES + TRACKED, 1)

        for _ in range(2):
            report, asked, read = cycle()
            assert (len(report.rows), asked, read) == (TRACKED, ["ls-remote"], Counter())

        person_commits(lab.folder / "git" / "fleet.git", {"apps/1/1.yaml": b"name: changed\n", "src/1.txt": b"changed"})
        report, asked, read = cycle()
        assert len(report.rows) == TRACKED
        assert asked == ["ls-remote", "fetch", "ls-tree", "cat-file", "fetch", "cat-file"]
        assert len(read) == 1

        lab.push("acme/api", "1.1.0")
        report, asked, read = cycle()
        assert (len(report.commits), len(report.rows)) == (1, TRACKED)
        assert asked == ["ls-remote", "cat-file", "fast-import", "push"]
        assert (len(read), max(read.values())) == (TRACKED, 1)

        report, asked, read = cycle()
        assert report.commits == []
        assert asked == ["ls-remote", "ls-tree", "cat-file"]
        assert len(read) == TRACKED
