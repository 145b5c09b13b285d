"""What stops a tag that the policy wants. Each gate is a small pure rule with a reason of its own.

The cheap gates judge ranks and are asked about every candidate; the others need facts of a tag that cost a request,
and are asked about the best candidates until one passes. The words of an answer begin with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from updater.model.check import Check, Mirrored, Signed
from updater.model.decision import Reason
from updater.model.image import ImageRef
from updater.model.tag import Needs, Tag
from updater.policies.base import Level, Rank

if TYPE_CHECKING:  # rule reads the family from this folder, so it imports this module
    from updater.policies.rule import Choice, Rule

CALENDAR = 1900  # a major from here on may be a year, or a day (20240606), and these may be far apart

_LEVELS: tuple[Level, ...] = ("major", "minor", "patch")


@dataclass(frozen=True, slots=True)
class Stop:
    """The gate that a candidate did not pass, and why in words."""

    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What the cheap gates judge by: the version in Git, and the one that a person went back from, if one did."""

    current: Rank
    level: Level
    max_major_step: int
    downgrade: bool = False
    left: Rank | None = None
    left_name: str = ""

    @classmethod
    def of(cls, choice: Choice, current: Rank, left: Rank | None = None, left_name: str = "") -> Scene:
        """Return the scene of a rule's settings."""
        level = choice.level or choice.policy.default_level
        return cls(current, level, choice.max_major_step, choice.downgrade == "allow", left, left_name)

    def among(self, candidates: Sequence[Rank]) -> Scene:
        """Return the scene of these candidates: as long as what Git holds is one of them, nothing older is wanted."""
        still = self.downgrade and any(candidate.key == self.current.key for candidate in candidates)
        return replace(self, downgrade=False) if still else self

    def stop(self, candidate: Rank, *, approved: bool = False) -> Stop | None:
        """Return the cheap gate that stops a candidate, None where it passes them all.

        Equal precedence is no update: it answers `up_to_date`. What was approved passes level and step.
        """
        if candidate.key == self.current.key:
            return _SAME
        older = candidate.key < self.current.key
        if older and not self.downgrade:
            return _OLDER
        if self.left is not None and candidate.key <= self.left.key:
            return Stop(Reason.HUMAN_ROLLBACK, f"human_rollback: a person went back from {self.left_name}")
        if older or approved or not candidate.release or not self.current.release:
            return None
        return self._too_far(candidate.release)

    def _too_far(self, release: tuple[int, ...]) -> Stop | None:
        old = self.current.release
        level = change(old, release)
        if _LEVELS.index(level) < _LEVELS.index(self.level):
            return Stop(Reason.LEVEL, f"level: a {level} change, allowed is {self.level}")
        step = release[0] - old[0]
        # From one year to another, or from one day to another; 2024 -> 20240606 is as stray as 8 -> 20240101.
        years = min(release[0], old[0]) >= CALENDAR and len(str(release[0])) == len(str(old[0]))
        if self.max_major_step and step > self.max_major_step and not years:
            return Stop(Reason.AMBIGUOUS, f"ambiguous: {step} majors ahead, allowed are {self.max_major_step}")
        return None


_OLDER = Stop(Reason.OLDER, "older: lower than the current tag")
_SAME = Stop(Reason.UP_TO_DATE, "up_to_date: the same version as the current tag")


def change(old: tuple[int, ...], new: tuple[int, ...]) -> Level:
    """Name the change between two releases by the first number that differs; the third and all after are patch."""
    for level, before, after in zip_longest(_LEVELS, old, new, fillvalue=None):
        if level is None:
            break
        if (before or 0) != (after or 0):
            return level
    return "patch"


