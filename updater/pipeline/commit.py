"""One commit on one branch, pushed only if the branch is still where it was read; else everything is planned anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.errors import EditError, PushRejected
from updater.git.clone import Author
from updater.messages.commits import commit_message
from updater.model.change import Change
from updater.model.commit import Commit
from updater.pipeline.edit import Wanted, edit
from updater.pipeline.look import PUSH_WAIT_CAP, Checkout, World, look
from updater.pipeline.report import Cause, Failure, Outcome, Row, Written
from updater.transport.pace import backoff

PUSH_TRIES = 12  # a branch that eight writers share took five at most (measured)


@dataclass(slots=True)
class Plan:
    """What is to become of one branch: a row for each reference, the changed files, and what failed."""

    rows: list[Row] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    until: datetime | None = None  # a rollback: the image is held until then


def draft(world: World, checkout: Checkout, rows: Sequence[Row], wanted: Sequence[Wanted]) -> Plan:
    """Edit the files of one branch; a file that cannot be edited is left as it is, and its rows say why."""
    todo: dict[str, list[Wanted]] = {}
    for one in wanted:
        todo.setdefault(one.reference.file, []).append(one)
    clone = world.clone_of(checkout.branch.repository)
    contents = clone.read([checkout.files[path].oid for path in todo])
    changes: list[Change] = []
    broken: dict[str, str] = {}
    for path, those in todo.items():
        try:
            change = edit(path, contents[checkout.files[path].oid].decode(), those)
        except EditError as err:
            broken[path] = str(err)
        else:
            changes += [change] if change.before != change.after else []
    told = [failed(row, broken[row.reference.file]) if row.reference and row.reference.file in broken else row
            for row in rows]  # fmt: skip
    failures = [Failure(f"file {checkout.branch.repository.name}/{path}", why) for path, why in broken.items()]
    return Plan(told, changes, failures)


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
        written = Written(repository.name, checkout.head.branch, tuple(plan.changes))
        if not write:
            return plan, [written]
        try:
            made = _commit(world, checkout, plan.changes, now, plan.until)
        except PushRejected:
            world.conflicted(repository.name)
            pause = backoff(attempt, base=world.patience, cap=PUSH_WAIT_CAP)
            if attempt == PUSH_TRIES or world.stop.wait(pause):
                raise
            checkout = look(world, checkout.branch)
        else:
            world.pushed(made)
            return plan, [Written(written.repository, written.branch, written.changes, made)]
    raise AssertionError  # the last attempt returns or raises


def _commit(
    world: World, checkout: Checkout, changes: Sequence[Change], now: datetime, until: datetime | None
) -> Commit:
    """Write the changes on top of the head that was read and push them. Raises PushRejected, else GitError."""
    settings, head, clone = checkout.branch.repository, checkout.head, world.clone_of(checkout.branch.repository)
    author = Author(settings.author.name, settings.author.email)
    sign_off = f"{author.name} <{author.email}>" if settings.commit.sign_off else None
    message = commit_message([bump for change in changes for bump in change.bumps], sign_off, until)
    files = {change.path: change.after.encode() for change in changes}
    revision = clone.commit(head.revision, files, message, author, now)
    clone.push(head.branch, head.revision, revision)
    return Commit(settings.name, head.branch, revision, message, tuple(files))
