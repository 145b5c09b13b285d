"""GitLab: pushes to a project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, branch_of, texts


class Gitlab(Hook):
    """A webhook "Push events" with a secret token.

    Its container registry has none: on a server of one's own, `registry['notifications']` send what `distribution`
    understands.
    """

    kind: Literal["gitlab"] = "gitlab"

    proofs: ClassVar[frozenset[str]] = frozenset({"token"})

    def shown(self, headers: Mapping[str, str]) -> str:
        """Return the token, which has a header of its own."""
        return headers.get("x-gitlab-token", "")

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the branch that was pushed to."""
        url, branch = texts(document, "project", "git_http_url"), branch_of(texts(document, "ref"))
        if texts(document, "object_kind") == "push" and url and branch:
            yield Hint(repository=url, branch=branch, revision=texts(document, "after"))
