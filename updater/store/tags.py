"""The tags of every image as they were last believed, when each was first seen, and with which digest.

The names of an image are one row, which a look that finds the same never touches. A tag has a row of its own only when
it came after the first list, or when its digest was asked for: images have thousands of tags, and few of these change.

A tag that leaves the list and comes back was pushed anew: it is first seen when it is back. Its digest is kept for
three months meanwhile, so that deleting a tag and pushing another under its name is a move like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection, Update, and_, bindparam, delete, insert, select, update

from updater.model.image import is_tag
from updater.model.tag import Scan
from updater.policies.lists import Accepted, Doubt, Doubted, fingerprint, weigh
from updater.store.batches import KEPT, SOME, batches, chore_is_due
from updater.store.database import Database
from updater.store.schema import lists, tags
from updater.store.times import aware, naive

MEMORY = 100_000  # tags of which a process remembers that their digest is stored


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a tag.

    first_seen  aware, in UTC; None for a tag that was there on our first scan
    digest      when we first asked for it; None before that
    """

    first_seen: datetime | None = None
    digest: str | None = None


_UNSEEN = Seen()


@dataclass(frozen=True)
class _Look:
    """A complete list, and the fingerprint of what the registry answered."""

    scan: Scan
    fingerprint: str

    @cached_property
    def names(self) -> frozenset[str]:
        """Its tags, without what is none."""
        return frozenset(tag.name for tag in self.scan.tags if is_tag(tag.name))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored of the list of one image."""

    fingerprint: str
    doubt: Doubt | None
    names: frozenset[str] = frozenset()


class Tags:
    """What was seen of every image; lives as long as its process, so that a list without news costs no statement.

    Raises StoreError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._believed: dict[str, str] = {}  # fingerprints, by image, of what is stored and not in doubt
        self._unwritten: dict[str, tuple[frozenset[str], datetime]] = {}  # what was found new without writing
        self._stored: set[tuple[str, str]] = set()  # images and tags whose digest is stored

    def learn(self, scans: Sequence[Scan], now: datetime, *, write: bool = True) -> dict[str, Scan]:
        """Compare lists with those that were believed before and return the scans by image.

        One that is doubted comes back incomplete, with the why in words; an incomplete one as it was, and it changes
        nothing. Without `write` the answers are the same, and are forgotten with this object.
        """
        found = {scan.image: scan for scan in scans}
        looks = [_Look(scan, fingerprint(tag.name for tag in scan.tags)) for scan in found.values() if scan.complete]
        news = [look for look in looks if self._believed.get(look.scan.image) != look.fingerprint]
        for some in batches(news):
            for image, why in self._compare(some, now, write=write).items():
                found[image] = replace(found[image], complete=False, why=why)
        return found

    def seen(self, image: str, names: Collection[str]) -> dict[str, Seen]:
        """Return what is remembered of each of these tags."""
        found = dict.fromkeys(names, _UNSEEN)
        with self._database.transaction() as connection:
            for some in batches(found):
                rows = connection.execute(_SEEN, {"in_image": image, "some": some})
                found |= {row.name: Seen(aware(row.first_seen), row.digest) for row in rows}
        new, at = self._unwritten.get(image, (frozenset(), None))
        return {name: replace(seen, first_seen=at) if name in new else seen for name, seen in found.items()}

    def images(self) -> list[str]:
        """Return the images of which a list was believed."""
        with self._database.transaction() as connection:
            return list(connection.execute(select(lists.c.image)).scalars())

    def names(self, image: str) -> frozenset[str]:
        """Return the tags of one image that were believed last."""
        with self._database.transaction() as connection:
            known = _read(connection, [image], names=True).get(image)
        return known.names if known else _NONE

    def first_seen(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
        """Return when these tags, each an image and a name, were first seen, of those of which that is known."""
        found: dict[tuple[str, str], datetime] = {}
        columns = (tags.c.image, tags.c.name, tags.c.first_seen)
        with self._database.transaction() as connection:
            for some in batches(sorted(set(wanted))):
                images, names = {image for image, _ in some}, {name for _, name in some}
                here = and_(tags.c.image.in_(images), tags.c.name.in_(names), tags.c.first_seen.is_not(None))
                for row in connection.execute(select(*columns).where(here)):
                    found[row.image, row.name] = aware(row.first_seen)
        return {pair: found[pair] for pair in wanted if pair in found}

    def listed(self, wanted: Callable[[str], bool]) -> dict[str, frozenset[str]]:
        """Return the tags that were believed last, by image, of the images that are wanted."""
        with self._database.transaction() as connection:
            images = [image for image in connection.execute(select(lists.c.image)).scalars() if wanted(image)]
            known = [_read(connection, some, names=True) for some in batches(images)]
        return {image: one.names for some in known for image, one in some.items()}

    def saw(self, image: str, digests: Mapping[str, str], now: datetime) -> None:
        """Store the digests of tags that had none before; those that have one keep it."""
        self.saw_all({image: digests}, now)

    def saw_all(self, digests: Mapping[str, Mapping[str, str]], now: datetime) -> None:
        """Store the digests of tags of several images, in one transaction."""
        news = {i: {n: d for n, d in of.items() if (i, n) not in self._stored} for i, of in digests.items()}
        lacking = {image: self._lacking(image, of) for image, of in news.items() if of}
        if any(lacking.values()):
            with self._database.writing, self._database.transaction() as connection:
                for image, of in lacking.items():
                    if of:
                        _write_digests(connection, _FIRST_DIGEST, image, of)
                _tidy(connection, now)
        if len(self._stored) > MEMORY:
            self._stored = set()
        self._stored.update((image, name) for image, of in news.items() for name in of)

    def _lacking(self, image: str, digests: Mapping[str, str]) -> dict[str, str]:
        return {name: digests[name] for name, seen in self.seen(image, digests).items() if seen.digest is None}

    def accept_move(self, image: str, tag: str, digest: str) -> None:
        """Let a digest take the place of the one that was stored first."""
        with self._database.transaction() as connection:
            _write_digests(connection, _DIGEST, image, {tag: digest})

    def _compare(self, looks: Sequence[_Look], now: datetime, *, write: bool) -> dict[str, str]:
        """Compare lists that this process does not know with the stored ones; return the images in doubt and why."""
        with self._database.transaction() as connection:
            stored = _read(connection, [look.scan.image for look in looks])
        news = []
        for look in looks:
            known = stored.get(look.scan.image)
            if known is None or known.doubt or known.fingerprint != look.fingerprint:
                news.append(look)
            else:
                self._believe(look)
        return self._decide(news, now, write=write) if news else {}

    def _decide(self, looks: Sequence[_Look], now: datetime, *, write: bool) -> dict[str, str]:
        """Weigh lists that are not the stored ones, and store what was decided, in one transaction."""
        images = [look.scan.image for look in looks]
        with self._database.writing, self._database.transaction() as connection:
            if write:
                _lock(connection, images)
            stored = _read(connection, images, names=True)
            answers = [_Answer(look, stored.get(look.scan.image), now) for look in looks]
            if write:
                _write(connection, answers, now)
        for answer in answers:
            if answer.why:
                self._believed.pop(answer.image, None)
            elif write:
                self._believe(answer.look)
                self._stored.difference_update((answer.image, name) for name in answer.added | answer.gone)
            elif answer.known is not None:
                self._unwritten[answer.image] = (answer.added, now)
        return {answer.image: answer.why for answer in answers if answer.why}

    def _believe(self, look: _Look) -> None:
        self._believed[look.scan.image] = look.fingerprint
        self._unwritten.pop(look.scan.image, None)


class _Answer:
    """What the rule of incomplete lists says of one look; `why` is empty where it is believed."""

    def __init__(self, look: _Look, known: _Known | None, now: datetime) -> None:
        self.look, self.known, self.image = look, known, look.scan.image
        names, doubt = (known.names, known.doubt) if known else (None, None)
        weighed = weigh(names, doubt, look.names, now)
        self.why, self.doubt = (weighed.why, weighed.doubt) if isinstance(weighed, Doubted) else ("", None)
        self.added, self.gone = (weighed.added, weighed.gone) if isinstance(weighed, Accepted) else (_NONE, _NONE)

    @property
    def row(self) -> dict[str, object]:
        """The list as it is stored from now on."""
        doubt = self.doubt
        found: dict[str, object] = {
            "doubt": doubt and doubt.fingerprint,
            "doubt_seen": doubt and doubt.seen,
            "doubt_since": doubt and naive(doubt.since),
            "doubt_last": doubt and naive(doubt.last),
        }
        if not self.why:
            found |= {"fingerprint": self.look.fingerprint, "names": "\n".join(sorted(self.look.names))}
        return found


_NONE: frozenset[str] = frozenset()

# Statements about some tags of one image, made once: there may be thousands of images.
_HERE = and_(tags.c.image == bindparam("in_image"), tags.c.name.in_(SOME))
_SEEN = select(tags.c.name, tags.c.first_seen, tags.c.digest).where(_HERE)
_CAME = update(tags).where(_HERE).values(first_seen=bindparam("then"), gone=None)
_LEFT = update(tags).where(_HERE).values(gone=bindparam("then"))
_FORGET = delete(tags).where(_HERE, tags.c.digest.is_(None))


def _read(connection: Connection, images: Sequence[str], *, names: bool = False) -> dict[str, _Known]:
    """Return what is stored of these images; their names only on request, because they are long."""
    columns = [lists.c.image, lists.c.fingerprint, lists.c.doubt, lists.c.doubt_seen, lists.c.doubt_since]
    columns += [lists.c.doubt_last, *([lists.c.names] if names else [])]
    found = {}
    for row in connection.execute(select(*columns).where(lists.c.image.in_(images))):
        since, last = aware(row.doubt_since), aware(row.doubt_last)
        doubt = Doubt(row.doubt, row.doubt_seen, since, last) if row.doubt else None
        found[row.image] = _Known(row.fingerprint, doubt, frozenset(row.names.split("\n")) if names else _NONE)
    return found


def _lock(connection: Connection, images: Sequence[str]) -> None:
    """Keep other writers away until the end of the transaction: an update does, in every database."""
    same = {"fingerprint": lists.c.fingerprint}
    connection.execute(update(lists).where(lists.c.image.in_(images)).values(same))


def _write(connection: Connection, answers: Iterable[_Answer], now: datetime) -> None:
    first = []
    for answer in answers:
        if answer.known is None:
            if answer.look.names:
                first.append({"image": answer.image, **answer.row})
            continue
        if not answer.why or answer.doubt != answer.known.doubt:
            connection.execute(update(lists).where(lists.c.image == answer.image).values(answer.row))
        _came(connection, answer.image, answer.added, now)
        _left(connection, answer.image, answer.gone, now)
    if first:
        connection.execute(insert(lists), first)
    _tidy(connection, now)


def _tidy(connection: Connection, now: datetime) -> None:
    if chore_is_due(connection, "tags_tidied", now):
        connection.execute(delete(tags).where(tags.c.gone < naive(now - KEPT)))


def _came(connection: Connection, image: str, names: Collection[str], now: datetime) -> None:
    """Note when tags were first seen; one that was there before keeps its digest."""
    old = _existing(connection, image, names)
    for some in batches(old):
        connection.execute(_CAME, {"in_image": image, "some": some, "then": naive(now)})
    if new := [{"image": image, "name": name, "first_seen": naive(now)} for name in sorted(set(names) - old)]:
        connection.execute(insert(tags), new)


def _left(connection: Connection, image: str, names: Collection[str], now: datetime) -> None:
    """Forget tags that are gone, but for their digests."""
    for some in batches(names):
        connection.execute(_FORGET, {"in_image": image, "some": some})
        connection.execute(_LEFT, {"in_image": image, "some": some, "then": naive(now)})


_DIGEST = (
    update(tags)
    .where(tags.c.image == bindparam("in_image"), tags.c.name == bindparam("of_name"))
    .values(digest=bindparam("digest"))
)
_FIRST_DIGEST = _DIGEST.where(tags.c.digest.is_(None))


def _write_digests(connection: Connection, statement: Update, image: str, digests: Mapping[str, str]) -> None:
    """Run the update, which keeps other writers away, and insert the tags that had no row."""
    rows = [{"in_image": image, "of_name": name, "digest": digest} for name, digest in digests.items()]
    connection.execute(statement, rows)
    old = _existing(connection, image, digests)
    if new := [{"image": image, "name": name, "digest": digests[name]} for name in digests if name not in old]:
        connection.execute(insert(tags), new)


def _existing(connection: Connection, image: str, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for some in batches(names):
        found.update(row.name for row in connection.execute(_SEEN, {"in_image": image, "some": some}))
    return found
