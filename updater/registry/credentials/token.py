"""A token that the registry itself takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from updater.registry.credentials.base import Credentials, Proof
from updater.secrets import SecretRef


class Token(Credentials):
    """A token that the registry itself takes as `Authorization: Bearer`, once it asked for a login.

    No token service is asked, whatever the registry names.
    """

    kind: Literal["token"] = "token"
    token: SecretRef = Field(description="secret reference of the token, e.g. env:REGISTRY_TOKEN")

    def login(self, repository: str, deadline: float) -> Proof:
        """Return the token, read now."""
        return Proof(bearer=self.token.resolve())
