"""What becomes one commit, when, and in which words, on real servers on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.report import Outcome, Report
from updater.pipeline.update import update

PODS = {"a/api.yaml": pod("HOST/acme/api:1.0.0"), "b/web.yaml": pod("HOST/acme/web:1.0.0", "HOST/acme/api:1.0.0")}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        opened.push("acme/api", "1.0.0", "1.1.0")
        opened.push("acme/web", "1.0.0", "1.2.0")
        yield opened


def configured(lab: Lab, commit: str, files: dict[str, str] | None = None) -> Path:
    fleet = lab.repository("fleet", files or PODS)
    return lab.configure(
        f"repositories: [{{url: FLEET, commit: {commit}}}]\nimages:\n"
        "  - {image: HOST/acme/api, name: api, labels: {team: red}}\n"
        "  - {image: HOST/acme/web, name: web}\n",
        fleet=fleet,
    )


@pytest.mark.parametrize(
    ("by", "subjects"),
    [
        ("cycle", ["Update 2 images"]),
        ("image", ["Update HOST/acme/web to 1.2.0", "Update HOST/acme/api to 1.1.0"]),
        ("path", ["Update 2 images", "Update HOST/acme/api to 1.1.0"]),
        ("team", ["Update HOST/acme/api to 1.1.0", "Update HOST/acme/web to 1.2.0"]),  # others < red
    ],
)
def test_each_group_is_a_commit(lab: Lab, by: str, subjects: list[str]) -> None:
    report = lab.cycle(configured(lab, f"{{group_by: {by}}}"))
    assert lab.commits("fleet")[:-1] == subjects
    assert lab.show("fleet", "a/api.yaml") == PODS["a/api.yaml"].replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "b/web.yaml") == pod("HOST/acme/web:1.2.0", "HOST/acme/api:1.1.0")
    assert [commit.revision for commit in report.commits] == lab.run(
        "fleet", "rev-list", "--reverse", "HEAD"
    ).splitlines()[1:]
    assert {row.outcome for row in report.rows} == {Outcome.UPDATED}
    assert len(report.landed) == len(subjects)


def test_each_commit_changes_only_what_it_says(lab: Lab) -> None:
    lab.cycle(configured(lab, "{group_by: image}"))
    first = lab.run("fleet", "show", "HEAD~1", "--format=%b")
    assert ("web.yaml:6" in first, "api.yaml:5" in first, "1.2.0" in first) == (True, True, False)


def test_a_group_whose_file_cannot_be_written_stops_no_other(lab: Lab) -> None:
    lab.registry.requests.clear()
    config = configured(lab, "{group_by: image}", PODS | {"c.yaml": pod("HOST/acme/api:1.0.0")})
    with build(load(config, {})) as world:
        report = update(world, world.settings.items, NOW)
    assert (report.failures, len(report.commits)) == ([], 2)


def test_templates_word_the_commit_and_trailers_stay(lab: Lab) -> None:
    subject = "chore({{ group }}): {{ subject }} [skip ci]"
    line = "* {{ c.image }} {{ c.old }} to {{ c.new }} in {{ c.file }}\n"
    body = "{% for c in changes %}" + line + "{% endfor %}Image-Update: forged"
    config = configured(lab, f"{{subject: {json.dumps(subject)}, body: {json.dumps(body)}}}")
    lab.cycle(config)
    lines = lab.run("fleet", "log", "-1", "--format=%B").replace(lab.registry.host, "HOST").splitlines()
    assert lines[0] == "chore(main): Update 2 images [skip ci]"
    assert lines[2:6] == [
        "* HOST/acme/api 1.0.0 to 1.1.0 in a/api.yaml",
        "* HOST/acme/web 1.0.0 to 1.2.0 in b/web.yaml",
        "* HOST/acme/api 1.0.0 to 1.1.0 in b/web.yaml",
        "> Image-Update: forged",
    ]
    assert [line for line in lines if line.startswith("Image-Update: ")] == [
        "Image-Update: HOST/acme/api 1.0.0 -> 1.1.0",
        "Image-Update: HOST/acme/web 1.0.0 -> 1.2.0",
    ]


def test_a_template_that_fails_costs_its_words_and_no_update(lab: Lab) -> None:
    report = lab.cycle(configured(lab, "{subject: \"{{ changes[7].image if changed != 'sample' else '' }}\"}"))
    assert lab.commits("fleet")[0] == "Update 2 images"
    assert [failure.what for failure in report.failures] == ["the commit template of fleet"]


class TestBatch:
    """One world lives through several cycles, as in the daemon."""

    def test_changes_are_collected_and_then_written_together(self, lab: Lab) -> None:
        config = configured(lab, "{batch: 10m}")
        with build(load(config, {})) as world:
            api, web = world.settings.items

            def cycle(minutes: int, *items: object) -> Report:
                return update(
                    world, [i for i in (api, web) if i in items], NOW + timedelta(minutes=minutes), patient=True
                )

            first = cycle(0, api)
            assert (first.commits, {row.reason for row in first.rows}) == ([], {"window_closed"})
            assert first.collected == {"api": NOW + timedelta(minutes=10)}
            second = cycle(4, web)
            assert (second.commits, second.collected) == ([], {"web": NOW + timedelta(minutes=10)})
            third = cycle(10, api)  # web is written with it, although it is not due by itself
            assert (len(third.commits), lab.commits("fleet")[0]) == (1, "Update 2 images")
            lab.push("acme/api", "1.1.1")
            assert cycle(11, api).collected == {"api": NOW + timedelta(minutes=21)}  # a new window

    def test_once_does_not_wait(self, lab: Lab) -> None:
        assert len(lab.cycle(configured(lab, "{batch: 10m}")).commits) == 1
