"""A token of GitHub at its container registry.

https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from updater.registry.credentials.base import Credentials, Proof
from updater.secrets import SecretRef

_ANY = "updater"  # GHCR goes by the token alone, but wants a name


class GitHub(Credentials):
    """A token of GitHub at ghcr.io (or lscr.io): a personal one (classic) with `read:packages`, or `GITHUB_TOKEN`."""

    kind: Literal["github"] = "github"
    token: SecretRef = Field(description="secret reference of the token, e.g. env:GITHUB_TOKEN")
    username: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[^:\x00-\x1f\x7f]+$",
        description="user name; null: any, GitHub does not look at it",
    )

    def login(self, repository: str, deadline: float) -> Proof:
        """Return the token as a password, read now."""
        return Proof(self.username or _ANY, self.token.resolve())
