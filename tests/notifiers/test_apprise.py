"""Apprise: what it delivers, what it is not trusted with, and what never leaves it."""

from __future__ import annotations

import json
import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.certificates import make_certificate
from tests.lab.scripted import reply
from tests.notifiers.made import (
    FAILURE,
    HOSTILE_MESSAGE,
    HUGE,
    MANY,
    MARKED,
    SEVERAL,
    SINGLE,
    TEST,
    delivery,
    in_turn,
    message,
    served,
)
from updater.notifiers.apprise import REFUSED, Apprise, _blanked
from updater.notifiers.base import Notifier, Reply, Verdict, Wire
from updater.plugins import members
from updater.transport.http import Http

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it
SECRET = "secretpathofthewebhook"


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as client:
        yield client


def channel(**more: Any) -> Apprise:
    return Apprise.model_validate({"kind": "apprise", "url": "env:APPRISE_URL"} | more)


class Receiver:
    """A receiver of apprise's json:// on loopback; keeps what it was sent."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        received: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'jsons' if certificate else 'json'}://127.0.0.1:{self._server.server_port}/{SECRET}"

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join(5)
            self._server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver().running() as one:
        monkeypatch.setenv("APPRISE_URL", one.url)
        yield one


def test_a_message_is_title_text_and_kind(receiver: Receiver, http: Http) -> None:
    found = [channel().deliver(delivery(told), Wire(http)) for told in (SINGLE, FAILURE, TEST)]
    assert found == [Reply(Verdict.DELIVERED)] * 3
    single, failure, test = receiver.received
    assert (single["title"], single["type"]) == ("api 1.4.2 -> 1.5.0", "info")
    assert single["message"].startswith("Image: ghcr.io/acme/api\n")
    assert (failure["type"], "Look at the registry." in failure["message"]) == ("failure", True)
    assert test["title"] == "Test message of updater"


def test_plain_leaves_templates_out(receiver: Receiver, http: Http) -> None:
    for plain in (False, True):
        assert channel().deliver(delivery(MARKED, plain=plain), Wire(http)).verdict is Verdict.DELIVERED
    marked, plain_one = receiver.received
    assert marked["message"] == "operator's *own* <b>words</b>"
    assert "operator" not in plain_one["message"]


def test_outside_text_mentions_nobody_and_is_no_tag(receiver: Receiver, http: Http) -> None:
    assert channel().deliver(delivery(HOSTILE_MESSAGE), Wire(http)).verdict is Verdict.DELIVERED
    (found,) = receiver.received
    for text in (found["title"], found["message"]):
        for bait in ("@everyone", "@channel", "<!channel>", "<@U123>", "<at>", "<a ", "</code>", "\r", "\x1b"):
            assert bait not in text
    digest = message(*SINGLE.entries, title="api @sha256:" + "0" * 64)
    assert Apprise.escape(digest.title) == digest.title


def test_what_is_too_large_is_shortened(receiver: Receiver, http: Http) -> None:
    assert channel().deliver(delivery(HUGE), Wire(http)).verdict is Verdict.DELIVERED
    (found,) = receiver.received
    assert len(found["message"].encode()) <= Apprise.max_bytes
    assert channel().weigh(SEVERAL) <= Apprise.max_bytes < channel().weigh(MANY)


def test_a_private_ca_is_trusted(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    crt, key = make_certificate(tmp_path)
    with Receiver((crt, key)).running() as one:
        monkeypatch.setenv("APPRISE_URL", one.url)
        untrusted = channel().deliver(delivery(), Wire(http))
        trusted = channel().deliver(delivery(), Wire(http, ca_file=crt))
    assert (untrusted.verdict, trusted.verdict, len(one.received)) == (Verdict.RETRY, Verdict.DELIVERED, 1)


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """What the handlers of a program get, at every level."""
    text, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_failure_is_tried_again_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], logged: StringIO
) -> None:
    with served(in_turn(reply(200), reply(500, b"oops"), None)) as (server, wire):
        monkeypatch.setenv("APPRISE_URL", f"json://{server.host}/{SECRET}")
        one = channel()
        found = [one.deliver(delivery(), wire) for _ in range(3)]
    assert [judged.verdict for judged in found] == [Verdict.DELIVERED, Verdict.RETRY, Verdict.RETRY]
    assert "500" in found[1].said
    logging.getLogger("other").debug("heard")
    assert "heard" in logged.getvalue()
    printed = capfd.readouterr()
    for shown in (repr(found), repr(one), logged.getvalue(), printed.out, printed.err):
        assert SECRET not in shown


def test_what_apprise_says_is_blanked(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"json://account:pass%40word@127.0.0.1:1/{SECRET}?to=person@example.com"
    words = _blanked(f"error at http://account:pass@word@127.0.0.1/{SECRET}: 500 for person@example.com", url)
    for secret in ("account", "pass@word", SECRET, "person"):
        assert secret not in words
    assert words.startswith("error at http://")


def test_a_server_that_drips_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(lambda _: server.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, 0.05)) as (server, wire):
        monkeypatch.setenv("APPRISE_URL", f"json://{server.host}/{SECRET}")
        began = time.monotonic()
        found = channel().deliver(delivery(), Wire(wire.http, seconds=0.5))
        took = time.monotonic() - began
    assert found.verdict is Verdict.RETRY
    assert took < 4.0  # of 0.5 s, on a machine that is busy


def test_a_redirect_is_not_followed(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    script = in_turn(reply(302, b"", ("Location", "/elsewhere")), reply(200))
    with served(script) as (server, wire):
        monkeypatch.setenv("APPRISE_URL", f"json://{server.host}/{SECRET}")
        channel().deliver(delivery(), wire)
    assert [asked.path for asked in server.requests] == [f"/{SECRET}"]


@pytest.mark.parametrize(
    ("url", "own"),
    [
        pytest.param("dingtalk://abcdefghijkl", "dingtalk", id="dingtalk"),
        pytest.param("dingtalk://SECabcdef@abcdefghijkl", "dingtalk", id="dingtalk, signed"),
        pytest.param("feishu://abcdefghijkl", "feishu", id="feishu"),
        pytest.param("lark://abcdefghijkl", "lark", id="lark"),
        pytest.param("LARK://abcdefghijkl", "lark", id="in capitals"),
        pytest.param("wecombot://abcdefghijkl", "wecom", id="wecom"),
        pytest.param("https://open.larksuite.com/open-apis/bot/v2/hook/abcdefghijkl", "lark", id="lark as it is"),
        pytest.param("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abcdefghijkl", "wecom", id="wecom as it is"),
    ],
)
def test_what_reports_success_whatever_happened_is_refused(
    http: Http, monkeypatch: pytest.MonkeyPatch, url: str, own: str
) -> None:
    monkeypatch.setenv("APPRISE_URL", url)
    found = channel().deliver(delivery(), Wire(http))
    assert (found.verdict, f"kind: {own}" in found.meaning) == (Verdict.PERMANENT, True)
    assert "abcdefghijkl" not in repr(found)


def test_our_own_kinds_exist() -> None:
    assert set(REFUSED.values()) <= set(members(Notifier))


@pytest.mark.parametrize("url", ["nosuchservice://x/y", "json://", "no url", "https://receiver.example.com/"])
def test_what_apprise_does_not_know_is_a_mistake(http: Http, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("APPRISE_URL", url)
    found = channel().deliver(delivery(), Wire(http))
    assert (found.verdict, found.meaning) == (
        Verdict.PERMANENT,
        "apprise knows no service at this URL: check the secret",
    )


def test_without_the_extra_it_says_what_to_install(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRISE_URL", "json://127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "apprise", None)
    found = channel().deliver(delivery(), Wire(http))
    assert (found.verdict, found.meaning) == (Verdict.PERMANENT, "install updater[apprise]")


def test_the_url_is_a_reference() -> None:
    with pytest.raises(ValidationError, match="literal secret"):
        channel(url="json://127.0.0.1/x")
