"""A user name and a password."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from updater.registry.credentials.base import Credentials, Proof
from updater.secrets import SecretRef


class Basic(Credentials):
    """A fixed user name and a password (or access token) from a secret reference."""

    kind: Literal["basic"] = "basic"
    username: str = Field(min_length=1, pattern=r"^[^:\x00-\x1f\x7f]+$", description="user name; no colon")
    password: SecretRef = Field(description="secret reference of the password, e.g. env:REGISTRY_PASSWORD")

    def login(self, repository: str, deadline: float) -> Proof:
        """Return the user name and the password, read now."""
        return Proof(self.username, self.password.resolve())
