"""From what a cycle did and found to events: what changed since it was last told. Pure.

An event is a change of state. What lasts is a condition: it is told when it begins, and what is still the same is not
told again. What failed for one reason (a registry that is down, a push that was refused) is one condition, however
many images it met. What was there on the first look at an item is the baseline: stored, and told to nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from updater.config.images import Item
from updater.config.repositories import commit_url
from updater.config.settings import Settings, full_name
from updater.git.log import trailers
from updater.messages.commits import Place, Told, digests, holds, linked, places, reasons, told
from updater.messages.origin import Links
from updater.messages.proposals import MAX_TITLE, proposed
from updater.model.decision import Hold, Reason, Update
from updater.model.event import ENDS, Event, Kind, Spot, Subject
from updater.model.pull_request import State
from updater.pipeline.report import Cause, Landed, Outcome, Proposed, Report, Row, kept, spelled, weightiest
from updater.secrets import redact
from updater.store.journal import Condition, Post, Standing, Writing
from updater.store.polls import Poll

MAX_SPOTS = 50  # places that one event names; a commit names them all
MAX_IMAGES = 1_000  # images that one event names: routes may be for any of them
MAX_CHANGES = 5_000  # changes that one commit tells; a message that holds more was made to hurt

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
REALM, REQUEST = "realm ", "request "  # topics with a hash behind them


def polls_of(report: Report, before: Mapping[str, Poll], now: datetime) -> dict[str, Poll]:
    """Return the poll of every item in a report; failures in a row are counted on."""
    found = {}
    for name, rows in _by_item(report.rows).items():
        first = weightiest(rows)
        last = before.get(name)
        failures = 1 + (last.failures if last else 0) if first.outcome is Outcome.FAILED else 0
        retry = [f.retry_at for f in report.failures if f.retry_at and f.what == f"image {_image(first)}"]
        failing = first.cause.key if first.cause and first.cause.topic != REPOSITORY else None
        reason, looked = redact(first.reason), first.cause is None or (last is not None and last.looked)
        seen = spelled(rows) if first.cause is None else (kept(last.at, last.document) if last else None)
        found[name] = Poll(
            name, now, failures, max(retry, default=None), first.outcome.value, reason, failing, looked, seen
        )
    return found


def subjects_of(report: Report) -> set[str]:
    """Return the keys of all that a report may tell about."""
    causes = [row.cause.subject for row in report.rows if row.cause]
    causes += [failure.cause.subject for failure in report.failures if failure.cause]
    registries = [Subject(registry=name) for name in report.realms]
    items = [row.item.subject for row in report.rows]
    requests = [Subject(repository=one.repository, branch=one.target) for one in report.proposed]
    return {subject.key for subject in (*causes, *report.read, *registries, *requests, *items)}


def commits(report: Report, settings: Settings) -> list[Event]:
    """Return what our commits tell: what we did is told from the first look on."""
    return [event for landed in report.landed for event in updated(landed, settings)]


def tell(
    report: Report,
    polls: Mapping[str, Poll],
    settings: Settings,
    standing: Standing,
    now: datetime,
    *,
    done: Sequence[Event] = (),
) -> Writing:
    """Return what is to be stored of a cycle, without posts: `addressed` adds these.

    `done` is what `commits` returned: messages may be long, and nobody is to wait while they are read.
    """
    telling = _Telling(report, polls, settings, standing, now)
    telling.writing.events += done
    telling.items()
    telling.shared()
    telling.repositories()
    telling.realms()
    telling.requests()
    telling.expired()
    return telling.writing


def addressed(writing: Writing, standing: Standing, route: Route) -> Writing:
    """Add who is to be told of each event; what a commit says twice is told once.

    `route` is handed the conditions that end: a recovery goes to those who were told of what it ends.
    """
    writing.events = list({event.id: event for event in writing.events}.values())
    known = replace(standing, conditions={(ended.subject, ended.topic): ended for ended in writing.ended})
    writing.posts = [post for event in writing.events for post in route(event, known)]
    return writing


def expired(settings: Settings, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of holds that are over."""
    telling = _Telling(Report(), {}, settings, standing, now)
    telling.expired()
    return telling.writing


