"""Rolling pull requests from poll to merge: a registry, and a stand-in of each forge over a real repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import Lab, open_lab, pod, rows
from updater.config.load import load
from updater.daemon.build import build
from updater.daemon.remember import remember
from updater.demo.forge import Asked, Hosted, StandIn
from updater.demo.services.base import Answered
from updater.messages.proposals import proposed
from updater.model.event import Event, Kind
from updater.pipeline.look import World
from updater.pipeline.report import Report
from updater.pipeline.rollback import rollback
from updater.pipeline.update import update

TOKEN, OURS = "canary-of-the-forge", "updater/main"
FILES = {"api.yaml": pod("HOST/acme/api:1.0.0"), "web.yaml": pod("HOST/acme/web:1.0.0")}


@dataclass
class Site:
    """One daemon's world over several cycles."""

    lab: Lab
    forge: StandIn
    hosted: Hosted
    world: World
    events: list[Event]
    now: datetime

    def cycle(self, *names: str) -> Report:
        """Run a cycle a minute later; what it tells is in `events`."""
        self.now += timedelta(minutes=2)
        self.world.asked.clear()  # what the forge said a minute ago counts no more
        items = [item for item in self.world.settings.items if not names or item.name in names]
        report = update(self.world, items, self.now)
        remember(self.world.settings, self.world.memory().journal, report, self.now)
        return report

    def told(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def reason(self, report: Report, name: str = "api") -> str:
        return rows(report)[name].reason

    def show(self, path: str, branch: str = "main") -> str:
        return self.hosted.git("show", f"{branch}:{path}").replace(self.lab.registry.host, "HOST") + "\n"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        opened.push("acme/api", "1.0.0", "1.1.0")
        opened.push("acme/web", "1.0.0")
        yield opened


@pytest.fixture(params=["github", "gitlab", "gitea"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def each(lab: Lab, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site at each kind of forge in turn, for what hangs on their answers."""
    yield from opened(lab, kind, tmp_path, monkeypatch, "")


@pytest.fixture
def site(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site at one forge, for what is decided here and read from no answer that differs between them."""
    yield from opened(lab, "gitea", tmp_path, monkeypatch, "")


def opened(lab: Lab, kind: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> Iterator[Site]:
    monkeypatch.setenv("FORGE_TOKEN", TOKEN)
    with StandIn(folder / "forge", kind, tokens=[TOKEN]) as forge:
        hosted = forge.create("acme/fleet", {path: lab.spell(text) for path, text in FILES.items()})
        config = lab.configure(
            f"git_hosts: [{{host: '{forge.url.partition('//')[2]}', kind: {kind}, "
            "credentials: {kind: token, token: 'env:FORGE_TOKEN'}}]\n"
            f"repositories: [{{url: '{forge.url}/acme/fleet.git', write_back: {{kind: pull_request{more}}}}}]\n"
            "images: [{image: HOST/acme/api, name: api}, {image: HOST/acme/web, name: web}]\n"
        )
        with build(load(config, {})) as world:
            events: list[Event] = []
            world.memory().journal._happened = events.extend
            yield Site(lab, forge, hosted, world, events, datetime.now(UTC))


def test_an_update_is_proposed_once_and_told_once(each: Site) -> None:
    report = each.cycle()
    [pull] = each.hosted.look()
    assert (report.failures, report.landed, each.reason(report)) == ([], [], "awaiting_merge")
    assert (pull.title, pull.state) == (f"Update {each.lab.registry.host}/acme/api to 1.1.0", "open")
    assert "api.yaml:5" in pull.body
    assert {(one.old, one.new) for one in proposed(pull.body)} == {("1.0.0", "1.1.0")}
    assert (each.show("api.yaml"), each.show("api.yaml", OURS)) == (FILES["api.yaml"], pod("HOST/acme/api:1.1.0"))
    head, asked = each.hosted.tip(OURS), len(each.forge.asked)
    again = each.cycle()
    assert (each.reason(again), each.hosted.tip(OURS), len(each.hosted.look())) == ("awaiting_merge", head, 1)
    assert len(each.forge.asked) - asked == 1  # one look at the requests
    [told] = each.told(Kind.PULL_REQUEST_OPENED)
    assert (told.new, told.images) == (f"#{pull.number}", (f"{each.lab.registry.host}/acme/api",))
    assert [event.kind for event in each.events] == [Kind.PULL_REQUEST_OPENED]


def test_a_newer_version_changes_the_same_request(each: Site) -> None:
    each.cycle()
    each.lab.push("acme/api", "1.2.0")
    each.lab.push("acme/web", "1.0.1")
    each.cycle("api")
    each.cycle("web")
    [pull] = each.hosted.look()
    assert (pull.title, {one.new for one in proposed(pull.body)}) == ("Update 2 images", {"1.2.0", "1.0.1"})
    assert len(each.told(Kind.PULL_REQUEST_OPENED)) == 1


@pytest.mark.parametrize("style", ["merge", "squash", "rebase"])
def test_a_merge_is_the_update(each: Site, style: Any) -> None:
    each.cycle()
    [pull] = each.hosted.look()
    each.hosted.merge(pull.number, style)
    report = each.cycle()
    assert (each.reason(report), each.show("api.yaml")) == ("up_to_date", pod("HOST/acme/api:1.1.0"))
    assert [event.new for event in each.told(Kind.PULL_REQUEST_MERGED)] == [f"#{pull.number}"]
    assert [(event.old, event.new) for event in each.told(Kind.IMAGE_UPDATED)] == [("1.0.0", "1.1.0")]
    each.lab.push("acme/api", "1.2.0")
    each.cycle()
    assert [one.state for one in each.hosted.look()] == ["open", "merged"]


def test_a_merge_is_no_change_of_mind(each: Site) -> None:
    """The forge was asked just before the merge, and its answer is still remembered."""
    each.cycle()
    [pull] = each.hosted.look()
    each.cycle()
    each.hosted.merge(pull.number, "squash")
    update(each.world, each.world.settings.items, each.now)
    [pull] = each.hosted.look()
    assert (pull.state, {one.new for one in proposed(pull.body)}) == ("merged", {"1.1.0"})


def test_a_version_after_an_unseen_merge_has_a_request_of_its_own(each: Site) -> None:
    each.cycle()
    [pull] = each.hosted.look()
    each.cycle()
    each.hosted.merge(pull.number, "squash")
    each.lab.push("acme/api", "1.2.0")
    update(each.world, each.world.settings.items, each.now)
    new, merged = each.hosted.look()
    assert (new.state, {one.new for one in proposed(new.body)}) == ("open", {"1.2.0"})
    assert (merged.state, {one.new for one in proposed(merged.body)}) == ("merged", {"1.1.0"})


def test_what_a_person_closed_is_not_opened_again_for_that_version(each: Site) -> None:
    each.cycle()
    [pull] = each.hosted.look()
    each.hosted.close(pull.number)
    report = each.cycle()
    assert (each.reason(report), len(each.hosted.look())) == ("pull_request_closed", 1)
    assert len(each.told(Kind.PULL_REQUEST_CLOSED)) == 1
    each.lab.push("acme/web", "1.0.1")
    report = each.cycle()  # another image of the group goes on without it
    assert (each.reason(report), each.reason(report, "web")) == ("pull_request_closed", "awaiting_merge")
    assert {one.new for one in proposed(each.hosted.look()[0].body)} == {"1.0.1"}
    each.lab.push("acme/api", "1.2.0")
    assert each.reason(each.cycle()) == "awaiting_merge"
    assert {one.new for one in proposed(each.hosted.look()[0].body)} == {"1.0.1", "1.2.0"}


def test_a_person_may_think_again(site: Site) -> None:
    site.cycle()
    site.hosted.close(site.hosted.look()[0].number)
    assert site.reason(site.cycle()) == "pull_request_closed"
    site.now += timedelta(minutes=2)
    site.world.memory().holds.resume("api", site.now)
    assert site.reason(site.cycle()) == "awaiting_merge"
    assert [one.state for one in site.hosted.look()] == ["open", "closed"]


def test_what_nobody_wants_any_more_is_closed_and_held_against_nobody(each: Site) -> None:
    each.cycle()
    person_commits(each.hosted.bare, {"api.yaml": each.lab.spell(pod("HOST/acme/api:1.1.0"))})
    each.cycle()
    [pull] = each.hosted.look()
    assert (pull.state, proposed(pull.body), each.hosted.tip(OURS)) == ("closed", frozenset(), "")
    person_commits(each.hosted.bare, {"api.yaml": each.lab.spell(FILES["api.yaml"])})
    assert each.reason(each.cycle()) == "awaiting_merge"


def test_commits_of_people_stop_us(site: Site) -> None:
    site.cycle()
    theirs = person_commits(site.hosted.bare, {"notes.md": b"mine\n"}, branch=OURS)
    site.lab.push("acme/api", "1.2.0")
    report = site.cycle()
    assert (site.reason(report), site.hosted.tip(OURS)) == ("human_edit", theirs)
    site.now = datetime.now(UTC) + timedelta(minutes=9)
    site.world.memory().holds.resume("api", site.now)
    assert site.reason(site.cycle()) == "awaiting_merge"
    assert site.show("api.yaml", OURS) == pod("HOST/acme/api:1.2.0")
    assert [one.state for one in site.hosted.look()] == ["open"]


def test_a_forge_that_is_down_fails_the_update_and_opens_it_later(each: Site) -> None:
    each.forge.script = lambda _: Answered(500, b"{}")
    report = each.cycle()
    assert (rows(report)["api"].outcome, each.hosted.tip(OURS), each.show("api.yaml")) == (
        "failed",
        "",
        FILES["api.yaml"],
    )
    assert TOKEN not in str(report.failures)
    each.forge.script = lambda _: None
    assert each.reason(each.cycle()) == "awaiting_merge"


def test_a_branch_without_its_request_gets_one(site: Site) -> None:
    """Whoever pushed was killed before it opened the request."""

    def no_opening(asked: Asked) -> Answered | None:
        return Answered(500, b"{}") if asked.method == "POST" else None

    site.forge.script = no_opening
    assert rows(site.cycle())["api"].outcome == "failed"
    head = site.hosted.tip(OURS)
    site.forge.script = lambda _: None
    assert site.reason(site.cycle()) == "awaiting_merge"
    assert (site.hosted.tip(OURS), [one.state for one in site.hosted.look()]) == (head, ["open"])


def test_a_rollback_is_proposed_too_and_holds_the_image(site: Site) -> None:
    site.cycle()
    site.hosted.merge(site.hosted.look()[0].number, "squash")
    site.cycle()
    [api] = [item for item in site.world.settings.items if item.name == "api"]
    report = rollback(site.world, [api], None, site.now, site.now + timedelta(days=7))
    assert (report.failures, site.reason(report)) == ([], "awaiting_merge")
    assert site.show("api.yaml", "updater/rollback-api") == FILES["api.yaml"]
    assert site.world.memory().holds.read(site.now)["api"].hold is not None
    assert site.reason(site.cycle()) in {"up_to_date", "held"}


ADORNED = (
    ", labels: [images], reviewers: [alice], auto_merge: true, title: 'chore: {{ subject }}',"
    " body: '{{ changed }} for you'"
)


def test_a_request_is_adorned(lab: Lab, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for site in opened(lab, kind, tmp_path, monkeypatch, ADORNED):
        site.hosted.required, site.hosted.checks = True, "pending"
        report = site.cycle()
        [pull] = site.hosted.look()
        asked = len(site.forge.asked)
        site.cycle()
        assert len(site.forge.asked) - asked == 1  # it is known there that it is to be merged
        assert (list(pull.labels), list(pull.reviewers)) == (["images"], ["alice"])
        assert (pull.title, pull.body.splitlines()[0]) == (
            f"chore: Update {lab.registry.host}/acme/api to 1.1.0",
            "1 for you",
        )
        assert {one.new for one in proposed(pull.body)} == {"1.1.0"}
        assert report.failures == []
        site.hosted.settle("success")
        assert [one.state for one in site.hosted.look()] == ["merged"]
        assert site.reason(site.cycle()) == "up_to_date"
