"""Who is told of an event, and when: the routes of the configuration, as posts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from updater.model.event import ENDS, Event, Kind, Severity
from updater.pipeline.tell import ITEM
from updater.store.journal import Post, Standing
from updater.sync.windows import Closed, state

if TYPE_CHECKING:
    from updater.config.notifications import Notifications, Route

ALWAYS = frozenset({Kind.IMAGE_UPDATED, Kind.UPDATE_AVAILABLE})  # told without routes, whatever their severity
GROUP = 30  # seconds, where no route says
MOMENTS = frozenset({Kind.SYNC_STARTED, Kind.SYNC_SUCCEEDED})  # nothing of them lasts that one could be reminded of
PAIRED = frozenset(ENDS) - {Kind.SYNC_SUCCEEDED}  # these tell nothing to those who were not told of the failure


def route(event: Event, standing: Standing, notifications: Notifications | None, now: datetime) -> list[Post]:
    """Return one post for each channel that is to be told; of several routes to a channel the first one counts.

    `standing` has the conditions that end now.
    """
    if notifications is None:
        return []
    posts: dict[str, Post] = {}
    for post in (*_recovery(event, standing, notifications, now), *_routed(event, notifications, now)):
        posts.setdefault(post.channel, post)
    return list(posts.values())


def remind(standing: Standing, notifications: Notifications | None, now: datetime) -> list[Post]:
    """Return a post for each condition that still holds and of which a channel heard nothing for as long as it asks."""
    posts: dict[tuple[str, str], Post] = {}
    for condition in standing.conditions.values():
        event = standing.events.get(condition.event)
        if event is None or notifications is None or event.kind in MOMENTS:
            continue
        for one in notifications.routes:
            if one.remind is None or not fits(one, event):
                continue
            for channel in one.channels:
                last = standing.told.get(event.id, {}).get(channel, condition.since)
                if now - last >= timedelta(seconds=one.remind):
                    due = _after_quiet(one, now)
                    post = Post(
                        channel, event.id, event.subject.key, due, one.group, lasting=True, since=condition.since
                    )  # fmt: skip
                    posts.setdefault((channel, event.id), post)
    return list(posts.values())


def fits(one: Route, event: Event) -> bool:
    """Whether a route is for an event. A glob over what the event is not about fits only where it is `*`."""
    subject = event.subject
    repositories = {subject.repository, *(spot.repository for spot in event.spots)}
    images = {subject.item, subject.image, subject.reference, *event.images}
    return (
        event.kind in one.kinds
        and event.severity.rank >= one.severity.rank
        and _any(one.images, images)
        and _any(one.repositories, repositories)
        and _any(one.applications, {subject.application})
        and _any(one.projects, {subject.project})
        and _any(one.clusters, {subject.cluster})
    )


def _any(globs: tuple[str, ...], names: set[str]) -> bool:
    return "*" in globs or any(fnmatchcase(name, glob) for name in names if name for glob in globs)


def _recovery(event: Event, standing: Standing, notifications: Notifications, now: datetime) -> Iterator[Post]:
    """A recovery goes to those who were told of the failure that it ends."""
    failure = ENDS.get(event.kind)
    if failure is None:
        return
    known = {channel.title for channel in notifications.channels}
    for (subject, topic), condition in standing.conditions.items():
        ended = standing.events.get(condition.event)
        if subject != event.subject.key or topic == ITEM or ended is None or ended.kind is not failure:
            continue
        told = standing.told.get(ended.id, {}).keys() - standing.doubtful.get(ended.id, frozenset())
        for channel in sorted(told & known):
            one = next((r for r in notifications.routes if channel in r.channels and fits(r, ended)), None)
            due = _after_quiet(one, now) if one else now
            yield Post(channel, event.id, event.subject.key, due, one.group if one else GROUP)


def _routed(event: Event, notifications: Notifications, now: datetime) -> Iterator[Post]:
    if event.kind in PAIRED:
        return
    if not notifications.routes and (event.kind in ALWAYS or event.severity.rank >= Severity.WARNING.rank):
        for channel in notifications.channels:
            yield Post(channel.title, event.id, event.subject.key, now, GROUP)
    for one in notifications.routes:
        if fits(one, event):
            due = _after_quiet(one, now + timedelta(seconds=one.lasts))
            for name in one.channels:
                yield Post(name, event.id, event.subject.key, due, one.group, lasting=one.lasts > 0)


def _after_quiet(one: Route, at: datetime) -> datetime:
    """Return when messages may be sent; where that is further away than anyone looks, as if it were not quiet."""
    window = state(one.quiet, at)
    return window.opens_at if isinstance(window, Closed) and window.opens_at else at
