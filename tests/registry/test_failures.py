"""The rows of failures that registries bring, R1 to R10 by name, each against a server that misbehaves so.

A canary stands by in each: a server that nobody has a reason to ask, and that must never see a login.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab.registry import Given, open_registry
from tests.lab.scripted import Answered, Asked, Scripted, Waits, reply
from updater.errors import RegistryError, UpdaterError
from updater.model.image import ImageRef, is_tag
from updater.registry import client
from updater.registry.challenge import challenges, next_link, retry_after
from updater.registry.client import Listing, Registry
from updater.registry.host import Hosts
from updater.transport.http import Http

LOGIN = ("ci", "canary-password-5f1e")
LIST = "/v2/team/app/tags/list"
WANTS_LOGIN = reply(401, {}, ("WWW-Authenticate", 'Basic realm="x"'))
MIB = 1 << 20


class Scene:
    """One scripted registry, a canary beside it, and clients that know of each other and never really wait."""

    def __init__(self, server: Scripted, canary: Scripted, http: Http) -> None:
        self.server, self.canary, self.http = server, canary, http
        self.waits = Waits()
        self.hosts = Hosts(clock=self.waits.now)

    def registry(self, server: Scripted | None = None, **options: object) -> Registry:
        fixed: dict[str, object] = {"insecure": True, "sleep": self.waits.sleep, "hosts": self.hosts}
        fixed |= {"credentials": Given(pair=LOGIN)} | options
        return Registry((server or self.server).host, http=self.http, **fixed)  # type: ignore[arg-type]

    def refused(self, match: str) -> RegistryError:
        with pytest.raises(RegistryError, match=match) as caught:
            self.registry().tags("team/app")
        return caught.value


Script = Callable[[Asked], Answered]


@contextmanager
def scene(script: Script) -> Iterator[Scene]:
    """Everything is over a login, which no other server may see, and no error may tell."""
    with Scripted(lambda _: page("evil")) as canary, Http() as http:

        def guarded(asked: Asked) -> Answered:
            return script(asked) if "authorization" in asked.headers else WANTS_LOGIN

        with Scripted(guarded) as server:
            yield Scene(server, canary, http)
            seen = [one for one in canary.requests if "authorization" in one.headers or "cookie" in one.headers]
            assert seen == []


def page(*tags: str, link: str = "") -> bytes:
    return reply(200, {"name": "team/app", "tags": list(tags)}, *([("Link", f'<{link}>; rel="next"')] if link else []))


def resident() -> int:
    """Return the memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


# --- R1 to R3: angry, down, slow -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        pytest.param("30", 29, 36, id="seconds"),
        pytest.param("DATE", 100, 126, id="a date"),
        pytest.param(None, 59, 66, id="absent"),
        pytest.param("1000000000", 3599, 3606, id="beyond all measure"),
        pytest.param("-5", 59, 66, id="negative"),
        pytest.param("soon", 59, 66, id="words"),
    ],
)
def test_r1_too_many_requests_pauses_the_host_and_no_other(value: str | None, least: float, most: float) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    headers = [("Retry-After", at if value == "DATE" else value)] if value else []
    with scene(lambda _: reply(429, {}, *headers)) as one, Scripted(lambda _: page("1")) as other:
        told = one.refused("too many requests")
        assert told.retry_at is not None
        assert least <= (told.retry_at - datetime.now(UTC)).total_seconds() <= most
        before = len(one.server.requests)
        assert one.refused("wants fewer requests").retry_at is not None
        assert len(one.server.requests) == before
        assert one.registry(other).tags("team/app").names == ("1",)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_r2_three_tries_and_then_nobody_waits_and_it_is_never_no_tags(status: int) -> None:
    with scene(lambda _: reply(status)) as one:
        one.refused("is down since")
        tries = [asked for asked in one.server.requests if "authorization" in asked.headers]
        before = len(one.server.requests)
        told = one.refused("is down since")
        assert (len(tries), len(one.server.requests)) == (3, before)
        assert told.retry_at is not None


@pytest.mark.parametrize("part", ["headers", "body"])
def test_r3_who_drips_is_cut_at_the_total_deadline_and_the_turn_is_free_again(part: str) -> None:
    whole = page("1", *["tag"] * 200)
    head = whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def script(_: Asked) -> Iterator[bytes]:
        if part == "body":
            yield head
        yield from one.server.drip(whole if part == "headers" else whole[len(head) :], 0.02)

    with scene(script) as one:
        registry = one.registry(request_seconds=0.3, concurrency=1)
        for _ in range(2):
            start = time.monotonic()
            with pytest.raises(RegistryError, match="no answer in time"):
                registry.tags("team/app")
            assert time.monotonic() - start < 3
            one.waits.leapt += 60


