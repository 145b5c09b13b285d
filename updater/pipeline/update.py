"""Loop one, whole: what Git says, what the registries have, one decision a value, one commit a branch.

    references = find(tree)            # what Git says now
    scans = scan(wanted)               # what the registries have
    decisions = decide(...)            # pure
    changes = edit(...)                # pure, only the bytes of the references
    commit(changes)                    # compare-and-swap push

A rejected push runs the last four lines again on the new head; nothing is rebased, merged or forced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.config.settings import Settings
from updater.errors import EditError, GitError, PushRejected, RegistryError
from updater.git.clone import Clone, Head
from updater.model.change import Change, Reference, Skipped
from updater.model.decision import Decision, Hold, Reason, Unresolved, Update
from updater.model.image import ImageRef
from updater.model.tag import Needs, Scan, Tag
from updater.pipeline.commit import commit
from updater.pipeline.decide import decide
from updater.pipeline.edit import edit, refusal
from updater.pipeline.find import File, Finder, Owned, Owners
from updater.pipeline.report import Failure, Outcome, Report, Row, Written, held
from updater.pipeline.scan import RegistryOf, Scans, resolve, scan
from updater.secrets import SecretError
from updater.transport.pace import backoff

PUSH_TRIES = 12  # a branch that eight writers share took five at most (measured)
PUSH_WAIT = 0.2  # seconds, the base of the jittered waits between tries, doubled each time
PUSH_WAIT_CAP = 5.0
LOCK_WAIT = 300.0  # seconds to wait for another process at work in the same clone
REPOSITORIES_AT_ONCE = 4  # each is a few child processes
UNREACHED = (GitError, SecretError, OSError)  # what one repository may have, and the others not
RESOLVE_ROUNDS = 5  # a decision asks for one digest; for another where that tag turns out to be gone

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
class World:
    """Every client that the loop needs, made once by the daemon's build."""

    settings: Settings
    registry_of: RegistryOf
    clone_of: Callable[[RepositorySettings], Clone]
    finder_of: Callable[[RepositorySettings, str | None], Finder]
    stop: threading.Event = field(default_factory=threading.Event)
    patience: float = PUSH_WAIT
    looks: dict[tuple[str, str | None], Checkout] = field(default_factory=dict)


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
    owners = Owners(branch.items)
    wants = (lambda _path: True) if everything else owners.wants
    found = world.finder_of(branch.repository, branch.name).find(tuple(files.values()), wants, clone.read)
    owned = tuple(owners.assign(reference) for reference in found.references)
    world.looks[key] = checkout = Checkout(branch, head, files, owned, found.skipped)
    return checkout


def update(
    world: World, due: Collection[Item], now: datetime, *, write: bool = True, progress: Progress = no_progress
) -> Report:
    """Run one cycle for the items that are due and return what it did; one bad thing never stops the others."""
    return _Cycle(world, {item.name: item for item in due}, now, write=write, progress=progress).run()


def wanted(due: Iterable[Item], owned: Iterable[Owned]) -> dict[str, tuple[ImageRef, Needs]]:
    """Return the images to ask for, by name, with the facts that their items' policies need."""
    found: dict[str, tuple[ImageRef, Needs]] = {}
    names = {item.name for item in due if not item.suspend}
    for one in owned:
        if one.item is not None and one.item.name in names:
            image = one.reference.image.bare
            _, needs = found.get(image.name, (image, Needs(0)))
            found[image.name] = (image, needs | one.item.rule.policy.needs)
    return found


