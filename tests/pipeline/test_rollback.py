"""Going back, on real servers on loopback: what is written, what is held, and what cannot be known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import git, hook, person_commits
from tests.lab.path import WholePath, changed_lines, commits, head, manifest, trailers, values
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.look import World
from updater.pipeline.report import Outcome, Report
from updater.pipeline.rollback import HOLD, rollback
from updater.pipeline.update import update

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=2)
UNTIL = NOW + HOLD


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        yield opened


@contextmanager
def world(path: WholePath) -> Iterator[World]:
    with build(load(path.config, path.environment())) as made:
        made.patience = 0.01
        yield made


def cycle(path: WholePath, now: datetime = NOW) -> Report:
    with world(path) as made:
        return update(made, made.settings.items, now)


def back(path: WholePath, to: str | None = None, now: datetime = NOW, only: str = "") -> Report:
    with world(path) as made:
        items = [item for item in made.settings.items if item.name.startswith(only)]
        return rollback(made, items, to, now, now + HOLD)


def fleet(path: WholePath, files: Mapping[str, bytes], *tags: str, **fields: Any) -> Path:
    """A repository with these files, and a cycle for each of the tags."""
    bare = path.create("fleet", files)
    path.configure([path.entry("acme/api", **fields)])
    for n, tag in enumerate(tags):
        path.push("acme/api", tag)
        cycle(path, NOW - timedelta(days=9) + timedelta(days=n))
    return bare


def api(path: WholePath, tag: str) -> bytes:
    return manifest(path.image("acme/api"), tag)


def show(bare: Path, file: str) -> bytes:
    return git(bare, "show", f"main:{file}").encode() + b"\n"


def outcomes(report: Report) -> list[tuple[str, str | None]]:
    return [(row.outcome.value, row.target) for row in report.rows]


def held(path: WholePath, now: datetime = NOW) -> dict[str, tuple[str, str | None, datetime | None]]:
    with world(path) as made:
        people = made.memory().holds.read(now)
    return {name: (one.hold.by, one.hold.tag, one.hold.until) for name, one in people.items() if one.hold}


def test_what_stood_there_before_comes_back_in_one_commit_and_is_held(path: WholePath) -> None:
    image = path.image("acme/api")
    files = {"a.yaml": api(path, "1.0.0"), "v.yaml": values(image, "1.0.0"), "README.md": b"hi\n"}
    bare = fleet(path, files, "1.0.0", "1.1.0", "1.2.0")
    before = head(bare)
    report = back(path)
    assert (outcomes(report), report.failures) == ([("updated", "1.1.0")] * 2, [])
    (revision,) = commits(bare, before)
    assert changed_lines(bare, f"{before}~1", revision) == []
    message = git(bare, "log", "-1", "--format=%B", revision)
    assert message.startswith(f"Update {image} to 1.1.0\n\n- {image} 1.2.0 -> 1.1.0 in a.yaml:")
    assert trailers(bare, revision, "Image-Update") == [f"{image} 1.2.0 -> 1.1.0"]
    assert trailers(bare, revision, "Image-Hold") == [f"{image} until 2026-11-30T08:00:00Z"]
    assert trailers(bare, revision, "Image-Reason") == [f"{image} rolled back by a person to what stood before 1.2.0"]
    assert held(path) == {"api": ("rollback", "1.1.0", UNTIL)}
    again = cycle(path)
    assert ({row.reason for row in again.rows}, head(bare)) == ({"held"}, revision)


def test_each_rollback_goes_further_back(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0", "1.2.0")
    assert [outcomes(back(path)) for _ in range(2)] == [[("updated", "1.1.0")], [("updated", "1.0.0")]]
    before = head(bare)
    report = back(path)
    assert [row.outcome for row in report.rows] == [Outcome.FAILED]
    (failure,) = report.failures
    assert failure.what == "image api"
    assert "fleet a.yaml:" in failure.error
    assert "no commit of ours wrote 1.0.0 here" in failure.error
    assert head(bare) == before


def test_a_tag_that_is_named(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0"), "b.yaml": api(path, "0.9.0")}, "0.9.0", "1.0.0", "1.1.0", "1.2.0")
    report = back(path, "0.9.0")
    assert outcomes(report) == [("updated", "0.9.0"), ("up_to_date", None)]  # a major step is not ours to make
    assert show(bare, "a.yaml") == show(bare, "b.yaml") == api(path, "0.9.0")
    assert held(path) == {"api": ("rollback", "0.9.0", UNTIL)}
    again = back(path, "0.9.0")
    assert (outcomes(again), again.failures, again.commits) == ([("up_to_date", None)] * 2, [], [])


def test_a_tag_that_the_registry_does_not_have_is_not_written(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    before = head(bare)
    report = back(path, "1.0.1")
    assert [failure.error.partition(": ")[2] for failure in report.failures] == [
        f"{path.image('acme/api')} has no tag 1.0.1"
    ]
    assert (head(bare), held(path)) == (before, {})


def test_going_back_needs_no_registry_where_git_knows_what_stood_there(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    settings = json.loads(path.config.read_text())
    path.config.write_text(
        json.dumps(settings | {"registries": [{"host": path.registry.host, "endpoint": "https://127.0.0.1:9"}]})
    )
    assert outcomes(back(path)) == [("updated", "1.0.0")]
    assert show(bare, "a.yaml") == api(path, "1.0.0")


@pytest.mark.parametrize("write", ["digest", "tag_digest"])
def test_tag_and_digest_go_back_together(path: WholePath, write: str) -> None:
    image = path.image("acme/api")
    old = path.push("acme/api", "1.0.0")
    start = f"1.0.0@{old}"
    bare = path.create("fleet", {"a.yaml": api(path, start)})
    path.configure([path.entry("acme/api", write=write)])
    new = path.push("acme/api", "1.1.0")
    assert outcomes(cycle(path, NOW - timedelta(days=2))) == [
        ("updated", f"@{new}" if write == "digest" else f"1.1.0@{new}")
    ]
    assert trailers(bare, "main", "Image-Digest") == [f"{image} 1.1.0 {new}"]
    back(path)
    assert show(bare, "a.yaml") == api(path, start)
    assert trailers(bare, "main", "Image-Digest") == [f"{image} 1.0.0 {old}"]
    assert held(path)["api"][1] == "1.0.0"
    back(path, "1.1.0")
    assert show(bare, "a.yaml") == api(path, f"1.1.0@{new}").replace(b":1.1.0@" if write == "digest" else b"!", b"@")


def test_what_a_person_wrote_since_stays_and_the_rest_goes_back(path: WholePath) -> None:
    bare = fleet(path, {f"{n}.yaml": api(path, "1.0.0") for n in "ab"}, "1.0.0", "1.1.0")
    path.push("acme/api", "1.2.0")
    person_commits(bare, {"a.yaml": api(path, "1.2.0")})
    report = back(path)
    assert outcomes(report) == [("failed", None), ("updated", "1.0.0")]
    assert (show(bare, "a.yaml"), show(bare, "b.yaml")) == (api(path, "1.2.0"), api(path, "1.0.0"))
    assert len(report.failures) == 1


def test_only_what_is_named_goes_back(path: WholePath) -> None:
    items = [{"name": env, "repository": "fleet", "paths": [f"{env}/**"]} for env in ("dev", "prod")]
    files = {f"{env}/a.yaml": api(path, "1.0.0") for env in ("dev", "prod")}
    bare = fleet(path, files, "1.0.0", "1.1.0", update=items)
    assert outcomes(back(path, only="api/prod")) == [("updated", "1.0.0")]
    assert (show(bare, "prod/a.yaml"), show(bare, "dev/a.yaml")) == (api(path, "1.0.0"), api(path, "1.1.0"))
    assert set(held(path)) == {"api/prod"}
    path.push("acme/api", "1.2.0")
    assert {row.item.name: row.outcome.value for row in cycle(path, LATER).rows} == {
        "api/dev": "updated",
        "api/prod": "held",
    }


def test_the_hold_is_read_from_git_where_the_state_is_lost(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    back(path)
    for file in path.data.glob("state.db*"):
        file.unlink()
    (row,) = cycle(path, LATER).rows
    assert (row.reason, show(bare, "a.yaml")) == ("held", api(path, "1.0.0"))
    (row,) = cycle(path, UNTIL + timedelta(minutes=1)).rows
    assert (row.outcome, row.target) == (Outcome.UPDATED, "1.1.0")


def test_resumed_it_goes_on_at_once(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    back(path)
    with world(path) as made:
        made.memory().holds.resume("api", NOW + timedelta(minutes=5))
    (row,) = cycle(path, NOW + timedelta(minutes=6)).rows
    assert (row.outcome, show(bare, "a.yaml")) == (Outcome.UPDATED, api(path, "1.1.0"))


STYLES = {
    "plain.yaml": "image:\n  repository: IMAGE\n  tag: v1\n",
    "single.yaml": "image:\n  repository: IMAGE\n  tag: 'v1'  # here\n",
    "apart.yaml": "image:\n  repository: IMAGE\n  tag: v1\n  digest: ''\n",
    "split.yaml": 'image:\n  registry: "HOST"\n  repository: acme/api\n  tag: v1\n',
    "inline.yaml": "image: IMAGE:v1 # inline\r\nx: 1\r\n",
    "flow.yaml": "{image: {repository: IMAGE, tag: v1}, other: {image: 'IMAGE:v1'}}",
    "two.yaml": "a:\n  image: IMAGE:v1\nb:\n  image: 'IMAGE:v1'\nc:\n  image: \"IMAGE:v1\"\n",
    "kustomization.yaml": "kind: Kustomization\nimages:\n  - {name: IMAGE, newTag: v1}\n",
}


@pytest.mark.parametrize("to", [None, "v1"])
@pytest.mark.parametrize("write", ["tag", "tag_digest"])
def test_the_former_bytes_come_back(path: WholePath, write: str, to: str | None) -> None:
    """Quotes that a number needed, digests that were added: nothing of it stays, in whatever file."""
    image = path.image("acme/api")
    files = {
        name: text.replace("IMAGE", image).replace("HOST", path.registry.host).encode() for name, text in STYLES.items()
    }
    bare = path.create("fleet", files)
    fields: dict[str, Any] = {"policy": {"kind": "numerical"}, "tags": {"pattern": "^v?([0-9]+)$", "extract": "$1"}}
    path.configure([path.entry("acme/api", write=write, **fields)])
    path.push("acme/api", "v1")
    path.push("acme/api", "2")
    cycle(path)
    assert b'tag: "2' in show(bare, "plain.yaml") or write == "tag_digest"
    assert all(show(bare, name).rstrip() != content.rstrip() for name, content in files.items())
    report = back(path, to)
    assert {row.outcome for row in report.rows} == {Outcome.UPDATED}
    for name, content in files.items():
        if to is None or write == "tag":
            assert git(bare, "cat-file", "blob", f"main:{name}").encode() == content.removesuffix(b"\n"), name
        else:
            assert b"@sha256" in show(bare, name) or b"digest: 'sha256" in show(bare, name), name


def test_going_back_twice_and_by_name_gives_the_bytes_of_each_time(path: WholePath) -> None:
    image = path.image("acme/api")
    texts = [f"image:\n  repository: {image}\n  tag: {tag}\n".encode() for tag in ("v1", '"2"', '"3"')]
    bare = path.create("fleet", {"v.yaml": texts[0]})
    fields: dict[str, Any] = {"policy": {"kind": "numerical"}, "tags": {"pattern": "^v?([0-9]+)$", "extract": "$1"}}
    path.configure([path.entry("acme/api", **fields)])
    for n, tag in enumerate(("v1", "2", "3")):
        path.push("acme/api", tag)
        cycle(path, NOW - timedelta(days=9 - n))
    assert show(bare, "v.yaml") == texts[2]
    back(path)
    assert show(bare, "v.yaml") == texts[1]
    back(path)
    assert show(bare, "v.yaml") == texts[0]
    back(path, "3")
    back(path, "v1")
    assert show(bare, "v.yaml") == texts[0]


def test_a_commit_that_did_more_is_gone_back_from_by_its_values(path: WholePath) -> None:
    """A squash that also moved other references leaves nothing to lay side by side."""
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    message = git(bare, "log", "-1", "--format=%B", "main")
    git(bare, "update-ref", "refs/heads/main", "main~1")
    more = api(path, "1.1.0") + b"---\n" + api(path, "1.1.0")
    person_commits(bare, {"a.yaml": more}, message)
    assert outcomes(back(path)) == [("updated", "1.0.0")] * 2
    assert show(bare, "a.yaml") == more.replace(b"1.1.0", b"1.0.0")


def test_a_branch_that_moves_meanwhile_is_read_again(path: WholePath) -> None:
    """Somebody pushes before us, twice: our commit stands on theirs, and both are there."""
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    racer = (
        'test -f "$GIT_DIR/two" && exit 0; test -f "$GIT_DIR/one" && touch "$GIT_DIR/two"; touch "$GIT_DIR/one"\n'
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
        'new=$(git -c user.name=P -c user.email=p@p commit-tree -m Theirs -p main "main^{tree}")\n'
        "git update-ref refs/heads/main $new"
    )
    hook(bare, "pre-receive", racer)
    report = back(path)
    assert (outcomes(report), report.failures) == ([("updated", "1.0.0")], [])
    assert [subject.split(" ")[0] for subject in git(bare, "log", "-3", "--format=%s").splitlines()] == [
        "Update",
        "Theirs",
        "Theirs",
    ]


def test_a_push_that_is_refused_holds_nothing(path: WholePath) -> None:
    bare = fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    hook(bare, "pre-receive", "echo protected >&2; exit 1")
    report = back(path)
    assert [row.outcome for row in report.rows] == [Outcome.FAILED]
    assert [failure.what for failure in report.failures] == ["repository fleet"]
    assert held(path) == {}


def test_what_is_watched_suspended_or_nowhere_is_said(path: WholePath) -> None:
    fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    for fields, said in (
        ({"update": []}, "only watched"),
        ({"suspend": True}, "suspended in the configuration"),
        ({"update": [{"repository": "fleet", "paths": ["nowhere/**"]}]}, "mentioned nowhere"),
    ):
        path.configure([path.entry("acme/api", **fields)])
        report = back(path)
        assert report.commits == []
        assert [said in failure.error for failure in report.failures] == [True], said


def test_a_hold_that_lasts_longer_stays_as_it_is(path: WholePath) -> None:
    """Who froze an image for good does not find it thawed a week after a rollback."""
    fleet(path, {"a.yaml": api(path, "1.0.0")}, "1.0.0", "1.1.0")
    with world(path) as made:
        made.memory().holds.hold("api", "freeze", NOW)
    assert outcomes(back(path)) == [("updated", "1.0.0")]
    assert held(path, NOW + 2 * HOLD) == {"api": ("hold", None, None)}
