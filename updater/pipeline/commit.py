"""One commit a group on one branch, pushed only if the branch is still where it was read; else all is planned anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.config.repositories import RepositorySettings
from updater.errors import EditError, PushRejected
from updater.git.clone import Author
from updater.messages.commits import Wording, commit_message
from updater.model.change import Bump, Change, Place, Reference
from updater.model.commit import Commit
from updater.model.decision import Reason
from updater.pipeline import refused
from updater.pipeline.edit import Wanted, apart, edit
from updater.pipeline.find import REGULAR
from updater.pipeline.look import PUSH_WAIT_CAP, Checkout, World, look
from updater.pipeline.raises import Raising
from updater.pipeline.report import Cause, Failure, Outcome, Proposed, Row, Written
from updater.transport.pace import backoff

PUSH_TRIES = 20  # a branch that eight writers share took five at most (measured); sixteen lose more often

GroupOf = Callable[[Wanted], str]


@dataclass(slots=True)
class Plan:
    """What is to become of one branch: a row for each reference, the changed files by group, and what failed."""

    rows: list[Row] = field(default_factory=list)
    groups: dict[str, list[Change]] = field(default_factory=dict)  # each on top of those before
    failures: list[Failure] = field(default_factory=list)
    until: datetime | None = None  # a rollback: the image is held until then
    proposed: Proposed | None = None  # the pull request of this group

    @property
    def changes(self) -> list[Change]:
        """Every change, in the order in which they are written."""
        return [change for changes in self.groups.values() for change in changes]


def together(_one: Wanted) -> str:
    """Make one group of everything."""
    return ""


@dataclass(slots=True)
class _Draft:
    """The files of one branch as they come to be, group by group; positions are those of what was read."""

    read: Callable[[str], str]
    plan: Plan = field(default_factory=Plan)
    _wanted: dict[str, list[Wanted]] = field(default_factory=dict)
    _raises: dict[str, dict[Place, str]] = field(default_factory=dict)
    _texts: dict[str, Change] = field(default_factory=dict)
    _at: dict[tuple[str, str], int] = field(default_factory=dict)  # of a file among the changes of a group

    def take(self, group: str, path: str, those: Sequence[Wanted], raises: Mapping[Place, str]) -> bool:
        """Add to a file what one group changes; say whether that is anything. Raises EditError."""
        before = self._texts.get(path)
        wanted, values = [*self._wanted.get(path, ()), *those], {**self._raises.get(path, {}), **raises}
        whole = edit(path, self.read(path), wanted, values)
        self._wanted[path], self._raises[path], self._texts[path] = wanted, values, whole
        start, known = (before.after, len(before.bumps)) if before else (whole.before, 0)
        if start == whole.after:
            return False
        changes = self.plan.groups.setdefault(group, [])
        at = self._at.setdefault((group, path), len(changes))
        first = changes[at] if at < len(changes) else Change(path, start, start, ())
        changes[at : at + 1] = [Change(path, first.before, whole.after, first.bumps + whole.bumps[known:])]
        return True


def draft(
    world: World, checkout: Checkout, rows: Sequence[Row], wanted: Sequence[Wanted], group_of: GroupOf = together
) -> Plan:
    """Edit the files of one branch; a file that cannot be edited is left as it is, and its rows say why.

    An item whose own version cannot be raised with its changes is left as it is, too.
    """
    clone, files = world.clone_of(checkout.branch.repository), checkout.files
    contents = clone.read([files[path].oid for path in dict.fromkeys(one.reference.file for one in wanted)])

    def content(path: str) -> bytes | None:
        oid = files[path].oid
        return contents[oid] if oid in contents else clone.read([oid]).get(oid)

    owners = {one.reference: one.item for one in checkout.owned if one.item is not None and one.item.bump is not None}
    raising = Raising(owners, {path for path, file in files.items() if file.mode in REGULAR}, content)
    refused = raising.refused(wanted)
    todo: dict[str, dict[str, list[Wanted]]] = {}
    stays: dict[Reference, str] = {}
    for group, those in _grouped(wanted, group_of).items():
        left = apart(those)
        stays |= {those[index].reference: why for index, why in left.items()}
        for index, one in enumerate(those):
            owner = owners.get(one.reference)
            if index not in left and (owner is None or owner.name not in refused):
                todo.setdefault(group, {}).setdefault(one.reference.file, []).append(one)
    if stays:
        rows = [_left(row, stays[row.reference]) if row.reference in stays else row for row in rows]
    work, broken = _Draft(lambda path: (content(path) or b"").decode()), dict[str, str]()
    for group, each in sorted(todo.items()):
        changed: list[Wanted] = []
        for path, those in each.items():
            try:
                changed += those if work.take(group, path, those, {}) else ()
            except EditError as err:
                broken[path] = str(err)
        for path, values in raising.after(changed).items():
            work.take(group, path, (), values)
    return _told(checkout, work.plan, rows, broken, refused)


def _told(
    checkout: Checkout, plan: Plan, rows: Sequence[Row], broken: Mapping[str, str], refused: Mapping[str, str]
) -> Plan:
    """Complete a plan with what became of the rows: those of files, and of items, that were left as they are failed."""
    for row in rows:
        why = refused.get(row.item.name) or (broken.get(row.reference.file) if row.reference else None)
        plan.rows.append(failed(row, why) if why else row)
    name = checkout.branch.repository.name
    plan.failures += [Failure(f"file {name}/{path}", why) for path, why in broken.items()]
    plan.failures += [Failure(f"image {item}", why) for item, why in refused.items()]
    return plan


def _grouped(wanted: Sequence[Wanted], group_of: GroupOf) -> dict[str, list[Wanted]]:
    groups: dict[str, list[Wanted]] = {}
    for one in wanted:
        groups.setdefault(group_of(one), []).append(one)
    return groups


def _left(row: Row, why: str) -> Row:
    """Return the row of what cannot change alone."""
    if row.outcome is not Outcome.UPDATED:
        return row
    return replace(row, outcome=Outcome.HELD, reason=Reason.NOT_WRITABLE.value, why=why, target=None)


def failed(row: Row, error: str, cause: Cause | None = None) -> Row:
    """Return the row of what was to be updated, and was not."""
    if row.outcome is not Outcome.UPDATED:
        return row
    return replace(row, outcome=Outcome.FAILED, reason=error, why=error, cause=cause)


def land(
    world: World, checkout: Checkout, planned: Callable[[Checkout], Plan], now: datetime, *, write: bool = True
) -> tuple[Plan, list[Written]]:
    """Plan and push; on a branch that moved meanwhile read it again and plan anew.

    The caller holds the lock of the clone. Raises GitError.
    """
    repository = checkout.branch.repository
    for attempt in range(1, PUSH_TRIES + 1):
        plan = planned(checkout)
        if not plan.changes:
            return plan, []
        head = checkout.head
        if not write:
            return plan, [Written(repository.name, head.branch, tuple(each)) for each in plan.groups.values()]
        try:
            made = _commits(world, checkout, plan, now)
        except PushRejected:
            world.conflicted(repository.name)
            pause = backoff(attempt, base=world.patience, cap=PUSH_WAIT_CAP)
            if attempt == PUSH_TRIES or world.stop.wait(pause):
                raise
            checkout = look(world, checkout.branch)
        else:
            pairs = zip(plan.groups.values(), made, strict=True)
            return plan, [Written(repository.name, head.branch, tuple(each), commit) for each, commit in pairs]
    raise AssertionError  # the last attempt returns or raises


def _commits(world: World, checkout: Checkout, plan: Plan, now: datetime) -> list[Commit]:
    """Write a commit a group on top of the head that was read and push them. Raises PushRejected, else GitError."""
    head, made = checkout.head, list[Commit]()
    base, name = head.revision, checkout.branch.repository.name
    bumps, asked = bumps_of(plan.changes), plan.until is not None
    with refused.once(world, (name, head.branch), head.revision, bumps, now, asked=asked):
        for group, changes in plan.groups.items():
            made.append(commit(world, checkout, base, plan, now, group=group, changes=changes))
            base = made[-1].revision
        world.clone_of(checkout.branch.repository).push(head.branch, head.revision, base)
    for one in made:
        world.pushed(one)
    return made


def commit(
    world: World, checkout: Checkout, base: str, plan: Plan, now: datetime, *, group: str, changes: Sequence[Change]
) -> Commit:
    """Write one commit of one group of a plan; nothing leaves. Our own words replace a template that fails."""
    settings, clone = checkout.branch.repository, world.clone_of(checkout.branch.repository)
    author = Author(settings.author.name, settings.author.email)
    sign_off = f"{author.name} <{author.email}>" if settings.commit.sign_off else None
    bumps = bumps_of(changes)
    words = wording(settings, checkout.head.branch, group)
    try:
        message = commit_message(bumps, sign_off, plan.until, words)
    except ValueError as err:
        plan.failures.append(template_failure(settings, "commit", err))
        message = commit_message(bumps, sign_off, plan.until)
    files = {change.path: change.after.encode() for change in changes}
    revision = clone.commit(base, files, message, author, now)
    return Commit(settings.name, checkout.head.branch, revision, message, tuple(files))


def wording(settings: RepositorySettings, branch: str, group: str) -> Wording:
    """Return the operator's templates of commits, and what they may name."""
    return Wording(settings.commit.subject, settings.commit.body, group, settings.name, branch)


def template_failure(settings: RepositorySettings, what: str, err: ValueError) -> Failure:
    """Return the failure of a template that could not be used; what it was for is written in our own words."""
    return Failure(f"the {what} template of {settings.name}", str(err))


def bumps_of(changes: Sequence[Change]) -> list[Bump]:
    """Return what changed, in the order of the files."""
    return [bump for change in changes for bump in change.bumps]
