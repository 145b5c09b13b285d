"""Routes of notifications that tell nobody anything, as the configuration is now: warnings, for images come and go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from updater.config.entries import maps, texts
from updater.config.files import place
from updater.config.notifications import ALL, Route
from updater.config.problems import show
from updater.config.tree import Map, Seq
from updater.errors import Problem

NAMES = ("images", "repositories", "applications", "projects", "clusters")


def idle(section: Map, routes: Sequence[Route], known: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Yield the names in routes that nothing is called, of the lists that are `known`, and routes that nothing reaches.

    Of several routes to a channel the first that fits counts; what is told again each route says for itself.
    """
    trees = section.get("routes")
    marks = trees.marks if isinstance(trees, Seq) else []
    for number, (tree, one) in enumerate(zip(maps(trees), routes, strict=True)):
        for key, names in known.items():
            for glob, mark in texts(tree.get(key)):
                if glob not in ALL and not any(fnmatchcase(name, glob) for name in names):
                    found = f"{show(glob, mark.where)}, which none of the {key} of the configuration is called"
                    yield mark.problem(found, "a name, or a glob, of one that is")
        before = [_first(channel, one, routes[:number]) for channel in one.channels]
        if one.remind is None and None not in before:
            found = f"a route that nothing reaches (the one at {place(marks[before[0] or 0])} takes it all)"
            yield marks[number].problem(found, "the narrower route first")


def _first(channel: str, one: Route, earlier: Sequence[Route]) -> int | None:
    """Return the number of the first route to a channel that takes everything which another one is for."""
    return next((n for n, other in enumerate(earlier) if channel in other.channels and _covers(other, one)), None)


def _covers(other: Route, one: Route) -> bool:
    """Say whether every event that fits one route fits the other too, as far as their globs show."""
    globs = ((getattr(other, key), getattr(one, key)) for key in NAMES)
    return (
        other.kinds >= one.kinds
        and other.severity.rank <= one.severity.rank
        and all("*" in wide or set(wide) >= set(narrow) for wide, narrow in globs)
    )
