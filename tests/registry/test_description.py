"""What a tag or digest is, read from real registries at a counted price, and from ones that lie or break."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.certificates import make_certificate
from tests.lab.registry import FLAVOURS, Flavour, Given, open_registry
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.demo.registry import EmbeddedRegistry, push_image
from updater.errors import RegistryError
from updater.model.origin import NOWHERE, Origin
from updater.registry import client, description
from updater.registry.client import Description, LoginRefused, NotFound, Registry
from updater.registry.description import complete, describe, nothing_known
from updater.transport.http import Answer, Http

LOGIN = ("ci", "canary-password")
WHEN = "2024-03-02T03:04:05.123456789+01:00"
SEEN = datetime(2024, 3, 2, 2, 4, 5, 123456, tzinfo=UTC)
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
HTML = b"<!doctype html><title>Sign in</title>"


def spelled(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def digest_of(value: object, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, spelled(value)).hexdigest()}"


def entry(value: object, platform: object = None, media_type: str = MANIFEST, **more: object) -> dict[str, object]:
    """A descriptor of a document, in an index or a manifest."""
    told = {"mediaType": media_type, "digest": digest_of(value), "size": len(spelled(value))}
    return told | ({"platform": platform} if platform is not None else {}) | more


def on(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def image(config: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(config, media_type=CONFIG), "layers": []}


def index(*entries: object, media_type: str = INDEX) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}


class Shelf:
    """A registry as a plain function: the document of the tag, and parts by digest; it counts what it is asked."""

    def __init__(self, tagged: object, *parts: object, headers: Mapping[str, str] | None = None) -> None:
        self.tagged = spelled(tagged)
        self.parts = {digest_of(part): spelled(part) for part in (tagged, *parts)}
        self.headers = dict(headers or {})
        self.asked: list[str] = []

    def fetch(self, part: str, at: str) -> Answer:
        self.asked.append(part)
        body = self.parts.get(at) if ":" in at else self.tagged
        if body is None:
            raise NotFound(f"{part} {at} is gone")
        return Answer(200, client_headers(self.headers), body, "http://registry.invalid/")

    def describe(self, *, created: bool = True) -> Description:
        return describe(self.fetch, "1.0", "manifest team/app:1.0", created=created, known=nothing_known)

    def complete(self, known: Description) -> Description:
        return complete(self.fetch, known, "manifest team/app:1.0")


def client_headers(headers: Mapping[str, str]) -> Any:
    return {name.lower(): value for name, value in headers.items()}


AMD, ARM = on("linux/amd64") | {"created": WHEN}, on("linux/arm64") | {"created": "2023-01-01T00:00:00Z"}


# --- real registries, and what it costs -------------------------------------------------------------------------------


class Counting(Http):
    """Counts the requests about manifests and blobs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def request(self, method: str, url: str, **more: Any) -> Answer:
        answer = super().request(method, url, **more)
        if answer.status == 200 and "/v2/" in url:
            self.asked.append(f"{method} {url.split('/')[-2]}")
        return answer


PUSHED = {  # tag: its platforms, and whether there are attestations
    "single": (("linux/arm64/v8",), False),
    "index": (("linux/arm/v7", "linux/amd64"), False),
    "attested": (("linux/amd64",), True),
}


