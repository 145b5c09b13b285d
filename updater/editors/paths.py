"""Dotted paths into YAML: `web.image.tag`, `sidecars[0].image`, `containers[name=web].image`, `*`, `"quoted.keys"`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence as Steps
from dataclasses import dataclass
from functools import lru_cache

from updater.editors.document import Alias, Mapping, Node, Scalar, Sequence
from updater.editors.gather import Spot

MAX_STEPS = 100
_EXPECTED = 'expected a path such as web.image.tag, sidecars[0].image, containers[name=web].image or "a.b".image'
_STEP = re.compile(
    r"""
      (?:^|\.) (?: "(?P<double>[^"]+)" | '(?P<single>[^']+)' | (?P<any>\*)(?=$|[.\[])
                  | (?P<key>[^.\[\]"'*\s][^.\[\]"']*) )
    | \[ (?: (?P<index>[0-9]{1,6}) | (?P<each>\*)
           | (?P<field>[^\]=\[]+) = (?: "(?P<quoted>[^"]*)" | (?P<bare>[^\]"]+) ) ) \]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: to a key, to an entry of a list by its number or by a field of it, or to all of them."""

    key: str | None = None
    index: int | None = None
    field: tuple[str, str] | None = None
    keys: bool = False  # all of a mapping's values, too

    @property
    def many(self) -> bool:
        """Whether it may lead to several."""
        return self.key is None and self.index is None and self.field is None


@dataclass(frozen=True, slots=True)
class Match:
    """Where a path leads, and which entry each of its stars stands for."""

    stars: tuple[int | str, ...]
    spot: Spot


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[Step, ...]:
    """Read a path. Raises ValueError."""
    found: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or len(found) == MAX_STEPS:
            raise ValueError(_EXPECTED)
        found.append(_step(match))
        at = match.end()
    if not found or found[-1].field or path.startswith("."):
        raise ValueError(_EXPECTED)
    return tuple(found)


def _step(match: re.Match[str]) -> Step:
    said = match.groupdict()
    if said["index"] is not None:
        return Step(index=int(said["index"]))
    if said["field"] is not None:
        return Step(field=(said["field"].strip(), said["quoted"] if said["quoted"] is not None else said["bare"]))
    if said["any"] or said["each"]:
        return Step(keys=said["any"] is not None)
    return Step(key=said["double"] or said["single"] or said["key"])


def matches(root: Node, path: str) -> list[Match]:
    """Return the scalars that a path leads to; aliases on the way are followed."""
    return list(_walk(root, None, "", steps(path), ()))


def _walk(
    node: Node, holder: Mapping | Sequence | None, key: str, left: Steps[Step], stars: tuple[int | str, ...]
) -> Iterator[Match]:
    if not left:
        if holder is not None and isinstance(node, Scalar | Alias):
            yield Match(stars, Spot(node, holder, key))
        return
    inside = node.target if isinstance(node, Alias) else node
    if isinstance(inside, Scalar):
        return
    for name, child in _children(inside, left[0]):
        starred = (*stars, name) if left[0].many else stars
        yield from _walk(child, inside, str(name), left[1:], starred)


def _children(holder: Mapping | Sequence, step: Step) -> Iterator[tuple[int | str, Node]]:
    if isinstance(holder, Mapping):
        wanted = holder.values.items() if step.keys else [(step.key, holder.values.get(step.key or ""))]
        yield from ((key, node) for key, node in wanted if key is not None and node is not None)
        return
    for number, node in enumerate(holder.children):
        if step.many or step.index == number or (step.field and _has(node, *step.field)):
            yield number, node


def _has(node: Node, field: str, value: str) -> bool:
    inside = node.target if isinstance(node, Alias) else node
    found = inside.values.get(field) if isinstance(inside, Mapping) else None
    found = found.target if isinstance(found, Alias) else found
    return isinstance(found, Scalar) and found.value == value
