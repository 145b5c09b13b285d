"""What there is: everything that page and API show, from the desk and the state; nobody else is asked.

Every function raises StoreError where the state cannot be read. Lists cost what changed since they were last asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from updater import __version__
from updater.config.images import Item
from updater.config.repositories import commit_url
from updater.config.settings import registry_for
from updater.daemon.agenda import host_of
from updater.messages.events import held_back, line
from updater.model.event import Kind
from updater.model.health import Health
from updater.model.sync import SyncStatus
from updater.pipeline.look import branches
from updater.pipeline.scan import limits
from updater.registry.host import BUDGETS
from updater.store.chronicle import Chronicle
from updater.store.journal import Journal
from updater.store.outbox import Letter, Outbox, State
from updater.store.polls import Poll
from updater.web.delivered import application, applications
from updater.web.ledger import ledger_of, plain, told
from updater.web.models import Channel, ClusterFact, LetterFact, Overview, Page, Registry, Repository
from updater.web.reviewed import change, changes
from updater.web.tracked import FAILED, UNKNOWN, image, images, select

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

__all__ = [
    "application", "applications", "change", "changes", "channels", "events", "image", "images", "letters", "overview",
    "select",
]  # fmt: skip

OUTCOMES = ("updated", "available", "held", "up_to_date", FAILED, UNKNOWN)
SHORTEST = 30.0  # seconds; no look is called late before


def overview(desk: Desk) -> Overview:
    """Return the whole at a glance."""
    return ledger_of(desk).kept.get(desk.bell, "overview", lambda: _overview(desk))


def _overview(desk: Desk) -> Overview:
    now, settings, polls = datetime.now(UTC), desk.settings, desk.polls
    mine = {item.name: polls[item.name] for item in settings.items if item.name in polls}
    counts = Counter(mine[item.name].outcome if item.name in mine else UNKNOWN for item in settings.items)
    due = [at for item in settings.items if (at := desk.next_check(item.name, now))]
    return Overview(
        version=__version__,
        started=desk.started,
        last_cycle=max((poll.at for poll in mine.values()), default=None),
        next_cycle=min(due).replace(microsecond=0) if due else None,
        counts={outcome: counts.get(outcome, 0) for outcome in OUTCOMES},
        red=_red(desk, mine, now),
        problems=[plain(problem) for problem in desk.problems],
        registries=_registries(desk, mine),
        repositories=_repositories(desk, mine),
        clusters=_clusters(desk),
        channels=channels(desk),
    )


def events(
    desk: Desk,
    limit: int = 100,
    before: str | None = None,
    *,
    kinds: Collection[Kind] = (),
    subject: str | None = None,
    baseline: bool = False,
) -> Page:
    """Return the latest events before a cursor, of these kinds, about this subject (its key)."""
    found = Chronicle(desk.database).page(
        limit + 1, before=int(before) if before else None, kinds=kinds, subject=subject, baseline=baseline
    )
    return Page(
        items=[told(seq, event) for seq, event in found[:limit]],
        next=str(found[limit - 1][0]) if len(found) > limit else None,
    )


def letters(
    desk: Desk,
    limit: int = 100,
    before: str | None = None,
    *,
    channel: str | None = None,
    states: Collection[State] = (),
) -> Page:
    """Return the latest messages before a cursor, to one channel or all, in these states."""
    found = Outbox(desk.database).page(
        limit + 1, before=int(before) if before else None, channel=channel, states=states
    )
    return Page(
        items=[_letter(one) for one in found[:limit]],
        next=str(found[limit - 1].seq) if len(found) > limit else None,
    )


def channels(desk: Desk) -> list[Channel]:
    """Return where messages go, and how that stands."""
    configured = desk.settings.notifications.channels if desk.settings.notifications else ()
    outbox = Outbox(desk.database)
    figures = outbox.figures([one.title for one in configured])
    found = []
    for one in configured:
        mine = figures[one.title]
        lasts = [last for state in (State.SENT, State.DEAD, State.WAITING) if (last := outbox.last(one.title, state))]
        sent = next((last.done for last in lasts if last.state is State.SENT), None)
        tried = max((last for last in lasts if last.attempts), key=lambda last: last.seq, default=None)
        found.append(
            Channel(
                name=one.title, kind=str(getattr(one, "kind", "")), waiting=mine.states.get(State.WAITING.value, 0),
                failed=mine.states.get(State.DEAD.value, 0), last_sent=sent, oldest_waiting=mine.oldest,
                last_answer=plain(tried.answer) if tried else "",
            )
        )  # fmt: skip
    return found


def _letter(one: Letter) -> LetterFact:
    if one.broken:
        text = "an event that cannot be read back"
    else:
        text = line(one.event) if one.event else held_back(one.held, one.since or one.wanted, "en")
    return LetterFact(
        seq=one.seq,
        channel=one.channel,
        state=one.state.value,
        kind=one.event.kind.value if one.event else "",
        subject=plain(one.event.subject.words if one.event else one.subject),
        text=plain(text),
        created=one.created,
        due=one.due,
        done=one.done,
        attempts=one.attempts,
        answer=plain(one.answer),
    )


def _red(desk: Desk, polls: Mapping[str, Poll], now: datetime) -> str:
    """Say why what is shown should not be trusted: the clock stands still, or nothing succeeded for too long."""
    if trouble := desk.trouble():
        return trouble
    active = [item for item in desk.settings.items if not item.suspend]
    if not active:
        return ""
    patience = 2 * max(SHORTEST, min(item.poll_interval + item.poll_jitter for item in active))
    good = max((polls[item.name].at for item in active if _succeeded(polls.get(item.name))), default=None)
    if now - max(good or desk.started, desk.started) <= timedelta(seconds=patience):
        return ""
    return f"no look succeeded since {good:%Y-%m-%d %H:%M:%S} UTC" if good else "no look succeeded yet"


def _succeeded(poll: Poll | None) -> bool:
    return poll is not None and not poll.failures


def _registries(desk: Desk, polls: Mapping[str, Poll]) -> list[Registry]:
    hosts: dict[str, list[Item]] = {}
    for item in desk.settings.items:
        hosts.setdefault(host_of(item), []).append(item)
    found = []
    told = limits((item.exact for item in desk.settings.items if item.exact), desk.world.registry_of)
    for host, items in sorted(hosts.items()):
        mine = [polls[item.name] for item in items if item.name in polls]
        failing = [poll for poll in mine if poll.outcome == FAILED]
        exact = next((item.exact for item in items if item.exact), None)
        entry = registry_for(desk.settings, host, exact.repository if exact else "")
        usual = None if entry.endpoint else BUDGETS.get(host)
        rate, burst = (entry.rate, entry.burst) if entry.rate else usual or (None, None)
        limit = told.get(host)
        shared = next((poll for poll in failing if poll.failing and f"registry={host}" in poll.failing), None)
        found.append(
            Registry(
                host=host, images=len(items), failing=len(failing), rate=rate,
                why=plain((shared or failing[0]).reason) if failing else "",
                burst=burst, pulls_left=limit.remaining if limit else None, pulls_limit=limit.total if limit else None,
                last_success=max((poll.at for poll in mine if not poll.failures), default=None),
            )
        )  # fmt: skip
    return found


def _repositories(desk: Desk, polls: Mapping[str, Poll]) -> list[Repository]:
    pushes, heads = ledger_of(desk).pushes(desk), Journal(desk.database).heads()
    looks = dict(desk.world.looks)
    troubles = {poll.reason for poll in polls.values() if poll.outcome == FAILED}
    found = []
    for one in branches(desk.settings):
        name, checkout = one.repository.name, looks.get((one.repository.name, one.name))
        known = [branch for repository, branch in heads if repository == name]
        branch = checkout.head.branch if checkout else one.name or (known[0] if len(known) == 1 else "")
        head = checkout.head.revision if checkout else heads.get((name, branch), "")
        why = next((reason for reason in troubles if reason.startswith(f"{name}: ")), "")
        url = commit_url(one.repository, head) if head else None
        found.append(
            Repository(
                name=name, branch=branch, head=head, url=url, last_push=pushes.get((name, branch)), why=plain(why)
            )
        )
    return found


def _clusters(desk: Desk) -> list[ClusterFact]:
    delivery = desk.delivery
    if delivery is None:
        return []
    troubles, mine = delivery.troubles(), applications(desk)
    names = {*troubles, *(one.cluster for one in mine)} - {""}
    return [
        ClusterFact(
            name=name,
            applications=sum(one.cluster == name for one in mine),
            out_of_sync=sum(one.cluster == name and one.sync == SyncStatus.OUT_OF_SYNC.value for one in mine),
            unhealthy=sum(one.cluster == name and one.health in _BAD for one in mine),
            why=plain(troubles.get(name, "")),
        )
        for name in sorted(names)
    ]


_BAD = {Health.DEGRADED.value, Health.MISSING.value}
