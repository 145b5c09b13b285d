"""The files of a configuration: what they were when they were read, and whether they are still that."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from updater.errors import ConfigError, Problem

MAX_BYTES = 1 << 20  # of one file; 1,000 images take some 200 kB
MAX_FILES = 1_000


UNREADABLE = b""  # the digest of what could not be read


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read. `seen` is device, inode, size and time; `digest` that of its content."""

    path: Path
    seen: tuple[int, ...] = ()
    digest: bytes = UNREADABLE


@dataclass(frozen=True, slots=True)
class Pattern:
    """One `include` and the files that it meant."""

    folder: Path
    text: str
    matches: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a configuration was read from."""

    files: tuple[Source, ...] = ()
    patterns: tuple[Pattern, ...] = ()

    def changed(self) -> bool:
        """Say whether reading again would give another text: a file's, or another list of files.

        A mounted ConfigMap changes by a symbolic link above the file, which a look at the file itself follows.
        """
        return any(map(_differs, self.files)) or any(p.matches != expand(p.folder, p.text) for p in self.patterns)


def is_glob(text: str) -> bool:
    """Say whether an `include` may mean no file or many."""
    return any(mark in text for mark in "*?[")


def expand(folder: Path, text: str) -> tuple[Path, ...]:
    """Return the files that an `include` of a file in `folder` means, sorted; a plain name is itself."""
    path = Path(os.path.normpath(folder / Path(text).expanduser()))
    if not is_glob(text):
        return (path,)
    anchor = Path(path.anchor)
    found = sorted(match for match in anchor.glob(str(path.relative_to(anchor))) if match.is_file())
    return tuple(found[: MAX_FILES + 1])


def read(path: Path) -> tuple[str, Source]:
    """Read one file of at most 1 MiB of UTF-8 text. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            seen = _seen(os.fstat(file.fileno()))
    except OSError as err:
        raise _unreadable(path, f"a file that cannot be read ({err.strerror})") from None
    if len(data) > MAX_BYTES:
        raise _unreadable(path, f"a file of more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        column = err.start - (data.rfind(b"\n", 0, err.start) + 1) + 1
        raise ConfigError([Problem(str(path), line, column, "", "a byte that is not UTF-8", "UTF-8 text")]) from None
    return text, Source(path, seen, hashlib.sha256(data).digest())


def _unreadable(path: Path, found: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, 0, "", found, f"a readable file of at most {MAX_BYTES} bytes")])


def _seen(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _differs(source: Source) -> bool:
    try:
        if _seen(source.path.stat()) == source.seen:
            return False
        return read(source.path)[1].digest != source.digest
    except (OSError, ConfigError):
        return source.digest != UNREADABLE
