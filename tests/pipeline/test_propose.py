"""Rolling branches of our own, on real servers on loopback: what waits there, and whose commits are never lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod, rows
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.update import update

OURS = "updater/main"
PODS = {"api.yaml": pod("HOST/acme/api:1.0.0"), "web.yaml": pod("HOST/acme/web:1.0.0")}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        opened.push("acme/api", "1.0.0", "1.1.0")
        opened.push("acme/web", "1.0.0")
        yield opened


def configured(lab: Lab, write_back: str = "{kind: branch}", commit: str = "{}") -> Path:
    fleet = lab.repository("fleet", PODS)
    return lab.configure(
        f"repositories: [{{url: FLEET, write_back: {write_back}, commit: {commit}}}]\nimages:\n"
        "  - {image: HOST/acme/api, name: api}\n  - {image: HOST/acme/web, name: web}\n",
        fleet=fleet,
    )


def branches(lab: Lab) -> list[str]:
    return lab.run("fleet", "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()


def head(lab: Lab, branch: str = OURS) -> str:
    return lab.run("fleet", "rev-parse", branch).strip()


def test_an_update_waits_in_a_branch_and_the_target_stays(lab: Lab) -> None:
    config = configured(lab)
    report = lab.cycle(config)
    assert lab.show("fleet", "api.yaml") == PODS["api.yaml"]
    assert lab.show("fleet", "api.yaml", OURS) == pod("HOST/acme/api:1.1.0")
    assert (report.commits[0].branch, report.landed, report.failures) == (OURS, [], [])
    row = rows(report)["api"]
    assert (row.outcome, row.reason, row.target) == ("held", "awaiting_merge", "1.1.0")
    before = head(lab)
    again = lab.cycle(config)
    assert (head(lab), again.commits, rows(again)["api"].reason) == (before, [], "awaiting_merge")


def test_the_branch_rolls_on_and_keeps_one_commit(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    lab.push("acme/api", "1.1.1")
    lab.push("acme/web", "1.2.0")
    lab.cycle(config)
    assert lab.run("fleet", "rev-list", "--count", f"main..{OURS}").strip() == "1"
    assert (lab.show("fleet", "api.yaml", OURS), lab.show("fleet", "web.yaml", OURS)) == (
        pod("HOST/acme/api:1.1.1"),
        pod("HOST/acme/web:1.2.0"),
    )


def test_what_is_not_due_stays_in_the_branch(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    lab.push("acme/web", "1.2.0")
    with build(load(config, {})) as world:
        update(world, [item for item in world.settings.items if item.name == "web"], NOW)
    message = lab.run("fleet", "log", "-1", "--format=%B", OURS)
    assert ("acme/api 1.0.0 -> 1.1.0" in message, "acme/web 1.0.0 -> 1.2.0" in message) == (True, True)
    assert lab.show("fleet", "api.yaml", OURS) == pod("HOST/acme/api:1.1.0")


def test_a_registry_that_is_down_withdraws_nothing(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    before = head(lab)
    with build(load(config, {})) as world:
        lab.registry.close()
        report = update(world, world.settings.items, NOW)
    assert (head(lab), rows(report)["api"].outcome) == (before, "failed")


def test_the_target_moves_and_nothing_is_pushed_anew(lab: Lab) -> None:
    """Every push costs a run of somebody's checks."""
    config = configured(lab)
    lab.cycle(config)
    before = head(lab)
    person_commits(lab.folder / "git" / "fleet.git", {"README.md": b"hello\n"})
    lab.cycle(config)
    assert head(lab) == before
    person_commits(lab.folder / "git" / "fleet.git", {"api.yaml": lab.spell("# mine\n" + PODS["api.yaml"])})
    lab.cycle(config)
    assert lab.show("fleet", "api.yaml", OURS) == "# mine\n" + pod("HOST/acme/api:1.1.0")
    assert lab.run("fleet", "merge-base", OURS, "main").strip() == head(lab, "main")


