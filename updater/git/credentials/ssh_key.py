"""A private key over SSH, and the pinned keys of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from updater.git.credentials.base import GitCredentials, Login
from updater.secrets import SecretRef


def _path_or_reference(value: object) -> object:
    """Host keys are no secret: their file may be named by its path alone."""
    if isinstance(value, str) and value and not value.startswith(("env:", "file:")) and "\n" not in value:
        return SecretRef.parse(f"file:{value}", Path(getattr(value, "file", "")).parent)
    return value


class SshKey(GitCredentials):
    """A private key without a passphrase, and `known_hosts`: the host must show one of these keys.

    `ssh-keyscan HOST` prints lines for `known_hosts`; compare them with what the service publishes.
    """

    schemes: ClassVar[frozenset[str]] = frozenset({"ssh"})
    kind: Literal["ssh_key"] = "ssh_key"
    private_key: SecretRef
    known_hosts: Annotated[SecretRef, BeforeValidator(_path_or_reference)]

    def login(self) -> Login:
        """Read key and host keys as they are now. Raises SecretError."""
        return Login(private_key=_lines(self.private_key), known_hosts=_lines(self.known_hosts))


def _lines(secret: SecretRef) -> str:
    """OpenSSH reads only keys that end in a line feed, without carriage returns."""
    return secret.resolve().replace("\r\n", "\n").rstrip("\n") + "\n"
