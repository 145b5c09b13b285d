"""Edit: targets become characters of one file, and the result is read again before anyone believes it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from updater.editors.base import Editor, automatic
from updater.editors.document import Alias, Broken, Mapping, Node, Scalar, Span, compose, spans
from updater.errors import EditError
from updater.model.change import Bump, Change, Edit, Reference, Role
from updater.model.image import ImageRef

_start = attrgetter("start")


def edit(path: str, before: str, wanted: Sequence[tuple[Reference, ImageRef, str]]) -> Change:
    """Return the file with every reference at its target; the third of each says why, in words.

    References that are there already leave no edit and no bump. Raises EditError where a reference cannot be
    written, or where the result would differ in anything but the intended scalars.
    """
    edits: list[Edit] = []
    bumps: list[Bump] = []
    for reference, target, why in wanted:
        changes = _editor(reference.editor).edit(reference, target)
        if changes:
            edits += changes
            bumps.append(_bump(reference, target, why))
    edits.sort()
    _refuse_overlaps(path, edits)
    _refuse_stale(path, before, wanted)
    for span in spans(before):
        inside = edits[bisect_left(edits, span.start, key=_start) : bisect_left(edits, span.end, key=_start)]
        if inside:
            _verify(path, before[span.start : span.end], span, inside)
    return Change(path, before, splice(before, edits), tuple(bumps))


def splice(text: str, edits: Sequence[Edit], offset: int = 0) -> str:
    """Apply ordered edits to a text that begins at character `offset` of the file."""
    pieces, at = [], 0
    for change in edits:
        pieces += [text[at : change.start - offset], change.new]
        at = change.end - offset
    return "".join([*pieces, text[at:]])


def _editor(kind: str) -> Editor:
    return next(editor for editor in automatic() if editor.kind == kind)


def _bump(reference: Reference, target: ImageRef, why: str) -> Bump:
    tagged = any(place.role in {Role.IMAGE, Role.TAG} for place in reference.places)
    new = target.version if tagged else target.at(None, target.digest).version
    old = reference.image.version
    name = reference.image.name
    return Bump(reference.file, reference.line, name, reference.spelled, old, new, target.digest, why)


def _refuse_overlaps(path: str, edits: Sequence[Edit]) -> None:
    for left, right in pairwise(edits):
        if right.start < left.end:
            raise EditError(f"{path}: two changes of the same characters, {left.new!r} and {right.new!r}")


def _refuse_stale(path: str, before: str, wanted: Sequence[tuple[Reference, ImageRef, str]]) -> None:
    for reference, _, _ in wanted:
        for place in reference.places:
            if place.value not in before[place.start : place.end]:
                raise EditError(f"{path}:{place.line}: {place.value[:80]!r} is not there any more")


def _verify(path: str, before: str, span: Span, edits: Sequence[Edit]) -> None:
    """Read one document before and after: same nodes, same scalars, except the intended ones."""
    intended = {edit.start: edit.new.strip("'\"") for edit in edits}
    try:
        old = compose(before, span)
        new = compose(splice(before, edits, span.start), span)
    except Broken as broken:
        raise EditError(f"{path}: after the change it would be {broken}") from None
    _compare(path, old, new, intended)
    if intended:
        raise EditError(f"{path}: {', '.join(map(repr, intended.values()))} would not stand in a scalar of its own")


def _compare(path: str, old: Node | None, new: Node | None, intended: dict[int, str]) -> None:
    waiting = [(old, new)]
    while waiting:
        left, right = waiting.pop()
        if not _alike(left, right, intended):
            line = left.line if left is not None else 1
            raise EditError(f"{path}:{line}: the change would alter more than the version of the image")
        if isinstance(left, Scalar | Alias) or left is None:
            continue
        assert right is not None
        assert not isinstance(right, Scalar | Alias)
        waiting.extend(zip(left.children, right.children, strict=True))


def _alike(left: Node | None, right: Node | None, intended: dict[int, str]) -> bool:
    match left, right:
        case Scalar(), Scalar():
            value = intended.pop(left.start, None)
            same = left.style == right.style if value is None else right.style in {left.style, '"'}
            return same and right.value == (left.value if value is None else value) and _properties(left, right)
        case Alias(), Alias():
            return left.name == right.name
        case (None, None):
            return True
        case _:
            pass
    if left is None or right is None or isinstance(left, Scalar | Alias) or isinstance(right, Scalar | Alias):
        return False
    same_kind = isinstance(left, Mapping) == isinstance(right, Mapping)
    return same_kind and len(left.children) == len(right.children) and _properties(left, right)


def _properties(left: Node, right: Node) -> bool:
    assert not isinstance(left, Alias)
    assert not isinstance(right, Alias)
    return (left.anchor, left.tag) == (right.anchor, right.tag)
