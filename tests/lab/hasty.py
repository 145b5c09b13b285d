"""`updater` with less patience than it has, for what waits for somebody who hangs: -m tests.lab.hasty LIMITS ..."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from updater.model.limits import USUAL, Limits


def program(limits: Limits = USUAL) -> list[str]:
    """Return the command line of `updater` with these limits, from the folder that holds the tests on."""
    if limits == USUAL:
        return [sys.executable, "-W", "error", "-m", "updater"]
    return [sys.executable, "-W", "error", "-m", "tests.lab.hasty", json.dumps(asdict(limits))]


if __name__ == "__main__":
    from updater.cli.main import main

    main(Limits(**json.loads(sys.argv.pop(1))))
