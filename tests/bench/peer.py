"""The peer of the second loop: the official client, bare, sends what the product sent, and knows nothing of why.

`peer.py THREADS`, and for each cluster its kubeconfig and the requests that a stand-in wrote down. Each is sent in its
turn by the dynamic client, whose users hand it objects and get objects back, so many at a time for each cluster.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError

Request = dict[str, Any]


def main(threads: int, *pairs: str) -> None:
    refused: list[str] = []
    workers: list[threading.Thread] = []
    for kubeconfig, requests in zip(pairs[::2], pairs[1::2], strict=True):
        api = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
        api.configuration.connection_pool_maxsize = threads
        client = DynamicClient(api)  # type: ignore[no-untyped-call]
        sending = _Sending(client, iter(json.loads(Path(requests).read_text())), refused)
        workers += [threading.Thread(target=sending.run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if refused:
        raise RuntimeError(f"{len(refused)} requests were refused, such as {refused[0]}")


class _Sending:
    """What is sent to one cluster, by several threads."""

    def __init__(self, client: DynamicClient, turns: Iterator[Request], refused: list[str]) -> None:
        self._client, self._turns, self._refused = client, turns, refused
        self._lock = threading.Lock()

    def run(self) -> None:
        while True:
            with self._lock:
                one = next(self._turns, None)
            if one is None:
                return
            headers = {name.lower(): value for name, value in one["headers"].items()}
            body = json.loads(one["body"]) if one["body"] else None
            try:
                self._client.request(one["method"], one["path"], body=body, content_type=headers.get("content-type"))
            except NotFoundError:
                pass  # what is not there yet was asked for too
            except DynamicApiError as err:
                self._refused.append(f"{one['method']} {one['path']}: {err.status}")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