NO_IMAGE = ImageRef("", "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a costly gate is asked: the candidate, the tag in Git, what is wanted, and what a person approved.

    image   whose tag it is, for what has to be proven of it
    mirror  where it must be as well, with its tag where that is written; None: nowhere
    pinned  a digest is written
    proven  what was checked: empty where it is so, else why not
    """

    tag: Tag
    current: Tag
    rule: Rule
    now: datetime
    approved: bool = False
    image: ImageRef = NO_IMAGE
    mirror: ImageRef | None = None
    pinned: bool = False
    proven: Mapping[Check, str] = field(default_factory=dict)


Answer = Stop | dict[str, Needs] | frozenset[Check] | None  # stopped, or these facts or proofs first, or passed


def min_age(asked: Asked) -> Answer:
    """A tag must be known for a while: since we first saw it, or for those of our first scan, since it was created."""
    tag, age = asked.tag, timedelta(seconds=asked.rule.min_age)
    if not age or asked.approved:
        return None
    if Needs.SEEN not in tag.known:
        return {tag.name: Needs.SEEN}
    if tag.first_seen is None and Needs.CREATED not in tag.known:
        return {tag.name: Needs.CREATED}
    since = tag.first_seen or tag.created
    if since is None:
        return Stop(Reason.MIN_AGE, "min_age: it was there on our first scan, and when it was created is not known")
    left = since + age - asked.now
    return Stop(Reason.MIN_AGE, f"min_age: {words(left)} left") if left > timedelta(0) else None


def moved(asked: Asked) -> Answer:
    """A tag whose digest changed after we first saw it is not what was announced."""
    tag, wanted = asked.tag, Needs.DIGEST | Needs.SEEN
    if tag.name == tag.digest or asked.rule.moved_tag == "follow":
        return None
    if wanted not in tag.known:
        return {tag.name: wanted}
    if asked.approved or tag.first_digest in {None, tag.digest}:
        return None
    was, now = str(tag.first_digest)[:19], str(tag.digest)[:19]
    return Stop(Reason.MOVED_TAG, f"moved_tag: it was {was} when we first saw it and is {now} now")


def platforms(asked: Asked) -> Answer:
    """The tag must have every platform that is wanted: those of a list, or those of the tag in Git.

    Where the registry no longer has the tag in Git there is nothing to compare with.
    """
    wanted, tag, current = asked.rule.platforms, asked.tag, asked.current
    if not wanted:
        return None
    same = wanted == "same"
    # With the digest, because the platforms of a candidate are those of today, not those that are remembered.
    today = Needs.PLATFORMS if tag.name == tag.digest else Needs.PLATFORMS | Needs.DIGEST
    lacking = {} if today in tag.known else {tag.name: today & ~tag.known}
    if same and Needs.PLATFORMS not in current.known:
        lacking[current.name] = lacking.get(current.name, Needs.PLATFORMS) | Needs.PLATFORMS
    if lacking:
        return lacking
    have = {plain(platform) for platform in tag.platforms}
    missing = sorted({plain(p) for p in (current.platforms if same else wanted)} - have)
    if not missing:
        return None
    has = f"it has {', '.join(sorted(tag.platforms))}" if tag.platforms else "it names none"
    return Stop(Reason.PLATFORM_MISSING, f"platform_missing: {', '.join(missing)}; {has}")


def plain(platform: str) -> str:
    """Leave out the variant that is the only one in use: linux/arm64/v8 is linux/arm64."""
    return platform.removesuffix("/v8") if platform.endswith("arm64/v8") else platform


def verified(asked: Asked) -> Answer:
    """The very digest that the tag has now must be signed; nobody can approve what is not."""
    verify = asked.rule.verify
    if verify is None:
        return None
    return _digest_first(asked) or _proof(
        asked, Signed(asked.image.at(None, asked.tag.digest), verify.cosign.signer), Reason.UNVERIFIED
    )


def mirrored(asked: Asked) -> Answer:
    """What is written must be under the name that Git has: where that is verified, with the very same digest."""
    mirror, pinned, signed = asked.mirror, asked.pinned, asked.rule.verify is not None
    if mirror is None:
        return None
    lacking = _digest_first(asked) if pinned or signed else None
    digest = asked.tag.digest
    there = mirror.at(mirror.tag, digest if pinned else None)
    same = digest if signed and not pinned else None
    return lacking or _proof(asked, Mirrored(there, same), Reason.NOT_MIRRORED)


def _digest_first(asked: Asked) -> dict[str, Needs] | None:
    tag = asked.tag
    return None if tag.name == tag.digest or Needs.DIGEST in tag.known else {tag.name: Needs.DIGEST}


def _proof(asked: Asked, check: Check, reason: Reason) -> Stop | frozenset[Check] | None:
    why = asked.proven.get(check)
    if why is None:
        return frozenset({check})
    return Stop(reason, f"{reason}: {why}") if why else None


COSTLY: tuple[Callable[[Asked], Answer], ...] = (min_age, moved, platforms)
PROVEN = frozenset({Reason.UNVERIFIED, Reason.NOT_MIRRORED})


def costly(asked: Asked) -> Answer:
    """Ask the gates that need facts. What several of them lack is asked for at once, unless age alone may stop it.

    Proofs cost most, and are asked for when nothing else stops it.
    """
    lacking: dict[str, Needs] = {}
    for gate in COSTLY:
        answer = gate(asked)
        if isinstance(answer, Stop):
            return answer
        for name, needs in answer.items() if isinstance(answer, dict) else ():
            lacking[name] = lacking.get(name, Needs(0)) | needs
        if lacking and gate is min_age:
            break
    return lacking or verified(asked) or mirrored(asked)


def words(left: timedelta) -> str:
    """Say a time in its two largest units: `3 h 12 min`."""
    seconds = max(1, round(left.total_seconds()))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (below, small) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size} {name}" + (f" {rest} {below}" if rest else "")
    return f"{seconds} s"
