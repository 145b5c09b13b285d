"""Versions of our own, such as that of a chart, raised in the commit in which an item changes something. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from updater.config.images import Item, VersionBump
from updater.editors.base import obstacle, place
from updater.editors.document import parse
from updater.editors.paths import matches
from updater.errors import EditError
from updater.model.change import Place, Reference, Role, Style
from updater.pipeline.edit import Wanted, edit

_Version = tuple[str, str]  # its file, and its path in there
PARTS = ("major", "minor", "patch")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})")


def file_of(bump: VersionBump, changed: str, files: Collection[str]) -> str:
    """Return the file whose version is raised for a changed one. Raises EditError where there is none.

    With a slash it counts from the root; a mere name is that of the file in the nearest folder, the own one first.
    """
    if "/" in bump.file:
        found = bump.file.removeprefix("./")
        if found in files:
            return found
        raise EditError(f"no file {found}, whose {bump.path} is to be raised")
    folder = changed
    while folder:
        folder = folder.rpartition("/")[0]
        found = f"{folder}/{bump.file}" if folder else bump.file
        if found in files:
            return found
    raise EditError(f"no {bump.file} beside {changed} or in a folder above, whose {bump.path} is to be raised")


def place_of(bump: VersionBump, file: str, content: bytes | None) -> Place:
    """Return where the version stands. Raises EditError where there is none, or one that is not of the form 1.2.3."""
    if content is None:
        raise EditError(f"{file}: too large")
    document = parse(file, content)
    if document.skipped:
        raise EditError(f"{file}:{document.skipped[0].line}: {document.skipped[0].why}")
    found = [match.spot for part in document.parts for match in matches(part.root, bump.path)]
    if len(found) != 1:
        raise EditError(f"{file}: the path {bump.path} leads to {len(found) or 'no'} values; one is to be raised")
    at = place(Role.TAG, found[0].node)
    why = obstacle(document, found[0].node, found[0].holder)
    if why := why or (at.users and "it is shared") or (at.style is Style.BLOCK and "it is a block scalar") or "":
        raise EditError(f"{file}:{at.line}: {bump.path} cannot be raised: {why}")
    if not _VERSION.fullmatch(at.value):
        raise EditError(f"{file}:{at.line}: {bump.path} cannot be raised: {at.value[:80]!r} is not of the form 1.2.3")
    return at


def raised(version: str, part: str) -> str:
    """Return the next version."""
    major, minor, patch = map(int, version.split("."))
    match part:
        case "major":
            return f"{major + 1}.0.0"
        case "minor":
            return f"{major}.{minor + 1}.0"
        case _:
            return f"{major}.{minor}.{patch + 1}"


@dataclass(slots=True)
class Raising:
    """What one plan raises: `items` own the references, `files` are those of the branch, `read` gives their contents.

    Every commit that changes something of an item raises its version once, from what the commit before it left.
    """

    items: Mapping[Reference, Item]
    files: Collection[str]
    read: Callable[[str], bytes | None]
    _places: dict[_Version, Place] = field(default_factory=dict)
    _values: dict[_Version, str] = field(default_factory=dict)

    def refused(self, wanted: Sequence[Wanted]) -> dict[str, str]:
        """Return the items whose versions cannot be raised, and why: nothing of them is written."""
        starts: dict[str, set[int]] = {}
        for one in wanted:
            starts.setdefault(one.reference.file, set()).update(place.start for place in one.reference.places)
        found: dict[str, str] = {}
        for one in wanted:
            item = self.items.get(one.reference)
            if item is not None and item.bump is not None and item.name not in found:
                try:
                    self._known(item.bump, one.reference.file, starts)
                except EditError as err:
                    found[item.name] = str(err)
        return found

    def after(self, changed: Sequence[Wanted]) -> dict[str, dict[Place, str]]:
        """Return the values to write, by file, in the commit that makes these changes."""
        parts: dict[_Version, set[str]] = {}
        for one in changed:
            item = self.items.get(one.reference)
            if item is not None and item.bump is not None:
                version = (file_of(item.bump, one.reference.file, self.files), item.bump.path)
                parts.setdefault(version, set()).add(item.bump.part)
        for version, asked in parts.items():
            self._values[version] = raised(self._values[version], min(asked, key=PARTS.index))
        files = {file for file, _ in parts}
        values: dict[str, dict[Place, str]] = {}
        for version, value in self._values.items():
            if version[0] in files and value != self._places[version].value:
                values.setdefault(version[0], {})[self._places[version]] = value
        return values

    def _known(self, bump: VersionBump, changed: str, starts: Mapping[str, Collection[int]]) -> None:
        """Learn where a version stands; try to raise it. Raises EditError."""
        file = file_of(bump, changed, self.files)
        if (file, bump.path) in self._places:
            return
        content = self.read(file)
        at = place_of(bump, file, content)
        if at.start in starts.get(file, ()):
            raise EditError(f"{file}:{at.line}: {bump.path} cannot be raised: it is the version of an image as well")
        edit(file, (content or b"").decode(), (), {at: raised(at.value, bump.part)})
        self._places[file, bump.path], self._values[file, bump.path] = at, at.value
