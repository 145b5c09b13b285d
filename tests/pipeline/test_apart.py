"""A registry that is slow, down or angry keeps nobody else waiting: the others' updates are committed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_run import QUICK, running
from tests.lab.git import git, person_commits
from tests.lab.loop import NOW
from tests.lab.path import WholePath, commits, head, manifest
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.config.load import load
from updater.daemon.build import build
from updater.daemon.remember import remember
from updater.demo.forge import StandIn
from updater.errors import RegistryError
from updater.git.clone import Clone, Head
from updater.messages.proposals import proposed
from updater.model.commit import Commit
from updater.model.decision import Reason, Update
from updater.model.event import Event, Kind
from updater.pipeline import facts, resolve, study
from updater.pipeline.look import World, branches, look, no_progress
from updater.pipeline.report import Report
from updater.pipeline.resolve import Resolver
from updater.pipeline.update import update

PATIENCE = 30.0  # seconds for one thing to happen


class Three:
    """Three registries of one image each, all mentioned in one repository: a good one, a slow one and an angry one.

    The slow one answers when it is let, a `quick_list` aside; `asked` is set when it was asked.
    """

    def __init__(self, path: WholePath, closing: ExitStack, *, quick_list: bool, entry: dict[str, object]) -> None:
        self.path, self.asked, self.let = path, threading.Event(), threading.Event()
        self.quick_list = quick_list
        self.angry = closing.enter_context(Scripted(lambda _: reply(429, {}, ("Retry-After", "600"))))
        self.slow = closing.enter_context(Scripted(self._slowly))
        closing.callback(self.let.set)
        path.push("acme/api", "1.0.0")
        path.push("acme/api", "1.1.0")
        hosts = [path.registry.host, self.slow.host, self.angry.host]
        files = {f"{n}.yaml": manifest(f"{host}/acme/api", "1.0.0") for n, host in enumerate(hosts)}
        self.fleet = path.create("fleet", files)
        self.base = head(self.fleet)
        entries = [{"image": f"{host}/acme/api", "name": f"api{n}"} | QUICK | entry for n, host in enumerate(hosts)]
        path.configure(entries, registries=[{"host": host, "insecure": True} for host in hosts])

    def _slowly(self, asked: Asked) -> Answered:
        self.asked.set()
        lists = asked.path.endswith("/tags/list")
        if not (lists and self.quick_list):
            self.let.wait(PATIENCE)
        return reply(200, {"name": "acme/api", "tags": ["1.0.0", "1.2.0"]}) if lists else reply(404, {})

    def changed(self) -> list[str]:
        """The files that changed, the commits apart by a line of their own."""
        return [git(self.fleet, "show", "--format=", "--name-only", one) for one in commits(self.fleet, self.base)]


TOKEN = {"kind": "token", "token": "env:FORGE_TOKEN"}
BLIND: dict[str, object] = {"platforms": [], "moved_tag": "follow"}  # lists are all that is asked


@contextmanager
def three(folder: Path, *, quick_list: bool = False, entry: dict[str, object] = BLIND) -> Iterator[Three]:
    with WholePath.embedded(folder) as path, ExitStack() as closing:
        yield Three(path, closing, quick_list=quick_list, entry=entry)


def cycle_of(those: Three, world: World, meanwhile: Callable[[], object] = lambda: None) -> tuple[list[bool], Report]:
    """Run a cycle, and let the slow one answer when something was pushed: for each push, whether that was after it."""
    pushed: list[bool] = []

    def note(_: Commit) -> None:
        pushed.append(those.let.is_set())
        if not those.let.is_set():
            meanwhile()
        those.let.set()

    world.pushed = note
    report: list[Report] = []
    cycle = threading.Thread(target=lambda: report.append(update(world, world.settings.items, NOW)))
    cycle.start()
    cycle.join(PATIENCE)
    return pushed, report[0]


def test_one_cycle_commits_what_the_others_have_before_the_slow_one_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    with three(tmp_path) as those, build(load(those.path.config, {})) as world:
        pushed, report = cycle_of(those, world)
        assert pushed == [False, True], "the slow one was let only when the first had landed"
        assert sorted(those.changed()) == ["0.yaml", "1.yaml"]
        outcomes = {row.item.name: row.outcome.value for row in report.rows}
        assert outcomes == {"api0": "updated", "api1": "updated", "api2": "failed"}
        assert [failure.what for failure in report.failures] == [f"image {those.angry.host}/acme/api"]
        assert report.failures[0].retry_at is not None


def test_one_cycle_commits_what_the_others_have_while_manifests_of_the_slow_one_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    with three(tmp_path, quick_list=True, entry={}) as those, build(load(those.path.config, {})) as world:
        pushed, report = cycle_of(those, world)
        assert pushed == [False]
        assert those.changed() == ["0.yaml"]
        outcomes = {row.item.name: row.outcome.value for row in report.rows}
        assert outcomes == {"api0": "updated", "api1": "held", "api2": "failed"}


def test_a_pattern_over_several_registries_commits_what_the_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    with three(tmp_path) as those:
        hosts = (those.path.registry.host, those.slow.host, those.angry.host)
        entry = {"image": "*/acme/api", "name": "api"} | QUICK | BLIND
        those.path.configure([entry], registries=[{"host": host, "insecure": True} for host in hosts])
        with build(load(those.path.config, {})) as world:
            pushed, report = cycle_of(those, world)
            assert pushed == [False, True]
            assert sorted(those.changed()) == ["0.yaml", "1.yaml"]
            assert sorted(row.outcome.value for row in report.rows) == ["failed", "updated", "updated"]


def test_what_a_person_moves_to_a_registry_that_was_written_before_is_not_called_unreferenced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    with three(tmp_path) as those:
        good, slow = those.path.registry.host, those.slow.host
        entries = [{"image": f"{good}/acme/api", "name": "api"}, {"image": "*/acme/web", "name": "web"}]
        registries = [{"host": host, "insecure": True} for host in (good, slow)]
        those.path.configure([entry | QUICK | BLIND for entry in entries], registries=registries)
        person_commits(those.fleet, {"w.yaml": manifest(f"{slow}/acme/web", "1.0.0")})
        moved = {"w.yaml": manifest(f"{good}/acme/web", "1.0.0")}
        with build(load(those.path.config, {})) as world:
            _, report = cycle_of(those, world, lambda: person_commits(those.fleet, moved))
            outcomes = [(row.item.name, row.outcome.value) for row in report.rows]
            assert outcomes == [("api", "updated"), ("web", "failed")]
            assert report.rows[1].reason == "undecided"


def test_one_commit_tells_of_all_whose_registries_answer_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", PATIENCE)
    with three(tmp_path) as those, build(load(those.path.config, {})) as world:
        those.let.set()
        update(world, world.settings.items, NOW)
        assert those.changed() == ["0.yaml\n1.yaml"]


def test_a_repository_that_a_late_registry_has_nothing_in_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    with three(tmp_path) as those:
        hosts = {"quick": those.path.registry.host, "slow": those.slow.host}
        for name, host in hosts.items():
            those.path.create(name, {"a.yaml": manifest(f"{host}/acme/api", "1.0.0")})
        entry = {"image": "*/acme/api", "name": "api"} | QUICK | BLIND
        those.path.configure([entry], hosts, registries=[{"host": host, "insecure": True} for host in hosts.values()])
        fetch, fetched = Clone.fetch, list[str]()

        def fetches(clone: Clone, branch: str | None = None) -> Head:
            fetched.append(clone.remote.name)
            return fetch(clone, branch)

        monkeypatch.setattr(Clone, "fetch", fetches)
        with build(load(those.path.config, {})) as world:
            pushed, _ = cycle_of(those, world)
        assert pushed == [False, True]
        assert sorted(fetched) == ["quick", "slow", "slow"]


def test_what_shares_a_tag_waits_for_both_of_its_registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    answer = reply(200, {"name": "acme/api", "tags": ["1.0.0", "1.1.0"]})
    with three(tmp_path) as those, Scripted(lambda _: answer) as good:
        those.path.push("acme/api", "1.2.0")
        quick, slow, alone = (f"{host}/acme/api" for host in (those.path.registry.host, those.slow.host, good.host))
        text = "a: {repository: QUICK, tag: &tag 1.0.0}\nb: {repository: SLOW, tag: *tag}\n"
        shared = text.replace("QUICK", quick).replace("SLOW", slow).encode()
        those.fleet = those.path.create("shared", {"alone.yaml": manifest(alone, "1.0.0"), "shared.yaml": shared})
        those.base = head(those.fleet)
        entries = [{"image": image, "name": f"api{n}"} | QUICK | BLIND for n, image in enumerate((quick, slow, alone))]
        registries = [{"host": image.partition("/")[0], "insecure": True} for image in (quick, slow, alone)]
        those.path.configure(entries, ["shared"], registries=registries)
        with build(load(those.path.config, {})) as world:
            pushed, report = cycle_of(those, world)
            assert pushed == [False, True]
            assert those.changed() == ["alone.yaml", "shared.yaml"]
            assert [row.target for row in report.rows] == ["1.1.0", "1.2.0", "1.2.0"]


def test_a_request_that_fills_up_wave_by_wave_keeps_all_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TOGETHER", 0.05)
    monkeypatch.setenv("FORGE_TOKEN", "token")
    with three(tmp_path) as those, StandIn(tmp_path / "forge", "gitea", tokens=["token"]) as forge:
        hosts = (those.path.registry.host, those.slow.host)
        hosted = forge.create(
            "acme/fleet", {f"{n}.yaml": manifest(f"{h}/acme/api", "1.0.0") for n, h in enumerate(hosts)}
        )
        settings = those.path.settings([{"image": f"{h}/acme/api"} | QUICK | BLIND for h in hosts]) | {
            "registries": [{"host": host, "insecure": True} for host in hosts],
            "repositories": [{"url": f"{forge.url}/acme/fleet.git", "write_back": {"kind": "pull_request"}}],
            "git_hosts": [{"host": forge.url.partition("//")[2], "kind": "gitea", "credentials": TOKEN}],
        }
        those.path.config.write_text(json.dumps(settings))
        push, events = Clone.push, list[Event]()

        def pushed(clone: Clone, *args: str) -> None:
            push(clone, *args)
            those.let.set()

        monkeypatch.setattr(Clone, "push", pushed)
        with build(load(those.path.config, {})) as world:
            journal = world.memory().journal
            journal._happened = events.extend
            report = update(world, world.settings.items, NOW)
            remember(world.settings, journal, report, NOW)
        [pull] = hosted.look()
        assert {one.new for one in proposed(pull.body)} == {"1.1.0", "1.2.0"}
        assert [row.reason for row in report.rows] == [Reason.AWAITING_MERGE] * 2
        assert [event.kind for event in events] == [Kind.PULL_REQUEST_OPENED]


def test_what_appears_on_two_branches_at_once_is_decided_on_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registry is asked for what one branch needs, the other gets its list."""
    with WholePath.embedded(tmp_path) as path:
        for name in ("one", "two"):
            path.push(f"acme/{name}", "1.0.0")
            path.push(f"acme/{name}", "1.1.0")
            path.create(name, {"a.yaml": manifest(path.image(f"acme/{name}"), "1.0.0")})
        path.configure([path.entry("acme/one"), path.entry("acme/two")], ["one", "two"])
        asking, listed = threading.Event(), threading.Event()

        def fetch(*args: Any, **more: Any) -> dict[str, RegistryError]:
            if not asking.is_set():
                asking.set()
                assert listed.wait(PATIENCE)
            return facts.fetch(*args, **more)

        def decide(resolver: Resolver, *args: Any) -> None:
            if asking.is_set():
                listed.set()
            decided(resolver, *args)

        decided = Resolver.resolve
        monkeypatch.setattr(resolve, "fetch", fetch)
        monkeypatch.setattr(Resolver, "resolve", decide)
        with build(load(path.config, {})) as world:
            checkouts = []
            for branch in branches(world.settings):
                with world.clone_of(branch.repository).lock():
                    checkouts.append(look(world, branch))
            due = {item.name: item for item in world.settings.items}
            with study.Study(world, due, NOW, write=True, progress=no_progress) as learnt, ThreadPoolExecutor() as pool:
                first = pool.submit(learnt.learn, checkouts[:1])
                assert asking.wait(PATIENCE)
                for done in (first, pool.submit(learnt.learn, checkouts[1:])):
                    done.result(PATIENCE)
                found = [learnt.of(one) for checkout in checkouts for one in checkout.owned]
        assert [one.target.tag for one in found if isinstance(one, Update)] == ["1.1.0", "1.1.0"]


