"""Whether the daemon lives is judged by the machine's monotonic clock."""

import json
import os
import time
from pathlib import Path

import pytest

from updater.daemon.heartbeat import STALE, age, beat, stop


def test_a_fresh_beat_is_healthy(tmp_path: Path) -> None:
    beat(tmp_path)
    assert age(tmp_path).healthy
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]


def test_a_stopped_daemon_is_not(tmp_path: Path) -> None:
    beat(tmp_path)
    stop(tmp_path)
    assert (age(tmp_path).healthy, age(tmp_path).why) == (False, f"no daemon runs on {tmp_path}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"monotonic": time.monotonic() - STALE - 60}, "s old"),
        ({"monotonic": time.monotonic() + 1e6}, "before this machine started"),
        ({"boot": "another"}, "before this machine started"),
        ({"monotonic": "x"}, "cannot be read: ValueError"),
    ],
    ids=["too old", "of a longer boot", "of another boot", "damaged"],
)
def test_what_is_not_healthy(tmp_path: Path, change: dict[str, object], why: str) -> None:
    beat(tmp_path)
    file = tmp_path / "heartbeat"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert not age(tmp_path).healthy
    assert why in age(tmp_path).why


def test_the_wall_clock_does_not_matter(tmp_path: Path) -> None:
    beat(tmp_path)
    os.utime(tmp_path / "heartbeat", (0, 0))
    assert age(tmp_path).healthy