class _Cycle:
    """The state of one cycle, shared by the threads that each write one branch."""

    def __init__(
        self, world: World, due: Mapping[str, Item], now: datetime, *, write: bool, progress: Progress
    ) -> None:
        self.world, self.due, self.now, self.write, self.progress = world, due, now, write, progress
        self.report = Report()
        self.scans: Scans = {}
        self.missing: dict[str, frozenset[str]] = {}  # tags by image that the list has and the registry has not
        self.decisions: dict[tuple[str, str], Decision | RegistryError] = {}
        self.unread: dict[str, str] = {}  # items, and why a branch that they look at could not be read
        self.deciding = threading.Lock()

    def run(self) -> Report:
        """Look, scan, decide; then write each branch on its own."""
        checkouts = self._look()
        self._scan([owned for checkout in checkouts for owned in checkout.owned])
        self._decide([owned for checkout in checkouts for owned in checkout.owned])
        with ThreadPoolExecutor(REPOSITORIES_AT_ONCE, thread_name_prefix="write") as pool:
            for rows, written, failures in pool.map(self._settle, checkouts):
                self.report.rows += rows
                self.report.written += written
                self.report.failures += failures
        self._unreferenced()
        return self.report

    def _look(self) -> list[Checkout]:
        concerned = {i.repository for i in self.due.values()}
        near = [b for b in branches(self.world.settings) if concerned & {None, b.repository.name}]
        wanted_branches = [b for b in joined(self.world, near) if any(i.name in self.due for i in b.items)]
        checkouts: list[Checkout] = []
        with ThreadPoolExecutor(REPOSITORIES_AT_ONCE, thread_name_prefix="look") as pool:
            looks = [(branch, pool.submit(self._look_at, branch)) for branch in wanted_branches]
            for done, (branch, future) in enumerate(looks, 1):
                try:
                    checkouts.append(future.result())
                except UNREACHED as err:
                    self._fail_branch(branch, err)
                self.progress("repositories", done, len(looks))
        return checkouts

    def _look_at(self, branch: Branch) -> Checkout:
        with self.world.clone_of(branch.repository).lock(LOCK_WAIT):
            return look(self.world, branch)

    def _fail_branch(self, branch: Branch, err: Exception) -> None:
        self.unread |= {item.name: str(err) for item in branch.items}
        self.report.failures.append(Failure(f"repository {branch.repository.name}", str(err)))
        self.report.rows += [
            Row(item, Outcome.FAILED, str(err), str(err), repository=branch.repository.name, branch=branch.name)
            for item in branch.items
            if item.name in self.due and item.write and item.repository is not None
        ]

    def _scan(self, owned: Sequence[Owned]) -> None:
        asked = wanted(self.due.values(), owned)
        listed = [image for image, needs in asked.values() if Needs.NAMES in needs]
        self.scans = {name: Scan(name, (), self.now) for name in asked}  # complete: nobody asked for its names
        done = iter(range(1, len(listed) + 1))
        self.scans |= scan(
            listed, self.world.registry_of, self.now, lambda: self.progress("images", next(done), len(listed))
        )
        for name, answer in self.scans.items():
            if isinstance(answer, RegistryError):
                self.report.failures.append(Failure(f"image {name}", str(answer), answer.retry_at))
            elif not answer.complete or (Needs.NAMES in asked[name][1] and not answer.tags):
                why = answer.why or "the registry lists no tags at all"
                self.report.failures.append(Failure(f"image {name}", f"the list of tags is incomplete: {why}"))

    def _decide(self, owned: Iterable[Owned]) -> None:
        """Decide every value that has no decision yet; digests that decisions ask for are fetched in rounds."""
        with self.deciding:
            open_ = {
                (one.item.name, str(one.reference.image)): (one.item, one.reference.image)
                for one in owned
                if one.item is not None and one.item.name in self.due and one.reference.image.name in self.scans
            }
            for _ in range(RESOLVE_ROUNDS):
                open_ = {key: value for key, value in open_.items() if key not in self.decisions}
                lacking: dict[str, set[str]] = {}
                for key, (item, current) in open_.items():
                    answer = self._decide_one(item, current)
                    if isinstance(answer, Unresolved):
                        lacking.setdefault(current.name, set()).update(answer.tags)
                    else:
                        self.decisions[key] = answer
                if not lacking:
                    return
                self._resolve(lacking)

    def _decide_one(self, item: Item, current: ImageRef) -> Decision | RegistryError | Unresolved:
        found = self.scans[current.name]
        missing = self.missing.get(current.name, frozenset())
        return found if isinstance(found, RegistryError) else decide(item.rule, current, found, missing)

    def _resolve(self, lacking: Mapping[str, set[str]]) -> None:
        """Fetch digests and add them to the scans; a tag that is gone is known to be missing from now on."""
        asked = {name: (ImageRef.parse(name), tags) for name, tags in lacking.items()}
        for name, answer in resolve(asked, self.world.registry_of).items():
            found = self.scans[name]
            if isinstance(answer, RegistryError):
                self.scans[name] = answer
                self.report.failures.append(Failure(f"image {name}", str(answer), answer.retry_at))
            elif isinstance(found, Scan):
                tags = tuple(Tag(tag, digest) for tag, digest in answer.digests.items())
                self.scans[name] = replace(found, tags=found.tags + tags)
                self.missing[name] = self.missing.get(name, frozenset()) | answer.missing

    def _settle(self, checkout: Checkout) -> tuple[list[Row], list[Written], list[Failure]]:
        """Write one branch, on a newer head if somebody pushed first."""
        rows = self._rows(checkout)
        if not any(isinstance(row.decision, Update) and row.outcome is not Outcome.HELD for row in rows):
            return rows, [], []
        try:
            with self.world.clone_of(checkout.branch.repository).lock(LOCK_WAIT):
                return self._write(checkout)
        except UNREACHED as err:
            failure = Failure(f"push {checkout.branch.repository.name} {checkout.head.branch}", str(err))
            return [_failed(row, str(err)) for row in rows], [], [failure]

    def _write(self, checkout: Checkout) -> tuple[list[Row], list[Written], list[Failure]]:
        """Plan and push; on a branch that moved meanwhile read it again and plan anew. Raises GitError."""
        repository = checkout.branch.repository
        clone = self.world.clone_of(repository)
        for attempt in range(1, PUSH_TRIES + 1):
            rows, changes, failures = self._plan(checkout)
            written = Written(repository.name, checkout.head.branch, tuple(changes))
            if not changes or not self.write:
                return rows, [written] if changes else [], failures
            try:
                made = commit(clone, repository, checkout.head, changes, self.now)
            except PushRejected:
                if attempt == PUSH_TRIES or self.world.stop.wait(self._pause(attempt)):
                    raise
                checkout = look(self.world, checkout.branch)
                self._decide(checkout.owned)
            else:
                return rows, [replace(written, commit=made)], failures
        raise AssertionError  # the last attempt returns or raises

    def _pause(self, attempt: int) -> float:
        return backoff(attempt, base=self.world.patience, cap=PUSH_WAIT_CAP)

    def _rows(self, checkout: Checkout) -> list[Row]:
        """Return a row for each reference that is due."""
        rows = (self._row(checkout, one) for one in checkout.owned)
        return [row for row in rows if row is not None]

    def _plan(self, checkout: Checkout) -> tuple[list[Row], list[Change], list[Failure]]:
        """Return a row for each reference that is due, and the changes of the files."""
        rows = self._rows(checkout)
        todo: dict[str, list[tuple[Reference, ImageRef, str]]] = {}
        for row in rows:
            if row.outcome is Outcome.UPDATED and isinstance(row.decision, Update) and row.reference:
                todo.setdefault(row.reference.file, []).append((row.reference, row.decision.target, row.decision.why))
        changes, broken = self._edit(checkout, todo)
        rows = [_failed(row, broken[row.reference.file]) if row.reference and row.reference.file in broken else row
                for row in rows]  # fmt: skip
        if not self.write:
            rows = [replace(row, outcome=Outcome.AVAILABLE) if row.outcome is Outcome.UPDATED else row for row in rows]
        failures = [Failure(f"file {checkout.branch.repository.name}/{path}", why) for path, why in broken.items()]
        return rows, changes, failures

    def _edit(
        self, checkout: Checkout, todo: Mapping[str, list[tuple[Reference, ImageRef, str]]]
    ) -> tuple[list[Change], dict[str, str]]:
        """Return the changed files, and why a file was left as it was."""
        if not todo:
            return [], {}
        clone = self.world.clone_of(checkout.branch.repository)
        contents = clone.read([checkout.files[path].oid for path in todo])
        changes: list[Change] = []
        broken: dict[str, str] = {}
        for path, bumps in todo.items():
            try:
                change = edit(path, contents[checkout.files[path].oid].decode(), bumps)
            except EditError as err:
                broken[path] = str(err)
            else:
                changes += [change] if change.before != change.after else []
        return changes, broken

    def _decision(self, one: Owned) -> Decision | RegistryError | None:
        return self.decisions.get((one.item.name, str(one.reference.image))) if one.item else None

    def _row(self, checkout: Checkout, one: Owned) -> Row | None:
        """Return what becomes of one reference; None where no item that is due has to do with it."""
        repository = checkout.branch.repository
        place: dict[str, Any] = {
            "repository": repository.name,
            "branch": checkout.head.branch,
            "reference": one.reference,
            "current": one.reference.image.version,
        }
        if one.item is None:
            rivals = [self.due[name] for name in one.rivals if name in self.due]
            why = f"claimed by {' and '.join(one.rivals)}"
            return held(rivals[0], Reason.CONTESTED, why, **place) if rivals else None
        if one.item.name not in self.due:
            return None
        item = one.item
        if item.suspend or repository.suspend:
            return held(item, Reason.SUSPENDED, "suspended in the configuration", **place)
        decision = self._decision(one)
        place["decision"] = None if isinstance(decision, RegistryError) else decision
        match decision:
            case None:
                return Row(item, Outcome.FAILED, "undecided", "the registry's answers changed while deciding", **place)
            case RegistryError():
                return Row(item, Outcome.FAILED, str(decision), str(decision), **place)
            case Hold():
                return held(item, decision.reason, decision.why, newest=decision.newest, **place)
            case Update() if item.write and (obstacle := refusal(one.reference, decision.target)):
                newest = decision.newest or decision.target.version
                return held(item, Reason.NOT_WRITABLE, obstacle, newest=newest, **place)
            case Update():
                outcome = Outcome.UPDATED if item.write else Outcome.AVAILABLE
                place |= {"target": decision.target.version, "newest": decision.newest}
                return Row(item, outcome, decision.why, decision.why, **place)

    def _unreferenced(self) -> None:
        """An item that nothing mentions is said so; where a branch that it looks at could not be read, that is why."""
        seen = {row.item.name for row in self.report.rows}
        for item in self.due.values():
            if item.name in seen:
                continue
            if error := self.unread.get(item.name):
                self.report.rows.append(Row(item, Outcome.FAILED, error, error))
            else:
                what = "matches no image" if item.pattern else "is mentioned nowhere"
                why = f"{item.image} {what} in the paths of this item"
                self.report.rows.append(held(item, Reason.NOT_REFERENCED, why))


def _failed(row: Row, error: str) -> Row:
    return replace(row, outcome=Outcome.FAILED, reason=error, why=error) if row.outcome is Outcome.UPDATED else row
