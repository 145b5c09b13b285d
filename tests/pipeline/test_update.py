"""Loop one on real servers on loopback: what is written, what is held, and that one bad thing stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import hook, person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod, rows
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.image import push_image
from updater.errors import GitError
from updater.git.clone import Clone
from updater.model.decision import Reason
from updater.pipeline.commit import PUSH_TRIES
from updater.pipeline.history import history
from updater.pipeline.mentions import mentions
from updater.pipeline.report import Outcome, Report
from updater.pipeline.update import update


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


def test_every_kind_of_file_changes_in_one_commit(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0", "2.0.0")
    values = "image:\n  repository: HOST/acme/api\n  tag: '1.0.0' # here\n"
    kustomization = (
        "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1\nimages: [{name: HOST/acme/api, newTag: 1.0.0}]\n"
    )
    fleet = lab.repository(
        "fleet", {"a.yaml": pod("HOST/acme/api:1.0.0"), "v.yaml": values, "k/kustomization.yaml": kustomization}
    )
    config = lab.configure(
        "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, policy: {kind: semver, range: 1.x}}]\n",
        fleet=fleet,
    )
    report = lab.cycle(config)
    assert lab.commits("fleet")[:-1] == ["Update HOST/acme/api to 1.1.0"]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")
    assert lab.show("fleet", "v.yaml") == values.replace("1.0.0", "1.1.0")
    assert lab.show("fleet", "k/kustomization.yaml") == kustomization.replace("1.0.0", "1.1.0")
    assert [row.outcome for row in report.rows] == [Outcome.UPDATED] * 3
    assert (report.failures, len(report.commits)) == ([], 1)
    again = lab.cycle(config)
    assert ([row.reason for row in again.rows], again.commits) == (["up_to_date"] * 3, [])


def test_one_list_an_image_however_many_places_use_it(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0")
    fleet = lab.repository("fleet", {f"{n}.yaml": pod("HOST/acme/api:1.0.0") for n in range(20)})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api}]\n", fleet=fleet)
    before = len(lab.registry.requests)
    lab.cycle(config)
    assert len(lab.registry.requests) - before == 1


def test_each_environment_has_its_own_policy(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0", "2.0.0")
    fleet = lab.repository("fleet", {f"{env}/a.yaml": pod("HOST/acme/api:1.0.0") for env in ("dev", "prod", "old")})
    config = lab.configure(
        "repositories: [{url: FLEET}]\n"
        "images:\n"
        "  - image: HOST/acme/api\n"
        "    name: api\n"
        "    update:\n"
        "      - {name: dev, repository: fleet, paths: ['dev/**'], policy: {kind: semver, range: '*'}, level: major}\n"
        "      - {name: prod, repository: fleet, paths: ['prod/**'], policy: {kind: semver, range: 1.x}}\n",
        fleet=fleet,
    )
    assert {name: row.target for name, row in rows(lab.cycle(config)).items()} == {
        "api/dev": "2.0.0",
        "api/prod": "1.1.0",
    }
    assert lab.show("fleet", "old/a.yaml") == pod("HOST/acme/api:1.0.0")


def test_a_pattern_tracks_what_git_mentions(lab: Lab) -> None:
    for name in ("api", "web"):
        lab.push(f"team/{name}", "1.0.0", "1.0.1")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/team/api:1.0.0", "HOST/team/web:1.0.0", "HOST/other/x:1.0.0")})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/team/**}]\n", fleet=fleet)
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod("HOST/team/api:1.0.1", "HOST/team/web:1.0.1", "HOST/other/x:1.0.0")
    assert lab.commits("fleet")[0] == "Update 2 images"


def test_an_alias_keeps_its_spelling(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.0.1")
    fleet = lab.repository("fleet", {"a.yaml": pod("mirror.example.com/acme/api:1.0.0", "HOST/acme/api:1.0.0")})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api}]\n", fleet=fleet)
    config.write_text(config.read_text().replace("insecure: true", "insecure: true, aliases: [mirror.example.com]"))
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod("mirror.example.com/acme/api:1.0.1", "HOST/acme/api:1.0.1")
    message = lab.run("fleet", "log", "-1", "--format=%B").replace(lab.registry.host, "HOST")
    assert "- mirror.example.com/acme/api 1.0.0 -> 1.0.1 in a.yaml:5" in message
    assert message.count("Image-Update: HOST/acme/api 1.0.0 -> 1.0.1") == 1


def test_a_digest_is_followed_and_costs_no_list(lab: Lab) -> None:
    first = lab.push("acme/api", "latest")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:latest")})
    config = lab.configure(
        "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, policy: {kind: digest}}]\n", fleet=fleet
    )
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:latest@{first}")
    second = push_image(lab.registry.url, "acme/api", ["latest"], payload=b"rebuilt")
    before = len(lab.registry.requests)
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:latest@{second}")
    asked = [(request.method, "manifests" in request.path) for request in lab.registry.requests[before:]]
    assert asked == [("HEAD", True), ("GET", True), ("GET", False)]  # what it is now, and for which platforms
    assert f"Image-Digest: HOST/acme/api latest {second}" in lab.run("fleet", "log", "-1").replace(
        lab.registry.host, "HOST"
    )
    before = len(lab.registry.requests)
    assert rows(lab.cycle(config))[f"{lab.registry.host}/acme/api"].reason == Reason.UP_TO_DATE
    assert [request.method for request in lab.registry.requests[before:]] == ["HEAD"]


def test_tag_and_digest_never_part(lab: Lab) -> None:
    old, new = lab.push("acme/api", "1.0.0"), lab.push("acme/api", "1.1.0")
    values = "image:\n  repository: HOST/acme/api\n  tag: 1.0.0\n  digest: OLD\n"
    fleet = lab.repository("fleet", {"a.yaml": pod(f"HOST/acme/api:1.0.0@{old}"), "v.yaml": values.replace("OLD", old)})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api}]\n", fleet=fleet)
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:1.1.0@{new}")
    assert lab.show("fleet", "v.yaml") == values.replace("1.0.0", "1.1.0").replace("OLD", new)


WATCHED = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api, update: []}]\n"
TWICE = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api}, {image: HOST/acme/api, name: b}]\n"
PLAIN = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api}]\n"
ASLEEP = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api, suspend: true}]\n"
ALIAS = "x: &image HOST/acme/api:1.0.0\n" + pod("*image")


@pytest.mark.parametrize(
    ("config", "text", "outcome", "reason"),
    [
        (WATCHED, pod("HOST/acme/api:1.0.0"), Outcome.AVAILABLE, None),
        (TWICE, pod("HOST/acme/api:1.0.0"), Outcome.HELD, "contested"),
        (PLAIN, pod("HOST/acme/other:1.0.0"), Outcome.HELD, "not_referenced"),
        (PLAIN, pod("HOST/acme/api:latest"), Outcome.HELD, "unparsable_current"),
        (PLAIN, pod("HOST/acme/api:1.1.0"), Outcome.UP_TO_DATE, "up_to_date"),
        (PLAIN, pod("HOST/acme/api:3.0.0"), Outcome.HELD, "older"),
        (PLAIN, ALIAS, Outcome.HELD, "not_writable"),
        (ASLEEP, pod("HOST/acme/api:1.0.0"), Outcome.HELD, "suspended"),
    ],
    ids=["watch only", "two owners", "mentioned nowhere", "no version in Git", "nothing newer", "Git is ahead",
         "seen but not writable", "suspended"],
)  # fmt: skip
def test_what_is_not_written(lab: Lab, config: str, text: str, outcome: Outcome, reason: str | None) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": text})
    report = lab.cycle(lab.configure(config, fleet=fleet))
    row = rows(report)["api"]
    assert (row.outcome, report.commits) == (outcome, [])
    assert reason is None or row.reason == reason
    assert row.why
    assert len(lab.commits("fleet")) == 1


BARE = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1\nimages:\n- name: HOST/acme/api  # ours\n"
RANGE = (
    "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api, policy: {kind: semver, range: 1.x}}]\n"
)


def test_a_kustomization_gets_its_first_tag_and_a_person_may_take_it_out(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "2.0.0")
    fleet = lab.repository("fleet", {"kustomization.yaml": BARE})
    held = lab.cycle(lab.configure(PLAIN, fleet=fleet))
    assert (rows(held)["api"].reason, held.commits) == ("unparsable_current", [])
    config = lab.configure(RANGE, fleet=fleet)
    row = rows(lab.cycle(config))["api"]
    assert (row.outcome, row.current, row.target) == (Outcome.UPDATED, "-", "1.0.0")
    assert lab.show("fleet", "kustomization.yaml") == BARE + "  newTag: 1.0.0\n"
    lab.push("acme/api", "1.1.0")
    assert rows(lab.cycle(config))["api"].current == "1.0.0"
    assert lab.show("fleet", "kustomization.yaml") == BARE + "  newTag: 1.1.0\n"
    person_commits(lab.folder / "git" / "fleet.git", {"kustomization.yaml": lab.spell(BARE)}, "Back")
    assert rows(lab.cycle(config))["api"].reason == Reason.HUMAN_ROLLBACK


SHARED = "x-tag: &tag 1.0.0\na: {repository: HOST/acme/api, tag: *tag}\nb: {repository: HOST/acme/web, tag: *tag}\n"
BOTH = "repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api, name: api}, {image: HOST/acme/web, name: web}]\n"


def test_what_shares_a_tag_changes_together_or_not_at_all(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    lab.push("acme/web", "1.0.0")
    fleet = lab.repository("fleet", {"values.yaml": SHARED, "a.yaml": pod("HOST/acme/api:1.0.0")})
    config = lab.configure(BOTH, fleet=fleet)
    report = lab.cycle(config)
    assert sorted(row.reason for row in report.rows if row.outcome is not Outcome.UPDATED) == [
        "not_writable",
        "up_to_date",
    ]
    assert "shared with line 3" in next(row.why for row in report.rows if row.reason == "not_writable")
    assert lab.show("fleet", "values.yaml") == SHARED
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")  # a neighbour that shares nothing
    lab.push("acme/web", "1.1.0")
    assert lab.cycle(config).failures == []
    assert lab.show("fleet", "values.yaml") == SHARED.replace("1.0.0", "1.1.0")


def test_check_computes_the_diff_and_writes_nothing(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    report = lab.cycle(lab.configure(PLAIN, fleet=fleet), write=False)
    (written,) = report.written
    assert [(row.outcome, row.target) for row in report.rows] == [(Outcome.AVAILABLE, "1.1.0")]
    assert (written.changes[0].after.replace(lab.registry.host, "HOST"), report.commits) == (
        pod("HOST/acme/api:1.1.0"),
        [],
    )
    assert len(lab.commits("fleet")) == 1


def test_a_registry_that_is_down_fails_alone(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0", "127.0.0.1:1/acme/api:1.0.0")})
    config = lab.configure(f"{PLAIN[:-2]}, {{image: '127.0.0.1:1/acme/api', name: down}}]\n", fleet=fleet)
    report = lab.cycle(config)
    assert {name: row.outcome for name, row in rows(report).items()} == {"api": Outcome.UPDATED, "down": Outcome.FAILED}
    assert [failure.what for failure in report.failures] == ["image 127.0.0.1:1/acme/api"]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0", "127.0.0.1:1/acme/api:1.0.0")


def test_a_repository_that_is_gone_fails_alone(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    config = lab.configure(
        PLAIN.replace("{url: FLEET}", "{url: FLEET}, {url: GONE}"), fleet=fleet, gone=fleet.replace("fleet", "gone")
    )
    report = lab.cycle(config)
    assert rows(report)["api"].outcome == Outcome.UPDATED
    assert [failure.what for failure in report.failures] == ["repository gone"]


def test_a_login_that_is_not_there_fails_alone(lab: Lab) -> None:
    """A secret that cannot be read stops its own registry and its own repository, and is said once for each."""
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    other = lab.repository("other", {"b.yaml": pod("HOST/acme/api:1.0.0")})
    login = "credentials: {kind: basic, username: u, password: 'file:/nowhere/secret'}"
    config = lab.configure(
        PLAIN.replace("{url: FLEET}", f"{{url: FLEET}}, {{url: OTHER, {login}}}"), fleet=fleet, other=other
    )
    report = lab.cycle(config)
    assert rows(report)["api"].outcome == Outcome.UPDATED
    assert [(f.what, "file:/nowhere/secret" in f.error) for f in report.failures] == [("repository other", True)]
    with build(load(config, {})) as world:
        told = [found.failures for found in (mentions(world), history(world, None, 10))]
    assert [[failure["what"] for failure in failures] for failures in told] == [["repository other"]] * 2


@pytest.mark.parametrize(
    "policy", ["{kind: semver}", "{kind: digest}"], ids=["while listing", "where no list is asked"]
)
def test_a_proxy_that_is_not_known_fails_its_registry_alone(lab: Lab, policy: str) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0", "127.0.0.1:1/acme/api:1.0.0")})
    down = "{host: '127.0.0.1:1', network: {proxy: 'env:NO_SUCH_VARIABLE'}}"
    config = lab.configure(
        f"{PLAIN[:-2]}, {{image: '127.0.0.1:1/acme/api', name: down, policy: {policy}}}]\n", fleet=fleet
    )
    config.write_text(config.read_text().replace("registries: [", f"registries: [{down}, "))
    report = lab.cycle(config)
    assert {name: row.outcome for name, row in rows(report).items()} == {"api": Outcome.UPDATED, "down": Outcome.FAILED}
    assert ["NO_SUCH_VARIABLE" in failure.error for failure in report.failures] == [True]


def test_a_repository_that_is_gone_is_no_fault_of_an_item_that_never_looks_there(lab: Lab) -> None:
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/other:1.0.0")})
    config = lab.configure(
        "repositories: [{url: FLEET}, {url: GONE}]\n"
        "images:\n"
        "  - {image: HOST/acme/api, name: api, update: [{repository: fleet}]}\n"
        "  - {image: HOST/acme/web, name: web, update: [{repository: gone}]}\n",
        fleet=fleet,
        gone=fleet.replace("fleet", "gone"),
    )
    found = rows(lab.cycle(config))
    assert (found["api"].outcome, found["api"].reason) == (Outcome.HELD, Reason.NOT_REFERENCED)
    assert found["web"].outcome == Outcome.FAILED


def test_the_default_branch_by_its_name_is_the_same_branch(lab: Lab) -> None:
    """Two items that look at one branch contend for a reference, whether or not they spell the branch."""
    lab.push("acme/api", "1.0.0", "1.1.0", "2.0.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0"), "envs/a.yaml": pod("HOST/acme/api:1.0.0")})
    config = lab.configure(
        "repositories: [{url: FLEET}]\n"
        "images:\n"
        "  - image: HOST/acme/api\n"
        "    name: api\n"
        "    update:\n"
        "      - {name: one, repository: fleet, policy: {kind: semver, range: 1.x}}\n"
        "      - {name: two, repository: fleet, branch: main, paths: [envs/], policy: {kind: semver, range: 2.x}}\n",
        fleet=fleet,
    )
    with build(load(config, {}), everything=True) as world:
        owners = [(row["file"], row["owner"]) for row in mentions(world).rows]
    assert owners == [("a.yaml", "api/one"), ("envs/a.yaml", "api/two")]
    report = lab.cycle(config)
    assert len(report.rows) == 2
    assert lab.commits("fleet")[:-1] == ["Update HOST/acme/api to 1.1.0 and 2.0.0"]
    with build(load(config, {})) as world:
        assert [row["new"] for row in history(world, None, 10).rows] == ["1.1.0", "2.0.0"]


def test_an_empty_list_decides_nothing(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0")
    lab.registry.seed("acme/empty", [])
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/empty:1.0.0")})
    report = lab.cycle(lab.configure(PLAIN.replace("acme/api", "acme/empty"), fleet=fleet))
    assert rows(report)["api"].reason == Reason.INCOMPLETE_SCAN
    assert [failure.what for failure in report.failures] == [f"image {lab.registry.host}/acme/empty"]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/empty:1.0.0")


def test_a_broken_file_does_not_stop_its_neighbours(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    broken = "image: HOST/acme/api:1.0.0\n  b: [\n"
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0"), "b.yaml": broken, "c.yaml": "[" * 60_000})
    config = lab.configure(PLAIN, fleet=fleet)
    assert lab.cycle(config).failures == []
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")
    with build(load(config, {}), everything=True) as world:
        assert {skipped["file"] for skipped in mentions(world).skipped} == {"b.yaml", "c.yaml"}


class _Overtaken(Clone):
    """A clone that is slow: before each of its first pushes somebody else pushes one of these commits."""

    def __init__(self, like: Clone, bare: Path, commits: list[dict[str, bytes]]) -> None:
        super().__init__(like.folder, like.remote)
        self.bare, self.commits = bare, commits

    def push(self, branch: str, base: str, revision: str) -> None:
        if self.commits:
            person_commits(self.bare, self.commits.pop(0))
        super().push(branch, base, revision)


def overtaken(lab: Lab, config: Path, commits: list[dict[str, str]]) -> Report:
    with build(load(config, {})) as world:
        texts = [{path: lab.spell(text) for path, text in files.items()} for files in commits]
        slow = _Overtaken(world.clone_of(world.settings.repositories[0]), lab.folder / "git" / "fleet.git", texts)
        world.clone_of = lambda _repository: slow
        return update(world, world.settings.items, NOW)


def test_a_push_that_was_overtaken_is_planned_anew(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    others = [{f"other-{n}.yaml": pod("HOST/acme/api:1.0.0")} for n in range(3)]
    report = overtaken(lab, lab.configure(PLAIN, fleet=fleet), others)
    assert lab.commits("fleet")[:4] == ["Update HOST/acme/api to 1.1.0", "By hand", "By hand", "By hand"]
    assert lab.run("fleet", "log", "--merges", "--format=%h") == ""
    for file in ("a.yaml", "other-0.yaml", "other-2.yaml"):
        assert lab.show("fleet", file) == pod("HOST/acme/api:1.1.0")
    assert (len(report.commits), report.failures) == (1, [])


def test_an_image_that_appears_while_pushing_is_looked_at_too(lab: Lab) -> None:
    lab.push("team/api", "1.0.0", "1.1.0")
    lab.push("team/new", "2.0.0", "2.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/team/api:1.0.0")})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/team/**, name: team}]\n", fleet=fleet)
    report = overtaken(lab, config, [{"new.yaml": pod("HOST/team/new:2.0.0")}])
    assert (lab.show("fleet", "new.yaml"), report.failures) == (pod("HOST/team/new:2.1.0"), [])
    assert lab.commits("fleet")[0] == "Update 2 images"


@pytest.mark.parametrize(
    ("text", "reason", "commits"),
    [
        (pod("HOST/acme/api:1.1.0"), "up_to_date", 0),
        (pod("HOST/acme/other:1.0.0"), "not_referenced", 0),
        ("gone: true\n", "not_referenced", 0),
    ],
    ids=["to the same tag", "to another image", "by deleting the line"],
)
def test_a_person_who_was_first_on_the_same_line_wins(lab: Lab, text: str, reason: str, commits: int) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    report = overtaken(lab, lab.configure(PLAIN, fleet=fleet), [{"a.yaml": text}])
    assert (rows(report)["api"].reason, len(report.commits)) == (reason, commits)
    assert lab.show("fleet", "a.yaml") == text


class _Forgetful(Clone):
    """A clone whose history cannot be read."""

    def landed(self, *_: Any, **__: Any) -> Any:
        raise GitError("fleet: cannot read the history")


def test_where_the_history_cannot_be_read_nothing_is_written_and_the_others_go_on(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    urls = {name: lab.repository(name, {"a.yaml": pod("HOST/acme/api:1.0.0")}) for name in ("fleet", "other")}
    config = lab.configure(PLAIN.replace("{url: FLEET}", "{url: FLEET}, {url: OTHER}"), **urls)
    with build(load(config, {})) as world:
        clones = {one.name: world.clone_of(one) for one in world.settings.repositories}
        clones["fleet"] = _Forgetful(clones["fleet"].folder, clones["fleet"].remote)
        world.clone_of = lambda repository: clones[repository.name]
        report = update(world, world.settings.items, NOW)
    assert {row.repository: row.outcome for row in report.rows} == {"fleet": Outcome.FAILED, "other": Outcome.UPDATED}
    assert [failure.what for failure in report.failures] == ["repository fleet"]
    assert (len(lab.commits("fleet")), len(lab.commits("other"))) == (1, 2)


def test_a_branch_that_never_rests_is_given_up_and_said(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    with build(load(lab.configure(PLAIN, fleet=fleet), {})) as world:
        endless = [{"busy.txt": f"{n}".encode()} for n in range(PUSH_TRIES)]
        slow = _Overtaken(world.clone_of(world.settings.repositories[0]), lab.folder / "git" / "fleet.git", endless)
        world.clone_of = lambda _repository: slow
        world.patience = 1e-6  # doubled each time
        report = update(world, world.settings.items, NOW)
    assert (rows(report)["api"].outcome, endless) == (Outcome.FAILED, [])
    assert [failure.what for failure in report.failures] == ["push fleet main"]


def test_a_refused_push_is_a_failure_and_leaves_the_branch(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    hook(lab.folder / "git" / "fleet.git", "pre-receive", "echo 'no bots on Mondays' >&2\nexit 1")
    report = lab.cycle(lab.configure(PLAIN, fleet=fleet))
    (failure,) = report.failures
    assert (rows(report)["api"].outcome, failure.what) == (Outcome.FAILED, "push fleet main")
    assert "no bots on Mondays" in failure.error
    assert len(lab.commits("fleet")) == 1


def test_history_is_read_from_git_alone(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    config = lab.configure(PLAIN, fleet=fleet)
    lab.cycle(config)
    person_commits(lab.folder / "git" / "fleet.git", {"x.txt": b"x"}, "By hand\n\nImage-Update: no trailer of ours")
    lab.push("acme/api", "1.2.0")
    lab.cycle(config)
    with build(load(config, {})) as world:
        found = history(world, None, 10)
        latest = history(world, world.settings.items, 1)
    assert [(row["old"], row["new"]) for row in found.rows] == [("1.1.0", "1.2.0"), ("1.0.0", "1.1.0")]
    assert found.rows[0]["reason"].startswith("docker")
    assert [row["new"] for row in latest.rows] == ["1.2.0"]


def test_everything_that_git_mentions_is_found_with_its_owner(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0", "HOST/acme/other:1"), "b.yaml": ALIAS})
    with build(load(lab.configure(PLAIN, fleet=fleet), {}), everything=True) as world:
        found = mentions(world)
    told = {(row["file"], row["line"], row["owner"], bool(row["unwritable"])) for row in found.rows}
    assert told >= {("a.yaml", 5, "api", False), ("a.yaml", 6, None, False), ("b.yaml", 6, "api", True)}


def test_nobody_else_reads_the_data_folder(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    lab.cycle(lab.configure(PLAIN, fleet=fleet))
    assert oct((lab.folder / "data").stat().st_mode)[-3:] == "700"


def test_a_rollback_by_a_person_while_pushing_is_respected(lab: Lab) -> None:
    """Git holds again what it held when the cycle began, but its history has become another one."""
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    bare, image = lab.folder / "git" / "fleet.git", f"{lab.registry.host}/acme/api"

    class Quarrel(Clone):
        def push(self, branch: str, base: str, revision: str) -> None:
            if len(lab.commits("fleet")) == 1:
                ours = f"Update\n\nImage-Update: {image} 1.0.0 -> 1.1.0"
                person_commits(bare, {"a.yaml": lab.spell(pod("HOST/acme/api:1.1.0"))}, ours)
                person_commits(bare, {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))}, "Back")
            super().push(branch, base, revision)

    with build(load(lab.configure(PLAIN, fleet=fleet), {})) as world:
        like = world.clone_of(world.settings.repositories[0])
        slow = Quarrel(like.folder, like.remote)
        world.clone_of = lambda _repository: slow
        report = update(world, world.settings.items, NOW)
    assert (rows(report)["api"].reason, lab.commits("fleet")[0]) == (Reason.HUMAN_ROLLBACK, "Back")


def test_an_approval_is_used_up_when_the_tag_is_everywhere(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "2.0.0")
    text = pod("HOST/acme/api:1.0.0")
    fleet, other = lab.repository("fleet", {"a.yaml": text}), lab.repository("other", {"a.yaml": text})
    bare = lab.folder / "git" / "other.git"
    config = lab.configure(PLAIN.replace("{url: FLEET}", "{url: FLEET}, {url: OTHER}"), fleet=fleet, other=other)

    def approved() -> frozenset[str]:
        with build(load(config, {})) as world:
            said = world.memory().holds.read(NOW).get("api")
            return said.approved if said else frozenset()

    with build(load(config, {})) as world:
        world.memory().holds.approve("api", "2.0.0", NOW)
    hook(bare, "pre-receive", "exit 1")
    assert {row.outcome for row in lab.cycle(config).rows} == {Outcome.UPDATED, Outcome.FAILED}
    assert approved() == {"2.0.0"}
    (bare / "hooks" / "pre-receive").unlink()
    lab.cycle(config)
    assert lab.show("other", "a.yaml") == pod("HOST/acme/api:2.0.0")
    assert approved() == frozenset()


def test_a_hold_that_comes_while_the_cycle_runs_is_seen_before_it_pushes(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    fleet = lab.repository("fleet", {"a.yaml": pod("HOST/acme/api:1.0.0")})
    bare = lab.folder / "git" / "fleet.git"
    with build(load(lab.configure(PLAIN, fleet=fleet), {})) as world:
        holds = world.memory().holds

        class Slow(Clone):
            def push(self, branch: str, base: str, revision: str) -> None:
                if len(lab.commits("fleet")) == 1:
                    holds.hold("api", "freeze", NOW)
                    person_commits(bare, {"x.txt": b"x"})
                super().push(branch, base, revision)

        like = world.clone_of(world.settings.repositories[0])
        slow = Slow(like.folder, like.remote)
        world.clone_of = lambda _repository: slow
        row = rows(update(world, world.settings.items, NOW))["api"]
    assert (row.outcome, row.reason, row.why, row.target) == (
        Outcome.HELD, Reason.HELD, "held by a person: freeze", None
    )  # fmt: skip
    assert lab.commits("fleet")[0] == "By hand"


def test_what_cannot_be_written_beside_what_was_is_no_rollback(lab: Lab) -> None:
    lab.push("acme/api", "1.0.0", "1.1.0")
    text = 'services:\n  a: {image: "HOST/acme/api:${V:-1.0.0}"}\n  b: {image: "HOST/acme/api:1.0.0"}\n'
    fleet = lab.repository("fleet", {"compose.yaml": text})
    config = lab.configure("repositories: [{url: FLEET}]\nimages: [{image: HOST/acme/api}]\n", fleet=fleet)
    lab.cycle(config)
    again = lab.cycle(config)
    assert {(row.reason, row.current) for row in again.rows} == {("not_writable", "1.0.0"), ("up_to_date", "1.1.0")}
    person_commits(lab.folder / "git" / "fleet.git", {"compose.yaml": lab.spell(text)})
    back = lab.cycle(config)
    assert sorted(row.reason for row in back.rows) == ["human_rollback", "not_writable"]
