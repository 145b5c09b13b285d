"""What Git says now: every mention of an image on one branch, and the item that owns it.

A reference belongs to exactly one item: an exact image beats a pattern, then the longest literal start of the path
glob that matches its file, then the longest literal start of the pattern; a tie belongs to nobody and is contested.
What an item finds by its own editor is its own; such an item has nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pathspec import GitIgnoreSpec

from updater.config.images import Item
from updater.config.registries import RegistrySettings, respelled
from updater.editors import naming
from updater.editors.base import automatic, references
from updater.editors.document import Document, Words, parse
from updater.editors.marker import Marker, Meant
from updater.model.change import Reference, Rename, Skipped
from updater.model.image import ImageRef

_WILD = re.compile(r"[*?\[]")  # where the literal start of a glob ends
SYMLINK = "120000"
_LINK = "a symbolic link, which is not followed: what it points to is read where it stands"
REGULAR = frozenset({"100644", "100755"})  # neither links nor submodules are followed
_YAML = re.compile(r"\.(?:ya?ml|json)$|(?:^|/)Kustomization$")
_FOREIGN = re.compile(r"(?:^|/)(?:(?:package(?:-lock)?|npm-shrinkwrap|composer)\.json$|node_modules/)")
_OBJECT = (b'"apiVersion"', b'"kind"')  # what JSON must hold to be worth reading

_Key = tuple[str, str, tuple[str, ...]]  # of a file: its path, its content, the items with editors of their own


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

    `words` are what a document must mention to be worth parsing, None for everything; `policies` are what the names in
    Flux's comments mean.
    """

    words: Words | None
    canonical: Callable[[ImageRef], ImageRef]
    policies: Mapping[str, Meant] = field(default_factory=dict)
    _known: dict[_Key, Found] = field(default_factory=dict)

    def find(
        self,
        tree: Sequence[File],
        wanted: Callable[[str], bool],
        read: Callable[[list[str]], Mapping[str, bytes]],
        explicit: Callable[[str], tuple[Item, ...]] = lambda _path: (),
    ) -> Found:
        """Return the references of a tree's YAML and JSON files that are wanted by path; `read` is asked once.

        `explicit` are the items that say themselves where their images stand in a file.
        """
        near = [f for f in tree if _readable(f.path) and wanted(f.path)]
        files = [f for f in near if f.mode in REGULAR]
        links = tuple(Skipped(f.path, 1, _LINK) for f in near if f.mode == SYMLINK)
        wanting = ((f, explicit(f.path)) for f in files)
        keys: dict[_Key, tuple[Item, ...]] = {(f.path, f.oid, tuple(i.name for i in its)): its for f, its in wanting}
        new = [key for key in keys if key not in self._known]
        contents = read(list(dict.fromkeys(oid for _, oid, _ in new))) if new else {}
        found = {key: self._known.get(key) or self._look(key[0], contents.get(key[1]), keys[key]) for key in keys}
        self._known = found  # bounded by the tree: what has left it is forgotten
        return Found(
            tuple(r for f in found.values() for r in f.references),
            links + tuple(s for f in found.values() for s in f.skipped),
        )

    def aside(self) -> Finder:
        """Return another one, which leaves alone what this one knows of its tree."""
        return replace(self, _known={})

    def _look(self, path: str, content: bytes | None, items: Sequence[Item]) -> Found:
        if content is None:
            return Found((), (Skipped(path, 0, "too large"),))
        if path.endswith(".json") and not items and not all(key in content for key in _OBJECT):
            return Found((), ())
        document = parse(path, content, None if items else self.words)
        if not document.parts and not items:
            return Found((), document.skipped)
        marker = Marker(policies=dict(self.policies), canonical=self.canonical)
        editors = [marker if editor.kind == marker.kind else editor for editor in automatic()]
        told, skipped = self._places(document, items)
        found = references(document, editors, told)
        skipped += [*document.skipped, *(skip for editor in editors for skip in editor.unresolved(document))]
        return Found(tuple(replace(r, image=self.canonical(r.image)) for r in found), tuple(skipped))

    def _places(self, document: Document, items: Sequence[Item]) -> tuple[list[Reference], list[Skipped]]:
        """Return what the items find by their own editors; of what two of them find the first says what it is."""
        told: list[Reference] = []
        skipped: list[Skipped] = []
        by_start: dict[int, int] = {}
        for item in items:
            for one in explicitly(item, document, self.canonical):
                if isinstance(one, Skipped):
                    skipped.append(one)
                    continue
                starts = [place.at for place in one.places if place.role not in naming.NAMES]
                first = next((by_start[start] for start in starts if start in by_start), None)
                if first is None:
                    by_start |= dict.fromkeys(starts, len(told))
                    told.append(one)
                else:
                    told[first] = replace(told[first], claims=told[first].claims + one.claims)
        return told, skipped


