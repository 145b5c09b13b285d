"""The family of registry logins: each member knows how to come by what proves who we are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updater.plugins import Member

if TYPE_CHECKING:
    from updater.transport.http import Http


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves who we are at one registry, in one of three ways; never printed.

    username, password  for Basic, at the registry or at its token service
    identity_token      traded at the token service for a token (OAuth 2, grant `refresh_token`)
    bearer              sent to the registry as it is; no token service is asked
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a login is used: the registry's name as images spell it, `host[:port]`, and the way to the outside."""

    host: str
    http: Callable[[], Http]


class Credentials(Member, ABC):
    """How to log in to one registry. Nothing is read or asked before `login` is called."""

    def at(self, place: Place) -> Credentials:
        """Return what logs in at this registry, and keeps what it fetched; most logins are the same everywhere."""
        return self

    @abstractmethod
    def login(self, repository: str, deadline: float) -> Proof | None:
        """Return the proof as it is now, for a path at the registry; None: nobody there, ask without a login.

        Called for every token and for every request that carries the proof itself, from several threads: what takes
        time is kept. `deadline` is a time of time.monotonic(). Raises UpdaterError: SecretError where a secret cannot
        be read, RegistryError where somebody who gives logins does not.
        """

    def fits(self, host: str) -> bool:
        """Say whether a registry, `host[:port]`, may have this login; most are for whichever names them."""
        return True

    def renew(self, refused: Proof) -> bool:
        """Forget a proof that was refused, and say whether the next one may be another."""
        return False
