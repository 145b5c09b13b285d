"""Makes every client from the configuration: the only place that does."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from updater.config.forges import api_login, forge_kind
from updater.config.images import Item
from updater.config.network import Network
from updater.config.repositories import RepositorySettings
from updater.config.settings import Settings, canonical, git_host_for, registry_for
from updater.editors.document import Words
from updater.errors import ConfigError, ForgeError, Problem
from updater.git.clone import Clone
from updater.git.credentials.base import GitCredentials
from updater.git.forges.base import Forge, forge_for, place_of
from updater.git.remote import Remote
from updater.git.signing import Signing
from updater.model.commit import Commit
from updater.model.event import Event
from updater.model.image import ImageRef
from updater.pipeline.facts import Memory
from updater.pipeline.find import Finder, policies_of
from updater.pipeline.look import World
from updater.registry.client import Registry
from updater.registry.credentials.base import Place
from updater.registry.host import Hosts
from updater.secrets import SecretRef
from updater.transport.http import Http
from updater.transport.pace import Budget

if TYPE_CHECKING:
    from updater.store.database import Database

T = TypeVar("T")

Logins = Callable[[RepositorySettings, GitCredentials | None], GitCredentials | None]
"""Returns a login, bound to a repository."""

PRIVATE = 0o700  # of the data folder: clones hold what people keep in private repositories
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Counting:
    """Who counts: registry, endpoint and code of a request, pushes, a repository where one came second, events."""

    asked: Callable[[str, str, str], object] = lambda _registry, _endpoint, _code: None
    pushed: Callable[[Commit], object] = lambda _commit: None
    conflicted: Callable[[str], object] = lambda _repository: None
    happened: Callable[[Sequence[Event]], object] = lambda _events: None


NOBODY = Counting()


@contextmanager
def build(
    settings: Settings,
    *,
    everything: bool = False,
    database: Database | None = None,
    written: Callable[[], object] = lambda: None,
    counting: Counting = NOBODY,
    hosts: Hosts | None = None,
) -> Iterator[World]:
    """Yield the clients of one configuration and close them at the end.

    `everything` finds references to every image, not only to those that are tracked. The state is opened when it is
    first needed, unless a database is given, which stays open. `written` is called when there is something to send;
    `counting` is told what happens in rooms that do not know it. `hosts` are the registries' as they were known before.
    """
    prepare(settings.data)
    clients: list[Http] = []
    closing: list[Database] = []
    http, hosts = _once(partial(_http, clients)), hosts or Hosts()
    words = None if everything else words_of(settings.items)
    policies = policies_of(settings.items)
    finder = _once(lambda _repo, _branch: Finder(words, partial(canonical, settings), policies))

    @_once
    def registry_at(host: str, entry: str) -> Registry:
        found = registry_for(settings, host, entry)
        login = found.credentials
        return Registry(
            host,
            http=http(found.network),
            endpoint=found.endpoint,
            credentials=login.at(Place(host, partial(http, found.network))) if login else None,
            insecure=found.insecure,
            trusted_realms=found.trusted_realms,
            concurrency=found.concurrency if "concurrency" in found.model_fields_set else None,
            budget=Budget(found.rate, found.burst) if found.rate else None,
            hosts=hosts,
            asked=partial(counting.asked, host),
        )

    def registry_of(image: ImageRef) -> Registry:
        entry = registry_for(settings, image.registry, image.repository)
        return registry_at(image.registry, entry.host.partition("/")[2])

    login_of = logins(settings)
    clone_of = clones(settings, login_of)
    try:
        yield World(
            settings,
            registry_of,
            clone_of,
            lambda repo, branch: finder(repo.name, branch),
            _once(partial(_memory, closing, database, settings, written, counting.happened)),
            pushed=counting.pushed,
            conflicted=counting.conflicted,
            forge_of=forges(settings, http, login_of),
        )
    finally:
        for client in clients:
            client.close()
        for state in closing:
            state.close()


def logins(settings: Settings) -> Logins:
    """Return what binds a login to the repository that it is used at, once: some keep a token for it."""

    @_once
    def bound(_name: str, repository: RepositorySettings, credentials: GitCredentials) -> GitCredentials:
        host = git_host_for(settings, repository.url)
        kind = forge_kind(repository, host) or "github"  # whose apps are the only login that cares
        place = place_of(repository.url, kind, host.api if host else None, partial(http_of, repository.network))
        return credentials.at(place)

    return lambda repository, login: bound(repository.name, repository, login) if login else None


def clones(settings: Settings, login_of: Logins | None = None) -> Callable[[RepositorySettings], Clone]:
    """Return what gives each repository its clone, made once."""
    made = _once(partial(_clone, settings.data, login_of or logins(settings)))
    return lambda repository: made(repository.name, repository)


def forges(
    settings: Settings, http: Callable[[Network], Http], login_of: Logins
) -> Callable[[RepositorySettings], Forge]:
    """Return what gives each repository its forge, made once. It raises ForgeError where nobody knows its kind."""

    @_once
    def made(_name: str, repository: RepositorySettings) -> Forge | None:
        host = git_host_for(settings, repository.url)
        return forge_for(
            repository.url,
            http(repository.network),
            kind=forge_kind(repository, host),
            api=host.api if host else None,
            credentials=login_of(repository, api_login(repository, host)),
        )

    def forge_of(repository: RepositorySettings) -> Forge:
        found = made(repository.name, repository)
        if found is None:
            raise ForgeError(
                f"{repository.name}: nobody knows what kind its forge is: say it in git_hosts", refused=True
            )
        return found

    return forge_of


def _once(make: Callable[..., T]) -> Callable[..., T]:
    """Make one client for each key, also where several threads ask for it at the same time."""
    made: dict[tuple[Any, ...], T] = {}
    lock = threading.RLock()  # a registry's client asks for its HTTP client

    def get(*key: Any) -> T:
        with lock:
            if key not in made:
                made[key] = make(*key)
            return made[key]

    return get


def _memory(
    closing: list[Database],
    database: Database | None,
    settings: Settings,
    written: Callable[[], object],
    happened: Callable[[Sequence[Event]], object],
) -> Memory:
    from updater.daemon.remember import open_state  # SQLAlchemy is loaded where the state is used
    from updater.store.descriptions import Descriptions
    from updater.store.holds import Holds
    from updater.store.journal import Journal
    from updater.store.tags import Tags

    if database is None:
        closing.append(database := open_state(settings))
    return Memory(Tags(database), Descriptions(database), Holds(database), Journal(database, written, happened))


def prepare(data: Path) -> None:
    """Make the data folder, for nobody else's eyes. Raises ConfigError where there can be none."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    except OSError as err:
        raise unusable(data, err) from err


