"""What decisions cost and how they last, over cycles on real servers: facts, ages, lists, people and windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.image import push_image
from updater.model.people import People
from updater.pipeline.report import Report, Row
from updater.pipeline.update import update
from updater.store.holds import Holds

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
BOTH = ("linux/amd64", "linux/arm64")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


def track(lab: Lab, fields: str, text: str = "") -> Path:
    """Track acme/api in a repository with one file."""
    fleet = lab.repository("fleet", {"a.yaml": text or pod("HOST/acme/api:1.0.0")})
    return configure(lab, fields, fleet)


def configure(lab: Lab, fields: str, fleet: str) -> Path:
    image = f"{{image: HOST/acme/api, name: api{', ' if fields else ''}{fields}}}"
    return lab.configure(f"repositories: [{{url: FLEET}}]\nimages:\n  - {image}\n", fleet=fleet)


def push(lab: Lab, tag: str, payload: str = "", created: str | None = None, *platforms: str) -> str:
    content = (payload or tag).encode()
    there = platforms or ("linux/amd64",)
    return push_image(lab.registry.url, "acme/api", [tag], payload=content, created=created, platforms=there)


def row(report: Report) -> Row:
    (found,) = report.rows
    return found


def told(report: Report) -> str:
    """Where the only reference goes, or why it stays."""
    found = row(report)
    return found.target or found.reason


@contextmanager
def people(config: Path) -> Iterator[Holds]:
    with build(load(config, {})) as world:
        yield world.memory().holds


@pytest.mark.parametrize(
    ("fields", "now"),
    [
        ("", "1.1.0"),
        ("policy: {kind: semver, range: 1.x}, min_age: 3d, platforms: [linux/amd64], write: tag_digest", "1.1.0"),
        ("windows: [{kind: deny, schedule: 0 0 * * *, duration: 1d}]", "1.1.0"),
        ("policy: {kind: semver, range: 1.x}", "1.1.0@DIGEST"),
        ("policy: {kind: alphabetical}, moved_tag: follow", "1.1.0"),
        ("level: patch", "1.0.0"),
        ("windows: [{kind: deny, schedule: 0 0 * * *, duration: 1d}]", "1.0.0"),
    ],
    ids=["docker", "every gate", "a closed window", "a digest in Git", "another policy", "held by its level",
         "held by a window"],
)  # fmt: skip
def test_an_image_without_news_costs_one_request_a_poll(lab: Lab, fields: str, now: str) -> None:
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    config = track(lab, fields, pod(f"HOST/acme/api:{now.replace('DIGEST', digest)}"))
    for n in range(2):
        report = lab.cycle(config, NOW + n * HOUR)
        assert (lab.asked, report.commits) == ({"list": 1}, [])


def test_a_process_that_lives_on_asks_as_little(lab: Lab) -> None:
    push(lab, "1.0.0")
    config = track(lab, "min_age: 1h")
    counts = []
    with build(load(config, {})) as world:
        for hours in range(5):
            before = len(lab.registry.requests)
            report = update(world, world.settings.items, NOW + hours * HOUR)
            counts.append((told(report), len(lab.registry.requests) - before))
            if hours == 1:
                push(lab, "1.1.0")
    # seen for the first time: its digest is noted; then what is to be written and what Git holds, two requests each
    assert counts == [("up_to_date", 1), ("up_to_date", 1), ("min_age", 2), ("1.1.0", 5), ("up_to_date", 1)]


def test_by_date_every_tag_is_asked_once_and_then_only_what_is_new(lab: Lab) -> None:
    """600 tags cost 600, as 60 cost 60: a manifest and its configuration each, and nothing on the next polls."""
    for n in range(1, 61):
        push(lab, f"main-{n}", created=f"2026-01-01T00:{n - 1:02}:00Z")
    push(lab, "other", created="2026-09-09T00:00:00Z")
    fields = "policy: {kind: newest, by: created}, tags: {include: [^main-]}"
    config = track(lab, fields, pod("HOST/acme/api:main-60"))
    assert told(lab.cycle(config)) == "up_to_date"
    assert lab.asked == {"list": 1, "manifest": 60, "blob": 60}
    lab.cycle(config, NOW + HOUR)
    assert lab.asked == {"list": 1}
    push(lab, "main-61", created="2026-02-02T00:00:00Z")
    assert told(lab.cycle(config, NOW + 2 * HOUR)) == "main-61"
    assert lab.asked == {"list": 1, "manifest": 1, "blob": 1, "head": 1}  # its date; then whether it is the same still
    push(lab, "main-00", created="2025-01-01T00:00:00Z")
    assert told(lab.cycle(config, NOW + 3 * HOUR)) == "up_to_date"
    assert lab.asked == {"list": 1, "manifest": 1, "blob": 1}
    lab.registry.content.delete("acme/api", "main-61", "")
    assert told(lab.cycle(config, NOW + 4 * HOUR)) == "older"  # its date is remembered
    assert lab.asked == {"list": 1}


@pytest.mark.parametrize(
    ("platforms", "fields", "asked"),
    [
        (("linux/amd64",), "", {"list": 1, "manifest": 2, "blob": 2}),
        (BOTH, "", {"list": 1, "manifest": 3, "blob": 1}),
        (BOTH, "platforms: [linux/arm64]", {"list": 1, "manifest": 2, "blob": 1}),
        (BOTH, "platforms: []", {"list": 1, "head": 1}),
        (BOTH, "min_age: 1h", {"list": 1, "head": 1, "manifest": 3, "blob": 1}),
    ],
    ids=["plain manifests", "indexes", "indexes against a list", "nothing to check", "by age, there from the start"],
)
def test_what_an_update_costs(lab: Lab, platforms: tuple[str, ...], fields: str, asked: dict[str, int]) -> None:
    """However many tags there are, only the best one and the one in Git are looked at.

    Where the best one is an index, one of its images is asked where it comes from.
    """
    for n in range(9):
        push(lab, f"1.{n}.0", "", "2026-11-01T00:00:00Z", *platforms)
    config = track(lab, fields)
    assert told(lab.cycle(config)) == "1.8.0"
    assert lab.asked == asked
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.8.0")
    lab.cycle(config)
    assert lab.asked == {"list": 1}


def test_a_tag_ages_from_when_it_was_first_seen(lab: Lab) -> None:
    """What was there on the first scan counts from when it was created, and waiting costs no request."""
    push(lab, "1.0.0")
    push(lab, "1.1.0", created="2026-11-20T09:00:00Z")
    config = track(lab, "min_age: 3d")
    assert row(lab.cycle(config)).why.endswith("min_age: 1 h left")
    push(lab, "1.2.0", created="2020-01-01T00:00:00Z")
    waits = lab.cycle(config, NOW + 30 * MINUTE)
    assert row(waits).why.endswith("min_age: 3 d left")
    assert row(waits).newest == "1.2.0"
    report = lab.cycle(config, NOW + HOUR)
    assert told(report) == "1.1.0"
    assert "newest of 3 but 1 (min_age)" in row(report).why
    assert row(lab.cycle(config, NOW + 2 * DAY)).why.endswith("min_age: 1 d left")
    assert lab.asked == {"list": 1}
    assert told(lab.cycle(config, NOW + 3 * DAY + 30 * MINUTE)) == "1.2.0"
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.2.0")


def test_a_look_without_writing_starts_no_clock(lab: Lab) -> None:
    push(lab, "1.0.0")
    config = track(lab, "min_age: 1d")
    lab.cycle(config)
    push(lab, "1.1.0")
    assert told(lab.cycle(config, NOW + HOUR, write=False)) == "min_age"
    assert row(lab.cycle(config, NOW + 9 * DAY)).why.endswith("min_age: 1 d left")
    assert told(lab.cycle(config, NOW + 10 * DAY, write=False)) == "1.1.0"


def test_a_list_that_lost_much_is_believed_when_three_scans_agree(lab: Lab) -> None:
    """Until then the last good answer stays, and the reason says when it ends."""
    for n in range(8):
        push(lab, f"1.0.{n}")
    config = track(lab, "", pod("HOST/acme/api:1.0.7"))
    assert told(lab.cycle(config)) == "up_to_date"
    for n in range(3, 8):
        lab.registry.content.delete("acme/api", f"1.0.{n}", "")
    push(lab, "1.0.8")
    found = []
    for minutes in (0, 5, 10, 21):
        report = lab.cycle(config, NOW + HOUR + minutes * MINUTE)
        found.append((told(report), len(report.failures)))
    assert found == [("incomplete_scan", 1), ("incomplete_scan", 1), ("incomplete_scan", 1), ("1.0.8", 0)]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.8")


def test_a_list_that_is_whole_again_is_believed_at_once(lab: Lab) -> None:
    for n in range(8):
        push(lab, f"1.0.{n}")
    config = track(lab, "", pod("HOST/acme/api:1.0.7"))
    lab.cycle(config)
    tags = lab.registry.content.tags["acme/api"]
    kept = dict(tags)
    tags.clear()
    report = lab.cycle(config, NOW + HOUR)
    assert (told(report), "the list is empty, 8 known tags missing" in row(report).why) == ("incomplete_scan", True)
    tags.update(kept)
    assert told(lab.cycle(config, NOW + HOUR + MINUTE)) == "up_to_date"


def test_a_tag_that_moved_is_held_until_a_person_approves_it(lab: Lab) -> None:
    push(lab, "1.0.0")
    first = push(lab, "1.1.0", created="2026-11-23T07:30:00Z")
    config = track(lab, "min_age: 1h, write: tag_digest")
    assert told(lab.cycle(config)) == "min_age"
    second = push(lab, "1.1.0", "rebuilt", created="2026-11-23T07:30:00Z")
    report = lab.cycle(config, NOW + HOUR)
    assert row(report).why.endswith(f"moved_tag: it was {first[:19]} when we first saw it and is {second[:19]} now")
    with people(config) as said:
        said.approve("api", "1.1.0", NOW)
    assert row(lab.cycle(config, NOW + HOUR, write=False)).target == f"1.1.0@{second}"
    lab.cycle(config, NOW + HOUR)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:1.1.0@{second}")
    with people(config) as said:
        assert said.read(NOW + HOUR) == {}  # it was used


def test_a_tag_that_moved_may_be_followed(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0", created="2026-11-23T07:30:00Z")
    config = track(lab, "min_age: 1h, moved_tag: follow, write: digest")
    lab.cycle(config)
    second = push(lab, "1.1.0", "rebuilt", created="2026-11-23T07:30:00Z")
    lab.cycle(config, NOW + HOUR)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api@{second}")


def test_what_is_remembered_of_one_place_decides_nothing_in_another(lab: Lab) -> None:
    """The tag in one file is the candidate of another, and was pushed anew for fewer platforms meanwhile."""
    push(lab, "1.0.0", "", None, *BOTH)
    files = {"dev/a.yaml": pod("HOST/acme/api:1.0.0"), "prod/a.yaml": pod("HOST/acme/api:1.1.0")}
    prod = "{name: prod, repository: fleet, paths: [prod/], level: major}"
    dev = "{name: dev, repository: fleet, paths: [dev/], min_age: 1h, moved_tag: follow}"
    fleet = lab.repository("fleet", files)
    lab.cycle(configure(lab, f"update: [{prod}]", fleet))
    push(lab, "1.1.0", "", None, *BOTH)
    push(lab, "2.0.0")
    assert told(lab.cycle(configure(lab, f"update: [{prod}]", fleet))) == "platform_missing"
    push(lab, "1.1.0", "rebuilt")
    report = lab.cycle(configure(lab, f"update: [{prod}, {dev}]", fleet), NOW + HOUR)
    verdicts = {one.item.name: one.decision.verdicts for one in report.rows if one.decision}
    (why,) = (verdict.why for verdict in verdicts["api/dev"] if verdict.tag == "1.1.0")
    assert why == "platform_missing: linux/arm64; it has linux/amd64"


def test_what_a_person_takes_back_stays_back_until_something_newer_comes(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "")
    bare = lab.folder / "git" / "fleet.git"
    assert told(lab.cycle(config)) == "1.1.0"
    person_commits(bare, {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))})
    for n in range(2):
        report = lab.cycle(config, NOW + n * HOUR)
        assert (told(report), lab.asked) == ("human_rollback", {"list": 1})
    assert row(report).why.endswith("human_rollback: a person went back from 1.1.0")
    (lab.folder / "data" / "state.db").unlink()
    assert told(lab.cycle(config, NOW + 2 * HOUR)) == "human_rollback"  # it is read from Git
    push(lab, "1.2.0")
    assert told(lab.cycle(config, NOW + 3 * HOUR)) == "1.2.0"


def test_a_person_who_resumes_goes_on_after_a_rollback(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "")
    lab.cycle(config)
    back = {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))}
    person_commits(lab.folder / "git" / "fleet.git", back, at=NOW + MINUTE)
    assert told(lab.cycle(config, NOW + HOUR)) == "human_rollback"
    with people(config) as said:
        said.resume("api", NOW + HOUR)
    assert told(lab.cycle(config, NOW + 2 * HOUR)) == "1.1.0"


def test_a_resume_counts_whatever_we_write_into_the_same_file_after_it(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    lab.push("acme/web", "1.0.0")
    text = pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.0.0")
    images = "images: [{image: HOST/acme/api, name: api}, {image: HOST/acme/web, name: web}]\n"
    config = lab.configure(f"repositories: [{{url: FLEET}}]\n{images}", fleet=lab.repository("fleet", {"a.yaml": text}))
    lab.cycle(config)
    person_commits(lab.folder / "git" / "fleet.git", {"a.yaml": lab.spell(text)}, at=NOW + MINUTE)
    lab.push("acme/web", "1.1.0")
    with build(load(config, {})) as world:
        world.memory().holds.resume("api", NOW + HOUR)
        for due in (world.settings.items[1:], world.settings.items):
            targets = {row.item.name: row.target for row in update(world, due, NOW + 2 * HOUR).rows}
    assert targets == {"api": "1.1.0", "web": None}


def test_a_resume_from_before_a_rollback_does_not_undo_it(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "")
    lab.cycle(config)
    with people(config) as said:
        said.resume("api", NOW + HOUR)  # about something else
    back = {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))}
    person_commits(lab.folder / "git" / "fleet.git", back, at=NOW + 2 * HOUR)
    assert told(lab.cycle(config, NOW + 3 * HOUR)) == "human_rollback"
    with people(config) as said:
        said.resume("api", NOW + 4 * HOUR)
    assert told(lab.cycle(config, NOW + 5 * HOUR)) == "1.1.0"


def test_a_revert_of_our_commit_is_a_rollback_too(lab: Lab) -> None:
    """Its message quotes ours, but only trailers tell what is ours."""
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "")
    lab.cycle(config)
    quoted = f'Revert "Update {lab.registry.host}/acme/api to 1.1.0"\n\nThis reverts commit 0123456789.'
    person_commits(lab.folder / "git" / "fleet.git", {"a.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))}, quoted)
    assert told(lab.cycle(config, NOW + HOUR)) == "human_rollback"


def test_a_hold_ends_by_itself_and_an_approval_passes_once(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "")
    with people(config) as said:
        said.hold("api", "an incident", NOW, until=NOW + HOUR)
    report = lab.cycle(config)
    assert (row(report).reason, row(report).why) == ("held", "held by a person until 2026-11-23 09:00 UTC: an incident")
    assert lab.asked == {"list": 1}
    assert told(lab.cycle(config, NOW + HOUR)) == "1.1.0"
    push(lab, "2.0.0")
    push(lab, "3.0.0")
    assert told(lab.cycle(config, NOW + HOUR)) == "level"
    with people(config) as said:
        said.approve("api", "2.0.0", NOW)
    assert told(lab.cycle(config, NOW + HOUR)) == "2.0.0"
    with people(config) as said:
        assert said.read(NOW + HOUR).get("api", People()).approved == frozenset()
    push(lab, "2.0.1")
    assert told(lab.cycle(config, NOW + HOUR)) == "2.0.1"


def test_a_window_is_closed_and_open_by_the_clock_of_its_zone(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "windows: [{kind: allow, schedule: 0 9 * * 1-5, duration: 8h, time_zone: Asia/Shanghai}]")
    closed = lab.cycle(config, NOW + HOUR)  # 17:00 in Shanghai
    assert (told(closed), row(closed).newest) == ("window_closed", "1.1.0")
    assert "0 9 * * 1-5" in row(closed).why
    assert told(lab.cycle(config, NOW - MINUTE + HOUR)) == "1.1.0"


FILES = {
    "a.yaml": pod("HOST/acme/api:TAG"),
    "pinned.yaml": pod("HOST/acme/api:TAG@DIGEST"),
    "plain.yaml": "image:\n  repository: HOST/acme/api\n  tag: TAG\n",
    "values.yaml": "image:\n  repository: HOST/acme/api\n  tag: TAG # the tag\n  digest: DIGEST # its digest\n",
    "kustomization.yaml": "kind: Kustomization\nimages:\n- name: HOST/acme/api\n  newTag: TAG\n  digest: DIGEST\n",
}
IN_ONE = {"a.yaml": pod("HOST/acme/api:TAG@DIGEST"), "plain.yaml": FILES["plain.yaml"].replace("TAG", "TAG@DIGEST")}
NO_TAG = {"a.yaml": pod("HOST/acme/api@DIGEST"), "pinned.yaml": pod("HOST/acme/api@DIGEST")}


@pytest.mark.parametrize(
    ("write", "then"),
    [
        ("tag", FILES),
        ("tag_digest", FILES | IN_ONE),
        ("digest", NO_TAG),  # nobody takes out a key: what has one for the tag is left, and said
    ],
)
def test_tag_and_digest_change_together_wherever_they_stand(lab: Lab, write: str, then: dict[str, str]) -> None:
    """In one text or in keys of their own; the digest of an index stays that of an index."""
    old, new = (push(lab, tag, "", None, *BOTH) for tag in ("1.0.0", "1.1.0"))

    def at(text: str, tag: str, digest: str) -> str:
        return text.replace("TAG", tag).replace("DIGEST", digest)

    before = {path: at(text, "1.0.0", old) for path, text in FILES.items()}
    config = configure(lab, f"write: {write}", lab.repository("fleet", before))
    report = lab.cycle(config)
    assert lab.asked == {"list": 1, "manifest": 3, "blob": 1}
    expected = before | {path: at(text, "1.1.0", new) for path, text in then.items()}
    assert {path: lab.show("fleet", path) for path in FILES} == expected
    left = {one.reference.file for one in report.rows if one.reference and one.reason == "not_writable"}
    assert left == FILES.keys() - then.keys()
    assert lab.cycle(config, NOW + HOUR).commits == []


def test_a_digest_alone_is_updated_by_the_tag_that_our_commit_told(lab: Lab) -> None:
    push(lab, "1.0.0")
    first = push(lab, "1.1.0")
    config = track(lab, "write: digest")
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api@{first}")
    second = push(lab, "1.2.0")
    lab.cycle(config, NOW + HOUR)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api@{second}")
    (lab.folder / "data" / "state.db").unlink()
    person_commits(lab.folder / "git" / "fleet.git", {"a.yaml": lab.spell(pod(f"HOST/acme/api@{first}"))})
    assert told(lab.cycle(config, NOW + 2 * HOUR)) == "human_rollback"


def test_a_tag_that_is_listed_and_gone_is_passed_over(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    lab.registry.content.tags["acme/api"]["1.2.0"] = "sha256:" + "0" * 64
    assert told(lab.cycle(track(lab, ""))) == "1.1.0"


def test_a_platform_that_is_missing_is_passed_over(lab: Lab) -> None:
    push(lab, "1.0.0", "", None, *BOTH)
    push(lab, "1.1.0", "", None, *BOTH)
    push(lab, "1.2.0")
    config = track(lab, "")
    report = lab.cycle(config)
    assert told(report) == "1.1.0"
    assert "newest of 3 but 1 (platform_missing)" in row(report).why
    stays = lab.cycle(config, NOW + HOUR)
    assert row(stays).why.endswith("platform_missing: linux/arm64; it has linux/amd64")
    assert lab.asked == {
        "list": 1,
        "head": 1,
    }  # what is known of 1.2.0 is asked again: it may be pushed anew


def test_a_registry_that_fails_on_a_fact_fails_its_image_alone(lab: Lab) -> None:
    for repository in ("acme/api", "acme/web"):
        lab.push(repository, "1.0.0", "1.1.0")
    config = track(lab, "", pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.0.0"))
    config.write_text(f"{config.read_text()}  - {{image: '{lab.registry.host}/acme/web', name: web}}\n")
    content = lab.registry.content
    broken = content.tags["acme/api"]["1.1.0"]
    blob = next(part for part in content.blobs if part in content.blobs[broken].decode())
    kept = content.blobs.pop(blob)
    report = lab.cycle(config)
    assert {one.item.name: one.outcome.value for one in report.rows} == {"api": "failed", "web": "updated"}
    assert [failure.what for failure in report.failures] == [f"image {lab.registry.host}/acme/api"]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.1.0")
    content.blobs[blob] = kept
    lab.cycle(config, NOW + HOUR)
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0", "HOST/acme/web:1.1.0")
