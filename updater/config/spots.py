"""Where the values of manifests stand. Built only once something is wrong: it costs as much as reading the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import yaml

from updater.model.stream import Broken, Span, events, spans

Place: TypeAlias = tuple[int, int]


@dataclass(slots=True, eq=False)
class Spot:
    """One value: its line and column, and what it holds; of a scalar the text, of a mapping each key and its value.

    `absent` is what follows a colon with nothing behind it: it has no place but the key's.
    """

    line: int
    column: int
    text: str = ""
    absent: bool = False
    keys: dict[str, tuple[Spot, Spot]] | None = None
    items: list[Spot] | None = None

    def place(self, path: Sequence[int | str], *, at_key: bool = False) -> Place:
        """Return where a value, or its key, stands; that of the innermost holder which is there."""
        spot = self
        for number, step in enumerate(path):
            if isinstance(step, str) and step in (spot.keys or {}):
                assert spot.keys is not None
                key, value = spot.keys[step]
                last = number + 1 == len(path)
                spot = key if last and (at_key or value.absent) else value
            elif isinstance(step, int) and step < len(spot.items or ()):
                assert spot.items is not None
                spot = spot.items[step]
            else:
                break
        return spot.line, spot.column


def manifests(text: str) -> list[Spot]:
    """Return the manifests of a file in the order in which they are read; nothing where that cannot be told."""
    try:
        roots = [root for span in spans(text) for root in _roots(text, span)]
        return [spot for root in roots if root.keys for spot in _flat(root)]
    except Broken:
        return []


def _flat(spot: Spot) -> Iterator[Spot]:
    """Yield what a list holds, or the manifest itself: as they are read."""
    if spot.keys is None:
        return
    kind, items = (spot.keys[key][1] if key in spot.keys else None for key in ("kind", "items"))
    listed = items is not None and items.items is not None
    if kind is None or not kind.text.endswith("List") or not (kind.text == "List" or listed):
        yield spot
        return
    for item in (items.items if items else None) or ():
        yield from _flat(item)


def _roots(text: str, span: Span) -> list[Spot]:
    roots: list[Spot] = []
    holders: list[tuple[Spot, list[Spot]]] = []  # each with what it holds so far; of a mapping keys and values in turn
    anchors: dict[str | None, Spot] = {}
    for event in events(text[span.start : span.end], span):
        kind = type(event)
        if kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            _close(*holders.pop())
            continue
        spot = _spot(event, span, anchors)
        if spot is None:
            continue
        (holders[-1][1] if holders else roots).append(spot)
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            holders.append((spot, []))
    return roots


def _spot(event: Any, span: Span, anchors: dict[str | None, Spot]) -> Spot | None:
    """Return what an event begins; an alias stands where it is written, and holds what its anchor holds."""
    if not hasattr(event, "anchor"):  # the beginning or the end of a document
        return None
    line, column = span.line + event.start_mark.line, event.start_mark.column + 1
    if isinstance(event, yaml.AliasEvent):
        named = anchors.get(event.anchor)
        return replace(named, line=line, column=column) if named else Spot(line, column)
    spot = Spot(line, column)
    if isinstance(event, yaml.ScalarEvent):
        spot.text, spot.absent = event.value, not event.value and not event.style
    elif isinstance(event, yaml.MappingStartEvent):
        spot.keys = {}
    elif isinstance(event, yaml.SequenceStartEvent):
        spot.items = []
    if event.anchor is not None:
        anchors[event.anchor] = spot
    return spot


def _close(spot: Spot, inner: list[Spot]) -> None:
    if spot.items is not None:
        spot.items += inner
        return
    assert spot.keys is not None
    for key, value in zip(inner[::2], inner[1::2], strict=True):
        if key.text == "<<":
            for one in value.items or [value]:
                spot.keys.update(one.keys or {})
        else:
            spot.keys[key.text] = (key, value)
