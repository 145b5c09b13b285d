"""What a login shows a cluster, and where it comes from: given once, or files that are read again as they change."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from updater.cluster.wire import Identity, NoAnswer
from updater.secrets import remember

MAX_FILE = 1 << 20  # bytes of a token, certificate or key; they are far smaller


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token, a client certificate, both or neither. `expires` is aware; None: nobody said when."""

    token: str = field(default="", repr=False)
    identity: Identity = field(default_factory=Identity)
    expires: datetime | None = None

    def remembered(self) -> Credential:
        """Return it, from now on blanked in every text."""
        for secret in (self.token, self.identity.key):
            remember(secret)
        return self


class Source(ABC):
    """Where credentials come from. Threads share it."""

    @abstractmethod
    def current(self, deadline: float) -> Credential:
        """Return what to show now. `deadline` is a time of time.monotonic(). Raises NoAnswer."""

    @abstractmethod
    def renewed(self, refused: Credential, deadline: float) -> Credential | None:
        """Return another one than the cluster refused; None where there is none. Raises NoAnswer."""


class Kept(Source):
    """What a kubeconfig gives, and the files that it names, which win and are read again when they change."""

    def __init__(
        self,
        given: Credential = Credential(),
        *,
        token_file: Path | None = None,
        certificate_file: Path | None = None,
        key_file: Path | None = None,
    ) -> None:
        self._given = given.remembered()
        self._files = (token_file, certificate_file, key_file)
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._credential = self._given

    def current(self, deadline: float) -> Credential:  # noqa: ARG002 - files of this machine answer at once
        """Return what was given, or what the files say now."""
        with self._lock:
            stamps = tuple(_stamp(path) for path in self._files if path)
            if stamps != self._seen:
                self._credential, self._seen = self._read().remembered(), stamps
            return self._credential

    def renewed(self, refused: Credential, deadline: float) -> Credential | None:
        """Return what the files say where that is another one."""
        with self._lock:
            self._seen = ()  # a clock too coarse may hide that a file changed
        credential = self.current(deadline)
        return credential if credential != refused else None

    def _read(self) -> Credential:
        token, certificate, key = (_text(path).strip() if path else "" for path in self._files)
        given = self._given
        identity = Identity(certificate or given.identity.certificate, key or given.identity.key)
        return Credential(token or given.token, identity)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as err:
        raise NoAnswer(f"we cannot log in: {path} cannot be read ({err.strerror})") from err
    return found.st_mtime_ns, found.st_ino, found.st_size


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        text = data.decode("ascii")
    except OSError as err:
        raise NoAnswer(f"we cannot log in: {path} cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise NoAnswer(f"we cannot log in: {path} is no token, certificate or key") from err
    if len(data) > MAX_FILE:
        raise NoAnswer(f"we cannot log in: {path} is larger than {MAX_FILE} bytes")
    return text
