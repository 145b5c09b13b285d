"""What our own commits say about an image in a file: what we wrote, what we left, what is held. Pure.

A commit is ours when it carries an Image-Update for the image, also after a squash or a cherry-pick: who committed it
proves nothing. Which files it changed is what Git says; which of several values stands in which of them, its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from operator import itemgetter

from updater.git.clone import Logged
from updater.messages.commits import Place, Told, digests, holds, places, told
from updater.model.decision import Reason
from updater.model.past import Past

DEPTH = 1_000  # commits of ours that are looked at, newest first
FLAP_WINDOW = timedelta(hours=24)  # whoever wants a version back sooner is in a quarrel with somebody
NOTHING = Past()
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Step:
    """One value that one commit of ours replaced in one file; `line` is None where the commit does not tell it.

    `image` is that of the trailer. `spelled` and `former` are the names that Git spelled afterwards and before, where
    the commit changed the name too; `names` are all that its lines tell of this change, none where they tell nothing.
    """

    old: str
    new: str
    line: int | None
    at: datetime
    held: datetime | None  # until when the commit holds the image
    image: str
    logged: Logged
    spelled: str = ""
    former: str = ""
    names: frozenset[str] = frozenset()

    @property
    def renamed(self) -> bool:
        """Whether the name was changed; a commit that lost its lines still tells it by a version that stayed."""
        return bool(self.former) or self.old == self.new


@dataclass(frozen=True)
class _Ours:
    """One commit of ours."""

    logged: Logged

    @cached_property
    def changes(self) -> dict[str, list[Told]]:
        """Return what it tells of each image."""
        found: dict[str, list[Told]] = {}
        for one in told(self.logged.trailers):
            found.setdefault(one.image, []).append(one)
        return found

    @cached_property
    def files(self) -> frozenset[str]:
        return frozenset(self.logged.files)

    @cached_property
    def lines(self) -> dict[tuple[str, str, str], Place]:
        """Return the line by file, old and new value; where several say the same, one that tells of a new name."""
        found = sorted(places(self.logged.message), key=lambda place: bool(place.former))
        return {(place.file, place.old, place.new): place for place in found}

    @cached_property
    def names(self) -> dict[tuple[str, str, str], frozenset[str]]:
        """Return the names in Git by file, old and new value: several references may say the same by several names."""
        found: dict[tuple[str, str, str], frozenset[str]] = {}
        for one in places(self.logged.message):
            key = (one.file, one.old, one.new)
            found[key] = found.get(key, frozenset()) | {one.spelled, one.former}
        return found

    @cached_property
    def held(self) -> dict[str, datetime]:
        return dict(holds(self.logged.trailers))

    def steps(self, file: str, image: str, changes: Sequence[Told]) -> Iterator[Step]:
        """Yield what was replaced in a file; where no line tells which of several changes it was, all of them."""
        here = [one for one in changes if (file, one.old, one.new) in self.lines]
        for one in here or changes:
            at, held = self.lines.get((file, one.old, one.new)), self.held.get(image)
            spelled, former = (at.spelled, at.former) if at and at.former else ("", "")
            names = self.names.get((file, one.old, one.new), frozenset())
            line = at.line if at else None
            yield Step(one.old, one.new, line, self.logged.at, held, image, self.logged, spelled, former, names)


class Trail:
    """The commits of ours on one branch, newest first, with their files: `clone.landed(..., grep=OURS, files=True)`.

    `full` gives the name in full of an image as Git spells it.
    """

    def __init__(self, commits: Sequence[Logged] = (), full: Callable[[str], str] = str) -> None:
        self._full = full
        self._by_image: dict[str, list[tuple[int, _Ours, str, list[Told]]]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._steps: dict[tuple[str, str, str], tuple[Step, ...]] = {}
        for number, logged in enumerate(commits[:DEPTH]):
            ours = _Ours(logged)
            for image, changes in ours.changes.items():
                self._by_image.setdefault(image, []).append((number, ours, image, changes))
            for image, tag, digest in digests(logged.trailers):
                self._tags.setdefault(image, {}).setdefault(digest, tag)

    def of(
        self, file: str, image: str, now: datetime, current: str | None = None, former: str = "", *, alone: str = ""
    ) -> Past:
        """Return what we did to an image, named in full, in a file.

        A file may hold several values of one image, each with a past of its own: `current` says which is meant. Where
        Git has a `former` name of the image, what we did under that counts too. `alone` is a name in Git that goes its
        own way, as mirrors do: what our lines tell of other names alone is then no past of it, but for holds.
        """
        every = self._of(file, image, former)
        tags = {**self.tags(former), **self.tags(image)} if former else self.tags(image)
        newest = every[0] if every else None
        held = (newest.held, newest.at) if newest and newest.held else (None, None)
        steps = [step for step in every if not alone or not step.names or alone in step.names]
        if not steps:
            return Past(tags=tags, held_until=held[0], held_at=held[1])
        alike = _alike(steps, current)
        last = next((step for step in _standing(alike) if step.new == current), alike[0])
        since = now - FLAP_WINDOW
        lately = (step for step in steps if step.at > since and step.held is None and step.old != step.new)
        left = frozenset(step.old for step in lately if step.old != "-")
        return Past(
            wrote=last.new,
            wrote_at=last.at,
            left=left,
            tags=tags,
            undone=self._undone(alike, image, former, since) if former else None,
            held_until=held[0],
            held_at=held[1],
        )

    def previous(self, file: str, image: str, current: str, former: str = "") -> Step | None:
        """Return what our latest commit that wrote the current value in a file did there; None where none did.

        Rollbacks do not count: after one the way leads further back, not forth again.
        """
        found = [
            step
            for step in self._of(file, image, former)
            if step.new == current and step.held is None
            if (former or image) == (self._full(step.spelled) if step.former else step.image)
        ]
        return next((step for step in found if step.old != "-"), next(iter(found), None))

    def found(self, file: str, image: str, tag: str, former: str = "") -> Step | None:
        """Return our latest commit that found a tag in a file, under the name that Git has now; None where none did."""
        for step in self._of(file, image, former):
            name = self._full(step.former) if step.former else step.image
            if step.old.partition("@")[0] == tag and name == (former or image):
                return step
        return None

    def _undone(self, steps: Sequence[Step], image: str, former: str, since: datetime) -> Reason | None:
        """Return who put a former name back that we replaced: a person, or lately another updater that means well."""
        for step in steps:
            if step.former and (self._full(step.former), self._full(step.spelled)) == (image, former):
                if step.held:
                    return None  # our own rollback: it holds the image as long as it was to
                return Reason.FLAPPING if step.at > since else Reason.HUMAN_ROLLBACK
            if step.renamed and (not step.former or self._full(step.former) == former):
                return Reason.HUMAN_ROLLBACK
        return None

    def tags(self, image: str) -> Mapping[str, str]:
        """Return the tags of an image's digests, as our commits tell them."""
        return self._tags.get(image, {})

    def _of(self, file: str, image: str, former: str) -> tuple[Step, ...]:
        """Return what was replaced in a file, newest first."""
        key = (file, image, former)
        if key not in self._steps:
            known = [*self._by_image.get(image, ()), *(self._by_image.get(former, ()) if former else ())]
            commits = (one for one in sorted(known, key=itemgetter(0)) if file in one[1].files)
            self._steps[key] = tuple(
                step
                for _, ours, name, changes in commits
                for step in _newest_first(tuple(ours.steps(file, name, changes)))
            )
        return self._steps[key]


