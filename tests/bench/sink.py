"""The message sink in a process of its own, so that what it costs is nobody else's, and who talks to it.

`sink.py` prints its address, then answers each line, a number, with a JSON list as soon as so many messages came: of
each its id, and when its first line was read, by the clock that all processes of a machine share. It ends with its
input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench import lab
from updater.demo.sink import MessageSink

PATIENCE = 60.0  # seconds for what is awaited


class Sink:
    """The sink as those see it who measure; `url` is its address."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.url = self._line()

    def arrivals(self, count: int) -> list[tuple[str, float]]:
        """Return id and time.monotonic() of each message, as soon as so many came. Raises RuntimeError."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{count}\n")
        self._child.stdin.flush()
        return [(name, arrived) for name, arrived in json.loads(self._line())]

    def _line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline().strip()
        if not line:
            raise RuntimeError("the sink did not get what it was to get")
        return line


@contextmanager
def sink(environment: Mapping[str, str]) -> Iterator[Sink]:
    """Run one for as long as the block lasts."""
    command, top = [lab.python(), "-m", "tests.bench.sink"], Path(__file__).parents[2]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=top,
    ) as child:
        try:
            yield Sink(child)
        finally:
            child.terminate()


def main() -> None:
    with MessageSink() as served:
        print(served.url, flush=True)
        for line in sys.stdin:
            messages = served.wait(int(line), PATIENCE)
            print(json.dumps([(message.body["id"], message.arrived) for message in messages]), flush=True)


if __name__ == "__main__":
    main()
