"""One run of a child, measured: wall time, CPU with the children that it waited for, and the largest of them."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE = 120.0  # seconds for any one child; the longest takes about ten


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of the wall clock, seconds of CPU (user and system, waited-for children included), and what it printed.

    `peak` is the resident memory in MiB of the largest process among the child and those that it waited for.
    """

    wall: float
    cpu: float
    peak: float
    output: str

    def document(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.output)


def run(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Run a command to its end. Raises RuntimeError with its last words where it fails or takes too long."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=cwd, start_new_session=True
        )
        late = not _exits(child.pid, DEADLINE)
        wall = time.perf_counter() - start
        if late:
            os.killpg(child.pid, signal.SIGKILL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if late or child.returncode:
            err.seek(0)
            why = f"took more than {DEADLINE:.0f} s" if late else f"exited with {child.returncode}"
            raise RuntimeError(f"{' '.join(command[:3])} {why}: {err.read().decode(errors='replace')[-2000:]}")
        out.seek(0)
        return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read().decode())


def alternate(rounds: int, *sides: Callable[[], Run], done: Callable[[], None] = lambda: None) -> list[list[Run]]:
    """Run every side once a round, so that what disturbs the machine disturbs all of them; the runs by side."""
    runs: list[list[Run]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, mine in zip(sides, runs, strict=True):
            mine.append(side())
            done()
    return runs


def wall(runs: Sequence[Run]) -> float:
    """The median of the wall times."""
    return statistics.median(run.wall for run in runs)


def cpu(runs: Sequence[Run]) -> float:
    """The median of the CPU times."""
    return statistics.median(run.cpu for run in runs)


def resident(pid: int) -> float:
    """The resident memory of one process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def _exits(pid: int, seconds: float) -> bool:
    """Whether a child ends within so many seconds; it is not reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
