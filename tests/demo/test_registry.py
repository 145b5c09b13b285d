"""The embedded registry answers as the distribution specification says."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from updater.demo.image import INDEX, MANIFEST, small_image
from updater.demo.registry import MAX_BODY, EmbeddedRegistry, push_image
from updater.errors import RegistryError, UpdaterError
from updater.transport.http import Answer, Http, TransportError

LOGIN = ("ci", "s3cret-of-the-test")


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as client:
        yield client


def ask(http: Http, method: str, url: str, content: bytes | None = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    deadline = time.monotonic() + 10
    return http.request(method, url, max_bytes=1 << 20, deadline=deadline, headers=named, content=content)


def code(answer: Answer) -> str:
    return str(json.loads(answer.body)["errors"][0]["code"])


def sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_pushed_image_can_be_pulled_by_tag_and_digest_down_to_its_bytes(http: Http) -> None:
    with EmbeddedRegistry() as registry:
        digest = push_image(registry.url, "team/app", ["1.0", "latest"], payload=b"content", labels={"a": "b"})
        by_tag = ask(http, "GET", f"{registry.url}/v2/team/app/manifests/1.0", Accept=MANIFEST)
        by_digest = ask(http, "GET", f"{registry.url}/v2/team/app/manifests/{digest}")
        assert by_tag.body == by_digest.body
        assert sha(by_tag.body) == digest == by_tag.header("docker-content-digest")
        assert by_tag.header("content-type") == MANIFEST
        manifest = json.loads(by_tag.body)
        for part in (manifest["config"], *manifest["layers"]):
            blob = ask(http, "GET", f"{registry.url}/v2/team/app/blobs/{part['digest']}")
            assert (sha(blob.body), len(blob.body)) == (part["digest"], part["size"])
        head = ask(http, "HEAD", f"{registry.url}/v2/team/app/manifests/latest")
        assert (head.status, head.header("content-length")) == (200, str(len(by_tag.body)))


def test_several_platforms_are_pushed_as_an_index(http: Http) -> None:
    with EmbeddedRegistry() as registry:
        digest = push_image(registry.url, "team/app", ["1.0"], platforms=("linux/amd64", "linux/arm64"))
        answer = ask(http, "GET", f"{registry.url}/v2/team/app/manifests/1.0")
        assert (sha(answer.body), answer.header("content-type")) == (digest, INDEX)
        platforms = [
            (entry["platform"]["os"], entry["platform"]["architecture"])
            for entry in json.loads(answer.body)["manifests"]
        ]
        assert platforms == [("linux", "amd64"), ("linux", "arm64")]
        assert ask(http, "GET", f"{registry.url}/v2/team/app/manifests/1.0", Accept=MANIFEST).status == 404


@pytest.mark.parametrize("pieces", ["post", "post put", "post patch put", "chunked"])
def test_blobs_are_taken_whole_and_in_pieces(http: Http, pieces: str) -> None:
    blob = b"0123456789" * 10
    with EmbeddedRegistry() as registry:
        uploads = f"{registry.url}/v2/team/app/blobs/uploads/"
        if pieces == "post":
            done = ask(http, "POST", f"{uploads}?digest={sha(blob)}", blob)
        else:
            start = ask(http, "POST", uploads, b"")
            at = f"{registry.url}{start.header('location')}"
            assert start.status == 202
            if pieces == "post put":
                done = ask(http, "PUT", f"{at}?digest={sha(blob)}", blob)
            elif pieces == "chunked":
                with closing(HTTPConnection(registry.host, timeout=10)) as plain:
                    plain.request("PATCH", at, iter([blob[:30], blob[30:]]), encode_chunked=True)
                    assert plain.getresponse().status == 202
                done = ask(http, "PUT", f"{at}?digest={sha(blob)}", b"")
            else:
                going_on = ask(http, "PATCH", at, blob[:50])
                assert (going_on.status, going_on.header("range")) == (202, "0-49")
                done = ask(http, "PUT", f"{at}?digest={sha(blob)}", blob[50:])
        assert (done.status, done.header("docker-content-digest")) == (201, sha(blob))
        assert ask(http, "GET", f"{registry.url}{done.header('location')}").body == blob


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "expected"),
    [
        ("GET", "/v2/team/none/tags/list", None, 404, "NAME_UNKNOWN"),
        ("GET", "/v2/team/app/manifests/none", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/team/app/blobs/{sha(b'none')}", None, 404, "BLOB_UNKNOWN"),
        ("PUT", "/v2/team/app/blobs/uploads/abc?digest=x", b"", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", f"/v2/team/app/blobs/uploads/?digest={sha(b'other')}", b"blob", 400, "DIGEST_INVALID"),
        ("PUT", f"/v2/team/app/manifests/{sha(b'other')}", b"{}", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/team/app/manifests/1.0", b"{", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/team/app/manifests/1.0", b"{}", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/team/app/manifests/1.0", small_image(b"").manifest, 400, "MANIFEST_BLOB_UNKNOWN"),
        ("DELETE", "/v2/team/app/manifests/none", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/_catalog", None, 404, "UNSUPPORTED"),
    ],
)
def test_mistakes_are_answered_with_the_code_of_the_specification(
    http: Http, method: str, path: str, content: bytes | None, *, status: int, expected: str
) -> None:
    with EmbeddedRegistry() as registry:
        registry.seed("team/app", ["0.1"])
        answer = ask(http, method, f"{registry.url}{path}", content)
        assert (answer.status, code(answer)) == (status, expected)


def test_tags_are_listed_in_order_page_by_page(http: Http) -> None:
    tags = [f"1.{number}" for number in range(25)]
    with EmbeddedRegistry(page_size=10) as registry:
        registry.seed("team/app", tags)
        found, at, pages = [], "/v2/team/app/tags/list?n=100", 0
        while at:
            answer = ask(http, "GET", f"{registry.url}{at}")
            found += json.loads(answer.body)["tags"]
            at = (answer.header("link") or "").partition(">")[0].removeprefix("<")
            pages += 1
        assert (found, pages) == (sorted(tags), 3)
        few = ask(http, "GET", f"{registry.url}/v2/team/app/tags/list?n=2&last=1.1")
        assert json.loads(few.body)["tags"] == ["1.10", "1.11"]


def test_a_deleted_tag_is_gone_and_a_deleted_manifest_takes_its_tags_along(http: Http) -> None:
    with EmbeddedRegistry() as registry:
        digest = registry.seed("team/app", ["1.0", "1.1", "1.2"])
        assert ask(http, "DELETE", f"{registry.url}/v2/team/app/manifests/1.0").status == 202
        assert sorted(registry.content.tags["team/app"]) == ["1.1", "1.2"]
        assert ask(http, "DELETE", f"{registry.url}/v2/team/app/manifests/{digest}").status == 202
        assert registry.content.tags["team/app"] == {}


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_pushing_needs_the_login_and_says_so_in_a_challenge(http: Http, auth: str) -> None:
    with EmbeddedRegistry(login=LOGIN, auth="token" if auth == "token" else "basic") as registry:
        challenge = ask(http, "GET", f"{registry.url}/v2/team/app/tags/list")
        assert (challenge.status, code(challenge)) == (401, "UNAUTHORIZED")
        assert (challenge.header("www-authenticate") or "").startswith("Basic" if auth == "basic" else "Bearer")
        push_image(registry.url, "team/app", ["1.0"], login=LOGIN)
        assert "1.0" in registry.content.tags["team/app"]
        for login in (None, ("ci", "wrong-password")):
            with pytest.raises(UpdaterError):
                push_image(registry.url, "team/app", ["2.0"], login=login)
        assert "2.0" not in registry.content.tags["team/app"]


def test_a_token_is_good_for_its_scope_only_and_ends(http: Http) -> None:
    with EmbeddedRegistry(login=LOGIN, auth="token", anonymous_pull=True) as registry:
        registry.seed("team/app", ["1.0"])
        registry.seed("team/other", ["1.0"])
        given = ask(http, "GET", f"{registry.url}/token?service=embedded&scope=repository:team/app:pull,push")
        bearer = f"Bearer {json.loads(given.body)['token']}"
        assert ask(http, "GET", f"{registry.url}/v2/team/app/tags/list", Authorization=bearer).status == 200
        assert ask(http, "GET", f"{registry.url}/v2/team/other/tags/list", Authorization=bearer).status == 401
        assert ask(http, "POST", f"{registry.url}/v2/team/app/blobs/uploads/", b"", Authorization=bearer).status == 401
        registry.door.tokens.clear()
        assert ask(http, "GET", f"{registry.url}/v2/team/app/tags/list", Authorization=bearer).status == 401


def test_what_it_was_asked_is_kept_in_order(http: Http) -> None:
    with EmbeddedRegistry() as registry:
        registry.seed("team/app", ["1.0"])
        assert registry.requests == []
        ask(http, "GET", f"{registry.url}/v2/team/app/tags/list?n=5", Authorization="Basic eA==")
        ask(http, "HEAD", f"{registry.url}/v2/team/app/manifests/none")
        asked = [(request.method, request.path, request.authorization, request.status) for request in registry.requests]
        assert asked == [
            ("GET", "/v2/team/app/tags/list?n=5", "Basic eA==", 200),
            ("HEAD", "/v2/team/app/manifests/none", "", 404),
        ]


def test_content_in_a_folder_is_there_again_after_a_restart(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path) as registry:
        digest = push_image(registry.url, "team/app", ["1.0"])
        registry.seed("team/app", ["1.1"], digest)
    with EmbeddedRegistry(tmp_path) as registry:
        assert registry.content.tags == {"team/app": {"1.0": digest, "1.1": digest}}
        assert registry.seed("team/app", ["1.2"], digest) == digest


def test_a_body_beyond_measure_is_refused_by_what_it_announces() -> None:
    with EmbeddedRegistry() as registry, closing(HTTPConnection(registry.host, timeout=10)) as plain:
        plain.request("PATCH", "/v2/a/blobs/uploads/1", headers={"Content-Length": str(MAX_BODY + 1)})
        assert plain.getresponse().status == 413


def test_closing_cuts_connections_and_frees_the_port(http: Http) -> None:
    with EmbeddedRegistry() as registry:
        ask(http, "GET", f"{registry.url}/v2/")
    with pytest.raises(TransportError):
        ask(http, "GET", f"{registry.url}/v2/")
    port = int(registry.host.rpartition(":")[2])
    with EmbeddedRegistry(port=port) as again:
        assert ask(http, "GET", f"{again.url}/v2/").status == 200


def test_many_clients_are_served_at_once() -> None:
    with EmbeddedRegistry() as registry:
        threads = [
            threading.Thread(target=push_image, args=(registry.url, f"team/app-{number}", ["1.0"]))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(registry.content.tags) == 8


def test_a_push_that_is_refused_is_an_error_in_words() -> None:
    with EmbeddedRegistry() as registry, pytest.raises(RegistryError, match=r"push of team/App: POST .* answered 404"):
        push_image(registry.url, "team/App", ["1.0"])
