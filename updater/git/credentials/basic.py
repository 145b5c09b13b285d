"""User name and password over HTTP(S)."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from updater.git.credentials.base import GitCredentials, Login
from updater.secrets import SecretRef, remember

HTTP = frozenset({"https", "http"})
USERNAME = r"^[^:\x00-\x1f\x7f]+$"  # RFC 7617: no colon, no control characters


class Basic(GitCredentials):
    """User name and password, sent as HTTP Basic with every request."""

    schemes: ClassVar[frozenset[str]] = HTTP
    kind: Literal["basic"] = "basic"
    username: Annotated[str, Field(pattern=USERNAME)]
    password: SecretRef

    def login(self) -> Login:
        """Resolve the password as it is now. Raises SecretError."""
        password = self.password.resolve()
        return Login(header=basic_header(self.username, password), token=password)


def basic_header(username: str, password: str) -> str:
    """Return the header of RFC 7617; its encoded part is redacted from now on."""
    encoded = b64encode(f"{username}:{password}".encode()).decode()
    remember(encoded)
    return f"Authorization: Basic {encoded}"
