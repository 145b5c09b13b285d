"""Decides every value once, and fetches what the decisions ask for, in rounds, until none asks any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.config.images import Item
from updater.config.registries import RegistrySettings, mirror
from updater.errors import GitError, RegistryError
from updater.model.change import Reference
from updater.model.check import Check
from updater.model.decision import Decision, Unresolved, Update
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.past import Past
from updater.model.people import People
from updater.model.tag import Needs
from updater.pipeline.checks import Unproven, Verifier, prove
from updater.pipeline.decide import NOBODY, Known, decide
from updater.pipeline.facts import Facts, Memory, fetch
from updater.pipeline.find import Owned
from updater.pipeline.origins import origins
from updater.pipeline.scan import RegistryOf, Scans
from updater.policies.choose import Ranking
from updater.sync.windows import Closed, state

ROUNDS = 200  # each asks about the next best candidate; what is left after that waits for the next cycle

PastOf = Callable[[Owned], Past]
_Key = tuple[str, ImageRef, str, bool, ImageRef | None]
"""Item, value in Git, its former name there, whether it waits for the first, and where it must be as well."""
_Place = tuple[str, str, ImageRef, str, bool, ImageRef | None]
"""Branch, file, value, former name, whether it is never written, and where it must be as well."""


@dataclass(slots=True)
class Resolver:
    """The decisions of one cycle, by item, current value and what our commits did there. Shared by threads."""

    registry_of: RegistryOf
    memory: Memory
    people: Mapping[str, People]
    now: datetime
    write: bool
    registries: Sequence[RegistrySettings] = ()
    verifier: Verifier = field(default_factory=Verifier)
    scans: Scans = field(default_factory=dict)
    unread: dict[_Place, GitError] = field(default_factory=dict)  # places whose history could not be read
    failed: dict[Check, Unproven] = field(default_factory=dict)
    proven: dict[Check, str] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)
    _plain: dict[_Key, Decision | RegistryError] = field(default_factory=dict)
    _aware: dict[tuple[_Key, Past], Decision | RegistryError] = field(default_factory=dict)
    _pasts: dict[_Place, Past] = field(default_factory=dict)
    _hanging: set[_Key] = field(default_factory=set)  # what hangs on the history of its place
    _rankings: dict[_Key, Ranking] = field(default_factory=dict)
    _origins: dict[ImageRef, Origin | None] = field(default_factory=dict)  # of those that were asked
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, one: Owned) -> Decision | RegistryError | GitError | None:
        """Return what was decided about a reference, None where nobody asked."""
        if one.item is None:
            return None
        if self.unread and (error := self.unread.get(self._place(one))) is not None:
            return error
        key = self._key(one.item, one.reference)
        if (plain := self._plain.get(key)) is not None:
            return plain
        past = self._pasts.get(self._place(one))
        return self._aware.get((key, past)) if past is not None else None

    def resolve(self, owned: Iterable[Owned], past_of: PastOf) -> None:
        """Decide about every reference whose image was scanned. Git's history is read only where it matters."""
        with self._lock:
            waiting = [one for one in owned if one.item is not None and one.reference.image.name in self.scans]
            for _ in range(ROUNDS):
                waiting, asks, checks = self._round(waiting, past_of)
                if not asks and not checks:
                    return
                self.scans |= fetch(asks, self.registry_of, self.memory, self.now, write=self.write)
                for check, answer in prove(checks, self.registry_of, self.verifier).items():
                    if isinstance(answer, Unproven):
                        self.failed[check] = answer
                    else:
                        self.proven[check] = answer

    def trace(self, landing: Iterable[Owned]) -> None:
        """Learn where the targets of these updates come from, each once a cycle; what nobody tells stays unknown."""
        with self._lock:
            updates = [(one, update) for one in landing if isinstance(update := self.of(one), Update) and update.digest]
            targets = {_content(update) for _, update in updates} - self._origins.keys()
            if targets:
                found = origins(targets, self.registry_of, self.memory.descriptions, self.now)
                self._origins |= {target: found.get(target) for target in targets}
            for one, update in updates:
                self._keep(one, replace(update, origin=self._origins[_content(update)]))

    def _round(
        self, waiting: list[Owned], past_of: PastOf
    ) -> tuple[list[Owned], dict[str, tuple[ImageRef, dict[str, Needs], Facts]], set[Check]]:
        left: list[Owned] = []
        checks: set[Check] = set()
        asks: dict[str, tuple[ImageRef, dict[str, Needs], Facts]] = {}
        for one in waiting:
            answer = self._decide(one, past_of)
            if answer is None:
                continue
            left.append(one)
            checks |= answer.checks - self.failed.keys()
            image = one.reference.image
            if not answer.asks:
                continue
            _, asked, _ = asks.setdefault(image.name, (image.bare, {}, self._facts_of(image.name)))
            for name, needs in answer.asks.items():
                asked[name] = asked.get(name, Needs(0)) | needs
        return left, asks, checks

    def _decide(self, one: Owned, past_of: PastOf) -> Unresolved | None:
        """Decide about one reference, unless its like was decided; return what is lacking."""
        assert one.item is not None
        if self.of(one) is not None:
            return None
        key, place = self._key(one.item, one.reference), self._place(one)
        if key in self._hanging and place not in self._pasts:
            return self._decide(one, past_of) if self._remember(place, one, past_of) else None
        answer = self._asked(one.item, one.reference, self._pasts.get(place))
        if isinstance(answer, Unresolved) and answer.history and place not in self._pasts:
            self._hanging.add(key)
            return self._decide(one, past_of)
        if isinstance(answer, Unresolved):
            return answer
        self._keep(one, answer)
        return None

    def _remember(self, place: _Place, one: Owned, past_of: PastOf) -> bool:
        """Read what our commits did at a place; say whether it could be read."""
        try:
            self._pasts[place] = past_of(one)
        except GitError as err:
            self.unread[place] = err  # nothing is written where nobody knows what a person did
            return False
        return True

    def _key(self, item: Item, reference: Reference) -> _Key:
        return item.name, reference.image, reference.former, reference.fills, mirror_of(self.registries, reference)

    def _place(self, one: Owned) -> _Place:
        reference, alone = one.reference, mirror_of(self.registries, one.reference)
        never = bool(reference.unwritable)  # what we never wrote has no past with us
        return one.origin, reference.file, reference.image, reference.former, never, alone

    def _facts_of(self, image: str) -> Facts:
        if image not in self._facts:
            found = self.scans[image]
            tags = () if isinstance(found, RegistryError) else found.tags
            self._facts[image] = Facts(listed={tag.name: tag for tag in tags if tag.digest})
        return self._facts[image]

    def _keep(self, one: Owned, answer: Decision | RegistryError) -> None:
        assert one.item is not None
        key, past = self._key(one.item, one.reference), self._pasts.get(self._place(one))
        if past is None:
            self._plain[key] = answer
        else:
            self._aware[key, past] = answer

    def _asked(self, item: Item, reference: Reference, past: Past | None) -> Decision | RegistryError | Unresolved:
        image, key = reference.image, self._key(item, reference)
        found = self.scans[image.name]
        if isinstance(found, RegistryError):
            return found
        facts = self._facts_of(image.name)
        window = state(item.windows, self.now)
        known = Known(
            facts.known,
            facts.missing,
            past,
            self.people.get(item.name, NOBODY),
            reference.former,
            window if isinstance(window, Closed) else None,
            self._rankings.get(key),
            reference.fills,
            key[-1],
            self.proven,
        )
        answer = decide(item.rule, image, found, self.now, known)
        if isinstance(answer, Unresolved) and not answer.asks and answer.checks and answer.checks <= self.failed.keys():
            return next(self.failed[check] for check in answer.checks)
        if isinstance(answer, Unresolved) and answer.ranking is not None:
            self._rankings[key] = answer.ranking
        return answer


def _content(update: Update) -> ImageRef:
    return update.target.at(None, update.digest)


def mirror_of(registries: Sequence[RegistrySettings], reference: Reference) -> ImageRef | None:
    """Return where what is written at a reference must be as well, by the name that it is to have; None: nowhere."""
    return mirror(registries, spelling(reference)) if registries else None


def spelling(reference: Reference) -> str:
    """Return the name that a reference is to have."""
    return reference.rename.new if reference.rename else reference.spelled
