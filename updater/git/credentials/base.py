"""What every login at a Git remote gives: a header for HTTP(S), or a key and the host keys for SSH."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from updater.plugins import Member

if TYPE_CHECKING:
    from updater.transport.http import Http


@dataclass(frozen=True, slots=True)
class Login:
    """What one git process needs to log in; never printed.

    `header` is a whole HTTP header line; `private_key` and `known_hosts` are the text of the files that ssh reads.
    `token` is what the API of a forge takes; empty where this login is none there.
    """

    header: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a login is used: the path of a repository at its forge, the address of the forge's API, and its client."""

    repository: str
    api: str
    http: Callable[[], Http]


class GitCredentials(Member):
    """A login at a Git remote. `schemes` are those of the URLs that it works for."""

    schemes: ClassVar[frozenset[str]]

    def at(self, place: Place) -> GitCredentials:  # noqa: ARG002
        """Return what logs in at this place; most logins are the same everywhere."""
        return self

    @abstractmethod
    def login(self) -> Login:
        """Resolve the secrets as they are now. Raises SecretError; ForgeError where a login is asked for somewhere."""

    def renew(self, refused: Login) -> bool:  # noqa: ARG002
        """Forget a login that was refused, and say whether the next one is another."""
        return False
