"""Azure Container Registry: webhooks with headers of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import Hint, Hook, RegistryName, texts


class Acr(Hook):
    """A webhook of Azure Container Registry with the custom header `Authorization: Bearer TOKEN`, action push."""

    kind: Literal["acr"] = "acr"
    registry: RegistryName | None = Field(None, description="its name in images; default: the host that it names")

    proofs: ClassVar[frozenset[str]] = frozenset({"token", "path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repository that was pushed to."""
        repository = texts(document, "target", "repository")
        host = self.registry or texts(document, "request", "host")
        if texts(document, "action") == "push" and repository and host:
            yield Hint(image=f"{host}/{repository}")
