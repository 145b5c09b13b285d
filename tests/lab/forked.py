"""Commands in forks of a process that has the product imported: each is a process of its own, but for Python's start.

Starting Python and importing takes most of the second that a command takes, and the tests run hundreds of them. The
process that forks has no threads and has done nothing: what a command finds there is what an import leaves. Orders come
as JSON lines on standard input, an answer to each goes to standard output.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.lab.hasty import program
from updater.model.limits import Limits

_ROOT = Path(__file__).parents[2]
_START = ("LANG", "LC_", "PYTHON", "COLUMNS", "TERM")  # variables that Python, or an import, reads as it starts


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, below 0 the signal; what it printed."""

    code: int
    out: str
    err: str


def run(
    argv: Sequence[str], environment: Mapping[str, str], limits: Limits, *, seconds: float, cwd: Path = _ROOT
) -> Ended:
    """Run `updater` with these arguments to its end; in a Python of its own where a fork cannot do."""
    forked = _FORKER.run(argv, environment, limits, seconds, cwd)
    if forked is not None:
        return forked
    done = subprocess.run(
        [*program(limits), *argv], env={**environment, "PYTHONPATH": str(_ROOT)}, cwd=cwd,
        text=True, capture_output=True, timeout=seconds, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


class _Forker:
    """The process that forks, from the side of the tests; threads that come meanwhile are told to go elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], limits: Limits, seconds: float, cwd: Path
    ) -> Ended | None:
        """Run a command to its end; None where it needs a Python of its own, or another one runs."""
        if any(name.startswith(_START) for name in environment if environment[name] != _BASE.get(name)):
            return None
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with tempfile.TemporaryDirectory() as folder:
                order = {"argv": ["updater", *argv], "environment": dict(environment), "limits": asdict(limits),
                         "seconds": seconds, "folder": folder, "cwd": str(cwd)}  # fmt: skip
                code = self._order(order)["code"]
                out, err = ((Path(folder) / name).read_bytes().decode("utf-8", "replace") for name in ("out", "err"))
                return Ended(code, out, err)
        finally:
            self._lock.release()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        process = self._process or self._started()
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that forks ended with {process.wait(10)}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "tests.lab.forked"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), **_BASE}
        made = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT
        )
        atexit.register(made.communicate)  # the end of its orders ends it
        self._process = made
        return made


_BASE = {"LANG": "C.UTF-8"}
_FORKER = _Forker()


def _main() -> None:
    _preload()
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1
    for line in sys.stdin:
        print(json.dumps({"code": _obey(**json.loads(line))}), flush=True)


def _preload() -> None:
    """Import everything that commands import when they run."""
    import git.cmd  # noqa: F401  the first import asks git for its version

    import updater.cli.main
    import updater.cli.show
    import updater.cluster.client
    import updater.config.hooks
    import updater.config.notifications
    import updater.daemon.build
    import updater.daemon.couriers
    import updater.daemon.delivery
    import updater.daemon.remember
    import updater.daemon.sites
    import updater.pipeline.deliver
    import updater.pipeline.examine
    import updater.pipeline.mentions
    import updater.pipeline.notify
    import updater.pipeline.rollback
    import updater.pipeline.update  # noqa: F401


def _obey(
    *, argv: list[str], environment: dict[str, str], limits: dict[str, Any], seconds: float, folder: str, cwd: str
) -> int:
    """Fork, run the command there, and see it end; or end it."""
    child = os.fork()
    if child == 0:
        os.chdir(cwd)
        _become(argv, environment, Limits(**limits), Path(folder))
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(argv: list[str], environment: dict[str, str], limits: Limits, folder: Path) -> NoReturn:
    """Be the command; nobody else's orders are read, and nothing returns into the loop of orders."""
    code = 1
    try:
        for path, flags, number in (
            (Path(os.devnull), os.O_RDONLY, 0),
            (folder / "out", os.O_WRONLY | os.O_CREAT, 1),
            (folder / "err", os.O_WRONLY | os.O_CREAT, 2),
        ):
            descriptor = os.open(path, flags, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        sys.argv = argv
        code = _command(limits)
    except BaseException:  # noqa: BLE001  shown by the test
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(limits: Limits) -> int:
    from updater.cli.main import main

    try:
        main(limits)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    _main()
