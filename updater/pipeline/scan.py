"""What the registries have: one list an image, in parallel across hosts, a few at a time within one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime
from types import TracebackType
from typing import Self

from updater.errors import RegistryError, UpdaterError
from updater.model.image import ImageRef
from updater.model.tag import Needs, Scan, Tag
from updater.registry.client import Registry
from updater.registry.host import Limit
from updater.registry.listing import Told
from updater.secrets import SecretError

RegistryOf = Callable[[ImageRef], Registry]
Scans = dict[str, Scan | RegistryError]


class Listing:
    """Lists that are on their way: each image once, a few at a time within a registry; shared by threads.

    A registry that fails fails only for its own images, and one that is slow keeps only those waiting who ask for them.
    `done` is told how many lists are there, of how many. A context manager.
    """

    def __init__(self, registry_of: RegistryOf, now: datetime, done: Callable[[int, int], object]) -> None:
        self._registry_of, self._now, self._done = registry_of, now, done
        self._lock = threading.RLock()  # a list that is there at once is counted by who asked
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: dict[str, Future[Scan | RegistryError]] = {}
        self._there = 0
        self._closing = ExitStack()

    def ask(self, images: Iterable[ImageRef]) -> None:
        """Begin with those that were not asked for yet."""
        with self._lock:
            for image in images:
                if image.name not in self._running:
                    self._begin(image.bare)

    def _begin(self, image: ImageRef) -> None:
        host = image.registry
        if host not in self._pools:
            pool = ThreadPoolExecutor(_concurrency(image, self._registry_of), thread_name_prefix="scan")
            self._pools[host] = self._closing.enter_context(pool)
        self._running[image.name] = self._pools[host].submit(_tags, image, self._registry_of, self._now)
        self._running[image.name].add_done_callback(self._came)

    def _came(self, _: object) -> None:
        with self._lock:
            self._there += 1
            self._done(self._there, len(self._running))

    def get(self, images: Collection[ImageRef]) -> Scans:
        """Return the lists of these images, by name, when they are all there."""
        self.ask(images)
        return {image.name: self._running[image.name].result() for image in images}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.close()
        self._running.clear()  # each list knows us by its callback: the tags would stay until Python looks for circles


def limits(images: Iterable[ImageRef], registry_of: RegistryOf) -> dict[str, Limit]:
    """Return how much may be pulled, by registry, of those that have said it; nobody is asked."""
    first: dict[str, ImageRef] = {}
    for image in images:
        first.setdefault(image.registry, image)
    found: dict[str, Limit] = {}
    for host, image in first.items():
        with suppress(UpdaterError):  # it is said elsewhere why it cannot be asked
            if (limit := registry_of(image).limit) is not None:
                found[host] = limit
    return found


def _tags(image: ImageRef, registry_of: RegistryOf, now: datetime) -> Scan | RegistryError:
    try:
        listing = registry_of(image).tags(image.repository)
    except RegistryError as err:
        return err
    except SecretError as err:
        return unknown_login(image, err)
    tags = tuple(_tag(name, listing.told.get(name)) for name in listing.names)
    return Scan(image.name, tags, now, listing.complete, listing.why)


def _tag(name: str, told: Told | None) -> Tag:
    """Return a tag with what the list says of it: that is as fresh as the list, and costs no request."""
    if told is None:
        return Tag(name)
    known = Needs.NAMES | Needs.DIGEST | (Needs.CREATED if told.created else Needs(0))
    return Tag(name, told.digest, told.created, known=known)


def unknown_login(image: ImageRef, err: SecretError) -> RegistryError:
    """Return what a secret that is not there now is to others: this registry's trouble, and nobody else's."""
    return RegistryError(f"{image.registry}: {err}")


def _concurrency(image: ImageRef, registry_of: RegistryOf) -> int:
    try:
        return registry_of(image).concurrency
    except SecretError:
        return 1  # each image is told on its own why its registry cannot be asked
