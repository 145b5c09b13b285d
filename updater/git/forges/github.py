"""GitHub and GitHub Enterprise Server.

https://docs.github.com/en/rest/pulls/pulls and https://docs.github.com/en/graphql/reference/mutations
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from updater.errors import ForgeError
from updater.git.forges.asking import read
from updater.git.forges.base import MOST, newest
from updater.git.forges.pulls import Pulls, Request
from updater.git.forges.shapes import Name, Number, Revision, Shape
from updater.model.pull_request import PullRequest
from updater.transport.http import Answer

_QUERY = """query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    autoMergeAllowed
    viewerDefaultMergeMethod
    pullRequest(number: $number) {
      id
      mergeStateStatus
      autoMergeRequest { enabledAt }
      commits(last: 1) { nodes { commit { oid statusCheckRollup { state } } } }
    }
  }
}"""
_ENABLE = """mutation($input: EnablePullRequestAutoMergeInput!) {
  enablePullRequestAutoMerge(input: $input) { pullRequest { autoMergeRequest { enabledAt } } }
}"""


class _Repository(Shape):
    id: Number


class _End(Shape):
    ref: Name
    sha: Revision = ""
    repo: _Repository | None = None


class _Request(Request):
    head: _End
    base: _End

    @property
    def ours(self) -> bool:
        """Whether its branch is in the repository itself: forks have branches of that name too."""
        return self.head.repo is not None and self.base.repo is not None and self.head.repo.id == self.base.repo.id

    def plain(self) -> PullRequest:
        """Return it as everybody knows it."""
        return self.told(self.head.ref, self.base.ref, self.head.sha, merged=self.merged_at is not None)


class _Rollup(Shape):
    state: str


class _Head(Shape):
    oid: Revision
    status: _Rollup | None = Field(None, alias="statusCheckRollup")


class _Node(Shape):
    commit: _Head


class _Commits(Shape):
    nodes: list[_Node] = Field(max_length=1)


class _Enabled(Shape):
    at: str | None = Field(alias="enabledAt")


class _Merge(Shape):
    id: Annotated[str, Field(min_length=1, max_length=200)]
    status: str = Field(alias="mergeStateStatus")
    auto: _Enabled | None = Field(alias="autoMergeRequest")
    commits: _Commits

    def passed(self, head: str) -> bool:
        """Whether there is nothing to wait for: checks ran on this very commit, and all is well."""
        commit = self.commits.nodes[0].commit if self.commits.nodes else None
        fine = commit is not None and commit.status is not None and commit.status.state == "SUCCESS"
        return fine and commit is not None and commit.oid == head and self.status == "CLEAN"


class _Rules(Shape):
    allowed: bool = Field(alias="autoMergeAllowed")
    method: Literal["MERGE", "SQUASH", "REBASE"] = Field(alias="viewerDefaultMergeMethod")
    request: _Merge = Field(alias="pullRequest")


class _Found(Shape):
    repository: _Rules


class _Data(Shape):
    data: _Found


class _Errors(Shape):
    errors: tuple[Any, ...] = ()


class GitHub(Pulls[_Request]):
    """GitHub: a login may be a github_app, or a token with the rights to contents and pull requests."""

    kind: ClassVar[str] = "github"
    api_path: ClassVar[str] = "/api/v3"
    hosts: ClassVar[Mapping[str, str]] = {"github.com": "https://api.github.com"}

    shape = _Request
    taken: ClassVar[frozenset[int]] = frozenset({422})

    @staticmethod
    def headers(token: str) -> Mapping[str, str]:
        """Return what every request carries."""
        login = {"Authorization": f"Bearer {token}"} if token else {}
        return login | {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

    def _list(self, branch: str, target: str, state: str) -> tuple[PullRequest, ...]:
        query = {"head": f"{self._repository.partition('/')[0]}:{branch}", "base": target, "state": state,
                 "sort": "created", "direction": "desc"}  # fmt: skip
        pages = self._api.pages(_Request, f"{self._at}/pulls", query, size="per_page", most=MOST)
        fitting = [one for one in pages if one.ours and (one.head.ref, one.base.ref) == (branch, target)]
        return newest(one.plain() for one in fitting)

    def label(self, number: int, labels: Sequence[str]) -> None:
        """Add labels; GitHub makes those that the repository has not."""
        if labels:
            self._api.ask("POST", f"{self._at}/issues/{number}/labels", body={"labels": list(labels)})

    def merge_when_ready(self, request: PullRequest) -> bool:
        """Turn on auto-merge.

        GitHub has it only where the repository allows it, and refuses it once there is nothing left to wait for: then
        it is merged at once, where checks ran on this very commit and all passed.
        """
        owner, _, name = self._repository.partition("/")
        try:
            rules = self._graphql(_QUERY, {"owner": owner, "name": name, "number": request.number})
            if rules is None or not rules.allowed:
                return False
            if rules.request.auto is not None:
                return True
            if rules.request.passed(request.head):
                merge = {"sha": request.head, "merge_method": rules.method.lower()}
                self._api.ask("PUT", f"{self._at}/pulls/{request.number}/merge", body=merge)
                return True
            wanted = {"pullRequestId": rules.request.id, "mergeMethod": rules.method}
            wanted |= {"expectedHeadOid": request.head} if request.head else {}
            answer = self._send(_ENABLE, {"input": wanted})
        except ForgeError as err:
            if err.refused:
                return False
            raise
        return not read(_Errors, answer, "GraphQL").errors

    def _graphql(self, query: str, variables: Mapping[str, Any]) -> _Rules | None:
        """Return what was asked for; None where GitHub would not say it all."""
        answer = self._send(query, variables)
        if read(_Errors, answer, "GraphQL").errors:
            return None
        return read(_Data, answer, "GraphQL").data.repository

    def _send(self, query: str, variables: Mapping[str, Any]) -> Answer:
        base = self._api.base
        url = f"{base.removesuffix('/v3')}/graphql"  # GitHub Enterprise Server has it beside the REST API
        return self._api.ask("POST", url, body={"query": query, "variables": variables})
