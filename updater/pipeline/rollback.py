"""Go back: one commit a branch to what stood there before our last update, or to a tag, and a hold.

What stood there is read from our own commits in Git; the same loop writes it that writes updates. The hold stands in
the commit as well, so that it is not lost with the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.config.settings import full_name
from updater.errors import ForgeError, RegistryError, UpdaterError
from updater.model.change import Reference, Rename
from updater.model.decision import Reason
from updater.model.image import ImageRef
from updater.pipeline.commit import Plan, draft, failed, land
from updater.pipeline.decide import written
from updater.pipeline.edit import Wanted, refusal
from updater.pipeline.find import Owned
from updater.pipeline.former import Formers
from updater.pipeline.group import Way, way_of
from updater.pipeline.look import LOCK_WAIT, UNREACHED, Branch, Checkout, World, branches, joined, look, trail
from updater.pipeline.propose import Intent, propose
from updater.pipeline.report import Failure, Outcome, Report, Row, Written, held, unique
from updater.registry.client import NotFound

HOLD = timedelta(days=7)  # a hold without an end would be forgotten


def rollback(world: World, items: Sequence[Item], to: str | None, now: datetime, until: datetime) -> Report:
    """Write every writable reference of these items back, to a tag or to what stood there before our last update.

    Items of which something went back, or was there already, are held until then, in the commit and in the state. A
    reference that cannot go back is a failure, and stops no other.
    """
    by_name = {item.name: item for item in items}
    report = Report()
    near = [one for one in branches(world.settings) if any(item.name in by_name for item in one.items)]
    back = _Back(world, by_name, to, now, until)
    for branch in joined(world, near):
        for plan, landed in _branch(back, branch):
            report.rows += plan.rows
            report.written += landed
            report.failures += plan.failures
            report.proposed += [plan.proposed] if plan.proposed else []
    seen = {row.item.name for row in report.rows}
    for item in items:
        if item.name not in seen and not report.failures:
            why = f"{item.image} is mentioned nowhere in the paths of this item"
            report.rows.append(held(item, Reason.NOT_REFERENCED, why))
            report.failures.append(Failure(f"image {item.name}", why))
    _hold(world, report, now, until)
    report.failures = unique(report.failures)
    return report


def back_at(report: Report) -> dict[str, list[str]]:
    """Return what the items that went back, or were there already, say now: each value once, by item."""
    tags: dict[str, dict[str, None]] = {}
    for row in report.rows:
        if row.outcome in {Outcome.UPDATED, Outcome.UP_TO_DATE} or row.reason == Reason.AWAITING_MERGE:
            tags.setdefault(row.item.name, {})[row.target or row.current or ""] = None
    return {name: list(values) for name, values in tags.items()}


def _branch(back: _Back, branch: Branch) -> list[tuple[Plan, list[Written]]]:
    """Go back on one branch: straight, or where its changes wait for people in a branch of each image's own."""
    try:
        with back.world.clone_of(branch.repository).lock(LOCK_WAIT):
            checkout = look(back.world, branch)
            return [_go(back, checkout, way) for way in back.ways(checkout)]
    except (*UNREACHED, ValueError) as err:  # a branch whose name cannot be used is one too
        return [(Plan(failures=[Failure(f"repository {branch.repository.name}", str(err))]), [])]


def _go(back: _Back, checkout: Checkout, way: Way | None) -> tuple[Plan, list[Written]]:
    intents: list[Intent] = []

    def intended(seen: Checkout) -> Intent:
        intents.append(back.intent(seen, way))
        return intents[-1]

    try:
        if way is None:
            plan, written = land(back.world, checkout, lambda seen: back.plan(seen, intended(seen)), back.now)
        else:
            plan, written = propose(back.world, checkout, way, intended, back.now, write=True)
    except (*UNREACHED, ForgeError) as err:
        failure = Failure(f"repository {checkout.branch.repository.name}", str(err))
        plan, written = Plan([failed(row, str(err)) for row in (intents[-1].rows if intents else [])]), []
        plan.failures.append(failure)
    plan.failures += _stuck(intents[-1].rows, plan.rows) if intents else []
    return plan, written


