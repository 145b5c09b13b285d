"""The same things are done at every forge, and the forge agrees that they were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from tests.lab.forge import BRANCH, KINDS, TARGET, Yard, yard
from tests.lab.git import git, person_commits
from updater.errors import ForgeError
from updater.model.pull_request import PullRequest, State


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    with yard(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def opened(there: Yard) -> PullRequest:
    there.push("image: r/a:1.1.0\n")
    return there.client.open(BRANCH, TARGET, "Update r/a to 1.1.0", "| image | to |\n|---|---|\n")


def test_a_request_is_opened_and_found_again(there: Yard, opened: PullRequest) -> None:
    assert (opened.state, opened.branch, opened.target) == (State.OPEN, BRANCH, TARGET)
    assert (opened.title, opened.body) == ("Update r/a to 1.1.0", "| image | to |\n|---|---|\n")
    assert opened.head == there.hosted.tip(BRANCH)
    assert opened.merged == ""
    assert opened.url.startswith(there.hosted.url)
    assert opened.changed_at is not None
    assert opened.changed_at.tzinfo is UTC
    assert there.client.requests(BRANCH, TARGET) == (opened,)


def test_other_branches_are_not_asked_for(there: Yard, opened: PullRequest) -> None:
    there.push("image: r/a:1.2.0\n", "updater/other")
    other = there.client.open("updater/other", TARGET, "Other", "")
    there.hosted.git("branch", "release", TARGET)
    assert there.client.requests("updater/other", TARGET) == (other,)
    assert there.client.requests(BRANCH, "release") == ()
    assert there.client.requests(BRANCH, TARGET) == (opened,)


def test_the_head_is_what_was_pushed_last(there: Yard, opened: PullRequest) -> None:
    revision = there.push("image: r/a:1.2.0\n")
    [found] = there.client.requests(BRANCH, TARGET)
    assert found.head == revision != opened.head


def test_a_second_request_for_one_branch_is_the_first(there: Yard, opened: PullRequest) -> None:
    """Whether a reply was lost, or somebody was faster: the forge refuses, and what is there is found."""
    assert there.client.open(BRANCH, TARGET, "Again", "again") == opened
    assert len(there.hosted.pulls) == 1


def test_a_request_is_revised_in_place(there: Yard, opened: PullRequest) -> None:
    revised = there.client.revise(opened.number, "Update r/a to 1.2.0", "new")
    assert (revised.number, revised.title, revised.body) == (opened.number, "Update r/a to 1.2.0", "new")
    assert there.hosted.pulls[opened.number].body == "new"


def test_what_no_forge_takes_is_cut(there: Yard, opened: PullRequest) -> None:
    revised = there.client.revise(opened.number, "t" * 300 + "\nx", "line\n" * 20_000)
    assert revised.title == "t" * 255
    assert len(revised.body) <= 60_000
    assert revised.body.endswith("line\n\n...")


def test_labels_are_added_to_those_of_people(there: Yard, opened: PullRequest) -> None:
    there.hosted.labels |= {"by-hand": 1, "image-update": 2}
    there.hosted.pulls[opened.number].labels.append("by-hand")
    there.client.label(opened.number, ["image-update", "made here"])
    there.client.label(opened.number, [])
    assert there.hosted.pulls[opened.number].labels == ["by-hand", "image-update", "made here"]


def test_reviewers_are_asked_besides_those_who_were(there: Yard, opened: PullRequest) -> None:
    there.client.ask(opened.number, ["bob"])
    there.client.ask(opened.number, ["alice"])
    there.client.ask(opened.number, [])
    assert sorted(there.hosted.pulls[opened.number].reviewers) == ["alice", "bob"]


def test_an_unknown_reviewer_is_named_and_the_others_are_asked(there: Yard, opened: PullRequest) -> None:
    with pytest.raises(ForgeError, match=r"nobody asked mallory, eve to review 1") as caught:
        there.client.ask(opened.number, ["mallory", "alice", "eve"])
    assert caught.value.refused
    assert there.hosted.pulls[opened.number].reviewers == ["alice"]


@pytest.mark.parametrize("comment", ["Superseded by #2.", ""])
def test_a_request_is_closed_with_a_word(there: Yard, opened: PullRequest, comment: str) -> None:
    there.client.close(opened.number, comment)
    [found] = there.client.requests(BRANCH, TARGET)
    assert found.state is State.CLOSED
    assert there.hosted.pulls[opened.number].comments == ([comment] if comment else [])


def test_what_a_person_closed_is_closed_and_the_next_one_comes_first(there: Yard, opened: PullRequest) -> None:
    there.hosted.close(opened.number)
    second = there.client.open(BRANCH, TARGET, "Update r/a to 1.2.0", "")
    found = there.client.requests(BRANCH, TARGET)
    assert [(one.number, one.state) for one in found] == [(second.number, State.OPEN), (opened.number, State.CLOSED)]
    assert found[1].merged == ""
    assert found[1].changed_at is not None


@pytest.mark.parametrize("style", ["merge", "squash"])
def test_what_was_merged_says_which_commit_did(there: Yard, opened: PullRequest, style: str) -> None:
    there.hosted.style = style  # type: ignore[assignment]
    there.hosted.merge(opened.number)
    [found] = there.client.requests(BRANCH, TARGET)
    assert found.state is State.MERGED
    assert found.merged == there.hosted.tip(TARGET)
    assert git(there.hosted.bare, "show", f"{TARGET}:apps/a.yaml") == "image: r/a:1.1.0"


def test_a_merged_request_is_known_by_its_branch_when_that_is_gone(there: Yard, opened: PullRequest) -> None:
    there.hosted.merge(opened.number)
    there.hosted.git("update-ref", "-d", f"refs/heads/{BRANCH}")
    [found] = there.client.requests(BRANCH, TARGET)
    assert (found.state, found.branch, found.head) == (State.MERGED, BRANCH, opened.head)


def test_lists_are_read_page_by_page(there: Yard) -> None:
    there.forge.page = 2
    for n in range(5):
        there.push(f"image: r/a:1.{n}.0\n")
        there.hosted.close(there.client.open(BRANCH, TARGET, f"{n}", "").number)
    asked = len(there.forge.asked)
    assert [one.title for one in there.client.requests(BRANCH, TARGET)] == ["4", "3", "2", "1", "0"]
    assert len(there.forge.asked) - asked == 3


def test_a_branch_without_changes_is_refused_in_the_forges_own_words(there: Yard) -> None:
    there.hosted.git("branch", BRANCH, TARGET)
    with pytest.raises(ForgeError, match=r"(?i)422.*(no commits|no changes)") as caught:
        there.client.open(BRANCH, TARGET, "Nothing", "")
    assert caught.value.refused
    assert caught.value.retry_at is None


def test_auto_merge_waits_for_the_checks(there: Yard, opened: PullRequest) -> None:
    there.hosted.checks, there.hosted.required = "pending", True
    before = there.hosted.tip(TARGET)
    assert there.client.merge_when_ready(opened)
    assert there.client.merge_when_ready(opened)  # again is no harm
    assert there.hosted.tip(TARGET) == before
    there.hosted.settle("success")
    [found] = there.client.requests(BRANCH, TARGET)
    assert (found.state, found.merged) == (State.MERGED, there.hosted.tip(TARGET))


def test_what_is_ready_already_is_merged_at_once(there: Yard, opened: PullRequest) -> None:
    there.hosted.checks, there.hosted.required = "success", True
    assert there.client.merge_when_ready(opened)
    assert there.hosted.pulls[opened.number].state == "merged"


@pytest.mark.parametrize("why", ["closed", "failed"])
def test_what_the_forge_cannot_merge_is_no_error(there: Yard, opened: PullRequest, why: str) -> None:
    if why == "closed":
        there.hosted.close(opened.number)
    else:
        there.hosted.checks = "failure"
    assert not there.client.merge_when_ready(opened)
    assert there.hosted.pulls[opened.number].merged == ""


def test_a_conflict_is_not_merged(there: Yard, opened: PullRequest) -> None:
    """Some turn auto-merge on all the same, for when somebody resolves it."""
    head = person_commits(there.hosted.bare, {"apps/a.yaml": b"image: r/a:9\n"})
    there.client.merge_when_ready(opened)
    assert there.hosted.tip(TARGET) == head
    assert there.hosted.pulls[opened.number].state == "open"


def test_a_branch_that_moved_is_not_merged(there: Yard, opened: PullRequest) -> None:
    """What somebody pushed onto our branch was not what we asked to merge."""
    there.hosted.checks = "success"
    there.push("image: r/evil:1\n")
    there.client.merge_when_ready(opened)
    assert there.hosted.pulls[opened.number].state == "open"
    assert there.hosted.pulls[opened.number].auto is None
