"""The file of hashed login tokens: one a line, NAME:HASH, where HASH is the hex SHA-256 of a long random token.

It is read again when it changes. A line that cannot be read lets nobody in, and is named by its number alone.
"""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path

import structlog

from updater.secrets import SecretError, SecretRef
from updater.web.sessions import called, same

SHORTEST = 20  # characters of a token: what a person makes up could be guessed, whatever its hash
MAX_LINES = 1000
_LINE = re.compile(r"(?P<name>[^:\s][^:]{0,99}):(?P<hash>[0-9A-Fa-f]{64})")

log = structlog.get_logger()

Known = tuple[tuple[str, str], ...]  # names and hashes


class Tokens:
    """What the file says now; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: object = None
        self._known: Known = ()

    def known(self, reference: SecretRef | None) -> Known:
        """Return the names and hashes of the file; none where it cannot be read, which the log says once."""
        if reference is None:
            return ()
        with self._lock:
            seen = (reference.reference, _stamp(reference))
            if seen != self._seen:
                self._seen, self._known = seen, _read(reference)
            return self._known

    def whose(self, reference: SecretRef | None, token: str) -> tuple[str, str] | None:
        """Return the name and the hash of a token; every hash is compared, in a time that tells nothing."""
        hashed = hashlib.sha256(token.encode(errors="replace")).hexdigest()
        found = [one for one in self.known(reference) if same(one[1], hashed)]
        if not found:
            return None
        if len(token) < SHORTEST:
            log.warning("login_token_too_short", name=found[0][0], expected=f"{SHORTEST} characters at least")
            return None
        return found[0]


def proof(name: str, hashed: str) -> str:
    """Return what a session that a token opened hangs on."""
    return f"token {name} {hashed}"


def parse(text: str) -> tuple[Known, list[int]]:
    """Return the names and hashes of a file, and the numbers of the lines that are neither that nor a comment."""
    known: list[tuple[str, str]] = []
    bad: list[int] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        found = _LINE.fullmatch(bare)
        if found is None or len(known) == MAX_LINES:
            bad.append(number)
        else:
            known.append((called(found["name"]), found["hash"].lower()))
    return tuple(known), bad


def _read(reference: SecretRef) -> Known:
    try:
        known, bad = parse(reference.resolve())
    except SecretError as err:
        log.error("login_tokens_not_read", error=str(err))
        return ()
    if bad:
        lines = ", ".join(map(str, bad[:20]))
        expected = f"NAME:HASH, HASH being 64 hex digits, {MAX_LINES} lines at most"
        log.error("login_tokens_ignored", file=reference.reference, lines=lines, expected=expected)
    return known


def _stamp(reference: SecretRef) -> object:
    """Return what is another one when the file changed; a file that is replaced by another is another one."""
    scheme, _, path = reference.reference.partition(":")
    if scheme != "file":
        return None  # the environment of a process stays as it is
    try:
        found = Path(path).stat()
    except OSError as err:
        return err.errno
    return (found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size)
