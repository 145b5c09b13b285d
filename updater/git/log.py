"""What `git log` tells, as values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

# An empty field, seven of a commit, and an empty one again that ends them; then, until the next empty one, its files.
# NUL ends each: neither messages nor paths hold one, and no path is empty.
FORMAT = ("-z", "--format=tformat:%x00%H%x00%P%x00%ct%x00%an%x00%ae%x00%ce%x00%B%x00")
# What differs from the first parent, by the trees alone: looking for renames would read contents that are not here.
FILES = ("--name-only", "--no-renames", "--diff-merges=first-parent")
_FIELDS = 9
_TRAILER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): *(.*)")


@dataclass(frozen=True, slots=True)
class Logged:
    """One commit of a branch. `at` is when it was committed, by `committer` (an address); `trailers` keep their order.

    `files` are those that differ from its first parent, where that was asked for; paths that are not UTF-8 are not.
    """

    revision: str
    at: datetime
    author: str
    email: str
    message: str
    trailers: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()
    committer: str = ""
    parents: tuple[str, ...] = ()


def parse_log(output: bytes) -> tuple[Logged, ...]:
    """Read what `git log` printed with FORMAT, newest first; of output that was cut, the commits that are whole."""
    fields = output.split(b"\0")[:-1]
    found, at = [], 0
    while at + _FIELDS <= len(fields):
        _, *commit, _ = fields[at : at + _FIELDS]
        end = at = at + _FIELDS
        while end < len(fields) and fields[end]:
            end += 1
        found.append(_logged([field.decode("utf-8", "replace") for field in commit], fields[at:end]))
        at = end
    return tuple(found)


def _logged(commit: list[str], paths: list[bytes]) -> Logged:
    revision, parents, seconds, author, email, committer, message = commit
    at = datetime.fromtimestamp(int(seconds), UTC)
    told, files = tuple(trailers(message)), tuple(_paths(paths))
    return Logged(revision, at, author, email, message, told, files, committer, tuple(parents.split()))


def _paths(paths: list[bytes]) -> Iterator[str]:
    """Yield the paths; a line end stands before the first."""
    for n, path in enumerate(paths):
        with contextlib.suppress(UnicodeDecodeError):
            yield (path if n else path.removeprefix(b"\n")).decode()


def trailers(message: str) -> Iterator[tuple[str, str]]:
    """Yield the trailers of every paragraph that holds nothing else.

    git itself looks at the last paragraph only; a squash keeps the blocks of all its commits.
    """
    for paragraph in re.split(r"\n[ \t]*\n", message.replace("\r\n", "\n").strip())[1:]:
        lines = re.sub(r"\n[ \t]+", " ", paragraph.strip()).splitlines()
        found = [_TRAILER.fullmatch(line) for line in lines]
        if all(found):
            yield from ((match[1], match[2].strip()) for match in found if match)
