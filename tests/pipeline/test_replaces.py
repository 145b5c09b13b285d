"""Former names of an image, on real servers on loopback: which references are rewritten, to what, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import git, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.history import history
from updater.pipeline.mentions import mentions
from updater.pipeline.report import Report
from updater.pipeline.rollback import rollback
from updater.pipeline.update import update

CONFIG = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, replaces: [HOST/old/api]%s}]\n"
KUSTOMIZATION = "kind: Kustomization\nimages:\n  - name: api\n    newName: 'HOST/old/api'  # ours\n    newTag: 1.0.0\n"
LONE = "kind: Kustomization\nimages:\n  - name: HOST/old/api\n    newTag: 1.0.0\n"
VALUES = 'image:\n  registry: "HOST"  # where\n  repository: old/api\n  tag: 1.0.0\n'
REPEATED = "image:\n  registry: HOST\n  repository: HOST/old/api\n  tag: 1.0.0\n"
HUB = "image:\n  registry: docker.io\n  repository: old/api\n  tag: 1.0.0\n"
DAY = timedelta(days=1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


def fleet(lab: Lab, files: dict[str, str], *tags: str, more: str = "", config: str = CONFIG) -> Path:
    """A registry with the new image at these tags, a repository with these files, and the configuration."""
    lab.push("acme/api", *tags)
    return lab.configure(config.replace("%s", more), fleet=lab.repository("fleet", files))


def told(report: Report) -> list[tuple[str, str | None, str | None]]:
    return [(row.outcome.value, row.target, row.reason if row.outcome.value == "held" else None) for row in report.rows]


def person(lab: Lab, files: dict[str, str]) -> None:
    person_commits(lab.folder / "git" / "fleet.git", {path: lab.spell(text) for path, text in files.items()})


def trailers(lab: Lab, key: str) -> list[str]:
    shown = lab.run("fleet", "log", "-1", f"--format=%(trailers:key={key},valueonly)", "main")
    return shown.replace(lab.registry.host, "HOST").split("\n")[:-2]


def back(lab: Lab, config: Path, to: str | None = None) -> Report:
    with build(load(config, {})) as world:
        return rollback(world, world.settings.items, to, NOW + DAY, NOW + 2 * DAY)


def test_the_new_name_and_the_new_tag_are_written_in_one_commit(lab: Lab) -> None:
    files = {
        "a.yaml": pod("HOST/old/api:1.0.0", "HOST/acme/api:1.0.0", "HOST/other/api:1.0.0"),
        "k/kustomization.yaml": KUSTOMIZATION,
    }
    config = fleet(lab, files | {"v.yaml": VALUES, "r.yaml": REPEATED, "h.yaml": HUB}, "1.0.0", "1.1.0")
    report = lab.cycle(config)
    assert told(report) == [("updated", "1.1.0", None)] * 5
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0", "HOST/acme/api:1.1.0", "HOST/other/api:1.0.0")
    assert lab.show("fleet", "k/kustomization.yaml") == KUSTOMIZATION.replace("old", "acme").replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "v.yaml") == VALUES.replace("old", "acme").replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "r.yaml") == REPEATED.replace("old", "acme").replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "h.yaml") == HUB
    message = lab.run("fleet", "log", "-1", "--format=%B", "main").replace(lab.registry.host, "HOST")
    assert message.startswith("Update HOST/acme/api to 1.1.0\n")
    assert (
        "- HOST/old/api:1.0.0 -> HOST/acme/api:1.1.0 in a.yaml:5\n- HOST/acme/api 1.0.0 -> 1.1.0 in a.yaml:6\n"
        in message
    )
    assert trailers(lab, "Image-Update") == ["HOST/acme/api 1.0.0 -> 1.1.0"]
    assert "in place of HOST/old/api" in trailers(lab, "Image-Reason")[0]
    again = lab.cycle(config)
    assert ({row.reason for row in again.rows}, again.commits) == ({"up_to_date"}, [])


def test_the_registry_is_split_from_the_name_where_git_splits_it(lab: Lab) -> None:
    config = fleet(lab, {"h.yaml": HUB}, "1.0.0", config=CONFIG.replace("[HOST/old/api]", "[old/api]"))
    lab.cycle(config)
    assert lab.show("fleet", "h.yaml") == HUB.replace("docker.io", "HOST").replace("old/api", "acme/api")


def test_the_best_tag_that_git_has_stays_under_the_new_name(lab: Lab) -> None:
    config = fleet(lab, {"a.yaml": pod("HOST/old/api:1.1.0")}, "1.0.0", "1.1.0")
    assert told(lab.cycle(config)) == [("updated", "1.1.0", None)]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")
    assert trailers(lab, "Image-Update") == ["HOST/acme/api 1.1.0 -> 1.1.0"]


@pytest.mark.parametrize(
    ("tags", "more", "reason"),
    [
        (["0.9.0"], "", "no_match"),
        (["0.9.0", "2.0.0"], "", "no_match"),
        (["1.0.0"], ", platforms: [linux/riscv64]", "platform_missing"),
        (["1.0.0"], ", min_age: 30d", "min_age"),
        (["1.0.0"], ", windows: [{kind: deny, schedule: '0 0 * * *', duration: 24h}]", "window_closed"),
        (["1.0.0"], ", suspend: true", "suspended"),
        (["1.0.0"], ", update: []", ""),
    ],
)
def test_what_stops_a_version_stops_a_name(lab: Lab, tags: list[str], more: str, reason: str) -> None:
    text = pod("HOST/old/api:1.0.0")
    report = lab.cycle(fleet(lab, {"a.yaml": text}, *tags, more=more))
    assert told(report) == ([("held", None, reason)] if reason else [("available", "1.0.0", None)])
    assert (lab.show("fleet", "a.yaml"), len(lab.commits("fleet"))) == (text, 1)


def test_a_version_that_waits_does_not_keep_the_name_waiting(lab: Lab) -> None:
    lab.cycle(fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "1.0.0", "2.0.0"))
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0")


def test_a_tag_that_the_new_image_lacks_is_no_obstacle_to_a_newer_one(lab: Lab) -> None:
    lab.cycle(fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "1.1.0"))
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")


def test_a_name_that_kustomize_matches_by_stays(lab: Lab) -> None:
    report = lab.cycle(fleet(lab, {"kustomization.yaml": LONE}, "1.0.0", "1.1.0"))
    assert told(report) == [("held", None, "not_writable")]
    assert "the entry has no newName" in report.rows[0].why
    assert lab.show("fleet", "kustomization.yaml") == LONE


def test_a_name_that_a_kustomization_finds_stays_in_its_resources(lab: Lab) -> None:
    """Else the kustomization would find nothing any more, and the tag of the resource would run."""
    files = {"base/a.yaml": pod("HOST/old/api:1.0.0"), "other.yaml": "image: HOST/old/api:1.0.0\n"}
    mapped = KUSTOMIZATION.replace("name: api", "name: HOST/old/api")
    report = lab.cycle(fleet(lab, files | {"kustomization.yaml": mapped}, "1.0.0", "1.1.0"))
    assert sorted((row.reference.file, row.outcome.value) for row in report.rows if row.reference) == [
        ("base/a.yaml", "held"),
        ("kustomization.yaml", "updated"),
        ("other.yaml", "held"),
    ]
    assert {row.why.partition("kustomize ")[2] for row in report.rows if row.outcome.value == "held"} == {
        "finds it by this name, see kustomization.yaml:5"
    }
    assert lab.show("fleet", "base/a.yaml") == files["base/a.yaml"]
    assert lab.show("fleet", "kustomization.yaml") == mapped.replace("'HOST/old", "'HOST/acme").replace(
        "1.0.0", "1.1.0"
    )


@pytest.mark.parametrize(
    ("policy", "tags"), [("", ["1.0.0", "1.1.0"]), ("", ["1.0.0"]), (", policy: {kind: digest, tag: 1.0.0}", ["1.0.0"])]
)
def test_the_digest_is_that_of_the_new_image(lab: Lab, policy: str, tags: list[str]) -> None:
    old = lab.push("old/api", "1.0.0")
    config = fleet(lab, {"a.yaml": pod(f"HOST/old/api:1.0.0@{old}")}, *tags, more=policy)
    new = lab.push("acme/api", tags[-1])
    assert old != new
    assert told(lab.cycle(config)) == [("updated", f"{tags[-1]}@{new}", None)]
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:{tags[-1]}@{new}")


def test_an_alias_of_the_same_registry_is_kept(lab: Lab) -> None:
    config = fleet(lab, {"a.yaml": pod("mirror.example/old/api:1.0.0", "elsewhere.example/old/api:1.0.0")}, "1.0.0")
    text = config.read_text().replace("replaces: [", "replaces: [elsewhere.example/old/api, ")
    config.write_text(text.replace("insecure: true", "insecure: true, aliases: [mirror.example]"))
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod("mirror.example/acme/api:1.0.0", "HOST/acme/api:1.0.0")


@pytest.mark.parametrize("tag", ["1.0.0", "1.1.0"])
def test_a_person_who_puts_the_former_name_back_is_respected_until_it_is_resumed(lab: Lab, tag: str) -> None:
    text = pod("HOST/old/api:1.0.0")
    config = fleet(lab, {"a.yaml": text}, "1.0.0", "1.1.0")
    lab.cycle(config)
    person(lab, {"a.yaml": pod(f"HOST/old/api:{tag}")})
    for days in (1, 9):
        assert told(lab.cycle(config, NOW + days * DAY)) == [("held", None, "human_rollback")]
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/old/api:{tag}")
    with build(load(config, {})) as world:  # commits carry the time of the machine, so long after them all
        world.memory().holds.resume("HOST/acme/api".replace("HOST", lab.registry.host), NOW + 9000 * DAY)
    with build(load(config, {})) as world:
        update(world, world.settings.items, NOW + 9001 * DAY)
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")


def test_going_back_restores_the_former_name_and_holds_it(lab: Lab) -> None:
    files = {"a.yaml": pod("HOST/old/api:1.0.0"), "k/kustomization.yaml": KUSTOMIZATION, "v.yaml": VALUES}
    config = fleet(lab, files, "1.0.0", "1.1.0")
    lab.cycle(config)
    report = back(lab, config)
    assert (told(report), report.failures) == ([("updated", "1.0.0", None)] * 3, [])
    assert {path: lab.show("fleet", path) for path in files} == files
    assert trailers(lab, "Image-Update") == ["HOST/acme/api 1.1.0 -> 1.0.0"]
    assert told(lab.cycle(config, NOW + DAY)) == [("held", None, "held")] * 3
    assert told(lab.cycle(config, NOW + 3 * DAY)) == [("updated", "1.1.0", None)] * 3


def test_a_name_that_changed_alone_goes_back_alone(lab: Lab) -> None:
    text = pod("HOST/old/api:1.0.0")
    config = fleet(lab, {"a.yaml": text}, "1.0.0")
    lab.cycle(config)
    assert told(back(lab, config)) == [("updated", "1.0.0", None)]
    assert lab.show("fleet", "a.yaml") == text


def test_a_tag_that_is_named_is_one_of_the_name_in_git(lab: Lab) -> None:
    lab.push("old/api", "0.8.0")
    config = fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "0.9.0")
    assert back(lab, config, "0.9.0").failures
    assert told(back(lab, config, "0.8.0")) == [("updated", "0.8.0", None)]
    assert lab.show("fleet", "a.yaml") == pod("HOST/old/api:0.8.0")


def test_history_and_find_know_both_names(lab: Lab) -> None:
    lab.push("old/api", "1.0.0", "1.1.0")
    config = fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "1.1.0", "1.2.0")
    whole = config.read_text()
    before = whole.replace(
        f"image: {lab.registry.host}/acme/api, replaces: [{lab.registry.host}/old/api]",
        f"image: {lab.registry.host}/old/api",
    )
    assert before != whole
    config.write_text(before)
    lab.cycle(config)
    config.write_text(whole)
    with build(load(config, {}), everything=True) as world:
        (row,) = mentions(world).rows
    assert (row["image"], row["owner"]) == (f"{lab.registry.host}/old/api", f"{lab.registry.host}/acme/api")
    lab.cycle(config, NOW + DAY)
    with build(load(config, {})) as world:
        found = history(world, world.settings.items, 10)
    assert [(row["image"].removeprefix(lab.registry.host), row["old"], row["new"]) for row in found.rows] == [
        ("/acme/api", "1.1.0", "1.2.0"),
        ("/old/api", "1.0.0", "1.1.0"),
    ]


def test_two_daemons_that_want_opposite_names_stop(lab: Lab) -> None:
    """One replaces the old name by the new one, the other the new by the old: one round, and both rest."""
    lab.push("old/api", "1.0.0")
    config = fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "1.0.0")
    text = config.read_text()
    other = lab.folder / "other.yaml"
    swapped = text.replace("acme/api", "NEW").replace("old/api", "acme/api").replace("NEW", "old/api")
    other.write_text(swapped.replace("/data", "/other"))
    reasons: list[str | None] = []
    for hours in range(8):
        for one in (config, other):
            reasons += [row.reason for row in lab.cycle(one, NOW + timedelta(hours=hours)).rows]
    ours = [subject for subject in lab.commits("fleet") if subject.startswith("Update")]
    assert len(ours) == 1
    assert reasons[1:] == ["flapping", "up_to_date"] * 7 + ["flapping"]
    assert git(lab.folder / "git" / "fleet.git", "rev-list", "--count", "main") == str(1 + len(ours))


def test_a_name_may_be_replaced_a_second_time(lab: Lab) -> None:
    config = fleet(lab, {"a.yaml": pod("HOST/old/api:1.0.0")}, "1.0.0")
    lab.cycle(config)
    lab.push("third/api", "1.0.0")
    host = lab.registry.host
    text = config.read_text().replace("acme/api", "third/api").replace("replaces: [", f"replaces: [{host}/acme/api, ")
    config.write_text(text)
    lab.cycle(config, NOW + timedelta(hours=1))
    assert lab.show("fleet", "a.yaml") == pod("HOST/third/api:1.0.0")
