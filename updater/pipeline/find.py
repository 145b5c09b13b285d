"""What Git says now: every mention of an image on one branch, and the item that owns it.

A reference belongs to exactly one item: an exact image beats a pattern, then the longest literal start of the path
glob that matches its file, then the longest literal start of the pattern; a tie belongs to nobody and is contested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pathspec import GitIgnoreSpec

from updater.config.images import Item
from updater.editors.base import references
from updater.editors.document import Words, parse
from updater.model.change import Reference, Skipped
from updater.model.image import ImageRef

_WILD = re.compile(r"[*?\[]")  # where the literal start of a glob ends
_REGULAR = frozenset({"100644", "100755"})  # neither links nor submodules are followed
_YAML = re.compile(r"\.ya?ml$|(?:^|/)Kustomization$")


@dataclass(frozen=True, slots=True)
class Owned:
    """A reference and its owner; `rivals` names the items that tie, and then there is no owner.

    `origin` names the repository, the branch and the revision that it stands in: another head has another past.
    """

    reference: Reference
    item: Item | None
    rivals: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a tree: its path from the root, the id of its content, its mode."""

    path: str
    oid: str
    mode: str


@dataclass(frozen=True, slots=True)
class Found:
    """Every reference of one tree, and what could not be read."""

    references: tuple[Reference, ...]
    skipped: tuple[Skipped, ...]


@dataclass(slots=True)
class Finder:
    """Finds references in trees; content that was read once is known by its id, whatever commit it stands in.

    `words` are what a document must mention to be worth parsing, None for everything.
    """

    words: Words | None
    canonical: Callable[[ImageRef], ImageRef]
    _known: dict[tuple[str, str], Found] = field(default_factory=dict)

    def find(
        self, tree: Sequence[File], wanted: Callable[[str], bool], read: Callable[[list[str]], Mapping[str, bytes]]
    ) -> Found:
        """Return the references of a tree's YAML files that are wanted by path; `read` is asked once."""
        files = [f for f in tree if f.mode in _REGULAR and _YAML.search(f.path) and wanted(f.path)]
        new = [f for f in files if (f.path, f.oid) not in self._known]
        contents = read(list(dict.fromkeys(f.oid for f in new))) if new else {}
        known = {key: self._known[key] for f in files if (key := (f.path, f.oid)) in self._known}
        known.update({(f.path, f.oid): self._look(f.path, contents.get(f.oid)) for f in new})
        self._known = known  # bounded by the tree: what has left it is forgotten
        found = known.values()
        return Found(tuple(r for f in found for r in f.references), tuple(s for f in found for s in f.skipped))

    def _look(self, path: str, content: bytes | None) -> Found:
        if content is None:
            return Found((), (Skipped(path, 0, "too large"),))
        document = parse(path, content, self.words)
        refs = (replace(r, image=self.canonical(r.image)) for r in references(document))
        return Found(tuple(refs), tuple(document.skipped))


class Owners:
    """Which item owns a reference, on one branch of one repository."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._exact: dict[str, list[Item]] = {}
        self._patterns: list[Item] = []
        paths: set[tuple[str, ...]] = set()
        for item in items:
            paths.add(item.paths)
            if item.exact is not None:
                self._exact.setdefault(item.exact.name, []).append(item)
            else:
                self._patterns.append(item)
        self._paths = tuple(sorted(paths))

    def wants(self, path: str) -> bool:
        """Whether any item looks into this file."""
        return any(_literal_start(globs, path) is not None for globs in self._paths)

    def assign(self, reference: Reference) -> Owned:
        """Return the reference with its owner."""
        name = reference.image.name
        claims = [(True, item) for item in self._exact.get(name, ())]
        claims += [(False, item) for item in self._patterns if _pattern(item.pattern or "").fullmatch(name)]
        ranked = [
            ((exact, start, 0 if exact else _wild_start(item.pattern or "")), item)
            for exact, item in claims
            if (start := _literal_start(item.paths, reference.file)) is not None
        ]
        if not ranked:
            return Owned(reference, None)
        best = max(rank for rank, _ in ranked)
        first = [item for rank, item in ranked if rank == best]
        return Owned(reference, first[0]) if len(first) == 1 else Owned(reference, None, tuple(i.name for i in first))


def matches(item: Item, name: str) -> bool:
    """Whether an item tracks the image of this canonical name."""
    return item.exact.name == name if item.exact else _pattern(item.pattern or "").fullmatch(name) is not None


def _wild_start(glob: str) -> int:
    match = _WILD.search(glob)
    return match.start() if match else len(glob)


@lru_cache(maxsize=4096)
def _pattern(image: str) -> re.Pattern[str]:
    """`*` and `?` stay within one part of a name, `**` crosses them."""
    parts = re.split(r"(\*\*|\*|\?)", image)
    return re.compile("".join({"**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in parts))


@lru_cache(maxsize=4096)
def _specs(globs: tuple[str, ...]) -> tuple[GitIgnoreSpec, tuple[tuple[int, GitIgnoreSpec], ...]]:
    one_by_one = ((_wild_start(g.lstrip("/")), GitIgnoreSpec.from_lines([g])) for g in globs if not g.startswith("!"))
    return GitIgnoreSpec.from_lines(globs), tuple(sorted(one_by_one, key=lambda pair: -pair[0]))


def _literal_start(globs: tuple[str, ...], path: str) -> int | None:
    """The length of the literal start of the longest glob that matches; None where the globs leave the path out."""
    if globs == ("**",):
        return 0
    whole, single = _specs(globs)
    if not whole.match_file(path):
        return None
    return next((length for length, spec in single if spec.match_file(path)), 0)
