"""One decision for what Git says and what a registry has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.decision import Hold, Reason, Unresolved, Update
from updater.model.image import ImageRef
from updater.model.tag import Scan, Tag
from updater.pipeline.decide import decide
from updater.policies.rule import Rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
API = "ghcr.io/acme/api"
SEMVER = {"kind": "semver", "range": "1.x"}
FOLLOW = {"kind": "digest"}
STABLE = {"kind": "digest", "tag": "stable"}


def digest(name: str) -> str:
    return "sha256:" + f"{name.encode().hex():0<64}"[:64]


def image(version: str) -> ImageRef:
    """Read `tag`, `tag@name`, `@name` or `-`, where the digest is the one of the named tag."""
    tag, _, name = version.partition("@")
    return ImageRef("ghcr.io", "acme/api", tag.strip("-") or None, digest(name) if name else None)


def rule(policy: dict[str, Any], write: str = "tag", **fields: Any) -> Rule:
    return Rule.model_validate({"policy": policy, "write": write, **fields})


def scan(tags: str, *, complete: bool = True, why: str = "") -> Scan:
    """Tags by name; `tag!` is one whose digest is known."""
    known = (Tag(name.rstrip("!"), digest(name.rstrip("!")) if name.endswith("!") else None) for name in tags.split())
    return Scan(API, tuple(known), NOW, complete, why)


# what the row says, rule, Git, tags, what Git says next
UPDATES: list[tuple[str, Rule, str, str, str]] = [
    ("a newer tag", rule(SEMVER), "1.4.2", "1.4.2 1.5.0", "1.5.0"),
    ("a newer tag, its digest known and not wanted", rule(SEMVER), "1.4.2", "1.5.0!", "1.5.0"),
    ("tag and digest never part", rule(SEMVER), "1.4.2@1.4.2", "1.4.2 1.5.0!", "1.5.0@1.5.0"),
    ("a digest is written too", rule(SEMVER, "tag_digest"), "1.4.2", "1.5.0!", "1.5.0@1.5.0"),
    ("a digest alone", rule(SEMVER, "digest"), "1.4.2", "1.5.0!", "@1.5.0"),
    ("the digest stands beside the name in the list", rule(SEMVER, "tag_digest"), "1.4.2", "1.5.0 1.5.0!",
     "1.5.0@1.5.0"),
    ("the followed tag is pinned", rule(FOLLOW), "latest", "latest!", "latest@latest"),
    ("the followed tag has moved", rule(FOLLOW), "latest@older", "latest!", "latest@latest"),
    ("another tag is followed", rule(STABLE), "latest", "stable!", "stable@stable"),
    ("a digest without a tag stays one", rule(STABLE), "@older", "stable!", "@stable"),
    ("a digest without a tag gets one where both are asked for", rule(STABLE, "tag_digest"), "@older", "stable!",
     "stable@stable"),
    ("the followed tag, only its digest", rule(FOLLOW, "digest"), "latest", "latest!", "@latest"),
    ("nothing in Git but an explicit tag to follow", rule(STABLE), "-", "stable!", "stable@stable"),
]  # fmt: skip


@pytest.mark.parametrize(("the", "now", "tags", "then"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_updates(the: Rule, now: str, tags: str, then: str) -> None:
    decision = decide(the, image(now), scan(tags))
    assert isinstance(decision, Update)
    assert (decision.current, decision.target) == (image(now), image(then))
    assert decision.why
    assert decision.newest


# what the row says, rule, Git, scan, reason
HOLDS: list[tuple[str, Rule, str, Scan, str]] = [
    ("nothing newer", rule(SEMVER), "1.5.0", scan("1.4.2 1.5.0"), "up_to_date"),
    ("a pinned tag is no reason to look at digests", rule(SEMVER), "1.5.0@other", scan("1.5.0!"), "up_to_date"),
    ("a tag is not pinned before it changes", rule(SEMVER, "tag_digest"), "1.5.0", scan("1.5.0"), "up_to_date"),
    ("nothing matches", rule(SEMVER), "1.5.0", scan("2.0.0"), "no_match"),
    ("all is older", rule(SEMVER), "1.5.0", scan("1.4.0"), "older"),
    ("too far", rule({"kind": "docker"}), "1.5.0", scan("2.0.0"), "level"),
    ("an incomplete list decides nothing", rule(SEMVER), "1.4.2", scan("1.5.0", complete=False), "incomplete_scan"),
    ("an incomplete list, whatever Git says", rule(SEMVER), "latest", scan("", complete=False), "incomplete_scan"),
    ("an empty list is no list", rule(SEMVER), "1.4.2", scan(""), "incomplete_scan"),
    ("a word where a version should be", rule(SEMVER), "latest", scan("1.5.0"), "unparsable_current"),
    ("no tag in Git", rule(SEMVER), "-", scan("1.5.0"), "unparsable_current"),
    ("only a digest in Git", rule(SEMVER, "digest"), "@1.4.2", scan("1.5.0!"), "unparsable_current"),
    ("the followed tag has not moved", rule(FOLLOW), "latest@latest", scan("latest!"), "up_to_date"),
    ("the digest of another name is the same image", rule(STABLE), "1.0@stable", scan("stable!"), "up_to_date"),
    ("only a digest in Git, and it is the one", rule(STABLE, "digest"), "@stable", scan("stable!"), "up_to_date"),
    ("only a digest in Git and no tag to follow", rule(FOLLOW), "@latest", scan("latest!"), "unparsable_current"),
    ("the followed tag is filtered out", rule(FOLLOW, tags={"exclude": ["late"]}), "latest", scan("latest!"),
     "no_match"),
    ("no digest from a registry that fails", rule(FOLLOW), "latest", scan("latest", complete=False),
     "incomplete_scan"),
]  # fmt: skip


@pytest.mark.parametrize(("the", "now", "seen", "reason"), [row[1:] for row in HOLDS], ids=[row[0] for row in HOLDS])
def test_holds(the: Rule, now: str, seen: Scan, reason: str) -> None:
    decision = decide(the, image(now), seen)
    assert isinstance(decision, Hold)
    assert (decision.current, decision.reason.value) == (image(now), reason)
    assert decision.why


def test_an_incomplete_scan_says_in_its_own_words_what_is_wrong() -> None:
    decision = decide(rule(SEMVER), image("1.0"), scan("", complete=False, why="ghcr.io answered 503"))
    assert isinstance(decision, Hold)
    assert decision.why == "ghcr.io answered 503"


@pytest.mark.parametrize(
    ("the", "now", "tags", "needed"),
    [
        pytest.param(rule(SEMVER, "tag_digest"), "1.4.2", "1.5.0 1.4.2!", "1.5.0", id="a digest is to be written"),
        pytest.param(rule(SEMVER, "digest"), "1.4.2", "1.5.0", "1.5.0", id="only a digest is to be written"),
        pytest.param(rule(SEMVER), "1.4.2@1.4.2", "1.5.0", "1.5.0", id="Git holds a digest"),
        pytest.param(rule(FOLLOW), "latest", "", "latest", id="a followed tag, without any list"),
        pytest.param(rule(STABLE), "latest", "latest! stable", "stable", id="a followed tag, from a list of names"),
    ],
)
def test_only_the_digest_that_is_needed_is_asked_for(the: Rule, now: str, tags: str, needed: str) -> None:
    assert decide(the, image(now), scan(tags)) == Unresolved((needed,))


def test_a_tag_that_the_registry_no_longer_has_is_passed_over() -> None:
    the, seen = rule(SEMVER, "tag_digest"), scan("1.4.2 1.5.0! 1.6.0")
    assert decide(the, image("1.4.2"), seen) == Unresolved(("1.6.0",))
    decision = decide(the, image("1.4.2"), seen, missing={"1.6.0"})
    assert isinstance(decision, Update)
    assert decision.target == image("1.5.0@1.5.0")


def test_a_followed_tag_that_the_registry_does_not_have_is_no_match() -> None:
    decision = decide(rule(STABLE), image("latest"), scan(""), missing={"stable"})
    assert isinstance(decision, Hold)
    assert (decision.reason, decision.why) == (Reason.NO_MATCH, "the registry has no tag stable")


NAMES = st.sampled_from(["1.0.0", "1.1.0", "v1.1.0", "1.2", "1.3.0-rc1", "2.0.0", "latest", "stable", "main"])
CURRENT = st.builds(
    lambda tag, held: image(f"{tag}{f'@{held}' if held else ''}"), st.one_of(NAMES, st.just("")), st.none() | NAMES
)
RULES = st.builds(
    rule,
    st.sampled_from([SEMVER, {"kind": "semver", "prerelease": "allow"}, {"kind": "docker"}, FOLLOW, STABLE]),
    st.sampled_from(["tag", "digest", "tag_digest"]),
)


def settle(the: Rule, current: ImageRef, names: list[str], gone: set[str]) -> Update | Hold:
    """Ask as the pipeline does: fetch what is unresolved, once each."""
    tags, missing = [*map(Tag, names)], set[str]()
    for _ in range(len(names) + 2):
        decision = decide(the, current, Scan(API, tuple(tags), NOW), missing)
        if not isinstance(decision, Unresolved):
            return decision
        for name in decision.tags:
            assert name not in missing
            assert Tag(name, digest(name)) not in tags
            if name in gone or name not in names:
                missing.add(name)
            else:
                tags.append(Tag(name, digest(name)))
    raise AssertionError("it asks for ever")


@given(RULES, CURRENT, st.lists(NAMES, unique=True), st.sets(NAMES))
def test_asking_ends_and_nothing_goes_to_a_tag_that_is_not_there(
    the: Rule, current: ImageRef, names: list[str], gone: set[str]
) -> None:
    decision = settle(the, current, names, gone)
    assert decision.current == current
    if isinstance(decision, Update):
        assert decision.target != current
        assert decision.target.name == current.name
        assert decision.target.tag is None or decision.target.tag in names


@given(RULES, CURRENT, st.lists(NAMES, unique=True))
def test_after_an_update_there_is_nothing_more_to_do(the: Rule, current: ImageRef, names: list[str]) -> None:
    decision = settle(the, current, names, set())
    if isinstance(decision, Update):
        again = settle(the, decision.target, names, set())
        assert isinstance(again, Hold)


@given(RULES, CURRENT, st.lists(NAMES, unique=True))
def test_a_digest_in_git_never_stands_beside_the_tag_of_another(the: Rule, current: ImageRef, names: list[str]) -> None:
    decision = settle(the, current, names, set())
    if isinstance(decision, Update) and decision.target.digest and decision.target.tag:
        assert decision.target.digest == digest(decision.target.tag)
    if isinstance(decision, Update) and current.digest:
        assert decision.target.digest


@given(RULES, CURRENT, st.lists(NAMES, unique=True))
def test_an_incomplete_list_never_moves_a_version(the: Rule, current: ImageRef, names: list[str]) -> None:
    seen = Scan(API, tuple(map(Tag, names)), NOW, complete=False, why="cut off")
    assert isinstance(decide(the, current, seen), Hold)
