"""The whole daemon with its front door, which tells how long each of its cycles takes.

`front.py CONFIG` prints a line of JSON for each cycle that found nothing to do: `images`, and seconds of the wall clock
and of the CPU of its thread. Its log goes to standard error, as ever; it ends as the daemon does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from updater.config.load import load
from updater.daemon import run
from updater.pipeline.report import Report
from updater.pipeline.update import update
from updater.web.serve import serve


def main(config: str) -> int:
    def timed(*args: Any, **options: Any) -> Report:
        wall, cpu = time.perf_counter(), time.thread_time()
        report = update(*args, **options)
        spent = {"wall": time.perf_counter() - wall, "cpu": time.thread_time() - cpu}
        print(json.dumps({"images": len(args[1]), **spent}), flush=True)
        return report

    vars(run)["update"] = timed
    return run.Daemon(load(Path(config)), Path(config), front=serve).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
