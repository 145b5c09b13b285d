"""What items and markers say explicitly, and versions that are raised, from the configuration to the commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import Lab, open_lab, rows
from updater.config.images import VersionBump
from updater.config.load import load
from updater.daemon.build import build
from updater.errors import EditError
from updater.git.clone import Clone
from updater.pipeline.mentions import mentions
from updater.pipeline.raises import file_of, place_of, raised
from updater.pipeline.report import Outcome, Row

CHART = "apiVersion: v2\nname: api\nversion: {version}\nappVersion: 1.0.0\n"
VALUES = "web: {tag: 1.0.0}\njob: {tag: 1.0.0}\n"
CONFIG = """\
repositories: [{url: FLEET}]
images:
  - image: HOST/acme/api
    policy: {kind: semver}
    update:
      - paths: [charts/api/values.yaml]
        editor: {kind: yaml_path, tag: "*.tag"}
        bump: {}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as lab:
        lab.push("acme/api", "1.0.0", "1.1.0")
        yield lab


def test_an_explicit_place_and_the_chart_are_one_commit(lab: Lab) -> None:
    files = {
        "charts/api/values.yaml": VALUES,
        "charts/api/Chart.yaml": CHART.format(version="'0.3.9'"),
        "x.yaml": VALUES,
    }
    config = lab.configure(CONFIG, fleet=lab.repository("fleet", files))
    report = lab.cycle(config)
    assert [row.outcome for row in report.rows] == [Outcome.UPDATED, Outcome.UPDATED]
    assert lab.show("fleet", "charts/api/values.yaml") == VALUES.replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "charts/api/Chart.yaml") == CHART.format(version="'0.3.10'")
    assert lab.show("fleet", "x.yaml") == VALUES
    assert lab.commits("fleet")[:1] == ["Update HOST/acme/api to 1.1.0"]
    assert len(lab.commits("fleet")) == 2
    assert [row.outcome for row in lab.cycle(config).rows] == [Outcome.UP_TO_DATE, Outcome.UP_TO_DATE]
    assert len(lab.commits("fleet")) == 2


@pytest.mark.parametrize("version", ["1.2", "1.2.3-rc.1", "v1.2.3", "1.02.3", "|\n  1.2.3", "[1]", "{{ version }}"])
def test_a_version_that_cannot_be_raised_leaves_everything(lab: Lab, version: str) -> None:
    files = {"charts/api/values.yaml": VALUES, "charts/api/Chart.yaml": CHART.format(version=version)}
    files["web.yaml"] = "image: HOST/acme/web:1.0.0\n"
    lab.push("acme/web", "1.0.0", "1.1.0")
    config = lab.configure(CONFIG + "  - image: HOST/acme/web\n", fleet=lab.repository("fleet", files))
    report = lab.cycle(config)
    (web,) = [row for row in report.rows if row.item.image.endswith("web")]
    assert web.outcome is Outcome.UPDATED
    others = [row for row in report.rows if row is not web]
    assert {row.outcome for row in others} == {Outcome.FAILED}
    assert all(row.why.startswith("charts/api/Chart.yaml") for row in others)
    assert lab.show("fleet", "charts/api/values.yaml") == VALUES
    assert lab.show("fleet", "charts/api/Chart.yaml") == files["charts/api/Chart.yaml"]
    assert [failure.what for failure in report.failures] == [f"image {others[0].item.name}"]


def test_a_lost_race_raises_what_the_other_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pushes another version of the chart between our look and our push."""
    files = {"charts/api/values.yaml": VALUES, "charts/api/Chart.yaml": CHART.format(version="0.3.9")}
    config = lab.configure(CONFIG, fleet=lab.repository("fleet", files))
    push, pushed = Clone.push, list[str]()

    def late(self: Clone, branch: str, base: str, revision: str) -> None:
        if not pushed:
            pushed.append(base)
            text = CHART.format(version="0.4.0").encode()
            person_commits(lab.folder / "git" / "fleet.git", {"charts/api/Chart.yaml": text})
        push(self, branch, base, revision)

    monkeypatch.setattr(Clone, "push", late)
    lab.cycle(config)
    assert lab.show("fleet", "charts/api/Chart.yaml") == CHART.format(version="0.4.1")
    assert lab.show("fleet", "charts/api/values.yaml") == VALUES.replace("1.0.0", "1.1.0")


def test_a_path_that_leads_to_nothing_is_held_with_its_line(lab: Lab) -> None:
    config = lab.configure(CONFIG, fleet=lab.repository("fleet", {"charts/api/values.yaml": "other: 1\n"}))
    (row,) = lab.cycle(config).rows
    assert (row.outcome, row.reason) == (Outcome.HELD, "not_writable")
    assert row.why == "charts/api/values.yaml:1: the paths of its editor lead to nothing"


MARKED = """\
repositories: [{url: FLEET}]
images:
  - {image: HOST/acme/api, name: api, marker: flux-system:api, policy: {kind: semver}}
  - {image: HOST/acme/web, name: web, policy: {kind: semver}}
