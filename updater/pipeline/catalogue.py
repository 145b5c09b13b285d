"""Which applications there are: manifests in folders of this machine and of Git, read anew where they changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from updater.config.delivery import ApplicationsSettings
from updater.config.manifests import Read, joined, read
from updater.errors import GitError, UpdaterError
from updater.pipeline.sources import Tree

ENDINGS = (".yaml", ".yml", ".json")
MAX_FILE = 4 << 20  # bytes of one file of manifests
MAX_FILES = 5_000

TreeOf = Callable[[str], Tree | UpdaterError]  # by the name of a repository: the tree of its branch


@dataclass(slots=True)
class Catalogue:
    """Reads the applications; what is unchanged is not parsed again.

    `unread` are places that could not be read: applications from there stay as they were known.
    """

    entries: Sequence[ApplicationsSettings]
    _parsed: dict[tuple[str, str], Read] = field(default_factory=dict)

    def read(self, tree_of: TreeOf) -> tuple[Read, list[str]]:
        """Return every application, every mistake, and the errors of places that could not be read."""
        reads: list[Read] = []
        unread: list[str] = []
        used: set[tuple[str, str]] = set()
        for entry in self.entries:
            try:
                for key, text in self._files(entry, tree_of):
                    used.add(key)
                    if key not in self._parsed:
                        self._parsed[key] = read(text, key[0])
                    reads.append(self._parsed[key])
            except (UpdaterError, OSError) as err:
                unread.append(str(err))
        self._parsed = {key: one for key, one in self._parsed.items() if key in used}
        return joined(reads), unread

    def _files(self, entry: ApplicationsSettings, tree_of: TreeOf) -> Iterator[tuple[tuple[str, str], str]]:
        """Yield what identifies each file and its version, and its text."""
        if entry.directory is not None:
            yield from _below(entry.directory)
            return
        assert entry.repository is not None
        tree = tree_of(entry.repository)
        if isinstance(tree, UpdaterError):
            raise tree
        prefix = "" if entry.path == "." else f"{entry.path}/"
        blobs = {path: blob for path, blob in tree.paths().items()
                 if path.startswith(prefix) and path.endswith(ENDINGS) and blob.mode.startswith("100")}  # fmt: skip
        if len(blobs) > MAX_FILES:
            raise GitError(f"{entry.repository}: {entry.path} holds {len(blobs)} files, more than {MAX_FILES}")
        keys = {(f"{entry.repository}/{path}", blob.oid): blob.oid for path, blob in sorted(blobs.items())}
        contents = tree.read([oid for key, oid in keys.items() if key not in self._parsed])
        for key, oid in keys.items():
            yield key, _text(contents.get(oid, b""))


def _below(folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    for path in sorted(folder.rglob("*"))[:MAX_FILES]:
        if path.suffix in ENDINGS and path.is_file() and path.stat().st_size <= MAX_FILE:
            stat = path.stat()
            yield (str(path), f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"), _text(path.read_bytes())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