@pytest.mark.parametrize(
    ("tag", "created", "asked"),
    [
        pytest.param("index", False, ["manifests"], id="index, platforms only: 1 request"),
        pytest.param("index", True, ["manifests", "manifests", "blobs"], id="index with its date: 3 requests"),
        pytest.param("attested", False, ["manifests"], id="index with attestations: 1 request"),
        pytest.param("attested", True, ["manifests", "manifests", "blobs"], id="attestations with a date: 3 requests"),
        pytest.param("single", False, ["manifests", "blobs"], id="single manifest: 2 requests"),
        pytest.param("single", True, ["manifests", "blobs"], id="single manifest with its date: 2 requests"),
    ],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_tag_is_costs_one_to_three_requests(
    flavour: Flavour, tag: str, created: bool, asked: list[str], tmp_path: Path
) -> None:
    platforms, attestations = PUSHED[tag]
    with open_registry(flavour, tmp_path, auth="token") as lab, Counting() as http:
        digest = lab.push("team/app", [tag], platforms=platforms, created=WHEN, attestations=attestations)
        registry = lab.client(http)
        found = registry.describe("team/app", tag, created=created)
        looked = created or tag == "single"
        assert found == Description(digest, SEEN if looked else None, frozenset(platforms), asked_created=looked)
        assert http.asked == [f"GET {part}" for part in asked]
        assert registry.describe("team/app", digest, created=created) == found
        assert registry.digest("team/app", tag) == digest


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_known_digest_costs_one_request_and_is_asked_for_what_is_missing(flavour: Flavour, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path) as lab, Counting() as http:
        lab.push("team/app", ["1.0"], created=WHEN, platforms=("linux/amd64", "linux/arm64"))
        registry = lab.client(http)
        cache: dict[str, Description] = {}
        costs = []
        for created in (False, False, True, True, False):
            http.asked = []
            found = registry.describe("team/app", "1.0", created=created, known=cache.get)
            cache[found.digest] = found
            costs.append(len(http.asked))
        assert costs == [1, 1, 3, 1, 1]
        assert (found.created, found.asked_created) == (SEEN, True)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_tag_that_is_gone_is_not_found_and_a_refused_login_is_none(flavour: Flavour, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path, auth="basic") as lab, Http() as http:
        lab.push("team/app", ["1.0"])
        with pytest.raises(NotFound, match="not found"):
            lab.client(http).describe("team/app", "2.0", created=True)
        with pytest.raises(LoginRefused):
            lab.client(http, anonymous=True).describe("team/app", "1.0", created=True)


def test_one_token_serves_the_list_the_manifest_and_the_blob() -> None:
    with EmbeddedRegistry(login=LOGIN, auth="token") as server, Http() as http:
        push_image(server.url, "team/app", ["1.0"], login=LOGIN)
        server.requests.clear()
        registry = Registry(server.host, http=http, insecure=True, credentials=Given(pair=LOGIN))
        registry.tags("team/app")
        registry.describe("team/app", "1.0", created=True)
        paths = [(asked.path.partition("?")[0].split("/")[-2], asked.status) for asked in server.requests]
        assert paths == [("tags", 401), ("", 200), ("tags", 200), ("manifests", 200), ("blobs", 200)]


def test_the_right_to_list_tags_is_not_tried_on_a_blob() -> None:
    def script(asked: Asked) -> Answered:
        if asked.path == "/token":
            return reply(200, {"token": asked.query["scope"][0].rpartition(":")[2], "expires_in": 300})
        right = "metadata_read" if asked.path.endswith("/tags/list") else "pull"
        if asked.headers.get("authorization") != f"Bearer {right}":
            scope = f"repository:team/app:{right}"
            return reply(401, b"", ("WWW-Authenticate", f'Bearer realm="{server.url}/token",scope="{scope}"'))
        if right == "metadata_read":
            return reply(200, {"name": "team/app", "tags": ["1.0"]})
        return reply(200, AMD if "/blobs/" in asked.path else image(AMD))

    with asking(script) as (registry, server):
        registry.describe("team/app", "1.0", created=True)
        registry.tags("team/app")
        before = len(server.requests)
        registry.describe("team/app", "1.0", created=True)
        assert len(server.requests) == before + 2


def test_what_is_neither_tag_nor_digest_is_never_asked() -> None:
    with EmbeddedRegistry() as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True)
        for reference in ("../../other/manifests/1.0", "", "sha256:short", "md5:" + "0" * 32):
            with pytest.raises(RegistryError, match="neither a tag nor a digest"):
                registry.describe("team/app", reference, created=True)
        assert server.requests == []


# --- platforms --------------------------------------------------------------------------------------------------------

ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


