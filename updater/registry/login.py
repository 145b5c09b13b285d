"""Answers a registry's challenges: anonymous, with the login itself, or with a token from the realm that it names.

Who writes the challenge chooses the realm, and may be an attacker: credentials go to the registry's own host, to
the realms that are known to belong to it, and to `trusted_realms`; any other realm is asked for an anonymous token.
Precedents: CVE-2020-15157 (containerd), CVE-2026-33540 (distribution).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from updater.registry.challenge import challenges
from updater.registry.credentials.base import Credentials
from updater.registry.proofs import Proofs
from updater.registry.realms import PUSH, Realm, Realms
from updater.registry.sender import Sender
from updater.registry.tokens import LoginRefused, Tokens
from updater.transport.http import Answer

__all__ = ["PUSH", "Login", "LoginRefused"]


class Login:
    """The login at one registry; shared by threads. Tokens live in memory only.

    hosts       where the registry itself is asked, as addresses or `host[:port]`
    known_as    its name in the table of known realms; None where something else is asked in its place
    insecure    a token service without TLS may be asked
    """

    def __init__(
        self,
        name: str,
        sender: Sender,
        *,
        credentials: Credentials | None,
        hosts: Iterable[str],
        insecure: bool,
        trusted_realms: Iterable[str],
        known_as: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._proofs = Proofs(name, credentials, clock)
        self._realms = Realms(hosts, trusted_realms, known_as)
        self._tokens = Tokens(name, sender, self._proofs, self._realms, insecure=insecure, clock=clock)
        self._learnt: dict[str, Realm | None] = {}  # by kind of request, the last also as ""; None: the login itself

    @property
    def untrusted_realms(self) -> tuple[str, ...]:
        """Realms that were named by the registry and got no credentials, though there are some."""
        return self._realms.untrusted

    def header(self, kind: str, repository: str, deadline: float) -> str | None:
        """Return the `Authorization` to send at once, None before any challenge was seen.

        `kind` names what is asked for ("tags", "manifests"): some registries want another scope for each.
        """
        guess = kind if kind in self._learnt else ""
        if guess not in self._learnt:
            return None
        realm = self._learnt[guess]
        if realm is None:
            return self._proofs.header(self._proofs.now(repository, deadline))
        return self._tokens.get(realm, repository, (), deadline)

    def answer(
        self, refusal: Answer, kind: str, repository: str, tried: tuple[str | None, ...], deadline: float
    ) -> str | None:
        """Return the `Authorization` that answers a refusal, None when there is nothing new to say.

        `tried` is what this question was sent with so far, the refused one last. Raises RegistryError when no login
        or token was to be had.
        """
        offered = {
            challenge.scheme: challenge for challenge in reversed(challenges(refusal.values("www-authenticate")))
        }
        realm = self._learnt.get(kind)  # stays for a refusal without a challenge, as ECR's 400 for an old token
        itself = kind in self._learnt and realm is None and not offered
        if offered and self._has_bearer(repository, deadline):
            itself = True
        elif "bearer" in offered and "realm" in offered["bearer"].params:
            realm = self._realms.named(offered["bearer"], kind, repository, refusal.peer)
        elif "basic" in offered:
            itself = True
        if itself:
            return self._itself(refusal.status, kind, repository, tried, deadline)
        if realm is None:
            return None
        header = self._tokens.get(realm, repository, tried, deadline)
        self._learnt[kind] = self._learnt[""] = realm
        return header

    def trusts(self, realm: str) -> bool:
        """Whether a token service may see the credentials."""
        return self._realms.trusts(realm)

    def refusal(self, what: str, status: int) -> LoginRefused:
        """Say in plain words why access was refused after all."""
        if not self._proofs.configured:
            why = "it wants a login, and none is configured"
        elif self._realms.untrusted:
            realms = ", ".join(self._realms.untrusted)
            why = f"its token service {realms} is not in trusted_realms and got no credentials"
        elif self._proofs.empty:
            why = "it wants a login, and the configured one has none for it"
        else:
            why = "the configured login is wrong or may not read it"
        return LoginRefused(f"{what}: {self._name} refused access ({status}): {why}")

    def _has_bearer(self, repository: str, deadline: float) -> bool:
        proof = self._proofs.now(repository, deadline)
        return proof is not None and bool(proof.bearer)

    def _itself(
        self, status: int, kind: str, repository: str, tried: tuple[str | None, ...], deadline: float
    ) -> str | None:
        """Return the login itself where it was not sent yet, a renewed one where it was refused, once a question."""
        if status != 401:
            return None  # it was understood, and may not read this
        proof = self._proofs.now(repository, deadline)
        header = self._proofs.header(proof)
        if proof is not None and header is not None and header == tried[-1]:
            first = sum(sent is not None for sent in tried) == 1
            header = self._proofs.header(self._proofs.renewed(proof, repository, deadline)) if first else None
        if header is None or header in tried:
            return None
        self._learnt[kind] = self._learnt[""] = None
        return header
