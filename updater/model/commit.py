"""What was written to Git."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit on a branch of a repository: its revision, its whole message, and the files that it changed."""

    repository: str
    branch: str
    revision: str
    message: str
    files: tuple[str, ...]
