"""What a cycle learns of registries: each is listed, asked and decided about apart, so that none waits for another.

    with Study(...) as study:
        study.begin()                        # what is asked whatever Git says, while it says it
        for late in study.waves(checkouts):  # those that answer together, then those that are slow
            study.of(reference)              # what was decided

Registries whose images share a scalar in Git are studied together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

from updater.config.images import Item
from updater.errors import GitError, RegistryError
from updater.messages.commits import told
from updater.model.decision import Decision, Update
from updater.model.image import ImageRef
from updater.model.past import Past
from updater.model.tag import Needs, Scan
from updater.pipeline.find import Owned
from updater.pipeline.look import LOCK_WAIT, UNREACHED, Checkout, Progress, World, trail
from updater.pipeline.report import Failure, Outcome, Report
from updater.pipeline.resolve import Resolver, mirror_of, spelling
from updater.pipeline.rows import row_of, unreadable
from updater.pipeline.scan import Listing
from updater.pipeline.trail import DEPTH
from updater.secrets import SecretError

TOGETHER = 2.0  # seconds that one commit for all is worth, or as long again as the first of them took
REGISTRIES_AT_ONCE = 64  # a thread each, which mostly waits


def wanted(due: Iterable[Item], owned: Iterable[Owned]) -> dict[str, tuple[ImageRef, Needs]]:
    """Return the images to ask for, by name, with the facts that their items' policies need."""
    found: dict[str, tuple[ImageRef, Needs]] = {}
    names = {item.name for item in due if not item.suspend}
    for one in owned:
        if one.item is not None and one.item.name in names:
            image = one.reference.image.bare
            _, needs = found.get(image.name, (image, Needs(0)))
            found[image.name] = (image, needs | one.item.rule.policy.needs)
    return found


def companies(owned: Iterable[Owned]) -> list[tuple[str, ...]]:
    """Return the registries, together those whose images share a scalar in Git: it changes for all of them or stays."""
    found: dict[str, tuple[str, ...]] = {}
    readers: dict[tuple[str, str, int], str] = {}
    for one in owned:
        host = one.reference.image.registry
        found.setdefault(host, (host,))
        for place in one.reference.places:
            other = readers.setdefault((one.origin, one.reference.file, place.start), host) if place.users else host
            if other not in found[host]:
                company = found[other] + found[host]
                found |= dict.fromkeys(company, company)
    return list(dict.fromkeys(found.values()))


