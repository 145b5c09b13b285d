"""The family of forges: pull requests of one repository, whatever the service calls them.

A member knows the addresses and the shapes of its service; how it is asked, and what its refusals mean, is the same
for all of them (git/forges/asking.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from updater.git.forges.asking import Api
from updater.model.pull_request import PullRequest

MOST = 100  # requests of one branch that are looked at; the newest ones tell what a person decided


class Forge(ABC):
    """One repository at one forge; threads share it. Whatever it is asked raises ForgeError where it cannot be done.

    kind        the name of its file, and of `git_hosts[].kind`
    api_path    where its API is below the address of the host
    repository  the path of the repository at the forge, without .git
    """

    kind: ClassVar[str]
    api_path: ClassVar[str]

    def __init__(self, api: Api, repository: str) -> None:
        self._api, self._repository = api, repository

    @abstractmethod
    def requests(self, branch: str, target: str) -> tuple[PullRequest, ...]:
        """Return those of this branch of this repository into this target, in every state, newest first; some 100."""

    @abstractmethod
    def open(self, branch: str, target: str, title: str, body: str) -> PullRequest:
        """Open a request; where there is an open one already, return it as it is."""

    @abstractmethod
    def revise(self, number: int, title: str, body: str) -> PullRequest:
        """Give a request another title and text."""

    @abstractmethod
    def label(self, number: int, labels: Sequence[str]) -> None:
        """Add the labels that are missing, and keep those that people added."""

    @abstractmethod
    def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Ask people for a review besides those who were asked. A name that the forge does not know is an error."""

    @abstractmethod
    def close(self, number: int, comment: str) -> None:
        """Say why, where there is something to say, and close a request."""

    @abstractmethod
    def merge_when_ready(self, request: PullRequest) -> bool:
        """Have the forge merge it once its own rules allow that. False where the forge cannot; never raises for it."""
