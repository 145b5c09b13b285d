"""GitLab: merge requests.

https://docs.gitlab.com/api/merge_requests/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from updater.errors import ForgeError
from updater.git.forges.asking import NotDone
from updater.git.forges.base import MOST, Forge, newest, strangers
from updater.git.forges.shapes import Body, Link, Name, Number, Revision, Shape, Time, Title, first, fitted
from updater.model.pull_request import PullRequest, State

_STATES = {"opened": State.OPEN, "locked": State.OPEN, "closed": State.CLOSED, "merged": State.MERGED}


class _User(Shape):
    id: Number
    username: Name


class _Request(Shape):
    iid: Number
    web_url: Link
    state: Literal["opened", "closed", "merged", "locked"]  # locked: it is being merged
    title: Title
    description: Body = ""
    source_branch: Name
    target_branch: Name
    source_project_id: Number | None = None
    target_project_id: Number | None = None
    sha: Revision = ""
    merge_commit_sha: Revision = ""
    squash_commit_sha: Revision = ""
    merged_at: Time | None = None
    closed_at: Time | None = None
    updated_at: Time | None = None
    reviewers: tuple[_User, ...] = ()
    merge_when_pipeline_succeeds: bool = False

    @property
    def ours(self) -> bool:
        """Whether its branch is in the project itself: forks have branches of that name too."""
        return self.source_project_id is not None and self.source_project_id == self.target_project_id

    def plain(self) -> PullRequest:
        """Return it as everybody knows it; a fast-forward makes no commit of its own."""
        state = _STATES[self.state]
        merged = self.merge_commit_sha or self.squash_commit_sha or self.sha
        return PullRequest(
            number=self.iid, url=self.web_url, state=state, branch=self.source_branch, target=self.target_branch,
            title=self.title, body=self.description, head=self.sha, merged=merged if state is State.MERGED else "",
            changed_at=first(self.merged_at, self.closed_at, self.updated_at),
        )  # fmt: skip


class GitLab(Forge):
    """GitLab: a login is a token with the scope `api`; of a project or a group, or somebody's own."""

    kind: ClassVar[str] = "gitlab"
    api_path: ClassVar[str] = "/api/v4"
    hosts: ClassVar[Mapping[str, str]] = {"gitlab.com": "https://gitlab.com/api/v4"}
    beginnings: ClassVar[tuple[str, ...]] = ("gitlab.",)

    @staticmethod
    def headers(token: str) -> Mapping[str, str]:
        """Return what every request carries: OAuth's header, which takes every kind of token."""
        return {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def _at(self) -> str:
        return f"/projects/{quote(self._repository, safe='')}/merge_requests"

    def requests(self, branch: str, target: str) -> tuple[PullRequest, ...]:
        """Return those of this branch into this target, newest first."""
        return self._list(branch, target, "all")

    def _list(self, branch: str, target: str, state: str) -> tuple[PullRequest, ...]:
        query = {"source_branch": branch, "target_branch": target, "state": state,
                 "order_by": "created_at", "sort": "desc"}  # fmt: skip
        pages = self._api.pages(_Request, self._at, query, size="per_page", most=MOST)
        fitting = [one for one in pages if one.ours and (one.source_branch, one.target_branch) == (branch, target)]
        return newest(one.plain() for one in fitting)

    def open(self, branch: str, target: str, title: str, body: str) -> PullRequest:
        """Open a request; GitLab answers 409 where there is one already."""
        title, body = fitted(title, body)
        made = {"title": title, "description": body, "source_branch": branch, "target_branch": target}
        try:
            return self._api.read(_Request, "POST", self._at, body=made).plain()
        except NotDone as err:
            if err.status in {409, 422} and (there := self._list(branch, target, "opened")):
                return there[0]
            raise

    def revise(self, number: int, title: str, body: str) -> PullRequest:
        """Give a request another title and text."""
        title, body = fitted(title, body)
        return self._change(number, {"title": title, "description": body}).plain()

    def _change(self, number: int, fields: Mapping[str, Any]) -> _Request:
        return self._api.read(_Request, "PUT", f"{self._at}/{number}", body=fields)

    def label(self, number: int, labels: Sequence[str]) -> None:
        """Add labels; GitLab makes those that the project has not. A comma is no part of a label there."""
        if odd := [label for label in labels if "," in label]:
            raise ForgeError(f"GitLab has no labels with a comma: {odd[0][:100]}", refused=True)
        if labels:
            self._change(number, {"add_labels": ",".join(labels)})

    def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Ask users by name, besides those who were asked: GitLab would take ours in their place."""
        found = {name: self._user(name) for name in reviewers}
        known = {user.id for user in found.values() if user}
        if known:
            request = self._api.read(_Request, "GET", f"{self._at}/{number}")
            there = {user.id for user in request.reviewers}
            if not known <= there:
                self._change(number, {"reviewer_ids": sorted(there | known)})
        if strange := [name for name, user in found.items() if user is None]:
            raise strangers(number, strange)

    def _user(self, name: str) -> _User | None:
        found = self._api.read(list[_User], "GET", "/users", query={"username": name})
        return next((user for user in found if user.username.lower() == name.lower()), None)

    def close(self, number: int, comment: str) -> None:
        """Say why, and close a request."""
        if comment:
            said = fitted("", comment)[1]
            self._api.ask("POST", f"{self._at}/{number}/notes", body={"body": said}, again=False)
        self._change(number, {"state_event": "close"})

    def merge_when_ready(self, request: PullRequest) -> bool:
        """Have it merged when its pipeline succeeds.

        GitLab answers 405 or 422 while it has not looked at a new request yet; and it merges at once what has no
        pipeline, unless the project says that pipelines must succeed.
        """
        wanted: dict[str, Any] = {
            "auto_merge": True,
            "merge_when_pipeline_succeeds": True,
        }
        try:
            if self._api.read(_Request, "GET", f"{self._at}/{request.number}").merge_when_pipeline_succeeds:
                return True
            sha = {"sha": request.head} if request.head else {}
            self._api.ask("PUT", f"{self._at}/{request.number}/merge", body=wanted | sha)
        except ForgeError as err:
            if err.refused:
                return False
            raise
        return True
