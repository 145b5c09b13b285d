"""From what a cycle did and found to events: what changed since it was last told. Pure.

An event is a change of state. What lasts is a condition: it is told when it begins, and what is still the same is not
told again. What failed for one reason (a registry that is down, a push that was refused) is one condition, however
many images it met. What was there on the first look at an item is the baseline: stored, and told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from updater.config.images import Item
from updater.config.repositories import commit_url
from updater.config.settings import Settings, canonical
from updater.git.log import trailers
from updater.messages.commits import Place, Told, digests, linked, places, reasons, told
from updater.messages.origin import Links
from updater.model.decision import Hold, Reason, Update
from updater.model.event import ENDS, Event, Kind, Spot, Subject
from updater.model.image import ImageRef
from updater.pipeline.report import Cause, Landed, Outcome, Report, Row, weightiest
from updater.secrets import redact
from updater.store.journal import Condition, Post, Standing, Writing
from updater.store.polls import Poll

MAX_SPOTS = 50  # places that one event names; a commit names them all
MAX_IMAGES = 100  # images that one event names

Route = Callable[[Event, Standing], list[Post]]

_KINDS: Mapping[str, Kind] = {
    Reason.NOT_REFERENCED: Kind.UPDATE_UNREFERENCED,
    Reason.HUMAN_ROLLBACK: Kind.HUMAN_ROLLBACK,
    Reason.MOVED_TAG: Kind.MOVED_TAG,
    Reason.FLAPPING: Kind.FLAPPING,
}
"""The holds that have a kind of their own; all others are `update_held`."""

_RECOVERIES: Mapping[Kind, Kind] = {failure: recovery for recovery, failure in ENDS.items()}
ITEM, REPOSITORY, CONFIG = "item", "repository", "config"  # topics


def polls_of(report: Report, before: Mapping[str, Poll], now: datetime) -> dict[str, Poll]:
    """Return the poll of every item in a report; failures in a row are counted on."""
    found = {}
    for name, rows in _by_item(report.rows).items():
        first = weightiest(rows)
        last = before.get(name)
        failures = 1 + (last.failures if last else 0) if first.outcome is Outcome.FAILED else 0
        retry = [f.retry_at for f in report.failures if f.retry_at and f.what == f"image {_image(first)}"]
        failing = first.cause.key if first.cause and first.cause.topic != REPOSITORY else None
        reason = redact(first.reason)
        found[name] = Poll(name, now, failures, max(retry, default=None), first.outcome.value, reason, failing)
    return found


def subjects_of(report: Report) -> set[str]:
    """Return the keys of all that a report may tell about."""
    causes = [row.cause.subject for row in report.rows if row.cause]
    causes += [failure.cause.subject for failure in report.failures if failure.cause]
    repositories = [Subject(repository=name) for name, _ in report.heads]
    registries = [Subject(registry=name) for name in report.realms]
    items = [row.item.subject for row in report.rows]
    return {subject.key for subject in (*causes, *repositories, *registries, *items)}


def tell(report: Report, polls: Mapping[str, Poll], settings: Settings, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of a cycle, without posts: `addressed` adds these."""
    telling = _Telling(report, polls, settings, standing, now)
    telling.commits()
    telling.items()
    telling.shared()
    telling.repositories()
    telling.realms()
    telling.expired()
    return telling.writing


def addressed(writing: Writing, standing: Standing, route: Route) -> Writing:
    """Add who is to be told of each event."""
    writing.posts = [post for event in writing.events for post in route(event, standing)]
    return writing


def expired(settings: Settings, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of holds that are over."""
    telling = _Telling(Report(), {}, settings, standing, now)
    telling.expired()
    return telling.writing


def configuration(problems: Sequence[str], standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of a new configuration: its mistakes, or none where it was taken."""
    subject, writing = Subject(), Writing()
    last = standing.conditions.get((subject.key, CONFIG))
    if not problems:
        writing.ended += [last] if last else []
        return writing
    words = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    event = Event(Kind.CONFIG_REJECTED, now, subject, why=redact(words))
    if last is None or standing.events[last.event].why != event.why:
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, CONFIG, event.key, event.id, now))
    return writing


