"""Gitea and Forgejo: pushes to a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, branch_of, texts


class Gitea(Hook):
    """A webhook of type Gitea (or Forgejo) with a secret, for push events, content type application/json."""

    kind: Literal["gitea"] = "gitea"

    proofs: ClassVar[frozenset[str]] = frozenset({"secret"})
    signature: ClassVar[str] = "x-gitea-signature"

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the branch that was pushed to."""
        url, branch = texts(document, "repository", "clone_url"), branch_of(texts(document, "ref"))
        if headers.get("x-gitea-event") == "push" and url and branch:
            yield Hint(repository=url, branch=branch, revision=texts(document, "after"))
