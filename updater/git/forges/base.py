"""The family of forges: pull requests of one repository, whatever the service calls them.

A member knows the addresses and the shapes of its service; how it is asked, and what its refusals mean, is the same
for all of them (git/forges/asking.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from updater.errors import ForgeError
from updater.git.credentials.base import GitCredentials, Place
from updater.git.forges.asking import Api, NotDone
from updater.git.urls import parse
from updater.model.pull_request import PullRequest
from updater.plugins import classes
from updater.transport.http import Http
from updater.transport.words import plain

MOST = 100  # requests of one branch that are looked at; the newest ones tell what a person decided


class Forge(ABC):
    """One repository at one forge; threads share it. Whatever it is asked raises ForgeError where it cannot be done.

    kind        the name of its file, and of `git_hosts[].kind`
    api_path    where its API is below the address of the host
    hosts       its public hosts, with the address of their API; beginnings: how the hosts of one's own begin
    repository  the path of the repository at the forge, without .git
    """

    kind: ClassVar[str]
    api_path: ClassVar[str]
    hosts: ClassVar[Mapping[str, str]]
    beginnings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, api: Api, repository: str) -> None:
        self._api, self._repository = api, repository

    @staticmethod
    @abstractmethod
    def headers(token: str) -> Mapping[str, str]:
        """Return what every request carries; the token is empty for nobody."""

    @abstractmethod
    def requests(self, branch: str, target: str) -> tuple[PullRequest, ...]:
        """Return those of this branch into this target, in every state, newest first; at most 100."""

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


def kinds() -> Mapping[str, type[Forge]]:
    """Return the family by kind; it is read from this folder."""
    return classes(Forge)


def kind_of(url: str) -> str | None:
    """Return the kind of forge that an address of a repository lies at, where its host is known."""
    host = parse(url).host
    for kind, forge in kinds().items():
        if host in forge.hosts or host.startswith(forge.beginnings):
            return kind
    return None


def place_of(url: str, kind: str, api: str | None, http: Callable[[], Http]) -> Place:
    """Return where the API of the forge at an address is, and which repository is meant.

    The API speaks HTTPS at the same host. It has the port of a repository over HTTP; that of SSH says nothing of it.
    """
    forge, address = kinds()[kind], parse(url)
    plain_text = address.scheme == "http"  # on loopback, or where the operator says insecure
    port = f":{address.port}" if address.port and address.scheme in {"https", "http"} else ""
    own = f"{'http' if plain_text else 'https'}://{address.host}{port}{forge.api_path}"
    base = (api or forge.hosts.get(address.host) or own).rstrip("/")
    root = urlsplit(base).path.removesuffix(forge.api_path).strip("/")  # of a forge that is not at the root of its host
    path = address.path.strip("/").removesuffix(".git")
    return Place(path.removeprefix(f"{root}/") if root else path, base, http)


def forge_for(
    url: str, http: Http, *, kind: str | None = None, api: str | None = None, credentials: GitCredentials | None = None
) -> Forge | None:
    """Return the forge of a repository; None where nobody says what kind it is.

    `credentials` are those for its API, bound to the place already where they must be. Raises ValueError for what is
    no address of a repository.
    """
    kind = kind or kind_of(url)
    if kind is None:
        return None
    place, forge = place_of(url, kind, api, lambda: http), kinds()[kind]
    return forge(Api(place.api, http, forge.headers, credentials), place.repository)


def newest(found: Iterable[PullRequest]) -> tuple[PullRequest, ...]:
    """Return requests, the newest first, and as many as are looked at."""
    return tuple(sorted(found, key=lambda one: -one.number)[:MOST])


def people(names: Sequence[str]) -> dict[str, list[str]]:
    """Return whom GitHub and Gitea are asked for: users by name, and teams as `org/team` by their own."""
    users = [name for name in names if "/" not in name]
    return {"reviewers": users, "team_reviewers": [name.rpartition("/")[2] for name in names if "/" in name]}


def ask_each(number: int, names: Sequence[str], ask: Callable[[Sequence[str]], None]) -> None:
    """Ask them all at once; where that is refused, one by one. Raises ForgeError that names those who are not known."""
    if not names:
        return
    try:
        ask(names)
    except NotDone as err:
        if err.status not in {404, 422}:
            raise
    else:
        return
    strange, said = [], ""
    for name in names:
        try:
            ask([name])
        except NotDone as err:
            if err.status not in {404, 422}:
                raise
            strange.append(name)
            said = err.said
    if strange:
        raise strangers(number, strange, said)


def strangers(number: int, names: Sequence[str], said: str = "") -> ForgeError:
    """Return the error that names those who cannot be asked for a review."""
    listed = plain(", ".join(names), 500)
    return ForgeError(f"nobody asked {listed} to review {number}" + (f": {said}" if said else ""), refused=True)