class Study:
    """The lists and decisions of one cycle, by registry. A context manager; shared by threads."""

    def __init__(
        self, world: World, due: Mapping[str, Item], now: datetime, *, write: bool, progress: Progress
    ) -> None:
        self._world, self._due, self._now, self._write = world, due, now, write
        self._memory = world.memory()
        self.people = self._memory.holds.read(now)
        self._listing = Listing(world.registry_of, now, partial(progress, "images"))
        self._listed: set[str] = set()  # images whose list was learnt
        self._resolvers: dict[str, Resolver] = {}  # by registry
        self._lock = threading.Lock()
        self._before: set[str] = set()  # registries of earlier waves
        self._ready: set[str] | None = None  # those of this wave; None: all that are left

    def __enter__(self) -> Self:
        self._listing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._listing.__exit__(kind, err, tb)

    def begin(self) -> None:
        """Ask for the lists of images that are named and whose policies need them."""
        due = (item for item in self._due.values() if item.exact and not item.suspend)
        self._listing.ask([item.exact for item in due if item.exact and Needs.NAMES in item.rule.policy.needs])

    def waves(self, checkouts: Sequence[Checkout]) -> Iterator[bool]:
        """Learn and decide, and yield whenever some registries are done; say whether it is not the first time.

        Who only looks waits for all. Whoever writes gets those first that were done within TOGETHER, or as long again
        as the first of them took; `mine` says what is in each wave.
        """
        apart = companies(self._owned(checkouts))
        for host in chain(*apart):
            self._resolver(host)
        if len(apart) > 1:
            with ThreadPoolExecutor(min(len(apart), REGISTRIES_AT_ONCE), thread_name_prefix="study") as pool:
                running = {pool.submit(self._study_all, checkouts, hosts): hosts for hosts in apart}
                while ready := self._done(running):
                    self._ready = ready if running else None
                    yield bool(self._before)
                    self._before |= ready
        else:
            self.learn(checkouts)
            yield False

    def _done(self, running: dict[Future[None], tuple[str, ...]]) -> set[str]:
        """Return the registries that are done, and forget them; the last time there are none."""
        begun = time.monotonic()
        wait(running, return_when=FIRST_COMPLETED)
        took = time.monotonic() - begun
        done, _ = wait(running, max(TOGETHER - took, took) if self._write else None)
        ready = {host for future in done for host in running.pop(future)}
        for future in done:
            future.result()
        return ready

    def mine(self, one: Owned) -> bool:
        """Whether a reference is of this wave."""
        host = one.reference.image.registry
        return host not in self._before and (self._ready is None or host in self._ready)

    def learn(self, checkouts: Sequence[Checkout], *, locked: bool = False) -> None:
        """Learn and decide what these checkouts show anew, in this wave. `locked` is who holds their clones."""
        owned = self._owned(checkouts)
        hosts = dict.fromkeys(one.reference.image.registry for one in owned if self.mine(one))
        self._study_all(checkouts, hosts, locked=locked)

    def of(self, one: Owned) -> Decision | RegistryError | GitError | None:
        """Return what was decided about a reference, None where nobody asked."""
        resolver = self._resolvers.get(one.reference.image.registry)
        return resolver.of(one) if resolver else None

    def tell(self, report: Report, checkouts: Sequence[Checkout]) -> None:
        """Say which registries failed, while listing or when a decision asked for more; and whom none of it reached."""
        at = {(c.branch.repository.name, c.head.branch): c.branch for c in checkouts}
        for resolver in self._resolvers.values():
            for name, found in resolver.scans.items():
                if isinstance(found, RegistryError):
                    report.failures.append(Failure(f"image {name}", str(found), found.retry_at))
                elif name in self._listed and not (found.complete and found.tags):
                    why = found.why or "the registry lists no tags at all"
                    report.failures.append(Failure(f"image {name}", f"the list of tags is incomplete: {why}"))
            for check, unproven in resolver.failed.items():
                report.failures.append(Failure(f"image {check.image.name}", str(unproven), unproven.retry_at))
            for (origin, *_), err in resolver.unread.items():
                name, branch, _ = origin.rsplit(" ", 2)
                here = at.get((name, branch))  # None: the remote has another default branch since
                cause = unreadable(here) if here else None
                report.failures.append(Failure(f"repository {name}", str(err), cause=cause))
        self._tell_realms(report, checkouts)

    def _tell_realms(self, report: Report, checkouts: Sequence[Checkout]) -> None:
        every = self._resolvers.values()
        scans = {name: found for one in every for name, found in one.scans.items()}
        asked = {one.reference.image.bare for c in checkouts for one in c.owned if one.item is not None}
        answered = {
            check.image.bare for one in self._resolvers.values() for check in one.proven
        }  # mirrors are among them
        tried = answered | {check.image.bare for one in self._resolvers.values() for check in one.failed}
        for image in sorted(asked | tried, key=lambda image: image.name):
            found = scans.get(image.name)
            realms = self._realms(image) if found or image in tried else ()
            if realms or isinstance(found, Scan) or image in answered:
                known = report.realms.get(image.registry, ())
                report.realms[image.registry] = tuple(dict.fromkeys((*known, *realms)))

    def _realms(self, image: ImageRef) -> tuple[str, ...]:
        try:
            return self._world.registry_of(image).untrusted_realms
        except (RegistryError, SecretError):
            return ()  # it was said why it cannot be asked

    def _owned(self, checkouts: Iterable[Checkout]) -> list[Owned]:
        return [one for c in checkouts for one in c.owned if one.item is not None and one.item.name in self._due]

    def _resolver(self, host: str) -> Resolver:
        world, every = self._world, self._world.settings.registries
        registries = every if any(alias.must_exist for one in every for alias in one.aliases) else ()
        with self._lock:
            if host not in self._resolvers:
                self._resolvers[host] = Resolver(
                    world.registry_of, self._memory, self.people, self._now, self._write, registries, world.verifier
                )
            return self._resolvers[host]

    def _study_all(self, checkouts: Sequence[Checkout], hosts: Iterable[str], *, locked: bool = False) -> None:
        for host in hosts:
            self._study(checkouts, host, locked=locked)

    def _study(self, checkouts: Sequence[Checkout], host: str, *, locked: bool = False) -> None:
        resolver, by_origin = self._resolver(host), {one.origin: c for c in checkouts for one in c.owned}
        owned = [one for one in self._owned(checkouts) if one.reference.image.registry == host]
        self._list(resolver, owned)

        def past_of(one: Owned) -> Past:
            return self._past(by_origin[one.origin], one, locked=locked)

        def lands(one: Owned) -> bool:
            if not isinstance(resolver.of(one), Update):
                return False
            row = row_of(by_origin[one.origin], one, self._due, resolver.of)
            return row is not None and row.outcome is Outcome.UPDATED

        resolver.resolve(owned, past_of)
        if self._write:  # a mere look shows no links
            resolver.trace([one for one in owned if lands(one)])

    def _list(self, resolver: Resolver, owned: Sequence[Owned]) -> None:
        """List what Git mentions; nobody needs images that it does not mention. Each is listed once."""
        asked = wanted(self._due.values(), owned)
        scans = self._listing.get([image for image, needs in asked.values() if Needs.NAMES in needs])
        with self._lock:  # several branches may ask for what appeared there
            news = {name: found for name, found in scans.items() if name not in self._listed}
            lists = [found for found in news.values() if isinstance(found, Scan)]
            believed = self._memory.tags.learn(lists, self._now, write=self._write)
            self._listed |= news.keys()
            # Complete: their names are not needed.
            nobody_asked = {name: Scan(name, (), self._now) for name in asked if name not in resolver.scans}
            resolver.scans |= {**nobody_asked, **news, **believed}  # in place: another branch may be deciding by it

    def _past(self, checkout: Checkout, one: Owned, *, locked: bool) -> Past:
        """Return what our commits did to a reference; when anyone else changed its file last, where that matters.

        Raises GitError.
        """
        world, file, image = self._world, one.reference.file, one.reference.image

        def lock() -> AbstractContextManager[None]:
            return nullcontext() if locked else world.clone_of(checkout.branch.repository).lock(LOCK_WAIT)

        people = self.people.get(one.item.name) if one.item else None
        mirrored = mirror_of(world.settings.registries, one.reference) is not None
        alone = spelling(one.reference) if mirrored else ""
        try:
            commits = trail(world, checkout, lock)
            past = commits.of(file, image.name, self._now, image.version, one.reference.former, alone=alone)
            if one.reference.unwritable:
                return replace(past, wrote=None, wrote_at=None, left=frozenset())  # ours stands elsewhere in the file
            if not past.excused(people.resumed_at if people else None):
                return past
            with lock():
                clone = world.clone_of(checkout.branch.repository)
                last = clone.log(checkout.head.revision, limit=1, path=file)
                if last and told(last[0].trailers):  # ours, which says nothing here: who was it before us?
                    before = clone.log(checkout.head.revision, limit=DEPTH, path=file)
                    last = tuple(one for one in before if not told(one.trailers))
        except UNREACHED as err:
            raise GitError(str(err)) from err
        return replace(past, changed_at=last[0].at if last else None)
