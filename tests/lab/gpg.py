"""A keyring of GnuPG for tests: keys are made there, exported, and their signatures verified."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.lab.git import CLEAN

NEEDS = {"gpg": "gnupg", "gpg-agent": "gnupg", "gpgconf": "gnupg"}  # program -> package


def missing() -> list[str]:
    """The packages that are not installed here."""
    return sorted({package for program, package in NEEDS.items() if not shutil.which(program)})


class Keyring:
    """A home of gpg in a short folder: the name of a socket is short."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ring-")
        self._env = {"GNUPGHOME": self._folder.name}
        self.key = self.make("Image Updater <updater@localhost>")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run("gpgconf", "--kill", "all")
        self._folder.cleanup()

    def make(self, owner: str, passphrase: str = "") -> str:
        """Make a key, and return its fingerprint."""
        done = self._run("gpg", "--status-fd", "1", *_given(passphrase), "--quick-gen-key", owner, "ed25519", "sign")
        return next(line.split()[3] for line in done.splitlines() if "KEY_CREATED" in line)

    def export(self, *fingerprints: str, to: Path, passphrase: str = "") -> Path:
        """Write secret keys to a file, armoured."""
        to.write_text(self._run("gpg", *_given(passphrase), "--armor", "--export-secret-keys", *fingerprints))
        return to

    def public(self, fingerprint: str, to: Path) -> Path:
        """Write the public half of a key to a file, armoured."""
        to.write_text(self._run("gpg", "--batch", "--armor", "--export", fingerprint))
        return to

    def signer(self, bare: Path, revision: str) -> str:
        """Have git verify a commit, and return the fingerprint of who signed it; raises where the signature is bad."""
        said = self._run("git", "-C", str(bare), "verify-commit", "--raw", revision, both=True)
        return next(line.split()[2] for line in said.splitlines() if line.startswith("[GNUPG:] VALIDSIG "))

    def _run(self, *argv: str, both: bool = False) -> str:
        done = subprocess.run(argv, check=False, env=CLEAN | self._env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{argv} exited with {done.returncode}: {done.stderr}")
        return done.stdout + (done.stderr if both else "")


def agents(*below: Path) -> list[str]:
    """Return the homes, below these folders, in which agents live now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if argv[0].endswith(b"gpg-agent") and b"--homedir" in argv:
            found.append(argv[argv.index(b"--homedir") + 1].decode())
    return [home for home in found if any(Path(home).is_relative_to(folder) for folder in below)]


def _given(passphrase: str) -> tuple[str, ...]:
    return "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase
