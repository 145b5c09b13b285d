"""What Git says now on each branch; no file is ever checked out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.config.settings import Settings, full_name
from updater.errors import ForgeError, GitError
from updater.git.clone import Clone, Head
from updater.git.forges.base import Forge
from updater.messages.commits import OURS
from updater.model.change import Skipped
from updater.model.commit import Commit
from updater.model.pull_request import PullRequest
from updater.pipeline.checks import Verifier
from updater.pipeline.facts import Memory
from updater.pipeline.find import File, Finder, Owned, Owners, settled
from updater.pipeline.scan import RegistryOf
from updater.pipeline.trail import DEPTH, Trail
from updater.secrets import SecretError

PUSH_WAIT = 0.2  # seconds, the base of the jittered waits between tries, doubled each time
PUSH_WAIT_CAP = 5.0
LOCK_WAIT = 300.0  # seconds to wait for another process at work in the same clone
UNREACHED = (GitError, SecretError, OSError)  # what one repository may have, and the others not

Progress = Callable[[str, int, int], None]  # what, done, of how many


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of one repository, None for the remote's own choice, and every item that looks at it."""

    repository: RepositorySettings
    name: str | None
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Checkout:
    """What Git says now on a branch; no file is ever checked out."""

    branch: Branch
    head: Head
    files: Mapping[str, File]
    owned: tuple[Owned, ...]
    skipped: tuple[Skipped, ...]


@dataclass(slots=True)
class Batch:
    """Changes of one group that wait for others: since when, and of which items."""

    since: datetime
    until: datetime
    items: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A push that a remote refused: on which head, what it was to write, until when it is not tried again, and why."""

    head: str
    told: frozenset[tuple[str, int, str, str]]
    until: datetime
    error: str


def _no_forge(repository: RepositorySettings) -> Forge:
    raise ForgeError(f"{repository.name}: its forge is not known", refused=True)


@dataclass(slots=True)
class World:
    """Every client that the loop needs, made once by the daemon's build."""

    settings: Settings
    registry_of: RegistryOf
    clone_of: Callable[[RepositorySettings], Clone]
    finder_of: Callable[[RepositorySettings, str | None], Finder]
    memory: Callable[[], Memory]
    stop: threading.Event = field(default_factory=threading.Event)
    patience: float = PUSH_WAIT
    pushed: Callable[[Commit], object] = lambda _commit: None  # called for each commit that is on its branch now
    conflicted: Callable[[str], object] = lambda _repository: None  # called when somebody else had pushed first
    looks: dict[tuple[str, str | None], Checkout] = field(default_factory=dict)
    trails: dict[tuple[str, str], tuple[str, Trail]] = field(default_factory=dict)
    forge_of: Callable[[RepositorySettings], Forge] = _no_forge
    proposed: dict[tuple[str, str, str], str] = field(default_factory=dict)  # heads of our branches; empty: none waits
    asked: dict[tuple[str, str, str], tuple[float, tuple[PullRequest, ...]]] = field(default_factory=dict)
    targets: dict[tuple[str, str], str] = field(default_factory=dict)  # what each branch of our own is for
    merging: set[tuple[str, str]] = field(default_factory=set)  # requests, and heads, that a forge merges by itself
    verifier: Verifier = field(default_factory=Verifier)
    batches: dict[tuple[str, str, str], Batch] = field(default_factory=dict)
    refused: dict[tuple[str, str], list[Refusal]] = field(default_factory=dict)  # by repository and branch


def branches(settings: Settings) -> list[Branch]:
    """Return every branch that some item looks at."""
    found = []
    for repository in settings.repositories:
        names = {i.branch or repository.branch for i in settings.items if i.repository in {None, repository.name}}
        for name in sorted(names, key=lambda n: n or ""):
            items = (i for i in settings.items if i.repository in {None, repository.name})
            found.append(Branch(repository, name, tuple(i for i in items if (i.branch or repository.branch) == name)))
    return found


def everywhere(world: World) -> list[Branch]:
    """Return every branch that some item looks at, and the default branch of every other repository."""
    found = joined(world, branches(world.settings))
    read = {branch.repository.name for branch in found}
    return found + [Branch(repo, repo.branch, ()) for repo in world.settings.repositories if repo.name not in read]


def joined(world: World, found: Sequence[Branch]) -> list[Branch]:
    """Make one of what turns out to be one branch: a repository's default, and the same by its name.

    Else two items could own one reference. Only a repository that has both is asked; one that cannot be stays as it is.
    """
    names = {branch.repository.name for branch in found if branch.name is not None}
    result = list(found)
    for default in (branch for branch in found if branch.name is None and branch.repository.name in names):
        clone = world.clone_of(default.repository)
        try:
            with clone.lock(LOCK_WAIT):
                head = clone.fetch(None).branch
        except UNREACHED:
            continue  # who reads it is told why
        for branch in found:
            if branch.repository is default.repository and branch.name == head:
                result.remove(default)
                result[result.index(branch)] = replace(branch, items=default.items + branch.items)
    return result


def look(world: World, branch: Branch, *, everything: bool = False) -> Checkout:
    """Return what Git says on a branch; a head that was seen before costs one question to the remote.

    `everything` reads the files that no item looks at, too. Raises GitError.
    """
    key = (branch.repository.name, branch.name)
    last = world.looks.get(key)
    clone = world.clone_of(branch.repository)
    head = clone.fetch(branch.name)
    if last is not None and last.head == head and last.branch == branch:
        return last
    files = {blob.path: File(blob.path, blob.oid, blob.mode) for blob in clone.tree(head.revision)}
    owners = Owners(branch.items, world.settings.registries)
    wants = (lambda _path: True) if everything else owners.wants
    found = world.finder_of(branch.repository, branch.name).find(
        tuple(files.values()), wants, clone.read, owners.explicit
    )
    origin = f"{branch.repository.name} {head.branch} {head.revision}"
    owned = tuple(settled(replace(owners.assign(reference), origin=origin) for reference in found.references))
    world.looks[key] = checkout = Checkout(branch, head, files, owned, found.skipped)
    return checkout


def trail(world: World, checkout: Checkout, lock: Callable[[], AbstractContextManager[None]] = nullcontext) -> Trail:
    """Return what our own commits did on a branch; read once a head, under the lock of its clone. Raises GitError."""
    key = (checkout.branch.repository.name, checkout.head.branch)
    head = checkout.head.revision
    if (found := world.trails.get(key)) and found[0] == head:
        return found[1]
    with lock():
        if (found := world.trails.get(key)) and found[0] == head:
            return found[1]  # somebody else read it meanwhile
        commits = world.clone_of(checkout.branch.repository).landed(head, limit=DEPTH, grep=OURS, files=True)
        known = Trail(commits, partial(full_name, world.settings))
        world.trails[key] = (head, known)
    return known