def explicitly(item: Item, document: Document, canonical: Callable[[ImageRef], ImageRef]) -> list[Reference | Skipped]:
    """Return what an item finds by its own editor, for itself; where that names another image, for whoever tracks it.

    That nothing is there is only said of a file that the item names: a glob may match others as well.
    """
    assert item.editor is not None
    image = (item.exact, item.image) if item.exact else None
    found: list[Reference | Skipped] = []
    for one in item.editor.read(document, image):
        if isinstance(one, Reference) and matches(item, canonical(one.image).name):
            found.append(replace(one, claims=(item.name,)))
        elif isinstance(one, Reference):
            found.append(replace(one, unwritable=f"names {one.image.name}, and {item.name} tracks {item.image}"))
        else:
            found.append(one)
    if not found and any(glob.lstrip("/") == document.path for glob in item.paths):
        why = document.skipped[0].why if document.skipped else "the paths of its editor lead to nothing"
        nothing = item.editor.nothing(document.path, 1, image, why)
        found.append(replace(nothing, claims=(item.name,)) if isinstance(nothing, Reference) else nothing)
    return found


def policies_of(items: Iterable[Item]) -> dict[str, Meant]:
    """Return what the policies in Flux's comments mean, by their names."""
    return {
        item.marker: Meant(item.exact, item.image, owner=item.image_name)
        for item in items
        if item.marker is not None and item.exact is not None
    }


def _readable(path: str) -> bool:
    return _YAML.search(path) is not None and not (path.endswith(".json") and _FOREIGN.search(path))


class Owners:
    """Which item owns a reference, on one branch of one repository."""

    def __init__(self, items: Iterable[Item], registries: Sequence[RegistrySettings] = ()) -> None:
        self._registries = registries
        self._exact: dict[str, list[Item]] = {}
        self._patterns: list[Item] = []
        self._named: dict[str, list[Item]] = {}  # by what claims a reference: its own name, or that of its image
        self._explicit: list[Item] = []
        paths: set[tuple[str, ...]] = set()
        for item in items:
            paths.add(item.paths)
            self._named.setdefault(item.name if item.editor else item.image_name, []).append(item)
            if item.editor is not None:
                self._explicit.append(item)
            elif item.exact is not None:
                for name in (item.exact.name, *item.replaces):
                    self._exact.setdefault(name, []).append(item)
            else:
                self._patterns.append(item)
        self._paths = tuple(sorted(paths))

    def wants(self, path: str) -> bool:
        """Whether any item looks into this file."""
        return any(_literal_start(globs, path) is not None for globs in self._paths)

    def explicit(self, path: str) -> tuple[Item, ...]:
        """Return the items that say themselves where their images stand in this file."""
        return tuple(item for item in self._explicit if _literal_start(item.paths, path) is not None)

    def assign(self, reference: Reference) -> Owned:
        """Return the reference with its owner; one to a former name as one to the image that replaces it."""
        name = reference.image.name
        if reference.claims:
            named = (item for claim in reference.claims for item in self._named.get(claim, ()))
            claims = [(True, item) for item in named if not item.editor or item.editor.kind == reference.editor]
        else:
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
        if len(first) > 1:
            return Owned(reference, None, tuple(i.name for i in first))
        return Owned(self._renamed(reference, first[0]), first[0])

    def _renamed(self, reference: Reference, item: Item) -> Reference:
        image, name = item.exact, reference.image.name
        if image is None or name not in item.replaces:
            return reference
        spelled = respelled(self._registries, reference.spelled, image.name, item.image)
        ours = image.at(reference.image.tag, reference.image.digest)
        return replace(reference, image=ours, rename=Rename(name, spelled))


def settled(owned: Iterable[Owned]) -> Iterator[Owned]:
    """Yield references, where a name that a kustomization finds is not to change: else it would find nothing there."""
    every = tuple(owned)
    found = {one.reference.finds: f"{one.reference.file}:{one.reference.line}" for one in every if one.reference.finds}
    for one in every:
        at = found.get(one.reference.spelled)
        if one.reference.rename and at and not one.reference.finds:
            yield replace(one, reference=replace(one.reference, fixed=f"kustomize finds it by this name, see {at}"))
        else:
            yield one


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
