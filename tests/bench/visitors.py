"""People who look at the page, in a process of their own.

`visitors.py URL STREAMS RATE SECONDS` opens so many streams, asks for so many pages a second in even turns, and prints
JSON: the seconds that each page took, how many streams were still open at the end, and what was refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle
from urllib.parse import urlsplit

PAGES = ("/", "/?outcome=held", "/history", "/notifications", "/api/v1/images", "/api/v1/overview")
PATIENCE = 10.0  # seconds for one page
BYTES = 4 << 20  # of one page


class Visitors:
    """Each page on a connection of its own, as a browser that comes by; streams stay."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._host, self._port = parts.hostname, parts.port or 80
        self.taken: list[float] = []
        self.refused: list[str] = []
        self.open = 0

    async def page(self, path: str) -> None:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self._ask(path, "close")
                answer = await reader.read(BYTES)
                while more := await reader.read(BYTES):
                    answer += more
                writer.close()
        except (OSError, TimeoutError) as err:
            self.refused.append(f"{path}: {err!r}")
            return
        self.taken.append(time.perf_counter() - start)
        if not answer.startswith(b"HTTP/1.1 200"):
            self.refused.append(f"{path}: {answer[:60]!r}")

    async def stream(self, until: float) -> None:
        try:
            reader, writer = await self._ask("/api/v1/stream", "keep-alive")
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.refused.append(f"stream: {head[:60]!r}")
                return
            async with asyncio.timeout(max(0.0, until - time.perf_counter())):
                while await reader.read(1 << 16):
                    pass
        except TimeoutError:
            self.open += 1
            writer.close()
        except OSError as err:
            self.refused.append(f"stream: {err!r}")

    async def _ask(self, path: str, connection: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        lines = (f"GET {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Connection: {connection}")
        writer.write("\r\n".join((*lines, "", "")).encode())
        await writer.drain()
        return reader, writer


async def main(url: str, streams: int, rate: int, seconds: float) -> None:
    visitors, start = Visitors(url), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(streams):
            tasks.create_task(visitors.stream(start + seconds + 2))
        await asyncio.sleep(1.0)  # all have come; what follows is measured
        for turn, path in zip(range(int(rate * seconds)), cycle(PAGES), strict=False):
            await asyncio.sleep(max(0.0, start + 1.0 + turn / rate - time.perf_counter()))
            tasks.create_task(visitors.page(path))
    print(json.dumps({"taken": sorted(visitors.taken), "open": visitors.open, "refused": visitors.refused[:5]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