# --- R4 to R7: what is no answer, and where answers lead -------------------------------------------------------------


@pytest.mark.parametrize("where", ["the first page", "the second page"])
@pytest.mark.parametrize(
    "body",
    [b'{"name":"team/app","tags":["1', b"<html>log in</html>", b"", b"[]", b'{"tags":[1]}'],
    ids=["truncated", "HTML", "nothing", "another shape", "numbers"],
)
def test_r4_what_is_no_page_fails_the_whole_list(body: bytes, where: str) -> None:
    bad = reply(200, body, ("Content-Type", "text/html"))

    def script(asked: Asked) -> Answered:
        return bad if where == "the first page" or "last" in asked.target else page("1", link=f"{LIST}?last=1")

    with scene(script) as one:
        one.refused(r"tags of .*/team/app: the answer")


def test_r4_a_list_in_plain_text_is_one_all_the_same() -> None:
    with scene(lambda _: reply(200, b'{"name":"team/app","tags":["1"]}', ("Content-Type", "text/plain"))) as one:
        assert one.registry().tags("team/app") == Listing(("1",))


def test_r4_a_body_that_ends_early_is_an_error() -> None:
    with scene(lambda _: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"])) as one:
        one.refused("is down since")


def test_r5_a_reset_connection_is_tried_again() -> None:
    answers = iter([None, None])
    with scene(lambda _: next(answers, page("1"))) as one:
        assert one.registry().tags("team/app").names == ("1",)


def test_r5_nobody_listens_and_no_such_name_are_troubles_of_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Http() as http:
        for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
            waits = Waits()
            hosts = Hosts(clock=waits.now)
            registry = Registry(host, http=http, insecure=True, sleep=waits.sleep, hosts=hosts)
            with pytest.raises(RegistryError, match="is down since"):
                registry.tags("team/app")
            assert len(waits.slept) == 2


def test_r5_a_certificate_that_nobody_vouches_for_is_not_tried_again_and_is_said_each_time(tmp_path: Path) -> None:
    waits = Waits()
    with open_registry("embedded", tmp_path, tls=True) as lab, Http() as http:
        registry = Registry(lab.host, http=http, sleep=waits.sleep, hosts=Hosts(clock=waits.now))
        for _ in range(3):
            with pytest.raises(RegistryError, match="certificate is not trusted"):
                registry.tags("team/app")
    assert waits.slept == []


def test_r6_a_token_that_ends_between_pages_is_renewed_once_and_a_second_refusal_fails_the_list() -> None:
    tokens: list[str] = []
    good = {"until": 1}

    def script(asked: Asked) -> Answered:
        if asked.path == "/token":
            tokens.append(f"t{len(tokens)}")
            return reply(200, {"token": tokens[-1]})
        stale = "last" in asked.target and len(tokens) <= good["until"]
        if stale or asked.headers.get("authorization") != f"Bearer t{len(tokens) - 1}":
            return reply(401, {}, ("WWW-Authenticate", f'Bearer realm="{server.url}/token"'))
        return page("2") if "last" in asked.target else page("1", link=f"{LIST}?last=1")

    with Scripted(script) as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True)
        assert registry.tags("team/app").names == ("1", "2")
        assert sum("last" in one.target for one in server.requests) == 2
        good["until"] = 99
        with pytest.raises(RegistryError, match="refused access"):
            registry.tags("team/app")


def test_r7_links_elsewhere_in_circles_and_without_end_are_incomplete_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "MAX_PAGES", 10)
    links = {
        "another host": lambda one, _: f"{one.canary.url}/v2/",
        "on another host": lambda one, _: f"//{one.canary.host}/v2/",
        "circle": lambda _one, _: f"{LIST}?last=1",
        "10 pages": lambda one, _: f"{LIST}?last={len(one.server.requests)}",
        "cannot be read": lambda _one, _: "/" + "x" * 9000,
    }
    for words, link in links.items():
        here: list[Scene] = []
        with scene(lambda asked, link=link, here=here: page("1", link=link(here[0], asked))) as one:  # type: ignore[misc]
            here.append(one)
            listing = one.registry().tags("team/app")
            assert (listing.complete, listing.names) == (False, ("1",))
            assert words in listing.why
            assert one.canary.requests == []


