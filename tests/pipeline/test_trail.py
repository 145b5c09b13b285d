"""What our own commits say about an image in a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from updater.git.log import Logged, trailers
from updater.messages.commits import Place, commit_message, places
from updater.model.change import Bump
from updater.pipeline.trail import DEPTH, FLAP_WINDOW, NOTHING, Trail

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
API, WEB, FILE, OTHER = "ghcr.io/acme/api", "ghcr.io/acme/web", "apps/api.yaml", "apps/other.yaml"
DIGEST, SECOND = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
HOLD = NOW + timedelta(days=7)


def bump(old: str, new: str, *, line: int = 3, file: str = FILE, image: str = API, **more: str) -> Bump:
    return Bump(file, line, image, image, old, new, more.get("digest"), "why", more.get("tag"))


def ours(
    *bumps: Bump, hours: float = 0, until: datetime | None = None, files: Sequence[str] = (), text: str = ""
) -> Logged:
    """A commit of ours, so many hours old; `text` is put in the place of what it would say."""
    message = text or commit_message(bumps, until=until)
    touched = tuple(files) or tuple(dict.fromkeys(one.file for one in bumps))
    at = NOW - timedelta(hours=hours)
    return Logged("0" * 40, at, "Anybody", "any@body", message, tuple(trailers(message)), touched)


def wrote(commits: Sequence[Logged], current: str | None = None, file: str = FILE) -> str | None:
    return Trail(commits).of(file, API, NOW, current).wrote


SQUASHED = (
    "Merge branch (#7)\n\n* Update api to 1.5\n\n- ghcr.io/acme/api 1.4 -> 1.5 in apps/api.yaml:3\n\n"
    "Image-Update: ghcr.io/acme/api 1.4 -> 1.5\n\n* Update api to 1.6\n\n"
    "- ghcr.io/acme/api 1.5 -> 1.6 in apps/api.yaml:3\n\nImage-Update: ghcr.io/acme/api 1.5 -> 1.6\n"
)
BACKWARDS = "S\n\nImage-Update: ghcr.io/acme/api 1.5 -> 1.6\n\nImage-Update: ghcr.io/acme/api 1.4 -> 1.5\n"
TWO_FILES = [bump("1.4", "1.6"), bump("1.3", "1.5", file=OTHER)]
TWO_MAJORS = [ours(bump("2.3", "2.4", line=9)), ours(bump("1.4", "1.9"), bump("2.0", "2.3", line=9), hours=1)]
BY_HAND = [ours(bump("1.7", "1.8")), ours(bump("1.4", "1.5"), hours=9)]  # a person went from 1.5 to 1.7
KINDS = [ours(bump("7", "8")), ours(bump("7-alpine", "8-alpine", line=9), hours=1)]
BECAME = [ours(bump("1.6", "1.7")), ours(bump("1.5-rc1", "1.6", line=9), hours=1)]

WROTE: dict[str, tuple[Sequence[Logged], str | None, str | None]] = {
    "nothing": ([], "1.5", None),
    "the last commit of ours": ([ours(bump("1.5", "1.6")), ours(bump("1.4", "1.5"), hours=1)], "1.4", "1.6"),
    "without a current value too": ([ours(bump("1.5", "1.6")), ours(bump("1.4", "1.5"), hours=1)], None, "1.6"),
    "another image in this file": ([ours(bump("1", "2", image=WEB)), ours(bump("1.4", "1.5"))], "1.5", "1.5"),
    "another file": ([ours(bump("1.5", "1.6", file=OTHER)), ours(bump("1.4", "1.5"), hours=1)], "1.5", "1.5"),
    "a file that is named but was not touched": ([ours(bump("1.4", "1.5"), files=[OTHER])], "1.5", None),
    "each file has its own value": ([ours(*TWO_FILES)], "1.6", "1.6"),
    "a squash says several steps": ([ours(text=SQUASHED, files=[FILE])], "1.6", "1.6"),
    "in whatever order": ([ours(text=BACKWARDS, files=[FILE])], "1.4", "1.6"),
    "a cherry-pick has the lines of the original": ([ours(*TWO_FILES, files=[FILE])], "1.4", "1.6"),
    "there and back": ([ours(bump("1.5", "1.4")), ours(bump("1.4", "1.5"), hours=1)], "1.4", "1.4"),
    "two majors in one file, one written later": (TWO_MAJORS, "1.9", "1.9"),
    "two majors in one file, the other": (TWO_MAJORS, "2.4", "2.4"),
    "a person went back in one of them": (TWO_MAJORS, "2.3", "2.4"),
    "ours goes on from what a person set": (BY_HAND, "1.8", "1.8"),
    "a person goes back to what we wrote long ago": (BY_HAND, "1.5", "1.8"),
    "a person goes back to what stood there before": (BY_HAND, "1.4", "1.8"),
    "two kinds of tag in one file": (KINDS, "8-alpine", "8-alpine"),
    "a person went back to an old one of one kind": (KINDS, "7-alpine", "8-alpine"),
    "a person went back further than we know": (KINDS, "6-alpine", "8-alpine"),
    "a kind that we never wrote": (KINDS, "7-bullseye", "8"),
    "one kind became another": (BECAME, "1.5-rc1", "1.7"),
    "a reference that had no version": ([ours(bump("-", "1.5")), ours(bump("-", "1-x", line=9))], "1-x", "1-x"),
    "tag and digest": ([ours(bump(f"1.4@{DIGEST}", f"1.5@{SECOND}"))], f"1.4@{DIGEST}", f"1.5@{SECOND}"),
    "only digests": ([ours(bump(f"@{DIGEST}", f"@{SECOND}"))], f"@{DIGEST}", f"@{SECOND}"),
    "further back than is looked": (
        [ours(bump("1", "2", image=WEB))] * DEPTH + [ours(bump("1.4", "1.5"))],
        "1.5",
        None,
    ),
}


@pytest.mark.parametrize(("commits", "current", "expected"), WROTE.values(), ids=WROTE.keys())
def test_what_our_last_commit_wrote(commits: Sequence[Logged], current: str | None, expected: str | None) -> None:
    assert wrote(commits, current) == expected


def test_other_files_have_a_past_of_their_own() -> None:
    assert wrote([ours(*TWO_FILES)], "1.5", OTHER) == "1.5"
    assert Trail([ours(*TWO_FILES)]).of("third.yaml", API, NOW) == NOTHING


def test_when_it_was_written_is_told() -> None:
    commits = [ours(bump("2.3", "2.4", line=9), hours=1), ours(bump("1.4", "1.9"), hours=30)]
    assert Trail(commits).of(FILE, API, NOW, "1.9").wrote_at == NOW - timedelta(hours=30)


def test_what_was_left_lately_is_remembered_for_a_day() -> None:
    commits = [
        ours(bump("1.5", "1.6"), hours=1),
        ours(bump("1.4", "1.5"), hours=23),
        ours(bump("1.3", "1.4"), hours=24),
    ]
    assert Trail(commits).of(FILE, API, NOW).left == {"1.4", "1.5"}
    assert Trail(commits).of(FILE, API, NOW + FLAP_WINDOW - timedelta(hours=2)).left == {"1.5"}


def test_a_rollback_leaves_nothing_that_may_not_come_back() -> None:
    commits = [ours(bump("1.5", "1.4"), until=HOLD), ours(bump("1.4", "1.5"), hours=1)]
    assert Trail(commits).of(FILE, API, NOW).left == {"1.4"}


HELD: dict[str, tuple[Sequence[Logged], datetime | None]] = {
    "never": ([ours(bump("1.4", "1.5"))], None),
    "by our last commit": ([ours(bump("1.5", "1.4"), until=HOLD), ours(bump("1.4", "1.5"), hours=1)], HOLD),
    "over, since we went on": ([ours(bump("1.4", "1.5")), ours(bump("1.5", "1.4"), hours=1, until=HOLD)], None),
    "in another file only": ([ours(bump("1.5", "1.4", file=OTHER), until=HOLD)], None),
    "another image only": ([ours(bump("1.5", "1.4", image=WEB), until=HOLD)], None),
}


@pytest.mark.parametrize(("commits", "expected"), HELD.values(), ids=HELD.keys())
def test_until_when_a_rollback_holds(commits: Sequence[Logged], expected: datetime | None) -> None:
    past = Trail(commits).of(FILE, API, NOW)
    assert (past.held_until, past.held_at) == (expected, expected and NOW)


def test_the_tag_of_a_digest_is_known_where_only_digests_are_written() -> None:
    newer = ours(bump(f"@{DIGEST}", f"@{SECOND}", digest=SECOND, tag="1.5"))
    older = ours(bump("-", f"@{DIGEST}", digest=DIGEST, tag="1.4", file=OTHER), hours=1)
    anonymous = ours(bump("-", f"@{DIGEST}", digest=DIGEST, image=WEB), hours=2)
    trail = Trail([newer, older, anonymous])
    assert trail.of(FILE, API, NOW).tags == {DIGEST: "1.4", SECOND: "1.5"}
    assert trail.of("no.yaml", WEB, NOW).tags == {}


PREVIOUS: dict[str, tuple[Sequence[Logged], str, str | None]] = {
    "what stood there before": ([ours(bump("1.4", "1.5"))], "1.5", "1.4"),
    "of the latest that wrote it": ([ours(bump("1.3", "1.5")), ours(bump("1.4", "1.5"), hours=1)], "1.5", "1.3"),
    "after a rollback, further back": (
        [ours(bump("1.5", "1.4"), until=HOLD), ours(bump("1.4", "1.5")), ours(bump("1.3", "1.4"))],
        "1.4",
        "1.3",
    ),
    "nothing: a person wrote it": ([ours(bump("1.4", "1.5"))], "1.6", None),
    "nothing: there was none": ([ours(bump("-", "1.5"))], "1.5", "-"),
    "with its digest": ([ours(bump(f"1.4@{DIGEST}", f"1.5@{SECOND}"))], f"1.5@{SECOND}", f"1.4@{DIGEST}"),
}


@pytest.mark.parametrize(("commits", "current", "expected"), PREVIOUS.values(), ids=PREVIOUS.keys())
def test_what_to_go_back_to(commits: Sequence[Logged], current: str, expected: str | None) -> None:
    step = Trail(commits).previous(FILE, API, current)
    assert (step.old if step else None) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Image-Update: ghcr.io/acme/api 1.4 -> 1.5\n",
        "S\n\nImage-Update: ghcr.io/acme/api 1.4 1.5\n",
        "S\n\nImage-Update: ghcr.io/acme/api:1 1.4 -> 1.5\n",
        "S\n\nImage-Hold: ghcr.io/acme/api until 2026-12-01T00:00:00Z\n",
        "S\n\nImage-Digest: ghcr.io/acme/api 1.5 sha256:short\n",
    ],
    ids=["a subject", "no arrow", "an image with a tag", "a hold without an update", "a digest alone"],
)
def test_a_commit_that_is_not_ours_says_nothing(text: str) -> None:
    assert Trail([ours(text=text, files=[FILE])]).of(FILE, API, NOW) == NOTHING


@pytest.mark.parametrize("until", ["soon", "2026-12-01", "2026-12-01T00:00:00"], ids=["no time", "a day", "no zone"])
def test_a_hold_without_an_exact_end_holds_nothing(until: str) -> None:
    text = f"S\n\nImage-Update: {API} 1.5 -> 1.4\nImage-Hold: {API} until {until}\n"
    assert Trail([ours(text=text, files=[FILE])]).of(FILE, API, NOW).held_until is None


OLD = "r.io/old/api"
RENAMED = Bump(FILE, 3, API, API, "1.4", "1.5", None, "why", former=OLD)
ALONE = Bump(FILE, 3, API, API, "1.5", "1.5", None, "why", former=OLD)
BACK = Bump(FILE, 3, API, OLD, "1.5", "1.4", None, "why", former=API)
AGAINST = Bump(FILE, 3, OLD, OLD, "1.5", "1.5", None, "why", former=API)
LOST = "S\n\nImage-Update: ghcr.io/acme/api 1.5 -> 1.5\n"
FAR = FLAP_WINDOW / timedelta(hours=1) + 1
UNDONE: dict[str, tuple[Sequence[Logged], str | None]] = {
    "nothing": ([], None),
    "an update under the former name": ([ours(bump("1.3", "1.4", image=OLD))], None),
    "a person put the name back": ([ours(RENAMED)], "human_rollback"),
    "and another version": ([ours(bump("1.5", "1.6")), ours(RENAMED, hours=1)], "human_rollback"),
    "the name alone": ([ours(ALONE)], "human_rollback"),
    "in a squash without its lines": ([ours(text=LOST, files=[FILE])], "human_rollback"),
    "in another file": ([ours(RENAMED, files=[OTHER])], None),
    "a rollback": ([ours(BACK, until=HOLD), ours(RENAMED, hours=1)], None),
    "another updater": ([ours(AGAINST), ours(RENAMED, hours=1)], "flapping"),
    "another updater, long ago": ([ours(AGAINST, hours=FAR), ours(RENAMED, hours=FAR)], "human_rollback"),
}


@pytest.mark.parametrize(("commits", "expected"), UNDONE.values(), ids=UNDONE.keys())
def test_who_put_a_former_name_back(commits: Sequence[Logged], expected: str | None) -> None:
    assert Trail(commits).of(FILE, API, NOW, "1.4", OLD).undone == expected
    assert Trail(commits).of(FILE, API, NOW, "1.4").undone is None


def test_a_name_that_changed_leaves_no_version() -> None:
    assert Trail([ours(ALONE)]).of(FILE, API, NOW, "1.5").left == frozenset()
    assert Trail([ours(RENAMED)]).of(FILE, API, NOW, "1.5").left == {"1.4"}


def test_what_happened_under_the_former_name_counts_while_git_has_it() -> None:
    commits = [ours(bump("1.5", "1.4", image=OLD), until=HOLD), ours(bump("1.4", "1.5", image=OLD), hours=1)]
    past = Trail(commits).of(FILE, API, NOW, "1.4", OLD)
    assert (past.wrote, past.held_until) == ("1.4", HOLD)
    assert Trail(commits).of(FILE, API, NOW, "1.4") == NOTHING


def test_a_line_with_two_names_is_read_back() -> None:
    message = commit_message([RENAMED, Bump(FILE, 5, API, API, f"@{DIGEST}", f"1.5@{SECOND}", None, "why", former=OLD)])
    assert f"- {OLD}:1.4 -> {API}:1.5 in {FILE}:3\n- {OLD}@{DIGEST} -> {API}:1.5@{SECOND} in {FILE}:5\n" in message
    assert places(message) == (
        Place(API, "1.4", "1.5", FILE, 3, OLD),
        Place(API, f"@{DIGEST}", f"1.5@{SECOND}", FILE, 5, OLD),
    )


def test_a_name_that_goes_its_own_way_has_a_past_of_its_own() -> None:
    """Two names of one image stand in one file, and one of them may wait for its mirror; a hold is for both."""
    mirror = "mirror.example.com/acme/api"

    def at(spelled: str, old: str, new: str, line: int) -> Bump:
        return Bump(FILE, line, API, spelled, old, new, None, "why")

    first = ours(at(API, "1.0", "1.1", 3), at(mirror, "1.0", "1.1", 5), hours=50)
    second = ours(at(API, "1.1", "1.2", 3), hours=40, until=HOLD)
    untold = ours(text="Update\n\nImage-Update: ghcr.io/acme/api 1.1 -> 1.3\n", hours=30, files=[FILE])

    def past(*commits: Logged, alone: str) -> tuple[str | None, datetime | None]:
        found = Trail(commits).of(FILE, API, NOW, "1.1", alone=alone)
        return found.wrote, found.held_until

    assert past(second, first, alone="") == ("1.2", HOLD)
    assert past(second, first, alone=mirror) == ("1.1", HOLD)
    assert past(second, alone=mirror) == (None, HOLD)
    assert past(untold, first, alone=mirror) == ("1.3", None)  # what no line tells may be about any name
