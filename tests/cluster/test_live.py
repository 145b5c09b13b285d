"""What a cluster has of ours, in memory: it survives whatever a stream of changes can do."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Connect
from tests.cluster.made import config_map, definition, secret, widget
from tests.lab.scripted import Answered, Scripted, reply
from tests.lab.scripted import Asked as Plain
from updater.cluster.client import Cluster
from updater.cluster.credentials import Kept
from updater.cluster.live import Live
from updater.cluster.login import Login
from updater.cluster.wire import Server
from updater.demo.cluster.asked import Asked, Cut, refuse
from updater.demo.cluster.server import ClusterServer
from updater.model.resource import Key, Resource
from updater.model.sync import Verdict
from updater.sync.diff import LAST_APPLIED, compare
from updater.sync.inventory import PART_OF

OURS = {PART_OF: "applyset-x-v1"}
KEY = config_map().key


def ours(**data: Any) -> Resource:
    return config_map(labels=OURS, **data)


class Seen:
    """Everything that was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.told: list[tuple[Key, dict[str, Any] | None]] = []
        self._condition = threading.Condition()

    def __call__(self, key: Key, found: dict[str, Any] | None) -> None:
        with self._condition:
            self.told.append((key, found))
            self._condition.notify_all()

    def until(self, wanted: Callable[[], object], seconds: float = 15.0) -> None:
        """Return when it is so after something that was told; fail where that does not come."""
        with self._condition:
            assert self._condition.wait_for(wanted, seconds), f"only {self.told}"

    def until_data(self, data: dict[str, Any] | None, key: Key = KEY) -> None:
        self.until(lambda: any(told == key and (found or {}).get("data") == data for told, found in self.told))

    def until_gone(self, key: Key = KEY) -> None:
        self.until(lambda: (key, None) in self.told)


@pytest.fixture
def seen() -> Seen:
    return Seen()


Following = Callable[..., Live]


@pytest.fixture
def following(seen: Seen) -> Iterator[Following]:
    """Follow kinds of a cluster; nothing waits long between tries."""
    made: list[Live] = []

    def new(cluster: Cluster, *kinds: tuple[str, str], **options: Any) -> Live:
        given = {"backoff_base": 0.01, "backoff_cap": 0.02} | options
        made.append(Live(cluster, seen, **given))
        made[-1].follow([cluster.kind_of(*kind) for kind in kinds or (("", "ConfigMap"),)])
        return made[-1]

    yield new
    for live in made:
        live.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("live ")]


# --- following -------------------------------------------------------------------------------------------------------


def test_what_is_there_and_what_comes_is_told(seen: Seen, cluster: Cluster, following: Following) -> None:
    cluster.apply(ours(level="info"))
    cluster.apply(config_map("foreign"))
    live = following(cluster)
    seen.until_data({"level": "info"})
    assert live.ready(cluster.kind_of("", "ConfigMap"))
    cluster.apply(ours(level="debug"))
    seen.until_data({"level": "debug"})
    found = live.get(KEY)
    assert found == cluster.get(KEY)
    assert live.version(KEY) == (found or {})["metadata"]["resourceVersion"]
    assert live.version(secret().key) == ""
    assert live.keys() == {KEY}
    assert {key for key, _ in seen.told} == {KEY}


def test_what_goes_or_loses_our_label_is_gone(seen: Seen, cluster: Cluster, following: Following) -> None:
    other = config_map("other", labels=OURS)
    cluster.apply(ours())
    cluster.apply(other)
    live = following(cluster)
    seen.until(lambda: len(seen.told) == 2)
    cluster.delete(KEY, propagation="Background")
    seen.until_gone()
    cluster.apply(config_map("other"))
    seen.until_gone(other.key)
    assert live.keys() == frozenset()


def test_nothing_is_ready_before_it_was_listed(
    server: ClusterServer, seen: Seen, cluster: Cluster, following: Following
) -> None:
    kind = cluster.kind_of("", "ConfigMap")
    cluster.apply(ours())
    listed = threading.Event()

    def script(asked: Asked) -> None:
        if asked.verb == "list":
            listed.wait(10)

    server.script = script
    live = following(cluster)
    assert not live.ready(kind)
    listed.set()
    seen.until(lambda: seen.told)
    seen.until(lambda: live.ready(kind))
    assert not live.ready(cluster.kind_of("", "Secret"))
    assert live.get(secret().key) is None


