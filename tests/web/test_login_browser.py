"""Logging in with a real browser, which keeps strict cookies back where another site leads here."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.lab.browser import needs_browser, reader
from tests.lab.door import TOKEN, tokens_file
from tests.lab.path import Daemon, WholePath
from tests.lab.provider import CLIENT, SECRET, Provider

pytestmark = needs_browser


@contextmanager
def served(folder: Path, **web: Any) -> Iterator[tuple[str, Page]]:
    """Run a daemon with this section and a browser; yield where it serves, and an empty page."""
    with WholePath.embedded(folder) as path:
        path.configure([], [], web=web)
        with Daemon(path) as daemon:
            with reader() as found:
                yield daemon.wait("serving")["url"], found.page
            daemon.ask()
            assert daemon.end() == 0


@contextmanager
def elsewhere(to: str) -> Iterator[str]:
    """Serve a page with a link, by a name that makes it another site; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f'<a href="{to}">go</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def session(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.inner_text("body"))
    return found


def test_a_token_logs_in_and_a_link_on_another_site_finds_the_reader_logged_in(tmp_path: Path) -> None:
    with served(tmp_path, login={"tokens": tokens_file(tmp_path)}) as (url, page):
        page.goto(f"{url}api/v1/session")
        page.wait_for_url("**/login?next=*")
        page.fill("#token", TOKEN)
        page.click("form[action='/login'] button")
        page.wait_for_url(f"{url}api/v1/session")
        mine = session(page)
        assert (mine["person"], mine["may_act"]) == ("ada", True)
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        with elsewhere(f"{url}api/v1/session?x=%22%26") as there:
            page.goto(there)
            page.click("a")
            page.wait_for_url(f"{url}api/v1/session?x=%22%26")
            page.wait_for_function("document.body.innerText.includes('person')")
            assert session(page) == mine


def test_without_a_login_a_link_on_another_site_changes_no_token(tmp_path: Path) -> None:
    with served(tmp_path) as (url, page):
        page.goto(f"{url}api/v1/session")
        mine = session(page)
        assert mine["person"] == "local"
        with elsewhere(f"{url}api/v1/session") as there:
            page.goto(there)
            page.click("a")
            page.wait_for_url(f"{url}api/v1/session")
            page.wait_for_function("document.body.innerText.includes('person')")
            assert session(page) == mine


def test_a_provider_on_another_site_leads_back_to_a_page_that_knows_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with Provider("localhost") as provider:
        oidc = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": f"file:{secret}", "operators": ["dev"]}
        monkeypatch.setattr(WholePath, "environment", _listening(listen))
        with served(tmp_path, public_url=f"http://{listen}", login={"oidc": oidc}) as (url, page):
            page.goto(f"{url}api/v1/session")
            page.wait_for_url("**/login?next=*")
            page.click("a[href^='/login/oidc']")
            page.wait_for_url(f"{url}api/v1/session")
            page.wait_for_function("document.body.innerText.includes('person')")
            found = session(page)
            assert (found["person"], found["may_act"]) == ("grace", True)
            assert [one["sameSite"] for one in page.context.cookies(url)] == ["Strict"]


def _listening(listen: str) -> Any:
    before = WholePath.environment
    return lambda path: before(path) | {"UPDATER_LISTEN": listen}
