"""The front door for browsers and scripts: where it listens, and who may come in."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from updater.config.base import Section, http_url, refusal
from updater.secrets import SecretRef

LISTEN = "127.0.0.1:8080"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def address(value: str) -> str:
    """Check an address to listen on. Raises ValueError."""
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found["port"]) > 65535:
        raise ValueError('expected an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"')
    return value


def split(value: str) -> tuple[str, int]:
    """Return the host and the port of an address that was checked; port 0 means any that is free."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Oidc(Section):
    """Login by an OpenID Connect provider: code flow with PKCE."""

    issuer: Annotated[str, AfterValidator(http_url)] = Field(description="its address; what it serves is read there")
    client_id: str = Field(min_length=1)
    client_secret: SecretRef
    groups_claim: str = Field("groups", min_length=1, description="the claim that names a person's groups")
    operators: tuple[str, ...] = Field((), description="groups whose members may act; []: all who can log in")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if importlib.util.find_spec("authlib") is None:
            raise refusal("", 'found a login that needs the package authlib, expected: pip install "updater[oidc]"')
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise refusal("issuer", "found an address without TLS, expected https://")
        return self


class Login(Section):
    """Who may see the page and act."""

    tokens: SecretRef | None = Field(None, description="file of hashed tokens, one a line: NAME:HASH")
    oidc: Oidc | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.tokens is None and self.oidc is None:
            raise ValueError("found a login without a way in, expected tokens or oidc")
        return self


class WebSettings(Section):
    """The page, the API and the hooks of `updater run`; `hooks` by name, the last part of the path."""

    listen: Annotated[str, AfterValidator(address)] = Field(LISTEN, description="address:port; UPDATER_LISTEN wins")
    public_url: Annotated[str, AfterValidator(http_url)] | None = Field(
        None, description="where people reach the page: links in messages, and where a login comes back to"
    )
    login: Login | None = Field(None, description="needed on any address but loopback")
    hooks: dict[str, Any] = Field({}, description="who may send hints to look now, by name")  # typed by config/hooks.py

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.login is not None and self.login.oidc is not None and self.public_url is None:
            said = "found a login at a provider without it, expected the address to which the provider leads back"
            raise refusal("public_url", said)
        return self

    @property
    def host(self) -> str:
        """The address alone."""
        return split(self.listen)[0]

    @property
    def port(self) -> int:
        """The port; 0 means any that is free."""
        return split(self.listen)[1]

    @property
    def open(self) -> bool:
        """Whether page and API need no login: only this machine reaches them, and none is configured."""
        return self.login is None and is_loopback(self.host)

    @property
    def closed(self) -> bool:
        """Whether page and API are not served at all: others reach them, and nobody could log in."""
        return self.login is None and not is_loopback(self.host)


def hook_name(name: str) -> bool:
    """Say whether a name can be the last part of a path."""
    return _NAME.fullmatch(name) is not None
