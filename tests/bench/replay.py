"""The floor of the second loop: a bare client sends what the product sent, and knows nothing of why.

`replay.py THREADS`, and for each cluster its kubeconfig and the requests that a stand-in wrote down. Each is sent in
its turn over the connections of urllib3, so many at a time for each cluster, and its answer is read.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

Request = dict[str, Any]


def main(threads: int, *pairs: str) -> None:
    refused: list[str] = []
    workers: list[threading.Thread] = []
    for kubeconfig, requests in zip(pairs[::2], pairs[1::2], strict=True):
        document = json.loads(Path(kubeconfig).read_text())
        cluster, token = document["clusters"][0]["cluster"], document["users"][0]["user"]["token"]
        pool = urllib3.connection_from_url(
            cluster["server"],
            maxsize=threads,
            ca_certs=cluster["certificate-authority"],
            retries=False,
            headers={"Authorization": f"Bearer {token}"},
        )
        turns = iter(json.loads(Path(requests).read_text()))
        sending = _Sending(pool, turns, refused)
        workers += [threading.Thread(target=sending.run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if refused:
        raise RuntimeError(f"{len(refused)} requests were refused, such as {refused[0]}")


class _Sending:
    """What is sent to one cluster, by several threads."""

    def __init__(self, pool: urllib3.HTTPConnectionPool, turns: Iterator[Request], refused: list[str]) -> None:
        self._pool, self._turns, self._refused = pool, turns, refused
        self._lock = threading.Lock()

    def run(self) -> None:
        while True:
            with self._lock:
                one = next(self._turns, None)
            if one is None:
                return
            headers = {**self._pool.headers, **one["headers"]}
            answer = self._pool.urlopen(one["method"], one["path"], body=one["body"].encode() or None, headers=headers)
            if answer.status >= 400 and answer.status != 404:  # what is not there yet was asked for too
                self._refused.append(f"{one['method']} {one['path']}: {answer.status}")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
