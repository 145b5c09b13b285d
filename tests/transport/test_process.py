"""Children end when they should, with everything that they started, and never block on their pipes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from updater.transport import process
from updater.transport.process import Finished, end_children, finish, outside

HANG = "import signal; print('up', flush=True); signal.pause()"


def start(*argv: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def python(code: str) -> subprocess.Popen[bytes]:
    return start(sys.executable, "-c", code)


def ended(pid: int, seconds: float = 5) -> bool:
    """Whether a process that is not our child has ended, or does within `seconds`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_a_child_that_prints_while_it_reads_never_blocks() -> None:
    data = os.urandom(5_000_000)
    done = finish(start("cat"), data, seconds=20, max_output=len(data))
    assert done == Finished(0, data, b"")


def test_a_child_that_does_not_read_its_input_is_no_failure() -> None:
    done = finish(start("head", "-c", "3"), b"abc" * 1_000_000, seconds=20, max_output=10)
    assert (done.code, done.stdout, done.cut) == (0, b"abc", "")


def test_both_pipes_are_read_and_of_errors_the_end_is_kept() -> None:
    code = "import sys; sys.stderr.write('x' * 200000 + 'last words'); print('out'); sys.exit(3)"
    done = finish(python(code), seconds=20, max_output=10)
    assert (done.code, done.stdout) == (3, b"out\n")
    assert len(done.stderr) == process.MAX_STDERR
    assert done.stderr.endswith(b"last words")


def test_a_child_that_prints_too_much_is_ended() -> None:
    done = finish(start("yes"), seconds=20, max_output=100_000)
    assert done.code < 0
    assert len(done.stdout) == 100_000
    assert done.cut == "it printed more than 100000 bytes"


def test_too_much_is_noticed_after_the_end_too() -> None:
    done = finish(start("echo", "twelve bytes"), seconds=20, max_output=6)
    assert (done.stdout, done.cut) == (b"twelve", "it printed more than 6 bytes")


def test_a_sink_gets_the_pieces_and_nothing_is_kept() -> None:
    pieces: list[bytes] = []
    done = finish(start("cat"), b"z" * 300_000, seconds=20, max_output=300_000, sink=pieces.append)
    assert (done.stdout, b"".join(pieces)) == (b"", b"z" * 300_000)


def test_the_deadline_ends_the_whole_group() -> None:
    child = start("sh", "-c", "sleep 1000 & echo $!; wait")
    began = time.monotonic()
    done = finish(child, seconds=0.5, max_output=100)
    assert time.monotonic() - began < 5
    assert done.cut == "it took more than 0.5 s"
    assert ended(int(done.stdout))


def test_a_child_that_ignores_the_first_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    child = python(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {HANG}")
    done = finish(child, seconds=1, max_output=100)
    assert (done.code, done.stdout) == (-9, b"up\n")


def test_a_grandchild_that_holds_the_pipes_holds_nobody_up() -> None:
    began = time.monotonic()
    done = finish(start("sh", "-c", "sleep 1000 & echo $!"), seconds=60, max_output=100)
    assert time.monotonic() - began < 10
    assert (done.code, done.cut) == (0, "")
    assert ended(int(done.stdout))


def test_an_error_while_reading_ends_the_child_and_rises() -> None:
    def refuse(chunk: bytes) -> None:
        raise LookupError(chunk)

    child = python(HANG)
    with pytest.raises(LookupError):
        finish(child, seconds=60, max_output=100, sink=refuse)
    assert child.returncode == -9


def test_nothing_stays_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        finish(start("true"), b"unread", seconds=20, max_output=10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_that_stops_can_end_its_children() -> None:
    up, results = threading.Event(), list[Finished]()
    sink: Callable[[bytes], None] = lambda _: up.set()  # noqa: E731  one line of a test
    thread = threading.Thread(
        target=lambda: results.append(finish(python(HANG), seconds=60, max_output=100, sink=sink))
    )
    thread.start()
    assert up.wait(20)
    end_children()
    thread.join(20)
    assert [done.code for done in results] == [-15]
    end_children()


def test_only_what_is_allowed_is_inside() -> None:
    environment = {
        "PATH": "/bin",
        "GIT_DIR": "/x",
        "https_proxy": "p",
        "HTTPS_PROXY": "p",
        "AWS_SECRET": "s",
        "HOME": "/r",
    }
    assert outside(environment) == ("GIT_DIR", "AWS_SECRET", "HOME")
