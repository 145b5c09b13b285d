"""The door for hints: who may knock, what is refused and in which words, and what a hint has looked at.

The server is the real one; behind it stands a daemon that has an agenda and looks at nothing by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from tests.lab.config import settings
from updater.config.settings import Settings
from updater.daemon.agenda import Agenda
from updater.daemon.desk import Desk
from updater.secrets import redact
from updater.web import hooks
from updater.web.hints import BURST, RATE
from updater.web.serve import serve

TOKEN, SECRET, PATH = "the-token-of-a-registry", "the-secret-of-a-forge", "a-path-that-nobody-guesses"
REFUSED = "the proof is missing or wrong"
CONFIG = """
registries:
  - {host: registry.example.com, aliases: [registry-vpc.example.com]}
repositories:
  - {name: fleet, url: https://github.com/acme/fleet.git}
  - {name: other, url: https://github.com/acme/other.git, branch: live}
images:
  - image: registry.example.com/acme/api
    name: api
    update: [{name: dev, repository: fleet, branch: dev}, {name: prod, repository: fleet}]
  - {image: registry.example.com/acme/web, name: web, update: [{repository: other}]}
  - {image: "registry.example.com/team/**", name: team, update: [{repository: other}]}
  - {image: nginx, name: nginx, update: [{repository: other}]}
web:
  listen: 127.0.0.1:0
  hooks:
    distribution: {token: "env:HOOK_TOKEN"}
    harbor: {token: "env:HOOK_TOKEN"}
    github: {secret: "env:HOOK_SECRET"}
    docker_hub: {path: "env:HOOK_PATH"}
    mirror: {kind: distribution, token: "env:HOOK_TOKEN", registry: registry-vpc.example.com}
    unset: {kind: github, secret: "env:HOOK_UNSET"}
    gone: {kind: distribution, token: "file:gone"}
    short: {kind: quay, path: "env:HOOK_SHORT"}
"""


class Idle:
    """A daemon that has an agenda, where nothing is due before somebody hints at it."""

    def __init__(self, loaded: Settings) -> None:
        agenda = Agenda(loaded.items, {}, datetime.now(UTC), time.monotonic())
        self.git = 0
        self.now = SimpleNamespace(settings=loaded, agenda=agenda, delivery=SimpleNamespace(wake=self._wake))
        self.now.world = SimpleNamespace(looks={})
        self.written: deque[str] = deque()
        agenda.done(loaded.items, {}, {}, time.monotonic())

    def _wake(self) -> None:
        self.git += 1

    def hint(self, name: str, after: float) -> bool:
        """As the daemon does, which then looks."""
        return bool(self.now.agenda.hint(name, time.monotonic(), after))

    def seen(self) -> list[str]:
        """Look at what is due; return the names."""
        agenda, now = self.now.agenda, time.monotonic()
        taken = [item for host in agenda.hosts for item in agenda.take(host, now)]
        agenda.done(taken, {}, {}, now)
        return sorted(item.name for item in taken)


class Door:
    """A server that runs, and a client of it."""

    def __init__(self, url: str, daemon: Idle) -> None:
        self.url, self.daemon = url, daemon
        self.client = httpx.Client(base_url=url, timeout=30)

    def push(self, *images: str, hook: str = "distribution", token: str = TOKEN) -> httpx.Response:
        """Tell of pushes as a registry does."""
        events = [event(image) for image in images]
        return self.client.post(f"/hooks/{hook}", json={"events": events}, headers={"authorization": f"Bearer {token}"})

    def git(self, url: str, branch: str = "main", revision: str = "f" * 40, **headers: str) -> httpx.Response:
        """Tell of a push as a forge does."""
        body = json.dumps({"ref": f"refs/heads/{branch}", "after": revision, "repository": {"clone_url": url}}).encode()
        return self.client.post("/hooks/github", content=body, headers=signed(body) | headers)


def event(image: str) -> dict[str, Any]:
    host, _, repository = image.partition("/")
    return {"action": "push", "target": {"repository": repository, "tag": "1"}, "request": {"host": host}}


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-github-event": "push", "x-hub-signature-256": f"sha256={signature}"}


@contextmanager
def opened(folder: Path, text: str = CONFIG) -> Iterator[Door]:
    """Serve a configuration."""
    daemon = Idle(settings(folder, text))
    with capture_logs() as logs, serve(Desk(daemon)):  # type: ignore[arg-type]
        [serving] = [line for line in logs if line["event"] == "serving"]
        door = Door(serving["url"], daemon)
        with door.client:
            yield door


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    for name, value in {"TOKEN": TOKEN, "SECRET": SECRET, "PATH": PATH, "SHORT": "short"}.items():
        monkeypatch.setenv(f"HOOK_{name}", value)
    with opened(tmp_path) as found:
        yield found


# --- what a hint has looked at ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "items"),
    [
        (["registry.example.com/acme/api"], ["api/dev", "api/prod"]),
        (["registry-vpc.example.com/acme/web"], ["web"]),
        (["registry.example.com/team/a/b"], ["team"]),
        (["index.docker.io/library/nginx"], ["nginx"]),
        (["registry.example.com/acme/web", "docker.io/library/nginx"], ["nginx", "web"]),
        (["elsewhere.example.com/acme/web"], []),
        (["registry.example.com/acme"], []),
        (["registry.example.com/ACME/WEB", "::/::", "x" * 3000, "a/../b"], []),
        ([], []),
    ],
    ids=["an image", "an alias", "a pattern", "Docker Hub", "two", "another registry", "a folder", "no names", "none"],
)
def test_only_the_items_of_an_image_are_looked_at(door: Door, images: list[str], items: list[str]) -> None:
    answer = door.push(*images)
    assert (answer.status_code, answer.json()) == (202, {"items": len(items)})
    assert door.daemon.seen() == items
    assert door.daemon.git == 0


def test_a_registry_that_does_not_know_its_name_is_given_one(door: Door) -> None:
    door.push("10.0.0.1:5000/acme/web", hook="mirror")
    assert door.daemon.seen() == ["web"]


@pytest.mark.parametrize(
    ("url", "branch", "items"),
    [
        ("https://github.com/acme/fleet.git", "main", ["api/prod"]),
        ("git@github.com:Acme/Fleet", "dev", ["api/dev", "api/prod"]),
        ("https://github.com/acme/other", "live", ["nginx", "team", "web"]),
        ("https://github.com/acme/other", "main", []),
        ("https://github.com/acme/another", "main", []),
        ("file:///etc", "main", []),
        ("\x00", "main", []),
    ],
)
def test_a_push_to_git_has_the_items_of_its_branch_looked_at(
    door: Door, url: str, branch: str, items: list[str]
) -> None:
    """Where an item leaves the branch to the remote, it may be any."""
    answer = door.git(url, branch)
    assert (answer.status_code, answer.json()) == (202, {"items": len(items)})
    assert door.daemon.seen() == items
    assert door.daemon.git == 1


def test_a_branch_that_nobody_reads_is_no_news(door: Door) -> None:
    """What the remote's own branch is is known once it was looked at."""
    head = SimpleNamespace(head=SimpleNamespace(branch="main"))
    assert door.git("https://github.com/acme/fleet.git", "feature").json() == {"items": 1}
    door.daemon.now.world.looks["fleet", None] = head
    assert door.git("https://github.com/acme/fleet.git", "feature").json() == {"items": 0}
    assert door.git("https://github.com/acme/fleet.git", "dev").json() == {"items": 1}
    assert door.git("https://github.com/acme/fleet.git", "main").json() == {"items": 1}


def test_a_commit_of_ours_is_no_news(door: Door) -> None:
    door.daemon.written.append("a" * 40)
    assert door.git("https://github.com/acme/fleet.git", revision="a" * 40).json() == {"items": 0}
    assert (door.daemon.seen(), door.daemon.git) == ([], 0)


def test_another_configuration_counts_at_once(door: Door, tmp_path: Path) -> None:
    assert door.push("registry.example.com/acme/web").json() == {"items": 1}
    other = CONFIG.replace("acme/web", "acme/site").replace("    gone:", "    later:")
    door.daemon.now.settings = settings(tmp_path, other)
    assert door.push("registry.example.com/acme/web").json() == {"items": 0}
    assert door.push(hook="later").status_code == 503


# --- storms ----------------------------------------------------------------------------------------------------------


def test_a_storm_of_one_payload_costs_one_look_a_second(door: Door) -> None:
    """Whoever replays what a registry sent has it looked at no more often."""
    start, looks = time.monotonic(), 0
    agenda = door.daemon.now.agenda
    for _ in range(500):
        assert door.push("registry.example.com/acme/web").status_code == 202
        if taken := agenda.take("registry.example.com", time.monotonic()):
            looks += 1
            agenda.done(taken, {}, {}, time.monotonic())
    assert 1 <= looks <= time.monotonic() - start + 1
    assert 0 <= agenda.soonest("registry.example.com", time.monotonic()) <= 1, "the last one is not lost"


def test_a_storm_at_git_is_one_look_a_second(door: Door) -> None:
    start = time.monotonic()
    for _ in range(200):
        door.git("https://github.com/acme/fleet.git")
    assert 1 <= door.daemon.git <= time.monotonic() - start + 1
    before, end = door.daemon.git, time.monotonic() + 10
    while door.daemon.git == before and time.monotonic() < end:
        threading.Event().wait(0.02)
    assert door.daemon.git == before + 1, "the last of them is heard"


def test_one_hook_cannot_have_everything_looked_at_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond its share is looked at later, in turn; another hook has a share of its own."""
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    many = BURST * 2
    images = "\n".join(f"  - {{image: registry.example.com/acme/i{n}, name: i{n}}}" for n in range(many))
    token = '{kind: distribution, token: "env:HOOK_TOKEN"}'
    text = f"images:\n{images}\nweb: {{listen: '127.0.0.1:0', hooks: {{a: {token}, b: {token}}}}}"
    with opened(tmp_path, text) as door:
        names = [f"registry.example.com/acme/i{n}" for n in range(many)]
        for first in range(0, many - 1, 50):
            assert door.push(*names[first : first + 50], hook="a").json() == {"items": 50}
        agenda = door.daemon.now.agenda
        waits = [agenda.wait(f"i{n}", time.monotonic()) or math.inf for n in range(many)]
        assert sum(wait <= 0 for wait in waits) >= BURST
        assert 0 < max(waits) <= BURST / RATE + 1
        door.push(names[-1], hook="b")
        assert (agenda.wait(f"i{many - 1}", time.monotonic()) or 0) <= 0


# --- proofs ----------------------------------------------------------------------------------------------------------


def wrong() -> list[Any]:
    body = json.dumps({"events": [event("registry.example.com/acme/web")]}).encode()
    bearer = {"authorization": f"Bearer {TOKEN}"}
    return [
        pytest.param("distribution", {}, body, id="no token"),
        pytest.param("distribution", {"authorization": "Bearer"}, body, id="an empty token"),
        pytest.param("distribution", {"authorization": TOKEN}, body, id="a token without its scheme"),
        pytest.param("distribution", {"authorization": f"Bearer {TOKEN}x"}, body, id="another token"),
        pytest.param("distribution", {"authorization": f"Bearer {SECRET}"}, body, id="the secret of another"),
        pytest.param(f"distribution/{PATH}", bearer, body, id="a path where there is none"),
        pytest.param("distribution", {}, b"no JSON", id="no token and no JSON"),
        pytest.param("github", {"x-github-event": "push"}, body, id="no signature"),
        pytest.param("github", signed(body) | {"x-hub-signature-256": "sha256="}, body, id="an empty signature"),
        pytest.param("github", signed(body, "another"), body, id="another key"),
        pytest.param("github", signed(body), body + b" ", id="one more byte"),
        pytest.param("github", signed(b"no JSON", "another"), b"no JSON", id="a wrong signature and no JSON"),
        pytest.param(f"github/{SECRET}", signed(body), body, id="a path beside a signature"),
        pytest.param("docker_hub", {}, body, id="no path"),
        pytest.param("docker_hub/", {}, body, id="an empty path"),
        pytest.param(f"docker_hub/{PATH}/", {}, body, id="a longer path"),
        pytest.param(f"docker_hub/{PATH[:-1]}", {}, body, id="a shorter path"),
        pytest.param("docker_hub", {"authorization": f"Bearer {PATH}"}, body, id="a path in a header"),
    ]


@pytest.mark.parametrize(("path", "headers", "body"), wrong())
def test_a_wrong_proof_is_refused_in_the_same_words(
    door: Door, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = door.client.post(f"/hooks/{path}", content=body, headers=headers)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": REFUSED}
    assert door.daemon.seen() == []


def test_the_right_path_is_enough_for_who_cannot_sign(door: Door) -> None:
    answer = door.client.post(f"/hooks/docker_hub/{PATH}", json={"repository": {"repo_name": "library/nginx"}})
    assert answer.status_code == 202
    assert door.daemon.seen() == ["nginx"]


def test_a_secret_that_changes_counts_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "another-token-of-it")
    assert door.push("registry.example.com/acme/web").status_code == 403
    assert door.push("registry.example.com/acme/web", token="another-token-of-it").status_code == 202


@pytest.mark.parametrize("hook", ["unset", "gone", "short/short"])
def test_a_hook_whose_secret_cannot_be_used_is_off(door: Door, hook: str) -> None:
    """Nothing is said of what it is called or where it is: whoever asks need not know."""
    answer = door.client.post(f"/hooks/{hook}", content=b"{}", headers=signed(b"{}", ""))
    assert answer.status_code == 503
    assert not {"HOOK_", "gone", "env:", "file:"} & set(answer.text.split('"'))
    assert "the log says why" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["gitlab", "nobody", "Distribution", "%2e%2e", "a b", "x" * 5000])
def test_a_hook_without_an_entry_does_not_exist(door: Door, name: str) -> None:
    answer = door.client.post(f"/hooks/{name}", content=b"{}")
    assert answer.status_code == 404
    assert name not in answer.text


def test_without_the_section_there_is_no_hook(tmp_path: Path) -> None:
    with opened(tmp_path, "web: {listen: 127.0.0.1:0}\n") as door:
        door.daemon.now.settings = settings(tmp_path, "images: []\n")
        assert door.client.post("/hooks/distribution", content=b"{}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_hook_only_takes_what_is_posted(door: Door, method: str) -> None:
    answer = door.client.request(method, f"/hooks/docker_hub/{PATH}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_no_answer_and_no_line_of_the_log_holds_a_secret(door: Door) -> None:
    with capture_logs() as logs:
        answers = [
            door.push("registry.example.com/acme/web"),
            door.client.post(f"/hooks/docker_hub/{PATH}", content=b"no JSON"),
            door.client.post(f"/hooks/docker_hub/{PATH}x", content=b"{}"),
        ]
    said = [str(line) for line in logs] + [answer.text + str(answer.headers) for answer in answers]
    assert not [text for text in said for secret in (TOKEN, SECRET, PATH) if secret in text]
    assert redact(TOKEN) == "***"


# --- payloads --------------------------------------------------------------------------------------------------------

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"{", b"\xff\xfe", b"[" * 500_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800'],
    ids=[
        "nothing",
        "words",
        "a beginning",
        "no UTF-8",
        "deep lists",
        "deep mappings",
        "a huge number",
        "a half",
    ],
)
def test_what_is_no_json_is_said_to_be_none(door: Door, body: bytes) -> None:
    answer = door.client.post("/hooks/distribution", content=body, headers=BEARER)
    assert (answer.status_code, answer.json()["detail"]) == (400, "the payload is not JSON")


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"1", b'"x"', b'{"events": {}}', b'{"events": [null, 1, {"target": 1}]}', b"NaN"]
)
def test_json_of_another_shape_hints_at_nothing(door: Door, body: bytes) -> None:
    answer = door.client.post("/hooks/distribution", content=body, headers=BEARER)
    assert (answer.status_code, answer.json()) == (202, {"items": 0})


def test_a_form_holds_json(door: Door) -> None:
    """GitHub and Gitea send a form unless told otherwise; the signature is over its bytes."""
    payload = {"ref": "refs/heads/main", "after": "", "repository": {"clone_url": "https://github.com/acme/fleet"}}
    body = f"payload={quote(json.dumps(payload))}".encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert door.client.post("/hooks/github", content=body, headers=signed(body) | form).json() == {"items": 1}
    for broken in (b"", b"payload=", b"a=1&" * 100_000, b"payload=%7B"):
        answer = door.client.post("/hooks/github", content=broken, headers=signed(broken) | form)
        assert answer.status_code == 400


def test_only_so_many_hints_of_one_payload_are_heard(door: Door) -> None:
    assert door.push(*["elsewhere.example.com/a"] * 100, "registry.example.com/acme/web").json() == {"items": 0}


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in chunks"])
def test_a_payload_that_is_too_large_is_not_read_to_its_end(door: Door, declared: bool) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 << 20:
            sent += 1 << 16
            yield b" " * (1 << 16)

    headers = BEARER | ({"content-length": str(64 << 20)} if declared else {})
    try:
        answer = door.client.post("/hooks/distribution", content=chunks(), headers=headers)
    except httpx.WriteError:  # it is put down while we still speak
        assert sent < 64 << 20
    else:
        assert answer.status_code == 413
    assert door.push("registry.example.com/acme/web").status_code == 202


def test_a_payload_just_small_enough_is_read(door: Door) -> None:
    body = json.dumps({"events": [event("registry.example.com/acme/web")]}).encode()
    body += b" " * (hooks.MAX_BODY - len(body))
    assert door.client.post("/hooks/distribution", content=body, headers=BEARER).status_code == 202
    assert door.client.post("/hooks/distribution", content=body + b" ", headers=BEARER).status_code == 413


def test_a_length_that_is_a_lie_changes_nothing(door: Door) -> None:
    """Less than was promised is waited for until the deadline, and more is not read."""
    for length in (b"-1", b"1e3", b"9" * 30):
        head = b"POST /hooks/distribution HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
        assert raw(door, head + b"{}").split(b" ")[1] in {b"400", b"403"}


def test_who_sends_slowly_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "READ", 0.3)
    head = f"POST /hooks/distribution HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
    answer = raw(door, head.encode() + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_without_a_right_token_nothing_is_read(door: Door) -> None:
    """Whoever may not come in cannot have anything waited for, or held in memory."""
    head = b"POST /hooks/distribution HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert raw(door, head).startswith(b"HTTP/1.1 403 ")


def test_bodies_are_not_held_without_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MAX_HELD", 1000)
    body = b" " * 2000
    assert door.client.post("/hooks/github", content=body, headers=signed(body)).status_code == 503
    assert door.push("registry.example.com/acme/web").status_code == 202, "what was refused is not held"


def raw(door: Door, sent: bytes) -> bytes:
    """Send bytes and return the answer, until the other side closes or has said all."""
    where = urlsplit(door.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as one:
        one.sendall(sent)
        found = b""
        while chunk := one.recv(65536):
            found += chunk
            if b"\r\n\r\n" in found and b"}" in found:
                break
        return found
