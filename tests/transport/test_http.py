"""HTTP: bounded in time and bytes, no state, TLS that is verified, proxies as people expect them."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.certificates import make_certificate
from tests.lab.proxy import Proxy
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.demo.registry import EmbeddedRegistry
from updater.secrets import redact
from updater.transport import http as module
from updater.transport.http import Http, TransportError
from updater.transport.proxies import Routes
from updater.transport.words import without_secrets


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def get(http: Http, url: str, *, max_bytes: int = 1000, seconds: float = 5.0) -> tuple[int, bytes]:
    answer = http.request("GET", url, max_bytes=max_bytes, deadline=soon(seconds))
    return answer.status, answer.body


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Http]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Http() as client:
        yield client


# --- what is sent and read ------------------------------------------------------------------------------------------


def test_an_answer_is_read_whole_whatever_its_status(http: Http) -> None:
    with Scripted(lambda asked: reply(418, asked.method.encode(), ("X-A", "1"), ("X-A", "2"))) as server:
        answer = http.request("PUT", f"{server.url}/x?y=%2Fz", max_bytes=10, deadline=soon(), content=b"body")
        assert (answer.status, answer.body, answer.url) == (418, b"PUT", f"{server.url}/x?y=%2Fz")
        assert (answer.header("x-a"), answer.values("X-A"), answer.header("x-b")) == ("1, 2", ["1", "2"], None)
        asked = server.requests[0]
        assert (asked.target, asked.headers["accept-encoding"]) == ("/x?y=%2Fz", "identity")
        assert asked.headers["user-agent"].startswith("updater/")


def test_head_has_no_body_though_it_announces_one(http: Http) -> None:
    with Scripted(lambda _: reply(200, b"", ("Content-Length", "5000000"), ("Content-Encoding", "gzip"))) as server:
        assert http.request("HEAD", server.url, max_bytes=0, deadline=soon()).body == b""


def test_cookies_are_neither_kept_nor_sent_and_redirects_not_followed(http: Http) -> None:
    cookie = ("Set-Cookie", "session=1; Path=/")
    with Scripted(lambda _: reply(302, b"", cookie, ("Location", "/elsewhere"))) as server:
        assert [get(http, server.url)[0] for _ in range(2)] == [302, 302]
        assert all("cookie" not in asked.headers for asked in server.requests)


@pytest.mark.parametrize("location", ["http://[::1", "http://a\x1bb/", "https://xn--/", "/\xff", "x" * 9000])
def test_where_a_redirect_leads_is_not_looked_at(http: Http, location: str) -> None:
    with Scripted(lambda _: reply(302, b"", ("Location", location))) as server:
        assert get(http, server.url)[0] == 302


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_connection_serves_many_requests(http: Http, method: str) -> None:
    length = ("Content-Length", "5")
    with Scripted(lambda asked: reply(200, b"" if asked.method == "HEAD" else b"12345", length)) as server:
        for _ in range(5):
            http.request(method, server.url, max_bytes=1000, deadline=soon())
        assert (len(server.requests), server.connections) == (5, 1)


def test_a_login_in_an_address_is_sent_and_not_shown(http: Http) -> None:
    with Scripted(lambda _: reply(200)) as server:
        answer = http.request("GET", f"http://me:canary%2F@{server.host}/x", max_bytes=0, deadline=soon())
        assert server.requests[0].headers["authorization"] == f"Basic {b64encode(b'me:canary/').decode()}"
        assert answer.status == 200


# --- bounds ---------------------------------------------------------------------------------------------------------

BOMB = gzip.compress(b"\0" * (20 << 20))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("whole", "fits"),
    [
        pytest.param(reply(200, b"x" * 1000), True, id="as large as allowed"),
        pytest.param(reply(200, b"x" * 1001), False, id="announced one byte more"),
        pytest.param(CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n", True, id="chunked, as large as allowed"),
        pytest.param(CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", False, id="chunked, one byte more"),
        pytest.param(reply(500, b"x" * 1001), False, id="an error page one byte more"),
    ],
)
def test_the_cap_on_bytes_counts_what_comes(http: Http, whole: bytes, fits: bool) -> None:
    with Scripted(lambda _: whole) as server:
        if fits:
            assert len(get(http, server.url)[1]) == 1000
            return
        with pytest.raises(TransportError, match="larger than 1000 bytes") as large:
            get(http, server.url)
        assert not large.value.retryable


def test_a_body_without_end_is_cut_at_the_cap(http: Http) -> None:
    def endless(_: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while not server.stopped.is_set():
            yield b"x" * 65536

    with Scripted(endless) as server, pytest.raises(TransportError, match="larger than"):
        get(http, server.url, max_bytes=1 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP, identity"])
def test_an_encoded_answer_is_refused_unread(http: Http, encoding: str) -> None:
    with (
        Scripted(lambda _: reply(200, BOMB, ("Content-Encoding", encoding))) as server,
        pytest.raises(TransportError, match="encoded") as refused,
    ):
        get(http, server.url, max_bytes=1 << 30)
    assert not refused.value.retryable


@pytest.mark.parametrize("dripped", ["status line", "headers", "body", "chunks", "early hints"])
def test_a_drip_ends_at_the_deadline_wherever_it_drips(http: Http, dripped: str) -> None:
    parts = {
        "status line": (b"", b"HTTP/1.1 200 OK" + b"K" * 1000),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n" * 500),
        "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x" * 900),
        "chunks": (CHUNKED, b"1\r\nx\r\n" * 200),
        "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    }
    at_once, slowly = parts[dripped]

    def script(_: Asked) -> Iterator[bytes]:
        yield at_once
        yield from server.drip(slowly, 0.02)

    with Scripted(script) as server:
        start = time.monotonic()
        with pytest.raises(TransportError, match="in time") as late:
            get(http, server.url, seconds=0.3)
        assert 0.25 < time.monotonic() - start < 2
        assert late.value.retryable


def test_a_server_that_accepts_and_says_nothing_ends_at_the_deadline_with_and_without_tls(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            start = time.monotonic()
            with pytest.raises(TransportError, match="in time"):
                get(http, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.2)
            assert time.monotonic() - start < 2


def test_a_name_that_the_resolver_does_not_find_in_time_ends_at_the_deadline(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(10))
    start = time.monotonic()
    with pytest.raises(TransportError, match="in time") as late:
        get(http, "http://slow.example/", seconds=0.3)
    assert time.monotonic() - start < 5
    assert late.value.retryable
    asked.set()


def test_a_deadline_that_has_passed_asks_nobody(http: Http) -> None:
    with Scripted(lambda _: reply(200)) as server:
        with pytest.raises(TransportError, match="in time"):
            get(http, server.url, seconds=-1)
        assert server.requests == []


def test_threads_that_share_the_client_have_deadlines_of_their_own(http: Http) -> None:
    def script(asked: Asked) -> Answered:
        server.stopped.wait(0.4)
        return reply(200, b"late")

    outcomes: dict[float, str] = {}

    def ask(seconds: float) -> None:
        try:
            outcomes[seconds] = get(http, server.url, seconds=seconds)[1].decode()
        except TransportError as err:
            outcomes[seconds] = str(err)

    with Scripted(script) as server:
        threads = [threading.Thread(target=ask, args=(seconds,)) for seconds in (0.1, 5.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert "in time" in outcomes[0.1]
    assert outcomes[5.0] == "late"


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words", "retryable"),
    [
        pytest.param("http://127.0.0.1:1/x", "refused", True, id="nobody listens"),
        pytest.param("http://no-such-host.invalid/x", "cannot be resolved", True, id="no such name"),
        pytest.param(f"http://{'x' * 70}.example/x", "resolved|address", True, id="a name that DNS cannot carry"),
        pytest.param("gopher://127.0.0.1/x", "not an address", False, id="another scheme"),
        pytest.param("http:///x", "not an address", False, id="no host"),
        pytest.param("http://xn--/x", "not an address", False, id="a name in Punycode that is none"),
        pytest.param("http://127.0.0.1:99999999/x", "not an address", False, id="no port"),
    ],
)
def test_errors_say_what_was_asked_of_whom(http: Http, url: str, words: str, retryable: bool) -> None:
    with pytest.raises(TransportError, match=words) as failed:
        get(http, f"{url}?token=canary-secret")
    assert str(failed.value).startswith("GET ")
    assert "canary-secret" not in str(failed.value)
    assert failed.value.retryable is retryable


@pytest.mark.parametrize("answer", [None, b"SSH-2.0-OpenSSH\r\n\r\n", reply(200, b"short", ("Content-Length", "900"))])
def test_a_reset_a_stranger_and_a_cut_body_are_errors_that_may_pass(http: Http, answer: bytes | None) -> None:
    with Scripted(lambda _: None if answer is None else iter([answer])) as server:
        with pytest.raises(TransportError) as failed:
            get(http, server.url)
        assert failed.value.retryable


def test_nothing_that_was_asked_is_logged(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="root"), Scripted(lambda _: reply(200)) as server:
        get(http, f"{server.url}/hook?access_token=canary-secret")
    assert "canary-secret" not in caplog.text


def test_addresses_are_shown_without_login_and_query() -> None:
    assert without_secrets("https://u:p@host:1/path?q=1#f") == "https://host:1/path"
    assert without_secrets("https://[") == "an unreadable address"


# --- TLS ------------------------------------------------------------------------------------------------------------


def test_a_private_ca_is_added_and_everything_else_is_refused_for_good(http: Http, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with EmbeddedRegistry(tls=certificate) as registry:
        with Http(ca_file=certificate[0]) as trusting:
            assert get(trusting, f"{registry.url}/v2/")[0] == 200
        with pytest.raises(TransportError, match="certificate is not trusted") as refused:
            get(http, f"{registry.url}/v2/")
        assert not refused.value.retryable


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with (
        EmbeddedRegistry(tls=certificate) as registry,
        Proxy({"registry.example.com:443": registry.host}) as proxy,
        Http(ca_file=certificate[0], proxy=proxy.url) as http,
        pytest.raises(TransportError, match=r"not trusted .*registry\.example\.com"),
    ):
        get(http, "https://registry.example.com/v2/")


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with Http(ca_file=path) as http, pytest.raises(TransportError, match=r"CA file .*ca\.pem cannot be used") as failed:
        get(http, "https://127.0.0.1:1/")
    assert not failed.value.retryable


def test_one_tls_context_is_made_for_a_ca_file_and_only_when_tls_is_spoken(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    before = module._tls_context_of.cache_info().misses
    with EmbeddedRegistry(tls=certificate) as secure, EmbeddedRegistry() as plain:
        clients = [Http(ca_file=certificate[0]) for _ in range(3)]
        for client in clients:
            get(client, f"{plain.url}/v2/")
        assert module._tls_context_of.cache_info().misses == before
        for client in clients:
            get(client, f"{secure.url}/v2/")
            client.close()
    assert module._tls_context_of.cache_info().misses == before + 1


def test_a_ca_file_that_was_replaced_counts_for_new_clients(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    certificate, old = make_certificate(tmp_path), make_certificate(tmp_path / "old")[0]
    path = tmp_path / "ca.pem"
    with EmbeddedRegistry(tls=certificate) as registry:
        path.write_bytes(old.read_bytes())
        with Http(ca_file=path) as http, pytest.raises(TransportError, match="not trusted"):
            get(http, registry.url)
        (tmp_path / "new.pem").write_bytes(certificate[0].read_bytes())
        (tmp_path / "new.pem").replace(path)
        with Http(ca_file=path) as http:
            assert get(http, f"{registry.url}/v2/")[0] == 200


# --- proxies --------------------------------------------------------------------------------------------------------


@contextmanager
def behind_a_proxy(tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    """Run registries that only the proxy knows: http and https at registry.test."""
    certificate = make_certificate(tmp_path)
    with EmbeddedRegistry() as plain, Proxy({"registry.test": plain.host}) as proxy:
        yield proxy, certificate[0]


@pytest.mark.parametrize("spelling", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, http: Http, tmp_path: Path, spelling: str
) -> None:
    with behind_a_proxy(tmp_path) as (proxy, _):
        monkeypatch.setenv(spelling, proxy.host)  # without a scheme, as people write it
        with Http() as through:
            assert get(through, "http://registry.test/v2/")[0] == 200
        assert proxy.asked == ["GET http://registry.test/v2/"]


def test_the_proxy_of_the_environment_never_stands_before_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    with EmbeddedRegistry() as registry, Http() as http:
        assert get(http, f"{registry.url}/v2/")[0] == 200


def test_a_configured_proxy_wins_over_the_environment_and_carries_its_own_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    with behind_a_proxy(tmp_path) as (proxy, _):
        with Http(proxy=f"http://user:canary%20pass@{proxy.host}") as http:
            assert get(http, "http://registry.test/v2/")[0] == 200
        assert proxy.authorizations == ["Basic dXNlcjpjYW5hcnkgcGFzcw=="]
        assert redact("it is canary pass") == "it is ***"


@pytest.mark.parametrize(
    ("entries", "host", "direct"),
    [
        (["*"], "a.example.com", True),
        (["example.com"], "example.com", True),
        (["example.com"], "a.example.com", True),
        ([".example.com"], "a.example.com", True),
        (["*.example.com"], "a.example.com", True),
        (["EXAMPLE.com"], "a.Example.COM", True),
        (["example.com"], "badexample.com", False),
        (["example.com"], "example.com.evil.org", False),
        (["example.com:443"], "example.com", True),
        (["example.com:8443"], "example.com", False),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.1.2.3"], "10.1.2.3", True),
        (["::1"], "::1", True),
        (["[::1]:443"], "::1", True),
        (["fd00::/8"], "fd12::1", True),
        (["nonsense/8", "", "x"], "10.1.2.3", False),
        ([], "example.com", False),
    ],
)
def test_no_proxy_takes_domains_ports_addresses_and_networks(entries: list[str], host: str, direct: bool) -> None:
    routes = Routes.configured("http://proxy:3128", entries)
    assert routes.proxy("https", host, 443) == (None if direct else "http://proxy:3128")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://", "ftp://x"])
def test_a_proxy_of_another_kind_is_refused_in_words(proxy: str) -> None:
    with Http(proxy=proxy) as http, pytest.raises(TransportError, match="proxy's address") as failed:
        get(http, "http://registry.example.com/")
    assert not failed.value.retryable


def test_a_proxy_that_refuses_a_tunnel_is_an_error_that_names_no_secret(tmp_path: Path) -> None:
    with Scripted(lambda _: reply(407, b"")) as server, Http(proxy=f"http://u:canary-pass@{server.host}") as http:
        with pytest.raises(TransportError, match="407") as failed:
            get(http, "https://registry.example.com/")
        assert "canary-pass" not in str(failed.value)
