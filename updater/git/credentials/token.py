"""An access token over HTTP(S)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from updater.git.credentials.base import GitCredentials, Login
from updater.git.credentials.basic import HTTP, USERNAME, basic_header
from updater.secrets import SecretRef


class Token(GitCredentials):
    """An access token, sent as the password of HTTP Basic, as GitHub, GitLab and Gitea expect it.

    `username` matters to few services: `oauth2` for GitLab's OAuth tokens, `x-token-auth` for Bitbucket.
    """

    schemes: ClassVar[frozenset[str]] = HTTP
    kind: Literal["token"] = "token"
    token: SecretRef
    username: Annotated[str, Field(pattern=USERNAME)] = "x-access-token"

    def login(self) -> Login:
        """Resolve the token as it is now. Raises SecretError."""
        token = self.token.resolve()
        return Login(header=basic_header(self.username, token), token=token)
