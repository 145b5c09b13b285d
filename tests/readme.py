"""Compares the README's `--help` blocks with what the program prints; `--write` brings them up to date.

A block begins with a line `$ updater ... --help` and holds the output to the letter.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(```text\n\$ updater (?P<args>[^\n]*--help)\n)(?P<output>.*?)(```)", re.DOTALL)


def printed(args: str) -> str:
    """Return what the program prints, 80 columns wide."""
    command = [sys.executable, "-m", "updater", *args.split()]
    environment = os.environ | {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return done.stdout.strip("\n").replace("python -m updater", "updater") + "\n"


def main() -> int:
    """Compare, or write; return the exit code."""
    text = README.read_text()
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        print("README.md has no --help block")
        return 1
    stale = [block["args"] for block in blocks if block["output"] != printed(block["args"])]
    if "--write" in sys.argv:
        README.write_text(BLOCK.sub(lambda block: block[1] + printed(block["args"]) + block[4], text))
        return 0
    for args in stale:
        print(f"README.md: `updater {args}` prints something else now; run: python tests/readme.py --write")
    print(f"README.md: {len(blocks) - len(stale)} of {len(blocks)} help blocks are up to date")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
