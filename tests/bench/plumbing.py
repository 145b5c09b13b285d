"""The floor of a large repository: bare git commands that find, change and push the same. A process of its own.

It gets one JSON file: `url` and `header` (git's login), `changes` (pairs of what stands in files and what is to). First
it reads: in an empty bare repository it fetches the branch without files, lists the tree, fetches the YAML files in one
request, and reads them in one `cat-file --batch`. Then it bumps: it asks for the branch again, reads the files that are
to change, replaces bytes, writes one commit with `fast-import`, and pushes. It prints the seconds of the wall clock and
of CPU, git's included, that each took.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

HEAD = "+refs/heads/main:refs/floor"
FILTER = ("-c", "remote.origin.promisor=true", "-c", "remote.origin.partialclonefilter=blob:none")


def main(plan_file: str) -> dict[str, dict[str, float]]:
    plan = json.loads(Path(plan_file).read_text())
    changes = [(old.encode(), new.encode()) for old, new in plan["changes"]]
    with tempfile.TemporaryDirectory() as name:
        git = _Git(Path(name), plan["header"])
        git("init", "-q", "--bare")
        git("config", "remote.origin.url", plan["url"])
        read, files = _timed(lambda: _read(git, [old for old, _ in changes]))
        bump, _ = _timed(lambda: _bump(git, files, changes))
        return {"read": read, "bump": bump}


def _read(git: _Git, wanted: list[bytes]) -> dict[bytes, bytes]:
    """Return the ids of the files that hold one of these, by path."""
    git(*FILTER, "fetch", "-q", "--no-tags", "origin", HEAD)
    rows = (row.split(b"\t", 1) for row in git("ls-tree", "-r", "-z", "refs/floor").split(b"\0")[:-1])
    files = {path: what.split()[2] for what, path in rows if path.endswith((b".yaml", b".yml"))}
    oids = b"".join(oid + b"\n" for oid in dict.fromkeys(files.values()))
    noop = ("-c", "fetch.negotiationAlgorithm=noop")
    git(*FILTER, *noop, "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--stdin", "origin", data=oids)
    contents = _contents(git("cat-file", "--batch", "--buffer", data=oids))
    return {path: oid for path, oid in files.items() if any(one in contents[oid] for one in wanted)}


def _bump(git: _Git, files: dict[bytes, bytes], changes: list[tuple[bytes, bytes]]) -> None:
    git(*FILTER, "fetch", "-q", "--no-tags", "origin", HEAD)
    contents = _contents(git("cat-file", "--batch", "--buffer", data=b"".join(oid + b"\n" for oid in files.values())))
    parts = [b"commit refs/floor\ncommitter Floor <floor@localhost> now\ndata 5\nFloor\nfrom refs/floor^0\n"]
    for path, oid in files.items():
        text = contents[oid]
        for old, new in changes:
            text = text.replace(old, new)
        parts.append(b"M 100644 inline %b\ndata %d\n%b\n" % (path, len(text), text))
    git("fast-import", "--quiet", "--date-format=now", data=b"".join(parts))
    git("push", "-q", "origin", "refs/floor:refs/heads/main")


def _contents(output: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(output):
        end = output.index(b"\n", at)
        oid, _, size = output[at:end].split(b" ")
        found[oid] = output[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
    return found


class _Git:
    def __init__(self, folder: Path, header: str) -> None:
        settings = {"http.extraHeader": header, "fastimport.unpackLimit": "1", "gc.auto": "0"}
        self._variables = {"GIT_DIR": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": str(len(settings))}
        for n, (key, value) in enumerate(settings.items()):
            self._variables |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}

    def __call__(self, *args: str, data: bytes | None = None) -> bytes:
        environment = {**os.environ, **self._variables}
        return subprocess.run(["git", *args], check=True, env=environment, input=data, stdout=subprocess.PIPE).stdout


def _timed(work: Callable[[], T]) -> tuple[dict[str, float], T]:
    wall, cpu = time.perf_counter(), _cpu()
    found = work()
    return {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}, found


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
