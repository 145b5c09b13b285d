"""From a push to a registry until the commit that follows from it is at the Git server; `updater run` polls hourly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.git import SERVERS
from tests.lab.path import Daemon, WholePath, free_port, manifest
from tests.lab.registry import INSTALLED, Notify

IMAGES = 10  # pushed to in turn: one image is looked at once a second at most
PATIENCE = 30.0  # seconds for one commit
TOKEN = "the-token-of-the-registry"


def pushes(folder: Path, count: int, done: Callable[[], None]) -> list[float]:
    """Push so many times, and return the seconds from before each push until the branch had moved."""
    if not INSTALLED:
        raise RuntimeError("docker-registry is not installed, and the embedded one tells nobody of a push")
    folder.mkdir()
    port, nginx = free_port(), SERVERS["nginx"]
    server = SERVERS["embedded"] if nginx.missing() else nginx
    notify = Notify(f"http://127.0.0.1:{port}/hooks/distribution", TOKEN)
    with WholePath.open(folder, "docker-registry", server, notify=notify) as path:
        names = [f"acme/app-{n}" for n in range(IMAGES)]
        for name in names:
            path.push(name, "1.0.0")
        bare = path.create("fleet", {f"{name}.yaml": manifest(path.image(name), "1.0.0") for name in names})
        path.variables |= {"HOOK_TOKEN": TOKEN, "UPDATER_LISTEN": f"127.0.0.1:{port}"}
        entries = [path.entry(name, poll={"interval": "1h"}) for name in names]
        path.configure(entries, web={"hooks": {"distribution": {"token": "env:HOOK_TOKEN"}}})
        with Daemon(path) as daemon:
            daemon.wait("decided")
            for name in names:  # uncounted: the registry has lately met nobody, and waits before it asks again
                _moved(path, bare, name, "1.0.1")
            taken = []
            for n in range(count):
                taken.append(_moved(path, bare, names[n % IMAGES], f"1.{n + 1}.0"))
                done()
            return taken


def _moved(path: WholePath, bare: Path, name: str, tag: str) -> float:
    """Push a tag, and return the seconds until the branch had moved."""
    ref = bare / "refs/heads/main"
    before, start = ref.read_text() if ref.exists() else "", time.monotonic()
    path.push(name, tag)
    while not ref.exists() or ref.read_text() == before:
        if time.monotonic() - start > PATIENCE:
            raise RuntimeError(f"no commit in {PATIENCE:.0f} s after {name}:{tag} was pushed")
        time.sleep(0.002)
    return time.monotonic() - start