def unusable(data: Path, err: OSError) -> ConfigError:
    """Return what to say of a data folder that cannot be worked in."""
    found = f"a folder that cannot be used ({err.strerror})"
    return ConfigError([Problem(str(data), 0, 0, "data", found, "a folder that this user may write")])


def words_of(items: tuple[Item, ...]) -> Words | None:
    """Return what a document must mention to concern any of the items: the last literal part of each image's name.

    A pattern without any literal part concerns everything: None.
    """
    words: set[str] = set()
    for item in items:
        name = item.exact.repository if item.exact else (item.pattern or "").partition("/")[2]
        literal = [part for part in name.split("/") if _SEGMENT.fullmatch(part)]
        if not literal:
            return None
        words |= {literal[-1], *(name.rpartition("/")[2] for name in item.replaces)}
        words |= {item.marker} if item.marker else set()
    return Words(words)


def http_of(network: Network) -> Http:
    """Return a client for connections as the operator wants them. Raises SecretError."""
    proxy = network.proxy.resolve() if isinstance(network.proxy, SecretRef) else network.proxy
    return Http(ca_file=network.ca_file, proxy=proxy, no_proxy=network.no_proxy)


def _http(clients: list[Http], network: Network) -> Http:
    clients.append(made := http_of(network))
    return made


def _clone(data: Path, login_of: Logins, _name: str, repository: RepositorySettings) -> Clone:
    """Everything with one URL shares a clone, whatever name it has in the configuration."""
    name = _ODD.sub("-", repository.url.rstrip("/").rpartition("/")[2])[:40]
    folder = f"{name}-{hashlib.sha256(repository.url.encode()).hexdigest()[:12]}"
    remote = Remote(
        name=repository.name,
        url=repository.url,
        insecure=repository.insecure,
        credentials=login_of(repository, repository.credentials),
        ca_file=repository.network.ca_file,
        proxy=repository.network.proxy,
        no_proxy=repository.network.no_proxy,
    )
    signing = Signing(repository.signing.kind, repository.signing.key) if repository.signing else None
    return Clone(data / "clones" / folder, remote, signing=signing)
