"""What the registries have: one list an image, in parallel across hosts, a few at a time within one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime

from updater.errors import RegistryError
from updater.model.image import ImageRef
from updater.model.tag import Needs, Scan, Tag
from updater.registry.client import Registry
from updater.registry.listing import Told
from updater.secrets import SecretError

RegistryOf = Callable[[ImageRef], Registry]
Scans = dict[str, Scan | RegistryError]


def scan(
    images: Iterable[ImageRef], registry_of: RegistryOf, now: datetime, done: Callable[[], None] = lambda: None
) -> Scans:
    """List the tags of every image, each once; a registry that fails fails only for its own images."""
    hosts: dict[str, dict[str, ImageRef]] = {}
    for image in images:
        hosts.setdefault(image.registry, {})[image.name] = image.bare
    found: Scans = {}
    with ExitStack() as pools:
        running: dict[str, Future[Scan | RegistryError]] = {}
        for names in hosts.values():
            workers = min(len(names), _concurrency(next(iter(names.values())), registry_of))
            pool = pools.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="scan"))
            running |= {name: pool.submit(_tags, image, registry_of, now) for name, image in names.items()}
        for name, future in running.items():
            found[name] = future.result()
            done()
    return found


def _tags(image: ImageRef, registry_of: RegistryOf, now: datetime) -> Scan | RegistryError:
    try:
        listing = registry_of(image).tags(image.repository)
    except RegistryError as err:
        return err
    except SecretError as err:
        return _unknown_login(image, err)
    tags = tuple(_tag(name, listing.told.get(name)) for name in listing.names)
    return Scan(image.name, tags, now, listing.complete, listing.why)


def _tag(name: str, told: Told | None) -> Tag:
    """Return a tag with what the list says of it: that is as fresh as the list, and costs no request."""
    if told is None:
        return Tag(name)
    known = Needs.NAMES | Needs.DIGEST | (Needs.CREATED if told.created else Needs(0))
    return Tag(name, told.digest, told.created, known=known)


def _unknown_login(image: ImageRef, err: SecretError) -> RegistryError:
    """A secret that is not there now is this registry's trouble, and nobody else's."""
    return RegistryError(f"{image.registry}: {err}")


def _concurrency(image: ImageRef, registry_of: RegistryOf) -> int:
    try:
        return registry_of(image).concurrency
    except SecretError:
        return 1  # each image is told on its own why its registry cannot be asked
