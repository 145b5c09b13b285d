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
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from updater.model.image import ImageRef
from updater.plugins import Member
from updater.secrets import SecretRef

MAX_HINTS = 100  # of one payload: more means that something else is wrong
LEAST_PATH = 16  # characters of a path that nobody guesses
BRANCHES = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Hint:
    """What may have changed. `image` is a name in full without a tag, as `registry.example.com/team/api`.

    repository  the address of a Git repository, as the forge spells it
    branch      of that repository; empty for any
    revision    where the branch is now, as the sender says; empty where it does not
    """

    image: str = ""
    repository: str = ""
    branch: str = ""
    revision: str = ""


def registry_name(value: str) -> str:
    """Check the name of a registry as it stands in images: host, port, and a path where it has one."""
    try:
        found = ImageRef.parse(f"{value}/image").name
    except ValueError:
        found = ""
    if found != f"{value}/image":  # what is no host would be a folder of Docker Hub
        raise ValueError("expected the name of a registry such as registry.example.com")
    return value


RegistryName = Annotated[str, AfterValidator(registry_name)]


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
    signature: ClassVar[str] = "x-hub-signature-256"  # the header of the HMAC, in small letters

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = {name for name in ("token", "secret", "path") if getattr(self, name) is not None}
        if len(given) != 1 or not given <= self.proofs:
            raise ValueError(f"found {' and '.join(sorted(given)) or 'no secret'}, expected one of "
                             f"{', '.join(sorted(self.proofs))}")  # fmt: skip
        return self

    def shown(self, headers: Mapping[str, str]) -> str:
        """Return the token that a request shows, empty for none; header names are in small letters."""
        return bearer(headers)

    def signed(self, headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        """Say whether the body is signed with this secret: SHA-256 in hex, with or without saying so."""
        return same(headers.get(self.signature, "").removeprefix("sha256="), digest(secret, body))

    @abstractmethod
    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield what a payload, parsed from JSON, hints at.

        It is hostile: what is not as it should be hints at nothing. Raises ValueError alone, with words for the sender.
        """


def same(shown: str, expected: str) -> bool:
    """Compare in constant time; an empty secret is none."""
    return bool(expected) and hmac.compare_digest(shown.encode(errors="replace"), expected.encode(errors="replace"))


def digest(secret: str, body: bytes) -> str:
    """Return the HMAC with SHA-256, in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an Authorization header, empty for none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def at(value: Any, *path: str | int) -> Any:
    """Return what is at a path of keys and indexes; None where there is nothing."""
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def texts(value: Any, *path: str | int) -> str:
    """Return the text at a path; empty where there is none, or one too long to name anything."""
    found = at(value, *path)
    return found if isinstance(found, str) and len(found) <= 2048 else ""


def entries(value: Any, *path: str | int) -> list[Any]:
    """Return the first entries of the list at a path."""
    found = at(value, *path)
    return found[:MAX_HINTS] if isinstance(found, list) else []


def branch_of(ref: str) -> str:
    """Return the branch of a ref such as refs/heads/main; empty for anything else."""
    return ref.removeprefix(BRANCHES) if ref.startswith(BRANCHES) else ""
