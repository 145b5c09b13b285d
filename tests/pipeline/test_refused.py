"""A push that the remote refuses is tried once, and again only when something else is to be pushed, or in an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import hook, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.report import Outcome, Report
from updater.pipeline.update import update

PLAIN = """\
repositories: [{name: fleet, url: FLEET}]
images:
  - {image: HOST/acme/api, name: api, policy: {kind: semver, range: 1.x}}
  - {image: HOST/acme/web, name: web, policy: {kind: semver, range: 1.x}}
"""
POLL = timedelta(minutes=5)

Cycle = Callable[..., Report]


class Refusing:
    """One repository whose hook refuses every push, and counts them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for image in ("acme/api", "acme/web"):
            lab.push(image, "1.0.0", "1.1.0")
        url = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0"), "b.yaml": pod("HOST/acme/web:1.0.0")})
        self.config = lab.configure(PLAIN, fleet=url)
        self.bare = lab.folder / "git" / "fleet.git"
        hook(self.bare, "pre-receive", f"echo >> {self.bare}/tried; echo 'main is protected' >&2; exit 1")
        self.now = NOW

    @property
    def tried(self) -> int:
        counted = self.bare / "tried"
        return len(counted.read_text().splitlines()) if counted.exists() else 0

    @contextmanager
    def process(self) -> Iterator[Cycle]:
        """Yield cycles of one process, each a poll later than the one before."""
        with build(load(self.config, {})) as world:

            def cycle(*names: str, after: timedelta = POLL) -> Report:
                self.now += after
                items = [item for item in world.settings.items if not names or item.name in names]
                return update(world, items, self.now)

            yield cycle


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Refusing]:
    with open_lab(tmp_path) as lab:
        yield Refusing(lab)


def test_the_same_push_is_not_tried_again_for_an_hour_and_says_so_each_time(fleet: Refusing) -> None:
    with fleet.process() as cycle:
        first = cycle()
        again = [cycle() for _ in range(5)]
        assert fleet.tried == 1
        for report in [first, *again]:
            (failure,) = report.failures
            assert (failure.what, failure.error) == ("push fleet main", first.failures[0].error)
            assert failure.retry_at == NOW + POLL + timedelta(hours=1)
            assert "main is protected" in failure.error
            assert [row.outcome for row in report.rows] == [Outcome.FAILED] * 2
        late = cycle(after=timedelta(hours=1))
        assert (fleet.tried, late.failures[0].retry_at) == (2, fleet.now + timedelta(hours=1))


def a_commit(fleet: Refusing) -> None:
    person_commits(fleet.bare, {"README.md": b"the head moved\n"})


def a_tag(fleet: Refusing) -> None:
    fleet.lab.push("acme/api", "1.2.0")


@pytest.mark.parametrize("change", [a_commit, a_tag], ids=["the head", "the target"])
def test_what_changed_is_tried_once_more(fleet: Refusing, change: Callable[[Refusing], None]) -> None:
    with fleet.process() as cycle:
        cycle()
        change(fleet)
        for _ in range(3):
            cycle()
        assert fleet.tried == 2


def test_a_new_process_and_a_new_configuration_try_once_more(fleet: Refusing) -> None:
    for tries in (1, 2):
        with fleet.process() as cycle:
            cycle()
            cycle()
            assert fleet.tried == tries


def test_images_that_are_polled_apart_are_each_tried_once(fleet: Refusing) -> None:
    with fleet.process() as cycle:
        for names in (["api"], ["web"], ["api"], ["web"], ["api", "web"], []):
            report = cycle(*names)
            assert report.failures[0].what == "push fleet main"
        assert fleet.tried == 2


def test_a_part_of_what_was_refused_may_pass(fleet: Refusing) -> None:
    guard = "while read old new ref; do git diff --name-only $old $new | grep -q b.yaml && exit 1; done; exit 0"
    hook(fleet.bare, "pre-receive", guard)
    with fleet.process() as cycle:
        assert len(cycle().failures) == 1
        assert cycle("api").failures == []
        assert fleet.lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")


def test_once_it_is_allowed_the_next_try_lands_and_nothing_is_remembered(fleet: Refusing) -> None:
    with fleet.process() as cycle:
        cycle()
        (fleet.bare / "hooks" / "pre-receive").unlink()
        assert cycle().failures != []
        report = cycle(after=timedelta(hours=1))
        assert (report.failures, len(report.commits)) == ([], 1)
        assert len(fleet.lab.commits("fleet")) == 2


def test_a_branch_of_our_own_that_is_refused_is_not_tried_again_either(fleet: Refusing) -> None:
    fleet.config.write_text(
        fleet.config.read_text().replace("{name: fleet,", "{name: fleet, write_back: {kind: branch},")
    )
    with fleet.process() as cycle:
        for _ in range(3):
            report = cycle()
            assert "main is protected" in report.failures[0].error
        assert fleet.tried == 1
        cycle(after=timedelta(hours=1))
        assert fleet.tried == 2
