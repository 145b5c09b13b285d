"""From a list of tags to the one that is wanted: every policy, through the model that the operator writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.decision import Mark, Reason
from updater.model.tag import Tag
from updater.plugins import members
from updater.policies.base import Policy
from updater.policies.choose import Judgement, judge
from updater.policies.rule import Rule

REVISION = {"kind": "docker", "suffix": "revision"}


def rule(policy: dict[str, Any] | None = None, **fields: Any) -> Rule:
    return Rule.model_validate({"policy": policy or {"kind": "docker"}, **fields})


def judged(the: Rule, tags: str, current: str | None) -> Judgement:
    return judge(the, [Tag(name) for name in tags.split()], current)


def semver(range_: str = "*", prerelease: str | list[str] = "by_range", **fields: Any) -> Rule:
    return rule({"kind": "semver", "range": range_, "prerelease": prerelease}, **fields)


# what the row says, rule, current, tags, target or the reason why there is none
TABLE: list[tuple[str, Rule, str | None, str, str]] = [
    ("semver: the greatest inside the range", semver("1.x"), "1.4.2", "1.5.0 1.10.0 2.0.0 main", "1.10.0"),
    ("semver: a greater major hides no allowed minor", semver("<2 || >=3 <3"), "1.0.0", "1.1.0 9.9.9", "1.1.0"),
    ("semver: the current version may be outside the range", semver("2.x"), "1.4.2", "1.9.0 2.1.0", "2.1.0"),
    ("semver: above the range nothing goes back", semver("1.x"), "2.0.0", "1.9.0 2.0.0 2.1.0", "older"),
    ("semver: nothing inside the range", semver("3.x"), "1.0.0", "1.0.0 2.0.0", "no_match"),
    ("semver: no version in Git", semver(), "latest", "1.0.0", "unparsable_current"),
    ("semver: no version in Git, and none in the list", semver(), "latest", "latest main", "unparsable_current"),
    ("semver: leading zeros and short versions", semver("*", level="major"), "v2025.07.03", "2025.7 2026.1", "2026.1"),
    ("semver: no prerelease by default", semver("1.x"), "1.0.0", "1.0.0 1.1.0-rc1", "up_to_date"),
    ("semver: a prerelease where the range names one", semver("1.x-0"), "1.0.0", "1.0.0 1.1.0-rc1", "1.1.0-rc1"),
    ("semver: rc10 after rc9", semver(">=1.0.0-0"), "1.1.0-rc9", "1.1.0-rc10 1.1.0-rc9 1.1.0-rc1", "1.1.0-rc10"),
    ("semver: never a prerelease", semver(">=1.0.0-0", "never"), "1.0.0", "1.0.0 1.1.0-rc1", "up_to_date"),
    ("semver: prereleases allowed", semver("1.x", "allow"), "1.0.0", "1.1.0-rc1 2.0.0-rc1", "1.1.0-rc1"),
    ("semver: only these words", semver("1.x", ["rc"]), "1.0.0", "1.1.0-beta1 1.1.0-rc.2 1.2.0-alpha", "1.1.0-rc.2"),
    ("semver: words, and a release is always one", semver("1.x", ["rc"]), "1.0.0", "1.1.0-rc1 1.1.0", "1.1.0"),
    ("semver: a current prerelease goes to its release", semver("1.x"), "1.1.0-rc1", "1.1.0-rc1 1.1.0", "1.1.0"),
    ("semver: without a range only minor changes", semver(), "1.4.2", "1.5.0 2.0.0", "1.5.0"),
    ("semver: with a range any change inside", semver(">=1"), "1.4.2", "1.5.0 2.0.0", "2.0.0"),
    ("semver: a date among versions is too far", semver(">=1"), "1.4.2", "1.5.0 20221209", "1.5.0"),
    ("docker: same suffix", rule(), "1.2.3-alpine", "1.3.0 1.2.4-alpine 1.9.0-slim", "1.2.4-alpine"),
    ("docker: no suffix stays without", rule(), "1.2.3", "1.3.0-alpine 1.2.4", "1.2.4"),
    ("docker: same precision", rule(), "1.2", "1.3 1.4.1 1", "1.3"),
    ("docker: one part", rule(level="major"), "14", "15 16 16.1 16beta1", "16"),
    ("docker: four parts", rule(), "1.2.3.4", "1.2.3.10 1.2.4", "1.2.3.10"),
    ("docker: a suffix may be a word of prereleases", rule(), "1.2.3-rc.1", "1.2.4-rc.1 1.2.4", "1.2.4-rc.1"),
    ("docker: v and no v are compatible", rule(), "1.2.3", "v1.2.4", "v1.2.4"),
    ("docker: no prerelease for a stable one", rule(), "3.7.0", "3.8.0b1 3.7.0", "up_to_date"),
    ("docker: a prerelease goes on to the next of its base", rule(), "3.7.0b9", "3.7.0b10 3.8.0b1", "3.7.0b10"),
    ("docker: a prerelease goes on to its release", rule(), "3.7.0b1", "3.7.0b2 3.7.0", "3.7.0"),
    ("docker: months with and without zeros", rule(level="major"), "18.04", "18.04 20.04 22.4", "22.4"),
    ("docker: the hash of a commit is no version", rule(level="major", max_major_step=0), "1", "1234567a 2", "2"),
    ("docker: only digits are a number", rule(level="major", max_major_step=0), "1", "1234567", "1234567"),
    ("docker: no version in Git", rule(), "latest", "latest 1.0", "unparsable_current"),
    ("docker: a branch in Git", rule(), "fix_796", "8.1.1", "unparsable_current"),
    ("docker: only minor by default", rule(), "1.2.3", "1.9.0 2.0.0", "1.9.0"),
    ("docker: rolling suffixes are other suffixes", rule(), "1.2.3-debian-11-r5", "1.2.4-debian-12-r1", "no_match"),
    ("revision: the numbers in a suffix count", rule(REVISION), "1.2.3-r5", "1.2.3-r9 1.2.3-r10", "1.2.3-r10"),
    ("revision: the version comes first", rule(REVISION), "1.2.3-r5", "1.2.4-r1 1.2.3-r10", "1.2.4-r1"),
    ("revision: a patch", rule(REVISION, level="patch"), "1.2-debian-11-r5", "1.2-debian-12-r1", "1.2-debian-12-r1"),
    ("revision: other letters are another suffix", rule(REVISION), "1.2.3-r5", "1.2.4-p6 1.2.4", "no_match"),
    ("digest: the tag in Git is followed", rule({"kind": "digest"}), "latest", "latest 1.0", "up_to_date"),
    ("digest: another tag", rule({"kind": "digest", "tag": "stable"}), "latest", "latest stable", "stable"),
    ("digest: no such tag", rule({"kind": "digest", "tag": "stable"}), "latest", "latest", "no_match"),
    ("level: patch", rule(level="patch"), "1.2.3", "1.2.4 1.3.0 2.0.0", "1.2.4"),
    ("level: nothing passes", rule(level="patch"), "1.2.3", "1.2.3 1.3.0 2.0.0", "level"),
    ("level: major", rule(level="major"), "1.2.3", "1.2.4 2.0.0", "2.0.0"),
    ("step: 20 majors are not too far", rule(level="major"), "1.0", "21.0", "21.0"),
    ("step: 21 majors are", rule(level="major"), "1.0", "22.0", "ambiguous"),
    ("step: off", rule(level="major", max_major_step=0), "10.11.4", "2021.12.16", "2021.12.16"),
    ("step: from a version to a year", rule(level="major"), "10.11.4", "2021.12.16", "ambiguous"),
    ("step: from year to year", rule(level="major", max_major_step=1), "1999.1", "2026.1", "2026.1"),
    ("the one below what is too far", rule(level="major"), "10.11.4", "10.11.5 2021.12.16", "10.11.5"),
    ("gates: the weightier one is told of the best", rule(level="minor"), "1.0", "2.0 50.0", "level"),
    ("older: a list that lost its newest tags", rule(), "1.5.0", "1.4.0 1.3.0", "older"),
    ("older: not where the current tag is in the list", rule(), "1.5.0", "1.4.0 1.5.0", "up_to_date"),
    ("equal: 1.20 and 1.20.0 do not alternate", semver("1.x"), "1.20", "1.20.0", "up_to_date"),
    ("equal: v or not does not alternate", semver("1.x"), "1.20.0", "v1.20.0", "up_to_date"),
    ("equal: spelled as in Git with v", semver("1.x"), "v1.4", "1.5 v1.5.0 v1.5 1.5.0", "v1.5"),
    ("equal: spelled as in Git without v", semver("1.x"), "1.4.0", "1.5 v1.5.0 v1.5 1.5.0", "1.5.0"),
    ("equal: the v counts before the parts", semver("1.x"), "v1.4", "1.5 v1.5.0", "v1.5.0"),
    ("equal: else the smallest text", semver("1.x"), "1.4.0", "1.05.0 1.5.0 01.5.0", "01.5.0"),
    ("filters: excluded", rule(tags={"exclude": [r"^1\.3\."]}), "1.2.3", "1.2.4 1.3.0", "1.2.4"),
    ("filters: not included", rule(tags={"include": ["-prod$"]}), "1.2.3", "1.2.4", "no_match"),
    ("filters: signatures are no tags", rule(), "1.2.3", f"sha256-{'a' * 64}.sig", "no_match"),
    ("extract: compares a part and writes the whole",
     semver("*", tags={"pattern": "^main-(?P<v>.*)$", "extract": "$v"}), "main-1.2", "main-1.10 main-1.9 2.0",
     "main-1.10"),
    ("extract: what Git holds has no such part",
     semver("*", tags={"pattern": "^main-(.*)$", "extract": "$1"}), "1.2", "main-1.10", "unparsable_current"),
    ("extract: of duplicates the smallest text",
     semver("*", tags={"pattern": "^(.*)-[a-z]+$", "extract": "$1"}), "1.1-a", "1.2-c 1.2-b", "1.2-b"),
    ("no current: semver", semver("1.x"), None, "1.5.0 2.0.0 1.9.0", "1.9.0"),
    ("no current: no gate is asked", rule(level="patch"), None, "1.5.0 99.0.0", "99.0.0"),
    ("no current: docker, stable and without suffix", rule(), None, "1.9.0 2.0.0b1 2.0.0-alpine", "1.9.0"),
    ("no current: docker, where all have suffixes", rule(), None, "1.9-alpine 2.0-alpine", "2.0-alpine"),
    ("no current: docker, the shorter is above the longer", rule(), None, "2.1.1 2.1 2.0", "2.1"),
    ("no current: digest", rule({"kind": "digest", "tag": "stable"}), None, "latest stable", "stable"),
    ("no current: digest of nothing", rule({"kind": "digest"}), None, "latest", "no_match"),
    ("an empty list", rule(), "1.0", "", "no_match"),
    ("an empty list, and nothing in Git", rule(), None, "", "no_match"),
]  # fmt: skip


@pytest.mark.parametrize(("the", "current", "tags", "expected"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_which_tag_is_wanted(the: Rule, current: str | None, tags: str, expected: str) -> None:
    judgement = judged(the, tags, current)
    assert expected in {judgement.target, judgement.reason}
    assert (judgement.target is None) is (judgement.reason is not None)
    assert judgement.why
    assert sorted(verdict.tag for verdict in judgement.verdicts) == sorted(tags.split())
    assert [v.tag for v in judgement.verdicts if v.mark is Mark.CHOSEN] == [expected] * (judgement.target is not None)


def test_every_tag_has_a_verdict_best_first_then_the_rejected() -> None:
    tags = "1.0.0 1.1.0 1.2.0 1.3.0 2.0.0 3.0.0-alpine latest 20221209.0.0"
    verdicts = judged(rule(), tags, "1.1.0").verdicts
    assert [(verdict.tag, verdict.mark.value, verdict.why.partition(":")[0]) for verdict in verdicts] == [
        ("20221209.0.0", "rejected", "level"),
        ("2.0.0", "rejected", "level"),
        ("1.3.0", "chosen", "the newest that passes"),
        ("1.2.0", "candidate", "not the newest"),
        ("1.1.0", "candidate", "up_to_date"),
        ("1.0.0", "rejected", "older"),
        ("3.0.0-alpine", "rejected", "no_match"),
        ("latest", "rejected", "no_match"),
    ]


def test_without_a_current_tag_verdicts_are_about_policy_and_filters_only() -> None:
    verdicts = judged(semver("1.x", level="patch"), "1.0.0 1.1.0 2.0.0", None).verdicts
    assert [(verdict.tag, verdict.mark.value) for verdict in verdicts] == [
        ("1.1.0", "chosen"),
        ("1.0.0", "candidate"),
        ("2.0.0", "rejected"),
    ]


@pytest.mark.parametrize(
    ("the", "current", "tags", "why", "newest"),
    [
        pytest.param(semver(">=1.4.0  <2.0.0"), "1.4.0", "1.5.0 1.4.0 2.0.0", "semver >=1.4.0 <2.0.0, newest of 2",
                     "1.5.0", id="the policy in words, and how many it wants"),
        pytest.param(rule(level="major"), "1.0", "1.1 50.0 60.0", "docker, newest of 3 but 2 (ambiguous)", "60.0",
                     id="what was passed over, and why"),
        pytest.param(rule(), "1.0", "1.0 2.0", "docker, 2.0 is newest of 2; level: a major change, allowed is minor",
                     "2.0", id="the gate that stopped the best"),
        pytest.param(semver(), "latest", "1.0", "semver * cannot read the current tag latest", "1.0",
                     id="what Git holds"),
    ],
)  # fmt: skip
def test_the_answer_says_why(the: Rule, current: str, tags: str, why: str, newest: str) -> None:
    judgement = judged(the, tags, current)
    assert (judgement.why, judgement.newest) == (why, newest)


RELEASE = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))
VERSION = st.builds("".join, st.tuples(st.sampled_from(["", "v"]), RELEASE, st.sampled_from(["", "", "-rc1", "b2"])))
NAMES = st.one_of(VERSION, st.sampled_from(["latest", "stable", "main-abc", "2021.1.1", "30", "1234567a"]))
LISTS = st.lists(NAMES, max_size=8, unique=True)
POLICIES: dict[str, list[dict[str, Any]]] = {
    "semver": [{}, {"range": ">=1 <3"}, {"range": "^1.0.0-0"}, {"prerelease": "allow"}, {"prerelease": ["rc"]}],
    "docker": [{}, {"suffix": "revision"}],
    "digest": [{}, {"tag": "stable"}],
    "calver": [{"format": "YYYY.MM.DD"}, {"format": "YY.0M"}],
    "numerical": [{}, {"order": "desc"}],
    "alphabetical": [{}, {"order": "desc"}],
    "newest": [{}],
}
RULES = st.builds(
    rule,
    st.sampled_from([{"kind": kind, **fields} for kind, rows in POLICIES.items() for fields in rows]),
    level=st.sampled_from([None, "patch", "minor", "major"]),
    max_major_step=st.sampled_from([0, 1, 20]),
)


def test_the_properties_below_are_asked_of_every_policy() -> None:
    assert set(POLICIES) == set(members(Policy))


@given(RULES, LISTS.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))), st.none() | NAMES)
def test_the_order_of_the_list_does_not_matter(the: Rule, lists: tuple[list[str], list[str]], now: str | None) -> None:
    first, second = lists
    assert judge(the, [*map(Tag, first)], now) == judge(the, [*map(Tag, second), *map(Tag, first)], now)


@given(RULES, LISTS, NAMES, st.none() | NAMES)
def test_a_tag_that_is_not_wanted_changes_nothing(the: Rule, names: list[str], other: str, now: str | None) -> None:
    before = judge(the, [*map(Tag, names)], now)
    after = judge(the, [*map(Tag, [*names, other])], now)
    (verdict,) = (verdict for verdict in after.verdicts if verdict.tag == other)
    if verdict.why.startswith("no_match"):
        assert (before.target, before.reason, before.newest) == (after.target, after.reason, after.newest)


@given(RULES, LISTS, NAMES)
def test_a_target_is_always_newer_than_the_current_tag(the: Rule, names: list[str], now: str) -> None:
    target = judge(the, [*map(Tag, names)], now).target
    if target is not None:
        old = the.policy.current(now, Tag(now))
        new = the.policy.rank(target, now, Tag(target))
        assert old is not None
        assert not isinstance(new, str)
        assert new.key > old.key


@given(RULES, LISTS, NAMES)
def test_it_never_goes_back_and_comes_to_rest(the: Rule, names: list[str], now: str) -> None:
    seen = [now]
    while (target := judge(the, [*map(Tag, names)], seen[-1]).target) is not None:
        assert target not in seen
        seen.append(target)
    assert judge(the, [*map(Tag, names)], seen[-1]).reason in set(Reason)


@given(RULES, LISTS, NAMES)
def test_without_gates_an_update_is_the_last_one(the: Rule, names: list[str], now: str) -> None:
    free = the.model_copy(update={"level": "major", "max_major_step": 0})
    target = judge(free, [*map(Tag, names)], now).target
    # A step from a prerelease that is glued on opens no further prereleases, it may only end them.
    if target is not None:
        assert judge(free, [*map(Tag, names)], target).reason == Reason.UP_TO_DATE


def test_ten_thousand_tags_are_judged_as_one() -> None:
    """A list that long is cut into one pass and one sort; twice the list is about twice the work."""
    tags = [Tag(f"{major}.{minor}.{patch}") for major in range(10) for minor in range(50) for patch in range(20)]
    judgement = judge(semver("1.x"), tags, "1.0.0")
    assert judgement.target == "1.49.19"
    assert len(judgement.verdicts) == 10_000