def test_values_of_secrets_never_stay(seen: Seen, cluster: Cluster, following: Following) -> None:
    canary = base64.b64encode(b"hunter2-canary").decode()
    manifest = dict(secret(labels=OURS, password=canary, other=canary).manifest)
    last = {
        LAST_APPLIED: json.dumps({"data": {"password": canary}}),
        "kept": "yes",
    }
    manifest["metadata"] = {**manifest["metadata"], "annotations": last}
    cluster.apply(Resource.of(manifest))
    live = following(cluster, ("", "Secret"), secret_key=b"k")
    seen.until(lambda: seen.told)
    first = live.get(secret().key) or {}
    assert canary not in str(first)
    assert "canary" not in str(first)
    assert first["metadata"]["annotations"] == {"kept": "yes"}
    assert first["data"]["password"] != first["data"]["other"]
    cluster.apply(secret(labels=OURS, password=base64.b64encode(b"another").decode(), other=canary))
    seen.until(lambda: len(seen.told) == 2)
    second = live.get(secret().key) or {}
    assert second["data"]["other"] == first["data"]["other"]
    assert second["data"]["password"] != first["data"]["password"]
    whole = cluster.get(secret().key)
    assert compare(secret().key, second, whole, secret_key=b"k").verdict is Verdict.SAME
    changed = [path for path, _ in compare(secret().key, first, whole, secret_key=b"k").fields]
    assert changed == [".metadata.annotations", ".data.password"]


def test_a_second_call_adds_kinds_and_begins_none_twice(
    seen: Seen, server: ClusterServer, cluster: Cluster, following: Following
) -> None:
    live = following(cluster)
    cluster.apply(ours())
    seen.until(lambda: seen.told)
    live.follow([cluster.kind_of("", "ConfigMap"), cluster.kind_of("", "Secret")])
    cluster.apply(secret(labels=OURS))
    seen.until(lambda: len(seen.told) == 2)
    assert server.counts["list configmaps"] == 1


# --- surviving -------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_cut_goes_on_from_where_it_was(
    server: ClusterServer, seen: Seen, cluster: Cluster, following: Following
) -> None:
    following(cluster)
    cluster.apply(ours(level="1"))
    seen.until_data({"level": "1"})
    for level in ("2", "3", "4"):
        server.cut()
        cluster.get(KEY)  # a read finds a new connection
        cluster.apply(ours(level=level))
        seen.until_data({"level": level})
    assert server.counts["list configmaps"] == 1
    assert server.counts["watch configmaps"] >= 4


@pytest.mark.parametrize("form", ["HTTP", "in the stream"])
def test_a_place_that_is_no_longer_kept_means_listing_again(
    server: ClusterServer, seen: Seen, cluster: Cluster, following: Following, form: str
) -> None:
    cluster.apply(ours(level="1"))
    live = following(cluster)
    seen.until_data({"level": "1"})
    held = threading.Event()
    met = threading.Event()

    def script(asked: Asked) -> Any:
        if asked.verb == "watch" and not met.is_set():
            held.wait(10)
            met.set()
            if form == "HTTP":
                return refuse(410, "Expired", "too old resource version")
        return None

    server.script = script
    server.cut()
    cluster.get(KEY)  # a read finds a new connection
    cluster.apply(ours(level="2"))
    cluster.apply(ours(level="3"))
    server.compact()
    held.set()
    seen.until_data({"level": "3"})
    assert server.counts["list configmaps"] >= 2
    assert all("resourceVersion" not in asked.query for asked in server.asked() if asked.verb == "list")
    assert (live.get(KEY) or {})["data"] == {"level": "3"}


def test_what_went_while_nobody_looked_is_told_after_the_next_list(
    server: ClusterServer, seen: Seen, cluster: Cluster, following: Following
) -> None:
    cluster.apply(ours(level="1"))
    stays = config_map("stays", labels=OURS)
    cluster.apply(stays)
    live = following(cluster)
    seen.until(lambda: len(seen.told) == 2)
    down = threading.Event()
    server.script = lambda asked: Cut() if asked.verb in {"watch", "list"} and not down.is_set() else None
    server.cut()
    cluster.get(KEY)
    cluster.delete(KEY, propagation="Background")
    server.compact()
    down.set()
    seen.until_gone()
    assert live.keys() == {stays.key}
    assert [key for key, _ in seen.told].count(stays.key) == 1