# --- R8: too much ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False], ids=["with its length", "without its length"])
def test_r8_a_list_of_200_mb_is_cut_at_the_cap(announced: bool) -> None:
    sent = []

    def script(_: Asked) -> Iterator[bytes]:
        length = f"Content-Length: {200 * MIB}\r\n" if announced else ""
        yield f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + b'{"tags":["'
        for _piece in range(200):
            sent.append(1)
            yield b"a" * MIB

    with scene(script) as one:
        before = resident()
        one.refused("larger than")
        assert resident() - before < 32 * MIB
        assert len(sent) < 40, "the sockets' buffers and a page, not all of it"


def test_r8_a_bomb_is_refused_unopened() -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB), 1)
    with scene(lambda _: reply(200, bomb, ("Content-Encoding", "gzip"))) as one:
        before = resident()
        one.refused("encoded as 'gzip'")
        assert {asked.headers["accept-encoding"] for asked in one.server.requests} == {"identity"}
        assert resident() - before < 32 * MIB


def test_r8_headers_without_end_are_refused() -> None:
    with scene(lambda _: reply(200, b"{}", *[(f"X-{n}", "y" * 1000) for n in range(400)])) as one:
        one.refused("is down since")


# --- R9 and R10: clocks, and tags that move --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"issued_at": "2099-01-01T00:00:00Z"}, {"issued_at": "1999-01-01T00:00:00Z", "expires_in": 300},
        {"expires_in": 1}, {"expires_in": -7}, {"expires_in": 10**30}, {"expires_in": "soon"},
    ],
    ids=["from the future", "from the past", "a second", "negative", "for ever", "words"],
)  # fmt: skip
def test_r9_no_clock_but_ours_says_how_long_a_token_lives(odd: dict[str, object]) -> None:
    clock = [0.0]

    def script(asked: Asked) -> Answered:
        date = ("Date", "Thu, 26 Nov 2020 00:00:00 GMT")
        if asked.path == "/token":
            return reply(200, {"token": "t"} | odd, date)
        if "authorization" in asked.headers:
            return page("1")
        return reply(401, {}, ("WWW-Authenticate", f'Bearer realm="{server.url}/token"'), date)

    with Scripted(script) as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True, clock=lambda: clock[0])
        for clock[0] in (0.0, 20.0, 40.0):
            registry.tags("team/app")
        assert sum(one.path == "/token" for one in server.requests) == 1
        clock[0] = 100_000.0
        registry.tags("team/app")
        assert sum(one.path == "/token" for one in server.requests) == 2


def test_r10_a_tag_that_moves_or_goes_between_two_questions_is_never_half_of_each() -> None:
    first, second = (json.dumps({"schemaVersion": 2, "config": {}, "n": n}).encode() for n in (1, 2))
    digest = f"sha256:{hashlib.sha256(first).hexdigest()}"

    def script(asked: Asked) -> Answered:
        if asked.method == "HEAD":
            return reply(200, b"", ("Docker-Content-Digest", digest))
        return reply(404, {}) if asked.path.endswith("/gone") else reply(200, second)

    with scene(script) as one:
        registry = one.registry()
        assert registry.digest("team/app", "1.0") == digest
        with pytest.raises(RegistryError, match="another digest"):
            registry.describe("team/app", digest, created=False)
        with pytest.raises(client.NotFound):
            registry.describe("team/app", "gone", created=False)


# --- pages whose path is not right -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "link"),
    [
        pytest.param("", "{url}/repository/docker/v2/team/app/tags/list?n=1000&last=%2Fa%3D", id="Nexus, its port"),
        pytest.param("", "/repository/docker/v2/team/app/tags/list?n=1000&last=%2Fa%3D", id="Nexus, relative"),
        pytest.param("/artifactory/api/docker/key", "/v2/team/app/tags/list?n=1000&last=%2Fa%3D", id="Artifactory"),
        pytest.param("/artifactory/api/docker/key", "/artifactory/api/docker/v2/team/app/tags/list?n=1000&last=%2Fa%3D",
                     id="Artifactory, without its key"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 404])
