"""`notifications` of the CNCF distribution registry, of which many others are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import Hint, Hook, RegistryName, entries, texts


class Distribution(Hook):
    """A registry that sends events: set `endpoints[].url` to this hook, and the token among its `headers`.

    The registry of GitLab is one, too.
    """

    kind: Literal["distribution"] = "distribution"
    registry: RegistryName | None = Field(None, description="its name in images; default: the host that events name")

    proofs: ClassVar[frozenset[str]] = frozenset({"token", "path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repositories that a tag was pushed to; layers come before the tag that needs them."""
        for event in entries(document, "events"):
            repository, tag = texts(event, "target", "repository"), texts(event, "target", "tag")
            host = self.registry or texts(event, "request", "host")
            if texts(event, "action") == "push" and repository and tag and host:
                yield Hint(image=f"{host}/{repository}")
