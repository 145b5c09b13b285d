"""What Git says now in every repository that applications come from: one question each, however many applications.

Each repository is asked in a thread of its own, so that one that hangs holds back no other: who asks has the others'
answers after a while, and that one's whenever it comes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from updater.config.repositories import RepositorySettings
from updater.errors import GitError, UpdaterError
from updater.git.clone import Blob, Clone
from updater.git.urls import parse
from updater.pipeline.look import LOCK_WAIT, UNREACHED

AT_ONCE = 4  # repositories of one host that are asked at the same time
PATIENCE = 600.0  # seconds until a repository counts as silent, for who can wait

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


Found = Tree | UpdaterError


@dataclass(frozen=True, slots=True)
class Question:
    """The branches, tags, commits or `HEAD` that are wanted of one repository."""

    repository: RepositorySettings
    wanted: frozenset[str]


@dataclass(slots=True)
class _Asked:
    """A question that is under way, or whose answer nobody took yet. `late`: who asked has gone on without it."""

    question: Question
    found: dict[str, Found] | None = None
    bug: Exception | None = None
    late: bool = False

    @property
    def over(self) -> bool:
        return self.found is not None or self.bug is not None


class Sources:
    """The trees of the repositories. `clone_of` makes each clone once; `late` is called when a late answer is there."""

    def __init__(self, clone_of: CloneOf, late: Callable[[], object] = lambda: None) -> None:
        self._clone_of, self.late = clone_of, late
        self._changed = threading.Condition()
        self._asked: dict[str, _Asked] = {}
        self._trees: dict[str, dict[str, Tree]] = {}  # by address and revision: those that were wanted last
        self._turns: dict[str, threading.Semaphore] = {}
        self._closed = False

    def observe(self, questions: Collection[Question], patience: float = PATIENCE) -> dict[tuple[str, str], Found]:
        """Return the tree of each that is wanted, by address and name; an error where it cannot be read.

        So many seconds are waited for those that were not asked before; one that is silent for longer is an error.
        """
        end = time.monotonic() + patience
        with self._changed:
            begun = [one for question in questions if (one := self._begin(question)) is not None]
            self._changed.wait_for(lambda: self._closed or all(one.over for one in begun), end - time.monotonic())
            return {
                (question.repository.url, name): found
                for question in questions
                for name, found in self._answer(question, patience)
            }

    def close(self) -> None:
        """Let go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _begin(self, question: Question) -> _Asked | None:
        """Ask a repository, unless it is being asked already."""
        url = question.repository.url
        if url in self._asked:
            return None
        asked = self._asked[url] = _Asked(question)
        turns = self._turns.setdefault(parse(url).host, threading.Semaphore(AT_ONCE))
        threading.Thread(target=self._ask, args=(asked, turns), name=f"git {url}"[:60], daemon=True).start()
        return asked

    def _answer(self, question: Question, patience: float) -> Iterator[tuple[str, Found]]:
        """Yield what is known of one repository; an answer is taken once."""
        name, asked = question.repository.name, self._asked[question.repository.url]
        if not asked.over:
            asked.late = True
            silent = GitError(f"{name}: it has not answered in {patience:g} s")
            yield from dict.fromkeys(question.wanted, silent).items()
            return
        del self._asked[question.repository.url]
        if asked.bug is not None:
            raise asked.bug
        assert asked.found is not None
        if not question.wanted <= asked.found.keys():
            self.late()  # it was asked for something else: somebody should ask again
        for wanted in question.wanted:
            yield wanted, asked.found.get(wanted) or GitError(f"{name}: it was not asked for {wanted} yet")

    def _ask(self, asked: _Asked, turns: threading.Semaphore) -> None:
        try:
            with turns:
                found = self._observed(asked.question)
        except Exception as err:  # noqa: BLE001 - our own bug: who asks raises it
            found, asked.bug = {}, err
        with self._changed:
            asked.found = found
            self._changed.notify_all()
            late = asked.late
        if late:
            self.late()

    def _observed(self, question: Question) -> dict[str, Found]:
        repository = question.repository
        try:
            clone = self._clone_of(repository)
            with clone.lock(LOCK_WAIT):
                found = clone.resolve(question.wanted)
                trees = self._listed(repository, clone, found.values())
        except UNREACHED as err:
            failure = err if isinstance(err, UpdaterError) else GitError(f"{repository.name}: {err}")
            return dict.fromkeys(question.wanted, failure)
        return {name: one if isinstance(one, GitError) else trees[one] for name, one in found.items()}

    def _listed(
        self, repository: RepositorySettings, clone: Clone, found: Collection[str | GitError]
    ) -> dict[str, Found]:
        """Return the tree of each commit; those that were wanted last time are known."""
        known = self._trees.get(repository.url, {})
        revisions = {one for one in found if isinstance(one, str)}
        trees = {revision: known.get(revision) or _tree(clone, revision) for revision in revisions}
        self._trees[repository.url] = {revision: one for revision, one in trees.items() if isinstance(one, Tree)}
        return trees


def _tree(clone: Clone, revision: str) -> Found:
    try:
        return Tree(clone, revision, {blob.path: blob for blob in clone.tree(revision)})
    except GitError as err:
        return err
