"""How a registry is reached, and how it greets somebody who asks for nothing and shows no login."""

from __future__ import annotations

from dataclasses import dataclass

from updater.errors import RegistryError
from updater.registry.address import origin
from updater.registry.challenge import challenges
from updater.registry.login import Login
from updater.transport.http import Answer, Certificate, Http, TransportError
from updater.transport.sockets import addresses, until

SHOWN = 100  # characters of what the registry says that are kept


@dataclass(frozen=True, slots=True)
class Contact:
    """The way to a registry: its addresses, and its certificate where it speaks TLS. None of it behind a `proxy`."""

    address: str
    proxy: bool
    addresses: tuple[str, ...] = ()
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first answer of a registry.

    status   200: open to everybody; 401: it wants a login, or a token that it gives to anybody; else it is none
    schemes  the ways to log in, in lower case
    realm    the token service, empty where there is none; `trusted`: it may see the credentials
    version  what says that it speaks the distribution API, empty where nothing does
    """

    status: int
    schemes: tuple[str, ...]
    realm: str
    trusted: bool
    version: str


def greeting(answer: Answer, login: Login) -> Greeting:
    """Read the answer to `/v2/`."""
    offered = challenges(answer.values("www-authenticate"))
    realm = next((one.params["realm"] for one in offered if one.scheme == "bearer" and "realm" in one.params), "")
    version = (answer.header("docker-distribution-api-version") or "")[:SHOWN]
    return Greeting(
        answer.status, tuple(one.scheme[:SHOWN] for one in offered), realm, bool(realm) and login.trusts(realm), version
    )


def contact(base: str, http: Http, deadline: float) -> Contact:
    """Look up a registry's name and shake hands. Raises RegistryError where that fails."""
    scheme, host, port = origin(base)
    if http.proxied(scheme, host, port):
        return Contact(base, proxy=True)
    with until(deadline):
        found = addresses(host, port)
    if not found:
        raise RegistryError(f"{host} cannot be resolved")
    try:
        certificate = http.certificate(host, port, deadline) if scheme == "https" else None
    except TransportError as err:
        raise RegistryError(str(err)) from err
    return Contact(base, proxy=False, addresses=tuple(found), certificate=certificate)
