"""A cluster that is slow, busy, broken or down: bounded, patient where it helps, and left alone where it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.conftest import Connect, login_of
from tests.cluster.made import config_map
from tests.lab.scripted import Answered, Scripted, reply
from tests.lab.scripted import Asked as Plain
from updater.cluster.client import Cluster
from updater.cluster.credentials import Kept
from updater.cluster.login import Login
from updater.cluster.wire import Server
from updater.demo.cluster.asked import Asked, Cut, Drip, Fault, Hang, refuse, say
from updater.demo.cluster.server import ClusterServer
from updater.errors import ClusterError, Denied, Unreachable
from updater.transport.pace import Breaker

KEY = config_map().key


def plain(server: Scripted) -> Login:
    return Login(Server(server.url), Kept())


def times(*faults: Fault) -> Callable[[Asked], Fault | None]:
    """Fail requests for objects, one after the other, and then behave."""
    left = list(faults)
    return lambda asked: left.pop(0) if left and asked.resource else None


# --- bounded ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Hang(), Drip(say({"x": "y" * 1000}), 0.02)], ids=["silent", "dripping"])
def test_no_request_takes_longer_than_its_time(server: ClusterServer, connect: Connect, fault: Fault) -> None:
    cluster = connect(request_seconds=0.4)
    cluster.kind_of("", "ConfigMap")
    server.script = lambda _: fault
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time"):
        cluster.get(KEY)
    assert time.monotonic() - begun < 3


def test_headers_that_drip_do_not_hold_us(connect: Connect) -> None:
    def script(_: Plain) -> Answered:
        return server.drip(reply(200, b"x" * 5000), 0.02)

    with Scripted(script) as server, pytest.raises(Unreachable, match="no answer in time"):
        connect(plain(server), request_seconds=0.4).version()


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"", ("Content-Length", str(5 << 20))),
        [b"HTTP/1.1 200 OK\r\n\r\n", *([b"x" * (1 << 20)] * 5)],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"] * 5)],
    ],
    ids=["announced", "endless", "in chunks"],
)  # fmt: skip
def test_an_answer_that_is_too_large_is_not_read(connect: Connect, answer: Answered) -> None:
    with Scripted(lambda _: answer) as server, pytest.raises(Unreachable, match="is larger than 4194304 bytes"):
        connect(plain(server)).version()


def test_an_encoded_answer_was_not_asked_for(connect: Connect) -> None:
    with Scripted(lambda _: reply(200, b"\x1f\x8b", ("Content-Encoding", "gzip"))) as server:
        with pytest.raises(Unreachable, match="encoded as 'gzip'"):
            connect(plain(server)).version()
        assert server.requests[0].headers["accept-encoding"] == "identity"


def test_redirects_are_not_followed(connect: Connect) -> None:
    with Scripted(lambda _: reply(307, b"", ("Location", "/elsewhere"))) as server:
        with pytest.raises(Unreachable, match="redirects are not followed"):
            connect(plain(server)).version()
        assert [asked.path for asked in server.requests] == ["/version"]


def test_proxies_of_the_environment_are_not_asked(
    connect: Connect, server: ClusterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert connect().version() == "v1.34.0"


# --- patient ---------------------------------------------------------------------------------------------------------


def test_a_read_whose_connection_breaks_is_tried_again(server: ClusterServer, cluster: Cluster) -> None:
    cluster.apply(config_map(level="info"))
    server.script = times(Cut(), Cut())
    assert (cluster.get(KEY) or {})["data"] == {"level": "info"}


def test_a_write_whose_connection_breaks_is_not_tried_again(server: ClusterServer, cluster: Cluster) -> None:
    cluster.kind_of("", "ConfigMap")
    server.script = times(Cut(done=True))
    with pytest.raises(Unreachable, match="apply of ConfigMap default/settings at cluster cloud: the connection broke"):
        cluster.apply(config_map())
    assert server.counts["patch configmaps"] == 1


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_cluster_is_asked_again_when_it_says_so(server: ClusterServer, connect: Connect, code: int) -> None:
    pauses: list[float] = []
    cluster = connect(sleep=pauses.append)
    server.script = times(refuse(code, retry_after=3))
    assert cluster.apply(config_map(level="info"))["data"] == {"level": "info"}
    assert len(pauses) == 1
    assert 3 <= pauses[0] < 4


def test_a_cluster_that_wants_more_patience_than_there_is_says_when(server: ClusterServer, connect: Connect) -> None:
    cluster = connect(request_seconds=5.0)
    cluster.kind_of("", "ConfigMap")
    server.script = lambda _: refuse(429, "TooManyRequests", retry_after=600)
    with pytest.raises(Unreachable, match="429 TooManyRequests") as caught:
        cluster.get(KEY)
    assert caught.value.retry_at is not None
    assert timedelta(seconds=500) < caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=600)


def test_no_more_are_under_way_than_was_said(server: ClusterServer, connect: Connect) -> None:
    cluster = connect(concurrency=2)
    cluster.kind_of("", "ConfigMap")
    lock, now, most = threading.Lock(), [0], [0]
    full = threading.Event()

    def script(_: Asked) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 2:
                full.set()
        full.wait(10)
        with lock:
            now[0] -= 1

    server.script = script
    threads = [threading.Thread(target=cluster.get, args=(KEY,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [2]
    assert server.counts["get configmaps"] == 8


def test_a_turn_that_does_not_come_in_time_is_no_trouble_of_the_cluster(
    server: ClusterServer, connect: Connect
) -> None:
    cluster = connect(rate=0.01, burst=1, request_seconds=0.2, breaker=Breaker(1))
    cluster.version()
    with pytest.raises(Unreachable, match="no turn in time; more is asked than its rate allows"):
        cluster.get(KEY)
    assert cluster.trouble == ""


def test_connections_are_kept(server: ClusterServer, cluster: Cluster) -> None:
    for number in range(20):
        cluster.apply(config_map(level=str(number)))
    assert server.connections == 1


# --- left alone ------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_cluster_that_is_down_is_left_alone_until_a_probe_works(server: ClusterServer, connect: Connect) -> None:
    clock = Clock()
    cluster = connect(breaker=Breaker(3, base=1.0, cap=60.0, clock=clock, random=lambda: 1.0))
    cluster.kind_of("", "ConfigMap")
    server.script = lambda _: Cut()
    for _ in range(3):
        assert cluster.trouble == ""
        with pytest.raises(Unreachable, match="the connection broke"):
            cluster.apply(config_map())
    asked = server.counts["patch configmaps"]
    with pytest.raises(Unreachable, match=r"not asked, for the cluster is down: apply of .* broke") as caught:
        cluster.get(KEY)
    assert (server.counts["patch configmaps"], server.counts["get configmaps"]) == (asked, 0)
    assert caught.value.retry_at is not None
    assert "the connection broke" in cluster.trouble
    assert cluster.since is not None
    clock.now = 1.0
    server.script = None
    assert cluster.get(KEY) is None
    assert f"{cluster.trouble}{cluster.since}" == "None"


@pytest.mark.parametrize(
    "fault",
    [
        refuse(500, "InternalError", "failed calling webhook"),
        refuse(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        refuse(403, "Forbidden", 'User "x" cannot get'),
        refuse(422, "Invalid"),
    ],
    ids=["a broken webhook", "an aggregated server that is down", "no rights", "invalid"],
)  # fmt: skip
def test_an_api_server_that_answers_is_not_down(server: ClusterServer, connect: Connect, fault: Fault) -> None:
    cluster = connect(breaker=Breaker(1))
    cluster.kind_of("", "ConfigMap")
    server.script = lambda _: fault
    with pytest.raises(ClusterError, match="get of ConfigMap"):
        cluster.get(KEY)
    assert cluster.trouble == ""


@pytest.mark.parametrize(
    "answer", [reply(503, b"no backend"), reply(502, b""), reply(302, b""), reply(404, b"default backend")]
)
def test_a_load_balancer_that_answers_in_its_place_is_trouble(connect: Connect, answer: bytes) -> None:
    with Scripted(lambda _: answer) as server:
        cluster = connect(plain(server), breaker=Breaker(1))
        with pytest.raises(Unreachable):
            cluster.version()
        assert "version at cluster cloud" in cluster.trouble


def test_one_cluster_that_is_down_does_not_touch_another(server: ClusterServer, connect: Connect) -> None:
    with Scripted(lambda _: None) as dead:
        down, up = connect(plain(dead), breaker=Breaker(1)), connect(login_of(server.kubeconfig))
        with pytest.raises(Unreachable):
            down.version()
        assert up.version() == "v1.34.0"
        assert (bool(down.trouble), up.trouble) == (True, "")


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_watch_takes_no_turn(server: ClusterServer, connect: Connect) -> None:
    cluster = connect(concurrency=1)
    kind = cluster.kind_of("", "ConfigMap")
    place = cluster.list(kind).resource_version
    watch = cluster.watch(kind, selector="", resource_version=place, seconds=60)
    changes = iter(watch)
    cluster.apply(config_map(level="info"))
    assert next(changes).object["data"] == {"level": "info"}
    cluster.apply(config_map(level="debug"))
    change = next(changes)
    assert (change.type, change.object["kind"], watch.resource_version) == (
        "MODIFIED", "ConfigMap", change.object["metadata"]["resourceVersion"],
    )  # fmt: skip
    watch.close()
    assert list(changes) == []


def test_closing_the_cluster_ends_its_watches_at_once(server: ClusterServer, connect: Connect) -> None:
    cluster = connect()
    kind = cluster.kind_of("", "ConfigMap")
    place = cluster.list(kind).resource_version
    ended = threading.Event()
    waiting = threading.Event()

    def go() -> None:
        for _ in cluster.watch(kind, selector="", resource_version=place, seconds=60):
            waiting.set()
        ended.set()

    threading.Thread(target=go, daemon=True).start()
    cluster.apply(config_map())
    assert waiting.wait(10)
    cluster.close()
    assert ended.wait(5)
    with pytest.raises(Unreachable, match="the client is closed"):
        cluster.get(KEY)


def test_a_stream_that_is_silent_for_too_long_is_dead(connect: Connect) -> None:
    def stream(server: Scripted) -> Iterator[bytes]:
        yield HEAD
        server.stopped.wait(20)

    script = watching(stream)
    with Scripted(lambda asked: script(asked, server)) as server:
        cluster = connect(plain(server), stream_grace=0.2)
        watch = cluster.watch(cluster.kind_of("", "ConfigMap"), selector="", resource_version="1", seconds=1)
        with pytest.raises(Unreachable, match="watch of ConfigMap at cluster cloud: no answer in time"):
            list(watch)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def watching(stream: Callable[[Scripted], Answered]) -> Callable[[Plain, Scripted], Answered]:
    listed = [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]
    known = {"/api": {"versions": ["v1"]}, "/api/v1": {"resources": listed}, "/apis": {"groups": []}}
    return lambda asked, server: reply(200, known[asked.path]) if asked.path in known else stream(server)


@pytest.mark.parametrize(
    ("lines", "error", "words"),
    [
        ([b'{"type":"ADDED","object":{"meta'], Unreachable, "cut off"),
        ([b"nonsense\n"], Unreachable, "cannot be read"),
        ([b'{"type":"ADDED","object":[]}\n'], Unreachable, "cannot be read"),
        ([b"[" * 100_000 + b"\n"], Unreachable, "cannot be read"),
        ([b"x" * (1 << 20)] * 5, Unreachable, "larger than 4194304 bytes"),
        ([b'{"type":"ERROR","object":{"kind":"Status","code":401,"message":"no"}}\n'], Denied, "401"),
    ],
    ids=["cut within an event", "no JSON", "no object", "too deep", "too large", "an error"],
)  # fmt: skip
def test_a_stream_that_cannot_be_read_says_so(
    connect: Connect, lines: list[bytes], error: type[Exception], words: str
) -> None:
    script = watching(lambda _: [HEAD, *lines])
    with Scripted(lambda asked: script(asked, server)) as server:
        cluster = connect(plain(server))
        with pytest.raises(error, match=words):
            list(cluster.watch(cluster.kind_of("", "ConfigMap"), selector="", resource_version="1", seconds=5))