def configuration(problems: Sequence[str], settings: Settings, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of a new configuration: its mistakes, or none where `settings` are it."""
    subject, writing = Subject(), expired(settings, standing, now)
    last = standing.conditions.get((subject.key, CONFIG))
    if not problems:
        writing.ended += [last] if last else []
        writing.ended += _dropped(settings, standing)
        return writing
    words = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    event = Event(Kind.CONFIG_REJECTED, now, subject, why=redact(words))
    if last is None or standing.events[last.event].why != event.why:
        writing.ended += [last] if last else []
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, CONFIG, event.key, event.id, now))
    return writing


def _dropped(settings: Settings, standing: Standing) -> Iterator[Condition]:
    """Yield what holds of items, repositories and registries that the configuration has no more: nobody can end it."""
    items, repositories = {item.name for item in settings.items}, {one.name for one in settings.repositories}
    registries = {item.exact.registry for item in settings.items if item.exact}
    registries |= {alias.name.partition("/")[0] for one in settings.registries for alias in one.aliases}
    anywhere = any(item.pattern for item in settings.items)  # registries that only Git names
    looks = {(item.repository, item.branch) for item in settings.items}
    branches = {
        (one.name, branch or one.branch or "")
        for one in settings.repositories for name, branch in looks if name in {None, one.name}
    }  # fmt: skip
    for condition in standing.conditions.values():
        subject = standing.events[condition.event].subject
        if (
            (subject.item and subject.item not in items)
            or (subject.repository and subject.repository not in repositories)
            or (condition.topic == REPOSITORY and (subject.repository, subject.branch) not in branches)
            or (subject.registry and not anywhere and subject.registry not in registries)
        ):
            yield condition


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
        told = self.standing.heads
        self.writing.heads = {at: head for at, head in self.report.heads.items() if told.get(at) != head}

    def items(self) -> None:
        """Tell what became of each item, but for updates, which commits tell."""
        for rows in _by_item(self.report.rows).values():
            left = [row for row in rows if row.outcome is not Outcome.UPDATED]
            first = weightiest(left or rows)
            if first.cause is not None:
                continue  # told as what it shares with others; what was known of it stands
            last = self.standing.polls.get(first.item.name)
            event = None if self._is_proposed(first) else _found(first, left, self.now)
            self._stand(first.item.subject, ITEM, event, new=last is None or not last.looked)

    def _is_proposed(self, row: Row) -> bool:
        """Whether a row waits in a pull request, which tells of itself."""
        requests = {(one.repository, one.target) for one in self.report.proposed}
        return row.reason == Reason.AWAITING_MERGE and (row.repository, row.branch) in requests

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
            met = {row.item.name for row in self.report.rows if row.cause and row.cause.key == failure.cause.key}
            self._fail(failure.cause, failure.error, sorted(met), new=self._is_new(self.polls))
        for subject in self.report.read:
            last = self.standing.conditions.get((subject.key, REPOSITORY))
            if last and f"{REPOSITORY} {subject.key}" not in failing:
                self.writing.ended.append(last)

    def realms(self) -> None:
        """Tell which token services got no credentials: the operator trusts them, or an attacker named them."""
        for registry, realms in self.report.realms.items():
            subject, named = Subject(registry=registry), set()
            for realm in realms:
                why = f"{registry} names the token service {realm}, which is not in trusted_realms: no credentials went"
                event = Event(Kind.REALM_UNTRUSTED, self.now, subject, new=realm, why=redact(why))
                named.add(topic := REALM + hashlib.sha256(realm.encode()).hexdigest()[:16])
                self._stand(subject, topic, event, new=False)
            for (key, topic), last in self.standing.conditions.items():
                if key == subject.key and topic.startswith(REALM) and topic not in named:
                    self.writing.ended.append(last)

    def requests(self) -> None:
        """Tell which pull requests were opened, and what became of those that were."""
        # A cycle that writes more than once looks at a request as often: what it saw last counts.
        seen = {(one.repository, one.target, one.request.branch): one for one in self.report.proposed}
        for one in seen.values():
            subject = Subject(repository=one.repository, branch=one.target)
            topic = REQUEST + hashlib.sha256(one.request.branch.encode()).hexdigest()[:16]
            last = self.standing.conditions.get((subject.key, topic))
            known = self.standing.events[last.event] if last else None
            number = f"#{one.request.number}"
            if one.request.state is State.OPEN and (known is None or known.new != number):
                event = _request(Kind.PULL_REQUEST_OPENED, one, self.now)
                self.writing.ended += [last] if last else []
                self.writing.conditions.append(Condition(subject.key, topic, event.key, event.id, self.now))
                self.writing.events.append(event)
            elif one.request.state is not State.OPEN and last is not None and known is not None:
                merged = one.request.state is State.MERGED
                kind = Kind.PULL_REQUEST_MERGED if merged else Kind.PULL_REQUEST_CLOSED
                self.writing.ended.append(last)
                if known.new == number:
                    self.writing.events.append(_request(kind, one, self.now))

    def expired(self) -> None:
        """Tell which holds are over."""
        by_name = {item.name: item for item in self.settings.items}
        for name, why in self.standing.expired.items():
            if name in by_name:
                event = Event(Kind.HOLD_EXPIRED, self.now, by_name[name].subject, why=redact(why))
                self.writing.events.append(event)

    def _begin(self, cause: Cause, items: Sequence[str]) -> None:
        rows = [row for row in self.report.rows if row.cause and row.cause.key == cause.key]
        self._fail(cause, rows[0].reason, items, new=self._is_new(items) and cause.kind is not Kind.PUSH_REJECTED)

    def _fail(self, cause: Cause, error: str, items: Sequence[str], *, new: bool) -> None:
        event = Event(cause.kind, self.now, cause.subject, why=redact(error), images=tuple(items[:MAX_IMAGES]))
        self._stand(cause.subject, cause.topic, event, new=new)

    def _is_new(self, items: Iterable[str]) -> bool:
        return not any(item in self.standing.polls for item in items)

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


def updated(landed: Landed, settings: Settings) -> Iterator[Event]:
    """Yield what a commit tells: one event for each item and pair of values, with all its places.

    A rollback is an update that is held as well.
    """
    found = list(trailers(landed.message))
    lines, why, links = _lines(landed.message, settings), reasons(found), linked(landed.message)
    by_image = {(image, tag): digest for image, tag, digest in digests(found)}
    held = {image for image, _ in holds(found)}
    repository = next((r for r in settings.repositories if r.name == landed.repository), None)
    touched = _touched(landed)
    for one in islice(dict.fromkeys(told(found)), MAX_CHANGES):
        here = lines.get(one, ())
        for item in _owners(one, here, landed, touched).values():
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
                reason=Reason.HELD if one.image in held else "",
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


def _request(kind: Kind, one: Proposed, now: datetime) -> Event:
    """Return the event of a pull request; what it says comes from a forge."""
    images = sorted({told.image for told in proposed(one.request.body)})
    return Event(
        kind, now, Subject(repository=one.repository, branch=one.target), new=f"#{one.request.number}",
        why=redact(one.request.title[:MAX_TITLE]), commit=one.request.merged or one.request.head or None,
        commit_url=one.request.url, images=tuple(images[:MAX_IMAGES]),
    )  # fmt: skip


def _lines(message: str, settings: Settings) -> dict[Told, list[Place]]:
    """Return where a message says that each change is, by the change."""
    found: dict[Told, list[Place]] = {}
    names: dict[str, str] = {}
    for line in places(message):
        if line.spelled not in names:
            names[line.spelled] = full_name(settings, line.spelled)
        found.setdefault(Told(names[line.spelled], line.old, line.new), []).append(line)
        if line.former:  # going back to a former name is told under that of the image
            found.setdefault(Told(full_name(settings, line.former), line.old, line.new), []).append(line)
    return found


def _touched(landed: Landed) -> dict[str, list[Item]]:
    """Return the items by each image that they own in a file that the commit changed."""
    found: dict[str, list[Item]] = {}
    files = frozenset(landed.files)
    for (image, file), item in landed.owners.items():
        if file in files:
            found.setdefault(image, []).append(item)
    return found


def _owners(one: Told, here: Sequence[Place], landed: Landed, touched: Mapping[str, Sequence[Item]]) -> dict[str, Item]:
    """Return the items that a change is about: by the places that the message names, else by the files it changed."""
    named = [landed.owners[one.image, p.file] for p in here if (one.image, p.file) in landed.owners]
    return {item.name: item for item in named or touched.get(one.image, ())}


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
