"""How the program reaches the world."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from updater.config.base import FilePath, Section, url_or_secret
from updater.secrets import SecretRef

Proxy = Annotated[str | SecretRef, BeforeValidator(url_or_secret), WithJsonSchema({"type": "string"})]


class Network(Section):
    """Every outgoing connection, Git over HTTP included; a registry or a repository may override it key by key."""

    ca_file: FilePath | None = Field(None, description="PEM file of authorities to trust besides the usual ones")
    proxy: Proxy | None = Field(
        None, description="address of an HTTP proxy, as a secret reference where it holds a password; null: *_PROXY"
    )
    no_proxy: tuple[str, ...] = Field((), description="hosts and domains that are reached directly")