def test_what_was_seen_last_stays_while_the_cluster_is_down(
    server: ClusterServer, seen: Seen, connect: Connect, following: Following
) -> None:
    cluster, other = connect(), connect()
    other.apply(ours(level="1"))
    live = following(cluster)
    seen.until_data({"level": "1"})
    tried = threading.Semaphore(0)
    down = [True]

    def script(asked: Asked) -> Any:
        if down[0] and asked.verb in {"watch", "list"}:
            tried.release()
            return Cut()
        return None

    server.script = script
    server.cut()
    for _ in range(10):
        assert tried.acquire(timeout=10)
    assert cluster.trouble
    assert (live.get(KEY) or {})["data"] == {"level": "1"}
    assert live.ready(other.kind_of("", "ConfigMap"))
    down[0] = False
    other.get(KEY)
    other.apply(ours(level="2"))
    seen.until_data({"level": "2"})
    assert not cluster.trouble


def test_a_token_that_is_revoked_is_renewed(
    server: ClusterServer, tmp_path: Path, seen: Seen, connect: Connect, following: Following
) -> None:
    path = tmp_path / "token"
    first = server.token_for("live")
    path.write_text(first)
    cluster = connect(Login(Server(server.url, server.ca.read_text()), Kept(token_file=path)))
    following(cluster)
    other = connect()
    other.apply(ours(level="1"))
    seen.until_data({"level": "1"})
    path.write_text(server.token_for("live"))
    server.revoke(first)
    server.cut()
    other.get(KEY)
    other.apply(ours(level="2"))
    seen.until_data({"level": "2"})
    assert not cluster.trouble


def test_a_kind_that_disappears_takes_its_objects_and_comes_back(
    server: ClusterServer, seen: Seen, connect: Connect, following: Following
) -> None:
    cluster = connect()
    cluster.apply(definition())
    server.settle()
    cluster.refresh()
    kind = cluster.kind_of("example.com", "Widget")
    manifest = dict(widget(size=1).manifest)
    manifest["metadata"] = {**manifest["metadata"], "labels": OURS}
    cluster.apply(Resource.of(manifest))
    live = following(cluster, ("example.com", "Widget"))
    seen.until(lambda: seen.told)
    missed = threading.Semaphore(0)
    server.script = lambda asked: missed.release() if asked.resource == "widgets" else None
    cluster.delete(definition().key, propagation="Background")
    server.settle()
    server.cut()  # as an API server ends the watches of a kind that goes
    seen.until_gone(widget().key)
    for _ in range(3):  # by the third request for it, the answer to the one before was read
        assert missed.acquire(timeout=10)
    assert not live.ready(kind)
    assert live.keys() == frozenset()
    seen.told.clear()
    other = connect()
    other.apply(definition())
    server.settle()
    other.refresh()
    other.apply(Resource.of(manifest))
    seen.until(lambda: any(found for _, found in seen.told))
    assert live.ready(kind)


# --- streams that a test writes down ---------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def line(kind: str, level: str, version: int) -> bytes:
    metadata = {"name": "settings", "namespace": "default", "labels": OURS, "resourceVersion": str(version)}
    return json.dumps({"type": kind, "object": {"metadata": metadata, "data": {"level": level}}}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    found = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}}
    return json.dumps({"type": "BOOKMARK", "object": found}).encode() + b"\n"


class Story:
    """A cluster that lists nothing at version 100, and gives one stream after the other; then it is silent."""

    def __init__(self, *streams: Callable[[Scripted], Answered]) -> None:
        self._streams = list(streams)
        self.places: list[str] = []
        self.lists = 0
        self.server = Scripted(self._script)
        self.silent = threading.Event()

    def _script(self, asked: Plain) -> Answered:
        listed = [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]
        known = {"/api": {"versions": ["v1"]}, "/api/v1": {"resources": listed}, "/apis": {"groups": []}}
        if asked.path in known:
            return reply(200, known[asked.path])
        if "watch" not in asked.query:
            self.lists += 1
            return reply(200, {"items": [], "metadata": {"resourceVersion": str(100 * self.lists)}})
        self.places.append(asked.query["resourceVersion"][0])
        if self._streams:
            return self._streams.pop(0)(self.server)
        return self._wait()

    def _wait(self) -> Iterator[bytes]:
        yield HEAD
        self.silent.set()
        self.server.stopped.wait(20)

    @property
    def login(self) -> Login:
        return Login(Server(self.server.url), Kept())


OLD = b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'


def told(*pieces: bytes) -> Callable[[Scripted], Answered]:
    return lambda _: [HEAD, *pieces]