AMD64 = entry(AMD, on("linux/amd64"))
PLATFORMS: dict[str, tuple[list[object], set[str]]] = {
    "one": ([AMD64], {"linux/amd64"}),
    "with its variant": ([entry(AMD, on("linux/arm64/v8"))], {"linux/arm64/v8"}),
    "with and without a variant are told apart": (
        [entry(AMD, on("linux/arm64/v8")), entry(ARM, on("linux/arm64"))],
        {"linux/arm64/v8", "linux/arm64"},
    ),
    "an empty variant is none": ([entry(AMD, on("linux/amd64/"))], {"linux/amd64"}),
    "in lower case": ([entry(AMD, on("Linux/AMD64"))], {"linux/amd64"}),
    "versions of an operating system are one platform": (
        [entry(version, on("windows/amd64") | {"os.version": version}) for version in ("10.0.1", "10.0.2")],
        {"windows/amd64"},
    ),
    "unknown/unknown is dropped": ([AMD64, entry(ARM, on("unknown/unknown"))], {"linux/amd64"}),
    "an attestation is dropped, whatever platform it names": (
        [AMD64, entry(ARM, on("linux/arm64"), annotations=ATTESTATION)],
        {"linux/amd64"},
    ),
    "other annotations say nothing": ([AMD64 | {"annotations": {"other": "note"}}], {"linux/amd64"}),
    "annotations that are none": ([AMD64 | {"annotations": [*ATTESTATION]}], {"linux/amd64"}),
    "nothing but attestations": ([entry(ARM, on("unknown/unknown"), annotations=ATTESTATION)], set()),
    "an index in the index says its platform itself": (
        [entry(AMD, on("linux/s390x"), media_type=INDEX)],
        {"linux/s390x"},
    ),
    "no platform": ([entry(AMD)], set()),
    "no entries": ([], set()),
    "no architecture": ([entry(AMD, {"os": "linux"})], set()),
    "outside the grammar": (
        [entry(AMD, on(f"linux/{odd}")) for odd in ("amd 64", "a" * 33, "\n", "amd64\n", "\u212a")],
        set(),
    ),
    "other types": (
        [entry(AMD, {"os": 1, "architecture": ["amd64"]}), entry(AMD, "linux/amd64"), None, 7, "x"],
        set(),
    ),
}


@pytest.mark.parametrize(("entries", "platforms"), PLATFORMS.values(), ids=PLATFORMS)
@pytest.mark.parametrize("media_type", [INDEX, DOCKER_INDEX])
def test_the_platforms_of_an_index_are_those_of_its_entries(
    entries: list[object], platforms: set[str], media_type: str
) -> None:
    shelf = Shelf(index(*entries, media_type=media_type))
    expected = Description(digest_of(index(*entries, media_type=media_type)), None, frozenset(platforms), False)
    assert shelf.describe(created=False) == expected
    assert shelf.asked == ["manifests"]


def test_an_index_of_too_many_platforms_is_refused() -> None:
    entries = [entry(AMD, on(f"linux/cpu{number}")) for number in range(description.MAX_PLATFORMS + 1)]
    assert len(Shelf(index(*entries[1:])).describe(created=False).platforms) == description.MAX_PLATFORMS
    with pytest.raises(RegistryError, match="more than 128 platforms"):
        Shelf(index(*entries)).describe(created=False)