def test_the_daemon_commits_what_the_others_have_before_the_slow_one_answers(tmp_path: Path) -> None:
    with three(tmp_path) as those, running(those.path) as daemon:
        assert those.asked.wait(PATIENCE)
        assert daemon.wait("committed")["changes"][0].startswith(those.path.registry.host)
        assert those.changed() == ["0.yaml"]
        those.let.set()
        daemon.wait("committed")
        assert sorted(those.changed()) == ["0.yaml", "1.yaml"]
        assert len(those.angry.requests) == 1
        assert daemon.stop() == 0


def test_what_was_known_stays_with_its_age_when_a_registry_fails_and_nothing_is_decided_by_it(tmp_path: Path) -> None:
    """A cycle found an update that a window held; then the registry is down."""
    answers = {"tags": reply(200, {"name": "acme/api", "tags": ["1.0.0", "1.1.0"]})}
    with WholePath.embedded(tmp_path) as path, Scripted(lambda _: answers["tags"]) as server:
        image = f"{server.host}/acme/api"
        fleet = path.create("fleet", {"a.yaml": manifest(image, "1.0.0")})
        always = {"kind": "deny", "schedule": "* * * * *", "duration": "1h"}
        entry = {"image": image, "name": "api", "platforms": [], "moved_tag": "follow", "windows": [always]}
        path.configure([entry], registries=[{"host": server.host, "insecure": True}])
        assert path.run("once", "--json").json["images"][0]["reason"] == "window_closed"
        base = head(fleet)
        answers["tags"] = reply(404, {})
        path.configure([entry | {"windows": []}], registries=[{"host": server.host, "insecure": True}])
        ages = set()
        for command in (("once",), ("check",), ("once",), ("check",)):
            ran = path.run(*command, "--json")
            [row] = ran.json["images"]
            assert (ran.code, row["outcome"], row["newest"], row["target"]) == (1, "failed", "1.1.0", None)
            known = row["known"]
            assert (known["outcome"], known["newest"], known["reason"]) == ("held", "1.1.0", "window_closed")
            assert "before that, at 20" in row["why"]
            ages.add(known["at"])
        assert len(ages) == 1, "it is as old as the look that found it"
        told = path.run("explain", "api", "--json").json["images"][0]["decisions"][0]
        assert (told["outcome"], told["known"]["newest"]) == ("failed", "1.1.0")
        assert head(fleet) == base
