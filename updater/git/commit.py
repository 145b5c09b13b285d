"""One commit as a stream for `git fast-import`: no work tree, no index, no filters, no hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

REGULAR = "100644"
EXECUTABLE = "100755"
SYMLINK = "120000"
SUBMODULE = "160000"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f<>]")


@dataclass(frozen=True, slots=True)
class Author:
    """Who a commit says it is from."""

    name: str
    email: str

    def line(self, at: datetime) -> bytes:
        """Return `Name <email> SECONDS +0000` without what would break the line."""
        name, email = self._clean()
        return f"{name} <{email}> {int(at.timestamp())} +0000".encode()

    def variables(self, at: datetime) -> dict[str, str]:
        """Return the same as git's own commands read it: author and committer are one."""
        name, email = self._clean()
        said = {"NAME": name, "EMAIL": email, "DATE": f"@{int(at.timestamp())} +0000"}
        return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in said.items()}

    def _clean(self) -> tuple[str, str]:
        name, email = (_UNPRINTABLE.sub("", text).strip() for text in (self.name, self.email))
        return name or "unknown", email


def stream(
    ref: str,
    base: str | None,
    files: Mapping[str, bytes],
    modes: Mapping[str, str],
    *,
    message: str,
    author: Author,
    at: datetime,
) -> bytes:
    """Return what fast-import reads: one commit on `base` (None: the first), to which `ref` points; it is printed.

    `modes` are those of the files in `base`, where they are not ordinary. Raises ValueError for a path that cannot
    be written: absolute, outside the tree, inside `.git`, a link or a submodule.
    """
    who = author.line(at)
    parts = [b"feature done\n", b"commit %b\nmark :1\n" % ref.encode(), b"author %b\ncommitter %b\n" % (who, who)]
    parts += _data(message.replace("\0", "").encode("utf-8", "replace"))
    if base:
        parts.append(b"from %b\n" % base.encode())
    for path, content in sorted(files.items()):
        mode = modes.get(path, REGULAR)
        check_path(path, mode)
        parts += [b"M %b inline %b\n" % (mode.encode(), _quoted(path)), *_data(content)]
    return b"".join([*parts, b"get-mark :1\n", b"done\n"])


def check_path(path: str, mode: str) -> None:
    """Raise ValueError for a path that we never write."""
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise ValueError(f"{path!r} is no path of a file in a repository")
    if mode in {SYMLINK, SUBMODULE}:
        raise ValueError(f"{path!r} is a {'symbolic link' if mode == SYMLINK else 'submodule'}, which is never written")


def _data(content: bytes) -> Iterator[bytes]:
    yield b"data %d\n" % len(content)
    yield content
    yield b"\n"


def _quoted(path: str) -> bytes:
    """Quote a path as C does; only quote, backslash and line feed mean something there."""
    raw = path.encode("utf-8", "surrogateescape")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
