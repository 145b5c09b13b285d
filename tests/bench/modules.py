"""Run the command line as `updater` does, and write the names of the third-party modules that it imported.

`modules.py OUTPUT ARGUMENT...`: one JSON list, in the order of the imports. A process of its own.
"""

from __future__ import annotations

import atexit
import json
import sys
from pathlib import Path


def _installed() -> list[str]:
    """Every module that came from site-packages, but ours."""
    found = []
    for name, module in sys.modules.items():
        origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
        if "site-packages" in origin and name.partition(".")[0] != "updater":
            found.append(name)
    return found


if __name__ == "__main__":
    output = Path(sys.argv.pop(1))
    atexit.register(lambda: output.write_text(json.dumps(_installed())))
    from updater.cli.main import main

    main()
