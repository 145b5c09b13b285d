"""The file as the operator writes it, and the settings that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from updater.config.base import FilePath, Section, folder_of, reference, text
from updater.config.images import Defaults, ImageEntry, Item
from updater.config.network import Network
from updater.config.registries import RegistrySettings, match, renamed
from updater.config.repositories import RepositorySettings
from updater.config.sources import Sources
from updater.git.credentials.base import NOT_YET as GIT_LOGINS
from updater.model.image import ImageRef
from updater.policies.base import NOT_YET as POLICIES
from updater.registry.credentials.base import NOT_YET as REGISTRY_LOGINS
from updater.secrets import SecretRef

if TYPE_CHECKING:
    from updater.config.notifications import Notifications

_IMAGE = frozenset({"verify", "replaces", "marker"})  # gates and places that later versions bring

NOT_YET: Mapping[str, frozenset[str]] = {
    "": frozenset({"git_hosts", "clusters", "applications", "sync", "web"}),
    "registries[].aliases[]": frozenset({"must_exist"}),
    "registries[].credentials.kind": REGISTRY_LOGINS,
    "repositories[]": frozenset({"signing"}),
    "repositories[].commit": frozenset({"batch", "subject", "body"}),
    "repositories[].commit.group_by": frozenset({"*"}),
    "repositories[].credentials.kind": GIT_LOGINS,
    "repositories[].write_back.kind": frozenset({"branch", "pull_request"}),
    "defaults": _IMAGE,
    "defaults.policy.kind": POLICIES,
    "defaults.update[].policy.kind": POLICIES,
    "images[].policy.kind": POLICIES,
    "images[].update[].policy.kind": POLICIES,
    "images[]": _IMAGE,
    "images[].update[]": _IMAGE | {"write_back", "bump", "editor"},
    "defaults.update[]": _IMAGE | {"write_back", "bump", "editor"},
}
"""Keys of a mapping, or words of a field, that the contract knows and a later version builds; `*` is any word."""


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
    repositories: tuple[RepositorySettings, ...] = Field((), description="the Git repositories")
    images: tuple[ImageEntry, ...] = Field((), description="what is tracked")
    notifications: dict[str, Any] = Field({}, description="who is told what")  # typed by config/notifications.py


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured, checked and complete.

    `data` is absolute; `state` a SQLAlchemy URL. `network` of a registry, a repository or a channel is whole already:
    its own keys over those of the section. `notifications` is None where the file has no such section. `files`
    remembers what was read, for `changed`.
    """

    data: Path
    state: str | SecretRef
    log: Log = field(default_factory=Log)
    network: Network = field(default_factory=Network)
    registries: tuple[RegistrySettings, ...] = ()
    repositories: tuple[RepositorySettings, ...] = ()
    items: tuple[Item, ...] = ()
    notifications: Notifications | None = None
    files: Sources = field(default_factory=Sources)


def registry_for(settings: Settings, host: str, repository: str) -> RegistrySettings:
    """Return the settings of an image's registry: the longest match at a path boundary, else those of no entry."""
    found = match(settings.registries, f"{host}/{repository}")
    return found or RegistrySettings(host=host, network=settings.network)


def canonical(settings: Settings, ref: ImageRef) -> ImageRef:
    """Return the image under the name of its registry's entry, where it is spelled by an alias."""
    name = renamed(settings.registries, ref.name)
    return ref if name == ref.name else ImageRef.parse(name).at(ref.tag, ref.digest)
