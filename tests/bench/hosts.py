"""Registries that cost nothing, in one process of their own: each host on its own port, with a manner of its own.

`hosts.py [good|slow|angry]...` prints the `host:port` of each as a JSON list and serves until its input ends. They
know every repository, all with the same few tags and one manifest, and ask for no login: what is measured is who asks.
`slow` answers after ten seconds, `angry` every request with 429.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TAGS = tuple(f"1.{n}.0" for n in range(20))  # the last is what Git says
SLOW = 10.0  # seconds
ANGRY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


def main(*manners: str) -> None:
    asyncio.run(_serve(manners))


async def _serve(manners: tuple[str, ...]) -> None:
    servers = [await asyncio.start_server(_Host(manner).talk, "127.0.0.1", 0, backlog=256) for manner in manners]
    print(json.dumps([f"127.0.0.1:{one.sockets[0].getsockname()[1]}" for one in servers]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for one in servers:
        one.close()


class _Host:
    def __init__(self, manner: str) -> None:
        self._manner = manner
        manifest = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
        digest = f"Docker-Content-Digest: sha256:{hashlib.sha256(manifest).hexdigest()}\r\n"
        self._manifest = _answer("application/vnd.oci.image.manifest.v1+json", manifest, digest)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if self._manner == "slow":
                    await asyncio.sleep(SLOW)
                writer.write(ANGRY if self._manner == "angry" else self._reply(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, head: bytes) -> bytes:
        method, target, _ = head.split(b" ", 2)
        name = target.split(b"?")[0].removeprefix(b"/v2/")
        if name.endswith(b"/tags/list"):
            listed = {"name": name.removesuffix(b"/tags/list").decode(), "tags": TAGS}
            return _answer("application/json", json.dumps(listed).encode())
        return self._manifest.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else self._manifest


def _answer(kind: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def hosts(environment: Mapping[str, str], *manners: str) -> Iterator[list[str]]:
    """Run such registries for as long as the block lasts; yield their `host:port`."""
    command, top = [sys.executable, "-m", "tests.bench.hosts", *manners], Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=top
    ) as child:
        assert child.stdout is not None
        try:
            yield json.loads(child.stdout.readline())
        finally:
            child.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