@pytest.mark.parametrize(
    ("streams", "places", "lists"),
    [
        ([told(line("ADDED", "1", 101))], ["100", "101"], 1),
        ([told(line("ADDED", "1", 101)[:40])], ["100", "100"], 1),
        ([told(line("ADDED", "1", 101), line("MODIFIED", "2", 102)[:-9])], ["100", "101"], 1),
        ([told(bookmark(150)), told(bookmark(180))], ["100", "150", "180"], 1),
        ([told()], ["100", "100"], 1),
        ([lambda _: None], ["100", "100"], 1),
        ([lambda _: reply(500, b"oops")], ["100", "100"], 1),
        ([told(EXPIRED)], ["100", "200"], 2),
        ([told(b'{"type":"ERROR","object":{"kind":"Status","reason":"Gone"}}\n')], ["100", "200"], 2),
        ([told(line("ADDED", "1", 101), OLD)], ["100", "200"], 2),
        ([lambda _: reply(410, {"kind": "Status", "code": 410, "reason": "Expired"})], ["100", "200"], 2),
        ([lambda _: reply(410, b"gone")], ["100", "200"], 2),
        ([told(b'{"type":"ERROR","object":{"kind":"Status","code":500}}\n')], ["100", "100"], 1),
    ],
    ids=["ended", "cut within the first", "cut within a later one", "bookmarks only", "nothing", "reset", "500",
         "410 in the stream", "gone in the stream", "410 after changes", "410", "bare 410", "500 in the stream"],
)  # fmt: skip
def test_after_a_stream_that_ends_in_any_way_it_goes_on_in_the_right_place(
    connect: Connect, following: Following, streams: Any, places: list[str], lists: int
) -> None:
    story = Story(*streams)
    with story.server:
        following(connect(story.login))
        assert story.silent.wait(15)
        assert (story.places, story.lists) == (places, lists)


def test_a_connection_that_is_silent_for_too_long_is_given_up(connect: Connect, following: Following) -> None:
    story = Story(lambda server: iter(dead(server)))
    with story.server:
        following(connect(story.login, stream_grace=0.1), watch_seconds=1.0)
        assert story.silent.wait(15)
        assert story.places == ["100", "100"]


def dead(server: Scripted) -> Iterator[bytes]:
    yield HEAD
    server.stopped.wait(20)


def test_everything_is_listed_again_now_and_then(connect: Connect, following: Following) -> None:
    ended = [told(bookmark(101))] * 3
    story = Story(*ended)
    with story.server:
        following(connect(story.login), resync_seconds=0.0)
        assert story.silent.wait(15)
        assert story.places == ["100", "200", "300", "400"]


def test_a_watch_is_asked_for_a_little_less_long_than_servers_allow(connect: Connect, following: Following) -> None:
    story = Story()
    with story.server:
        following(connect(story.login), random=lambda: 1.0)
        assert story.silent.wait(15)
        query = story.server.requests[-1].query
        asked = [query[name] for name in ("timeoutSeconds", "allowWatchBookmarks", "labelSelector")]
        assert asked == [["319"], ["true"], [PART_OF]]


def test_it_stops_at_once_though_the_stream_is_silent(connect: Connect, following: Following) -> None:
    story = Story()
    with story.server:
        live = following(connect(story.login))
        assert story.silent.wait(15)
        begun = time.monotonic()
        live.stop()
        assert time.monotonic() - begun < 2
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("live ")]


def test_it_stops_at_once_though_no_answer_comes(connect: Connect, following: Following) -> None:
    asked = threading.Event()

    def hang(server: Scripted) -> Answered:
        asked.set()
        server.stopped.wait(20)
        return None

    story = Story(hang)
    with story.server:
        live = following(connect(story.login))
        assert asked.wait(15)
        begun = time.monotonic()
        live.stop()
        assert time.monotonic() - begun < 2


def test_it_stops_at_once_though_it_waits_for_the_next_try(connect: Connect, following: Following) -> None:
    story = Story()
    with story.server:
        cluster = connect(story.login)
        cluster.kind_of("", "ConfigMap")
        story.server.script = lambda _: failed.set()
        failed = threading.Event()
        live = following(cluster, backoff_base=60.0, backoff_cap=60.0, random=lambda: 1.0)
        assert failed.wait(15)
        begun = time.monotonic()
        live.stop()
        assert time.monotonic() - begun < 2
