"""What `git log` tells, as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

# Five fields a commit, each ended by NUL; messages hold none.
FORMAT = "--format=tformat:%H%x00%ct%x00%an%x00%ae%x00%B%x00"
_FIELDS = 5
_TRAILER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): *(.*)")


@dataclass(frozen=True, slots=True)
class Logged:
    """One commit of a branch. `at` is when it was committed; `trailers` keep their order."""

    revision: str
    at: datetime
    author: str
    email: str
    message: str
    trailers: tuple[tuple[str, str], ...]


def parse_log(output: bytes) -> tuple[Logged, ...]:
    """Read what `git log` printed with FORMAT, newest first."""
    fields = output.decode("utf-8", "replace").split("\0")[:-1]
    return tuple(_logged(*fields[n : n + _FIELDS]) for n in range(0, len(fields) - _FIELDS + 1, _FIELDS))


def _logged(revision: str, seconds: str, author: str, email: str, message: str) -> Logged:
    at = datetime.fromtimestamp(int(seconds), UTC)
    return Logged(revision.lstrip("\n"), at, author, email, message, tuple(trailers(message)))


def trailers(message: str) -> Iterator[tuple[str, str]]:
    """Yield the trailers of every paragraph that holds nothing else.

    git itself looks at the last paragraph only; a squash keeps the blocks of all its commits.
    """
    for paragraph in re.split(r"\n[ \t]*\n", message.replace("\r\n", "\n").strip())[1:]:
        lines = re.sub(r"\n[ \t]+", " ", paragraph.strip()).splitlines()
        found = [_TRAILER.fullmatch(line) for line in lines]
        yield from ((match[1], match[2].strip()) for match in found if match and all(found))
