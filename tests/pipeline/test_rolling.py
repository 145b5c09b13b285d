"""What waits in a rolling branch or request stays there, and what a person refused stays away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from tests.pipeline.test_propose import branches
from tests.pipeline.test_pull_requests import Site, opened
from updater.config.images import Item
from updater.config.load import load
from updater.daemon.build import build
from updater.messages.proposals import proposed
from updater.pipeline.look import World
from updater.pipeline.update import update

BOTH = {"api.yaml": pod("HOST/acme/api:1.0.0"), "web.yaml": pod("HOST/acme/web:1.0.0")}
IMAGES = "images:\n  - {image: HOST/acme/api, name: api}\n  - {image: HOST/acme/web, name: web}\n"
BRANCH = "repositories: [{url: FLEET, write_back: {kind: branch}}]\n"
ROLLING = "updater/main"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened_:
        opened_.push("acme/api", "1.0.0", "1.1.0")
        opened_.push("acme/web", "1.0.0")
        yield opened_


@pytest.fixture
def site(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield from opened(lab, "gitlab", tmp_path, monkeypatch, "")


def only(world: World, name: str) -> list[Item]:
    return [item for item in world.settings.items if item.name == name]


def test_no_half_of_a_refused_request_comes_back(site: Site) -> None:
    """Images are polled one by one: what is not due is refused as well."""
    site.lab.push("acme/web", "1.0.1")
    site.cycle()
    site.hosted.close(site.hosted.look()[0].number)
    site.cycle("api")
    site.cycle("web")
    assert [one.state for one in site.hosted.look()] == ["closed"]


def test_a_newer_version_brings_nothing_back_that_was_refused(site: Site) -> None:
    site.lab.push("acme/web", "1.0.1")
    site.cycle()
    site.hosted.close(site.hosted.look()[0].number)
    site.lab.push("acme/web", "1.0.2")
    site.cycle("web")
    assert {one.new for one in proposed(site.hosted.look()[0].body)} == {"1.0.2"}


def test_an_approval_from_before_excuses_no_refusal(site: Site) -> None:
    site.world.memory().holds.approve("api", "1.1.0", site.now)
    site.cycle()
    site.hosted.close(site.hosted.look()[0].number)
    site.cycle()
    assert [one.state for one in site.hosted.look()] == ["closed"]


def test_a_refusal_counts_at_once(site: Site) -> None:
    """The forge was asked just before the person closed it, and its answer is still remembered."""
    site.lab.push("acme/web", "1.0.1")
    site.cycle()
    site.cycle()
    site.hosted.close(site.hosted.look()[0].number)
    site.lab.push("acme/api", "1.2.0")
    update(site.world, site.world.settings.items, site.now)
    assert {one.new for one in proposed(site.hosted.look()[0].body)} == {"1.2.0"}


def conf(lab: Lab, text: str, files: dict[str, str]) -> Path:
    return lab.configure(text, fleet=lab.repository("fleet", files))


def test_what_waits_is_not_collected_again(lab: Lab) -> None:
    text = BRANCH.replace("kind: branch}", "kind: branch}, commit: {batch: 10m}") + IMAGES
    config = conf(lab, text, {"api.yaml": BOTH["api.yaml"]})
    heads = []
    with build(load(config, {})) as world:
        for minute in (0, 5, 10, 11, 15, 21, 22, 40):
            update(world, world.settings.items, NOW + timedelta(minutes=minute), patient=True)
            heads.append(lab.run("fleet", "for-each-ref", "--format=%(objectname)", "refs/heads/updater").strip())
    assert heads[0] == heads[1] == ""
    assert heads[2] != ""
    assert len(set(heads[2:])) == 1


def test_a_window_that_closes_withdraws_nothing(lab: Lab) -> None:
    window = "windows: [{kind: allow, schedule: '0 8 * * *', duration: 2h, time_zone: UTC}]"
    config = conf(lab, BRANCH + IMAGES.replace("name: api", f"name: api, {window}"), {"api.yaml": BOTH["api.yaml"]})
    with build(load(config, {})) as world:
        update(world, world.settings.items, NOW + timedelta(minutes=10))
        before = branches(lab)
        update(world, world.settings.items, NOW + timedelta(hours=4))
    assert branches(lab) == before == ["main", ROLLING]


def test_items_that_want_different_things_of_one_image_keep_their_own(lab: Lab) -> None:
    lab.push("acme/api", "1.5.0")
    items = (
        "{name: dev, repository: fleet, paths: [dev/**]},"
        " {name: prod, repository: fleet, paths: [prod/**], policy: {kind: semver, range: '<1.2'}}"
    )
    images = IMAGES.replace("name: api", f"name: api, policy: {{kind: semver}}, update: [{items}]")
    files = {f"{env}/api.yaml": BOTH["api.yaml"] for env in ("dev", "prod")}
    with build(load(conf(lab, BRANCH + images, files), {})) as world:
        for due in (world.settings.items, only(world, "api/dev"), only(world, "api/prod")):
            update(world, due, NOW)
            assert [lab.show("fleet", file, ROLLING) for file in files] == [
                pod("HOST/acme/api:1.5.0"),
                pod("HOST/acme/api:1.1.0"),
            ]


@pytest.mark.parametrize(
    ("text", "files"),
    [
        pytest.param(
            BRANCH
            + IMAGES.replace(
                "name: api", "name: api, update: [{write_back: {kind: branch, branch: 'updater/{{ branch }}'}}]"
            ),
            BOTH,
            id="two kinds",
        ),
        pytest.param(
            BRANCH.replace("kind: branch}", "kind: branch, branch: bots}, commit: {group_by: image}") + IMAGES,
            BOTH,
            id="a name without its group",
        ),
        pytest.param(
            BRANCH.replace("kind: branch}", "kind: branch}, commit: {group_by: path}") + IMAGES,
            {"a/b/api.yaml": BOTH["api.yaml"], "a-b/web.yaml": BOTH["web.yaml"]},
            id="folders that are spelled alike",
        ),
    ],
)
def test_nobody_fights_for_a_branch(lab: Lab, text: str, files: dict[str, str]) -> None:
    lab.push("acme/web", "1.0.1")
    heads = set()
    with build(load(conf(lab, text, files), {})) as world:
        for minute in range(3):
            heads.add(lab.run("fleet", "for-each-ref", "--format=%(objectname)", "refs/heads/"))
            report = update(world, world.settings.items, NOW + timedelta(minutes=minute))
    assert len(heads) == 1
    assert {row.outcome for row in report.rows} == {"failed"}
    assert all("write_back.branch makes" in row.why for row in report.rows)


def test_a_version_of_a_chart_is_raised_once(lab: Lab) -> None:
    chart = "apiVersion: v2\nname: api\nversion: 0.1.0\n"
    bump = "update: [{repository: fleet, paths: ['**'], bump: {file: Chart.yaml, path: version, part: patch}}]"
    files = {"api.yaml": pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.0.0"), "Chart.yaml": chart}
    config = conf(lab, BRANCH + IMAGES.replace("name: api", f"name: api, {bump}"), files)
    with build(load(config, {})) as world:
        update(world, world.settings.items, NOW)
        lab.push("acme/api", "1.1.1")
        update(world, world.settings.items, NOW)
        lab.push("acme/web", "1.0.1")
        update(world, only(world, "web"), NOW)
    assert lab.show("fleet", "Chart.yaml", ROLLING) == chart.replace("0.1.0", "0.1.1")
    assert lab.show("fleet", "api.yaml", ROLLING) == pod("HOST/acme/api:1.1.1", "HOST/acme/web:1.0.1")


@pytest.mark.parametrize("tag", ["1.0.0", "1.1.0"])
def test_a_new_name_stays_where_it_waits(lab: Lab, tag: str) -> None:
    files = {"api.yaml": pod(f"HOST/old/api:{tag}", "HOST/acme/web:1.0.0")}
    config = conf(lab, BRANCH + IMAGES.replace("name: api", "name: api, replaces: [HOST/old/api]"), files)
    with build(load(config, {})) as world:
        update(world, world.settings.items, NOW)
        lab.push("acme/web", "1.0.1")
        update(world, only(world, "web"), NOW)
    assert lab.show("fleet", "api.yaml", ROLLING) == pod("HOST/acme/api:1.1.0", "HOST/acme/web:1.0.1")


def test_lines_that_moved_keep_what_waits(lab: Lab) -> None:
    with build(load(conf(lab, BRANCH + IMAGES, BOTH), {})) as world:
        update(world, world.settings.items, NOW)
        moved = "# a\n# b\n"
        person_commits(lab.folder / "git" / "fleet.git", {"api.yaml": lab.spell(moved + BOTH["api.yaml"])})
        update(world, only(world, "web"), NOW)
    assert lab.show("fleet", "api.yaml", ROLLING) == moved + pod("HOST/acme/api:1.1.0")