"""


def test_markers_from_the_configuration_to_the_commit(lab: Lab) -> None:
    lab.push("acme/web", "1.0.0", "1.1.0")
    text = (
        'api: 1.0.0 # {"$imagepolicy": "flux-system:api:tag"}\n'
        "web: 1.0.0 # updater: HOST/acme/web\n"
        "none: # updater: HOST/acme/web\n"
    )
    other = 'tag: 1.0.0 # {"$imagepolicy": "flux-system:other:tag"}\n'
    config = lab.configure(MARKED, fleet=lab.repository("fleet", {"a.yaml": text, "b.yaml": other}))
    report = lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == text.replace("1.0.0", "1.1.0")
    held = [row for row in report.rows if row.outcome is Outcome.HELD]
    assert [row.why for row in held] == ["a.yaml:3: its marker has no value on its line"]
    assert _owner(rows(report), "api") is Outcome.UPDATED
    with build(load(config, {}), everything=True) as world:
        found = mentions(world)
    assert [(skip["file"], skip["line"], skip["why"]) for skip in found.skipped] == [
        ("b.yaml", 1, "no image answers to the policy flux-system:other")
    ]
    assert [row["owner"] for row in found.rows] == ["api", "web", "web"]


def _owner(found: dict[str, Row], name: str) -> Outcome:
    return found[name].outcome


def test_two_items_that_name_one_place_are_contested(lab: Lab) -> None:
    text = CONFIG.replace("        bump: {}\n", "        name: a\n").replace('"*.tag"', "web.tag")
    text += "      - {name: b, paths: [charts/api/values.yaml], editor: {kind: yaml_path, tag: web.tag}}\n"
    config = lab.configure(text, fleet=lab.repository("fleet", {"charts/api/values.yaml": VALUES}))
    report = lab.cycle(config)
    assert [row.reason for row in report.rows if row.reference] == ["contested"]
    assert lab.show("fleet", "charts/api/values.yaml") == VALUES


FILES = {"Chart.yaml", "charts/api/Chart.yaml", "charts/web/values.yaml"}


@pytest.mark.parametrize(
    ("name", "changed", "found"),
    [
        ("Chart.yaml", "charts/api/values.yaml", "charts/api/Chart.yaml"),
        ("Chart.yaml", "charts/api/templates/deep/x.yaml", "charts/api/Chart.yaml"),
        ("Chart.yaml", "charts/api/Chart.yaml", "charts/api/Chart.yaml"),
        ("Chart.yaml", "charts/web/values.yaml", "Chart.yaml"),
        ("Chart.yaml", "values.yaml", "Chart.yaml"),
        ("./Chart.yaml", "charts/api/values.yaml", "Chart.yaml"),
        ("charts/api/Chart.yaml", "charts/web/values.yaml", "charts/api/Chart.yaml"),
        ("charts/web/Chart.yaml", "charts/web/values.yaml", None),
        ("version.yaml", "charts/api/values.yaml", None),
    ],
)
def test_which_file_is_raised(name: str, changed: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(EditError, match=r"no .* whose version is to be raised"):
            file_of(VersionBump(file=name), changed, FILES)
    else:
        assert file_of(VersionBump(file=name), changed, FILES) == found


@pytest.mark.parametrize(("part", "after"), [("patch", "1.9.10"), ("minor", "1.10.0"), ("major", "2.0.0")])
def test_the_next_version(part: str, after: str) -> None:
    assert raised("1.9.9", part) == after


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "too large"),
        (b"version: [", "broken YAML"),
        (b"\xff", "not UTF-8"),
        (b"name: x", "leads to no values"),
        (b"version: 1.2.3\n---\nversion: 1.2.3\n", "leads to 2 values"),
        (b"version: &v 1.2.3\nother: *v\n", "it is shared"),
    ],
)
def test_what_cannot_be_raised_says_why(content: bytes | None, why: str) -> None:
    with pytest.raises(EditError, match=why):
        place_of(VersionBump(), "Chart.yaml", content)
