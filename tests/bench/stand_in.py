"""A stand-in API server in a process of its own, which notes what it is asked, and who talks to it.

`stand_in.py FOLDER` prints where its kubeconfig is, then answers each line of its input with one line of JSON:
`take FILE` writes the requests since the last one into a file, a JSON list in their order, and says how many there
were; `patch` says when the first PATCH among them came, by the clock that all processes of a machine share, as soon as
there is one. Watches are left out: they last. It ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.bench import lab
from updater.demo.cluster import Asked, ClusterServer

PATIENCE = 60.0  # seconds for what is awaited
SENT = ("accept", "content-type")  # what of the headers says something about the request


class StandIn:
    """One of them as those see it who measure."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.kubeconfig = Path(self._answer())

    def create_namespaces(self, names: Iterable[str]) -> None:
        """Make these, as whoever owns the cluster did before."""
        with connected(self.kubeconfig, 1) as ask:
            for name in names:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                answer = ask.request("POST", "/api/v1/namespaces", json=body, headers=ask.headers)
                if answer.status != 201:
                    raise RuntimeError(f"namespace {name} was not made: {answer.status}")

    def take(self, file: Path) -> int:
        """Write down what it was asked since the last time, and return how many requests these were."""
        return int(self._asked(f"take {file}"))

    def patched(self) -> float:
        """Return time.monotonic() of the first PATCH since the last `take`, as soon as there is one."""
        return float(self._asked("patch"))

    def _asked(self, words: str) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{words}\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("a stand-in for a cluster was not asked what it was to be asked")
        return json.loads(line)


@contextmanager
def stand_in(folder: Path, environment: Mapping[str, str]) -> Iterator[StandIn]:
    """Run one for as long as the block lasts."""
    command, top = [lab.python(), "-m", "tests.bench.stand_in", str(folder)], Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=top
    ) as child:
        try:
            yield StandIn(child)
        finally:
            child.terminate()


def connected(kubeconfig: Path, connections: int) -> urllib3.HTTPConnectionPool:
    """Return so many connections to one, logged in by the headers of the pool."""
    document = json.loads(kubeconfig.read_text())
    cluster, token = document["clusters"][0]["cluster"], document["users"][0]["user"]["token"]
    return urllib3.connection_from_url(
        cluster["server"],
        maxsize=connections,
        ca_certs=cluster["certificate-authority"],
        retries=False,
        headers={"Authorization": f"Bearer {token}"},
    )


class _Notes:
    """What it was asked since the last `take`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked: list[tuple[float, Asked]] = []

    def note(self, asked: Asked) -> None:
        if asked.verb == "watch":
            return
        with self._changed:
            self._asked.append((monotonic(), asked))
            if asked.method == "PATCH":
                self._changed.notify_all()

    def take(self, file: str) -> int:
        with self._changed:
            taken, self._asked = self._asked, []
        Path(file).write_text(json.dumps([_request(asked) for _, asked in taken]))
        return len(taken)

    def patch(self) -> float:
        def first() -> float | None:
            return next((at for at, asked in self._asked if asked.method == "PATCH"), None)

        with self._changed:
            found = self._changed.wait_for(first, PATIENCE)
        if found is None:
            raise TimeoutError(f"no PATCH came in {PATIENCE:.0f} s")
        return found


def _request(asked: Asked) -> dict[str, Any]:
    query = f"?{urlencode(asked.query)}" if asked.query else ""
    headers = {name: asked.headers[name] for name in SENT if name in asked.headers}
    return {"method": asked.method, "path": asked.path + query, "headers": headers, "body": asked.body.decode()}


def main(folder: str) -> None:
    notes = _Notes()
    with ClusterServer(Path(folder), script=notes.note, remember=False) as server:
        print(json.dumps(str(server.kubeconfig.resolve())), flush=True)
        for line in sys.stdin:
            name, _, argument = line.strip().partition(" ")
            print(json.dumps(notes.take(argument) if name == "take" else notes.patch()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
