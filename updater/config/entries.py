"""Lists whose entries are validated one by one: a mistake in one hides none in another, and names stay known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from updater.config.files import place
from updater.config.items import validate
from updater.config.tree import Map, Mark, Seq
from updater.errors import Problem

M = TypeVar("M", bound=BaseModel)


def without(tree: Map, lists: Collection[str], mappings: Collection[str] = ()) -> Map:
    """Return the tree without what is validated apart: mappings of these names, and those within these lists."""
    rest = Map(tree.mark)
    for key, value in tree.items():
        if isinstance(value, Seq) and key in lists:
            short = Seq(value.mark)
            for entry, mark in zip(value, value.marks, strict=True):
                if not isinstance(entry, Map):
                    short.add(entry, mark)
            rest.put(key, short, tree.marks[key])
        elif key not in mappings or not isinstance(value, Map):
            rest.put(key, value, tree.marks[key])
    return rest


def maps(entries: object) -> Iterator[Map]:
    """Return the mappings of a list."""
    return (entry for entry in (entries if isinstance(entries, Seq) else ()) if isinstance(entry, Map))


def texts(entries: object) -> Iterator[tuple[str, Mark]]:
    """Return the texts of a list, and where they stand."""
    pairs = zip(entries, entries.marks, strict=True) if isinstance(entries, Seq) else ()
    return ((text, mark) for text, mark in pairs if isinstance(text, str))


def typed(model: type[M], entries: object, network: Map, problems: list[Problem]) -> Iterator[M]:
    """Validate each mapping of a list, with the section `network` below its own."""
    for entry in maps(entries):
        if (value := validate(model, with_network(entry, network), problems)) is not None:
            yield value


def with_network(entry: Map, network: Map) -> Map:
    """Return an entry whose `network` has the keys of another one where it is silent."""
    own = entry.get("network")
    if not network or ("network" in entry and not isinstance(own, Map)):
        return entry
    merged = Map(own.mark if isinstance(own, Map) else network.mark)
    for part in (network, own):
        if isinstance(part, Map):
            merged.take(part)
    return entry.copy_with("network", merged, merged.mark)


def unique(names: Iterable[tuple[str, Mark]], problems: list[Problem]) -> dict[str, Mark]:
    """Return where each name stands, and refuse the second use of one."""
    seen: dict[str, Mark] = {}
    for name, mark in names:
        first = seen.setdefault(name, mark)
        if first is not mark:
            found = f"the name {name!r} a second time (first at {place(first)})"
            problems.append(mark.problem(found, "a name of its own"))
    return seen
