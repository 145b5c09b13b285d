"""One commit a group on one branch, pushed only if the branch is still where it was read; else all is planned anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.config.repositories import RepositorySettings
from updater.errors import EditError, PushRejected
from updater.git.clone import Author
from updater.messages.commits import Wording, commit_message
from updater.model.change import Bump, Change, Reference
from updater.model.commit import Commit
from updater.model.decision import Reason
from updater.pipeline.edit import Wanted, apart, edit
from updater.pipeline.look import PUSH_WAIT_CAP, Checkout, World, look
from updater.pipeline.report import Cause, Failure, Outcome, Proposed, Row, Written
from updater.transport.pace import backoff

PUSH_TRIES = 12  # a branch that eight writers share took five at most (measured)

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


def draft(
    world: World, checkout: Checkout, rows: Sequence[Row], wanted: Sequence[Wanted], group_of: GroupOf = together
) -> Plan:
    """Edit the files of one branch; a file that cannot be edited is left as it is, and its rows say why."""
    clone = world.clone_of(checkout.branch.repository)
    contents = clone.read([checkout.files[path].oid for path in dict.fromkeys(one.reference.file for one in wanted)])
    todo: dict[str, dict[str, list[Wanted]]] = {}
    stays: dict[Reference, str] = {}
    for group, those in _grouped(wanted, group_of).items():
        left = apart(those)
        stays |= {those[index].reference: why for index, why in left.items()}
        for one in (one for index, one in enumerate(those) if index not in left):
            todo.setdefault(group, {}).setdefault(one.reference.file, []).append(one)
    if stays:
        rows = [_left(row, stays[row.reference]) if row.reference in stays else row for row in rows]
    drafted: dict[str, list[Wanted]] = {}  # by file: positions are those of what was read
    texts: dict[str, Change] = {}
    plan, broken = Plan(), dict[str, str]()
    for group, files in sorted(todo.items()):
        for path, those in files.items():
            before = texts.get(path)
            try:
                whole = edit(path, contents[checkout.files[path].oid].decode(), drafted.get(path, []) + those)
            except EditError as err:
                broken[path] = str(err)
                continue
            drafted[path] = drafted.get(path, []) + those
            start, known = (before.after, len(before.bumps)) if before else (whole.before, 0)
            texts[path] = whole
            if start != whole.after:
                plan.groups.setdefault(group, []).append(Change(path, start, whole.after, whole.bumps[known:]))
    plan.rows = [failed(row, broken[row.reference.file]) if row.reference and row.reference.file in broken else row
                 for row in rows]  # fmt: skip
    name = checkout.branch.repository.name
    plan.failures = [Failure(f"file {name}/{path}", why) for path, why in broken.items()]
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
    base = head.revision
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