def _newest_first(steps: tuple[Step, ...]) -> list[Step]:
    """Order the changes of one commit: of a squash that went 1 -> 2 -> 3 the last is 2 -> 3, wherever it stands."""
    left, later_first = {step.old for step in steps}, steps[::-1]
    return sorted(later_first, key=lambda step: step.new in left)


def _alike(steps: Sequence[Step], current: str | None) -> list[Step]:
    """Return the steps of the current value's kind, among them the one that led to it or that a person undid; or all.

    That is the one that wrote this value, where nothing of ours came after; else the newest.
    """
    kinds = _kinds(steps)
    kind = kinds.get(_shape(current)) if current else None
    return [step for step in steps if kinds[_shape(step.new)] == kind] or list(steps)


def _standing(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps whose value no later one of ours replaced, neither by its name nor in its line."""
    values: set[str] = set()
    lines: set[int | None] = set()
    for step in steps:
        if step.new not in values and (step.line is None or step.line not in lines):
            yield step
        values.add(step.old)
        lines.add(step.line)


def _kinds(steps: Sequence[Step]) -> dict[str, str]:
    """Return a name of the kind of every shape: 7 and 7-alpine are two kinds, unless one was changed to the other."""
    kinds: dict[str, str] = {}
    for step in reversed(steps):
        shapes = [_shape(value) for value in (step.old, step.new) if value != "-"]
        old, new = (kinds.setdefault(shape, shape) for shape in (shapes[0], shapes[-1]))
        if old != new:
            kinds = {shape: old if kind == new else kind for shape, kind in kinds.items()}
    return kinds


def _shape(value: str | None) -> str:
    """Blank the numbers of a tag; all digests have one shape."""
    tag = (value or "").partition("@")[0]
    return _DIGITS.sub("#", tag) if tag else "@"
