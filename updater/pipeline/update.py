"""Loop one, whole: what Git says, what the registries have, one decision a value, one commit a branch.

    references = find(tree)            # what Git says now
    study.begin()                      # what the registries have
    for late in study.waves(...):      # decide(...), pure: those first whose registries answer together
        changes = edit(...)            # pure, only the bytes of the references
        commit(changes)                # compare-and-swap push

A rejected push decides and edits again on the new head; nothing is rebased, merged or forced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from updater.config.images import Item
from updater.errors import ForgeError, GitError, PushRefused, PushRejected
from updater.git.clone import Clone, Logged
from updater.messages.commits import OURS
from updater.model.decision import Reason, Update
from updater.model.event import Kind, Subject
from updater.model.people import People
from updater.pipeline.commit import Plan, draft, failed, land
from updater.pipeline.decide import Known
from updater.pipeline.decide import held as words_of_hold
from updater.pipeline.edit import Wanted
from updater.pipeline.find import Owned
from updater.pipeline.group import Way
from updater.pipeline.look import (
    LOCK_WAIT,
    UNREACHED,
    Branch,
    Checkout,
    Progress,
    World,
    branches,
    joined,
    look,
    no_progress,
)
from updater.pipeline.propose import Intent, forge_failure, idle, propose
from updater.pipeline.report import Cause, Failure, Landed, Outcome, Report, Row, Written, held
from updater.pipeline.rows import row_of, unreadable
from updater.pipeline.study import Study
from updater.pipeline.trail import DEPTH
from updater.pipeline.ways import by_way, collected, group_at, way_to

REPOSITORIES_AT_ONCE = 4  # each is a few child processes
NEWS = timedelta(days=30)  # what was committed longer ago is no news; events are known for longer than that


def update(
    world: World,
    due: Collection[Item],
    now: datetime,
    *,
    write: bool = True,
    patient: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Run one cycle for the items that are due and return what it did; one bad thing never stops the others.

    Who is `patient` collects changes for as long as `commit.batch` says; what was collected until now is due too.
    """
    items = {item.name: item for item in due}
    over = {key: batch for key, batch in [*world.batches.items()] if batch.until <= now} if patient else {}
    names = {name for batch in over.values() for name in batch.items}
    items |= {item.name: item for item in world.settings.items if item.name in names}
    report = _Cycle(world, items, now, write=write, patient=patient, progress=progress).run()
    for key, batch in over.items():
        if world.batches.get(key) is batch:
            del world.batches[key]
    return report


