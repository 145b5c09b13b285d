"""What our own commits say about an image in a file: what we wrote, what we left, what is held. Pure.

A commit is ours when it carries an Image-Update for the image, also after a squash or a cherry-pick: who committed it
proves nothing. Which files it changed is what Git says; which of several values stands in which of them, its lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from updater.git.clone import Logged
from updater.messages.commits import Told, digests, holds, places, told
from updater.model.past import Past

DEPTH = 1_000  # commits of ours that are looked at, newest first
FLAP_WINDOW = timedelta(hours=24)  # whoever wants a version back sooner is in a quarrel with somebody
NOTHING = Past()
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class _Step:
    """One value that one commit of ours replaced in one file; `line` is None where the commit does not tell it."""

    old: str
    new: str
    line: int | None
    at: datetime
    held: datetime | None  # until when the commit holds the image


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
    def lines(self) -> dict[tuple[str, str, str], int]:
        """Return the line by file, old and new value."""
        return {(place.file, place.old, place.new): place.line for place in places(self.logged.message)}

    @cached_property
    def held(self) -> dict[str, datetime]:
        return dict(holds(self.logged.trailers))

    def steps(self, file: str, image: str, changes: Sequence[Told]) -> Iterator[_Step]:
        """Yield what was replaced in a file; where no line tells which of several changes it was, all of them."""
        here = [one for one in changes if (file, one.old, one.new) in self.lines]
        for one in here or changes:
            line = self.lines.get((file, one.old, one.new))
            yield _Step(one.old, one.new, line, self.logged.at, self.held.get(image))


class Trail:
    """The commits of ours on one branch, newest first, with their files: `clone.log(..., grep=OURS, files=True)`."""

    def __init__(self, commits: Sequence[Logged] = ()) -> None:
        self._by_image: dict[str, list[tuple[_Ours, list[Told]]]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._steps: dict[tuple[str, str], tuple[_Step, ...]] = {}
        for logged in commits[:DEPTH]:
            ours = _Ours(logged)
            for image, changes in ours.changes.items():
                self._by_image.setdefault(image, []).append((ours, changes))
            for image, tag, digest in digests(logged.trailers):
                self._tags.setdefault(image, {}).setdefault(digest, tag)

    def of(self, file: str, image: str, now: datetime, current: str | None = None) -> Past:
        """Return what we did to an image, named in full, in a file.

        A file may hold several values of one image, each with a past of its own: `current` says which is meant.
        """
        steps = self._of(file, image)
        if not steps:
            return Past(tags=self.tags(image))
        last = _last(steps, current)
        since = now - FLAP_WINDOW
        left = frozenset(step.old for step in steps if step.at > since and step.held is None and step.old != "-")
        newest = steps[0]
        return Past(
            wrote=last.new,
            wrote_at=last.at,
            left=left,
            tags=self.tags(image),
            held_until=newest.held,
            held_at=newest.at if newest.held else None,
        )

    def previous(self, file: str, image: str, current: str) -> str | None:
        """Return what our latest commit that wrote the current value in a file found there; None where none did.

        Rollbacks do not count: after one the way leads further back, not forth again.
        """
        steps = (step for step in self._of(file, image) if step.new == current and step.held is None)
        return next((step.old for step in steps if step.old != "-"), None)

    def tags(self, image: str) -> Mapping[str, str]:
        """Return the tags of an image's digests, as our commits tell them."""
        return self._tags.get(image, {})

    def _of(self, file: str, image: str) -> tuple[_Step, ...]:
        """Return what was replaced in a file, newest first."""
        key = (file, image)
        if key not in self._steps:
            commits = ((ours, changes) for ours, changes in self._by_image.get(image, ()) if file in ours.files)
            self._steps[key] = tuple(
                step for ours, changes in commits for step in _newest_first(tuple(ours.steps(file, image, changes)))
            )
        return self._steps[key]


def _newest_first(steps: tuple[_Step, ...]) -> list[_Step]:
    """Order the changes of one commit: of a squash that went 1 -> 2 -> 3 the last is 2 -> 3, wherever it stands."""
    left, later_first = {step.old for step in steps}, steps[::-1]
    return sorted(later_first, key=lambda step: step.new in left)


def _last(steps: Sequence[_Step], current: str | None) -> _Step:
    """Return the step that led to the current value, or that a person has undone since.

    It is the one that wrote this value, where nothing of ours came after; else the newest of its kind.
    """
    kinds = _kinds(steps)
    kind = kinds.get(_shape(current)) if current else None
    alike = [step for step in steps if kinds[_shape(step.new)] == kind] or list(steps)
    return next((step for step in _standing(alike) if step.new == current), alike[0])


def _standing(steps: Sequence[_Step]) -> Iterator[_Step]:
    """Yield the steps whose value no later one of ours replaced, neither by its name nor in its line."""
    values: set[str] = set()
    lines: set[int | None] = set()
    for step in steps:
        if step.new not in values and (step.line is None or step.line not in lines):
            yield step
        values.add(step.old)
        lines.add(step.line)


def _kinds(steps: Sequence[_Step]) -> dict[str, str]:
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
