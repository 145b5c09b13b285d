"""`updater run` as people start it, on images that have nothing new, and how much memory it holds after some cycles."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import lab, measure

CYCLES_SECONDS = 8.0  # of polling once a second, after the first cycle
TOP = Path(__file__).parents[2]
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


def committed(fleet: lab.Fleet, environment: Mapping[str, str]) -> float:
    """Start, and return the seconds until the branch had moved; what is still waited for then is not."""
    fleet.rewind()
    start = time.monotonic()
    branch = fleet.bare / "refs/heads/main"  # a file of its own since the branch was put back
    command = [lab.updater(), "run", "--config", str(fleet.config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as child:
        try:
            while branch.read_text().strip() == fleet.base:  # no git asks, which would take the time that is measured
                if time.monotonic() - start > PATIENCE or child.poll() is not None:
                    raise RuntimeError(f"`updater run` committed nothing in {time.monotonic() - start:.0f} s")
                time.sleep(0.01)
            return time.monotonic() - start
        finally:
            child.kill()


@contextmanager
def front(config: Path, images: int, environment: Mapping[str, str]) -> Iterator[Front]:
    """Run the daemon with its front door for as long as the block lasts; it has looked at every image once."""
    command = [lab.python(), "-m", "tests.bench.front", str(config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=TOP
    ) as child:
        running = Front(child, images)
        try:
            running.cycles(2)
            yield running
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(PATIENCE)
            running.join()


class Front:
    """A daemon with its front door: where that is, and how long its cycles take."""

    def __init__(self, child: subprocess.Popen[str], images: int) -> None:
        self._child, self._images = child, images
        self._changed = threading.Condition()
        self._cycles: list[dict[str, float]] = []
        self.url = ""
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    def forget(self) -> None:
        """Count cycles anew."""
        with self._changed:
            self._cycles.clear()

    def cycles(self, count: int) -> list[dict[str, float]]:
        """Wait for so many cycles of all images from now on, and return them. Raises RuntimeError."""
        self.forget()
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._cycles) >= count and self.url, PATIENCE):
                raise RuntimeError(f"{len(self._cycles)} of {count} cycles came in {PATIENCE:.0f} s")
            return self._cycles[:count]

    def join(self) -> None:
        """Wait for the ends of what it says."""
        for thread in self._threads:
            thread.join(PATIENCE)

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            found = json.loads(line)
            if found["images"] == self._images:
                self._note(partial(self._cycles.append, found))

    def _listen(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            found = json.loads(line) if line.startswith("{") else {}
            if found.get("event") == "serving":
                self._note(partial(setattr, self, "url", found["url"]))

    def _note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


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
