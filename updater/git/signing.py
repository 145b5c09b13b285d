"""Signatures of commits: what one git process needs to sign with a key that lies on no disk before and after it.

git signs itself, by ssh-keygen or by gpg. gpg works only through an agent in a home of its own: we make both for one
commit, and end the agent by its own means.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from updater.errors import GitError
from updater.git import folder as folders
from updater.secrets import SecretRef
from updater.transport import process

MAX_PRINTED = 1 << 20  # bytes
MAX_SAID = 500  # characters of what a program said
ENDING = 10.0  # seconds for an agent to end
MAX_HOME = 80  # characters of a home; its sockets have longer names, and no socket's name has more than 107

_BEGINS = {"ssh": "PRIVATE KEY-----", "gpg": "-----BEGIN PGP PRIVATE KEY BLOCK-----"}
_EXPECTED = {"ssh": "a private key as ssh-keygen makes it", "gpg": "what gpg --export-secret-keys --armor prints"}
_SECRET_KEY = re.compile(rb"^\[GNUPG:\] IMPORT_OK (\d+) ([0-9A-F]{40,64})$", re.MULTILINE)
_HAS_SECRET = 16  # a bit of that number
# Nobody is there to be asked for a passphrase, and nothing beside the key counts.
_CONF = "batch\nno-tty\npinentry-mode error\nno-auto-key-retrieve\ntrust-model always\n"
_LOCKED = re.compile(r"passphrase|[Pp]inentry")


@dataclass(frozen=True, slots=True)
class Signing:
    """The key that signs commits: a private key of SSH, or an armoured secret key of OpenPGP; without a passphrase."""

    kind: Literal["ssh", "gpg"]
    key: SecretRef

    @contextlib.contextmanager
    def access(self, folder: Path, seconds: float) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
        """Yield the environment and the settings of a git process that signs; the key lies in `folder` meanwhile.

        Each process before it may take so many seconds. Raises SecretError, and GitError for what is no such key.
        """
        text = self.key.resolve().replace("\r\n", "\n").strip() + "\n"
        if _BEGINS[self.kind] not in text:
            raise GitError(f"no commit can be signed: the key is not {_EXPECTED[self.kind]}")
        with folders.private(folder) as private:
            scratch = {"TMPDIR": str(private)}  # git writes there what ssh-keygen is to sign
            key = private / "key"
            key.touch(mode=0o600)
            key.write_text(text)
            if self.kind == "ssh":
                _publish(key, seconds)
                yield scratch, {"gpg.format": "ssh", "user.signingKey": str(key)}
            else:
                with _home(private) as home:
                    fingerprint = _imported(home, key, seconds)
                    yield scratch | {"GNUPGHOME": str(home)}, {"gpg.format": "openpgp", "user.signingKey": fingerprint}


def _publish(key: Path, seconds: float) -> None:
    """Put the public half of a key beside it: only keys in OpenSSH's own form hold theirs. Raises GitError."""
    done = _run(key.parent, ("ssh-keygen", "-y", "-P", "", "-f", str(key)), seconds)
    if done.code:
        raise _unusable(key, done)
    key.with_suffix(".pub").write_bytes(done.stdout)


@contextlib.contextmanager
def _home(private: Path) -> Iterator[Path]:
    """Make a home of gpg, and end the agent that came to live there."""
    home = private / "gnupg"
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text(_CONF)
    with contextlib.ExitStack() as stack:
        if len(os.fsencode(home)) > MAX_HOME:
            short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpg-"))) / "h"
            short.symlink_to(home)
            home = short
        try:
            yield home
        finally:
            with contextlib.suppress(GitError):  # an agent whose home is gone ends by itself
                _run(home, ("gpgconf", "--kill", "all"), ENDING)


def _imported(home: Path, key: Path, seconds: float) -> str:
    """Import the one secret key of a file, and return its fingerprint. Raises GitError."""
    done = _run(home, ("gpg", "--batch", "--status-fd", "1", "--import", str(key)), seconds)
    found = [match[2].decode() for match in _SECRET_KEY.finditer(done.stdout) if int(match[1]) & _HAS_SECRET]
    if len(set(found)) != 1:
        held = f"it holds {len(set(found))} secret keys" if found else "gpg finds no secret key in it"
        raise GitError(f"no commit can be signed: {held}; expected one, as {_EXPECTED['gpg']}")
    key.unlink()
    # git keeps to itself why gpg would not sign.
    done = _run(home, ("gpg", "--batch", "--armor", "--local-user", found[0], "--detach-sign"), seconds)
    if done.code:
        raise _unusable(key, done)
    return found[0]


def _unusable(key: Path, done: process.Finished) -> GitError:
    """Return the error of a key that does not sign, in the words of the program: they never hold what is in a file."""
    said = " | ".join(done.stderr.decode("utf-8", "replace").replace(str(key), "the key").split("\n"))[-MAX_SAID:]
    why = "the key has a passphrase, which nobody can type here: " if _LOCKED.search(said) else ""
    return GitError(f"no commit can be signed: {why}{''.join(c for c in said if c.isprintable()).strip(' |')}")


def _run(home: Path, argv: tuple[str, ...], seconds: float) -> process.Finished:
    """Run a program on keys, in a private folder which is the home of gpg.

    Raises GitError where it cannot be started, or takes too long.
    """
    try:
        child = subprocess.Popen(
            argv, env=_environment(os.environ, home), cwd=home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as err:
        raise GitError(f"no commit can be signed: {argv[0]} cannot be started: {err.strerror}") from err
    done = process.finish(child, seconds=seconds, max_output=MAX_PRINTED)
    if done.cut:
        raise GitError(f"no commit can be signed: {argv[0]}: {done.cut}")
    return done


def _environment(ours: Mapping[str, str], home: Path) -> dict[str, str]:
    kept = {name: value for name, value in ours.items() if name in process.ALLOWED}
    return kept | {"GNUPGHOME": str(home), "HOME": "/dev/null", "LC_ALL": "C"}
