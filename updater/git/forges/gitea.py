"""Gitea and Forgejo.

https://docs.gitea.com/api and https://codeberg.org/api/swagger
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from updater.errors import ForgeError
from updater.git.forges.asking import NotDone
from updater.git.forges.base import newest
from updater.git.forges.pulls import Pulls, Request
from updater.git.forges.shapes import Name, Number, Revision, Shape
from updater.model.pull_request import PullRequest

LOOKED_AT = 300  # requests of the whole repository: it cannot be asked for those of one branch
LABELS = 300
GREY = "#ededed"  # of labels that are made here, as on GitHub


class _End(Shape):
    label: Name = ""  # the branch; `ref` is another one once the branch is gone
    ref: Name
    sha: Revision = ""
    repo_id: int = 0


class _Request(Request):
    head: _End
    base: _End
    merged: bool = False

    @property
    def ours(self) -> bool:
        """Whether its branch is in the repository itself: forks have branches of that name too."""
        return self.head.repo_id == self.base.repo_id

    def plain(self) -> PullRequest:
        """Return it as everybody knows it."""
        return self.told(self.head.label or self.head.ref, self.base.ref, self.head.sha, merged=self.merged)


class _Label(Shape):
    id: Number
    name: Name


class _Repository(Shape):
    style: Literal["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"] = Field(
        "merge", alias="default_merge_style"
    )


class Gitea(Pulls[_Request]):
    """Gitea and Forgejo: a login is a token that may write repositories and issues."""

    kind: ClassVar[str] = "gitea"
    api_path: ClassVar[str] = "/api/v1"
    hosts: ClassVar[Mapping[str, str]] = {
        "codeberg.org": "https://codeberg.org/api/v1",
        "gitea.com": "https://gitea.com/api/v1",
    }
    beginnings: ClassVar[tuple[str, ...]] = ("gitea.", "forgejo.")

    shape = _Request
    taken: ClassVar[frozenset[int]] = frozenset({409, 422})

    @staticmethod
    def headers(token: str) -> Mapping[str, str]:
        """Return what every request carries."""
        return {"Authorization": f"token {token}"} if token else {}

    def _list(self, branch: str, target: str, state: str) -> tuple[PullRequest, ...]:
        query = {"state": state, "base_branch": target}  # the latter is news to older ones
        pages = self._api.pages(_Request, f"{self._at}/pulls", query, size="limit", most=LOOKED_AT)
        found = (one.plain() for one in pages if one.ours)
        return newest(one for one in found if (one.branch, one.target) == (branch, target))

    def label(self, number: int, labels: Sequence[str]) -> None:
        """Add labels, and make those that neither the repository nor its organisation has."""
        if not labels:
            return
        known = {label.name: label.id for label in self._labels()}
        ids = [known[name] if name in known else self._make(name) for name in labels]
        self._api.ask("POST", f"{self._at}/issues/{number}/labels", body={"labels": ids})

    def _labels(self) -> Iterator[_Label]:
        """Yield the labels of the organisation, where the owner is one, then those of the repository, which win."""
        try:
            owner = self._repository.partition("/")[0]
            yield from self._api.pages(_Label, f"/orgs/{quote(owner)}/labels", {}, size="limit", most=LABELS)
        except NotDone as err:
            if err.status not in {403, 404}:
                raise
        yield from self._api.pages(_Label, f"{self._at}/labels", {}, size="limit", most=LABELS)

    def _make(self, name: str) -> int:
        made = {"name": name, "color": GREY}
        return self._api.read(_Label, "POST", f"{self._at}/labels", body=made, again=False).id

    def merge_when_ready(self, request: PullRequest) -> bool:
        """Have it merged once its checks succeed, in the way that the repository is set to; at once without checks."""
        try:
            style = self._api.read(_Repository, "GET", self._at).style
            wanted: dict[str, Any] = {"Do": style, "merge_when_checks_succeed": True}
            wanted |= {"head_commit_id": request.head} if request.head else {}
            self._api.ask("POST", f"{self._at}/pulls/{request.number}/merge", body=wanted)
        except ForgeError as err:
            if isinstance(err, NotDone) and err.status == 409 and "scheduled" in err.said:
                return True
            if err.refused:
                return False
            raise
        return True
