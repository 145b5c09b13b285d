"""A hook of the Git server that says when a push has come to it, and holds it until the gate is opened."""

from __future__ import annotations

import os
import select
import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.git import hook


class Gate:
    """A context manager; leaving it opens the gate and takes the hook away.

    At `pre-receive` nothing is written yet, at `post-receive` the branch has moved and the client does not know it.
    Two named pipes: whoever opens one waits for the other side, so that nobody has to look again and again.
    """

    def __init__(self, bare: Path, name: str = "pre-receive") -> None:
        self._hook = bare / "hooks" / name
        self._arrived, self._opened = bare / f"{name}.arrived", bare / f"{name}.opened"
        for pipe in (self._arrived, self._opened):
            os.mkfifo(pipe)
        self._reading = os.open(self._arrived, os.O_RDWR | os.O_CLOEXEC)
        self._writing: int | None = None
        arrived, opened = (shlex.quote(str(pipe)) for pipe in (self._arrived, self._opened))
        hook(bare, name, f"echo > {arrived}; : < {opened}")

    def wait(self, pushes: int = 1, *, seconds: float = 30) -> None:
        """Return when so many pushes have come to the gate. It fails where they do not in this time."""
        end, seen = time.monotonic() + seconds, 0
        while seen < pushes:
            ready, _, _ = select.select([self._reading], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{seen} of {pushes} pushes came to the {self._hook.name} hook in {seconds:g} s")
            seen += len(os.read(self._reading, pushes - seen))

    def open(self) -> None:
        """Let every push pass, those that wait and those that come."""
        if self._writing is None:
            self._writing = os.open(self._opened, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.open()
        self._hook.unlink()
        for descriptor in (self._reading, self._writing):
            if descriptor is not None:
                os.close(descriptor)
        for pipe in (self._arrived, self._opened):
            pipe.unlink()
