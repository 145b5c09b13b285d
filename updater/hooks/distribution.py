"""`notifications` of the CNCF distribution registry, of which many others are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import MAX_HINTS, Hint, Hook, texts


class Distribution(Hook):
    """A registry that sends events: set `endpoints[].url` to this hook, and the token among its headers."""

    kind: Literal["distribution"] = "distribution"
    registry: str | None = Field(None, description="its name in images; default: the host that its events name")

    proofs: ClassVar[frozenset[str]] = frozenset({"token", "path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repositories that something was pushed to."""
        events = document.get("events") if isinstance(document, Mapping) else None
        for event in (events if isinstance(events, list) else [])[:MAX_HINTS]:
            repository = texts(event, "target", "repository")
            host = self.registry or texts(event, "request", "host")
            if texts(event, "action") == "push" and repository and host:
                yield Hint(image=f"{host}/{repository}")
