"""The family of registry logins: each member knows how to come by a user name and a password."""

from __future__ import annotations

from abc import ABC, abstractmethod

from updater.plugins import Member

NOT_YET = frozenset({"acr", "aliyun", "docker_config", "ecr", "gar", "github", "token"})
"""Kinds that a later version brings; until then the configuration refuses them as "not supported yet"."""


class Credentials(Member, ABC):
    """How to log in to one registry. Nothing is read or asked before `login` is called."""

    @abstractmethod
    def login(self) -> tuple[str, str]:
        """Return user name and password as they are now.

        Called once for every token and for every Basic request, from several threads. Raises UpdaterError
        (SecretError where a secret cannot be read).
        """
