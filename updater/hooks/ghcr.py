"""The container registry of GitHub: webhooks about packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import Hint, Hook, RegistryName, texts

EVENTS = frozenset({"registry_package", "package"})  # of the payload the key has the name of the event


class Ghcr(Hook):
    """A webhook of an organisation or repository with a secret, for the event `registry_package` or `package`."""

    kind: Literal["ghcr"] = "ghcr"
    registry: RegistryName = Field("ghcr.io", description="its name in images; another one with an enterprise server")

    proofs: ClassVar[frozenset[str]] = frozenset({"secret"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the image whose package was published; images spell their owner in small letters."""
        event = headers.get("x-github-event", "")
        if event not in EVENTS or texts(document, event, "package_type").lower() != "container":
            return
        owner = texts(document, event, "owner", "login") or texts(document, event, "namespace")
        name = texts(document, event, "name")
        if owner and name:
            yield Hint(image=f"{self.registry}/{owner}/{name}".lower())
