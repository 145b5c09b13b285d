"""The files of one commit, as renderers see them: by path, symbolic links followed, nothing outside of the tree.

Paths are those of the repository, with `/`, without `.` and `..`; the empty text is its root.
"""

from __future__ import annotations

import posixpath
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from updater.errors import GitError, ManifestError
from updater.model.stream import Broken, decode
from updater.renderers.memory import Memory
from updater.sync.dialect import load_all

LINK, SUBMODULE = "120000", "160000"
MAX_HOPS = 40  # links on the way to one file, as Linux has it
MAX_FILES = 50_000  # below one folder, links followed
MAX_LINKED = 200  # links to folders that are followed below one; each may hold as many again
MAX_LINK = 4096  # bytes of where a link leads
MAX_AHEAD = 500  # files of one folder that are read before anybody asks for them
MAX_TOGETHER = 20_000  # files that are read at once because they are expected
MAX_CONTENTS = 16 << 20  # bytes of contents that are kept
MAX_PARSED = 16 << 20  # bytes of parsed files that are kept
WEIGHT = 10  # bytes that parsed YAML takes for each of its text; measured
MAX_SHOWN = 200  # characters of a path in an error


class Entry(Protocol):
    """A file, link or submodule of a tree, by git's names for it."""

    @property
    def oid(self) -> str:
        """The id of its content."""

    @property
    def mode(self) -> str:
        """100644, 100755, 120000 (a symbolic link) or 160000 (a submodule)."""


class Tree(Protocol):
    """One commit."""

    def paths(self) -> Mapping[str, Entry]:
        """Return everything in it by path, without folders."""

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """Return contents by id; those that are too large are left out."""


