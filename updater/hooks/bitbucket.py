"""Bitbucket, Cloud and Data Center: pushes to a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, branch_of, entries, texts


class Bitbucket(Hook):
    """A webhook "Repository push" with a secret."""

    kind: Literal["bitbucket"] = "bitbucket"

    proofs: ClassVar[frozenset[str]] = frozenset({"secret"})
    signature: ClassVar[str] = "x-hub-signature"

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the branches that were pushed to."""
        event = headers.get("x-event-key")
        if event == "repo:push":
            yield from _cloud(document)
        elif event == "repo:refs_changed":
            yield from _data_center(document)


def _cloud(document: Any) -> Iterable[Hint]:
    url = texts(document, "repository", "links", "html", "href")
    for change in entries(document, "push", "changes"):
        branch = texts(change, "new", "name")
        if url and branch and texts(change, "new", "type") == "branch":
            yield Hint(repository=url, branch=branch, revision=texts(change, "new", "target", "hash"))


def _data_center(document: Any) -> Iterable[Hint]:
    """Without an address of its own it is cloned from /scm/PROJECT/REPOSITORY.git, below that of its page."""
    clones = entries(document, "repository", "links", "clone")
    urls = [texts(one, "href") for one in clones] or [_clone(document)]
    for change in entries(document, "changes"):
        branch = branch_of(texts(change, "ref", "id"))
        for url in filter(None, urls):
            if branch:
                yield Hint(repository=url, branch=branch, revision=texts(change, "toHash"))


def _clone(document: Any) -> str:
    """Return the address that a repository of Data Center is cloned from."""
    page = texts(document, "repository", "links", "self", 0, "href")
    project, name = texts(document, "repository", "project", "key"), texts(document, "repository", "slug")
    base, found, _ = page.partition("/projects/")
    return f"{base}/scm/{project.lower()}/{name}.git" if found and project and name else ""
