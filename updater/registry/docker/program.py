"""Programs that know logins: `docker-credential-NAME get`, host on standard input, login as JSON on standard output.

https://github.com/docker/docker-credential-helpers: NAME is `ecr-login`, `gcloud`, `pass`, ...
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from functools import partial

from updater.errors import RegistryError
from updater.model.image import DOCKER_HUB
from updater.registry.credentials.base import Proof
from updater.registry.credentials.kept import Kept, Lent
from updater.registry.docker.config import NoConfig, proof_of
from updater.secrets import redact
from updater.transport import process

RUN_SECONDS = 30.0  # some ask a cloud first
GOOD_FOR = 600.0  # seconds that an answer is kept, though nobody says how long it is good for: programs keep logins too
MAX_OUTPUT = 64 << 10  # bytes; an identity token of Azure has 2 KiB

_HUB = "https://index.docker.io/v1/"  # how Docker names its Hub here
_NONE = b"credentials not found in native keychain"
_ALLOWED = process.ALLOWED | {
    "HOME", "USER", "LOGNAME", "LANG", "DOCKER_CONFIG", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "GPG_TTY",
    "BOTO_CONFIG", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET",
}  # fmt: skip
_PREFIXES = ("XDG_", "PASSWORD_STORE_", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "ALIBABA_CLOUD_")
"""What such programs find their own logins by, besides; our other variables hold what is none of their business."""


class Programs:
    """What programs say of one registry, kept for a while; threads share it."""

    def __init__(self, host: str) -> None:
        self._server = _HUB if host == DOCKER_HUB else host
        self._kept: dict[str, Kept] = {}

    def get(self, name: str, deadline: float) -> Proof | None:
        """Return the login that a program has, None where it knows none. Raises RegistryError."""
        kept = self._kept.setdefault(name, Kept(partial(_lent, name, self._server)))
        proof = kept.get(deadline)
        return None if proof == Proof() else proof

    def forget(self, refused: Proof) -> bool:
        """Ask again when a login is wanted again; False where no program was asked so far."""
        kept = tuple(self._kept.values())
        for one in kept:
            one.forget(refused)
        return bool(kept)


def _lent(name: str, server: str, deadline: float) -> Lent:
    return Lent(ask(name, server, deadline) or Proof(), GOOD_FOR)


def ask(name: str, server: str, deadline: float) -> Proof | None:
    """Run a program once. Raises RegistryError, which repeats nothing of a login."""
    program = f"docker-credential-{name}"
    environment = {key: value for key, value in os.environ.items() if key in _ALLOWED or key.startswith(_PREFIXES)}
    seconds = min(RUN_SECONDS, deadline - time.monotonic())
    if seconds <= 0:
        raise RegistryError(f"{program} was not asked: no time is left")
    try:
        child = subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as err:
        raise RegistryError(f"{program} cannot be started: {err.strerror}; expected it on the PATH") from err
    done = process.finish(child, server.encode(), seconds=seconds, max_output=MAX_OUTPUT)
    if done.code and _NONE in done.stdout:
        return None
    if done.cut or done.code:
        raise RegistryError(f"{program}: {done.cut or f'it ended with {done.code}'}{_said(done)}")
    return _read(done.stdout, program)


def _said(done: process.Finished) -> str:
    """Return its last words; on standard output, where logins come, they are words only where no JSON begins."""
    said = done.stderr.strip() or (b"" if b"{" in done.stdout else done.stdout.strip())
    last = said.decode("utf-8", "replace").rpartition("\n")[2]
    words = redact("".join(letter if letter.isprintable() else " " for letter in last))[:200]
    return f": {words}" if words else ""


def _read(printed: bytes, program: str) -> Proof | None:
    try:
        answer = json.loads(printed)
    except (ValueError, RecursionError):
        raise RegistryError(f"{program} printed something that is not JSON, expected a login") from None
    username, secret = (answer.get(key) for key in ("Username", "Secret")) if isinstance(answer, dict) else (None, None)
    if not isinstance(username, str) or not isinstance(secret, str):
        raise RegistryError(f"{program} printed JSON without the texts Username and Secret")
    try:
        return proof_of(username, secret)
    except NoConfig as err:
        raise RegistryError(f"{program}: {err}") from None
