"""The file as the operator writes it, and the settings that come of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from updater.config.base import FilePath, Section, folder_of, reference, text
from updater.config.delivery import ApplicationsSettings, ClusterSettings, SyncSettings
from updater.config.images import Defaults, ImageEntry, Item
from updater.config.network import Network
from updater.config.registries import RegistrySettings, match, renamed
from updater.config.repositories import GitHost, RepositorySettings, below, fits, repository_name, same
from updater.config.sources import Sources
from updater.errors import Problem
from updater.model.image import ImageRef
from updater.secrets import SecretRef

if TYPE_CHECKING:
    from updater.config.notifications import Notifications
    from updater.config.web import WebSettings


def _level(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Log(Section):
    """What the program tells on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = Field(
        "info", description="the least important events that are told"
    )
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON")


STATE = "sqlite:///{data}/state.db"
_SQLITE = "sqlite:///"


def _state(value: Any) -> str | SecretRef:
    """Check the address of the state database; relative files count from the file that names them."""
    url = text(value, f"{STATE}, env:NAME or file:/path")
    if secret := reference(url):
        return secret
    if url.startswith("postgresql"):
        raise ValueError(f"a PostgreSQL database is not supported yet; expected {STATE}")
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path or path == ":memory:" or "?" in path:
        raise ValueError(f"expected {STATE}, or another sqlite:///path")
    if path.startswith("{data}"):
        return str(url)
    return f"{_SQLITE}{folder_of(url) / path}"


class Document(Section):
    """The configuration of the updater: which images to follow, and where Git mentions them."""

    include: tuple[str, ...] = Field((), description="more files or globs, relative to this file; lists are joined")
    data: FilePath | None = Field(
        None,
        description="folder of clones, caches and the heartbeat; default $XDG_STATE_HOME/updater; UPDATER_DATA wins",
    )
    state: Annotated[str | SecretRef, BeforeValidator(_state), WithJsonSchema({"type": "string"})] = Field(
        STATE, description="SQLAlchemy URL of the state, or a secret reference; UPDATER_STATE wins"
    )
    log: Log = Field(Log(), description="what is told on standard error")
    network: Network = Field(Network(), description="every outgoing connection")
    defaults: Defaults = Field(Defaults(), description="fields of an image that hold where the image is silent")
    registries: tuple[RegistrySettings, ...] = Field((), description="only those that need settings")
    git_hosts: tuple[GitHost, ...] = Field((), description="logins that repositories and applications share")
    repositories: tuple[RepositorySettings, ...] = Field((), description="the Git repositories")
    images: tuple[ImageEntry, ...] = Field((), description="what is tracked")
    notifications: dict[str, Any] = Field({}, description="who is told what")  # typed by config/notifications.py
    clusters: tuple[ClusterSettings, ...] = Field((), description="the clusters that applications go to")
    applications: tuple[ApplicationsSettings, ...] = Field((), description="where Application manifests are")
    sync: SyncSettings = Field(SyncSettings(), description="how applications are kept in sync")
    web: dict[str, Any] = Field({}, description="page, API and hooks of `updater run`")  # typed by config/web.py


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured, checked and complete.

    `data` is absolute; `state` a SQLAlchemy URL. `network` of a registry, a git host, a repository, a channel or a
    cluster is whole already: its own keys over those of the section. `notifications` is None where the file has no such
    section, and so is `web`: then it is as its defaults say. `warnings` are what is no mistake and does nothing.
    `files` remembers what was read, for `changed`.
    """

    data: Path
    state: str | SecretRef
    log: Log = field(default_factory=Log)
    network: Network = field(default_factory=Network)
    registries: tuple[RegistrySettings, ...] = ()
    repositories: tuple[RepositorySettings, ...] = ()
    items: tuple[Item, ...] = ()
    notifications: Notifications | None = None
    git_hosts: tuple[GitHost, ...] = ()
    clusters: tuple[ClusterSettings, ...] = ()
    applications: tuple[ApplicationsSettings, ...] = ()
    sync: SyncSettings = field(default_factory=SyncSettings)
    web: WebSettings | None = None
    files: Sources = field(default_factory=Sources)
    warnings: tuple[Problem, ...] = ()


def registry_for(settings: Settings, host: str, repository: str) -> RegistrySettings:
    """Return the settings of an image's registry: the longest match at a path boundary, else those of no entry."""
    found = match(settings.registries, f"{host}/{repository}")
    return found or RegistrySettings(host=host, network=settings.network)


def git_host_for(settings: Settings, url: str) -> GitHost | None:
    """Return the longest of `git_hosts` that an address of a repository lies at; None where there is none."""
    hosts = {host.host: host for host in settings.git_hosts}
    return hosts.get(below(url, hosts) or "")


def repository_for(settings: Settings, url: str, others: Iterable[str] = ()) -> RepositorySettings:
    """Return the settings of the repository that an application names by its address.

    It is the configured one that means the same, else one with what `git_hosts` say, else one without a login. Its
    name is the last segment of the address, with a short hash where a configured repository, or one of `others` (the
    addresses of all applications), has that name too. Raises ValueError for an address that cannot be used.
    """
    configured = [one for one in settings.repositories if same(one.url, url)]
    if configured:
        return next((one for one in configured if one.url == url), configured[0])
    host = git_host_for(settings, url)
    try:
        return RepositorySettings(
            name=_name(settings, url, others),
            url=url,
            credentials=host.credentials if host and fits(host.credentials, url) else None,
            network=host.network if host else settings.network,
        )
    except ValidationError as err:
        raise ValueError(err.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None


def _name(settings: Settings, url: str, others: Iterable[str]) -> str:
    name = repository_name({"url": url})
    taken = {one.name for one in settings.repositories}
    taken |= {repository_name({"url": other}) for other in others if not same(other, url)}
    if name not in taken:
        return name
    return f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:6]}"


def full_name(settings: Settings, spelled: str) -> str:
    """Return the name in full of an image as Git spells it; empty for what is none."""
    try:
        return canonical(settings, ImageRef.parse(spelled)).name
    except ValueError:
        return ""


def canonical(settings: Settings, ref: ImageRef) -> ImageRef:
    """Return the image under the name of its registry's entry, where it is spelled by an alias."""
    name = renamed(settings.registries, ref.name)
    return ref if name == ref.name else ImageRef.parse(name).at(ref.tag, ref.digest)