def _stuck(before: Sequence[Row], after: Sequence[Row]) -> list[Failure]:
    """Return what cannot go back: it could not from the start, or is held since; what waits for people goes back."""
    return [
        Failure(f"image {row.item.name}", row.why)
        for meant, row in zip(before, after, strict=True)
        if meant.outcome not in {Outcome.UPDATED, Outcome.UP_TO_DATE}
        or (row.outcome is Outcome.HELD and row.reason != Reason.AWAITING_MERGE)
    ]


def _hold(world: World, report: Report, now: datetime, until: datetime) -> None:
    """Remember the holds; a longer one stays as it is. Where the state fails they still stand in Git."""
    tags = back_at(report)
    try:
        holds = world.memory().holds if tags else None
        before = holds.read(now) if holds else {}
        for name, values in tags.items():
            assert holds is not None
            if (found := before.get(name)) and (hold := found.hold) and (hold.until is None or hold.until > until):
                continue  # a person wants it held for longer
            tag = (values[0].partition("@")[0] or None) if len(values) == 1 else None
            holds.hold(
                name, f"rolled back to {tag}" if tag else "rolled back", now, until=until, by="rollback", tag=tag
            )
    except UpdaterError as err:
        report.failures.append(Failure("state", str(err)))


@dataclass(slots=True)
class _Back:
    """One rollback; what the registry said of the tag is asked once an image."""

    world: World
    items: Mapping[str, Item]
    to: str | None
    now: datetime
    until: datetime
    digests: dict[tuple[str, str], str | UpdaterError] = field(default_factory=dict)
    formers: Formers = field(default_factory=Formers)

    def ways(self, checkout: Checkout) -> list[Way | None]:
        """Return where changes of a branch go: None for the branch itself."""
        return list(dict.fromkeys(self._way(checkout, one) for one in checkout.owned if self._item(one)))

    def intent(self, checkout: Checkout, way: Way | None) -> Intent:
        """Return what becomes of each reference of a branch that goes one way."""
        answers = [self._row(checkout, one) for one in checkout.owned if self._way(checkout, one) == way]
        found = [answer for answer in answers if answer]
        rows, wanted = [row for row, _ in found], [want for _, want in found if want]
        return Intent(rows, wanted, lambda _one: False, until=self.until)

    def plan(self, checkout: Checkout, intent: Intent) -> Plan:
        """Return the changes of what goes to the branch itself."""
        plan = draft(self.world, checkout, intent.rows, intent.wanted)
        plan.until = self.until
        return plan

    def _item(self, one: Owned) -> Item | None:
        names = (one.item.name if one.item else "", *one.rivals)
        return next((self.items[name] for name in names if name in self.items), None)

    def _way(self, checkout: Checkout, one: Owned) -> Way | None:
        item, target = self._item(one), checkout.head.branch
        if item is None:
            return None
        repository, file = checkout.branch.repository, one.reference.file
        way = way_of(item, repository, target, file, f"rollback-{item.name}")
        if way.branch and way.branch == way_of(item, repository, target, file).branch:
            raise ValueError(f"write_back.branch makes {way.branch!r} for a rollback too: use {{{{ group }}}} in it")
        return way if way.branch else None

    def _row(self, checkout: Checkout, one: Owned) -> tuple[Row, Wanted | None] | None:
        """Return what becomes of one reference, and what to write where it goes back; None where it is not meant."""
        item = self._item(one)
        if item is None:
            return None
        repository, reference = checkout.branch.repository, one.reference
        where = f"{repository.name} {reference.file}:{reference.line}"
        place: dict[str, Any] = {
            "repository": repository.name,
            "branch": checkout.head.branch,
            "reference": reference,
            "current": reference.image.version,
        }
        if obstacle := _obstacle(item, repository, one):
            return held(item, obstacle[0], f"{where}: {obstacle[1]}", **place), None
        named = ImageRef.parse(reference.former or reference.image.name)  # what Git has: going back gives no new name
        plain = replace(reference, rename=None)
        to = self.to
        want = self._before(checkout, plain, named) if to is None else self._asked(checkout, item, plain, named, to)
        if not isinstance(want, Wanted):
            why = f"{where}: {want}"
            return Row(item, Outcome.FAILED, why, why, **place), None
        if want.target == reference.image and want.reference.rename is None:
            return held(item, Reason.UP_TO_DATE, f"{where}: {want.target.version} is there already", **place), None
        if why := reference.unwritable if want.tokens else refusal(want.reference, want.target):
            return held(item, Reason.NOT_WRITABLE, f"{where}: {why}", **place), None
        return Row(item, Outcome.UPDATED, want.why, want.why, target=want.target.version, **place), want

    def _asked(self, checkout: Checkout, item: Item, reference: Reference, named: ImageRef, to: str) -> Wanted | str:
        """Return what to write so that a reference says a tag, or why that cannot be; as it stood, if it once did."""
        digest = self._digest(named, to)
        if isinstance(digest, UpdaterError):
            return str(digest)
        target = written(item.rule, reference.image, to, digest)
        step = trail(self.world, checkout).found(reference.file, reference.image.name, to, _former(reference, named))
        stood = step and self.formers.named(self.world.clone_of(checkout.branch.repository), step, reference)
        tokens = stood.tokens if stood and stood.reference.image.version == target.version else ()
        return Wanted(reference, target, f"rolled back to {to} by a person", to, digest, tokens=tokens)

    def _before(self, checkout: Checkout, reference: Reference, named: ImageRef) -> Wanted | str:
        """Return what to write so that a reference says what it said before, or why that is not known."""
        current = reference.image
        ours = trail(self.world, checkout)
        step = ours.previous(reference.file, current.name, current.version, _former(reference, named))
        if step is None:
            return f"no commit of ours wrote {current.version} here, so what stood before it is not known; name a tag"
        if step.old == "-":
            return "there was no version before ours; name a tag, or take ours out by hand"
        beside = [one.reference for one in checkout.owned if one.reference.file == reference.file]
        stood = self.formers.of(self.world.clone_of(checkout.branch.repository), step, reference, beside)
        if stood:
            before, spelled, tokens = stood.reference.image, stood.reference.spelled, stood.tokens
        else:
            spelled, tokens = step.former or reference.spelled, ()
            try:
                before = ImageRef.parse(f"{current.name}:{step.old}".replace(":@", "@"))
            except ValueError as err:
                return str(err)
            if before.tag and current.digest and before.digest is None:
                old = ImageRef.parse(full_name(self.world.settings, spelled) or named.name)
                answer = self._digest(old, before.tag)  # the digest of the newer tag must not stay beside it
                if isinstance(answer, UpdaterError):
                    return str(answer)
                before = before.at(before.tag, answer)
        if spelled != reference.spelled:
            reference = replace(reference, rename=Rename(named.name, spelled))
        tag = before.tag or ours.tags(current.name).get(before.digest or "")
        why = f"rolled back by a person to what stood before {current.version}"
        return Wanted(reference, current.at(before.tag, before.digest), why, tag, before.digest, tokens=tokens)

    def _digest(self, image: ImageRef, tag: str) -> str | UpdaterError:
        """Return the digest of a tag: one that the registry does not have is not written."""
        key = (image.name, tag)
        if key not in self.digests:
            try:
                self.digests[key] = self.world.registry_of(image).digest(image.repository, tag)
            except NotFound:
                self.digests[key] = RegistryError(f"{image.name} has no tag {tag}")
            except UpdaterError as err:
                self.digests[key] = err
        return self.digests[key]


def _former(reference: Reference, named: ImageRef) -> str:
    return named.name if named.name != reference.image.name else ""


def _obstacle(item: Item, repository: RepositorySettings, one: Owned) -> tuple[Reason, str] | None:
    if one.item is None:
        return Reason.CONTESTED, f"claimed by {' and '.join(one.rivals)}"
    if item.suspend or repository.suspend:
        return Reason.SUSPENDED, "suspended in the configuration"
    if not one.reference.places:
        return Reason.NOT_WRITABLE, one.reference.unwritable
    return None if item.write else (Reason.NOT_WRITABLE, "this image is only watched")
