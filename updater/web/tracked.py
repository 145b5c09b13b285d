"""The images: how each item stood at the last look, and of one everything that is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from updater.config.images import Item
from updater.config.repositories import file_url
from updater.daemon.agenda import host_of
from updater.model.decision import Mark
from updater.model.image import is_tag
from updater.model.people import People
from updater.model.tag import Needs, Tag
from updater.pipeline.find import matches
from updater.pipeline.report import Before, before_of
from updater.policies.choose import Judgement, judge
from updater.store.chronicle import Chronicle
from updater.store.descriptions import Descriptions
from updater.store.holds import Holds
from updater.store.polls import Poll
from updater.store.tags import Tags
from updater.web.ledger import Ledger, ledger_of, plain, repository_named, told, value
from updater.web.models import CommitLink, Held, Image, ImageDetail, Place, TagVerdict

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

UNKNOWN = "unknown"  # of an item that nobody looked at yet
FAILED = "failed"
MOST_TAGS = 500  # verdicts of one image that are shown
MOST_JUDGED = 50_000  # tags above which nothing is judged while somebody waits
MOST_EVENTS = 100  # of one item
STEADY = timedelta(seconds=2)  # a due time that moves by less did not move


def images(desk: Desk) -> list[Image]:
    """Return every item that is configured, in the order of the configuration. Raises StoreError."""
    return ledger_of(desk).kept.get(desk.bell, "images", lambda: _images(desk))


def _images(desk: Desk) -> list[Image]:
    now, ledger, polls, settings = datetime.now(UTC), ledger_of(desk), desk.polls, desk.settings
    people, commits = Holds(desk.database).read(now), ledger.updates(desk)
    _first_seen(desk, ledger, settings.items, polls)
    found = []
    for item in settings.items:
        poll = polls.get(item.name)
        due, commit = desk.next_check(item.name, now), commits.get(item.name)
        found.append(_Row(ledger, item, poll, people.get(item.name), commit, due, now).image())
    for gone in ledger.rows.keys() - {item.name for item in settings.items}:
        for kept in (ledger.rows, ledger.documents, ledger.seen):
            kept.pop(gone, None)
    return found


def image(desk: Desk, name: str) -> ImageDetail | None:
    """Return one item with everything that is known of it; None where there is no such. Raises StoreError."""
    item = next((one for one in desk.settings.items if one.name == name), None)
    if item is None:
        return None
    now, ledger = datetime.now(UTC), ledger_of(desk)
    poll = desk.polls.get(name)
    _first_seen(desk, ledger, [item], {name: poll} if poll else {})
    people = Holds(desk.database).read(now).get(name)
    due, commit = desk.next_check(name, now), ledger.updates(desk).get(name)
    row = _Row(ledger, item, poll, people, commit, due, now)
    tags, total, why = _trace(desk, ledger, item, poll)
    events = Chronicle(desk.database).page(MOST_EVENTS, subject=item.subject.key, baseline=True)
    return ImageDetail(
        **dict(row.image()), references=_places(desk, ledger.document(poll)), tags=tags, tags_total=total,
        trace_why=why, events=[told(seq, event) for seq, event in events],
        approved=sorted(people.approved) if people else [],
    )  # fmt: skip


def select(found: Sequence[Image], **wanted: str) -> list[Image]:
    """Return the images that are wanted: `outcome`, `reason`, `registry`, `label` as KEY or KEY=VALUE, and `q`.

    A word of `q` is looked for in name, image and versions; several must all be there. What is empty counts not.
    """
    words = wanted.get("q", "").lower().split()
    key, _, text = wanted.get("label", "").partition("=")

    def fits(one: Image) -> bool:
        if any(wanted.get(name) and getattr(one, name) != wanted[name] for name in ("outcome", "reason", "registry")):
            return False
        if key and (key not in one.labels or (text and one.labels[key] != text)):
            return False
        where = f"{one.name} {one.image} {one.current or ''} {one.target or ''}".lower() if words else ""
        return all(word in where for word in words)

    return [one for one in found if fits(one)]


@dataclass(slots=True)
class _Row:
    """One item on its way to a fact; what did not change since it was last made is the same object."""

    ledger: Ledger
    item: Item
    poll: Poll | None
    people: People | None
    commit: CommitLink | None
    next: datetime | None
    now: datetime

    @property
    def since(self) -> datetime | None:
        known = self.ledger.seen.get(self.item.name)
        return known[1] if known else None

    def image(self) -> Image:
        late = self.poll is not None and self.now - self.poll.at > 2 * timedelta(seconds=_interval(self.item))
        since = self.since
        minutes = int((self.now - since).total_seconds() // 60) if since else None
        key = (self.item, self.poll, self.people, self.commit, late, minutes)
        known = self.ledger.rows.get(self.item.name)
        if known is not None and known[0] == key and _same(known[1].next_check, self.next):
            return known[1]
        made = self._made(minutes, late=late)
        self.ledger.rows[self.item.name] = key, made
        return made

    def _made(self, minutes: int | None, *, late: bool) -> Image:
        item, poll, found = self.item, self.poll, self.ledger.document(self.poll)
        failed = poll is not None and poll.outcome == FAILED
        own = found and poll is not None and found.get("outcome") == poll.outcome
        hold = self.people.hold if self.people else None
        return Image(
            name=item.name,
            image=item.image,
            repository_path=item.exact.repository if item.exact else item.image.partition("/")[2] or item.image,
            outcome=poll.outcome if poll else UNKNOWN,
            reason=plain(poll.reason, 500) if poll else "",
            why=plain(str(found.get("why", "")) if own else poll.reason if poll else "nobody looked yet"),
            current=value(found.get("current")),
            target=value(found.get("target")),
            newest=value(found.get("newest")),
            age=None if minutes is None else max(0.0, minutes * 60.0),
            policy=item.rule.policy.words,
            labels={plain(k, 300): plain(v, 300) for k, v in item.labels.items()},
            suspended=item.suspend,
            held=hold and Held(at=hold.at, until=hold.until, reason=plain(hold.reason), by=hold.by, tag=hold.tag),
            last_check=poll.at if poll else None,
            next_check=self.next.replace(microsecond=0) if self.next else None,
            failures=poll.failures if poll else 0,
            stale=_stale(before_of(poll.at, poll.document) if failed and poll else None, late=late),
            places=int(found.get("places", len(found.get("references", ())))),
            registry=host_of(item),
            last_commit=self.commit,
        )


def _stale(before: Before | None, *, late: bool) -> str:
    if before is not None:
        return f"the last look failed: this is what the one at {before.at:%Y-%m-%d %H:%M:%S} UTC found"
    return "the last look is more than twice the interval ago" if late else ""


def _interval(item: Item) -> int:
    return item.poll_interval + item.poll_jitter


def _same(one: datetime | None, other: datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < STEADY


def _first_seen(desk: Desk, ledger: Ledger, items: Sequence[Item], polls: Mapping[str, Poll]) -> None:
    """Find out when the candidates of items that were looked at since were first seen: one question for all."""
    wanted: dict[str, tuple[Poll, tuple[str, str] | None]] = {}
    for item in items:
        poll = polls.get(item.name)
        known = ledger.seen.get(item.name)
        if poll is None or (known is not None and known[0] is poll):
            continue
        found = ledger.document(poll)
        tag = str(found.get("target") or found.get("newest") or "").partition("@")[0]
        fresh = item.exact is not None and is_tag(tag) and tag != str(found.get("current") or "").partition("@")[0]
        wanted[item.name] = poll, (item.exact.name, tag) if item.exact and fresh else None
    pairs = {pair for _, pair in wanted.values() if pair}
    times = Tags(desk.database).first_seen(pairs) if pairs else {}
    for name, (poll, pair) in wanted.items():
        ledger.seen[name] = poll, times.get(pair) if pair else None


def _places(desk: Desk, found: Mapping[str, Any]) -> list[Place]:
    heads = {(name, one.head.branch): one.head.revision for (name, _), one in dict(desk.world.looks).items()}
    places = []
    for one in found.get("references", ()):
        name, branch = one.get("repository"), one.get("branch")
        repository, file, line = repository_named(desk, name), str(one["file"]), int(one["line"])
        revision = heads.get((name, branch)) or branch
        url = file_url(repository, revision, file, line) if repository and revision else None
        texts = {key: plain(str(one.get(key) or "")) for key in ("outcome", "reason", "why")}
        values = {key: value(one.get(key)) for key in ("current", "target")}
        places.append(Place(repository=name, branch=branch, file=plain(file), line=line, url=url, **values, **texts))
    return places


def _trace(desk: Desk, ledger: Ledger, item: Item, poll: Poll | None) -> tuple[list[TagVerdict], int, str]:
    """Judge the tags of the last list that was believed, as the last look did; the registry is not asked."""
    tags = Tags(desk.database)
    name = item.exact.name if item.exact else ""
    if not name:
        others = {one.exact.name for one in desk.settings.items if one.exact}  # have an entry of their own
        fitting = [image for image in tags.images() if matches(item, image) and image not in others]
        if len(fitting) != 1:
            return [], 0, f"{item.image} means {len(fitting)} images that were listed; their tags are not one list"
        [name] = fitting
    names = tags.names(name)
    if not names:
        return [], 0, "no list of its tags was read yet"
    if len(names) > MOST_JUDGED:
        return [], len(names), f"{len(names)} tags are too many to be judged while you wait: see `updater explain`"
    found = ledger.document(poll)
    current = str(found.get("current") or "").partition("@")[0] or None
    key = (item.name, repr(item.rule), poll and poll.at, len(names))
    judged = ledger.once("traces", key, lambda: _judged(desk, item, name, names, current))
    verdicts = judged.verdicts[:MOST_TAGS]
    seen = tags.seen(name, [one.tag for one in verdicts])
    gate = str(found.get("why", "")) if found.get("outcome") == "held" and judged.target == found.get("newest") else ""
    return [
        TagVerdict(
            tag=plain(one.tag, 300), verdict=(Mark.REJECTED if gate and one.mark is Mark.CHOSEN else one.mark).value,
            why=plain(gate if gate and one.mark is Mark.CHOSEN else one.why), first_seen=seen[one.tag].first_seen,
        )
        for one in verdicts
    ], len(names), plain(judged.why)  # fmt: skip


def _judged(desk: Desk, item: Item, name: str, names: Collection[str], current: str | None) -> Judgement:
    needs = item.rule.policy.needs & Needs.CREATED
    if not needs:
        return judge(item.rule, map(Tag, sorted(names)), current)
    seen = Tags(desk.database).seen(name, names)
    known = Descriptions(desk.database).get({one.digest for one in seen.values() if one.digest})
    tags = []
    for tag in sorted(names):
        described = known.get(seen[tag].digest or "")
        asked = described is not None and described.asked_created
        made = Tag(tag, created=described.created if described else None)
        tags.append(replace(made, known=Needs.NAMES | Needs.CREATED) if asked else made)
    return judge(item.rule, tags, current)
