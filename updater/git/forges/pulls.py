"""The REST of GitHub for pull requests, which Gitea and Forgejo took over: addresses, shapes and ways are the same."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar
from urllib.parse import quote

from updater.git.forges.asking import NotDone
from updater.git.forges.base import Forge, ask_each, people
from updater.git.forges.shapes import Body, Link, Number, Revision, Shape, Time, Title, first, fitted
from updater.model.pull_request import PullRequest, State


class Request(Shape):
    """What both say of a request; a member adds how it tells a merge, and where the branches are."""

    number: Number
    html_url: Link
    state: Literal["open", "closed"]
    title: Title
    body: Body = ""
    merged_at: Time | None = None
    closed_at: Time | None = None
    updated_at: Time | None = None
    merge_commit_sha: Revision = ""  # of an open request a trial of the forge's own

    def told(self, branch: str, target: str, head: str, *, merged: bool) -> PullRequest:
        """Return it as everybody knows it."""
        return PullRequest(
            number=self.number, url=self.html_url, state=State.MERGED if merged else State(self.state), branch=branch,
            target=target, title=self.title, body=self.body, head=head, merged=self.merge_commit_sha if merged else "",
            changed_at=first(self.merged_at, self.closed_at, self.updated_at),
        )  # fmt: skip

    @abstractmethod
    def plain(self) -> PullRequest:
        """Return it as everybody knows it."""


R = TypeVar("R", bound=Request)


class Pulls(Forge, Generic[R]):
    """A forge with that REST. `shape` is a request of it, `taken` how it says that there is an open one already."""

    shape: type[R]
    taken: ClassVar[frozenset[int]]

    @property
    def _at(self) -> str:
        return f"/repos/{quote(self._repository)}"

    def requests(self, branch: str, target: str) -> tuple[PullRequest, ...]:
        """Return those of this branch into this target, newest first."""
        return self._list(branch, target, "all")

    @abstractmethod
    def _list(self, branch: str, target: str, state: str) -> tuple[PullRequest, ...]:
        """Return those in a state, or in `all`."""

    def open(self, branch: str, target: str, title: str, body: str) -> PullRequest:
        """Open a request, or return the one that is open."""
        title, body = fitted(title, body)
        made = {"title": title, "body": body, "head": branch, "base": target}
        try:
            return self._api.read(self.shape, "POST", f"{self._at}/pulls", body=made).plain()
        except NotDone as err:
            if err.status in self.taken and (there := self._list(branch, target, "open")):
                return there[0]
            raise

    def revise(self, number: int, title: str, body: str) -> PullRequest:
        """Give a request another title and text."""
        title, body = fitted(title, body)
        return self._change(number, {"title": title, "body": body}).plain()

    def _change(self, number: int, fields: Mapping[str, Any]) -> R:
        return self._api.read(self.shape, "PATCH", f"{self._at}/pulls/{number}", body=fields)

    def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Ask users, and teams as `org/team`."""

        def ask(names: Sequence[str]) -> None:
            self._api.ask("POST", f"{self._at}/pulls/{number}/requested_reviewers", body=people(names))

        ask_each(number, reviewers, ask)

    def close(self, number: int, comment: str) -> None:
        """Say why, and close a request."""
        if comment:
            said = fitted("", comment)[1]
            self._api.ask("POST", f"{self._at}/issues/{number}/comments", body={"body": said}, again=False)
        self._change(number, {"state": "closed"})
