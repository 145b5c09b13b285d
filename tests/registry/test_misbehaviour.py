"""The client against registries that are slow, broken or hostile: bounded, never half an answer, nothing leaks."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.registry import Given
from tests.lab.scripted import Answered, Asked, Scripted, Waits, reply
from updater.errors import RegistryError
from updater.model.image import is_tag
from updater.registry import client
from updater.registry.client import Listing, LoginRefused, NotFound, Registry
from updater.registry.host import Hosts
from updater.transport.addresses import Kind
from updater.transport.http import Http

LOGIN = ("ci", "canary-password")
LIST = "/v2/team/app/tags/list"


def page(*tags: str, link: str = "") -> bytes:
    return reply(200, {"name": "team/app", "tags": list(tags)}, *([("Link", f'<{link}>; rel="next"')] if link else []))


@contextmanager
def asking(script: Callable[[Asked], Answered], **options: object) -> Iterator[tuple[Registry, Scripted, list[float]]]:
    """Run a scripted registry and a client for it that does not wait between tries; its pauses are written down."""
    waits = Waits()
    pauses = waits.slept
    given: dict[str, object] = {"insecure": True, "sleep": waits.sleep, "hosts": Hosts(clock=waits.now)} | options
    with Scripted(script) as server, Http() as http:
        yield Registry(server.host, http=http, **given), server, pauses  # type: ignore[arg-type]


def paged(pages: dict[str, bytes], first: bytes) -> Callable[[Asked], Answered]:
    return lambda asked: first if asked.target.endswith("?n=1000") else pages[asked.target]


# --- pagination -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["/next?c=%2Fa%3D&x", "?c=opaque", "{url}/next?c=opaque"])
def test_link_is_followed_exactly_as_given(link: str) -> None:
    def script(asked: Asked) -> Answered:
        if asked.target.endswith("?n=1000"):
            return page("1", link=link.format(url=server.url))
        return page("2")

    with asking(script) as (registry, server, _):
        assert registry.tags("team/app") == Listing(("1", "2"))
        expected = LIST + link if link.startswith("?") else link.format(url="")
        assert server.requests[1].target == expected


def test_a_link_to_another_host_is_not_followed_and_the_list_is_incomplete() -> None:
    with Scripted(lambda _: page("evil")) as canary:
        for link in (f"{canary.url}/next", f"//{canary.host}/next", "https://{own}/next", "ftp://{own}/next"):

            def script(_: Asked, link: str = link) -> Answered:
                return page("1", link=link.format(own=server.host))

            with asking(script, credentials=Given(pair=LOGIN)) as (registry, server, _pauses):
                listing = registry.tags("team/app")
                assert (listing.names, listing.complete) == (("1",), False)
                assert listing.why
        assert canary.requests == []


def test_pages_in_a_circle_end_and_the_list_is_incomplete() -> None:
    with asking(paged({"/a": page("2", link="/b"), "/b": page("3", link="/a")}, page("1", link="/a"))) as (
        registry,
        server,
        _,
    ):
        listing = registry.tags("team/app")
        assert (listing.names, listing.complete) == (("1", "2", "3"), False)
        assert "circle" in listing.why
        assert len(server.requests) == 3


def test_pages_without_end_stop_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAGES", 20)
    numbers = count()
    with asking(lambda _: page("1", link=f"/next?{next(numbers)}")) as (registry, server, _):
        listing = registry.tags("team/app")
        assert (listing.complete, len(server.requests)) == (False, 20)
        assert "20 pages" in listing.why


def test_tags_without_end_stop_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_TAGS", 10)
    with asking(lambda _: page(*map(str, range(25)), link="/next")) as (registry, _server, _):
        listing = registry.tags("team/app")
        assert (len(listing.names), listing.complete) == (10, False)
        assert "10 tags" in listing.why


def test_a_link_header_too_long_to_be_read_makes_the_list_incomplete() -> None:
    with asking(lambda _: page("1", link="/" + "x" * 9000)) as (registry, _server, _):
        assert registry.tags("team/app").complete is False


# --- answers that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name":"team/app","tags":["1', id="truncated JSON"),
        pytest.param(b"<html>log in</html>", id="HTML login page"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="neither name nor tags"),
        pytest.param(b'{"name":"a","tags":"1"}', id="tags are text"),
        pytest.param(b'{"name":"a","tags":[1,2]}', id="tags are numbers"),
        pytest.param(b'{"tags":["1"],"errors":[{"code":"DENIED"}]}', id="errors with 200"),
        pytest.param(b"[" * 200_000, id="nested without end"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b"9" * 10_000, id="a number beyond all measure"),
    ],
)
def test_what_is_not_a_list_of_tags_is_an_error_and_never_an_empty_list(body: bytes) -> None:
    with (
        asking(lambda _: reply(200, body)) as (registry, _server, _),
        pytest.raises(RegistryError, match=r"tags of .*/team/app"),
    ):
        registry.tags("team/app")


def test_a_broken_second_page_fails_the_whole_list() -> None:
    with (
        asking(paged({"/next": reply(200, b"oops")}, page("1", link="/next"))) as (registry, _server, _),
        pytest.raises(RegistryError),
    ):
        registry.tags("team/app")


@pytest.mark.parametrize("body", [{"name": "team/app", "tags": None}, {"name": "team/app"}, {"name": "a", "tags": []}])
def test_a_repository_without_tags_is_empty(body: object) -> None:
    with asking(lambda _: reply(200, body)) as (registry, _server, _):
        assert registry.tags("team/app") == Listing(())


def test_names_outside_the_grammar_of_tags_are_dropped() -> None:
    names = ["1.0", "../etc/passwd", "", "a b", "x" * 129, "-x", "ok_1", "\u0661", "1.0"]
    with asking(lambda _: page(*names)) as (registry, _server, _):
        assert registry.tags("team/app").names == ("1.0", "ok_1")


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["name", "tags", "errors"]), s),
        max_leaves=6,
    )
)
def test_no_body_makes_the_client_fail_otherwise_than_by_a_registry_error(body: object) -> None:
    with asking(lambda _: reply(200, body)) as (registry, _server, _), suppress(RegistryError):
        assert all(is_tag(name) for name in registry.tags("team/app").names)


# --- sizes and time -------------------------------------------------------------------------------------------------


def test_a_list_larger_than_a_page_may_be_is_refused_without_reading_it_all() -> None:
    with (
        asking(lambda _: reply(200, b" " * (client.PAGE_BYTES + 1))) as (registry, server, _),
        pytest.raises(RegistryError, match="larger than"),
    ):
        registry.tags("team/app")
    assert len(server.requests) == 1


def test_pages_that_are_slow_together_end_at_the_deadline_of_the_list() -> None:
    numbers = count()

    def script(_: Asked) -> Answered:
        server.stopped.wait(0.1)
        return page("1", link=f"/next?{next(numbers)}")

    with asking(script, scan_seconds=0.5) as (registry, server, _):
        start = time.monotonic()
        with pytest.raises(RegistryError, match="in time"):
            registry.tags("team/app")
        assert time.monotonic() - start < 3


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [reply(500), reply(502), reply(503), reply(504), reply(429), None])
def test_passing_trouble_is_tried_again_with_a_pause(trouble: bytes | None) -> None:
    answers = iter([trouble, trouble, page("1")])
    with asking(lambda _: next(answers)) as (registry, server, pauses):
        assert registry.tags("team/app").names == ("1",)
        assert len(server.requests) == 3
        assert len(pauses) == 2
        assert all(0 <= pause <= 4 for pause in pauses)


@pytest.mark.parametrize(
    ("value", "requests", "seconds"),
    [
        pytest.param("2", 3, 2, id="short: waited for"),
        pytest.param("120", 1, 120, id="long: left to the next poll"),
        pytest.param("1000000000", 1, 3600, id="absurd: an hour"),
        pytest.param("-1", 3, 60, id="negative: as if missing"),
        pytest.param("Fri, 31 Dec 2100 23:59:59 GMT", 1, 3600, id="a far date: an hour"),
    ],
)
def test_retry_after_of_429_is_honoured_within_bounds(value: str, requests: int, seconds: float) -> None:
    with asking(lambda _: reply(429, {}, ("Retry-After", value))) as (registry, server, pauses):
        before = datetime.now(UTC)
        with pytest.raises(RegistryError, match="too many requests") as limited:
            registry.tags("team/app")
        assert len(server.requests) == requests
        assert limited.value.retry_at is not None
        assert seconds - 1 <= (limited.value.retry_at - before).total_seconds() <= seconds + 5
        assert all(pause >= (2 if value == "2" else 0) for pause in pauses)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 418])
def test_what_will_not_change_is_not_asked_twice(status: int) -> None:
    with asking(lambda _: reply(status, {"errors": [{"code": "SOME_CODE"}]})) as (registry, server, _):
        with pytest.raises(RegistryError, match="SOME_CODE"):
            registry.tags("team/app")
        assert len(server.requests) == 1


# --- digests --------------------------------------------------------------------------------------------------------

MANIFEST = json.dumps({"schemaVersion": 2}).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(reply(200, b""), id="no digest header"),
        pytest.param(reply(200, b"", ("Docker-Content-Digest", "sha256:short")), id="a digest that is none"),
        pytest.param(reply(200, b"", ("Docker-Content-Digest", "md5:0")), id="another algorithm"),
        pytest.param(reply(405, b""), id="HEAD is not allowed"),
    ],
)
def test_a_digest_that_is_not_told_is_computed_from_the_bytes(head: bytes) -> None:
    with asking(lambda asked: head if asked.method == "HEAD" else reply(200, MANIFEST)) as (registry, server, _):
        assert registry.digest("team/app", "1.0") == DIGEST
        assert [asked.method for asked in server.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("told", [True, False], ids=["told in HEAD", "computed"])
def test_another_manifest_than_the_digest_that_was_asked_for_is_refused(told: bool) -> None:
    headers = [("Docker-Content-Digest", DIGEST)] if told else []
    with asking(lambda asked: reply(200, b"" if asked.method == "HEAD" else MANIFEST, *headers)) as (
        registry,
        _server,
        _,
    ):
        assert registry.digest("team/app", DIGEST) == DIGEST
        with pytest.raises(RegistryError, match="another digest"):
            registry.digest("team/app", "sha256:" + "0" * 64)


def test_all_four_types_of_manifest_are_accepted() -> None:
    with asking(lambda _: reply(200, b"", ("Docker-Content-Digest", DIGEST))) as (registry, server, _):
        assert registry.digest("team/app", "1.0") == DIGEST
        accepted = {kind.strip() for kind in server.requests[0].headers["accept"].split(",")}
        assert accepted == {
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        }


def test_what_is_neither_tag_nor_digest_is_never_asked() -> None:
    with asking(lambda _: None) as (registry, server, _):
        with pytest.raises(RegistryError, match="neither a tag nor a digest"):
            registry.digest("team/app", "../../other/manifests/1.0")
        assert server.requests == []


# --- redirects ------------------------------------------------------------------------------------------------------


def test_redirects_on_the_same_origin_keep_the_login() -> None:
    def script(asked: Asked) -> Answered:
        if asked.headers.get("authorization") is None:
            return reply(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
        return page("1") if asked.path == "/moved" else reply(307, b"", ("Location", "/moved"))

    with asking(script, credentials=Given(pair=LOGIN)) as (registry, _server, _):
        assert registry.tags("team/app").names == ("1",)


@pytest.mark.parametrize("where", ["{canary}/v2/", "//{host}/", "ftp://x/", "", "http://[", "/loop"])
def test_other_redirects_are_refused_and_no_login_is_shown(where: str) -> None:
    with Scripted(lambda _: page("evil")) as canary:

        def script(asked: Asked) -> Answered:
            if asked.headers.get("authorization") is None:
                return reply(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
            return reply(301, b"", ("Location", where.format(canary=canary.url, host=canary.host)))

        with (
            asking(script, credentials=Given(pair=LOGIN)) as (registry, _server, _),
            pytest.raises(RegistryError, match="redirects"),
        ):
            registry.tags("team/app")
        assert canary.requests == []


@pytest.mark.parametrize("where", ["169.254.169.254", "10.255.255.1", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"])
def test_nobody_is_led_to_a_private_place_that_is_not_the_registry_s_own(where: str) -> None:
    """The registry is on loopback, so only that and the public internet are open to where it leads."""

    def redirected(_asked: Asked) -> Answered:
        return reply(307, b"", ("Location", f"https://{where}/latest/meta-data/"))

    with asking(redirected) as (registry, _, pauses):
        with pytest.raises(RegistryError, match=r"(link-local|private) address, where this server may not lead us"):
            registry.tags("team/app")
        assert pauses == []

    for path in ("token", "x://{own}/token"):

        def realm(asked: Asked, path: str = path) -> Answered:
            named = f"http://{where}/{path.format(own=asked.headers['host'])}"
            return reply(401, b"", ("WWW-Authenticate", f'Bearer realm="{named}"'))

        with asking(realm) as (registry, _, pauses):
            with pytest.raises(RegistryError, match=r"(link-local|private) address, where this server may not lead us"):
                registry.tags("team/app")
            assert pauses == []


def test_the_next_page_of_a_list_that_was_redirected_leads_to_no_private_place_either() -> None:
    """Whoever the registry led us to may have its name resolve elsewhere by the second page."""
    pages = {"/v2/team/app/tags/list": "/list", "/list": "/2", "/2": ""}
    reached: dict[str, object] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        reached[path] = request.extensions["updater.reach"]
        if path == "/v2/team/app/tags/list":
            return httpx.Response(302, headers={"Location": "https://elsewhere.example.org/list"})
        link = {"Link": f'<{pages[path]}>; rel="next"'} if pages[path] else {}
        return httpx.Response(200, json={"tags": [path.strip("/")]}, headers=link)

    registry = Registry("registry.example.com", http=Http(transport=httpx.MockTransport(answer)))
    assert registry.tags("team/app").names == ("list", "2")
    assert reached == {"/v2/team/app/tags/list": None, "/list": {Kind.PUBLIC}, "/2": {Kind.PUBLIC}}


@pytest.mark.parametrize(
    "named",
    [
        pytest.param("https://" + "a" * 7000 + ".example.com/", id="a long name"),
        pytest.param("https://a\x1b[31mb.example.com/", id="colours"),
        pytest.param("https://[a](b).example.com/", id="a link in a message"),
        pytest.param("https://*a*<b>.example.com/", id="marks"),
        pytest.param("https://a b.example.com/", id="a space"),
        pytest.param("https://\x1b[::1]/", id="an escape before brackets"),
        pytest.param("https://xn--/", id="Punycode that is none"),
        pytest.param("https://127.0.0.1:1/" + "x" * 7000, id="a long path"),
        pytest.param("https://127.0.0.1:1/\x1b[31m", id="colours in a path"),
    ],
)
def test_names_that_a_registry_writes_are_short_and_plain_wherever_they_are_shown(named: str) -> None:
    realm = reply(401, b"", ("WWW-Authenticate", f'Bearer realm="{named}"'))
    redirect = reply(302, b"", ("Location", named))
    kind = reply(200, b"<html>", ("Content-Type", named))
    for answer in (realm, redirect, kind):
        with asking(lambda _, answer=answer: answer, credentials=Given(pair=LOGIN)) as (registry, _server, _):  # type: ignore[misc]
            with pytest.raises(RegistryError) as told:
                registry.tags("team/app")
            for text in (str(told.value), *registry.untrusted_realms):
                assert text.isprintable()
                assert len(text) < 1000
                assert not set(text) & set("*<") or answer is kind


def test_what_a_registry_puts_into_a_path_elsewhere_is_in_no_error() -> None:
    def redirected(asked: Asked) -> Answered:
        return reply(307, b"", ("Location", f"https://127.0.0.1:1/{asked.headers.get('accept', '')}canary"))

    with (
        asking(redirected) as (registry, _, _pauses),
        pytest.raises(RegistryError, match=r"https://127.0.0.1:1") as why,
    ):
        registry.tags("team/app")
    assert "canary" not in str(why.value)


# --- words ----------------------------------------------------------------------------------------------------------


def test_errors_tell_not_found_from_refused_and_never_what_was_secret() -> None:
    def echo(asked: Asked) -> Answered:
        given = asked.headers.get("authorization", "")
        status = 404 if "none" in asked.path else 401
        body = {"errors": [{"code": "DENIED", "message": f"you sent {given}"}]}
        return reply(status, body, ("WWW-Authenticate", f'Basic realm="{given}"'))

    with asking(echo, credentials=Given(pair=LOGIN)) as (registry, _server, _):
        with pytest.raises(NotFound, match="not found"):
            registry.tags("team/none")
        with pytest.raises(LoginRefused, match="refused access") as refused:
            registry.tags("team/app")
        assert LOGIN[1] not in str(refused.value)
        assert "Basic" not in str(refused.value)