@dataclass(slots=True)
class _Telling:
    """One cycle under way to its events."""

    report: Report
    polls: Mapping[str, Poll]
    settings: Settings
    standing: Standing
    now: datetime
    writing: Writing = field(default_factory=Writing)

    def __post_init__(self) -> None:
        self.writing.polls = list(self.polls.values())
        self.writing.heads = dict(self.report.heads)

    def commits(self) -> None:
        """What we did is told from the first look on."""
        for landed in self.report.landed:
            self.writing.events += updated(landed, self.settings)

    def items(self) -> None:
        """Tell what became of each item, but for updates, which commits tell."""
        for rows in _by_item(self.report.rows).values():
            left = [row for row in rows if row.outcome is not Outcome.UPDATED]
            first = weightiest(left or rows)
            if first.cause is not None:
                continue  # told as what it shares with others; what was known of it stands
            self._stand(first.item.subject, ITEM, _found(first, left, self.now), new=self._is_new([first.item.name]))

    def shared(self) -> None:
        """Tell what begins and what ends for all that share a failure."""
        known = {item.name for item in self.settings.items}
        causes = {row.cause.key: row.cause for row in self.report.rows if row.cause}
        members: dict[str, set[str]] = {}
        for poll in self.polls.values():
            if poll.failing:
                members.setdefault(poll.failing, set()).add(poll.item)
        for key in sorted(members.keys() | self.standing.failing.keys()):
            before = self.standing.failing.get(key, frozenset())
            after = ((before & known) - self.polls.keys()) | members.get(key, set())
            if after and key in causes:
                self._begin(causes[key], sorted(after))
            elif not after:
                self._end(key)

    def repositories(self) -> None:
        """Tell which repositories cannot be read, whatever items they concern."""
        failing = {f.cause.key: f for f in self.report.failures if f.cause and f.cause.topic == REPOSITORY}
        for failure in failing.values():
            assert failure.cause is not None
            self._fail(failure.cause, failure.error, ())
        for repository, _ in self.report.heads:
            subject = Subject(repository=repository)
            last = self.standing.conditions.get((subject.key, REPOSITORY))
            if last and f"{REPOSITORY} {subject.key}" not in failing and last not in self.writing.ended:
                self.writing.ended.append(last)

    def realms(self) -> None:
        """Tell which token services got no credentials: the operator trusts them, or an attacker named them."""
        for registry, realms in self.report.realms.items():
            for realm in realms:
                why = f"{registry} names the token service {realm}, which is not in trusted_realms: no credentials went"
                event = Event(Kind.REALM_UNTRUSTED, self.now, Subject(registry=registry), new=realm, why=redact(why))
                self._stand(event.subject, f"realm {realm}"[:32], event, new=False)

    def expired(self) -> None:
        """Tell which holds are over."""
        by_name = {item.name: item for item in self.settings.items}
        for name, why in self.standing.expired.items():
            if name in by_name:
                event = Event(Kind.HOLD_EXPIRED, self.now, by_name[name].subject, why=redact(why))
                self.writing.events.append(event)

    def _begin(self, cause: Cause, items: Sequence[str]) -> None:
        rows = [row for row in self.report.rows if row.cause and row.cause.key == cause.key]
        self._fail(cause, rows[0].reason, items)

    def _fail(self, cause: Cause, error: str, items: Sequence[str]) -> None:
        event = Event(cause.kind, self.now, cause.subject, why=redact(error), images=tuple(items[:MAX_IMAGES]))
        new = cause.kind is not Kind.PUSH_REJECTED and self._is_new(items or self.polls)
        self._stand(cause.subject, cause.topic, event, new=new)

    def _end(self, key: str) -> None:
        topic, _, subject = key.partition(" ")
        last = self.standing.conditions.get((subject, topic))
        if last is None:
            return
        self.writing.ended.append(last)
        failure = self.standing.events[last.event]
        recovery = _RECOVERIES.get(failure.kind)
        if recovery is not None:
            event = Event(recovery, self.now, failure.subject, why=failure.why, images=failure.images)
            self.writing.events.append(event)

    def _stand(self, subject: Subject, topic: str, event: Event | None, *, new: bool) -> None:
        """Let a condition begin, go on or end. What begins on the first look is stored and not told."""
        last = self.standing.conditions.get((subject.key, topic))
        if event is None:
            self.writing.ended += [last] if last else []
        elif last is None or last.key != event.key:
            self.writing.ended += [last] if last else []
            self.writing.conditions.append(Condition(subject.key, topic, event.key, event.id, self.now))
            silent = new and not (self.settings.notifications and self.settings.notifications.baseline == "tell")
            (self.writing.baseline if silent else self.writing.events).append(event)

    def _is_new(self, items: Iterable[str]) -> bool:
        return not any(item in self.standing.polls for item in items)


