"""What every login at a Git remote gives: a header for HTTP(S), or a key and the host keys for SSH."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from updater.plugins import Member

NOT_YET = frozenset({"github_app"})  # kinds of the contract that are not built


@dataclass(frozen=True, slots=True)
class Login:
    """What one git process needs to log in; never printed.

    `header` is a whole HTTP header line; `private_key` and `known_hosts` are the text of the files that ssh reads.
    """

    header: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)


class GitCredentials(Member):
    """A login at a Git remote. `schemes` are those of the URLs that it works for."""

    schemes: ClassVar[frozenset[str]]

    @abstractmethod
    def login(self) -> Login:
        """Resolve the secrets as they are now. Raises SecretError."""
