"""The history: the commits of ours as people review them, and what followed each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from updater.config.repositories import commit_url
from updater.errors import GitError
from updater.model.event import Event, Kind
from updater.secrets import redact
from updater.store.chronicle import Chronicle, Numbered
from updater.web.ledger import ledger_of, link, page, plain, repository_named, repository_of, told
from updater.web.models import Change, ChangeDetail, Page

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

CHUNK = 500  # events that are read at once
MOST_UPDATES = 5000  # of one commit
MOST_FOLLOWED = 20  # events of one commit
MOST_READ = 1000  # events that are looked through for what followed a page of commits
MOST_DIFF = 256 << 10  # bytes
FOLLOWING = (Kind.SYNC_SUCCEEDED, Kind.SYNC_FAILED, Kind.OUT_OF_SYNC, Kind.HEALTH_DEGRADED, Kind.HEALTH_RECOVERED)

Group = list[Numbered]


def changes(desk: Desk, limit: int = 50, before: str | None = None, *, item: str = "") -> Page:
    """Return the latest commits, of all or of one item, before a cursor. Raises StoreError, ValueError for a cursor."""
    groups, more = _groups(Chronicle(desk.database), limit, int(before) if before else None, item)
    followed = _followed(desk, groups)
    found = [_change(desk, group, followed.get(_key(group), [])) for group in groups]
    return Page(items=found, next=str(groups[-1][-1][0]) if groups and more else None)


def change(desk: Desk, repository: str, revision: str) -> ChangeDetail | None:
    """Return one commit with its diff; None where there is none of ours. Raises StoreError."""
    group = Chronicle(desk.database).of_commit(revision, MOST_UPDATES)
    group = [one for one in group if repository_of(one[1]) in {repository, "-"}][::-1]
    if not group:
        return None
    found = _change(desk, group, _followed(desk, [group]).get(_key(group), []))
    diff, why = _diff(desk, repository, revision)
    return ChangeDetail(**dict(found), diff=diff, diff_why=why)


def _groups(chronicle: Chronicle, limit: int, before: int | None, item: str) -> tuple[list[Group], bool]:
    """Return the updates of each of the latest commits, the newest first, and whether there are more."""
    groups: list[Group] = []
    while True:
        some = chronicle.page(CHUNK, before=before, kinds=[Kind.IMAGE_UPDATED], baseline=True)
        for one in some:
            if item and one[1].subject.item != item:
                continue
            if groups and _key(groups[-1]) == _key([one]):
                groups[-1].append(one)
            elif len(groups) == limit:
                return groups, True
            else:
                groups.append([one])
        if len(some) < CHUNK:
            return groups, False
        before = some[-1][0]


def _key(group: Group) -> tuple[str, str]:
    event = group[0][1]
    return repository_of(event), event.commit or ""


def _change(desk: Desk, group: Group, followed: Sequence[Numbered]) -> Change:
    events = [event for _, event in reversed(group)]
    first, links = events[0], [link(event) for event in events]
    images = list(dict.fromkeys(plain(event.subject.reference or event.subject.words, 300) for event in events))
    repository = repository_named(desk, repository_of(first))
    url = page(first.commit_url) or (commit_url(repository, first.commit) if repository and first.commit else None)
    targets = " and ".join(dict.fromkeys(one.new or "-" for one in links))
    places = [f"{plain(spot.file)}:{spot.line}" for event in events for spot in event.spots]
    return Change(
        repository=repository_of(first),
        branch=first.spots[0].branch if first.spots else None,
        revision=first.commit or "",
        at=first.at,
        subject=f"Update {images[0]} to {targets}" if len(images) == 1 else f"Update {len(images)} images",
        url=url,
        changes=links,
        images=images,
        why=plain("; ".join(dict.fromkeys(event.why for event in events if event.why))),
        places=list(dict.fromkeys(places)),
        release_notes=next((url for event in events if (url := page(event.release_notes))), None),
        followed=[told(seq, event) for seq, event in followed],
        revert=f"git revert {first.commit}",
        rollback=all(one.rollback for one in links),
    )


def _followed(desk: Desk, groups: Sequence[Group]) -> dict[tuple[str, str], list[Numbered]]:
    """Return what loop two told of each commit: of itself, or the first sync of an application that has its images."""
    if not groups or not desk.settings.clusters:
        return {}
    start = min(seq for group in groups for seq, _ in group)
    later = Chronicle(desk.database).page(MOST_READ, after=start, kinds=FOLLOWING, oldest=True)
    found: dict[tuple[str, str], list[Numbered]] = {}
    for group in groups:
        commit, images = group[0][1].commit, frozenset(name for _, event in group for name in _spelled(event))
        mine, synced = found.setdefault(_key(group), []), set()
        for seq, event in later:
            has = not images.isdisjoint(event.images) and (event.kind, event.subject.key) not in synced
            if seq > group[0][0] and len(mine) < MOST_FOLLOWED and (event.commit == commit or has):
                synced.add((event.kind, event.subject.key))
                mine.append((seq, event))
    return found


def _spelled(event: Event) -> list[str]:
    """Return an update's target as clusters have it."""
    names = {event.subject.reference, *(spot.spelled for spot in event.spots)} - {""}
    return [f"{name}:{event.new}".replace(":@", "@") for name in names]


def _diff(desk: Desk, repository: str, revision: str) -> tuple[str, str]:
    settings = repository_named(desk, repository)
    if settings is None:
        return "", f"{repository} is not configured any more"

    def read() -> tuple[str, str]:
        text, cut = desk.world.clone_of(settings).patch(revision, max_bytes=MOST_DIFF)
        return redact(text), "it is longer than this" if cut else ""

    try:
        return ledger_of(desk).once("diffs", (settings.url, revision), read)
    except (GitError, OSError, ValueError) as err:
        return "", plain(str(err))