@pytest.mark.parametrize(
    ("config", "platforms"),
    [
        pytest.param(on("linux/arm64/v8"), {"linux/arm64/v8"}, id="an image"),
        pytest.param({"os": "linux", "architecture": "amd64", "variant": ""}, {"linux/amd64"}, id="an empty variant"),
        pytest.param(on("unknown/unknown"), set(), id="unknown"),
        pytest.param({"os": "", "architecture": ""}, set(), id="empty names"),
        pytest.param({"name": "chart", "version": "1.0.0"}, set(), id="a chart"),
        pytest.param({}, set(), id="an artifact with an empty configuration"),
        pytest.param(b"\x00asm", set(), id="an artifact whose configuration is not JSON"),
        pytest.param([1], set(), id="an artifact whose configuration is a list"),
        pytest.param(b"[" * 100_000, set(), id="an artifact whose configuration is bottomless"),
    ],
)
def test_the_platform_of_a_single_manifest_is_that_of_its_configuration(config: object, platforms: set[str]) -> None:
    shelf = Shelf(image(config), config)
    assert shelf.describe(created=False) == Description(digest_of(image(config)), None, frozenset(platforms))
    assert shelf.asked == ["manifests", "blobs"]


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "date"),
    [
        pytest.param(WHEN, SEEN, id="nanoseconds and an offset, in UTC"),
        pytest.param("2024-03-02T02:04:05Z", SEEN.replace(microsecond=0), id="whole seconds"),
        pytest.param("2999-01-01T00:00:00Z", datetime(2999, 1, 1, tzinfo=UTC), id="the future stays"),
        pytest.param("1981-01-01T00:00:00Z", datetime(1981, 1, 1, tzinfo=UTC), id="1981 is the first year"),
        pytest.param("1970-01-01T00:00:00Z", None, id="1970, of a reproducible build"),
        pytest.param("1980-01-01T00:00:01Z", None, id="1980, of a reproducible build"),
        pytest.param("1981-01-01T00:30:00+01:00", None, id="1980, once it is UTC"),
        pytest.param("0001-01-01T00:00:00Z", None, id="Go's zero time"),
        pytest.param("0001-01-01T00:00:00+10:00", None, id="before the first year"),
        pytest.param("9999-12-31T23:59:59-10:00", None, id="after the last year"),
        pytest.param("2024-02-30T00:00:00Z", None, id="no such day"),
        pytest.param("2024-03-02T03:04:05", None, id="no zone"),
        pytest.param("2024-03-02", None, id="a day"),
        pytest.param("20240302T030405Z", None, id="another notation"),
        pytest.param("\u0662\u0660\u0662\u0664-03-02T03:04:05Z", None, id="digits of another script"),
        pytest.param("yesterday", None, id="words"),
        pytest.param("", None, id="empty"),
        pytest.param(1709345045, None, id="a number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_a_date_is_utc_or_none(written: object, date: datetime | None) -> None:
    config = on("linux/amd64") | {"created": written}
    for found in (
        Shelf(image(config), config).describe(),
        Shelf(index(entry(image(config), on("linux/amd64"))), image(config), config).describe(),
    ):
        assert (found.created, found.asked_created) == (date, True)


NESTED = index(entry(image(AMD), on("linux/amd64")))


DATED: dict[str, tuple[list[object], datetime | None, int]] = {
    "linux/amd64, wherever it stands": (
        [entry(image(ARM), on("linux/arm64")), entry(image(AMD), on("linux/amd64"))],
        SEEN,
        3,
    ),
    "else the first": ([entry(image(AMD), on("linux/s390x")), entry(image(ARM), on("linux/arm64"))], SEEN, 3),
    "else the first that is no attestation": (
        [entry(image(ARM), on("unknown/unknown")), entry(image(AMD), on("linux/s390x"))],
        SEEN,
        3,
    ),
    "without a platform": ([entry(image(AMD))], SEEN, 3),
    "an image before an index in the index": (
        [entry(NESTED, on("linux/amd64"), INDEX), entry(image(AMD), on("linux/arm64"))],
        SEEN,
        3,
    ),
    "nothing but an index in the index": ([entry(NESTED, on("linux/amd64"), INDEX)], None, 1),
    "an index in the index that says it is an image": ([entry(NESTED, on("linux/amd64"))], None, 2),
    "nothing but attestations": ([entry(image(AMD), on("unknown/unknown"))], None, 1),
    "no entries": ([], None, 1),
}


@pytest.mark.parametrize(("entries", "date", "requests"), DATED.values(), ids=DATED)
def test_the_date_of_an_index_is_that_of_one_image(entries: list[object], date: datetime | None, requests: int) -> None:
    shelf = Shelf(index(*entries), image(AMD), image(ARM), AMD, ARM, NESTED)
    found = shelf.describe()
    assert (found.created, found.asked_created, len(shelf.asked)) == (date, True, requests)


# --- where it comes from ----------------------------------------------------------------------------------------------

HUB, BASE = "https://github.com/acme/api", "https://github.com/acme/base"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def said(source: str | None = None, revision: str | None = None, **more: object) -> dict[str, object]:
    """Labels, or annotations."""
    told = {"source": source, "revision": revision} | more
    return {f"org.opencontainers.image.{key}": value for key, value in told.items() if value is not None}


LABELLED = AMD | {"config": {"Labels": said(HUB, REVISION)}}
OTHER = ARM | {"config": {"Labels": said(BASE)}}
FULL = Origin(HUB, REVISION)


@pytest.mark.parametrize(
    ("document", "config", "origin"),
    [
        pytest.param({}, LABELLED, FULL, id="labels"),
        pytest.param({"annotations": said(BASE)}, LABELLED, Origin(BASE, REVISION), id="annotations win, key by key"),
        pytest.param({"annotations": said(HUB, REVISION)}, AMD, FULL, id="annotations alone"),
        pytest.param({"annotations": [said(HUB)]}, LABELLED, FULL, id="annotations that are none"),
        pytest.param({"annotations": said("nowhere")}, LABELLED, FULL, id="annotations that say nothing usable"),
        pytest.param({}, AMD | {"config": {"Labels": None}}, NOWHERE, id="no labels"),
        pytest.param({}, AMD | {"config": None}, NOWHERE, id="no settings"),
        pytest.param({}, AMD | {"config": {"Labels": [said(HUB)]}}, NOWHERE, id="labels that are none"),
        pytest.param({}, b"\xff", NOWHERE, id="an artifact whose configuration is not JSON"),
    ],
)
def test_a_manifest_says_where_it_comes_from(document: dict[str, object], config: object, origin: Origin) -> None:
    tagged = image(config) | document
    shelf = Shelf(tagged, config)
    found = shelf.describe(created=False)
    assert found.origin == origin
    assert shelf.complete(found) is found
    assert shelf.asked == ["manifests", "blobs"]


INDEXES: dict[str, tuple[dict[str, object], list[object], Origin, Origin, int]] = {
    "its linux/amd64 image": (
        {}, [entry(image(OTHER), on("linux/arm64")), entry(image(LABELLED), on("linux/amd64"))], NOWHERE, FULL, 2,
    ),
    "else the first": (
        {}, [entry(image(OTHER), on("linux/arm64")), entry(image(LABELLED), on("linux/s390x"))], NOWHERE, Origin(BASE),
        2,
    ),
    "its own annotations before those": (
        {"annotations": said(BASE)}, [entry(image(LABELLED))], Origin(BASE), Origin(BASE, REVISION), 2,
    ),
    "the annotations of its image before its labels": (
        {}, [entry(image(LABELLED) | {"annotations": said(BASE)})], NOWHERE, Origin(BASE, REVISION), 2,
    ),
    "not an index in it": ({}, [entry(NESTED)], NOWHERE, NOWHERE, 1),
}  # fmt: skip


@pytest.mark.parametrize(("more", "entries", "first", "then", "requests"), INDEXES.values(), ids=INDEXES)
def test_an_index_says_what_its_image_says_for_two_requests_more(
    more: dict[str, object], entries: list[object], first: Origin, then: Origin, requests: int
) -> None:
    annotated = image(LABELLED) | {"annotations": said(BASE)}
    shelf = Shelf(index(*entries) | more, image(OTHER), image(LABELLED), annotated, OTHER, LABELLED, NESTED)
    found = shelf.describe(created=False)
    assert (found.origin, found.asked_created, shelf.asked) == (first, False, ["manifests"])
    completed = shelf.complete(found)
    assert (completed.origin, completed.asked_created, len(shelf.asked)) == (then, True, 1 + requests)
    assert completed == shelf.describe(created=True)
    assert shelf.complete(completed) is completed


@pytest.mark.parametrize("missing", [image(LABELLED), LABELLED], ids=["its image", "its configuration"])
def test_an_index_whose_parts_are_gone_or_changed_says_so(missing: object) -> None:
    shelf = Shelf(index(entry(image(LABELLED))), image(LABELLED), LABELLED)
    found = shelf.describe(created=False)
    shelf.parts[digest_of(missing)] = HTML
    with pytest.raises(RegistryError, match="has another digest than"):
        shelf.complete(found)
    del shelf.parts[digest_of(missing)]
    with pytest.raises(RegistryError, match="a part of it is missing"):
        shelf.complete(found)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_labels_that_were_pushed_are_read(flavour: Flavour, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path, auth="token") as lab, Counting() as http:
        labels = {key: str(value) for key, value in said(HUB, REVISION, version="v1.0", licenses="MIT").items()}
        lab.push("team/app", ["one"], labels=labels)
        lab.push("team/app", ["two"], labels=labels, platforms=("linux/arm64", "linux/amd64"))
        registry, origin = lab.client(http), Origin(HUB, REVISION, "v1.0")
        assert registry.describe("team/app", "one", created=False).origin == origin
        found = registry.describe("team/app", "two", created=False)
        http.asked = []
        assert registry.complete("team/app", found, within=30).origin == origin
        assert http.asked == ["GET manifests", "GET blobs"]


def test_what_is_not_told_in_time_is_not_waited_for() -> None:
    def script(asked: Asked) -> Answered:
        if asked.path.endswith("/1.0"):
            return reply(200, NESTED)
        server.stopped.wait(30)
        return None

    with asking(script) as (registry, server):
        found = registry.describe("team/app", "1.0", created=False)
        with pytest.raises(RegistryError):
            registry.complete("team/app", found, within=0.2)
        server.stopped.set()


# --- documents that are none ------------------------------------------------------------------------------------------


NEITHER = "neither an index nor a manifest"
NO_DIGEST = "neither a sha256 nor a sha512 digest"
BROKEN: dict[str, tuple[object, str]] = {
    "a login page": (HTML, "not JSON; is there a login page"),
    "nothing": (b"", "not JSON"),
    "bottomless": (b"[" * 100_000, "not JSON"),
    "no text": (b"\xff\xfe", "not JSON"),
    "a list": ([], NEITHER),
    "an empty object": ({}, NEITHER),
    "an error with status 200": ({"errors": [{"code": "DENIED"}]}, NEITHER),
    "no list of manifests": ({"schemaVersion": 2, "manifests": None}, NEITHER),
    "a manifest without config": ({"schemaVersion": 2, "layers": []}, NEITHER),
    "both at once": ({"manifests": [], "config": entry(AMD)}, NEITHER),
    "both at once, and it says that it is an index": ({"config": entry(AMD)} | index(), NEITHER),
    "both at once, and it says that it is a manifest": (index() | image(AMD), NEITHER),
    "an index that says it is a manifest": (index(media_type=MANIFEST), NEITHER),
    "a manifest that says it is an index": (image(AMD) | {"mediaType": INDEX}, NEITHER),
    "schema 1": ({"schemaVersion": 1, "fsLayers": [], "history": []}, "schema 1"),
    "schema 1 in disguise": ({"schemaVersion": 1, "config": {}}, "schema 1"),
    "a config that points nowhere": ({"config": {}}, NO_DIGEST),
    "an unknown algorithm": ({"config": {"digest": "sha1:" + "0" * 40}}, NO_DIGEST),
    "a path for a digest": ({"config": {"digest": "../../other/blobs/sha256:0"}}, NO_DIGEST),
    "a configuration that is missing": (image(AMD), "a part of it is missing"),
    "an image that is missing": (index(entry(image(AMD))), "a part of it is missing"),
    "an entry that points nowhere": (index({"digest": 7}), NO_DIGEST),
}


@pytest.mark.parametrize(("document", "words"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_an_error_and_not_a_missing_tag(document: object, words: str) -> None:
    with pytest.raises(RegistryError, match=words) as refused:
        Shelf(document).describe()
    assert not isinstance(refused.value, NotFound)


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", "application/json", ""])
def test_the_content_type_does_not_matter(media_type: str) -> None:
    shelf = Shelf(image(AMD), AMD, headers={"Content-Type": media_type})
    assert shelf.describe().platforms == {"linux/amd64"}


# --- digests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_digest_that_the_registry_says_is_kept_when_the_bytes_agree(algorithm: str) -> None:
    told = digest_of(NESTED, algorithm)
    assert Shelf(NESTED, headers={"Docker-Content-Digest": told}).describe(created=False).digest == told


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param(digest_of(b"other"), "another digest", id="that of something else"),
        pytest.param(digest_of(NESTED, "sha512")[:-1] + "g", "neither sha256 nor sha512", id="not hexadecimal"),
        pytest.param(digest_of(NESTED, "sha1"), "neither sha256 nor sha512", id="an unknown algorithm"),
        pytest.param("latest", "neither sha256 nor sha512", id="no digest"),
    ],
)
def test_a_digest_that_the_bytes_do_not_have_is_refused(told: str, words: str) -> None:
    with pytest.raises(RegistryError, match=words):
        Shelf(NESTED, headers={"Docker-Content-Digest": told}).describe(created=False)


@pytest.mark.parametrize("part", [image(AMD), AMD], ids=["an image of an index", "a configuration"])
def test_parts_with_another_digest_are_refused(part: object) -> None:
    shelf = Shelf(NESTED, image(AMD), AMD)
    shelf.parts[digest_of(part)] = HTML
    with pytest.raises(RegistryError, match="has another digest than"):
        shelf.describe()


def test_another_manifest_than_the_digest_that_was_asked_for_is_refused() -> None:
    shelf = Shelf(NESTED)
    shelf.parts[digest_of(NESTED)] = spelled(image(AMD))
    with pytest.raises(RegistryError, match="has another digest than"):
        describe(shelf.fetch, digest_of(NESTED), "manifest", created=False, known=nothing_known)


# --- over the wire ----------------------------------------------------------------------------------------------------


@contextmanager
def asking(script: Callable[[Asked], Answered], **options: Any) -> Iterator[tuple[Registry, Scripted]]:
    given: dict[str, Any] = {"insecure": True, "sleep": lambda _: None} | options
    with Scripted(script) as server, Http(ca_file=given.pop("ca_file", None)) as http:
        yield Registry(server.host, http=http, **given), server


@pytest.mark.parametrize(
    ("part", "size"),
    [("manifests", client.MANIFEST_BYTES), ("blobs", client.CONFIG_BYTES)],
    ids=["huge manifest", "huge configuration"],
)
def test_what_is_too_large_is_not_read(part: str, size: int) -> None:
    def script(asked: Asked) -> Answered:
        return reply(200, b" " * (size + 1)) if f"/{part}/" in asked.path else reply(200, image(AMD))

    with asking(script) as (registry, server), pytest.raises(RegistryError, match=f"larger than {4 << 20} bytes"):
        registry.describe("team/app", "1.0", created=True)
    assert len(server.requests) == (1 if part == "manifests" else 2)


def test_a_configuration_with_long_labels_is_read() -> None:
    config = AMD | {"config": {"Labels": {"notes": "x" * 3_000_000}}}

    def script(asked: Asked) -> Answered:
        return reply(200, config if "/blobs/" in asked.path else image(config))

    with asking(script) as (registry, _):
        assert registry.describe("team/app", "1.0", created=True).created == SEEN


def stored(blob: bytes, storage: Callable[[str], str]) -> Callable[[Asked], Answered]:
    """A registry that wants a login and keeps its blobs in a storage, as Docker Hub and ECR do."""

    def script(asked: Asked) -> Answered:
        if asked.headers.get("authorization") is None:
            return reply(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
        if "/blobs/" in asked.path:
            return reply(302, b"", ("Location", storage(asked.path)))
        return reply(200, image(blob))

    return script


def test_a_blob_is_fetched_from_its_storage_which_never_sees_the_login(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "storage")
    with EmbeddedRegistry(tls=certificate) as storage:
        storage.content.blobs[digest_of(AMD)] = spelled(AMD)
        script = stored(spelled(AMD), lambda path: f"{storage.url}{path}?X-Amz-Signature=abc")
        with asking(script, credentials=Given(pair=LOGIN), ca_file=certificate[0]) as (registry, server):
            assert registry.describe("team/app", "1.0", created=True).created == SEEN
        assert [(asked.authorization, asked.status) for asked in storage.requests] == [("", 200)]
        assert len(server.requests) == 3  # a challenge, the manifest, the blob


def test_a_storage_that_refuses_is_told_apart_from_the_registry(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "storage")
    with EmbeddedRegistry(tls=certificate, login=("other", "login")) as storage:
        script = stored(spelled(AMD), lambda path: f"{storage.url}{path}?X-Amz-Signature=secret")
        with (
            asking(script, credentials=Given(pair=LOGIN), ca_file=certificate[0]) as (registry, _),
            pytest.raises(RegistryError, match=f"{storage.host}, to which .* redirects, answered 401") as refused,
        ):
            registry.describe("team/app", "1.0", created=True)
        assert not isinstance(refused.value, LoginRefused)
        assert "secret" not in str(refused.value)
        assert [asked.authorization for asked in storage.requests] == [""]


def test_a_tag_that_is_gone_behind_a_redirect_is_not_found(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "other")
    with (
        EmbeddedRegistry(tls=certificate) as other,
        asking(lambda asked: reply(307, b"", ("Location", other.url + asked.path)), ca_file=certificate[0]) as (it, _),
        pytest.raises(NotFound, match="MANIFEST_UNKNOWN"),
    ):
        it.describe("team/app", "1.0", created=True)


def test_a_storage_without_tls_is_not_asked() -> None:
    with Scripted(lambda _: reply(200, AMD)) as canary:
        with (
            asking(stored(spelled(AMD), lambda path: canary.url + path), credentials=Given(pair=LOGIN)) as (
                registry,
                _,
            ),
            pytest.raises(RegistryError, match="without TLS"),
        ):
            registry.describe("team/app", "1.0", created=True)
        assert canary.requests == []


# --- anything at all --------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
POINTERS = st.fixed_dictionaries(
    {},
    optional={
        "digest": ANYTHING | st.just(digest_of(AMD)) | st.just(digest_of(image(AMD))),
        "mediaType": ANYTHING | st.sampled_from([INDEX, MANIFEST, CONFIG]),
        "platform": ANYTHING | st.fixed_dictionaries({"os": SCALARS, "architecture": SCALARS, "variant": SCALARS}),
        "annotations": ANYTHING,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": ANYTHING,
        "mediaType": ANYTHING | st.sampled_from([INDEX, MANIFEST]),
        "manifests": ANYTHING | st.lists(ANYTHING | POINTERS, max_size=4),
        "config": ANYTHING | POINTERS,
        "errors": ANYTHING,
    },
)


@settings(max_examples=300)
@given(
    document=ANYTHING | DOCUMENTS | st.binary(max_size=50), told=st.none() | st.text(max_size=80), created=st.booleans()
)
def test_any_document_is_described_or_refused_within_three_requests(
    document: object, told: str | None, created: bool
) -> None:
    shelf = Shelf(document, image(AMD), AMD, headers={} if told is None else {"Docker-Content-Digest": told})
    try:
        found = shelf.describe(created=created)
    except RegistryError:
        return
    finally:
        assert len(shelf.asked) <= 3
    assert found.digest == digest_of(shelf.tagged)
    assert found.created in {None, SEEN}
    assert all(platform == platform.lower() and platform.count("/") in {1, 2} for platform in found.platforms)


@settings(max_examples=200)
@given(config=ANYTHING | st.fixed_dictionaries(dict.fromkeys(("os", "architecture", "variant", "created"), ANYTHING)))
def test_any_configuration_is_described(config: object) -> None:
    found = Shelf(image(config), config).describe()
    assert found.created is None or found.created.tzinfo is UTC
    assert len(found.platforms) <= 1
