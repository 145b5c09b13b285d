"""What the logins of clouds share: they are lent for a while, and for the registries of that cloud alone."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, PrivateAttr, StringConstraints

from updater.errors import RegistryError
from updater.registry.credentials.base import Credentials, Place, Proof
from updater.registry.credentials.kept import Kept, Lent

Host = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$")
]


class Cloud(Credentials, ABC):
    """A login that a cloud lends: fetched once when it is first wanted, renewed before its end.

    A registry that is not the cloud's would be handed a key to all of an account, so the host decides, matched as a
    whole (precedents: GO-2026-6225, and CVE-2026-105769 of kaniko, whose pattern had no end).
    """

    own: ClassVar[re.Pattern[str]]
    """The names of the cloud's registries in lower case."""
    looks: ClassVar[str]
    """How such names look, for people."""

    hosts: tuple[Host, ...] = Field(
        (), description="further names host[:port] of such registries, e.g. of a private endpoint; they get this login"
    )
    _kept: Kept | None = PrivateAttr(None)
    if TYPE_CHECKING:
        kind: str = ""

    def at(self, place: Place) -> Self:
        """Return what logs in at one registry and keeps the login for as long as it is good."""
        bound = self.model_copy()
        bound._kept = Kept(partial(bound._lend, place))  # noqa: SLF001  a copy of our own
        return bound

    def login(self, repository: str, deadline: float) -> Proof:
        """Return the login of now. Raises RegistryError and SecretError where there is none to be had."""
        if self._kept is None:
            raise RegistryError(f"a login of kind {self.kind} must know at which registry it is used")
        return self._kept.get(deadline)

    def renew(self, refused: Proof) -> bool:
        """Forget a login that was refused: it was taken back, or the rights behind it changed."""
        return self._kept is not None and self._kept.forget(refused)

    def fits(self, host: str) -> bool:
        """Say whether a registry may have this login."""
        return bool(self.own.fullmatch(host.lower())) or host.lower() in self.hosts

    @abstractmethod
    def lend(self, place: Place, deadline: float) -> Lent:
        """Fetch a login for a registry that may have it. Raises RegistryError and SecretError."""

    def _lend(self, place: Place, deadline: float) -> Lent:
        if not self.fits(place.host):
            raise RegistryError(
                f"a login of kind {self.kind} is not for {place.host}: expected {self.looks}, or its name in `hosts`"
            )
        return self.lend(place, deadline)
