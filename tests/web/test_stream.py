"""What changes is told as it does, to all who listen, and to who comes back."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.lab.front import Front, fleet
from tests.lab.loop import open_lab
from updater.web import serve as serving
from updater.web import stream
from updater.web.serve import CLOSING

PATIENCE = 20.0  # seconds for one word; they take half of one


@dataclass
class Listening:
    """One stream, read word by word."""

    lines: Iterator[str]
    marks: list[str] = field(default_factory=list)

    def word(self, kind: str) -> Any:
        """Return the data of the next event of a kind."""
        event = ""
        for line in self.lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.marks.append(value)
            elif name == "event":
                event = value
            elif name == "data" and event == kind:
                return json.loads(value)
        raise AssertionError(f"no {kind} came")


@contextmanager
def listening(url: str, **headers: str) -> Iterator[Listening]:
    with httpx.stream("GET", f"{url}/api/v1/stream", headers=headers, timeout=PATIENCE) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        yield Listening(lines)


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_lab(tmp_path_factory.mktemp("front")) as lab, fleet(lab) as found:
        found.cycle()
        yield found


def push(front: Front, tag: str) -> None:
    assert front.lab
    front.lab.push("acme/api", tag)
    front.look()


def test_an_image_that_changes_is_named_and_no_other(front: Front) -> None:
    front.look()
    with front.served() as url, listening(url, **{"Last-Event-ID": "of another process.1"}) as heard:
        assert heard.word("images") == {"names": [], "all": True}
        front.get("/api/v1/images")
        push(front, "1.6.0")
        assert heard.word("images") == {"names": ["api"], "all": False}
        assert heard.word("overview") == {}


def test_who_comes_back_is_told_what_happened_meanwhile(front: Front) -> None:
    front.look()
    with front.served() as url, listening(url, **{"Last-Event-ID": "x.1"}) as first:
        first.word("images")
        push(front, "1.6.0")
        first.word("images")
        push(front, "1.7.0")
        assert first.word("images")["names"] == ["api"]
        with listening(url, **{"Last-Event-ID": first.marks[-2]}) as second:
            assert second.word("images") == {"names": ["api"], "all": False}


def test_a_mark_of_now_misses_nothing(front: Front) -> None:
    front.look()
    at = stream.mark(front.desk)
    front.look()
    with front.served() as url, listening(url, **{"Last-Event-ID": at}) as heard:
        assert heard.word("images")["all"] is True


def test_streams_are_counted_and_end_with_their_readers(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST", 3)
    front.look()
    with front.served() as url:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(listening(url))
            assert len(front.desk.bell._listeners) == 1  # one for all
            refused = httpx.get(f"{url}/api/v1/stream", timeout=PATIENCE)
            assert (refused.status_code, refused.json()["status"]) == (503, 503)
        left = threading.Event()
        for _ in range(int(PATIENCE * 10)):
            if not front.desk.bell._listeners:
                break
            left.wait(0.1)
        assert not front.desk.bell._listeners
        with listening(url, **{"Last-Event-ID": "x.1"}) as heard:
            assert heard.word("images")["all"] is True


def test_streams_end_with_the_server_and_without_a_word(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    """Uvicorn cuts what does not end by itself, and logs a traceback for each."""
    front.look()
    with ExitStack() as stack:
        with front.served() as url:
            for _ in range(5):
                stack.enter_context(listening(url))
            start = time.monotonic()
        assert time.monotonic() - start < CLOSING
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


def test_what_a_slow_reader_missed_is_one_word() -> None:
    change: stream.Change = {}
    for number in range(stream.NAMES):
        change = stream.joined(change, {"images": frozenset({f"s{number}"})})
    assert change == {"images": frozenset(f"s{number}" for number in range(stream.NAMES))}
    change = stream.joined(change, {"images": frozenset({"more"}), "overview": frozenset({""})})
    assert change == {"images": None, "overview": frozenset({""})}


def test_a_stream_that_is_silent_says_so(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEAT", 0.05)
    with front.served() as url, listening(url) as heard:
        assert next(line for line in heard.lines if line.startswith(":")) == ": still here"


def test_who_connects_and_asks_nothing_keeps_nobody_out(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream, which asked, stays."""
    monkeypatch.setattr(serving, "UNASKED", 0.3)
    with front.served() as url, ExitStack() as closing:
        host, _, port = url.removeprefix("http://").partition(":")
        silent, slow, streaming = (
            closing.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE)) for _ in range(3)
        )
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        streaming.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert streaming.recv(12) == b"HTTP/1.1 200"
        assert (silent.recv(1), slow.recv(1)) == (b"", b"")
        assert still_open(streaming)


def still_open(connection: socket.socket) -> bool:
    """Read what there is, and say whether more may come."""
    connection.settimeout(0.2)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return True
    return False
