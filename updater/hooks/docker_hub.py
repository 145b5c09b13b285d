"""Docker Hub: webhooks of a repository, which are not signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, texts
from updater.model.image import DOCKER_HUB


class DockerHub(Hook):
    """A webhook of a repository: its address is `/hooks/NAME/PATH`, where nobody guesses the path."""

    kind: Literal["docker_hub"] = "docker_hub"

    proofs: ClassVar[frozenset[str]] = frozenset({"path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repository that was pushed to; the address to call back is never called."""
        if repository := texts(document, "repository", "repo_name"):
            yield Hint(image=f"{DOCKER_HUB}/{repository}")
