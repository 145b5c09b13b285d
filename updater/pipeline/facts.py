"""The facts that decisions ask for: from the state where that is enough, else from the registry, an image at a time.

A digest and the platforms are always fresh: what is written was looked at in this cycle. A date, and when we first saw
a tag, are remembered; content is known by its digest for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from updater.errors import RegistryError
from updater.model.image import ImageRef, is_digest
from updater.model.tag import Described, Needs, Tag
from updater.pipeline.scan import RegistryOf, unknown_login
from updater.registry.client import NotFound, Registry
from updater.registry.description import Description
from updater.secrets import SecretError

if TYPE_CHECKING:  # SQLAlchemy is loaded where the state is used
    from updater.store.descriptions import Descriptions
    from updater.store.holds import Holds
    from updater.store.journal import Journal
    from updater.store.tags import Tags

AT_ONCE = 8  # images; each registry bounds its own requests
CONTENT = Needs.CREATED | Needs.PLATFORMS

Asks = Mapping[str, Needs]  # by tag or digest


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state remembers, beside the polls."""

    tags: Tags
    descriptions: Descriptions
    holds: Holds
    journal: Journal


@dataclass(slots=True)
class Facts:
    """What is known of one image's tags and digests in this cycle, and what the registry turned out not to have.

    `listed` are the tags of which the list said more than the name.
    """

    known: dict[str, Tag] = field(default_factory=dict)
    listed: Mapping[str, Tag] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


def fetch(
    asks: Mapping[str, tuple[ImageRef, Asks, Facts]],
    registry_of: RegistryOf,
    memory: Memory,
    now: datetime,
    *,
    write: bool,
) -> dict[str, RegistryError]:
    """Add what is asked to the facts of each image; return the images whose registry failed.

    What was fetched before a failure is remembered, so that the next cycle goes on from there.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="facts") as pool:
        running = {
            name: pool.submit(_Fetch(image, asked, facts, registry_of, memory, now).run)
            for name, (image, asked, facts) in asks.items()
        }
        done = {name: future.result() for name, future in running.items()}
    if write:
        _remember(done, memory, now)
    return {name: one.failure for name, one in done.items() if one.failure}


def _remember(done: Mapping[str, _Fetch], memory: Memory, now: datetime) -> None:
    described = {digest: known for one in done.values() for digest, known in one.described.items()}
    if described:
        memory.descriptions.put(described, now)
    memory.tags.saw_all({name: one.noted for name, one in done.items() if one.noted}, now)


@dataclass(slots=True)
class _Fetch:
    """One image: its questions one after the other; the registry's clients are shared and bounded."""

    image: ImageRef
    asked: Asks
    facts: Facts
    registry_of: RegistryOf
    memory: Memory
    now: datetime
    described: dict[str, Described] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    first_seen: dict[str, datetime] = field(default_factory=dict)  # of digests that are remembered
    failure: RegistryError | None = None
    registry: Registry = field(init=False)

    def run(self) -> _Fetch:
        """Answer every question, or stop at the first that the registry fails."""
        try:
            self.registry = self.registry_of(self.image)
            self._answer_all()
        except RegistryError as err:
            self.failure = err
        except SecretError as err:
            self.failure = unknown_login(self.image, err)
        return self

    def _answer_all(self) -> None:
        remembered = Needs.SEEN | CONTENT
        names = [name for name, needs in self.asked.items() if needs & remembered and not is_digest(name)]
        seen = self.memory.tags.seen(self.image.name, names) if names else {}
        for name, needs in self.asked.items():
            tag = self.facts.known.get(name) or self.facts.listed.get(name)
            tag = tag or Tag(name, name if is_digest(name) else None)
            if before := seen.get(name):
                tag = replace(tag, first_seen=before.first_seen, first_digest=before.digest)
            try:
                self.facts.known[name] = self._answered(tag, needs & ~tag.known)
            except NotFound:
                self.facts.missing.add(name)
                self.facts.known[name] = replace(tag, known=tag.known | needs)

    def _answered(self, tag: Tag, needs: Needs) -> Tag:
        if is_digest(tag.name):
            return self._content(tag, tag.name, needs | Needs.DIGEST | Needs.SEEN)
        if Needs.SEEN in needs and tag.first_digest is None and Needs.DIGEST not in tag.known:
            needs |= Needs.DIGEST  # noted once, so that a later move shows
        if Needs.DIGEST in needs:
            needs |= tag.known & CONTENT  # what was remembered is that of another digest, where the tag moved
        if Needs.DIGEST in needs and not needs & CONTENT:
            tag = replace(tag, digest=self.registry.digest(self.image.repository, tag.name))
        elif needs & CONTENT:
            # What is to be written is looked at afresh; of other tags, what we know of them serves, for no request.
            remembered = self._asked_anew(tag, needs) if Needs.DIGEST in needs else tag.digest or tag.first_digest
            tag = self._content(tag, remembered or tag.name, needs)
        if tag.first_digest is None and tag.digest:
            self.noted[tag.name] = tag.digest
            tag = replace(tag, first_digest=tag.digest)
        return replace(tag, known=tag.known | needs)

    def _asked_anew(self, tag: Tag, needs: Needs) -> str | None:
        """Return the digest of a tag now, where asking for it alone is likely to do: it is no pull, and tags stay."""
        known = self._recall(tag.first_digest) if tag.first_digest else None
        if known is None or not known.answers(created=Needs.CREATED in needs):
            return None
        return self.registry.digest(self.image.repository, tag.name)

    def _content(self, tag: Tag, reference: str, needs: Needs) -> Tag:
        """Describe a tag or a digest; content that is known costs nothing."""
        created = Needs.CREATED in needs
        known = self._recall(reference) if is_digest(reference) else None
        if known is None or not known.answers(created=created):
            known = self.registry.describe(self.image.repository, reference, created=created, known=self._recall)
            self.described[known.digest] = stored(known, self.first_seen.get(known.digest))
        if is_digest(tag.name):
            tag = replace(tag, first_seen=self.first_seen.get(known.digest) or self.now)
        dated = known.created if known.asked_created else tag.created  # a list may have told it
        tag = replace(tag, digest=known.digest, created=dated, platforms=known.platforms)
        return replace(tag, known=tag.known | needs)

    def _recall(self, digest: str) -> Description | None:
        """Return what is known of a digest: found in this cycle, or remembered."""
        known = self.described.get(digest) or self.memory.descriptions.get([digest]).get(digest)
        if known is None:
            return None
        if known.first_seen:
            self.first_seen[digest] = known.first_seen
        return recalled(digest, known)


def stored(found: Description, first_seen: datetime | None = None) -> Described:
    """Return what is remembered of a description."""
    return Described(found.created, found.platforms, found.asked_created, first_seen, found.origin, found.speaker)


def recalled(digest: str, known: Described) -> Description:
    """Return the description that was remembered."""
    return Description(
        digest, known.created, known.platforms, known.asked_created, origin=known.origin, speaker=known.speaker
    )
