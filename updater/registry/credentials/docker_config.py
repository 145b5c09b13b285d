"""The logins that Docker, podman and Kubernetes keep in a file.

https://docs.docker.com/reference/cli/docker/login/ and, for paths and `*`,
https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema

from updater.errors import RegistryError
from updater.registry.credentials.base import Credentials, Place, Proof
from updater.registry.docker.config import DockerFile, NoConfig
from updater.registry.docker.program import Programs

MAX_BYTES = 1 << 20


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return Path(getattr(value, "file", "")).parent / Path(value).expanduser()  # counts from the file that says it


ConfigPath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]


class DockerConfig(Credentials):
    """The logins of a `config.json` of Docker or podman, or a mounted `.dockerconfigjson`; read again when it changes.

    In this order: the program that `credHelpers` names for the host or `credsStore` for all, then the entry of `auths`
    with the longest path that the repository lies in. No entry, or an empty one: no login.
    """

    kind: Literal["docker_config"] = "docker_config"
    path: ConfigPath | None = Field(
        None, description="the file; null: config.json in $DOCKER_CONFIG, else in ~/.docker"
    )
    _bound: _Bound | None = PrivateAttr(None)

    def at(self, place: Place) -> DockerConfig:
        """Return what logs in at one registry; it keeps what programs said there."""
        bound = self.model_copy()
        bound._bound = _Bound(place.host, self.path)  # noqa: SLF001  a copy of our own
        return bound

    def login(self, repository: str, deadline: float) -> Proof | None:
        """Return the login for a repository as the file has it now."""
        if self._bound is None:
            raise RegistryError("a docker_config logs in at a registry alone")
        return self._bound.login(repository, deadline)

    def renew(self, refused: Proof) -> bool:
        """Have the programs asked again; the file is read again anyway once it changes."""
        return self._bound is not None and self._bound.programs.forget(refused)


class _Bound:
    """The logins of one registry; threads share it."""

    def __init__(self, host: str, path: Path | None) -> None:
        self._host, self._path = host, path
        self._read: tuple[tuple[int, ...], DockerFile] | None = None
        self.programs = Programs(host)

    def login(self, repository: str, deadline: float) -> Proof | None:
        path = self._path or _usual()
        try:
            file = self._file(path)
            program = file.program(self._host)
            proof = self.programs.get(program, deadline) if program else None
            return proof or file.auth(self._host, repository)
        except NoConfig as err:
            raise RegistryError(f"{path}: {err}") from err
        except OSError as err:
            raise RegistryError(f"{path} cannot be read: {err.strerror}") from err

    def _file(self, path: Path) -> DockerFile:
        """Return the file as it is now; a mounted secret is another file behind the same name when it changes."""
        now = path.stat()
        if not stat.S_ISREG(now.st_mode):
            raise NoConfig("found no file there, expected Docker's config.json")
        signature = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        kept = self._read
        if kept is None or kept[0] != signature:
            with path.open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise NoConfig(f"larger than {MAX_BYTES} bytes")
            self._read = kept = signature, DockerFile.parse(data)
        return kept[1]


def _usual() -> Path:
    """Return where Docker itself would look."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"