def test_commits_of_people_are_never_replaced(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    theirs = person_commits(lab.folder / "git" / "fleet.git", {"notes.md": b"mine\n"}, branch=OURS)
    lab.push("acme/api", "1.1.1")
    report = lab.cycle(config)
    assert (head(lab), rows(report)["api"].reason) == (theirs, "human_edit")
    assert OURS in rows(report)["api"].why


def test_an_amended_commit_is_not_ours_any_more(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    message = lab.run("fleet", "log", "-1", "--format=%B", OURS)
    theirs = person_commits(lab.folder / "git" / "fleet.git", {"api.yaml": b"x: 1\n"}, branch=OURS, message=message)
    lab.run("fleet", "update-ref", f"refs/heads/{OURS}", theirs)
    lab.push("acme/api", "1.1.1")
    assert rows(lab.cycle(config))["api"].reason == "human_edit"


@pytest.mark.parametrize("way", ["fast-forward", "squash"])
def test_a_merged_branch_is_an_update_and_the_next_one_begins_anew(lab: Lab, way: str) -> None:
    config = configured(lab)
    with build(load(config, {})) as world:
        update(world, world.settings.items, NOW)
        update(world, world.settings.items, NOW)
        if way == "squash":
            message = lab.run("fleet", "log", "-1", "--format=Merged (#1)%n%n%B", OURS)
            files = {"api.yaml": lab.spell(pod("HOST/acme/api:1.1.0"))}
            person_commits(lab.folder / "git" / "fleet.git", files, message=message)
        else:
            lab.run("fleet", "update-ref", "refs/heads/main", head(lab))
        lab.push("acme/web", "1.2.0")
        report = update(world, world.settings.items, NOW + timedelta(minutes=5))
    assert [landed.branch for landed in report.landed] == ["main"]
    assert (rows(report)["api"].outcome, rows(report)["web"].reason) == ("up_to_date", "awaiting_merge")
    assert lab.run("fleet", "rev-list", "--count", f"main..{OURS}").strip() == "1"
    assert lab.show("fleet", "web.yaml", OURS) == pod("HOST/acme/web:1.2.0")


def test_what_nobody_wants_any_more_is_withdrawn(lab: Lab) -> None:
    config = configured(lab)
    lab.cycle(config)
    person_commits(lab.folder / "git" / "fleet.git", {"api.yaml": lab.spell(pod("HOST/acme/api:1.1.0"))})
    lab.cycle(config)
    assert branches(lab) == ["main"]


def test_what_has_no_place_to_be_written_stops_nothing(lab: Lab) -> None:
    config = configured(lab)
    mark = b"a:  # updater: HOST/acme/api\nb: 1\n".replace(b"HOST", lab.registry.host.encode())
    person_commits(lab.folder / "git" / "fleet.git", {"empty.yaml": mark})
    for _ in range(2):  # opened, and looked at again with what waits there
        found = {row.reason for row in lab.cycle(config).rows if row.item.name == "api"}
        assert found == {"awaiting_merge", "not_writable"}


def test_a_look_writes_nothing(lab: Lab) -> None:
    config = configured(lab)
    report = lab.cycle(config, write=False)
    assert (branches(lab), rows(report)["api"].outcome) == (["main"], "available")
    assert [written.branch for written in report.written] == [OURS]


def test_each_group_has_a_branch(lab: Lab) -> None:
    lab.push("acme/web", "1.2.0")
    config = configured(lab, "{kind: branch, branch: 'bots/{{ repository }}/{{ group }}'}", "{group_by: image}")
    lab.cycle(config)
    assert branches(lab) == ["bots/fleet/api", "bots/fleet/web", "main"]
    assert lab.show("fleet", "web.yaml", "bots/fleet/api") == PODS["web.yaml"]


def test_an_item_has_a_way_of_its_own(lab: Lab) -> None:
    lab.push("acme/web", "1.2.0")
    fleet = lab.repository("fleet", PODS)
    config = lab.configure(
        "repositories: [{url: FLEET}]\nimages:\n"
        "  - {image: HOST/acme/api, name: api, update: [{write_back: {kind: branch}}]}\n"
        "  - {image: HOST/acme/web, name: web}\n",
        fleet=fleet,
    )
    found = {name: row.reason for name, row in rows(lab.cycle(config)).items()}
    assert found["api"] == "awaiting_merge"
    assert (lab.show("fleet", "web.yaml"), lab.show("fleet", "api.yaml")) == (
        pod("HOST/acme/web:1.2.0"),
        PODS["api.yaml"],
    )


def test_a_name_that_is_the_target_itself_is_refused(lab: Lab) -> None:
    config = configured(lab, "{kind: branch, branch: '{{ branch }}'}")
    report = lab.cycle(config)
    assert "the very branch" in rows(report)["api"].why
    assert (rows(report)["api"].outcome, branches(lab)) == ("failed", ["main"])


@pytest.mark.parametrize(
    ("template", "why"),
    [("{{ branch }}", "the very branch"), ("bots", "in more than one way")],
    ids=["the target itself", "one branch for two groups"],
)
def test_what_can_go_nowhere_fails_beside_what_goes_straight(lab: Lab, template: str, why: str) -> None:
    lab.push("acme/web", "1.2.0")
    lab.push("acme/cron", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", PODS | {"cron.yaml": pod("HOST/acme/cron:1.0.0")})
    way = f"update: [{{write_back: {{kind: branch, branch: '{template}'}}}}]"
    config = lab.configure(
        "repositories: [{url: FLEET, commit: {group_by: image}}]\nimages:\n"
        f"  - {{image: HOST/acme/api, name: api, {way}}}\n  - {{image: HOST/acme/cron, name: cron, {way}}}\n"
        "  - {image: HOST/acme/web, name: web}\n",
        fleet=fleet,
    )
    found = rows(lab.cycle(config))
    assert {name: row.outcome for name, row in found.items()} == {"api": "failed", "cron": "failed", "web": "updated"}
    assert why in found["api"].why
    assert (branches(lab), lab.show("fleet", "api.yaml")) == (["main"], PODS["api.yaml"])


def test_a_race_for_our_branch_loses_nothing(lab: Lab) -> None:
    """Another machine of ours pushed between our look and our push: what it wrote is read again."""
    config = configured(lab)
    with build(load(config, {})) as world:
        clone = world.clone_of(world.settings.repositories[0])
        push, raced = clone.push, list[str]()

        def late(branch: str, base: str, revision: str) -> None:
            if not raced:
                raced.append(person_commits(lab.folder / "git" / "fleet.git", {"n.md": b"x\n"}, branch=OURS))
            push(branch, base, revision)

        clone.push = late  # type: ignore[method-assign]
        report = update(world, world.settings.items, NOW)
    assert (rows(report)["api"].reason, head(lab)) == ("human_edit", raced[0])
