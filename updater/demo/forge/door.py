"""Who may come in: fixed tokens, and apps as GitHub has them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LIFE = timedelta(hours=1)
LONGEST_PROOF = timedelta(minutes=10)


@dataclass(slots=True)
class App:
    """A GitHub App: its id, its public key in PEM, and where it is installed (repository -> installation)."""

    id: int
    public_key: bytes
    installations: dict[str, int] = field(default_factory=dict)

    def proves(self, token: str, now: datetime) -> str:
        """Return what is wrong with a JSON web token; empty where it is good."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            head, claims, signature = token.split(".")
            header, said = _json(head), _json(claims)
            key = load_pem_public_key(self.public_key)
            assert isinstance(key, RSAPublicKey)
            key.verify(_raw(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature):
            return "A JSON web token could not be decoded"
        if header.get("alg") != "RS256" or said.get("iss") not in {self.id, str(self.id)}:
            return "Integration must generate a public key"
        if said["iat"] > now.timestamp():
            return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        if not now.timestamp() < said["exp"] <= (now + LONGEST_PROOF).timestamp():
            return "'Expiration time' claim ('exp') is too far in the future"
        return ""


class Door:
    """Knows the tokens, and until when and for which repositories they are good."""

    def __init__(self, tokens: Iterable[str], app: App | None, now: Callable[[], datetime]) -> None:
        self.app, self.now = app, now
        self._fixed = frozenset(tokens)
        self.issued: dict[str, tuple[datetime, frozenset[str]]] = {}

    def issue(self, repositories: Iterable[str]) -> tuple[str, datetime]:
        """Make a token of an installation, good for an hour."""
        token, until = f"ghs_{secrets.token_hex(18)}", self.now() + LIFE
        self.issued[token] = (until, frozenset(repositories))
        return token, until

    def revoke(self) -> None:
        """Take back every token that was issued."""
        self.issued.clear()

    def knows(self, token: str, repository: str | None = None) -> bool:
        """Say whether a token is good, at a repository or at all."""
        if any(hmac.compare_digest(token.encode(), one.encode()) for one in self._fixed):
            return True
        until, repositories = self.issued.get(token, (None, frozenset()))
        return until is not None and self.now() < until and (repository is None or repository in repositories)


def password(header: str) -> str:
    """Return the password of HTTP Basic; empty where there is none."""
    scheme, _, value = header.partition(" ")
    try:
        return base64.b64decode(value).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _json(part: str) -> dict[str, Any]:
    value = json.loads(_raw(part))
    if not isinstance(value, dict):
        raise TypeError("no claims")
    return value
