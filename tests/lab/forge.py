"""A forge with one repository, and our client for it, for each kind of forge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.lab.git import FILES, person_commits
from updater.demo.forge import App, Hosted, StandIn
from updater.git.credentials.base import GitCredentials
from updater.git.credentials.token import Token
from updater.git.forges.asking import Api
from updater.git.forges.base import Forge, kinds, place_of
from updater.secrets import SecretRef
from updater.transport.http import Http

TOKEN = "canary-token-of-the-lab"
REPOSITORY = "acme/fleet"
KINDS = ("github", "gitlab", "gitea")
BRANCH, TARGET = "updater/all", "main"


@dataclass(frozen=True)
class Yard:
    """A forge, its repository, our client for it, and the seconds that the client would have slept."""

    forge: StandIn
    hosted: Hosted
    client: Forge
    slept: list[float]

    @property
    def url(self) -> str:
        return f"{self.forge.url}/{REPOSITORY}.git"

    def push(self, image: str, branch: str = BRANCH) -> str:
        """Make a branch of the target with one commit, as a push of ours would leave it; return its revision."""
        self.hosted.git("update-ref", f"refs/heads/{branch}", f"refs/heads/{TARGET}")
        return person_commits(self.hosted.bare, {"apps/a.yaml": image.encode()}, "Update", branch)


@contextmanager
def yard(
    folder: Path, kind: Any, credentials: GitCredentials | None = None, *, seconds: float = 30.0, **others: Any
) -> Iterator[Yard]:
    """Yield a forge of a kind; the login is a token unless there is another."""
    folder.mkdir(exist_ok=True)
    secret = folder / "token"
    secret.write_text(TOKEN)
    login = credentials or Token(token=SecretRef(f"file:{secret}"))
    slept: list[float] = []
    with StandIn(folder / "forge", kind, **({"tokens": [TOKEN]} | others)) as forge, Http() as http:
        hosted = forge.create(REPOSITORY, FILES)
        place = place_of(f"{forge.url}/{REPOSITORY}.git", kind, None, Http)
        member = kinds()[kind]
        client = member(
            Api(place.api, http, member.headers, login.at(place), sleep=slept.append, seconds=seconds), place.repository
        )
        yield Yard(forge, hosted, client, slept)


@cache
def keys() -> tuple[bytes, bytes]:
    """Return a private and a public key in PEM, made once a process."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(65537, 2048)
    private = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )  # as GitHub hands it out
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def app(**installations: int) -> App:
    """Return an app that is installed at the repository."""
    return App(7, keys()[1], {REPOSITORY: 42} | installations)
