"""Run the stand-in as a process: one line of JSON when it is ready; it serves until standard input closes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from updater.demo.cluster import ClusterServer


def main() -> None:
    """Serve a Kubernetes API on loopback until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m updater.demo.cluster", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for its kubeconfig, certificates and keys")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rollout", type=float, default=0.05, metavar="SECONDS", help="until workloads are ready")
    given = parser.parse_args()
    with ClusterServer(given.folder, port=given.port, rollout=given.rollout, remember=False) as server:
        ready = {"url": server.url, "kubeconfig": str(server.kubeconfig.resolve()), "pid": os.getpid()}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
