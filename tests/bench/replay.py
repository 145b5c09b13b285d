"""The floor of the second loop, and its peer: a bare client sends what the product sent, and knows nothing of why.

`replay.py CLIENT THREADS`, and for each cluster its kubeconfig and the requests that a stand-in wrote down. Each is
sent in its turn, so many at a time for each cluster, and its answer is read: by `urllib3` over nothing but its
connections, by `official` with the dynamic client for Python, whose users hand it objects and get objects back.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Request = dict[str, Any]
Send = Callable[[Request], int]
"""Sends a request and returns the status of the answer."""


def main(client: str, threads: int, *pairs: str) -> None:
    refused: list[str] = []
    workers: list[threading.Thread] = []
    for kubeconfig, requests in zip(pairs[::2], pairs[1::2], strict=True):
        send = CLIENTS[client](kubeconfig, threads)
        sending = _Sending(send, iter(json.loads(Path(requests).read_text())), refused)
        workers += [threading.Thread(target=sending.run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if refused:
        raise RuntimeError(f"{len(refused)} requests were refused, such as {refused[0]}")


class _Sending:
    """What is sent to one cluster, by several threads."""

    def __init__(self, send: Send, turns: Iterator[Request], refused: list[str]) -> None:
        self._send, self._turns, self._refused = send, turns, refused
        self._lock = threading.Lock()

    def run(self) -> None:
        while True:
            with self._lock:
                one = next(self._turns, None)
            if one is None:
                return
            status = self._send(one)
            if status >= 400 and status != 404:  # what is not there yet was asked for too
                self._refused.append(f"{one['method']} {one['path']}: {status}")


def _urllib3(kubeconfig: str, threads: int) -> Send:
    import urllib3

    document = json.loads(Path(kubeconfig).read_text())
    cluster, token = document["clusters"][0]["cluster"], document["users"][0]["user"]["token"]
    pool = urllib3.connection_from_url(
        cluster["server"],
        maxsize=threads,
        ca_certs=cluster["certificate-authority"],
        retries=False,
        headers={"Authorization": f"Bearer {token}"},
    )

    def send(one: Request) -> int:
        headers = {**pool.headers, **one["headers"]}
        return pool.urlopen(one["method"], one["path"], body=one["body"].encode() or None, headers=headers).status

    return send


def _official(kubeconfig: str, _threads: int) -> Send:
    from kubernetes import config
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.exceptions import DynamicApiError

    client = DynamicClient(config.new_client_from_config(kubeconfig))  # type: ignore[no-untyped-call]

    def send(one: Request) -> int:
        kind = {name.lower(): value for name, value in one["headers"].items()}.get("content-type")
        try:
            client.request(
                one["method"], one["path"], body=json.loads(one["body"]) if one["body"] else None, content_type=kind
            )
        except DynamicApiError as err:
            return int(err.status)
        return 200

    return send


CLIENTS = {"urllib3": _urllib3, "official": _official}

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
