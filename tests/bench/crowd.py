"""Cycles over very many images that are up to date, in a process of its own: `crowd.py CONFIG CYCLES`.

Prints JSON: `images`, for each cycle the seconds of wall clock and of this process's CPU, and `peak`, the most memory
in MiB that it ever held. The first cycle clones, reads and sees every tag for the first time.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from updater.config.load import load
from updater.daemon.build import build
from updater.daemon.remember import remember
from updater.pipeline.report import Outcome
from updater.pipeline.update import update


def main(config: str, cycles: int) -> dict[str, Any]:
    settings = load(Path(config))
    taken = []
    with build(settings) as world:
        for _ in range(cycles):
            cpu, wall = time.process_time(), time.perf_counter()
            report = update(world, settings.items, datetime.now(UTC))
            taken.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
            found = [row.outcome for row in report.rows]
            if found != [Outcome.UP_TO_DATE] * len(settings.items) or report.failures:
                raise RuntimeError(f"not up to date: {set(found)}, {len(found)} rows, {report.failures[:3]}")
            remember(settings, world.memory().journal, report, datetime.now(UTC))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": len(settings.items), "cycles": taken, "peak": peak}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
