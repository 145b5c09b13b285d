"""The second loop as the daemon runs it, in a process of its own, until its input ends.

`deliver.py CONFIG`: it looks at Git at the start and for each line of its input, as it does after a commit of its own;
its log goes to standard error. The state is that of the configuration.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from updater.config.load import load
from updater.daemon.build import prepare
from updater.daemon.delivery import delivery
from updater.daemon.logs import configure
from updater.daemon.remember import open_state
from updater.store.journal import Journal


def main(config: str) -> None:
    settings = load(Path(config))
    prepare(settings.data)
    configure("info", "json")
    with closing(open_state(settings)) as database, delivery(settings, database, Journal(database)) as loop:
        for _ in sys.stdin:
            loop.wake()


if __name__ == "__main__":
    main(sys.argv[1])
