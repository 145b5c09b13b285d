"""Which applications there are: manifests in folders of this machine and of Git, read anew where they changed.

What cannot be read is never taken for removed: a folder that is away, a file that is too large or broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from updater.config.delivery import ApplicationsSettings
from updater.config.manifests import Read, joined, read
from updater.errors import GitError, ManifestError, Problem, UpdaterError
from updater.pipeline.sources import Tree

ENDINGS = (".yaml", ".yml", ".json")
MAX_FILE = 4 << 20  # bytes of one file of manifests
MAX_FILES = 5_000  # manifests of one place
MAX_SEEN = 50_000  # files of any kind that are gone through for them

TreeOf = Callable[[str], Tree | UpdaterError]  # by the name of a repository: the tree of its branch
Version = tuple[str, str]  # the name of a file, and what changes with its content


@dataclass(slots=True)
class Catalogue:
    """Reads the applications; what is unchanged is not parsed again.

    `unread` are places that could not be read: applications from there stay as they were known. `insecure` are the
    addresses of repositories that may be read over plain HTTP.
    """

    entries: Sequence[ApplicationsSettings]
    insecure: Collection[str] = ()
    _parsed: dict[Version, Read] = field(default_factory=dict)

    def read(self, tree_of: TreeOf) -> tuple[Read, list[str]]:
        """Return every application, every mistake, and the errors of places that could not be read."""
        found: dict[Version, Read] = {}
        unread: list[str] = []
        for entry in self.entries:
            try:
                found |= dict(self._entry(entry, tree_of))
            except (UpdaterError, OSError) as err:
                unread.append(str(err))
        self._parsed = (self._parsed if unread else {}) | found
        return joined(found.values()), unread

    def _entry(self, entry: ApplicationsSettings, tree_of: TreeOf) -> Iterator[tuple[Version, Read]]:
        place = _folder(entry.directory) if entry.directory is not None else _branch(entry, tree_of)
        new = [where for version, where in place.files.items() if version not in self._parsed]
        contents = place.load(new) if new else {}
        for version, where in place.files.items():
            yield version, self._parsed.get(version) or self._read(version[0], contents.get(where))

    def _read(self, name: str, data: bytes | None) -> Read:
        if data is None or len(data) > MAX_FILE:
            problem = Problem(name, 0, 0, "", f"more than {MAX_FILE >> 20} MiB", "manifests of applications")
            return Read(problems=[problem], lost=[problem])
        return read(data, name, self.insecure)


@dataclass(frozen=True, slots=True)
class _Place:
    """The files of one place, each with where it is; `load` leaves out contents that are too large."""

    files: Mapping[Version, str]
    load: Callable[[Iterable[str]], Mapping[str, bytes]]


def _branch(entry: ApplicationsSettings, tree_of: TreeOf) -> _Place:
    """Return a folder of a repository. Raises UpdaterError."""
    assert entry.repository is not None
    tree = tree_of(entry.repository)
    if isinstance(tree, UpdaterError):
        raise tree
    prefix = "" if entry.path == "." else f"{entry.path}/"
    inside = {path: blob for path, blob in tree.paths().items() if path.startswith(prefix)}
    if not inside:
        raise GitError(f"{entry.repository}: commit {tree.revision[:12]} has no folder {entry.path}")
    found = {(f"{entry.repository}/{path}", blob.oid): blob.oid for path, blob in sorted(inside.items())
             if path.endswith(ENDINGS) and blob.mode.startswith("100")}  # fmt: skip
    return _Place(_few(found, f"{entry.repository}/{entry.path}"), tree.read)


def _folder(folder: Path) -> _Place:
    """Return a folder of this machine. Raises OSError, ManifestError."""
    found: dict[Version, str] = {}
    for path in _below(folder):
        if path.endswith(ENDINGS) and os.path.isfile(path):  # noqa: PTH113 - a Path for each of many files is slow
            stat = os.stat(path)  # noqa: PTH116 - likewise
            found[path, f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"] = path
    return _Place(_few(found, str(folder)), _load)


def _below(folder: Path) -> Iterator[str]:
    """Yield every file below a folder, links followed; what begins with a dot is not meant, as in mounted volumes."""

    def fail(err: OSError) -> None:
        raise err

    seen, count = set(), 0
    for here, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            folders.clear()  # links in a circle
            continue
        seen.add(real)
        count += len(files) + 1
        if count > MAX_SEEN:
            raise ManifestError(f"{folder}: more than {MAX_SEEN} files")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            yield os.path.join(here, name)  # noqa: PTH118 - a Path for each of many files is slow


def _load(paths: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        with Path(path).open("rb") as file:
            found[path] = file.read(MAX_FILE + 1)
    return found


def _few(found: dict[Version, str], where: str) -> dict[Version, str]:
    if len(found) > MAX_FILES:
        raise ManifestError(f"{where}: {len(found)} files of manifests, more than {MAX_FILES}")
    return found