class _Cycle:
    """The state of one cycle, shared by the threads that each write one branch."""

    def __init__(
        self, world: World, due: Mapping[str, Item], now: datetime, *, write: bool, patient: bool, progress: Progress
    ) -> None:
        self.world, self.due, self.now, self.write, self.progress = world, due, now, write, progress
        self.patient = patient
        self.report = Report()
        self.unread: dict[str, Failure] = {}  # items, and why a branch that they look at could not be read
        self.memory = world.memory()
        self.study = Study(world, due, now, write=write, progress=progress)
        self.told = self.memory.journal.heads() if write else {}
        self._decided: dict[int, tuple[Checkout, list[Row]]] = {}  # what was seen and is decided, by its id

    def run(self) -> Report:
        """Look, list, decide; then write each branch on its own."""
        with self.study as study:
            study.begin()
            checkouts = self._look()
            for late in study.waves(checkouts):
                self._decided.clear()  # about another wave
                if late:
                    checkouts = [self._again(one) if any(map(study.mine, one.owned)) else one for one in checkouts]
                    study.learn(checkouts)
                self._settle_all(checkouts)
        self._unreferenced(checkouts if late else ())
        study.tell(self.report, checkouts)
        self._use_up()
        return self.report

    def _again(self, checkout: Checkout) -> Checkout:
        """Return what Git says now; where that cannot be read, whoever writes there is told."""
        with suppress(*UNREACHED):
            return self._look_at(checkout.branch)
        return checkout

    def _settle_all(self, checkouts: Sequence[Checkout]) -> None:
        with ThreadPoolExecutor(REPOSITORIES_AT_ONCE, thread_name_prefix="write") as pool:
            for plans in pool.map(self._settle, checkouts):
                for plan, written in plans:
                    self._take(plan, written)

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
                    self.report.read |= _subjects(branch)
                except UNREACHED as err:
                    self._fail_branch(branch, err)
                self.progress("repositories", done, len(looks))
        return checkouts

    def _look_at(self, branch: Branch) -> Checkout:
        with self.world.clone_of(branch.repository).lock(LOCK_WAIT):
            checkout = look(self.world, branch)
            if self.write:
                self._catch_up(checkout)
            return checkout

    def _catch_up(self, checkout: Checkout) -> None:
        """Find the commits of ours that nobody told of: whoever pushed them was killed, or was another process."""
        repository, head = checkout.branch.repository.name, checkout.head
        before = self.report.heads.get((repository, head.branch)) or self.told.get((repository, head.branch))
        if before is None:
            self.memory.journal.begin(repository, head.branch, head.revision)
        elif before != head.revision:
            missed = _missed(self.world.clone_of(checkout.branch.repository), before, head.revision, self.now)
            owners = {(o.reference.image.name, o.reference.file): o.item for o in checkout.owned if o.item is not None}
            self.report.landed += [
                Landed(repository, head.branch, one.revision, one.at, one.message, one.files, owners) for one in missed
            ]
        self.report.heads[repository, head.branch] = head.revision

    def _fail_branch(self, branch: Branch, err: Exception) -> None:
        cause = unreadable(branch)
        failure = Failure(f"repository {branch.repository.name}", str(err), cause=cause)
        self.unread |= {item.name: failure for item in branch.items}
        self.report.failures.append(failure)
        self.report.rows += [
            Row(
                item,
                Outcome.FAILED,
                str(err),
                str(err),
                repository=branch.repository.name,
                branch=branch.name,
                cause=cause,
            )
            for item in branch.items
            if item.name in self.due and item.write and item.repository is not None
        ]

    def _take(self, plan: Plan, written: list[Written]) -> None:
        self.report.rows += plan.rows
        self.report.written += written
        self.report.failures += plan.failures
        self.report.proposed += [plan.proposed] if plan.proposed else []
        self.report.landed += [one for one in map(self._landed, written, [plan] * len(written)) if one]

    def _settle(self, checkout: Checkout) -> list[tuple[Plan, list[Written]]]:
        """Write one branch, on a newer head if somebody pushed first; then what waits for people, a group at a time."""
        ways: dict[Way | None, list[Row]] = {}
        for way, row in by_way(self.world, checkout, self._rows(checkout)):
            ways.setdefault(way, []).append(row)
        return [self._go(checkout, way, rows) for way, rows in ways.items()]

    def _go(self, checkout: Checkout, way: Way | None, rows: list[Row]) -> tuple[Plan, list[Written]]:
        if (
            not any(row.outcome is Outcome.UPDATED for row in rows)
            if way is None
            else idle(self.world, checkout, way, rows)
        ):
            return Plan(self._shown(rows)), []
        try:
            with self.world.clone_of(checkout.branch.repository).lock(LOCK_WAIT):
                if way is None:
                    return land(self.world, checkout, self._plan, self.now, write=self.write)
                plan, written = propose(
                    self.world, checkout, way, lambda seen: self._intent(seen, way), self.now, write=self.write
                )
                plan.rows = self._shown(plan.rows)
                return plan, written
        except ForgeError as err:
            failure = forge_failure(checkout, err)
            return Plan([failed(row, str(err), failure.cause) for row in rows], failures=[failure]), []
        except UNREACHED as err:
            repository, branch = checkout.branch.repository.name, checkout.head.branch
            kind = Kind.PUSH_REJECTED if isinstance(err, PushRefused | PushRejected) else Kind.UPDATE_FAILED
            cause = Cause(kind, Subject(repository=repository, branch=branch), "push")
            retry_at = err.retry_at if isinstance(err, PushRefused) else None
            failure = Failure(f"push {repository} {branch}", str(err), retry_at, cause)
            return Plan([failed(row, str(err), cause) for row in rows], failures=[failure]), []

    def _landed(self, written: Written, plan: Plan) -> Landed | None:
        """Return what was written now as those are told that were written before; what waits for people is not."""
        if written.commit is None or written.commit.branch != (plan.rows[0].branch if plan.rows else None):
            return None
        owners = {(r.reference.image.name, r.reference.file): r.item for r in plan.rows if r.reference is not None}
        self.report.heads[written.repository, written.branch] = written.commit.revision
        commit, at = written.commit, self.now.replace(microsecond=0)
        return Landed(
            written.repository, written.branch, commit.revision, at, commit.message, commit.files, owners
        )  # fmt: skip

    def _rows(self, checkout: Checkout) -> list[Row]:
        """Return a row for each reference that is due; what was seen once is decided once."""
        if (known := self._decided.get(id(checkout))) is None:
            rows = (self._row(checkout, one) for one in checkout.owned if self.study.mine(one))
            known = self._decided[id(checkout)] = checkout, [row for row in rows if row is not None]
        return known[1]

    def _plan(self, checkout: Checkout) -> Plan:
        """Return a row for each reference that goes straight to the branch, and the changes of the files."""
        intent = self._intent(checkout, None)
        groups = {row.reference: group_at(checkout, row) for row in intent.rows if row.reference}
        plan = draft(self.world, checkout, intent.rows, intent.wanted, lambda one: groups[one.reference])
        plan.rows = self._shown(plan.rows)
        return plan

    def _shown(self, rows: list[Row]) -> list[Row]:
        """Return rows as a mere look shows them: what would be updated is available."""
        if self.write:
            return rows
        return [replace(row, outcome=Outcome.AVAILABLE) if row.outcome is Outcome.UPDATED else row for row in rows]

    def _intent(self, checkout: Checkout, way: Way | None) -> Intent:
        """Return a row for each reference that is due and goes one way, and what is to be written there."""
        if self.write and self.report.heads.get((checkout.branch.repository.name, checkout.head.branch)) != (
            checkout.head.revision
        ):
            self._catch_up(checkout)
        if id(checkout) not in self._decided:  # what appeared on a newer head
            self.study.learn([checkout], locked=True)
        said = self.memory.holds.read(self.now)  # also what a person said while the registries answered
        told = by_way(self.world, checkout, self._rows(checkout))
        rows = [self._stopped(row, said.get(row.item.name)) for at, row in told if at == way]
        batched = partial(self._collected, checkout) if self.patient else _as_it_is
        rows = [batched(row) for row in rows] if way is None else rows
        wanted = [
            Wanted(row.reference, decision.target, decision.why, decision.tag, decision.digest, decision.origin)
            for row in rows
            if row.outcome is Outcome.UPDATED and isinstance(decision := row.decision, Update) and row.reference
        ]

        def mine(one: Owned) -> bool:
            with suppress(ValueError):  # whoever goes there is told
                return one.item is not None and way_to(checkout, one.item, one.reference.file) == way
            return False

        return Intent(rows, wanted, mine, lambda item: said.get(item.name) if item else None, batched=batched)

    def _collected(self, checkout: Checkout, row: Row) -> Row:
        """Return the row of what waits for others of its group, while it does."""
        told, until = collected(self.world, checkout, row, self.now)
        if until is not None:
            self.report.collected[row.item.name] = until
        return told

    def _stopped(self, row: Row, people: People | None) -> Row:
        """Return the row of what a person put on hold since it was decided, else the row as it is."""
        why = words_of_hold(Known(people=people), self.now) if people and row.outcome is Outcome.UPDATED else ""
        if not why:
            return row
        return replace(row, outcome=Outcome.HELD, reason=Reason.HELD, why=why, target=None)

    def _row(self, checkout: Checkout, one: Owned) -> Row | None:
        return row_of(checkout, one, self.due, self.study.of)

    def _use_up(self) -> None:
        """An approval lets one tag pass once: it is gone when that tag was written everywhere it was to be."""
        if not self.write:
            return
        outcomes: dict[tuple[str, str], set[Outcome]] = {}
        for row in self.report.rows:
            if isinstance(row.decision, Update) and row.decision.tag:
                outcomes.setdefault((row.item.name, row.decision.tag), set()).add(row.outcome)
        for (item, tag), found in outcomes.items():
            people = self.study.people.get(item)
            if people and tag in people.approved and Outcome.UPDATED in found and Outcome.FAILED not in found:
                self.memory.holds.used(item, tag)

    def _unreferenced(self, later: Sequence[Checkout]) -> None:
        """An item that nothing mentions is said so; where a branch that it looks at could not be read, that is why.

        `later` is what Git said when a late registry had answered.
        """
        seen = {row.item.name for row in self.report.rows}
        mentioned = {one.item.name for checkout in later for one in checkout.owned if one.item}
        for item in self.due.values():
            if item.name in seen:
                continue
            if failure := self.unread.get(item.name):
                error = failure.error
                self.report.rows.append(Row(item, Outcome.FAILED, error, error, cause=failure.cause))
            elif item.name in mentioned:  # with an image of a registry that was written before
                why = "what Git says changed while the registries answered"
                self.report.rows.append(Row(item, Outcome.FAILED, "undecided", why))
            else:
                what = "matches no image" if item.pattern else "is mentioned nowhere"
                why = f"{item.image} {what} in the paths of this item"
                self.report.rows.append(held(item, Reason.NOT_REFERENCED, why))


def _as_it_is(row: Row) -> Row:
    return row


def _subjects(branch: Branch) -> set[Subject]:
    """Return what a branch is known by: a default one, and the same by its name, may have been read as one."""
    names = {item.branch or branch.repository.branch or "" for item in branch.items}
    return {Subject(repository=branch.repository.name, branch=name) for name in names}


def _missed(clone: Clone, before: str, head: str, now: datetime) -> list[Logged]:
    """Return our commits since then, the oldest first. Raises GitError.

    There are none where the history was written anew: what stands there now was told by other names.
    """
    try:
        anew = clone.log(before, limit=1, after=head)
    except GitError:
        return []  # not even the clone knows it any more
    if anew:
        return []
    # Git itself would stop at the first commit that is too old, whatever its parents are.
    found = clone.landed(head, limit=DEPTH, grep=OURS, files=True, after=before)
    return [one for one in reversed(found) if one.at >= now - NEWS]
