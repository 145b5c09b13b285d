"""Bodies that do not come, or not whole: nobody is waited for without end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.lab.door import tokens_file
from tests.lab.front import Front, fleet
from tests.lab.loop import open_lab
from updater.web import bodies

PATIENCE = 20.0  # seconds; an answer takes a part of one


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with open_lab(tmp_path_factory.mktemp("open")) as lab, fleet(lab) as front, front.served() as found:
        yield found


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ", 0.3)


def asked(url: str, path: str, *head: str) -> str:
    """Send a head that announces more than comes, and return the first line of the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}:{port}", f"Origin: {url}", "Content-Length: 1000", *head, "", "a="]
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n" not in answer and (more := connection.recv(4096)):
            answer += more
    return answer.partition(b"\r\n")[0].decode()


@pytest.mark.parametrize("path", ["/api/v1/images/api/hold", "/images/api/hold"])
def test_a_body_that_does_not_come_is_not_waited_for(url: str, path: str) -> None:
    session = httpx.get(f"{url}/api/v1/session", timeout=PATIENCE)
    cookie, csrf = session.headers["set-cookie"].partition(";")[0], session.json()["csrf"]
    said = asked(url, path, f"Cookie: {cookie}", f"X-CSRF-Token: {csrf}", "Content-Type: application/json")
    assert said.startswith("HTTP/1.1 408 ")


def test_a_login_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    with ExitStack() as closing:
        lab = closing.enter_context(open_lab(tmp_path / "lab"))
        tokens = tokens_file(tmp_path)
        front: Front = closing.enter_context(fleet(lab, f"web: {{login: {{tokens: '{tokens}'}}}}\n"))
        said = asked(closing.enter_context(front.served()), "/login")
    assert said.startswith("HTTP/1.1 408 ")


def test_a_form_is_small(url: str) -> None:
    session = httpx.get(f"{url}/api/v1/session", timeout=PATIENCE)
    cookie = session.headers["set-cookie"].partition(";")[0]
    answer = httpx.post(
        f"{url}/images/api/hold", params={"csrf": session.json()["csrf"]}, content=b"reason=" + b"a" * bodies.MAX_FORM,
        headers={"Cookie": cookie, "Origin": url}, timeout=PATIENCE,
    )  # fmt: skip
    assert (answer.status_code, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
