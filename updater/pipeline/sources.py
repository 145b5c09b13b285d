"""What Git says now in every repository that applications come from: one question each, however many applications."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from updater.config.repositories import RepositorySettings
from updater.errors import GitError, UpdaterError
from updater.git.clone import Blob, Clone
from updater.pipeline.look import LOCK_WAIT, UNREACHED

TREES = 8  # commits of a repository whose lists of files are kept

CloneOf = Callable[[RepositorySettings], Clone]


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of one commit, as renderers want them. Contents are read under the lock of the clone."""

    clone: Clone
    revision: str
    blobs: Mapping[str, Blob] = field(repr=False)

    def paths(self) -> Mapping[str, Blob]:
        """Return every file by its path."""
        return self.blobs

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """Return the contents of files by object id. Raises GitError."""
        with self.clone.lock(LOCK_WAIT):
            return self.clone.read(oids)


class Sources:
    """The trees of the repositories; shared by threads. `clone_of` makes each clone once."""

    def __init__(self, clone_of: CloneOf) -> None:
        self._clone_of = clone_of
        self._lock = threading.Lock()
        self._trees: OrderedDict[tuple[str, str], Tree] = OrderedDict()

    def observe(self, repository: RepositorySettings, wanted: Collection[str]) -> dict[str, Tree | UpdaterError]:
        """Return the tree of each branch, tag, commit or `HEAD` that is wanted; an error where it cannot be read."""
        try:
            clone = self._clone_of(repository)
            with clone.lock(LOCK_WAIT):
                found = clone.resolve(wanted)
                return {name: self._tree(repository, clone, revision) for name, revision in found.items()}
        except UNREACHED as err:
            failure = err if isinstance(err, UpdaterError) else GitError(f"{repository.name}: {err}")
            return dict.fromkeys(wanted, failure)

    def _tree(self, repository: RepositorySettings, clone: Clone, revision: str | GitError) -> Tree | UpdaterError:
        if isinstance(revision, GitError):
            return revision
        key = repository.url, revision
        with self._lock:
            if key in self._trees:
                self._trees.move_to_end(key)
                return self._trees[key]
        try:
            blobs = {blob.path: blob for blob in clone.tree(revision)}
        except GitError as err:
            return err
        tree = Tree(clone, revision, blobs)
        with self._lock:
            self._trees[key] = tree
            while len(self._trees) > TREES:
                self._trees.popitem(last=False)
        return tree
