"""The programs that some renderers need: found, shut off, bounded.

* Each run has a private folder (0700) below the data folder, which is gone afterwards. All that it writes lies there.
* It sees none of our environment: no kubeconfig, no home, no login. On its PATH there is nothing, so that it starts no
  git and no plugin, and what it takes for its proxy does not answer.
* Time, memory and output are bounded. Values go by file, never by argv.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from updater.errors import ManifestError
from updater.model.stream import Broken, decode
from updater.renderers.files import shown
from updater.secrets import redact
from updater.transport import process

DEADLINE = 90.0  # seconds of one run, as Argo CD has it; they take a tenth of one
MAX_OUTPUT = 64 << 20  # bytes of manifests; a rendered cluster of 2,000 documents is 5 MB
MAX_WRITTEN = 256 << 20  # bytes that a program gets to read
MAX_MEMORY = 3 << 30  # bytes of address space; Go reserves one before it does anything
MAX_SAID = 1000  # characters of what a program says that are kept
_LEFT_OVER = 3600.0  # seconds: a folder so old belongs to nobody who still runs
_KLOG = re.compile(r"^[EWIF]\d{4} [\d:.]+ +\d+ [\w.-]+:\d+\] ")  # kubectl's own head of a line: time, process, place
_TREE = re.compile(r"(?<![\w./-])tree/")
_NOWHERE = "http://127.0.0.1:9"  # the port of discard: nothing listens there


class Room:
    """The private folder of one run: `tree` holds files of the repository at their paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0

    def write(self, files: Mapping[str, bytes], below: str = "tree") -> None:
        """Write files that nobody else can read. Raises ManifestError for too many bytes, or a path that is none."""
        for name, data in files.items():
            parts = name.split("/")
            if not all(part not in {"", ".", "..", ".git"} and "\0" not in part for part in parts):
                raise ManifestError(f"{shown(name)}: it is no path of a file")
            self._written += len(data)
            if self._written > MAX_WRITTEN:
                raise ManifestError(f"more than {MAX_WRITTEN} bytes would have to be read")
            try:
                self._put(self.path.joinpath(below, *parts), data)
            except OSError as error:
                raise ManifestError(f"{shown(name)}: it cannot be copied: {error.strerror}") from None

    def _put(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


class Tools:
    """Programs on `path` (default: our own PATH), and the folder below which they work."""

    def __init__(
        self, folder: Path, *, path: str | None = None, deadline: float = DEADLINE, max_output: int = MAX_OUTPUT
    ) -> None:
        self._folder = folder
        self._path = path
        self._deadline = deadline
        self._max_output = max_output
        self._swept = False

    def find(self, names: Sequence[str], what: str) -> Path:
        """Return the first program that there is. Raises ManifestError that names them."""
        found = next(filter(None, (shutil.which(name, path=self._path) for name in names)), None)
        if found is None:
            neither = "neither is" if len(names) == 2 else "it is not"
            raise ManifestError(f"{' or '.join(names)} is needed to render {shown(what)}, and {neither} on PATH")
        return Path(found).absolute()

    def identity(self, names: Sequence[str], what: str) -> str:
        """Return what changes whenever another program, or another version of it, would be started."""
        program = self.find(names, what)
        try:
            status = program.stat()
        except OSError as error:
            raise ManifestError(f"{program}: {error.strerror}") from None
        return f"{program}:{status.st_size}:{status.st_mtime_ns}"

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """Make a private folder, and remove it with all that is in it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            path = Path(tempfile.mkdtemp(dir=self._folder, prefix="run-"))
        except OSError as error:
            raise ManifestError(f"{self._folder}: {error.strerror}") from None
        try:
            for name in ("home", "empty", "tree"):
                (path / name).mkdir(mode=0o700)
            yield Room(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def run(self, room: Room, argv: Sequence[str], what: str) -> tuple[str, str]:
        """Run a program and return what it printed on both outputs.

        Raises ManifestError that begins with `what`, and ends with the last lines that it said.
        """
        try:
            child = subprocess.Popen(
                [*self._limits(), *argv],
                cwd=room.path, env=_environment(room.path), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # ValueError: a NUL in a setting
            raise ManifestError(f"{what}: it cannot be started: {error}") from None
        done = process.finish(child, seconds=self._deadline, max_output=self._max_output)
        if done.code or done.cut:
            said = done.cut or f"it exited with {done.code}"
            raise ManifestError(f"{what}: {said}{_last_words(done.stderr, room.path)}")
        try:
            return decode(done.stdout, self._max_output), done.stderr.decode(errors="replace")
        except Broken as broken:
            raise ManifestError(f"{what}: line {broken.line} of its output: {broken}") from None

    def _limits(self) -> list[str]:
        """Bound the memory where util-linux is there; Python could do it only between fork and exec, beside threads."""
        program = shutil.which("prlimit")
        return [program, f"--as={MAX_MEMORY}", "--core=0", "--"] if program else []

    def _sweep(self) -> None:
        """Remove what runs left that were killed."""
        if self._swept:
            return
        self._swept = True
        for path in self._folder.glob("run-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFT_OVER:
                    shutil.rmtree(path, ignore_errors=True)


def _environment(room: Path) -> dict[str, str]:
    home, empty = str(room / "home"), str(room / "empty")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    homes = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    helm = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
    return {
        **dict.fromkeys((*homes, *helm), home),
        **proxies,
        "PATH": empty,
        "HELM_PLUGINS": empty,
        "KUSTOMIZE_PLUGIN_HOME": empty,
        "KUBECTL_KUBERC": "false",
        "LC_ALL": "C",
    }


def _last_words(stderr: bytes, room: Path, lines: int = 6) -> str:
    """Return the end of what a program said; its paths are those of the repository."""
    said = _TREE.sub("", stderr.decode(errors="replace").replace("\r", "\n").replace(f"{room}/", ""))
    kept = [_KLOG.sub("", line.strip()) for line in said.splitlines() if line.strip()][-lines:]
    words = "".join(c for c in " | ".join(kept) if c.isprintable())[-MAX_SAID:]
    return redact(f": {words}") if words else ""
