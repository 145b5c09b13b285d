"""The family of webhooks: how a sender proves that it is the one, and what its payload hints at.

A payload is a hint to look now, never data: what it names is looked up where we look it up anyway. The proof is judged
over the raw bytes and before they are parsed. A member neither reads secrets nor answers: the web room does.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from updater.plugins import Member
from updater.secrets import SecretRef

MAX_HINTS = 100  # of one payload: more means that something else is wrong
LEAST_PATH = 16  # characters of a path that nobody guesses


@dataclass(frozen=True, slots=True)
class Hint:
    """What may have changed. `image` is a name in full without a tag, as `registry.example.com/team/api`.

    repository  the address of a Git repository, as the forge spells it
    branch      of that repository; empty for any
    """

    image: str = ""
    repository: str = ""
    branch: str = ""


class Hook(Member):
    """One sender. Without a secret of any kind a hook is off, so each entry has one.

    token   expected as `Authorization: Bearer TOKEN` where the sender can set headers, else in its own header
    secret  the key of an HMAC over the body
    path    for senders that can do neither: the last part of a path that nobody guesses
    """

    kind: str
    token: SecretRef | None = Field(None, description="what the sender shows")
    secret: SecretRef | None = Field(None, description="the key with which the sender signs")
    path: SecretRef | None = Field(None, description="the last part of the path, for senders that cannot sign")

    proofs: ClassVar[frozenset[str]] = frozenset({"token", "path"})  # of the fields above, those that this kind knows

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = {name for name in ("token", "secret", "path") if getattr(self, name) is not None}
        if len(given) != 1 or not given <= self.proofs:
            raise ValueError(f"found {' and '.join(sorted(given)) or 'no secret'}, expected one of "
                             f"{', '.join(sorted(self.proofs))}")  # fmt: skip
        return self

    def shows(self, headers: Mapping[str, str], body: bytes, *, token: str = "", secret: str = "") -> bool:
        """Say whether a sender shows what it should, in constant time; header names are lower case."""
        if token:
            return same(bearer(headers), token)
        return bool(secret) and self.signed(headers, body, secret)

    def signed(self, headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        """Say whether the body is signed with this secret; the usual header is that of GitHub."""
        shown = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
        return same(shown, digest(secret, body))

    @abstractmethod
    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield what a payload, parsed from JSON, hints at.

        It is hostile: what is not as it should be hints at nothing. Raises ValueError alone, with words for the sender.
        """


def same(shown: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(shown.encode(errors="replace"), expected.encode())


def digest(secret: str, body: bytes) -> str:
    """Return the HMAC with SHA-256, in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an Authorization header, empty for none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def texts(value: Any, *path: str | int) -> str:
    """Return the text at a path of keys and indexes; empty where there is none."""
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return ""
    return value[:2048] if isinstance(value, str) else ""
