"""Whether `updater run` is alive: a file that its clock touches, judged by the machine's monotonic clock.

Wall clocks jump; CLOCK_MONOTONIC is one for all processes of a boot, containers included.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 2.0  # seconds between two beats
STALE = 3 * TICK
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Beat:
    """How old the last beat is, in seconds, None where there is none of this boot, and what that means."""

    seconds: float | None
    healthy: bool
    why: str


def beat(data: Path) -> None:
    """Write a beat, whole or not at all."""
    new = data / f"heartbeat.{os.getpid()}"
    new.write_text(json.dumps({"monotonic": time.monotonic(), "boot": _boot(), "pid": os.getpid()}))
    new.replace(data / "heartbeat")


def stop(data: Path) -> None:
    """Take the last beat away: the daemon has ended."""
    (data / "heartbeat").unlink(missing_ok=True)


def age(data: Path) -> Beat:
    """Return the state of the daemon that works on this folder."""
    try:
        found = json.loads((data / "heartbeat").read_text())
        seconds = time.monotonic() - float(found["monotonic"])
        boot = found["boot"]
    except FileNotFoundError:
        return Beat(None, healthy=False, why=f"no daemon runs on {data}")
    except (OSError, ValueError, KeyError, TypeError) as err:
        return Beat(None, healthy=False, why=f"the heartbeat in {data} cannot be read: {type(err).__name__}")
    if boot != _boot() or seconds < 0:
        return Beat(None, healthy=False, why="the last heartbeat is from before this machine started")
    if seconds > STALE:
        return Beat(
            seconds, healthy=False, why=f"the last heartbeat is {seconds:.0f} s old, expected {STALE:.0f} s at most"
        )
    return Beat(seconds, healthy=True, why=f"alive, last heartbeat {seconds:.1f} s ago")


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
