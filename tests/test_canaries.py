"""Secrets are planted wherever one can be, servers send back what they were sent, and everything is swept for them.

Swept: the command lines of every process meanwhile, what commands and daemon print, every file of the data folder, what
page and API answer, what the channel is told, and the commits.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.lab import git as gits
from tests.lab.git import Embedded, git
from tests.lab.path import Daemon, WholePath, head, manifest
from tests.lab.registry import INSTALLED, LOGIN
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.demo.sink import MessageSink

HOSTILE = ("canary-user", "canary-of-the-hostile-registry/1")
TOKEN = "canary-token-that-it-minted"
ROBOT, SIGN = "canary-of-the-robot", "canary-that-signs"
PLANTED = (LOGIN[1], gits.PASSWORD, HOSTILE[1], TOKEN, ROBOT, SIGN)
PAGES = (
    "/", "/metrics", "/readyz", "/feed.atom", "/openapi.json", "/api/v1/images", "/api/v1/images/api",
    "/api/v1/images/web", "/api/v1/changes", "/api/v1/events", "/api/v1/notifications", "/api/v1/overview",
)  # fmt: skip


def forms() -> set[str]:
    """How a secret may show: plain, quoted for a URL, in base64, alone or as the pair that Basic sends."""
    pairs = [":".join(LOGIN), f"{gits.USER}:{gits.PASSWORD}", ":".join(HOSTILE)]
    plain = {*PLANTED, *(quote(one, safe="") for one in PLANTED)}
    return plain | {base64.b64encode(one.encode()).decode().rstrip("=") for one in (*PLANTED, *pairs)}


def found_in(text: str | bytes) -> set[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return {one for one in forms() if one.encode() in content}


def echo(asked: Asked) -> Answered:
    """Send back whatever came, wherever it may stand in an answer; one image wants a token."""
    given = asked.headers.get("authorization", "nothing")
    if asked.path == "/token":
        return reply(200, {"token": TOKEN, "expires_in": 60, "you_sent": given})
    realm = f"http://{asked.headers['host']}/token"
    words = f'Bearer realm="{realm}"' if "/tok/" in asked.path else f'Basic realm="{given}"'
    body = {"errors": [{"code": "DENIED", "message": f"you sent {given}", "detail": given}]}
    return reply(401, body, ("WWW-Authenticate", words), ("X-You-Sent", given), ("Location", f"/{given}"))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Look at the command line of every process, again and again; yield where those are put that hold a secret."""
    caught: list[str] = []
    over, looks = threading.Event(), 0

    def look() -> None:
        nonlocal looks
        while not over.wait(0.01):
            looks += 1
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = entry.read_bytes()
                except OSError:
                    continue  # it has ended
                if found_in(line):
                    caught.append(line.decode("utf-8", "replace"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield caught
    finally:
        over.set()
        watcher.join()
    assert looks > 10


@pytest.mark.parametrize("flavour", ["docker-registry" if INSTALLED else "embedded"])
def test_no_secret_is_anywhere_but_on_its_way(tmp_path: Path, flavour: str) -> None:
    with (
        WholePath.open(tmp_path, flavour, Embedded, auth="basic") as path,  # type: ignore[arg-type]
        Scripted(echo) as hostile,
        MessageSink() as sink,
        watched() as caught,
    ):
        path.push("acme/api", "1.0.0", "1.1.0")
        images = {
            "api.yaml": manifest(path.image("acme/api"), "1.0.0"),
            "web.yaml": manifest(f"{hostile.host}/web", "1.0.0"),
        }
        bare = path.create("fleet", images)
        channel = {"kind": "dingtalk", "token": "env:ROBOT", "secret": "env:SIGN", "base_url": sink.url}
        known = path.settings([])["registries"][0]
        path.configure(
            [path.entry("acme/api"), *({"image": f"{hostile.host}/{one}", "name": one} for one in ("web", "tok"))],
            log={"level": "debug"},
            registries=[known, {
                "host": hostile.host, "insecure": True,
                "credentials": {"kind": "basic", "username": HOSTILE[0], "password": "env:HOSTILE"},
            }],
            notifications={"channels": [channel], "routes": [{"events": ["*"], "channels": ["dingtalk"]}]},
        )  # fmt: skip
        path.variables = {"HOSTILE": HOSTILE[1], "ROBOT": ROBOT, "SIGN": SIGN}
        sweep: dict[str, str | bytes] = {}
        for command in ("doctor", "check", "once", "explain web --json", "history"):
            ran = path.run(*command.split())
            sweep[command] = ran.out + ran.err
        assert "1.1.0" in git(bare, "show", "main:api.yaml"), sweep
        assert "refused" in sweep["once"]
        with Daemon(path) as daemon:
            url = daemon.wait("serving")["url"]
            daemon.wait("failed")
            for page in PAGES:
                answer = httpx.get(f"{url.rstrip('/')}{page}", timeout=30)
                assert answer.status_code == 200, page
                sweep[page] = answer.text + str(answer.headers)
            daemon.ask()
            assert daemon.end() == 0
            sweep["daemon"] = str(daemon.events)
        sweep |= {
            str(file.relative_to(path.data)): file.read_bytes() for file in path.data.rglob("*") if file.is_file()
        }
        sweep["commits"] = git(bare, "log", "-p", head(bare))
        sweep["told"] = b"".join(one.body for one in sink.arrivals)
        leaks = {where: found for where, text in sweep.items() if (found := found_in(text))}
        assert leaks == {}
        assert sweep["told"]
        assert any(asked.headers.get("authorization", "").startswith("Basic") for asked in hostile.requests)
        assert any(TOKEN in asked.headers.get("authorization", "") for asked in hostile.requests)
    assert caught == []