def updated(landed: Landed, settings: Settings) -> Iterator[Event]:
    """Yield what a commit tells: one event for each item and pair of values, with all its places."""
    found = list(trailers(landed.message))
    lines, why = places(landed.message), reasons(found)
    links = linked(landed.message)
    by_image = {(image, tag): digest for image, tag, digest in digests(found)}
    repository = next((r for r in settings.repositories if r.name == landed.repository), None)
    for one in told(found):
        here = [line for line in lines if _tells(line, one, settings)]
        for item in _owners(one, here, landed).values():
            spots = [s for s in here if landed.owners.get((one.image, s.file), item).name == item.name]
            tag, _, digest = one.new.partition("@")
            page = next((links[s.spelled, one.new] for s in spots if (s.spelled, one.new) in links), Links())
            yield Event(
                kind=Kind.IMAGE_UPDATED,
                at=landed.at,
                subject=item.subject,
                old=None if one.old == "-" else one.old,
                new=one.new,
                digest=digest or by_image.get((one.image, tag)),
                why=redact(why.get(one.image, "")),
                commit=landed.revision,
                commit_url=commit_url(repository, landed.revision) if repository else None,
                release_notes=page.release_notes or page.source,
                spots=tuple(
                    Spot(landed.repository, landed.branch, spot.file, spot.line, spot.spelled)
                    for spot in spots[:MAX_SPOTS]
                ),
                labels=item.labels,
            )


def _tells(line: Place, one: Told, settings: Settings) -> bool:
    if (line.old, line.new) != (one.old, one.new):
        return False
    try:
        return canonical(settings, ImageRef.parse(line.spelled)).name == one.image
    except ValueError:
        return False


def _owners(one: Told, here: Sequence[Place], landed: Landed) -> dict[str, Item]:
    """Return the items that a change is about: by the files that the message names, else by the image alone."""
    named = [landed.owners[one.image, p.file] for p in here if (one.image, p.file) in landed.owners]
    found = named or [item for (image, _), item in landed.owners.items() if image == one.image]
    return {item.name: item for item in found}


def _found(first: Row, rows: Sequence[Row], now: datetime) -> Event | None:
    """Return the event of what an item's weightiest row says; None where nothing is to be told."""
    item = first.item
    kind, old, new, digest, reason = None, first.current, first.newest, None, first.reason
    match first.outcome:
        case Outcome.FAILED:
            kind, new, reason = Kind.UPDATE_FAILED, first.target, ""
        case Outcome.AVAILABLE:
            kind, new, reason = Kind.UPDATE_AVAILABLE, first.target, ""
            digest = first.decision.digest if isinstance(first.decision, Update) else None
        case Outcome.HELD:
            kind = _KINDS.get(first.reason, Kind.UPDATE_HELD)
            new = first.newest if isinstance(first.decision, Hold) or first.newest else None
        case Outcome.UP_TO_DATE | Outcome.UPDATED:
            return None
    spots = [
        Spot(row.repository or "", row.branch or "", row.reference.file, row.reference.line, row.reference.spelled)
        for row in rows
        if row.reference is not None and (row.outcome, row.reason) == (first.outcome, first.reason)
    ]
    return Event(
        kind=kind,
        at=now,
        subject=item.subject,
        old=old,
        new=new,
        digest=digest,
        reason=reason,
        why=redact(first.why),
        spots=tuple(spots[:MAX_SPOTS]),
        labels=item.labels,
    )


def _by_item(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.item.name, []).append(row)
    return found


def _image(row: Row) -> str:
    return row.reference.image.name if row.reference else ""
