"""Programs that log in for a kubeconfig: they print a token, a client certificate, or both.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
They see a clean environment, and what the kubeconfig adds to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from updater.cluster.credentials import Credential, Source
from updater.cluster.wire import Identity, NoAnswer
from updater.secrets import redact
from updater.transport import process

API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
RUN_SECONDS = 30.0
MAX_OUTPUT = 1 << 20  # bytes
AGAIN_SECONDS = 10.0  # a credential that is refused right after it was made is not made again at once
_MARGIN = timedelta(seconds=60)  # how long before its end a credential is made anew, at most a tenth of its life


@dataclass(frozen=True, slots=True)
class Command:
    """A program that may be run: its whole path, what it gets, and what it is told about the cluster."""

    path: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = API_VERSIONS[0]
    cluster: Mapping[str, Any] | None = field(default=None, repr=False)


class Plugin(Source):
    """Runs the program when a credential is due: one run at a time, whose outcome everybody who waits shares."""

    def __init__(
        self,
        command: Command,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._command, self._clock, self._now = command, clock, now
        self._lock = threading.Lock()
        self._credential: Credential | None = None
        self._stale_at: datetime | None = None
        self._ran_at = -AGAIN_SECONDS  # when the last run ended
        self._failure = ""

    def current(self, deadline: float) -> Credential:
        """Return the one that was made last, a new one where its time is over."""
        return self._one(deadline, refused=None)

    def renewed(self, refused: Credential, deadline: float) -> Credential | None:
        """Return one that was made after the refused one; None so shortly after it that another would be no better."""
        credential = self._one(deadline, refused=refused)
        return credential if credential != refused else None

    def _one(self, deadline: float, refused: Credential | None) -> Credential:
        asked_at = self._clock()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise NoAnswer(f"we cannot log in: {self._command.path} takes too long")
        try:
            if self._failure and self._ran_at >= asked_at:
                raise NoAnswer(self._failure)  # it was tried while we waited
            if self._credential is None or self._is_stale() or self._is_refused(refused):
                self._credential = None
                self._credential = self._run(deadline)
            return self._credential
        finally:
            self._lock.release()

    def _is_stale(self) -> bool:
        return self._stale_at is not None and self._now() >= self._stale_at

    def _is_refused(self, refused: Credential | None) -> bool:
        return refused == self._credential and self._clock() - self._ran_at >= AGAIN_SECONDS

    def _run(self, deadline: float) -> Credential:
        try:
            credential = run(self._command, min(RUN_SECONDS, max(0.0, deadline - time.monotonic())))
        except NoAnswer as err:
            self._failure = str(err)
            raise
        finally:
            self._ran_at = self._clock()
        self._failure = ""
        now = self._now()
        if credential.expires is not None:
            self._stale_at = credential.expires - min(_MARGIN, max(timedelta(), credential.expires - now) / 10)
        else:
            self._stale_at = None
        return credential.remembered()


def run(command: Command, seconds: float) -> Credential:
    """Run the program once and read what it prints. Raises NoAnswer, which repeats nothing of its output."""
    told = {"apiVersion": command.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if command.cluster is not None:
        told["spec"] = {"cluster": dict(command.cluster), "interactive": False}
    kept = {name: os.environ[name] for name in (*process.ALLOWED, "HOME") if name in os.environ}
    try:
        child = subprocess.Popen(
            [command.path, *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, **command.environment, "KUBERNETES_EXEC_INFO": json.dumps(told)},
            start_new_session=True,
        )
    except (OSError, ValueError) as err:
        raise NoAnswer(f"we cannot log in: {command.path} cannot be started ({err})") from err
    ended = process.finish(child, seconds=seconds, max_output=MAX_OUTPUT)
    if ended.cut or ended.code:
        said = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        words = redact("".join(letter if letter.isprintable() else " " for letter in said))[:200]
        why = ended.cut or f"it ended with {ended.code}"
        raise NoAnswer(f"we cannot log in: {command.path}: {why}{': ' if words else ''}{words}")
    try:
        return _read(json.loads(ended.stdout), command.api_version)
    except (ValueError, RecursionError) as err:
        why = "no JSON" if isinstance(err, json.JSONDecodeError | RecursionError | UnicodeDecodeError) else str(err)
        raise NoAnswer(f"we cannot log in: {command.path} printed {why}, expected an ExecCredential") from None


def _read(document: Any, api_version: str) -> Credential:
    """Read an ExecCredential. Raises ValueError, without its values."""
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise ValueError("something else")
    if document.get("apiVersion") != api_version:
        raise ValueError("another apiVersion than the kubeconfig names")
    status = document.get("status")
    if not isinstance(status, dict):
        raise ValueError("no status")  # noqa: TRY004 - a text from outside
    token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
    if not all(isinstance(text, str) and text.isascii() for text in (token, certificate, key)):
        raise ValueError("a token or certificate that is no text")
    if not token and not certificate:
        raise ValueError("neither token nor certificate")
    if bool(certificate) != bool(key):
        raise ValueError("a certificate without its key, or a key without its certificate")
    return Credential(token.strip(), Identity(certificate, key), _time(status.get("expirationTimestamp")))


def _time(text: Any) -> datetime | None:
    if not text:
        return None
    if not isinstance(text, str):
        raise ValueError("an expirationTimestamp that is no time")  # noqa: TRY004 - a text from outside
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("an expirationTimestamp that is no time") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
