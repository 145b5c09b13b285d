"""Hints to a real process: what was pushed to a registry or to Git is acted on long before the next poll."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.lab.gate import Gate
from tests.lab.git import Embedded, git, person_commits
from tests.lab.path import PATIENCE, Daemon, WholePath, free_port, head, manifest, trailers
from tests.lab.registry import INSTALLED, Notify

TOKEN, SECRET = "the-token-of-the-registry", "the-secret-of-the-forge"
RARELY = {"poll": {"interval": "1h", "jitter": "0s"}}


def begin(path: WholePath, hooks: dict[str, object]) -> Path:
    """Have one image that is up to date, polled once an hour; return the repository on its server."""
    path.push("acme/api", "1.0.0")
    bare = path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
    path.variables |= {"HOOK_TOKEN": TOKEN, "HOOK_SECRET": SECRET}
    path.configure([path.entry("acme/api") | RARELY], web={"hooks": hooks})
    return bare


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        yield opened


@pytest.mark.skipif(not INSTALLED, reason="left out: docker-registry is not installed")
def test_what_a_registry_tells_of_is_committed_at_once(tmp_path: Path) -> None:
    port = free_port()
    notify = Notify(f"http://127.0.0.1:{port}/hooks/distribution", TOKEN)
    with WholePath.open(tmp_path, "docker-registry", Embedded, notify=notify) as path:
        bare = begin(path, {"distribution": {"token": "env:HOOK_TOKEN"}})
        path.variables["UPDATER_LISTEN"] = f"127.0.0.1:{port}"
        with Daemon(path) as daemon:
            daemon.wait("decided")
            path.push("acme/api", "1.1.0")
            committed = daemon.wait("committed")
            assert head(bare) == committed["revision"]
            daemon.ask()
            assert daemon.end() == 0
    assert trailers(bare, "main", "Image-Update") == [f"{path.image('acme/api')} 1.0.0 -> 1.1.0"]


def hint(url: str, path: WholePath) -> None:
    """Tell of a push as a registry does."""
    target = {"repository": "acme/api", "tag": "any"}
    events = [{"action": "push", "target": target, "request": {"host": path.registry.host}}]
    answer = httpx.post(
        f"{url}hooks/distribution", json={"events": events}, headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert (answer.status_code, answer.json()) == (202, {"items": 1})


def test_what_is_hinted_at_while_an_image_is_looked_at_is_not_lost(path: WholePath) -> None:
    """The registry was asked already, and the commit that follows is on its way, when the next version is pushed."""
    bare = begin(path, {"distribution": {"token": "env:HOOK_TOKEN"}})
    with Daemon(path) as daemon:
        daemon.wait("decided")
        url = daemon.wait("serving")["url"]
        with Gate(bare) as gate:
            path.push("acme/api", "1.1.0")
            hint(url, path)
            gate.wait()
            path.push("acme/api", "1.2.0")
            hint(url, path)
            gate.open()
            pause, end = threading.Event(), time.monotonic() + PATIENCE
            while ":1.2.0" not in git(bare, "show", "main:api.yaml") and time.monotonic() < end:
                pause.wait(0.05)
    assert trailers(bare, "main", "Image-Update") == [f"{path.image('acme/api')} 1.1.0 -> 1.2.0"]


def test_what_a_forge_tells_of_is_looked_at_at_once(path: WholePath) -> None:
    """A person puts an old version into Git: the push is hinted at, and the newer one is there again."""
    bare = begin(path, {"github": {"secret": "env:HOOK_SECRET"}})
    path.push("acme/web", "1.0.0", "1.1.0")
    path.configure(
        [path.entry(name) | RARELY for name in ("acme/api", "acme/web")],
        web={"hooks": {"github": {"secret": "env:HOOK_SECRET"}}},
    )
    with Daemon(path) as daemon:
        daemon.wait("decided")
        url = daemon.wait("serving")["url"]
        pushed = person_commits(bare, {"web.yaml": manifest(path.image("acme/web"), "1.0.0")})
        payload = {"ref": "refs/heads/main", "after": pushed, "repository": {"clone_url": path.git.url("fleet")}}
        body = json.dumps(payload).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-github-event": "push", "x-hub-signature-256": f"sha256={signature}"}
        answer = httpx.post(f"{url}hooks/github", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"items": 2})
        committed = daemon.wait("committed")
        assert head(bare) == committed["revision"]
    assert trailers(bare, "main", "Image-Update") == [f"{path.image('acme/web')} 1.0.0 -> 1.1.0"]


def test_a_hint_is_not_lost_while_another_configuration_comes(path: WholePath) -> None:
    bare = begin(path, {"distribution": {"token": "env:HOOK_TOKEN"}})
    with Daemon(path) as daemon:
        daemon.wait("decided")
        url = daemon.wait("serving")["url"]
        path.push("acme/api", "1.1.0")
        path.configure(
            [path.entry("acme/api") | {"poll": {"interval": "2h"}}],
            web={"hooks": {"distribution": {"token": "env:HOOK_TOKEN"}}},
        )
        hint(url, path)
        committed = daemon.wait("committed")
        assert head(bare) == committed["revision"]
