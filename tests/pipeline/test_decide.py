"""One decision for what Git says, what a registry has, what our commits did here, and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.model.decision import Hold, Mark, Reason, Unresolved, Update
from updater.model.image import ImageRef, is_digest
from updater.model.past import Past
from updater.model.people import HeldBy, People
from updater.model.tag import Needs, Scan, Tag
from updater.pipeline.decide import Known, decide
from updater.policies.rule import Rule
from updater.sync.windows import Closed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
API = "ghcr.io/acme/api"
ANY = {"kind": "semver", "range": "*"}
SEMVER = {"kind": "semver", "range": "1.x"}
DOCKER = {"kind": "docker"}
NEWEST = {"kind": "newest", "by": "created"}
FOLLOW = {"kind": "digest"}
STABLE = {"kind": "digest", "tag": "stable"}
BOTH = frozenset({"linux/amd64", "linux/arm64"})
NIGHT = Closed("outside the allow window '0 8 * * 1-5' for 8h, UTC", NOW + timedelta(hours=8))


def digest(name: str) -> str:
    return "sha256:" + f"{name.encode().hex():0<64}"[:64]


def image(version: str) -> ImageRef:
    """Read `tag`, `tag@name`, `@name` or `-`, where the digest is the one of the named tag."""
    tag, _, name = version.partition("@")
    return ImageRef("ghcr.io", "acme/api", tag.strip("-") or None, digest(name) if name else None)


def rule(policy: dict[str, Any], write: str = "tag", **fields: Any) -> Rule:
    return Rule.model_validate({"policy": policy, "write": write, **fields})


def ago(**length: int) -> datetime:
    return NOW - timedelta(**length)


def wrote(version: str, left: str = "", at: datetime = NOW - timedelta(hours=1), **others: Any) -> Past:
    """What our last commit wrote here, and which values our commits left lately, as `image` reads them."""
    tags = {digest(name): name for name in ("1.4.0", "1.5.0", "1.6.0")}
    return Past(image(version).version, at, frozenset(image(old).version for old in left.split()), tags, **others)


@dataclass
class Answerer:
    """The pipeline in small: it answers what is asked, and nothing else, and remembers what that was.

    listed  the tags of the registry's list
    facts   what differs from an image for linux/amd64 without a date, that was there on our first scan and never moved
    also    what the registry has without listing it
    absent  what it lists and does not have
    fills   Git has a place for the first version
    """

    listed: str
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    also: str = ""
    absent: str = ""
    past: Past = field(default_factory=Past)
    people: People = field(default_factory=People)
    closed: Closed | None = None
    complete: bool = True
    why: str = ""
    fills: bool = False
    asked: list[tuple[str, Needs]] = field(default_factory=list)
    rounds: int = 0
    histories: int = 0

    def settle(self, the: Rule, current: ImageRef, now: datetime = NOW) -> Update | Hold:
        """Ask until there is a decision; every round must bring news."""
        self.asked, self.rounds, self.histories = [], 0, 0
        scan = Scan(API, tuple(Tag(name) for name in self.listed.split()), now, self.complete, self.why)
        known = Known(people=self.people, closed=self.closed, fills=self.fills)
        while isinstance(decision := decide(the, current, scan, now, known), Unresolved):
            self.rounds += 1
            if decision.history:
                assert known.past is None
                self.histories += 1
                known = replace(known, past=self.past)
            known = self._answered(known, decision.asks) if decision.asks else known
        return decision

    def _answered(self, known: Known, asks: Mapping[str, Needs]) -> Known:
        facts, missing, before = dict(known.facts), set(known.missing), len(self.asked)
        for name, needs in asks.items():
            tag = facts.get(name) or Tag(name)
            news = needs & ~tag.known
            if news:
                self.asked.append((name, news))
            has = self.content(name)
            if has is None:
                missing.add(name)
            facts[name] = _revealed(has or Tag(name), tag.known | needs)
        assert len(self.asked) > before, f"asked again for {dict(asks)}"
        return replace(known, facts=facts, missing=missing)

    def content(self, reference: str) -> Tag | None:
        """What the registry has under a tag or a digest."""
        names = [name for name in {*self.listed.split(), *self.also.split()} if name not in self.absent.split()]
        for name in sorted(names):
            usual = Tag(name, digest(name), None, frozenset({"linux/amd64"}), None, digest(name))
            has = replace(usual, **self.facts.get(name, {}))
            if name == reference:
                return has
            if is_digest(reference) and has.digest == reference:
                return replace(has, name=reference)
        return None


def _revealed(has: Tag, known: Needs) -> Tag:
    """Return what was asked, and no fact beside it."""
    seen = Needs.SEEN in known
    return Tag(
        has.name,
        has.digest if Needs.DIGEST in known or is_digest(has.name) else None,
        has.created if Needs.CREATED in known else None,
        has.platforms if Needs.PLATFORMS in known else frozenset(),
        has.first_seen if seen else None,
        has.first_digest if seen else None,
        known,
    )


def settled(the: Rule, now: str, answerer: Answerer) -> str:
    """Decide, and say where to in the words of `image`, or the reason why not."""
    decision = answerer.settle(the, image(now))
    assert decision.current == image(now)
    assert decision.why
    if isinstance(decision, Hold):
        return decision.reason.value
    assert decision.newest
    assert decision.target != decision.current
    assert decision.target.name == API
    return _short(decision.target)


def _short(target: ImageRef) -> str:
    """Spell a reference as `image` reads it."""
    if target.digest is None:
        return target.version
    name = bytes.fromhex(target.digest.removeprefix("sha256:")).rstrip(b"\0").decode()
    return f"{target.tag or ''}@{name}"


Row = tuple[str, Rule, str, Answerer, str]  # what it says, the rule, Git, the world, what Git says next or a reason


def table(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("the", "now", "world", "then"), [row[1:] for row in rows], ids=[r[0] for r in rows])


LIST = Answerer("1.4.0 1.5.0")

WRITES: list[Row] = [
    ("a newer tag", rule(SEMVER), "1.4.0", LIST, "1.5.0"),
    ("tag and digest never part", rule(SEMVER), "1.4.0@1.4.0", LIST, "1.5.0@1.5.0"),
    ("a digest is written too", rule(SEMVER, "tag_digest"), "1.4.0", LIST, "1.5.0@1.5.0"),
    ("a digest alone", rule(SEMVER, "digest"), "1.4.0", LIST, "@1.5.0"),
    ("a digest alone where there were both", rule(SEMVER, "digest"), "1.4.0@1.4.0", LIST, "@1.5.0"),
    ("from a digest alone, whose tag our commit told", rule(SEMVER, "digest"), "@1.4.0",
     replace(LIST, past=wrote("@1.4.0")), "@1.5.0"),
    ("from a digest alone back to tags", rule(SEMVER, "tag_digest"), "@1.4.0", replace(LIST, past=wrote("@1.4.0")),
     "1.5.0@1.5.0"),
    ("the digest is that of today, not the one first seen", rule(SEMVER, "digest", moved_tag="follow"), "1.4.0",
     Answerer("1.5.0", {"1.5.0": {"first_digest": digest("1.0.0")}}), "@1.5.0"),
    ("another policy writes in the same way", rule({"kind": "numerical"}, "tag_digest"), "8", Answerer("8 9"), "9@9"),
    ("by date as well", rule(NEWEST, "digest"), "b", Answerer("b a", {"a": {"created": ago(days=1)},
     "b": {"created": ago(days=2)}}), "@a"),
    ("the followed tag is pinned", rule(FOLLOW), "latest", Answerer("latest"), "latest@latest"),
    ("the followed tag has moved", rule(FOLLOW), "latest@older", Answerer("latest"), "latest@latest"),
    ("another tag is followed", rule(STABLE), "latest", Answerer("latest stable"), "stable@stable"),
    ("a digest without a tag stays one", rule(STABLE), "@older", Answerer("stable"), "@stable"),
    ("a digest without a tag gets one where both are asked for", rule(STABLE, "tag_digest"), "@older",
     Answerer("stable"), "stable@stable"),
    ("the followed tag, only its digest", rule(FOLLOW, "digest"), "latest", Answerer("latest"), "@latest"),
    ("nothing in Git but an explicit tag to follow", rule(STABLE), "-", Answerer("stable"), "stable@stable"),
    ("the followed tag, whose name our commit told", rule(FOLLOW, "digest"), "@1.4.0",
     Answerer("1.4.0", {"1.4.0": {"digest": digest("new")}}, past=wrote("@1.4.0")), "@new"),
    ("a followed tag needs no list", rule(FOLLOW), "latest", Answerer("", also="latest"), "latest@latest"),
]  # fmt: skip


@table(WRITES)
def test_what_is_written(the: Rule, now: str, world: Answerer, then: str) -> None:
    """Tag and digest are resolved once and written together, whatever the policy."""
    assert settled(the, now, world) == then


HOLDS: list[Row] = [
    ("nothing newer", rule(SEMVER), "1.5.0", LIST, "up_to_date"),
    ("a pinned tag is no reason to look at digests", rule(SEMVER), "1.5.0@other", LIST, "up_to_date"),
    ("a tag is not pinned before it changes", rule(SEMVER, "tag_digest"), "1.5.0", LIST, "up_to_date"),
    ("more parts say no more", rule(ANY), "1.20", Answerer("1.20 1.20.0"), "up_to_date"),
    ("fewer parts say no less", rule(ANY), "1.20.0", Answerer("1.20 1.20.0"), "up_to_date"),
    ("nothing matches", rule(SEMVER), "1.5.0", Answerer("2.0.0"), "no_match"),
    ("everything is filtered out", rule(SEMVER, tags={"include": ["-debug$"]}), "1.4.0", LIST, "no_match"),
    ("only a signature", rule(ANY), "1.0", Answerer("sha256-" + "0" * 64 + ".sig"), "no_match"),
    ("a word where a version should be", rule(SEMVER), "latest", LIST, "unparsable_current"),
    ("no tag in Git", rule(SEMVER), "-", LIST, "unparsable_current"),
    ("only a digest in Git, whose tag nobody told", rule(SEMVER, "digest"), "@1.3.0", LIST, "unparsable_current"),
    ("the tag that our commit told is no version", rule(SEMVER), "@x",
     replace(LIST, past=Past(tags={digest("x"): "x"})), "unparsable_current"),
    ("the date of the tag in Git is not known", rule(NEWEST), "b", Answerer("a b", {"a": {"created": NOW}}),
     "unparsable_current"),
    ("by date, and no tag has one", rule(NEWEST), "b", Answerer("a", also="b", facts={"b": {"created": NOW}}),
     "no_match"),
    ("by date, and the tag in Git is gone with its date", rule(NEWEST), "b", Answerer("a", {"a": {"created": NOW}}),
     "unparsable_current"),
    ("the followed tag has not moved", rule(FOLLOW), "latest@latest", Answerer("latest"), "up_to_date"),
    ("the digest of another name is the same image", rule(STABLE), "1.0@stable", Answerer("stable"), "up_to_date"),
    ("only a digest in Git, and it is the one", rule(STABLE, "digest"), "@stable", Answerer("stable"), "up_to_date"),
    ("only a digest in Git and no tag to follow", rule(FOLLOW), "@latest", Answerer("latest"), "unparsable_current"),
    ("the followed tag is filtered out", rule(FOLLOW, tags={"exclude": ["late"]}), "latest", Answerer("latest"),
     "no_match"),
    ("the followed tag is not there", rule(STABLE), "latest", Answerer("latest"), "no_match"),
]  # fmt: skip


@table(HOLDS)
def test_when_there_is_nothing_to_write(the: Rule, now: str, world: Answerer, then: str) -> None:
    """Every answer has its reason."""
    assert settled(the, now, world) == then


FIRST = Answerer("1.4.0 1.5.0 2.0.0", fills=True)
FIRSTS: list[Row] = [
    ("the best of a range", rule(SEMVER), "-", FIRST, "1.5.0"),
    ("with its digest", rule(SEMVER, "tag_digest"), "-", FIRST, "1.5.0@1.5.0"),
    ("no level and no step is asked", rule({"kind": "numerical"}, level="patch", max_major_step=1), "-",
     Answerer("8 2024", fills=True), "2024"),
    ("without a range nobody says how far to go", rule(ANY), "-", FIRST, "unparsable_current"),
    ("the tag in Git says what is wanted, and there is none", rule(DOCKER), "-", FIRST, "unparsable_current"),
    ("no other place waits for its first tag", rule(SEMVER), "-", replace(FIRST, fills=False), "unparsable_current"),
    ("nothing matches", rule(SEMVER), "-", Answerer("2.0.0", fills=True), "no_match"),
    ("a person took it out again", rule(SEMVER), "-", replace(FIRST, past=wrote("1.4.0")), "human_rollback"),
    ("and said to go on", rule(SEMVER), "-",
     replace(FIRST, past=wrote("1.4.0", changed_at=ago(minutes=30)), people=People(resumed_at=NOW)), "1.5.0"),
    ("a window", rule(SEMVER), "-", replace(FIRST, closed=NIGHT), "window_closed"),
    ("too young", rule(SEMVER, min_age="3d"), "-",
     replace(FIRST, facts={name: {"first_seen": ago(days=1)} for name in ("1.4.0", "1.5.0")}), "min_age"),
    ("platforms of a list", rule(SEMVER, platforms=["linux/arm64"]), "-", FIRST, "platform_missing"),
]  # fmt: skip


@table(FIRSTS)
def test_the_first_version_is_that_of_a_policy_that_says_which(the: Rule, now: str, world: Answerer, then: str) -> None:
    """There is nothing to compare with: what a gate would compare is not asked, everything else is."""
    assert settled(the, now, world) == then


@pytest.mark.parametrize("names", ["", "1.4.0 1.5.0 1.6.0"], ids=["nothing", "a part"])
@pytest.mark.parametrize("now", ["1.4.0", "latest", "-", "@1.4.0"])
def test_an_incomplete_list_decides_nothing_and_asks_nothing(names: str, now: str) -> None:
    """It says in the words of the scan what is wrong with the list."""
    world = Answerer(names, complete=False, why="ghcr.io answered 503")
    decision = world.settle(rule(SEMVER, "tag_digest"), image(now))
    assert isinstance(decision, Hold)
    assert (decision.reason, decision.why) == (Reason.INCOMPLETE_SCAN, "ghcr.io answered 503")
    assert (world.asked, world.histories) == ([], 0)


def test_an_empty_list_is_no_list() -> None:
    assert settled(rule(SEMVER), "1.4.0", Answerer("")) == "incomplete_scan"


def test_a_followed_tag_without_an_answer_from_its_registry_waits() -> None:
    assert settled(rule(FOLLOW), "latest", Answerer("latest", complete=False)) == "incomplete_scan"


ALLOW = rule(DOCKER, downgrade="allow")
CHEAP: list[Row] = [
    ("all is older", rule(SEMVER), "1.6.0", LIST, "older"),
    ("back is allowed, and what Git holds is gone", ALLOW, "1.6.0", LIST, "1.5.0"),
    ("back is allowed, and what Git holds is there", ALLOW, "1.5.0", LIST, "up_to_date"),
    ("back is allowed, forward is better", ALLOW, "1.4.5", LIST, "1.5.0"),
    ("back into the range", rule({"kind": "semver", "range": "<1.5"}, downgrade="allow"), "1.5.0", LIST, "1.4.0"),
    ("a major at the level of minors", rule(DOCKER), "1.5.0", Answerer("1.5.0 2.0.0"), "level"),
    ("the best below the level", rule(DOCKER), "1.4.0", Answerer("1.4.0 1.5.0 2.0.0"), "1.5.0"),
    ("a minor at the level of patches", rule(ANY, level="patch"), "1.4.0", LIST, "level"),
    ("a stray calendar tag is passed over", rule(DOCKER, level="major"), "8", Answerer("8 9 20240101"), "9"),
    ("only a stray calendar tag", rule(DOCKER, level="major"), "8", Answerer("8 20240101"), "ambiguous"),
    ("a step as wide as allowed", rule(DOCKER, level="major"), "8", Answerer("8 28"), "28"),
    ("any step where that is off", rule(DOCKER, level="major", max_major_step=0), "8", Answerer("8 20240101"),
     "20240101"),
    ("from year to year", rule(DOCKER, level="major", max_major_step=1), "2021", Answerer("2021 2026"), "2026"),
]  # fmt: skip


@table(CHEAP)
def test_gates_that_names_are_enough_for(the: Rule, now: str, world: Answerer, then: str) -> None:
    assert settled(the, now, world) == then
    if then in set(Reason):
        assert (world.asked, world.histories) == ([], 0)


def seen(tag: str, **length: int) -> dict[str, dict[str, Any]]:
    return {tag: {"first_seen": ago(**length)}}


def made(tag: str, **length: int) -> dict[str, dict[str, Any]]:
    return {tag: {"created": ago(**length)}}


AGED = rule(SEMVER, min_age="3d")
AGES: list[tuple[str, Answerer, str, str]] = [
    # what the row says, the world, what Git says next or the reason, part of why
    ("seen long ago", Answerer("1.4.0 1.5.0", seen("1.5.0", days=3)), "1.5.0", ""),
    ("seen a moment too late", Answerer("1.4.0 1.5.0", seen("1.5.0", days=2, hours=23, minutes=59, seconds=59)),
     "min_age", "min_age: 1 s left"),
    ("seen lately", Answerer("1.4.0 1.5.0", seen("1.5.0", days=2, hours=20, minutes=48)), "min_age",
     "min_age: 3 h 12 min left"),
    ("that it was created long ago is no excuse", Answerer("1.4.0 1.5.0", {"1.5.0": {"first_seen": ago(days=1),
     "created": ago(days=90)}}), "min_age", "min_age: 2 d left"),
    ("of our first scan, created long ago", Answerer("1.4.0 1.5.0", made("1.5.0", days=4)), "1.5.0", ""),
    ("of our first scan, created lately", Answerer("1.4.0 1.5.0", made("1.5.0", hours=1)), "min_age",
     "min_age: 2 d 23 h left"),
    ("of our first scan, without a date", Answerer("1.4.0 1.5.0"), "min_age", "when it was created is not known"),
    ("the next best is old enough", Answerer("1.4.0 1.5.0 1.6.0", seen("1.5.0", days=4) | seen("1.6.0", hours=4)),
     "1.5.0", "newest of 3 but 1 (min_age)"),
    ("two of them are too young", Answerer("1.4.0 1.4.1 1.5.0 1.6.0", seen("1.5.0", days=1) | seen("1.6.0", hours=1)
     | made("1.4.1", days=9)), "1.4.1", "newest of 4 but 2 (min_age)"),
    ("all are too young", Answerer("1.4.0 1.5.0 1.6.0", seen("1.5.0", days=2) | seen("1.6.0", days=1)), "min_age",
     "1.6.0 is newest of 3; min_age: 2 d left"),
    ("approved", Answerer("1.4.0 1.5.0", seen("1.5.0", hours=1), people=People(approved=frozenset({"1.5.0"}))),
     "1.5.0", ""),
]  # fmt: skip


@pytest.mark.parametrize(("world", "then", "why"), [row[1:] for row in AGES], ids=[row[0] for row in AGES])
def test_a_tag_must_be_known_for_a_while(world: Answerer, then: str, why: str) -> None:
    """Since it was first seen; for the tags of the first scan, since it was created."""
    assert settled(AGED, "1.4.0", world) == then
    assert why in world.settle(AGED, image("1.4.0")).why


def test_what_is_too_young_passes_when_it_is_old_enough() -> None:
    world = Answerer("1.4.0 1.5.0", seen("1.5.0", days=2))
    assert isinstance(world.settle(AGED, image("1.4.0")), Hold)
    assert isinstance(world.settle(AGED, image("1.4.0"), NOW + timedelta(days=1)), Update)


def on(**platforms: str) -> dict[str, dict[str, Any]]:
    """Platforms by tag, which is spelled with _ for each dot and an x before it."""
    return {
        tag[1:].replace("_", "."): {"platforms": frozenset(f"linux/{one}" for one in names.split())}
        for tag, names in platforms.items()
    }


PLATFORMS: list[Row] = [
    ("the same", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_4_0="amd64 arm64", x1_5_0="arm64 amd64")),
     "1.5.0"),
    ("more", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_5_0="amd64 arm64 s390x")), "1.5.0"),
    ("one is missing", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_4_0="amd64 arm64")), "platform_missing"),
    ("the next best has them all", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0 1.6.0",
     on(x1_4_0="amd64 arm64", x1_5_0="amd64 arm64")), "1.5.0"),
    ("a variant is missing", rule(SEMVER), "1.4.0",
     Answerer("1.4.0 1.5.0", on(x1_4_0="arm/v7 arm/v6", x1_5_0="arm/v7")), "platform_missing"),
    ("arm64/v8 is arm64", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_4_0="arm64/v8", x1_5_0="arm64")),
     "1.5.0"),
    ("arm64 is arm64/v8", rule(SEMVER, platforms=["linux/arm64"]), "1.4.0",
     Answerer("1.4.0 1.5.0", on(x1_5_0="arm64/v8")), "1.5.0"),
    ("the list has it", rule(SEMVER, platforms=["linux/amd64"]), "1.4.0",
     Answerer("1.4.0 1.5.0", on(x1_4_0="amd64 arm64")), "1.5.0"),
    ("the list has more", rule(SEMVER, platforms=["linux/amd64", "linux/arm64"]), "1.4.0", LIST, "platform_missing"),
    ("an empty list checks nothing", rule(SEMVER, platforms=[]), "1.4.0",
     Answerer("1.4.0 1.5.0", on(x1_4_0="amd64 arm64", x1_5_0="")), "1.5.0"),
    ("an image that names none", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_5_0="")), "platform_missing"),
    ("what Git holds is gone: nothing to compare with", rule(SEMVER), "1.4.0", Answerer("1.5.0"), "1.5.0"),
    ("what Git holds is listed and gone", rule(SEMVER), "1.4.0", replace(LIST, absent="1.4.0"), "1.5.0"),
    ("what Git holds names none", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_4_0="")), "1.5.0"),
    ("the pinned digest counts, not what its tag is now", rule(SEMVER), "1.4.0@1.3.0",
     Answerer("1.3.0 1.4.0 1.5.0", on(x1_4_0="amd64 arm64")), "1.5.0@1.5.0"),
    ("what is followed lost one", rule(FOLLOW), "latest@1.4.0",
     Answerer("latest 1.4.0", on(x1_4_0="amd64 arm64")), "platform_missing"),
    ("what is followed has them", rule(FOLLOW), "latest@1.4.0",
     Answerer("latest 1.4.0", on(xlatest="arm64 amd64", x1_4_0="amd64 arm64")), "latest@latest"),
    ("what is followed, against a list", rule(FOLLOW, platforms=["linux/arm64"]), "latest", Answerer("latest"),
     "platform_missing"),
]  # fmt: skip


@table(PLATFORMS)
def test_a_tag_must_run_where_the_current_one_runs(the: Rule, now: str, world: Answerer, then: str) -> None:
    assert settled(the, now, world) == then


def test_the_missing_platforms_are_named() -> None:
    world = Answerer("1.4.0 1.5.0", on(x1_4_0="amd64 arm64 s390x", x1_5_0="amd64"))
    why = world.settle(rule(SEMVER), image("1.4.0")).why
    assert why.endswith("platform_missing: linux/arm64, linux/s390x; it has linux/amd64")


MOVED = {"1.5.0": {"first_digest": digest("1.4.9")}}
MOVES: list[Row] = [
    ("it holds", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", MOVED), "moved_tag"),
    ("the next best is taken", rule(SEMVER), "1.3.0", Answerer("1.3.0 1.4.0 1.5.0", MOVED), "1.4.0"),
    ("it is followed where that is wanted", rule(SEMVER, moved_tag="follow"), "1.4.0",
     Answerer("1.4.0 1.5.0", MOVED), "1.5.0"),
    ("a person approved it", rule(SEMVER), "1.4.0",
     Answerer("1.4.0 1.5.0", MOVED, people=People(approved=frozenset({"1.5.0"}))), "1.5.0"),
    ("that the tag in Git moved is no matter", rule(SEMVER), "1.4.0",
     Answerer("1.4.0 1.5.0", {"1.4.0": {"first_digest": digest("x")}}), "1.5.0"),
    ("to follow a tag is to follow its moves", rule(FOLLOW), "latest@older",
     Answerer("latest", {"latest": {"first_digest": digest("older")}}), "latest@latest"),
]  # fmt: skip


@table(MOVES)
def test_a_tag_that_moved_since_it_was_first_seen(the: Rule, now: str, world: Answerer, then: str) -> None:
    assert settled(the, now, world) == then


YES, NO = People(approved=frozenset({"1.5.0", "2.0.0", "latest"})), People(approved=frozenset({"1.4.9"}))
HELD = People(HeldBy(ago(hours=1), "the release is broken", NOW + timedelta(days=7)))
CLOSED: list[Row] = [
    ("closed", rule(SEMVER), "1.4.0", replace(LIST, closed=NIGHT), "window_closed"),
    ("closed, and nothing newer", rule(SEMVER), "1.5.0", replace(LIST, closed=NIGHT), "up_to_date"),
    ("closed, and the only tag does not pass", rule(DOCKER), "1.5.0", Answerer("1.5.0 2.0.0", closed=NIGHT), "level"),
    ("closed, what is followed", rule(FOLLOW), "latest@older", Answerer("latest", closed=NIGHT), "window_closed"),
    ("closed, what is followed has not moved", rule(FOLLOW), "latest@latest", Answerer("latest", closed=NIGHT),
     "up_to_date"),
    ("closed, but approved", rule(SEMVER), "1.4.0", replace(LIST, closed=NIGHT, people=YES), "1.5.0"),
    ("closed, but what is followed is approved", rule(FOLLOW), "latest@older",
     Answerer("latest", closed=NIGHT, people=YES), "latest@latest"),
    ("closed, and another tag is approved", rule(SEMVER), "1.4.0", replace(LIST, closed=NIGHT, people=NO),
     "window_closed"),
    ("closed, a newer one waits, an older one is approved", rule(SEMVER), "1.4.0",
     Answerer("1.4.0 1.5.0 1.6.0", closed=NIGHT, people=YES), "1.5.0"),
    ("closed, and the approved one does not pass: no other goes in its place", rule(SEMVER), "1.3.0",
     Answerer("1.3.0 1.4.0 1.5.0", on(x1_3_0="amd64", x1_5_0="arm64"), closed=NIGHT, people=YES), "platform_missing"),
    ("held by a person", rule(SEMVER), "1.4.0", replace(LIST, people=HELD), "held"),
    ("held, and nothing newer: it is shown all the same", rule(SEMVER), "1.5.0", replace(LIST, people=HELD), "held"),
    ("held, what is followed", rule(FOLLOW), "latest@older", Answerer("latest", people=HELD), "held"),
    ("held, what is followed has not moved", rule(FOLLOW), "latest@latest", Answerer("latest", people=HELD), "held"),
    ("held goes before closed", rule(SEMVER), "1.4.0", replace(LIST, people=HELD, closed=NIGHT), "held"),
    ("an approval does not end a hold", rule(SEMVER), "1.4.0",
     replace(LIST, people=replace(HELD, approved=YES.approved)), "held"),
]  # fmt: skip


@table(CLOSED)
def test_what_stops_an_image_as_a_whole(the: Rule, now: str, world: Answerer, then: str) -> None:
    assert settled(the, now, world) == then


@pytest.mark.parametrize(
    ("people", "past", "why"),
    [
        (HELD, Past(), "held by a person until 2026-01-08 00:00 UTC: the release is broken"),
        (People(HeldBy(NOW)), Past(), "held by a person"),
        (People(HeldBy(NOW, until=NOW + timedelta(hours=1))), Past(), "held by a person until 2026-01-01 01:00 UTC"),
        (People(), wrote("1.4.0", held_until=NOW + timedelta(days=1), held_at=ago(hours=1)),
         "rolled back, held until 2026-01-02 00:00 UTC"),
    ],
    ids=["with an end and a reason", "without either", "with an end", "by a rollback in Git"],
)  # fmt: skip
def test_a_hold_says_until_when_and_why(people: People, past: Past, why: str) -> None:
    decision = replace(LIST, people=people, past=past).settle(rule(SEMVER), image("1.4.0"))
    assert isinstance(decision, Hold)
    assert (decision.reason, decision.why, decision.newest) == (Reason.HELD, why, "1.5.0")


def test_a_closed_window_says_which_and_what_waits() -> None:
    decision = replace(LIST, closed=NIGHT).settle(rule(SEMVER), image("1.4.0"))
    assert (decision.why, decision.newest) == (NIGHT.why, "1.5.0")


APPROVALS: list[Row] = [
    ("level", rule(DOCKER), "1.5.0", Answerer("1.5.0 2.0.0", people=YES), "2.0.0"),
    ("max_major_step", rule(DOCKER, level="major", max_major_step=1), "0.1.0", Answerer("2.0.0", people=YES), "2.0.0"),
    ("not older", rule(ANY), "2.1.0", Answerer("2.0.0 2.1.0", people=YES), "up_to_date"),
    ("not older, what Git holds is gone", rule(ANY), "2.1.0", Answerer("2.0.0", people=YES), "older"),
    ("not platforms", rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0", on(x1_5_0="arm64"), people=YES),
     "platform_missing"),
    ("not what a person went back from", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.5.0"), people=YES),
     "human_rollback"),
    ("not what the policy does not want", rule(SEMVER), "1.5.0", Answerer("1.5.0 2.0.0", people=YES), "up_to_date"),
    ("of one tag alone", rule(DOCKER), "1.5.0", Answerer("1.5.0 3.0.0", people=YES), "level"),
]  # fmt: skip


@table(APPROVALS)
def test_an_approval_passes(the: Rule, now: str, world: Answerer, then: str) -> None:
    """Beside min_age, windows and moved_tag, which stand in their own tables."""
    assert settled(the, now, world) == then


def resumed(at: datetime) -> People:
    return People(resumed_at=at)


THREE = Answerer("1.4.0 1.5.0 1.6.0")
BACK: list[Row] = [
    ("a person went back from what we wrote", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.5.0", "1.4.0")),
     "human_rollback"),
    ("further back than we ever were", rule(SEMVER), "1.3.0", replace(LIST, past=wrote("1.5.0")), "human_rollback"),
    ("nor to anything in between", rule(SEMVER), "1.4.0", replace(THREE, past=wrote("1.6.0")), "human_rollback"),
    ("a newer version than that passes", rule(SEMVER), "1.4.0", replace(THREE, past=wrote("1.5.0")), "1.6.0"),
    ("with a digest beside the tag", rule(SEMVER), "1.4.0@1.4.0", replace(LIST, past=wrote("1.5.0@1.5.0")),
     "human_rollback"),
    ("where only digests are written", rule(SEMVER, "digest"), "@1.4.0", replace(LIST, past=wrote("@1.5.0")),
     "human_rollback"),
    ("where only digests are written, a newer one passes", rule(SEMVER, "digest"), "@1.4.0",
     replace(THREE, past=wrote("@1.5.0")), "@1.6.0"),
    ("by date", rule(NEWEST), "a", Answerer("a b", made("a", days=2) | made("b", days=1), past=wrote("b")),
     "human_rollback"),
    ("in a policy that goes down", rule({"kind": "numerical", "order": "desc"}), "9", Answerer("9 8", past=wrote("8")),
     "human_rollback"),
    ("not even further back where that is allowed", rule(SEMVER, downgrade="allow"), "1.4.5",
     replace(LIST, past=wrote("1.5.0")), "human_rollback"),
    ("resumed since", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.5.0"), people=resumed(ago(minutes=1))),
     "1.5.0"),
    ("resumed before", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.5.0"), people=resumed(ago(hours=2))),
     "human_rollback"),
    ("a person went on by hand", rule(SEMVER), "1.5.0", replace(THREE, past=wrote("1.4.0")), "1.6.0"),
    ("it is what we wrote", rule(SEMVER), "1.5.0", replace(THREE, past=wrote("1.5.0")), "1.6.0"),
    ("we never wrote here", rule(SEMVER), "1.4.0", LIST, "1.5.0"),
    ("what we wrote is no version for this policy", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("main-1")),
     "1.5.0"),
    ("the digest we wrote, and it is what the tag is", rule(FOLLOW), "latest@older",
     Answerer("latest", past=wrote("latest@latest", "latest@older")), "human_rollback"),
    ("the digest we wrote, and the tag went on", rule(FOLLOW), "latest@older",
     Answerer("latest", past=wrote("latest@old", "latest@older")), "latest@latest"),
    ("the digest we wrote, alone", rule(STABLE, "digest"), "@older",
     Answerer("stable", past=wrote("@stable")), "human_rollback"),
    ("the digest we wrote, and resumed", rule(FOLLOW), "latest@older",
     Answerer("latest", past=wrote("latest@latest"), people=resumed(NOW)), "latest@latest"),
    ("a hold in Git", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0", held_until=NOW + timedelta(days=1),
     held_at=ago(hours=1))), "held"),
    ("a hold in Git of a digest", rule(FOLLOW), "latest@older", Answerer("latest", past=wrote("latest@older",
     held_until=NOW + timedelta(days=1), held_at=ago(hours=1))), "held"),
    ("a hold in Git that is over", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0", held_until=NOW,
     held_at=ago(hours=1))), "1.5.0"),
    ("a hold in Git, resumed since", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0",
     held_until=NOW + timedelta(days=1), held_at=ago(hours=1)), people=resumed(ago(minutes=1))), "1.5.0"),
    ("a hold in Git, resumed before", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0",
     held_until=NOW + timedelta(days=1), held_at=ago(hours=1)), people=resumed(ago(hours=2))), "held"),
    ("where our own commits just left", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0", "1.5.0")), "flapping"),
    ("where they left is another version", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.4.0", "1.3.0")), "1.5.0"),
    ("the digest that they just left", rule(FOLLOW), "latest@older",
     Answerer("latest", past=wrote("latest@older", "latest@latest")), "flapping"),
    ("the bare digest that they just left", rule(STABLE, "digest"), "@older",
     Answerer("stable", past=wrote("@older", "@stable")), "flapping"),
]  # fmt: skip


@table(BACK)
def test_what_was_done_here_before(the: Rule, now: str, world: Answerer, then: str) -> None:
    """People are respected, and nobody is quarrelled with."""
    assert settled(the, now, world) == then


def test_a_rollback_names_what_a_person_went_back_from() -> None:
    why = replace(LIST, past=wrote("1.5.0")).settle(rule(SEMVER), image("1.4.0")).why
    assert why.endswith("human_rollback: a person went back from 1.5.0")


D, C, P, S = Needs.DIGEST, Needs.CREATED, Needs.PLATFORMS, Needs.SEEN
DATES = made("main-1", days=3) | made("main-2", days=2) | made("main-3", days=1) | made("v1", days=9)
COUNTS: list[tuple[str, Rule, str, Answerer, dict[str, Needs], int]] = [
    # what the row says, rule, Git, the world, what is asked, how often Git's history is read
    ("up to date costs nothing", rule(SEMVER), "1.5.0", LIST, {}, 0),
    ("up to date, whatever the gates", rule(SEMVER, "tag_digest", min_age="3d", platforms=["linux/amd64"]), "1.5.0",
     LIST, {}, 0),
    ("up to date with a digest", rule(SEMVER), "1.5.0@1.5.0", LIST, {}, 0),
    ("held costs nothing", rule(SEMVER), "1.4.0", replace(LIST, people=HELD), {}, 0),
    ("too far costs nothing", rule(DOCKER), "1.5.0", Answerer("2.0.0"), {}, 0),
    ("closed costs a look at history", rule(SEMVER), "1.4.0", replace(LIST, closed=NIGHT), {}, 1),
    ("a rollback costs a look at history", rule(SEMVER), "1.4.0", replace(LIST, past=wrote("1.5.0")), {}, 1),
    ("a digest alone needs history to be read", rule(SEMVER), "@1.5.0", replace(LIST, past=wrote("@1.5.0")), {}, 1),
    ("an update: the best, and the platforms of both", rule(SEMVER), "1.4.0", THREE,
     {"1.6.0": D | S | P, "1.4.0": P}, 1),
    ("an update from a digest: that of the digest", rule(SEMVER), "1.4.0@1.4.0", LIST,
     {"1.5.0": D | S | P, digest("1.4.0"): P}, 1),
    ("an update, platforms from a list", rule(SEMVER, platforms=["linux/amd64"]), "1.4.0", LIST,
     {"1.5.0": D | S | P}, 1),
    ("an update, no platforms", rule(SEMVER, platforms=[]), "1.4.0", LIST, {"1.5.0": D | S}, 1),
    ("an update of names alone", rule(SEMVER, platforms=[], moved_tag="follow"), "1.4.0", LIST, {}, 1),
    ("an update of names alone, with its digest", rule(SEMVER, "digest", platforms=[], moved_tag="follow"), "1.4.0",
     LIST, {"1.5.0": D}, 1),
    ("one that moved, and the next", rule(SEMVER, platforms=[]), "1.3.0", Answerer("1.3.0 1.4.0 1.5.0", MOVED),
     {"1.5.0": D | S, "1.4.0": D | S}, 1),
    ("too young: only when it was first seen", AGED, "1.4.0", Answerer("1.4.0 1.5.0", seen("1.5.0", days=1)),
     {"1.5.0": S}, 1),
    ("of the first scan: its date too", AGED, "1.4.0", Answerer("1.4.0 1.5.0", made("1.5.0", days=1)),
     {"1.5.0": S | C}, 1),
    ("by date: every tag that the filters let through", rule(NEWEST, tags={"include": ["^main-"]}), "main-3",
     Answerer("main-1 main-2 main-3 v1", DATES), {"main-1": C, "main-2": C, "main-3": C}, 0),
    ("by date: what Git holds, though the filters do not want it", rule(NEWEST, tags={"include": ["^main-"]}), "v1",
     Answerer("main-3 v1", DATES), {"main-3": C | D | S | P, "v1": C | P}, 1),
    ("by date: what Git holds, though the list has it no longer", rule(NEWEST), "main-1",
     Answerer("main-2", DATES, also="main-1"), {"main-2": C | D | S | P, "main-1": C | P}, 1),
    ("what is followed and has not moved", rule(FOLLOW), "latest@latest", Answerer("latest"), {"latest": D}, 0),
    ("what is followed and has moved", rule(FOLLOW), "latest@older", Answerer("latest"),
     {"latest": D, digest("latest"): P, digest("older"): P}, 1),
    ("what is pinned for the first time", rule(FOLLOW), "latest", Answerer("latest"),
     {"latest": D, digest("latest"): P}, 1),
    ("what is followed and too young", rule(FOLLOW, min_age="1d"), "latest@older",
     Answerer("latest", {"latest": {"first_seen": ago(hours=1)}}), {"latest": D, digest("latest"): S}, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("the", "now", "world", "asked", "histories"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS]
)
def test_only_what_the_decision_hangs_on_is_asked(
    the: Rule, now: str, world: Answerer, asked: dict[str, Needs], histories: int
) -> None:
    world.settle(the, image(now))
    found: dict[str, Needs] = {}
    for name, needs in world.asked:
        assert not needs & found.get(name, Needs(0)), "asked twice"
        found[name] = found.get(name, Needs(0)) | needs
    assert (found, world.histories) == (asked, histories)


def test_a_hundred_tags_that_do_not_pass_take_few_rounds() -> None:
    """Each round may cost a request: the further down it goes, the more it asks for at once."""
    names = [f"1.{minor}.0" for minor in range(301)]
    young = {name: {"first_seen": ago(hours=1)} for name in names[1:]}
    world = Answerer(" ".join(names), young)
    assert settled(AGED, "1.0.0", world) == "min_age"
    assert world.rounds <= 20
    lacking = Answerer(" ".join(names), {name: {"platforms": BOTH} for name in names[:11]})
    assert settled(rule(SEMVER), "1.0.0", lacking) == "1.10.0"
    assert lacking.rounds <= 24


def test_a_tag_that_the_registry_no_longer_has_is_passed_over() -> None:
    assert settled(rule(SEMVER), "1.4.0", Answerer("1.4.0 1.5.0 1.6.0", absent="1.6.0")) == "1.5.0"
    assert settled(rule(SEMVER), "1.5.0", Answerer("1.5.0 1.6.0", absent="1.6.0")) == "up_to_date"


def test_every_tag_has_its_verdict_with_the_gate_that_stopped_it() -> None:
    world = Answerer("1.4.0 1.5.0 1.6.0 2.0.0 latest 1.3.0", seen("1.6.0", hours=1) | made("1.5.0", days=9))
    decision = world.settle(rule({"kind": "docker"}, min_age="1d"), image("1.4.0"))
    assert [(verdict.tag, verdict.mark, verdict.why) for verdict in decision.verdicts] == [
        ("2.0.0", Mark.REJECTED, "level: a major change, allowed is minor"),
        ("1.6.0", Mark.REJECTED, "min_age: 23 h left"),
        ("1.5.0", Mark.CHOSEN, "the newest that passes"),
        ("1.4.0", Mark.CANDIDATE, "up_to_date: the same version as the current tag"),
        ("1.3.0", Mark.REJECTED, "older: lower than the current tag"),
        ("latest", Mark.REJECTED, "no_match: not a version"),
    ]


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (Answerer("latest", closed=NIGHT), f"window_closed: {NIGHT.why}"),
        (
            Answerer("latest", past=wrote("latest@latest")),
            f"human_rollback: a person went back from {digest('latest')[:19]}",
        ),
        (
            Answerer("latest", also="older", facts=on(xolder="arm64")),
            "platform_missing: linux/arm64; it has linux/amd64",
        ),
    ],
    ids=["closed", "rolled back", "platforms"],
)
def test_the_verdict_on_what_is_followed_begins_with_its_reason(world: Answerer, why: str) -> None:
    (verdict,) = world.settle(rule(FOLLOW), image("latest@older")).verdicts
    assert (verdict.tag, verdict.mark, verdict.why) == ("latest", Mark.REJECTED, why)


def test_an_update_names_tag_and_digest_whichever_is_written() -> None:
    for write in ("tag", "digest", "tag_digest"):
        decision = LIST.settle(rule(SEMVER, write), image("1.4.0"))
        assert isinstance(decision, Update)
        assert (decision.tag, decision.digest, decision.newest) == ("1.5.0", digest("1.5.0"), "1.5.0")


NAMES = st.sampled_from(
    ["1.0.0", "1.1.0", "v1.1.0", "1.2", "1.2.0", "1.3.0-rc1", "2.0.0", "20240101", "latest", "main"]
)
LISTS = st.lists(NAMES, unique=True, max_size=6)
CURRENT = st.builds(
    lambda tag, held: image(f"{tag}{f'@{held}' if held else ''}"), NAMES | st.just(""), st.none() | NAMES
)
POLICIES = st.sampled_from(
    [SEMVER, ANY, {"kind": "semver", "prerelease": "allow"}, DOCKER, NEWEST, {"kind": "alphabetical"}, FOLLOW, STABLE]
)
WRITE = st.sampled_from(["tag", "digest", "tag_digest"])
RULES = st.builds(
    rule,
    POLICIES,
    WRITE,
    level=st.sampled_from([None, "patch", "major"]),
    downgrade=st.sampled_from(["never", "never", "allow"]),
    min_age=st.sampled_from(["0s", "1d"]),
    moved_tag=st.sampled_from(["hold", "follow"]),
    platforms=st.sampled_from(["same", ["linux/amd64"], []]),
    tags=st.just({"exclude": ["^unwanted"]}),
)
DAYS = st.sampled_from([None, ago(hours=1), ago(days=3), ago(days=9)])
FACTS = st.fixed_dictionaries(
    {
        "created": DAYS,
        "platforms": st.sampled_from([frozenset({"linux/amd64"}), BOTH, frozenset[str]()]),
        "first_seen": DAYS,
        "first_digest": st.sampled_from([None, digest("moved")]),
    }
)
PASTS = st.builds(wrote, NAMES, st.just("") | NAMES) | st.just(Past())
WORLDS = st.builds(
    lambda names, facts, also, absent, past: Answerer(" ".join(names), facts, also, absent, past),
    LISTS,
    st.dictionaries(NAMES, FACTS, max_size=4),
    NAMES | st.just(""),
    NAMES | st.just(""),
    PASTS,
)
calmly = settings(deadline=None)  # a loaded machine is no failure


def outcome(decision: Update | Hold) -> tuple[object, ...]:
    target = decision.target if isinstance(decision, Update) else decision.reason
    return target, decision.why, decision.newest


@calmly
@given(RULES, CURRENT, WORLDS)
def test_asking_ends_and_nothing_goes_to_a_tag_that_is_not_there(the: Rule, current: ImageRef, world: Answerer) -> None:
    """Every fact is asked for once, and what is written is what the registry has."""
    decision = world.settle(the, current)
    assert len({(name, one) for name, needs in world.asked for one in needs}) == sum(
        len(list(needs)) for _, needs in world.asked
    )
    assert world.histories <= 1
    assert decision.current == current
    if isinstance(decision, Update):
        assert decision.target != current
        assert decision.tag is not None
        assert world.content(decision.tag) is not None
        assert decision.target.tag in {None, decision.tag}


@calmly
@given(RULES, CURRENT, WORLDS, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(the: Rule, current: ImageRef, world: Answerer, random: Any) -> None:
    names = world.listed.split()
    random.shuffle(names)
    assert world.settle(the, current) == replace(world, listed=" ".join(names)).settle(the, current)


@calmly
@given(RULES, CURRENT, WORLDS)
def test_a_tag_that_is_not_wanted_changes_nothing(the: Rule, current: ImageRef, world: Answerer) -> None:
    before = world.settle(the, current)
    asked = list(world.asked)
    if world.listed:  # without a single tag there is no list
        after = replace(world, listed=f"unwanted-9 {world.listed} unwanted-0")
        words = (str(before.why), after.settle(the, current).why)
        if "none of" not in words[0] and "is empty" not in words[0]:  # these words count all tags
            assert outcome(after.settle(the, current)) == outcome(before)
        assert after.asked == asked


@calmly
@given(RULES, CURRENT, WORLDS)
def test_it_never_goes_back_where_that_is_not_allowed(the: Rule, current: ImageRef, world: Answerer) -> None:
    never = the.model_copy(update={"downgrade": "never"})
    decision = world.settle(never, current)
    if isinstance(decision, Update) and Needs.NAMES in the.policy.needs:
        tag = current.tag or world.past.tags[current.digest or ""]
        has = world.content(tag) or Tag(tag)
        old = the.policy.current(tag, _revealed(has, ~Needs(0)))
        new = the.policy.current(decision.tag or "", _revealed(world.content(decision.tag or "") or Tag(""), ~Needs(0)))
        assert old is not None
        assert new is not None
        assert new.key > old.key


@calmly
@given(RULES, CURRENT, WORLDS)
def test_after_an_update_there_is_nothing_more_to_do(the: Rule, current: ImageRef, world: Answerer) -> None:
    """It is up to date, unless a gate stopped something better, which is then the reason."""
    free = replace(world, past=Past(tags=world.past.tags))
    decision = free.settle(the, current)
    if not isinstance(decision, Update):
        return
    tags = {**world.past.tags, decision.digest or "": decision.tag or ""}
    left = frozenset({current.version} - {"-"})
    again = replace(free, past=Past(decision.target.version, NOW, left, tags)).settle(the, decision.target)
    assert isinstance(again, Hold)
    if decision.tag == decision.newest:
        assert again.reason is Reason.UP_TO_DATE


@calmly
@given(RULES, CURRENT, WORLDS)
def test_a_digest_in_git_never_stands_beside_the_tag_of_another(the: Rule, current: ImageRef, world: Answerer) -> None:
    decision = world.settle(the, current)
    if isinstance(decision, Update):
        has = world.content(decision.tag or "")
        assert has is not None
        assert decision.target.digest in {None, has.digest}
        assert decision.target.digest or not current.digest
        assert decision.target.tag or decision.target.digest


@calmly
@given(RULES, CURRENT, WORLDS)
def test_an_incomplete_list_never_moves_a_version(the: Rule, current: ImageRef, world: Answerer) -> None:
    if Needs.NAMES in the.policy.needs:
        decision = replace(world, complete=False, why="cut off").settle(the, current)
        assert isinstance(decision, Hold)
        assert decision.reason is Reason.INCOMPLETE_SCAN
