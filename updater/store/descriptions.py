"""What images are made of, by digest: facts of content, which never change, so that each is asked for once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from updater.model.origin import Origin
from updater.model.tag import Described
from updater.store.batches import KEPT, SOME, batches, chore_is_due
from updater.store.database import Database
from updater.store.schema import descriptions
from updater.store.times import aware, naive

MEMORY = 20_000  # digests that a process keeps at hand
TOUCH = timedelta(days=7)  # how exactly it is known when a digest was last used


class Descriptions:
    """The cache of contents. What nobody used for three months is forgotten. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memory: dict[str, Described] = {}
        self._begun: datetime | None = None  # of the memory: it is read again after a week, to note what is used

    def get(self, digests: Collection[str], now: datetime | None = None) -> dict[str, Described]:
        """Return what is known of these digests.

        With `now` it is noted, once a week, that they are used; without, nothing is written.
        """
        self._begin(now)
        found = {digest: known for digest in digests if (known := self._memory.get(digest))}
        if len(found) < len(set(digests)):
            with self._database.transaction() as connection:
                rows = _rows(connection, set(digests) - found.keys())
                if now is not None:
                    _touch(connection, [row.digest for row in rows if row.used < naive(now - TOUCH)], now)
            read = {row.digest: _described(row) for row in rows}
            self._remember(read)
            found |= read
        return found

    def put(self, found: Mapping[str, Described], now: datetime) -> None:
        """Store what was found; a digest keeps the time when it was first seen, and what was once asked for."""
        if not found:
            return
        with self._database.writing, self._database.transaction() as connection:
            _touch(connection, list(found), now)  # first, because it locks what is read next
            before = {row.digest: _described(row) for row in _rows(connection, found)}
            merged = {digest: _merged(before.get(digest), new, now) for digest, new in found.items()}
            if old := [digest for digest in merged if digest in before and merged[digest] != before[digest]]:
                connection.execute(_REPLACE, [_row("key", digest, merged[digest]) for digest in old])
            if new := [digest for digest in merged if digest not in before]:
                rows = [_row("digest", digest, merged[digest]) | {"used": naive(now)} for digest in new]
                connection.execute(insert(descriptions), rows)
            if chore_is_due(connection, "descriptions_tidied", now):
                connection.execute(delete(descriptions).where(descriptions.c.used < naive(now - KEPT)))
        self._remember(merged)

    def _begin(self, now: datetime | None) -> None:
        if now is not None and (self._begun is None or now - self._begun > TOUCH):
            self._memory, self._begun = {}, now

    def _remember(self, known: Mapping[str, Described]) -> None:
        if len(self._memory) + len(known) > MEMORY:
            self._memory = {}
        if len(known) <= MEMORY:
            self._memory.update(known)


_ORIGIN = ("source", "revision", "version", "url")
_FACTS = ("created", "asked_created", "platforms", "first_seen", *_ORIGIN, "speaker")
_REPLACE = (
    update(descriptions)
    .where(descriptions.c.digest == bindparam("key"))
    .values({name: bindparam(name) for name in _FACTS})
)


_READ = select(descriptions).where(descriptions.c.digest.in_(SOME))
_TOUCH = update(descriptions).where(descriptions.c.digest.in_(SOME)).values(used=bindparam("now"))


def _rows(connection: Connection, digests: Iterable[str]) -> list[Row[tuple[object, ...]]]:
    found: list[Row[tuple[object, ...]]] = []
    for some in batches(digests):
        found += connection.execute(_READ, {"some": some})
    return found


def _touch(connection: Connection, digests: Iterable[str], now: datetime) -> None:
    for some in batches(digests):
        connection.execute(_TOUCH, {"some": some, "now": naive(now)})


def _described(row: Row[tuple[object, ...]]) -> Described:
    return Described(
        aware(row.created),
        frozenset(row.platforms.split()),
        row.asked_created,
        aware(row.first_seen),
        Origin(row.source, row.revision, row.version, row.url),
        row.speaker,
    )


def _merged(before: Described | None, new: Described, now: datetime) -> Described:
    if before is None:
        return replace(new, first_seen=now)
    asked = new if new.asked_created else before
    return replace(asked, platforms=new.platforms, first_seen=before.first_seen)


def _row(key: str, digest: str, known: Described) -> dict[str, object]:
    return {
        key: digest,
        "created": naive(known.created),
        "asked_created": known.asked_created,
        "platforms": "\n".join(sorted(known.platforms)),
        "first_seen": naive(known.first_seen),
        **{name: getattr(known.origin, name) for name in _ORIGIN},
        "speaker": known.speaker,
    }
