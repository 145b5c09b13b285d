"""Edit: targets become characters of one file, and the result is read again before anyone believes it. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from updater.editors.base import Editor, automatic
from updater.editors.document import uncollected
from updater.editors.embedded import frame
from updater.editors.scalar import spell
from updater.errors import EditError
from updater.model.change import Bump, Change, Edit, Place, Reference, Role
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.stream import BLANK, BREAKS, Broken, Span, reading, spans
from updater.plugins import members

INSERTED = "newTag"  # the only key that is ever added
_NAMED = (yaml.ScalarEvent, yaml.AliasEvent)  # what a place can be
_SAID = {  # what an event says, besides the value of a scalar
    yaml.DocumentStartEvent: attrgetter("explicit", "version", "tags"),
    yaml.ScalarEvent: attrgetter("anchor", "tag"),
    yaml.AliasEvent: attrgetter("anchor"),
    yaml.SequenceStartEvent: attrgetter("anchor", "tag", "flow_style"),
    yaml.MappingStartEvent: attrgetter("anchor", "tag", "flow_style"),
}
_BLOCKS = frozenset("|>")
_start = attrgetter("start")


class Wanted(NamedTuple):
    """One reference, what it is to say, and why, in words; tag, digest and origin of the target where they are known.

    Tag and digest stand in the trailers, whichever of them is written. `tokens` are the very characters of each place
    of the reference, where those are known: what stood there before.
    """

    reference: Reference
    target: ImageRef
    why: str
    tag: str | None = None
    digest: str | None = None
    origin: Origin | None = None
    tokens: tuple[str, ...] = ()


@uncollected()
def edit(
    path: str,
    before: str,
    wanted: Sequence[Wanted | tuple[Reference, ImageRef, str]],
    raises: Mapping[Place, str] = MappingProxyType({}),
) -> Change:
    """Return the file with every reference at its target, and with other values at their places.

    References that are there already leave no edit and no bump. Raises EditError where a reference cannot be
    written, or where the result would differ in anything but the intended scalars.
    """
    edits: list[Edit] = []
    bumps: list[Bump] = []
    values: dict[int, str] = {}  # what the scalars and aliases of these references say, by their ends
    every = [Wanted(*each) for each in wanted]
    for why in apart(every).values():
        raise EditError(f"{path}: {why}")
    for one in every:
        reference = one.reference
        changes = _restored(before, one) if one.tokens else _editor(reference.editor).edit(reference, one.target)
        if changes:
            edits += changes
            bumps.append(_bump(one))
            values |= {place.end: place.value for place in reference.places if not place.lead}
    edits += [Edit(place.start, place.end, spell(value, place.style)) for place, value in raises.items()]
    values |= {place.end: place.value for place in raises}
    edits = sorted(set(edits))  # what several share is written once
    _refuse_overlaps(path, edits)
    ends = sorted(values)
    for span in spans(before) if edits else ():
        last = len(edits) if span.end == len(before) else bisect_left(edits, span.end, key=_start)
        inside = edits[bisect_left(edits, span.start, key=_start) : last]
        if inside:
            here = ends[bisect_right(ends, span.start) : bisect_right(ends, span.end)]
            said = {end: values.pop(end) for end in here}
            _verify(path, before[span.start : span.end], span, inside, said)
            values |= said
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


def apart(wanted: Sequence[Wanted]) -> dict[int, str]:
    """Why some of these references stay as they are, by their index: they share a scalar with one that does too.

    A shared scalar is written where all who read it are among these, and want the same of it.
    """
    said = {
        index: (one.reference, _changes(one))
        for index, one in enumerate(wanted)
        if any(place.users for place in one.reference.places)
    }
    left: dict[int, str] = {}
    while True:
        new = {(r.file, p.at, p.start): edits.get(p.start) for r, edits in said.values() for p in r.places}
        stuck = {
            index: f"shared with line {user.line}, which does not change to the same"
            for index, (r, edits) in said.items()
            for p in r.places
            if p.start in edits
            for user in p.users
            if new.get((r.file, user.at, p.start)) != edits[p.start]
        }
        if not stuck:
            return left
        left |= stuck
        said = {index: one for index, one in said.items() if index not in stuck}


def _changes(one: Wanted) -> dict[int, str]:
    """What it takes to write a reference, by where it stands; nothing where it cannot be written."""
    if one.tokens:
        places = zip(one.reference.places, one.tokens, strict=True)
        return {place.start: token for place, token in places if token.strip("'\"") != place.value}
    try:
        edits = _editor(one.reference.editor).edit(one.reference, one.target)
    except EditError:
        return {}
    return {change.start: change.new for change in edits}


def splice(text: str, edits: Sequence[Edit], offset: int = 0) -> str:
    """Apply ordered edits to a text that begins at character `offset` of the file."""
    pieces, at = [], 0
    for change in edits:
        pieces += [text[at : change.start - offset], change.lead, change.new]
        at = change.end - offset
    return "".join([*pieces, text[at:]])


def _restored(before: str, one: Wanted) -> tuple[Edit, ...]:
    places = zip(one.reference.places, one.tokens, strict=True)
    return tuple(Edit(at.start, at.end, token) for at, token in places if before[at.start : at.end] != token)


def _editor(kind: str) -> Editor:
    """The editor of this kind; one that an item configures writes by the places that it found, without its fields."""
    found = next((editor for editor in automatic() if editor.kind == kind), None)
    return found or members(Editor)[kind].model_construct()


def _bump(one: Wanted) -> Bump:
    reference, target = one.reference, one.target
    tagged = any(place.role in {Role.IMAGE, Role.TAG} for place in reference.places)
    new = target.version if tagged else target.at(None, target.digest).version
    old, name = reference.image.version, reference.image.name
    digest, tag = target.digest or one.digest, one.tag or (None if tagged else target.tag)
    spelled, former = (reference.rename.new, reference.spelled) if reference.rename else (reference.spelled, "")
    return Bump(reference.file, reference.line, name, spelled, old, new, digest, one.why, tag, one.origin, former)


def _refuse_overlaps(path: str, edits: Sequence[Edit]) -> None:
    for left, right in pairwise(edits):
        if right.start < left.end:
            raise EditError(f"{path}: two changes of the same characters, {left.new!r} and {right.new!r}")


def _line(span: Span, event: Any) -> int:
    return span.line + int(event.start_mark.line)


def _refuse_stale(path: str, line: int, event: Any, value: str) -> None:
    """Refuse a scalar that does not say what its reference remembers."""
    if type(event) is yaml.ScalarEvent and _said(event) != value:
        raise EditError(f"{path}:{line}: {value!r} is not there any more")


def _said(event: Any) -> str:
    """What a scalar says; the line breaks at the end of a block scalar belong to its style."""
    value: str = event.value
    return value.rstrip("\n") if event.style in _BLOCKS else value


def _end(event: Any, text: str) -> int:
    """Where a scalar or an alias ends; a block scalar with the last character of its text."""
    mark, end = event.start_mark, int(event.end_mark.index)
    if type(event) is not yaml.ScalarEvent or event.style not in _BLOCKS:
        return end
    return int(mark.index) + len(text[mark.index : end].rstrip(BLANK))


def _token(path: str, event: Any, at: tuple[Span, str], intended: dict[int, str], values: dict[int, str]) -> str | None:
    """Return what a scalar or an alias is to say, if it is among the intended ones."""
    span, text = at
    end = _end(event, text)
    if (value := values.pop(span.start + end, None)) is not None:
        _refuse_stale(path, _line(span, event), event, value)
    return intended.pop(end, None)


def _verify(path: str, before: str, span: Span, edits: Sequence[Edit], values: dict[int, str]) -> None:
    """Read one document before and after: the same structure, the same scalars, except the intended ones.

    Scalars are known by their ends: libyaml's marks of their beginnings include anchors and tags. What is inserted is
    one key and its value, right behind a scalar. What ends on a line before all that was meant is the same text read
    in the same state: it is not compared, since nothing but a key waits for what follows, and a key stands on one line.
    When both readings stand at the same characters, with the same open, on a line behind all that was meant, what
    follows is the same text in the same state too: it is not read again.
    """
    after = splice(before, edits, span.start)
    first = max(before.rfind(end, 0, min([edits[0].start, *values]) - span.start) for end in BREAKS)
    rest, longer = _line_end(before, max([edits[-1].end, *values]) - span.start), len(after) - len(before)
    intended = {one.end - span.start: one.new for one in edits if not one.lead}
    inserted = [one for one in reversed(edits) if one.lead]
    behind = None
    try:
        with reading(before, span) as olds, reading(after, span) as news:
            while (old := olds()) is not None:
                if old.end_mark.index < first:
                    news()
                    behind = old
                    continue
                kind, index = type(old), old.start_mark.index
                if inserted and span.start + index >= inserted[-1].start:
                    _refuse_other_key(f"{path}:{_line(span, old)}", inserted.pop(), behind, [news(), news()])
                new = news()
                if kind is yaml.ScalarEvent and old.style and (inner := _within(old, span, edits, before)):
                    _verify_text(path, before, (span, old, new), inner, values)
                    for change in inner:
                        intended.pop(change.end - span.start)
                    behind = old
                    continue
                token = _token(path, old, (span, before), intended, values) if kind in _NAMED else None
                if not _alike(old, new, token):
                    raise EditError(
                        f"{path}:{_line(span, old)}: the change would alter more than the version of the image"
                    )
                if index > rest and _at(new) == (index + longer, old.start_mark.column):
                    break
                behind = old
            else:
                _refuse_more(path, news())
    except Broken as broken:
        raise EditError(f"{path}: after the change there would be {broken}") from None
    if left := [*intended.values(), *map(_bare, inserted)]:
        raise EditError(f"{path}: {', '.join(map(repr, left))} would not stand in a scalar of its own")


def _line_end(text: str, at: int) -> int:
    """Where the line of a character ends, by a break that every reader takes for one."""
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _refuse_more(path: str, event: Any) -> None:
    if event is not None:
        raise EditError(f"{path}: the change would alter more than the version of the image")


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.start_mark.column


def _bare(change: Edit) -> str:
    return change.new.strip("'\"")


def _refuse_other_key(at: str, change: Edit, behind: Any, new: Sequence[Any]) -> None:
    """Refuse an insertion that is more than the one key that may be, and the intended value, behind another value."""
    plain = all(type(event) is yaml.ScalarEvent and event.anchor is None and event.tag is None for event in new)
    if not plain or type(behind) not in _NAMED or [event.value for event in new] != [INSERTED, _bare(change)]:
        raise EditError(f"{at}: the change would insert more than the version of the image")


def _within(event: Any, span: Span, edits: Sequence[Edit], text: str) -> Sequence[Edit]:
    """The changes inside of a quoted or block scalar that is a text of its own: they begin behind its quote or its `|`.

    One that is all of a block scalar of one line is a change of that scalar itself.
    """
    if event.anchor or event.tag:
        return ()
    first = bisect_right(edits, span.start + event.start_mark.index, key=_start)
    inner = edits[first : bisect_left(edits, span.start + event.end_mark.index, key=_start)]
    if len(inner) == 1 and text[inner[0].start - span.start : inner[0].end - span.start] == _said(event):
        return ()
    return inner


def _verify_text(
    path: str, before: str, at: tuple[Span, Any, Any], edits: Sequence[Edit], values: dict[int, str]
) -> None:
    """Read a document that stands in a scalar before and after, as one of its own."""
    span, old, new = at
    line = span.line + old.start_mark.line
    where = frame(before, old.start_mark.index, old.end_mark.index, old.value)
    ends = [end for end in values if old.start_mark.index < end - span.start <= old.end_mark.index]
    said = {where.into(end - span.start): values.pop(end) for end in ends} if where else {}
    inner = [Edit(where.into(one.start - span.start) or 0, where.into(one.end - span.start) or 0, one.new, one.lead)
             for one in edits] if where else []  # fmt: skip
    after = splice(old.value, inner)
    if None in said or type(new) is not yaml.ScalarEvent or (new.value, new.style) != (after, old.style):
        raise EditError(f"{path}:{line}: the change would alter more than the version of the image")
    stands = {end: value for end, value in said.items() if end is not None}
    _verify(path, old.value, Span(0, len(old.value), line + (old.style == "|")), inner, stands)
    if stands:
        raise EditError(f"{path}:{line}: {', '.join(map(repr, stands.values()))} is not there any more")


def _alike(old: Any, new: Any, token: str | None) -> bool:
    """Whether two events say the same, or the new one says what was intended, in the quotes that were intended."""
    kind = type(old)
    said = _SAID.get(kind)
    if kind is not type(new) or (said is not None and said(old) != said(new)):
        return False
    if kind is not yaml.ScalarEvent:
        return True
    if token is None:
        return bool(old.value == new.value and old.style == new.style)
    if old.style in _BLOCKS:
        return bool(new.style == old.style and new.value == token + old.value[len(_said(old)) :])
    quote = token[:1] if token[:1] in {"'", '"'} else ""
    return bool(token == f"{quote}{new.value}{quote}" and (new.style or "") == quote)