class Files:
    """One commit for all that is rendered from it, by any thread.

    memory    keeps small parsed files between commits
    contents  keeps contents by id: what several applications read is read once

    All that it raises is ManifestError, and GitError from where contents are read.
    """

    def __init__(
        self,
        tree: Tree,
        memory: Memory[list[Mapping[str, Any]]] | None = None,
        contents: Memory[bytes] | None = None,
    ) -> None:
        self._tree = tree
        self._entries = tree.paths()
        self._sorted = sorted(self._entries)
        self._memory = memory or Memory(MAX_PARSED)
        self._special = {path: entry for path, entry in self._entries.items() if entry.mode in {LINK, SUBMODULE}}
        self._targets: dict[str, bytes] | None = None
        self._contents = contents or Memory(MAX_CONTENTS)
        self._expected: dict[str, None] = {}
        self._reading = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def same(self, other: Files, folder: str) -> bool:
        """Whether a folder holds what it holds in another commit; of a large one that is not looked at."""
        return self._few(folder) == other._few(folder) is not None

    def expect(self, folder: str) -> None:
        """Say that what is in a folder will be asked for; with the first file all that is expected is read at once."""
        self._expected |= dict.fromkeys(self._few(folder) or ())

    def _few(self, folder: str) -> dict[str, str] | None:
        """Return the paths of the files in a folder by their ids and names, None for more than a few."""
        found = list(islice(self._within(folder), MAX_AHEAD + 1))
        return None if len(found) > MAX_AHEAD else {path: self._entries[path].oid for path in found}

    def oid(self, path: str) -> str | None:
        """Return the id of a file, through links; None where there is none."""
        entry = self._entries.get(self.follow(path))
        return entry.oid if entry else None

    def is_file(self, path: str) -> bool:
        """Whether there is a file, through links."""
        return self.follow(path) in self._entries

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder, through links."""
        return any(True for _ in self._within(self.follow(path)))

    def listed(self, folder: str) -> list[str]:
        """Return all files and links below a folder, by their paths from there; no link is followed on the way."""
        real = self.follow(folder)
        return [path[len(real) :].lstrip("/") for path in self._within(real)]

    def below(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, as they are spelled from there; links are followed."""
        found: list[str] = []
        waiting = [folder]
        for spelled in waiting:
            for name in self.listed(spelled):
                path = join(spelled, name)
                if self.leads_to_file(path):
                    found.append(path)
                else:
                    waiting.append(path)
            if len(found) > MAX_FILES or len(waiting) > MAX_LINKED:
                raise ManifestError(f"{shown(folder)}: more than {MAX_FILES} files, or links to {MAX_LINKED} folders")
        return sorted(found)

    def leads_to_file(self, path: str) -> bool:
        """Whether an entry is a file, or a link to one, and not a link to a folder."""
        if self.is_file(path):
            return True
        if not self.is_folder(path):
            raise ManifestError(f"{shown(path)}: a symbolic link that leads to nothing")
        return False

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files."""
        oids = {path: self._oid(path) for path in paths}
        contents = self._loaded(dict.fromkeys(oids.values()))
        for path, oid in oids.items():
            if oid not in contents:
                raise ManifestError(f"{shown(path)}: too large to be read")
        return {path: contents[oid] for path, oid in oids.items()}

    def _loaded(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """Return contents by id. One thread reads what is expected, while the others wait and find it read."""
        known = {oid: self._contents.get(oid) for oid in oids}
        if None not in known.values():
            return {oid: data for oid, data in known.items() if data is not None}
        with self._reading:
            self._read_expected(known)
            known = {oid: self._contents.get(oid) for oid in known}
            read = self._read(oid for oid, data in known.items() if data is None)
        return {oid: data for oid, data in known.items() if data is not None} | read

    def _read_expected(self, wanted: Iterable[str]) -> None:
        """Read what is expected, if anything is, together with what is wanted now."""
        expected, self._expected = self._expected, {}
        oids = dict.fromkeys(self._entries[path].oid for path in expected if self._entries[path].mode != SUBMODULE)
        if oids:
            with suppress(GitError):  # who needs them asks once more
                some = dict.fromkeys([*wanted, *islice(oids, MAX_TOGETHER)])
                self._read(oid for oid in some if self._contents.get(oid) is None)

    def _read(self, oids: Iterable[str]) -> dict[str, bytes]:
        wanted = list(oids)
        read = dict(self._tree.read(wanted)) if wanted else {}
        for oid, data in read.items():
            self._contents.put(oid, data, 100 + len(data))
        return read

    def parsed(self, path: str) -> list[Mapping[str, Any]]:
        """Return the documents of a file of YAML that steers a renderer; what was read before is not read again."""
        oid = self._oid(path)
        known = self._memory.get(oid)
        if known is None:
            data = self.read([path])[path]
            known = load_all(text(data, path), shown(path))
            self._memory.put(oid, known, 64 + len(data) * WEIGHT)
        return known

    def follow(self, path: str) -> str:
        """Return where a path leads once all links on the way are followed, whether or not there is something."""
        if not self._special:
            return path
        for _ in range(MAX_HOPS):
            link = next((prefix for prefix in _prefixes(path) if prefix in self._special), None)
            if link is None:
                return path
            path = self._behind(link, path[len(link) :].lstrip("/"))
        raise _circle(path)

    def _behind(self, link: str, rest: str) -> str:
        if self._special[link].mode == SUBMODULE:
            raise ManifestError(f"{shown(link)}: it is a submodule; only what is in the repository itself is rendered")
        target = self._links().get(self._special[link].oid, b"")
        try:
            where = target.decode()
        except UnicodeDecodeError:
            where = ""
        if not where or len(target) > MAX_LINK:
            raise ManifestError(f"{shown(link)}: a symbolic link that cannot be read")
        inside = within(posixpath.dirname(link), where)
        if inside is None:
            raise ManifestError(f"{shown(link)}: a symbolic link that leads out of the repository")
        return join(inside, rest)

    def _links(self) -> Mapping[str, bytes]:
        """Where all links lead: one request for all of them."""
        if self._targets is None:
            oids = dict.fromkeys(entry.oid for entry in self._special.values() if entry.mode == LINK)
            self._targets = dict(self._tree.read(oids))
        return self._targets

    def _within(self, real: str) -> Iterator[str]:
        if not real:
            yield from self._sorted
            return
        prefix = f"{real}/"
        for n in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[n].startswith(prefix):
                return
            yield self._sorted[n]

    def _oid(self, path: str) -> str:
        oid = self.oid(path)
        if oid is None:
            raise ManifestError(f"{shown(path)}: it is not in the repository")
        return oid


def text(data: bytes, path: str) -> str:
    """Return the text of a file. Raises ManifestError with the line where it is none."""
    try:
        return decode(data)
    except Broken as broken:
        raise ManifestError(f"{shown(path)}:{broken.line}: {broken}") from None


def join(folder: str, name: str) -> str:
    """Join two paths of which either may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name


def within(folder: str, name: str) -> str | None:
    """Return what a relative path means from a folder; None where it leads out of the repository."""
    if name.startswith("/") or "\0" in name:
        return None
    path = posixpath.normpath(join(folder, name) or ".")
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path


def root(source_path: str) -> str:
    """Return the folder that a source names. Raises ManifestError where that is outside of the repository."""
    path = within("", source_path.strip("/") or ".")
    if path is None:
        raise ManifestError(f"{shown(source_path)}: it leads out of the repository")
    return path


def shown(path: str) -> str:
    """Return a path for people: printable, and not too long."""
    some = path[:MAX_SHOWN]
    clean = some if some.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in some)
    return clean or "."


def _circle(path: str) -> ManifestError:
    return ManifestError(f"{shown(path)}: too many symbolic links, or links in a circle")


def _prefixes(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path
