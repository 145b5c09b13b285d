"""Commits of ours are told exactly once, whoever pushed them, and whatever was killed in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import git, hook, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.daemon.remember import remember
from updater.messages.commits import commit_message
from updater.model.change import Bump
from updater.model.event import Event, Kind
from updater.pipeline.report import Report
from updater.pipeline.update import NEWS, update
from updater.store.database import Database
from updater.store.journal import Journal
from updater.store.outbox import Outbox

CYCLE = timedelta(minutes=5, microseconds=250_000)  # clocks do not stop at whole seconds
CONFIG = """\
repositories: [{name: fleet, url: FLEET}]
images:
  - {image: HOST/acme/api, name: api, policy: {kind: semver, range: 1.x}}
  - {image: HOST/acme/web, name: web, policy: {kind: semver, range: 1.x}}
notifications:
  channels: [{name: chat, kind: webhook, url: 'http://127.0.0.1:9/'}]
  routes: [{events: ['image_*', '*_failed', push_rejected], channels: [chat]}]
"""


@dataclass
class Loop:
    """One repository, and processes that write to it: each cycle is one, with clients of its own."""

    lab: Lab
    config: Path
    now: Any = NOW

    @property
    def bare(self) -> Path:
        return self.lab.folder / "git" / "fleet.git"

    @property
    def state(self) -> str:
        return f"sqlite:///{self.lab.folder}/data/state.db"

    def push(self, *tags: str, image: str = "acme/api") -> None:
        self.lab.push(image, *tags)

    @contextmanager
    def process(self) -> Iterator[Any]:
        """Yield two steps of a process: to look and write, and to store what that tells."""
        with ExitStack() as closing:
            world = closing.enter_context(build(load(self.config, {})))
            closing.callback(world.memory().journal._database.close)

            def look(*names: str) -> Report:
                self.now += CYCLE
                items = [item for item in world.settings.items if not names or item.name in names]
                return update(world, items, self.now)

            def store(report: Report) -> None:
                remember(world.settings, world.memory().journal, report, self.now)

            yield look, store

    def cycle(self, *, killed: bool = False) -> list[str]:
        """Run one whole; `killed`: between its push and what it would have stored. Return all that was told so far."""
        with self.process() as (look, store):
            report = look()
            if not killed:
                store(report)
        return self.told()

    def told(self) -> list[str]:
        database = Database(self.state)
        try:
            letters = Outbox(database).queue("chat", 10_000)
        finally:
            database.close()
        return [_words(letter.event) for letter in sorted(letters, key=lambda one: one.seq) if letter.event]

    def events(self) -> list[Event]:
        database = Database(self.state)
        try:
            return Journal(database).recent(10_000)
        finally:
            database.close()

    def ours(self, old: str, new: str, at: Any = None) -> str:
        """Push a commit as another process of ours would have made it; return its revision."""
        image = f"{self.lab.registry.host}/acme/api"
        message = commit_message([Bump("a.yaml", 5, image, image, old, new, None, "semver 1.x")])
        content = self.lab.spell(pod(f"HOST/acme/api:{new}", "HOST/acme/web:1.0.0"))
        return person_commits(self.bare, {"a.yaml": content}, message, at=at or self.now)

    def by_hand(self, text: str = "hello") -> str:
        return person_commits(self.bare, {"README.md": text.encode()}, text, at=self.now)


def _words(event: Event) -> str:
    return f"{event.kind} {event.subject.words} {event.old} -> {event.new}"


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Loop]:
    with open_lab(tmp_path) as lab:
        lab.push("acme/api", "1.0.0")
        lab.push("acme/web", "1.0.0")
        fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.0.0")})
        yield Loop(lab, lab.configure(CONFIG, fleet=fleet))


FIRST, SECOND = "image_updated api 1.0.0 -> 1.1.0", "image_updated api 1.1.0 -> 1.2.0"


def test_what_one_cycle_pushed_is_told_by_it_and_by_no_later_one(path: Loop) -> None:
    path.push("1.1.0")
    assert [path.cycle() for _ in range(3)] == [[FIRST]] * 3
    path.push("1.2.0")
    assert [path.cycle() for _ in range(2)] == [[FIRST, SECOND]] * 2


def test_what_a_killed_process_pushed_is_told_by_the_next_once(path: Loop) -> None:
    path.cycle()
    path.push("1.1.0")
    assert path.cycle(killed=True) == []
    assert [path.cycle() for _ in range(3)] == [[FIRST]] * 3


def test_what_it_pushed_at_its_very_first_run_too(path: Loop) -> None:
    path.push("1.1.0")
    assert path.cycle(killed=True) == []
    assert [path.cycle() for _ in range(2)] == [[FIRST]] * 2
    (event,) = path.events()
    assert [(spot.file, spot.line) for spot in event.spots] == [("a.yaml", 5)]
    assert event.commit == git(path.bare, "rev-parse", "main")


def test_two_commits_of_killed_processes_are_told_in_their_order_and_before_what_is_written_now(path: Loop) -> None:
    path.cycle()
    for tag in ("1.1.0", "1.2.0"):
        path.push(tag)
        path.cycle(killed=True)
    path.push("1.3.0")
    path.by_hand()
    assert path.cycle() == [FIRST, SECOND, "image_updated api 1.2.0 -> 1.3.0"]


def test_what_two_processes_find_at_once_is_told_once(path: Loop) -> None:
    """One pushed and has not stored it yet; the other sees the commit, and stores it first."""
    path.cycle()
    path.push("1.1.0")
    with path.process() as (look, store), path.process() as (look_too, store_too):
        pushed = look()
        assert len(pushed.commits) == 1
        store_too(look_too())
        assert path.told() == [FIRST]
        store(pushed)
    assert [path.cycle() for _ in range(2)] == [[FIRST]] * 2


def test_a_slow_process_that_stores_an_older_head_makes_nothing_told_again(path: Loop) -> None:
    path.cycle()
    path.push("1.1.0")
    with path.process() as (look, store):
        slow = look()
        path.push("1.2.0")
        assert path.cycle() == [FIRST, SECOND]
        store(slow)
    assert [path.cycle() for _ in range(2)] == [[FIRST, SECOND]] * 2


def test_the_commit_of_another_process_is_told(path: Loop) -> None:
    path.push("1.1.0")
    path.cycle()
    path.ours("1.1.0", "1.2.0")
    path.push("1.2.0")
    assert [path.cycle() for _ in range(2)] == [[FIRST, SECOND]] * 2


def test_a_commit_that_comes_while_ours_is_pushed_is_told_too(path: Loop) -> None:
    path.cycle()
    path.push("1.1.0", image="acme/web")
    with path.process() as (look, store):
        once = path.lab.folder / "came"
        message = path.lab.folder / "message"
        image = f"{path.lab.registry.host}/acme/api"
        message.write_text(commit_message([Bump("a.yaml", 5, image, image, "1.0.0", "1.0.1", None, "why")]))
        tree, commit = (
            "git rev-parse main^{tree}",
            f"git -c user.name=x -c user.email=x commit-tree -p main -F {message}",
        )
        quarantine = "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES"
        move = f"git update-ref refs/heads/main $({commit} $({tree}))"
        hook(path.bare, "pre-receive", f"test -e {once} && exit 0; touch {once}; {quarantine}; {move}")
        store(look())
    assert path.told() == ["image_updated api 1.0.0 -> 1.0.1", "image_updated web 1.0.0 -> 1.1.0"]


@pytest.mark.parametrize("how", ["amended", "rebased", "taken back", "put in place of all it was"])
def test_a_history_that_was_written_anew_tells_nothing_old_and_nothing_twice(path: Loop, how: str) -> None:
    path.push("1.1.0")
    path.cycle()
    path.push("1.2.0")
    assert path.cycle() == [FIRST, SECOND]
    work = path.lab.folder / "work"
    git(path.lab.folder, "clone", "--quiet", str(path.bare), str(work))
    match how:
        case "amended":
            git(work, "commit", "--quiet", "--amend", "--no-edit", "--date=2026-11-20T00:00:00Z")
        case "rebased":
            git(work, "rebase", "--quiet", "--force-rebase", "--root", "--committer-date-is-author-date")
            git(work, "commit", "--quiet", "--amend", "-m", f"{git(work, 'log', '-1', '--format=%B')}\n\nMore: words")
        case "taken back":
            git(work, "reset", "--quiet", "--hard", "HEAD~1")
        case _:
            git(work, "checkout", "--quiet", "--orphan", "new")
            git(work, "commit", "--quiet", "-m", git(work, "log", "-1", "--format=%B", "main"))
            git(work, "branch", "--quiet", "-M", "main")
    git(work, "push", "--quiet", "--force", "origin", "HEAD:main")
    path.by_hand()
    suspended = path.config.read_text()
    path.config.write_text(suspended.replace("range: 1.x}", "range: 1.x}, suspend: true"))
    told = [one for one in (path.cycle(), path.cycle())[-1] if one.startswith("image_updated")]
    assert told == [FIRST, SECOND]
    path.config.write_text(suspended)
    path.ours("1.2.0", "1.3.0")
    assert path.cycle()[-1] == "image_updated api 1.2.0 -> 1.3.0"


def test_a_clone_that_was_lost_changes_nothing(path: Loop) -> None:
    path.push("1.1.0")
    path.cycle()
    path.push("1.2.0")
    path.cycle(killed=True)
    shutil.rmtree(path.lab.folder / "data" / "clones")
    assert path.cycle() == [FIRST, SECOND]


def test_a_state_that_was_deleted_tells_nothing_old_and_what_comes_after_it(path: Loop) -> None:
    path.push("1.1.0")
    path.cycle()
    for file in (path.lab.folder / "data").glob("state.db*"):
        file.unlink()
    assert path.cycle() == []
    path.push("1.2.0")
    assert path.cycle() == [SECOND]


def test_a_branch_and_a_repository_with_a_new_name_begin_where_they_are(path: Loop) -> None:
    path.push("1.1.0")
    assert path.cycle() == [FIRST]
    git(path.bare, "branch", "release", "main")
    plain = path.config.read_text()
    path.config.write_text(plain.replace("name: fleet", "name: fleet, branch: release"))
    assert path.cycle() == [FIRST]
    path.config.write_text(plain.replace("name: fleet", "name: renamed"))
    assert path.cycle() == [FIRST]
    path.push("1.2.0")
    path.cycle(killed=True)
    path.config.write_text(plain)
    assert [path.cycle() for _ in range(2)] == [[FIRST, SECOND]] * 2


def test_what_was_committed_long_ago_is_no_news(path: Loop) -> None:
    path.cycle()
    path.ours("1.0.0", "1.0.1", path.now - NEWS - timedelta(days=1))
    path.ours("1.0.1", "1.0.2", path.now - NEWS + timedelta(days=1))
    path.ours("1.0.2", "1.0.3", path.now - 2 * NEWS)  # somebody's clock: it hides nothing that lies below it
    assert path.cycle() == ["image_updated api 1.0.1 -> 1.0.2"]


def test_a_look_that_writes_nothing_tells_nothing_and_leaves_it_to_the_next(path: Loop) -> None:
    path.cycle()
    path.ours("1.0.0", "1.1.0")
    assert path.lab.cycle(path.config, path.now, write=False).landed == []
    assert path.cycle() == [FIRST]


def test_a_push_that_a_hook_refuses_is_told_once_for_all_images_also_at_the_first_run(path: Loop) -> None:
    hook(path.bare, "pre-receive", "echo no writing today >&2; exit 1")
    path.push("1.1.0")
    path.push("1.1.0", image="acme/web")
    told = [path.cycle() for _ in range(2)]
    assert told == [["push_rejected fleet main None -> None"]] * 2
    (event,) = path.events()
    assert (event.images, "no writing today" in event.why) == (("api", "web"), True)
    (path.bare / "hooks" / "pre-receive").unlink()
    assert sorted(path.cycle()[1:]) == [FIRST, FIRST.replace("api", "web")]


def test_one_repository_that_cannot_be_read_is_one_event_for_all_images_that_may_be_there(path: Loop) -> None:
    """Items that look at every repository have no place of their own in it."""
    path.cycle()
    away = path.bare.rename(path.bare.with_suffix(".away"))
    assert [path.cycle() for _ in range(2)] == [["update_failed fleet None -> None"]] * 2
    away.rename(path.bare)
    path.cycle()
    path.bare.rename(away)
    assert path.cycle() == ["update_failed fleet None -> None"] * 2


def test_a_branch_that_is_not_there_is_told_once_beside_one_that_is(path: Loop) -> None:
    text = path.config.read_text().replace("name: web,", "name: web, update: [{repository: fleet, branch: gone}],")
    path.config.write_text(text)
    path.cycle()
    path.config.write_text(text.replace("branch: gone", "branch: away"))
    for names in [("api",), ("web",)] * 3:
        with path.process() as (look, store):
            store(look(*names))
    assert path.told() == ["update_failed fleet away None -> None"]


def test_a_registry_that_is_down_and_comes_back_is_told_twice_in_all(path: Loop) -> None:
    path.cycle()
    good = path.config.read_text()
    path.config.write_text(good.replace("insecure: true", "insecure: true, endpoint: 'http://127.0.0.1:1'"))
    assert len(path.cycle()) == 1
    assert len(path.cycle()) == 1
    path.config.write_text(good)
    assert [one.split()[0] for one in (path.cycle(), path.cycle())[-1]] == [Kind.SCAN_FAILED, Kind.SCAN_RECOVERED]
    assert path.events()[1].images == ("api", "web")
