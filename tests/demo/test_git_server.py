"""The embedded Git server serves plain git."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.git import git
from updater.demo.git_server import GitServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "server") as running:
        yield running


def request(server: GitServer, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.putrequest(method, path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    with connection.getresponse() as response:
        answer = response.status, response.read()
    connection.close()
    return answer


@pytest.mark.parametrize("setting", ["http.postBuffer=1048576", "http.postBuffer=70000", "protocol.version=0"])
def test_plain_git_clones_and_pushes(server: GitServer, tmp_path: Path, setting: str) -> None:
    """Small bodies come with a length, large ones in chunks, requests for many objects compressed."""
    url = server.create("fleet", {"a.yaml": b"1\n"})
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", url, str(work))
    for n in range(40):
        (work / f"{n}.bin").write_bytes(os.urandom(5000))
        git(work, "add", ".")
        git(work, "commit", "-qm", str(n))
    git(work, "-c", setting, "push", "-q", "origin", "main")
    git(tmp_path, "-c", setting, "clone", "-q", url, "again")
    assert git(tmp_path / "again", "rev-parse", "HEAD") == git(work, "rev-parse", "HEAD")
    git(work, "commit", "-q", "--allow-empty", "-m", "more")
    git(work, "push", "-q", "origin", "main")
    git(tmp_path / "again", "-c", setting, "fetch", "-q")


def test_an_empty_repository_takes_its_first_push(server: GitServer, tmp_path: Path) -> None:
    url = server.create("empty", branch="trunk")
    git(tmp_path, "clone", "-q", url, "work")
    git(tmp_path / "work", "commit", "-q", "--allow-empty", "-m", "First")
    git(tmp_path / "work", "push", "-q", "origin", "HEAD:trunk")
    assert "refs/heads/trunk" in git(tmp_path, "ls-remote", url)


def test_many_ask_at_once(server: GitServer, tmp_path: Path) -> None:
    url = server.create("fleet", {f"{n}.yaml": b"%d\n" % n for n in range(100)})
    heads: list[str] = []
    threads = [threading.Thread(target=lambda: heads.append(git(tmp_path, "ls-remote", url, "main"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(heads) == 8
    assert len(set(heads)) == 1


def test_a_password_keeps_strangers_out(tmp_path: Path) -> None:
    with GitServer(tmp_path / "server", username="ci", password="lab") as server:
        url = server.create("fleet", {"a.yaml": b"1\n"})
        with pytest.raises(RuntimeError, match="could not read Username"):
            git(tmp_path, "ls-remote", url)
        with pytest.raises(RuntimeError, match="Authentication failed"):
            git(tmp_path, "ls-remote", url.replace("//", "//ci:wrong@"))
        assert "refs/heads/main" in git(tmp_path, "ls-remote", url.replace("//", "//ci:lab@"))


NO_BODIES: dict[str, tuple[dict[str, str], bytes, int]] = {
    "a length that is a word": ({"Content-Length": "many"}, b"", 400),
    "a negative length": ({"Content-Length": "-1"}, b"", 400),
    "a length beyond the bound": ({"Content-Length": str(1 << 40)}, b"", 400),
    "a chunk whose size is a word": ({"Transfer-Encoding": "chunked"}, b"zz\r\n", 400),
    "a chunk smaller than nothing": ({"Transfer-Encoding": "chunked"}, b"-5\r\n", 400),
    "a body of no type": ({"Content-Length": "0"}, b"", 415),
}


@pytest.mark.parametrize(("headers", "body", "status"), NO_BODIES.values(), ids=NO_BODIES.keys())
def test_bodies_that_are_none_are_refused(server: GitServer, headers: dict[str, str], body: bytes, status: int) -> None:
    server.create("fleet", {"a.yaml": b"1\n"})
    assert request(server, "POST", "/fleet.git/git-upload-pack", headers, body)[0] == status


NO_REPOSITORIES = [
    "/",
    "/nowhere.git/info/refs",
    "/../../etc/passwd",
    "/fleet.git/../../x",
    "/%2e%2e/%2e%2e/etc/passwd",
]


@pytest.mark.parametrize("path", NO_REPOSITORIES)
def test_nothing_but_repositories_is_served(server: GitServer, path: str) -> None:
    server.create("fleet", {"a.yaml": b"1\n"})
    status, body = request(server, "GET", path, {})
    assert status in {400, 403, 404, 500}
    assert b"root:" not in body


def test_closing_ends_it(tmp_path: Path) -> None:
    server = GitServer(tmp_path / "server")
    url = server.create("fleet", {"a.yaml": b"1\n"})
    server.close()
    with pytest.raises(RuntimeError, match=r"Failed to connect|Couldn't connect"):
        git(tmp_path, "ls-remote", url)
