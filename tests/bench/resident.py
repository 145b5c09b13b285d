"""Cycles of a daemon that is up: clients are built once, then cycle after cycle in one process of its own.

`resident.py CONFIG CYCLES [REFERENCES]` prints JSON: `first` (from nothing: clone, list, decide, commit, push) and
`cycles` that find nothing to do, each with wall and CPU seconds (git included), how many seconds of the wall clock
git took (`git`), with which `commands`, and the CPU of this process alone (`own`); and `requests` to registries of one
more. References are as many as items where nothing is said; where it is, a look at all comes first (`read`).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import git.cmd  # noqa: F401  the product imports these with the first git process and the first look at the state

import updater.store.descriptions
import updater.store.holds
import updater.store.journal
import updater.store.tags  # noqa: F401
from updater.config.load import load
from updater.daemon.build import build
from updater.daemon.remember import remember
from updater.git import clone
from updater.git.runner import Call, run
from updater.pipeline.report import Outcome, Report
from updater.pipeline.update import update
from updater.transport.http import Http
from updater.transport.process import Finished


def main(config: str, cycles: int, references: int | None = None) -> dict[str, Any]:
    settings = load(Path(config))
    count = references or len(settings.items)
    with build(settings) as world:

        def cycle() -> Report:
            return update(world, settings.items, datetime.now(UTC))

        def store(report: Report) -> None:
            """Note, as the daemon does after each cycle, which heads were told of; that is no part of the figures."""
            remember(settings, world.memory().journal, report, datetime.now(UTC))

        read = _timed(lambda: update(world, settings.items, datetime.now(UTC), write=False))[0] if references else {}
        first, report = _timed(cycle)
        _expect(report, Outcome.UPDATED, count)
        store(report)
        measured = []
        for _ in range(cycles):
            spent, report = _timed(cycle)
            _expect(report, Outcome.UP_TO_DATE, count)
            store(report)
            measured.append(spent)
        found = {"images": len(settings.items), "read": read, "first": first, "cycles": measured}
        return found | {"requests": _requests(cycle)}


def _timed(cycle: Callable[[], Report]) -> tuple[dict[str, Any], Report]:
    asked: list[tuple[str, float]] = []

    def noting(folder: Path, call: Call, **options: Any) -> Finished:
        start = time.perf_counter()
        try:
            return run(folder, call, **options)
        finally:
            asked.append((call.template[0], time.perf_counter() - start))

    with mock.patch.object(clone, "run", noting):
        cpu, own, wall = _cpu(), time.process_time(), time.perf_counter()
        report = cycle()
        spent = {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu, "own": time.process_time() - own}
    return spent | {"git": sum(took for _, took in asked), "commands": [command for command, _ in asked]}, report


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _expect(report: Report, outcome: Outcome, count: int) -> None:
    """A cycle that did something else must not pass for a fast one."""
    found = [row.outcome for row in report.rows]
    if found != [outcome] * count or report.failures:
        raise RuntimeError(f"expected {count} times {outcome}, found {set(found)}; {[r.why for r in report.rows[:3]]}")


def _requests(cycle: Callable[[], object]) -> int:
    """Count the requests that go out in one cycle."""
    with mock.patch.object(Http, "request", autospec=True, side_effect=Http.request) as counted:
        cycle()
    return counted.call_count


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
