"""Harbor: webhooks of a project, in either of its formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import Hint, Hook, RegistryName, bearer, entries, texts
from updater.model.image import is_tag

PUSHED = frozenset({"PUSH_ARTIFACT", "harbor.artifact.pushed"})  # the second in the format CloudEvents


class Harbor(Hook):
    """A webhook "Artifact pushed"; the token, with `Bearer` before it or without, is what goes in "Auth Header"."""

    kind: Literal["harbor"] = "harbor"
    registry: RegistryName | None = Field(None, description="its name in images; default: the host that it names")

    proofs: ClassVar[frozenset[str]] = frozenset({"token", "path"})

    def shown(self, headers: Mapping[str, str]) -> str:
        """Return the token: Harbor sends the header as it was typed."""
        return bearer(headers) or headers.get("authorization", "")

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repository that was pushed to."""
        if texts(document, "type") not in PUSHED:
            return
        data = "event_data" if texts(document, "type") == "PUSH_ARTIFACT" else "data"
        repository = texts(document, data, "repository", "repo_full_name")
        for resource in entries(document, data, "resources"):
            host = self.registry or texts(resource, "resource_url").partition("/")[0]
            if host and repository and is_tag(texts(resource, "tag")):  # the parts of an index have a digest there
                yield Hint(image=f"{host}/{repository}")
