"""Edit: targets become characters of one file, and the result is read again before anyone believes it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from operator import attrgetter
from typing import Any, NamedTuple

import yaml

from updater.editors.base import Editor, automatic
from updater.errors import EditError
from updater.model.change import Bump, Change, Edit, Reference, Role
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.stream import Broken, Span, events, spans

_NAMED = (yaml.ScalarEvent, yaml.AliasEvent)  # what a place can be
_SAID = {  # what an event says, besides the value of a scalar
    yaml.DocumentStartEvent: attrgetter("explicit", "version", "tags"),
    yaml.ScalarEvent: attrgetter("anchor", "tag"),
    yaml.AliasEvent: attrgetter("anchor"),
    yaml.SequenceStartEvent: attrgetter("anchor", "tag", "flow_style"),
    yaml.MappingStartEvent: attrgetter("anchor", "tag", "flow_style"),
}
_start = attrgetter("start")


class Wanted(NamedTuple):
    """One reference, what it is to say, and why, in words; tag, digest and origin of the target where they are known.

    Tag and digest stand in the trailers, whichever of them is written.
    """

    reference: Reference
    target: ImageRef
    why: str
    tag: str | None = None
    digest: str | None = None
    origin: Origin | None = None


def edit(path: str, before: str, wanted: Sequence[Wanted | tuple[Reference, ImageRef, str]]) -> Change:
    """Return the file with every reference at its target.

    References that are there already leave no edit and no bump. Raises EditError where a reference cannot be
    written, or where the result would differ in anything but the intended scalars.
    """
    edits: list[Edit] = []
    bumps: list[Bump] = []
    values: dict[int, str] = {}  # what the scalars and aliases of these references say, by their ends
    for one in (Wanted(*each) for each in wanted):
        reference = one.reference
        changes = _editor(reference.editor).edit(reference, one.target)
        if changes:
            edits += changes
            bumps.append(_bump(one))
            values |= {place.end: place.value for place in reference.places}
    edits.sort()
    _refuse_overlaps(path, edits)
    for span in spans(before) if edits else ():
        inside = edits[bisect_left(edits, span.start, key=_start) : bisect_left(edits, span.end, key=_start)]
        if inside:
            _verify(path, before[span.start : span.end], span, inside, values)
    if values:
        raise EditError(f"{path}: {', '.join(map(repr, values.values()))} is not there any more")
    return Change(path, before, splice(before, edits), tuple(bumps))


def refusal(reference: Reference, target: ImageRef) -> str:
    """Why a reference cannot be made to say the target, before its file is touched; empty where it can."""
    try:
        _editor(reference.editor).edit(reference, target)
    except EditError as error:
        return str(error)
    return ""


def splice(text: str, edits: Sequence[Edit], offset: int = 0) -> str:
    """Apply ordered edits to a text that begins at character `offset` of the file."""
    pieces, at = [], 0
    for change in edits:
        pieces += [text[at : change.start - offset], change.new]
        at = change.end - offset
    return "".join([*pieces, text[at:]])


def _editor(kind: str) -> Editor:
    return next(editor for editor in automatic() if editor.kind == kind)


def _bump(one: Wanted) -> Bump:
    reference, target = one.reference, one.target
    tagged = any(place.role in {Role.IMAGE, Role.TAG} for place in reference.places)
    new = target.version if tagged else target.at(None, target.digest).version
    old, name = reference.image.version, reference.image.name
    digest, tag = target.digest or one.digest, one.tag or (None if tagged else target.tag)
    return Bump(reference.file, reference.line, name, reference.spelled, old, new, digest, one.why, tag, one.origin)


def _refuse_overlaps(path: str, edits: Sequence[Edit]) -> None:
    for left, right in pairwise(edits):
        if right.start < left.end:
            raise EditError(f"{path}: two changes of the same characters, {left.new!r} and {right.new!r}")


def _refuse_stale(path: str, line: int, event: Any, value: str | None) -> None:
    """Refuse a scalar that does not say what its reference remembers; what an alias says stands elsewhere."""
    if value is not None and type(event) is yaml.ScalarEvent and event.value != value:
        raise EditError(f"{path}:{line}: {value!r} is not there any more")


def _verify(path: str, before: str, span: Span, edits: Sequence[Edit], values: dict[int, str]) -> None:
    """Read one document before and after: the same structure, the same scalars, except the intended ones.

    Scalars are known by their ends: libyaml's marks of their beginnings include anchors and tags.
    """
    after = splice(before, edits, span.start)
    intended = {change.end - span.start: change.new.strip("'\"") for change in edits}
    try:
        for old, new in zip_longest(events(before, span), events(after, span)):
            mark = (old or new).start_mark
            value = None
            if type(old) in _NAMED:
                value = intended.pop(old.end_mark.index, None)
                _refuse_stale(path, span.line + mark.line, old, values.pop(span.start + old.end_mark.index, None))
            if not _alike(old, new, value):
                line = span.line + mark.line
                raise EditError(f"{path}:{line}: the change would alter more than the version of the image")
    except Broken as broken:
        raise EditError(f"{path}: after the change there would be {broken}") from None
    if intended:
        raise EditError(f"{path}: {', '.join(map(repr, intended.values()))} would not stand in a scalar of its own")


def _alike(old: Any, new: Any, value: str | None) -> bool:
    """Whether two events say the same, or the new one says the intended value, in the old quotes or in double ones."""
    kind = type(old)
    said = _SAID.get(kind)
    if kind is not type(new) or (said is not None and said(old) != said(new)):
        return False
    if kind is not yaml.ScalarEvent:
        return True
    if value is None:
        return bool(old.value == new.value and old.style == new.style)
    return new.value == value and new.style in {old.style, '"'}
