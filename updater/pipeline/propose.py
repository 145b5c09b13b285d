"""A branch of our own for each group, and its pull request: what is to be updated waits there for people.

The branch holds one commit of ours on top of its target. It is replaced as a whole where what it should say changes,
by compare-and-swap, and never where people have committed to it. What a cycle could not decide, because it was not due
or its registry was silent, stays as the branch has it. Versions that a person refused by closing a request are read
from the text of that request, so that every machine knows them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.config.images import Item
from updater.config.write_back import PullRequestBack
from updater.errors import ForgeError, GitError, NoRevision, PushRejected
from updater.git.clone import Clone
from updater.git.forges.base import Forge
from updater.git.log import Logged
from updater.messages.commits import Told, Wording, told
from updater.messages.proposals import WITHDRAWN, body, proposed, title
from updater.model.change import Bump, Change, Reference
from updater.model.decision import Reason, Update
from updater.model.event import Kind, Subject
from updater.model.image import ImageRef
from updater.model.people import People
from updater.model.pull_request import PullRequest, State
from updater.pipeline import refused
from updater.pipeline.carry import carried, traced
from updater.pipeline.commit import PUSH_TRIES, Plan, bumps_of, commit, draft, failed, template_failure
from updater.pipeline.edit import Wanted
from updater.pipeline.find import Owned
from updater.pipeline.group import Way
from updater.pipeline.look import PUSH_WAIT_CAP, Checkout, World, look
from updater.pipeline.report import Cause, Failure, Outcome, Proposed, Row, Written
from updater.transport.pace import backoff

ASKED = 60.0  # seconds for which the answer of a forge holds, unless we changed something there
UNDECIDED = frozenset({Reason.INCOMPLETE_SCAN.value, "stale_scan", Reason.WINDOW_CLOSED.value})
"""Holds that say nothing about what was decided before: nothing new is to come now, and what waits is to stay."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a cycle wants of one way: a row for each reference that is due, and what is to be written.

    mine    says whether a reference goes this way
    people  what a person said about an item
    batched makes wait for others of its group what does not wait in our branch yet
    until   a rollback: its images are held until then
    """

    rows: list[Row]
    wanted: list[Wanted]
    mine: Callable[[Owned], bool]
    people: Callable[[Item | None], People | None] = lambda _item: None
    until: datetime | None = None
    batched: Callable[[Row], Row] = lambda row: row


def propose(
    world: World, checkout: Checkout, way: Way, intended: Callable[[Checkout], Intent], now: datetime, *, write: bool
) -> tuple[Plan, list[Written]]:
    """Have our branch, and its request, say what is wanted; on a branch that moved meanwhile once more from the start.

    The caller holds the lock of the clone. Raises GitError and ForgeError.
    """
    for attempt in range(1, PUSH_TRIES + 1):
        try:
            return _Proposal(world, checkout, way, now, write).made(intended(checkout))
        except PushRejected:
            world.conflicted(checkout.branch.repository.name)
            pause = backoff(attempt, base=world.patience, cap=PUSH_WAIT_CAP)
            if attempt == PUSH_TRIES or world.stop.wait(pause):
                raise
            checkout = look(world, checkout.branch)
    raise AssertionError  # the last attempt returns or raises


def idle(world: World, checkout: Checkout, way: Way, rows: Sequence[Row]) -> bool:
    """Whether a way has nothing to do: nothing is to be updated, and it is known that nothing waits there."""
    return world.proposed.get(_key(checkout, way)) == "" and not any(row.outcome is Outcome.UPDATED for row in rows)


@dataclass(frozen=True, slots=True)
class _Ours:
    """Our branch as it is: its head, empty where there is none, and the commit that it has beyond its target.

    `strange` says why it is not ours to replace, and `since` when others were at it last.
    """

    head: str = ""
    commit: Logged | None = None
    strange: str = ""
    since: datetime | None = None

    def given(self, people: People | None) -> bool:
        """Whether a person has said since that we may go on."""
        resumed_at = people.resumed_at if people else None
        return bool(resumed_at and self.since and resumed_at > self.since)


@dataclass(slots=True)
class _Proposal:
    """One way under way."""

    world: World
    checkout: Checkout
    way: Way
    now: datetime
    write: bool
    ours: _Ours = field(default_factory=_Ours)
    requests: tuple[PullRequest, ...] = ()
    sure: bool = False  # these are of now, and not of a while ago

    def made(self, intent: Intent) -> tuple[Plan, list[Written]]:
        """Compare what is wanted with what is there, and do what is left."""
        self.ours, self.requests = self._read(), self._asked()
        rows = [self._refused(row, intent) for row in intent.rows]
        rows = [row if self._waits(row) else intent.batched(row) for row in rows]
        if self.ours.strange and not any(self.ours.given(intent.people(row.item)) for row in rows):
            self._remember(self.ours.head)
            return self._plan([_held(row, Reason.HUMAN_EDIT, self.ours.strange) for row in rows]), []
        left = {_spot(row.reference) for row in rows if row.reference and row.outcome is Outcome.UPDATED}
        wanted = [one for one in intent.wanted if _spot(one.reference) in left] + self._carried(intent, rows)
        plan = draft(self.world, self.checkout, rows, wanted)
        plan.proposed, plan.until = self._standing(self.open), intent.until
        if not plan.changes:
            return self._withdrawn(plan), []
        if self._same(plan.changes):
            return self._reviewed(plan, pushed=False), []
        written = Written(self.checkout.branch.repository.name, self.way.branch, tuple(plan.changes))
        if not self.write:
            return plan, [written]
        if self._outdated():
            return self.made(intent)  # a person may have closed a request meanwhile
        where, base = (written.repository, self.way.branch), self.checkout.head.revision
        heads, bumps, asked = f"{self.ours.head} {base}", bumps_of(plan.changes), plan.until is not None
        with refused.once(self.world, where, heads, bumps, self.now, asked=asked):
            made = commit(self.world, self.checkout, base, plan, self.now, group=self.way.group, changes=plan.changes)
            self._clone.push(self.way.branch, self.ours.head, made.revision)
        self.ours = _Ours(made.revision)
        written = replace(written, commit=replace(made, branch=self.way.branch))
        return self._reviewed(plan, pushed=True), [written]

    @property
    def open(self) -> PullRequest | None:
        """The request that is open."""
        return next((one for one in self.requests if one.state is State.OPEN), None)

    @property
    def _clone(self) -> Clone:
        return self.world.clone_of(self.checkout.branch.repository)

    def _read(self) -> _Ours:
        found = self._clone.resolve([self.way.branch])[self.way.branch]
        if isinstance(found, NoRevision):
            return _Ours()
        if isinstance(found, GitError):
            raise found
        beyond = self._clone.log(found, limit=2, after=self.checkout.head.revision, files=True)
        if not beyond:
            return _Ours(found)
        author = self.checkout.branch.repository.author.email
        if len(beyond) > 1 or not told(beyond[0].trailers) or beyond[0].committer != author:
            why = f"others have committed to {self.way.branch}: it is left alone until it is merged or deleted"
            return _Ours(found, None, why, beyond[0].at)
        return _Ours(found, beyond[0])

    def _asked(self) -> tuple[PullRequest, ...]:
        """Return the requests of our branch, as they were a short while ago."""
        if not isinstance(self.way.back, PullRequestBack):
            return ()
        at, known = self.world.asked.get(self._at, (0.0, ()))
        if known and time.monotonic() - at < ASKED:
            return known
        found = self._forge.requests(self.way.branch, self.checkout.head.branch)
        self.world.asked[self._at] = (time.monotonic(), found)
        self.sure = True
        return found

    def _anew(self) -> None:
        """Ask the forge for the requests as they are now: one that is to be changed may be closed or merged since."""
        if not self.sure:
            self.world.asked.pop(self._at, None)
            self.requests = self._asked()

    def _outdated(self) -> bool:
        """Ask the forge anew where its answer is remembered; say whether it is another one now."""
        before = self.requests
        if isinstance(self.way.back, PullRequestBack):
            self._anew()
        return self.requests != before

    @property
    def _forge(self) -> Forge:
        return self.world.forge_of(self.checkout.branch.repository)

    @property
    def _at(self) -> tuple[str, str, str]:
        return _key(self.checkout, self.way)

    def _refused(self, row: Row, intent: Intent) -> Row:
        """Hold what a person refused."""
        if row.outcome is not Outcome.UPDATED or not isinstance(row.decision, Update):
            return row
        found = self._closed(row.decision.target, row.decision.tag, intent.people(row.item))
        if found is None:
            return row
        return _held(row, Reason.PULL_REQUEST_CLOSED, f"a person closed {found.url} for {row.target}")

    def _waits(self, row: Row) -> bool:
        """Whether what is to be written for a row is in our branch already."""
        if self.ours.commit is None or row.reference is None or not isinstance(row.decision, Update):
            return False
        target = row.decision.target
        change = Told(target.name, row.reference.image.version, target.version)
        return change in told(self.ours.commit.trailers) and row.reference.file in self.ours.commit.files

    def _closed(self, target: ImageRef, tag: str | None, people: People | None) -> PullRequest | None:
        """Return the request by closing which a person refused this, unless an open one says it, or it was approved."""
        if self.open and _says(self.open, target):
            return None
        closed = (one for one in self.requests if one.state is State.CLOSED and _says(one, target))
        found = next(closed, None)
        return None if found is None or _excused(found, tag, people) else found

    def _carried(self, intent: Intent, rows: Sequence[Row]) -> list[Wanted]:
        """Return what our branch holds of references that this cycle did not decide about, and nobody refused."""
        if self.ours.commit is None:
            return []
        told = (row for row in rows if row.outcome is not Outcome.FAILED and row.reason not in UNDECIDED)
        decided = {_spot(row.reference) for row in told if row.reference}
        left = {
            _spot(one.reference): one
            for one in self.checkout.owned
            if one.reference.places and one.item is not None and not one.item.suspend and intent.mine(one)
        }
        undecided = [one for spot, one in left.items() if spot not in decided]
        found = carried(self.world, self.checkout, self.ours.commit, undecided)
        kept = [
            one
            for one in found
            if not self._closed(one.target, one.tag, intent.people(left[_spot(one.reference)].item))
        ]
        return traced(self.world, kept, self.now)

    def _same(self, changes: Sequence[Change]) -> bool:
        """Whether our branch says just that already, on whatever head of its target it stands."""
        if self.ours.commit is None or set(self.ours.commit.files) != {change.path for change in changes}:
            return False
        blobs = {blob.path: blob.oid for blob in self._clone.tree(self.ours.head)}
        contents = self._clone.read([blobs[change.path] for change in changes if change.path in blobs])
        return all(contents.get(blobs.get(change.path, "")) == change.after.encode() for change in changes)

    def _reviewed(self, plan: Plan, *, pushed: bool) -> Plan:
        """Open or revise the request of what stands in our branch now; rows say where they wait."""
        self._remember(self.ours.head)
        where = f"in the branch {self.way.branch}"
        if isinstance(self.way.back, PullRequestBack):
            request = self._request(plan, self.way.back, pushed=pushed) if self.write else self.open
            plan.proposed = self._standing(request)
            where = f"in {request.url}" if request else where
        plan.rows = [_held(row, Reason.AWAITING_MERGE, f"waits {where} for its merge") for row in plan.rows]
        return plan

    def _request(self, plan: Plan, back: PullRequestBack, *, pushed: bool) -> PullRequest | None:
        """Return the request, opened or revised where it has to be."""
        bumps = bumps_of(plan.changes)
        names, before = self._words(plan, back, bumps), self.open
        if before is not None and not pushed and proposed(before.body) == proposed(names[1]):
            self._adorn(plan, back, before, new=False)
            return before
        try:
            self._anew()
            before, target = self.open, self.checkout.head.branch
            request = before or self._forge.open(self.way.branch, target, *names)
            if proposed(request.body) != proposed(names[1]) or request.title != names[0]:
                request = self._forge.revise(request.number, *names)
        except ForgeError as err:
            cause = forge_cause(self.checkout)
            plan.failures.append(forge_failure(self.checkout, err))
            plan.rows = [failed(row, str(err), cause) for row in plan.rows]
            return before
        finally:
            self.world.asked.pop(self._at, None)
        self._adorn(plan, back, request, new=before is None)
        return request

    def _adorn(self, plan: Plan, back: PullRequestBack, request: PullRequest, *, new: bool) -> None:
        """Label a new request, ask its reviewers, have it merged; what fails of that does not undo it."""
        steps: list[Callable[[], object]] = []
        if new and back.labels:
            steps.append(lambda: self._forge.label(request.number, back.labels))
        if new and back.reviewers:
            steps.append(lambda: self._forge.ask(request.number, back.reviewers))
        if back.auto_merge and (request.url, self.ours.head) not in self.world.merging:
            steps.append(lambda: self._merge(request))
        for step in steps:
            try:
                step()
            except ForgeError as err:
                plan.failures.append(Failure(f"pull request {request.url}", str(err), err.retry_at))

    def _merge(self, request: PullRequest) -> None:
        if not self._forge.merge_when_ready(replace(request, head=self.ours.head)):
            why = "the forge does not merge it by itself: it may be switched off there, or nothing has to be waited for"
            raise ForgeError(why)
        self.world.merging.add((request.url, self.ours.head))

    def _words(self, plan: Plan, back: PullRequestBack, bumps: Sequence[Bump]) -> tuple[str, str]:
        settings = self.checkout.branch.repository
        words = Wording(back.title, back.body, self.way.group, settings.name, self.checkout.head.branch)
        try:
            return title(bumps, words), body(bumps, words)
        except ValueError as err:
            plan.failures.append(template_failure(settings, "pull request", err))
            return title(bumps, Wording()), body(bumps, Wording())

    def _withdrawn(self, plan: Plan) -> Plan:
        """Take back what nobody wants any more: a request of ours that is open, and our branch."""
        if plan.failures or not self.write:
            return plan  # a file that cannot be edited now is no change of mind
        self._anew()  # it may have been merged since: that is why nothing is left
        before = self.open if self.ours.commit or not self.ours.head else None
        plan.proposed = self._standing(self.open)
        if before is not None:
            self.world.asked.pop(self._at, None)
            self._forge.revise(before.number, before.title, WITHDRAWN)
            self._forge.close(before.number, WITHDRAWN)
            plan.proposed = self._standing(replace(before, state=State.CLOSED))
        if self.ours.commit and (before is not None or not isinstance(self.way.back, PullRequestBack)):
            self._clone.push(self.way.branch, self.ours.head, "")
        self._remember("")
        return plan

    def _standing(self, request: PullRequest | None) -> Proposed | None:
        """Return what is known of the request: the open one, else the newest."""
        found = request or next(iter(self.requests), None)
        repository, target = self.checkout.branch.repository.name, self.checkout.head.branch
        return Proposed(repository, target, found) if found else None

    def _plan(self, rows: list[Row]) -> Plan:
        return Plan(rows, proposed=self._standing(self.open))

    def _remember(self, head: str) -> None:
        self.world.proposed[self._at] = head


def forge_cause(checkout: Checkout) -> Cause:
    """Return what all share whose forge cannot be used."""
    subject = Subject(repository=checkout.branch.repository.name, branch=checkout.head.branch)
    return Cause(Kind.UPDATE_FAILED, subject, "forge")


def forge_failure(checkout: Checkout, err: ForgeError) -> Failure:
    """Return the failure of a forge."""
    name = checkout.branch.repository.name
    return Failure(f"pull requests of {name}", str(err), err.retry_at, forge_cause(checkout))


def _key(checkout: Checkout, way: Way) -> tuple[str, str, str]:
    return checkout.branch.repository.name, checkout.head.branch, way.branch


def _held(row: Row, reason: Reason, why: str) -> Row:
    """Return the row of what was to be updated, and waits."""
    if row.outcome is not Outcome.UPDATED:
        return row
    return replace(row, outcome=Outcome.HELD, reason=reason.value, why=why)


def _says(request: PullRequest, target: ImageRef) -> bool:
    """Whether a request is about a version, whatever stood there before."""
    return any((one.image, one.new) == (target.name, target.version) for one in proposed(request.body))


def _excused(closed: PullRequest, tag: str | None, people: People | None) -> bool:
    """Whether a person has said since a request was closed that the image may go on, or this tag pass."""
    since = closed.changed_at
    if people is None or since is None:
        return False
    said = (people.resumed_at, people.approved_at.get(tag or ""))
    return any(at > since for at in said if at is not None)


def _spot(reference: Reference) -> tuple[str, int]:
    """Return where a reference stands; what was seen without a place to write has only its line."""
    return reference.file, reference.places[0].at if reference.places else -reference.line