def test_a_page_with_the_wrong_path_is_asked_once_more_with_that_of_the_first(
    endpoint: str, link: str, status: int
) -> None:
    path = f"{endpoint}{LIST}"

    def script(asked: Asked) -> Answered:
        if asked.path != path:
            return reply(status, {})
        given = asked.query.get("last", [])
        tail = link.format(url=one.server.url)
        if not given:
            return page("1", link=tail)
        return page("2", link=tail.replace("%2Fa%3D", "b")) if given == ["/a="] else page("3")

    with scene(script) as one:
        listing = one.registry(endpoint=f"{one.server.url}{endpoint}").tags("team/app")
        assert listing == Listing(("1", "2", "3"))
        mine = [asked.target for asked in one.server.requests if "last" in asked.target and asked.path == path]
        assert mine == [f"{path}?n=1000&last=%2Fa%3D", f"{path}?n=1000&last=b"], "the cursor exactly as given"
        assert sum(asked.path != path for asked in one.server.requests) == 1


@pytest.mark.parametrize("link", [f"{LIST}?last=x", "/elsewhere?last=x", "/other/v2/team/app/tags/list?last=x"])
def test_a_page_that_is_refused_there_too_fails_the_list(link: str) -> None:
    """ECR Public answers 405 to a cursor that it does not know: nothing is made up in its place."""
    with scene(lambda asked: reply(405, {}) if "last" in asked.target else page("1", link=link)) as one:
        one.refused("answered 405")
        assert sum("last" in asked.target for asked in one.server.requests) <= 2


# --- what anybody may write ------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=120)
CHALLENGES = st.lists(TEXT | st.sampled_from([
    'Bearer realm="{url}/token",service="s",scope="repository:team/app:pull"', "Basic", 'bearer REALM="{url}/t"',
    'Bearer realm="http://[",x', 'Bearer realm="http://169.254.169.254/"', 'Basic realm="', "Negotiate abc==, Basic x",
]), max_size=3)  # fmt: skip
LINKS = TEXT | st.sampled_from(['<?last=1>; rel="next"', "</x>;rel=next", '<http://[>;rel="next"', '<>; rel="next"'])
AFTER = TEXT | st.integers(-(10**12), 10**12).map(str) | st.datetimes().map(format_datetime)
DIGEST = "sha256:" + "a" * 64
KEYS = st.sampled_from(["name", "tags", "manifest", "tag", "timeCreatedMs", DIGEST])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1.0", DIGEST]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


ANSWERS = st.tuples(st.sampled_from([200, 200, 401, 429, 503]), JSON | st.binary(max_size=40), CHALLENGES, LINKS, AFTER)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[Scripted, Http]]:
    with Scripted(lambda _: None) as server, Http() as http:
        yield server, http


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(ANSWERS)
def test_whatever_a_registry_answers_is_a_list_or_an_error_of_ours_in_time(
    fuzzed: tuple[Scripted, Http], answer: tuple[int, object, list[str], str, str]
) -> None:
    status, body, offered, link, after = answer
    server, http = fuzzed
    headers = [("WWW-Authenticate", one.replace("{url}", server.url)) for one in offered]
    server.script = lambda _: reply(status, body, *headers, ("Link", link), ("Retry-After", after))
    waits = Waits()
    registry = Registry(
        server.host, http=http, insecure=True, credentials=Given(pair=LOGIN), sleep=waits.sleep,
        hosts=Hosts(clock=waits.now), scan_seconds=5.0,
    )  # fmt: skip
    start = time.monotonic()
    with suppress(UpdaterError):
        listing = registry.tags("team/app")
        assert all(map(is_tag, listing.names))
        assert listing.told.keys() <= set(listing.names)
    assert time.monotonic() - start < 10


@given(TEXT, st.datetimes(timezones=st.just(UTC)))
def test_whatever_headers_say_is_read_or_left(text: str, now: datetime) -> None:
    assert all(one.scheme == one.scheme.lower() for one in challenges([text]))
    assert (next_link([text]) or "") in text
    assert (seconds := retry_after(text, now)) is None or 1 <= seconds <= 3600


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9.:/@-]{1,60}", fullmatch=True))
def test_whatever_is_called_an_image_is_one_or_refused(text: str) -> None:
    with suppress(ValueError):
        image = ImageRef.parse(text)
        assert ImageRef.parse(str(image)) == image


def test_many_at_once_at_a_host_that_hangs_end_in_time() -> None:
    with scene(lambda _: one.server.drip(b"HTTP/1.1 200 OK\r\n", 5.0)) as one:
        registry = one.registry(request_seconds=0.3, scan_seconds=2.0)
        errors: list[RegistryError] = []

        def ask() -> None:
            with suppress(RegistryError):
                registry.tags("team/app")
                return
            errors.append(RegistryError(""))

        start = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(errors) == 20
        assert time.monotonic() - start < 6
