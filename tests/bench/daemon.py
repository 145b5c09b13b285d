"""`updater run` as people start it, on images that have nothing new, and how much memory it holds after some cycles."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench import lab, measure

CYCLES_SECONDS = 8.0  # of polling once a second, after the first cycle
PATIENCE = 60.0  # seconds for the first cycle, and for the end


def memory(config: Path, images: int, environment: Mapping[str, str]) -> float:
    """Start, wait until every image was decided, let it poll on, and return its resident memory in MiB."""
    command = [lab.updater(), "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as child:
        decided = _Decided(child, images)
        try:
            if not decided.all.wait(PATIENCE):
                raise RuntimeError(f"`updater run` decided {decided.count} of {images} images in {PATIENCE:.0f} s")
            end = time.monotonic() + CYCLES_SECONDS
            try:
                child.wait(end - time.monotonic())
            except subprocess.TimeoutExpired:
                return measure.resident(child.pid)
            raise RuntimeError(f"`updater run` ended by itself with {child.returncode}")
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(PATIENCE)
            decided.thread.join(PATIENCE)


class _Decided:
    """Reads the daemon's log to its end; `all` is set when every image was decided."""

    def __init__(self, child: subprocess.Popen[str], images: int) -> None:
        self.all, self.count = threading.Event(), 0
        self._child, self._images = child, images
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self.count += json.loads(line).get("event") == "decided"
            if self.count >= self._images:
                self.all.set()
