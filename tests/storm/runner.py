"""Runs commands in forks of a process that has the product imported, and kills them when it is told.

A kill then costs a fork and not the start of Python. It is a process of its own, because forking needs one without
threads. Orders come as JSON lines on standard input, an answer to each goes to standard output.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

PATIENCE = 60.0  # seconds for one command to end by itself
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: whose parent is killed becomes a child of ours


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: `killed` by us, else with its exit code; seconds since the fork; what it printed."""

    killed: bool
    code: int
    seconds: float
    out: str


class Runner:
    """A context manager: the forking process, from the side of the test."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._out = folder / "runner.out"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.storm.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )

    def run(self, *argv: str, kill_after: float | None = None, everything: bool = False) -> Ended:
        """Run a command; kill it after so many seconds, git and all its children too where `everything` is asked."""
        order = {"argv": argv, "kill_after": kill_after, "everything": everything, "out": str(self._out)}
        return Ended(**self._order(order), out=self._out.read_text(errors="replace"))

    def remember(self, config: Path, kill_after: float) -> Ended:
        """Store reports of a cycle without a pause, until it is killed."""
        return self.run("remember", str(config), kill_after=kill_after)

    def drain(self, config: Path, at: float, pid: Path, kill_after: float | None = None) -> Ended:
        """Send all that waits, by a clock that begins at `at`; the number of the process is written to `pid`."""
        return self.run("drain", str(config), str(at), str(pid), kill_after=kill_after)

    def settle(self, *, seconds: float = PATIENCE) -> None:
        """Wait until everything that a killed command left running has ended by itself."""
        left = self._order({"settle": seconds})["left"]
        if left:
            raise TimeoutError(f"{left} processes of a killed command still run after {seconds:g} s")

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the runner ended with {self._process.wait(PATIENCE)}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate(timeout=PATIENCE)  # the end of its orders ends it


def main() -> None:
    """Obey until there are no more orders; then nobody of ours is left."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    preload()
    assert threading.active_count() == 1
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"left": settle(order["settle"])} if "settle" in order else obey(**order)
        print(json.dumps(answer), flush=True)
    end()


def preload() -> None:
    """Import everything that a cycle imports when it runs."""
    import git.cmd  # noqa: F401  the first import asks git for its version

    import updater.cli.main
    import updater.cli.show
    import updater.config.notifications
    import updater.daemon.build
    import updater.daemon.couriers
    import updater.daemon.remember
    import updater.pipeline.notify
    import updater.pipeline.update  # noqa: F401


def obey(argv: list[str], kill_after: float | None, out: str, *, everything: bool) -> dict[str, Any]:
    """Fork, run the command there, and see it end; or end it."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        become(argv, out)
    gone = ended(child, PATIENCE if kill_after is None else kill_after)
    if not gone:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.monotonic() - start
    killed = code == -signal.SIGKILL and not gone
    if killed and everything:
        end()
    return {"killed": killed, "code": code, "seconds": seconds}


def become(argv: list[str], out: str) -> NoReturn:
    """Be the command: its standard output and error go to a file, and nobody else's orders are read."""
    code = 1
    try:
        for path, flags, number in ((os.devnull, os.O_RDONLY, 0), (out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1)):
            descriptor = os.open(path, flags, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.dup2(1, 2)
        code = command(argv)
    except BaseException:  # noqa: BLE001  shown by the test; nothing may return into the runner's loop
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(argv: list[str]) -> int:
    """Run one command line in this process and return its exit code."""
    if argv[0] == "remember":
        remember_forever(Path(argv[1]))
    if argv[0] == "drain":
        Path(argv[3]).write_text(str(os.getpid()))
        drain(Path(argv[1]), float(argv[2]))
        return 0
    from updater.cli.main import main as front

    sys.argv = ["updater", *argv]
    try:
        front()
    except SystemExit as end_of_it:
        return int(end_of_it.code or 0)
    return 0


def remember_forever(config: Path) -> NoReturn:
    """Store cycle after cycle; all items of one have the same reason, which is a number."""
    from dataclasses import replace
    from datetime import UTC, datetime

    from updater.config.load import load
    from updater.daemon.remember import open_state, remember
    from updater.model.decision import Reason
    from updater.pipeline.report import Report, held
    from updater.store.journal import Journal

    settings = load(config)
    journal = Journal(open_state(settings))
    rows = [held(item, Reason.SUSPENDED, "") for item in settings.items]
    number = 0
    while True:
        number += 1
        report = Report([replace(row, reason=str(number)) for row in rows])
        remember(settings, journal, report, datetime.now(UTC))


def drain(config: Path, at: float) -> None:
    """Send all that waits, channel after channel; nobody waits for a limit, because the clock is in a hurry."""
    from dataclasses import replace
    from datetime import UTC, datetime
    from itertools import count

    from updater.config.load import load
    from updater.daemon.couriers import couriers
    from updater.daemon.remember import open_state

    settings = load(config)
    ticks = count(at, 5.0)
    with closing(open_state(settings)) as database, couriers(settings, database) as made:
        for one in made:
            courier = replace(one, clock=lambda: datetime.fromtimestamp(next(ticks), UTC))
            while courier.drain() is not None:
                continue


def children() -> list[int]:
    """Return the children of this process, those included whose parent was killed."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def end() -> None:
    """Kill every child and, as they come to us, their children."""
    while pids := children():
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)


def settle(seconds: float) -> int:
    """Wait for every child to end by itself; return how many have not."""
    until = time.monotonic() + seconds
    while pids := children():
        for pid in pids:
            if not ended(pid, until - time.monotonic()):
                return len(children())
            os.waitpid(pid, 0)
    return 0


def kill(pid: int, seconds: float) -> bool:
    """Kill a process whose parent may reap it at once; return whether it ends within so many seconds."""
    descriptor = os.pidfd_open(pid)  # before the kill: after it, the number may be nobody's
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def ended(pid: int, seconds: float) -> bool:
    """Return whether a child ends within so many seconds; it is not reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
