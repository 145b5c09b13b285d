"""GitHub: pushes to a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, branch_of, texts


class Github(Hook):
    """A webhook with a secret, for the event `push`; that of its container registry is `ghcr`."""

    kind: Literal["github"] = "github"

    proofs: ClassVar[frozenset[str]] = frozenset({"secret"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the branch that was pushed to."""
        url, branch = texts(document, "repository", "clone_url"), branch_of(texts(document, "ref"))
        if headers.get("x-github-event") == "push" and url and branch:
            yield Hint(repository=url, branch=branch, revision=texts(document, "after"))
