"""Settings of registries, and which of them an image belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from updater.config.base import Section, http_url, is_host, refusal, text
from updater.config.network import Network
from updater.model.durations import Rate
from updater.model.image import ImageRef
from updater.plugins import one_of
from updater.registry.credentials.base import Credentials

if TYPE_CHECKING:
    AnyCredentials = Credentials
else:
    AnyCredentials = one_of(Credentials)

_PLACE = "host[:port][/path], e.g. registry.example.com/team"


def place(value: Any) -> str:
    """Return `host[:port][/path]` as images spell it; every name of Docker Hub becomes docker.io."""
    host, slash, path = text(value, _PLACE).rstrip("/").partition("/")
    try:
        image = ImageRef.parse(f"{host}/{path or 'x'}/x")
    except ValueError:
        raise ValueError(f"expected {_PLACE}") from None
    if not is_host(host):
        raise ValueError(f"expected {_PLACE}")
    return f"{image.registry}{slash}{path}"


def _endpoint(value: Any) -> Any:
    """Take an address, or host[:port] alone."""
    address = text(value, "an address such as https://host:port")
    return http_url(address) if "://" in address else _host(address)


def _host(value: Any) -> str:
    if "/" in place(value):
        raise ValueError("expected host[:port]")
    return str(value).lower()


Place = Annotated[str, BeforeValidator(place)]
Host = Annotated[str, BeforeValidator(_host)]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]


class Alias(Section):
    """Another name of a registry in Git; references keep the name that they use."""

    name: Place = Field(description="host[:port][/path]")
    must_exist: bool = Field(
        default=False, description="ask it for the tag before that is written; with what an entry of its own says"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


class RegistrySettings(Section):
    """One registry, or a part of it; any OCI registry works without an entry."""

    host: Place = Field(description="host[:port][/path]; the longest match at a path boundary wins")
    aliases: tuple[Alias, ...] = Field(
        (), description="other names of it in Git: NAME, or {name: NAME, must_exist: true}"
    )
    endpoint: Endpoint | None = Field(None, description="ask this address instead of host")
    credentials: AnyCredentials | None = Field(None, description="login; null: anonymous")
    insecure: bool = Field(default=False, description="plain HTTP")
    trusted_realms: tuple[Host, ...] = Field((), description="other hosts that may receive the credentials for a token")
    concurrency: int = Field(4, ge=1, le=64, description="requests at a time")
    rate: Rate | None = Field(
        None, description="requests a second, e.g. 10/s; null: none but at hosts known to throttle"
    )
    burst: int = Field(50, ge=1, le=100_000, description="requests that may go out at once under a rate")
    network: Network = Field(Network(), description="overrides the network section, key by key")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if (self.endpoint or "").startswith("http://") and not self.insecure:
            raise refusal("endpoint", "plain HTTP; expected https://, or insecure: true beside it")
        host = self.host.partition("/")[0]
        if self.credentials is not None and not self.credentials.fits(host):
            said = f"a login of another cloud than that of {host}; expected one that fits, or the name in its `hosts`"
            raise refusal("credentials", said)
        return self


def names(entry: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Return the names of an entry as written: its host, and each alias with its number; none that is unreadable."""
    aliases = entry.get("aliases")
    listed = enumerate(aliases if isinstance(aliases, list) else ())
    spelled = [(entry.get("host"), None), *((a.get("name") if isinstance(a, dict) else a, n) for n, a in listed)]
    for name, number in spelled:
        with suppress(ValueError):
            yield place(name), number


def match(entries: Iterable[RegistrySettings], name: str) -> RegistrySettings | None:
    """Return the entry with the longest host that is `name` or ends at a path boundary of it."""
    fitting = [entry for entry in entries if within(name, entry.host)]
    return max(fitting, key=lambda entry: len(entry.host), default=None)


def within(name: str, place: str) -> bool:
    """Say whether an image's name lies at host[:port][/path]."""
    return name == place or name.startswith(f"{place}/")


def renamed(entries: Iterable[RegistrySettings], name: str) -> str:
    """Return the name with the longest alias that fits replaced by the registry's host."""
    alias, host = _alias(entries, name)
    return f"{host}{name[len(alias) :]}"


def mirror(entries: Iterable[RegistrySettings], spelled: str) -> ImageRef | None:
    """Return the image that Git spells, if that is by an alias at which tags must exist; None where it is not."""
    aliases = [alias for entry in entries for alias in entry.aliases]
    if not any(alias.must_exist for alias in aliases):
        return None
    image = ImageRef.parse(spelled).bare
    fitting = [alias for alias in aliases if within(image.name, alias.name)]
    alias = max(fitting, key=lambda alias: len(alias.name), default=None)
    return image if alias is not None and alias.must_exist else None


def respelled(entries: Iterable[RegistrySettings], spelled: str, new: str, written: str) -> str:
    """Return how to spell a new name where Git has `spelled`: by its alias, if both are of one entry."""
    known = tuple(entries)
    alias, host = _alias(known, ImageRef.parse(spelled).name)
    entry = match(known, new)
    return f"{alias}{new[len(host) :]}" if alias and entry and entry.host == host else written


def _alias(entries: Iterable[RegistrySettings], name: str) -> tuple[str, str]:
    """Return the longest alias that fits, and the registry's host; two empty texts where none does."""
    fitting = [(alias.name, entry.host) for entry in entries for alias in entry.aliases if within(name, alias.name)]
    return max(fitting, key=lambda pair: len(pair[0]), default=("", ""))
