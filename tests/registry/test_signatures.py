"""Finding signatures in real registries, with and without the referrers API, and in one that is hostile or down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import Headers
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.cosign import (
    BUNDLE,
    SIMPLE,
    Claim,
    Signer,
    described,
    manifest_of,
    push_bundle,
    push_simple,
    simple_payload,
)  # fmt: skip
from tests.lab.registry import FLAVOURS, Flavour, Lab, open_registry
from tests.lab.scripted import Asked, Scripted, reply
from updater.demo.image import INDEX, MANIFEST, digest_of, push_manifest
from updater.errors import RegistryError
from updater.registry.client import LoginRefused, NotFound, Registry
from updater.registry.cosign import Keys, read_keys
from updater.registry.description import Part
from updater.registry.signatures import MAX_SIGNATURES, unsigned
from updater.transport.http import Answer, Http

OURS, OTHERS = Signer(), Signer()
KEYS = read_keys(OURS.pem, "file:cosign.pub")
FOREIGN = "its key did not sign it"


@pytest.fixture(params=FLAVOURS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    flavour: Flavour = request.param
    with open_registry(flavour, tmp_path) as opened:
        yield opened


def _unsigned(lab: Lab, digest: str, keys: Keys = KEYS) -> str:
    with Http() as http:
        return lab.client(http).unsigned("team/app", digest, keys)


def _short(lab: Lab) -> bool:
    """Whether the registry has no referrers API, as Debian's."""
    return lab.flavour != "embedded"


def test_what_is_signed_is_found_where_cosign_puts_it(lab: Lab) -> None:
    """In either way, of a manifest as of an index; nothing else that is in the repository counts."""
    both = ("linux/amd64", "linux/arm64")
    digests = [lab.push("team/app", [f"{n}"], payload=b"%d" % n, platforms=both[: 1 + n % 2]) for n in range(4)]
    for digest in digests:
        assert _unsigned(lab, digest) == f"{digest[:19]} is not signed"
    first, second, third, fourth = digests
    push_simple(lab.url, "team/app", first, OURS.simple(first))
    push_bundle(lab.url, "team/app", second, OURS.bundle(second), tag=_short(lab))
    push_simple(lab.url, "team/app", third, OTHERS.simple(third), OURS.simple(first))
    push_bundle(lab.url, "team/app", third, OTHERS.bundle(third), tag=_short(lab))
    assert [_unsigned(lab, digest) for digest in (first, second)] == ["", ""]
    assert _unsigned(lab, third) == (
        f"no good signature of {third[:19]} among the 3 that were looked at: it is that of another image; {FOREIGN}"
    )
    assert _unsigned(lab, fourth) == f"{fourth[:19]} is not signed"
    assert _unsigned(lab, third, read_keys(OTHERS.pem, "other")) == ""


def test_one_good_signature_among_others_is_enough(lab: Lab) -> None:
    digest = lab.push("team/app", ["1.0.0"])
    bad = [OTHERS.simple(digest), Claim(simple_payload(digest), None), replace(OURS.simple(digest), signature="%")]
    push_simple(lab.url, "team/app", digest, OURS.simple(digest), *bad)
    assert _unsigned(lab, digest) == ""
    provenance = OURS.bundle(digest, predicateType="https://slsa.dev/provenance/v1")
    other = lab.push("team/app", ["1.0.1"], payload=b"other")
    bundles = [provenance, OTHERS.bundle(other), OURS.bundle(other), b"[]"]
    push_bundle(lab.url, "team/app", other, *bundles, tag=_short(lab))
    assert _unsigned(lab, other) == ""


def test_an_attestation_is_no_signature_and_is_not_even_read(lab: Lab) -> None:
    digest = lab.push("team/app", ["1.0.0"])
    slsa = "https://slsa.dev/provenance/v1"
    push_bundle(lab.url, "team/app", digest, OURS.bundle(digest), predicate=slsa, tag=_short(lab))
    assert _unsigned(lab, digest) == f"{digest[:19]} is not signed"


def test_simple_signing_may_be_a_referrer_too(tmp_path: Path) -> None:
    with open_registry("embedded", tmp_path) as lab:
        digest = lab.push("team/app", ["1.0.0"])
        claim, subject = OURS.simple(digest), {"mediaType": MANIFEST, "digest": digest, "size": 2}
        config = described("application/vnd.dev.cosign.artifact.sig.v1+json", b"{}")
        manifest = manifest_of([claim.layer], config=config, subject=subject)
        push_manifest(lab.url, "team/app", digest_of(manifest), manifest, [b"{}", claim.payload])
        assert _unsigned(lab, digest) == ""


DIGEST = f"sha256:{'a' * 64}"
SIG = f"manifests/sha256-{'a' * 64}.sig"
REFERRERS, FALLBACK = f"referrers/{DIGEST}", f"manifests/sha256-{'a' * 64}"
Answers = Mapping[str, bytes | tuple[int, bytes, str]]


def _asked(answers: Answers, digest: str = DIGEST) -> tuple[str, list[str]]:
    """Return the answer to who signed a digest at a registry that answers so by path, and what it was asked."""

    def script(asked: Asked) -> bytes:
        found = answers.get(asked.target.removeprefix("/v2/team/app/"), (404, b"{}", "application/json"))
        status, body, kind = found if isinstance(found, tuple) else (200, found, INDEX)
        return reply(status, body, ("Content-Type", kind))

    with Scripted(script) as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True, sleep=lambda _: None)
        why = registry.unsigned("team/app", digest, KEYS)
        return why, [one.path.removeprefix("/v2/team/app/") for one in server.requests]


def _blob(content: bytes) -> str:
    return f"blobs/{digest_of(content)}"


def _index(*entries: Mapping[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def _entry(manifest: bytes, **fields: object) -> dict[str, object]:
    return described(MANIFEST, manifest) | {"artifactType": BUNDLE} | fields


CLAIM = OURS.simple(DIGEST)
SIGNED = OURS.bundle(DIGEST)
HOLDER = manifest_of([described(BUNDLE, SIGNED)], artifactType=BUNDLE)
HELD: dict[str, bytes] = {f"manifests/{digest_of(HOLDER)}": HOLDER, _blob(SIGNED): SIGNED}


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_a_registry_without_the_referrers_api_says_so_in_many_ways(status: int) -> None:
    none: Answers = {REFERRERS: (status, b"no", "text/plain"), FALLBACK: _index(_entry(HOLDER)), **HELD}
    why, asked = _asked(none)
    assert (why, asked[:3]) == ("", [SIG, REFERRERS, FALLBACK])


def test_an_answer_that_is_no_index_is_none() -> None:
    """A page for people, where the API is not known."""
    html = (200, b"<html>", "text/html; charset=utf-8")
    assert _asked({REFERRERS: html, FALLBACK: _index(_entry(HOLDER)), **HELD})[0] == ""


def test_a_list_of_referrers_may_have_pages() -> None:
    """They are followed a few times, and only at the same place."""
    first, kind = _index(), ("Content-Type", INDEX)
    pages = {f"/v2/team/app/{REFERRERS}": reply(200, first, kind, ("Link", '</more?n=1>; rel="next"')),
             "/more?n=1": reply(200, _index(_entry(HOLDER)), kind, ("Link", '</more?n=1>; rel="next"'))}  # fmt: skip

    def script(asked: Asked) -> bytes:
        body = HELD.get(asked.target.removeprefix("/v2/team/app/"))
        return pages.get(asked.target) or (reply(200, body) if body else reply(404))

    with Scripted(script) as server, Http() as http:
        assert Registry(server.host, http=http, insecure=True).unsigned("team/app", DIGEST, KEYS) == ""


FAILURES: list[tuple[str, Answers, str]] = [
    ("the tag answers 500", {SIG: (500, b"", "text/plain")}, "answered 500"),
    ("the list answers 429", {REFERRERS: (429, b"", "text/plain")}, "answered 429"),
    ("the list is denied", {REFERRERS: (403, b"", "text/plain")}, "refused access"),
    ("the other tag is denied", {FALLBACK: (401, b"", "text/plain")}, "refused access"),
    ("the tag is a page for people", {SIG: b"<html>"}, "is not JSON; is there a login page or proxy in between?"),
    ("a payload answers 502", {SIG: manifest_of([CLAIM.layer]), _blob(CLAIM.payload): (502, b"", "")}, "answered 502"),
    ("a manifest is denied", {REFERRERS: _index(_entry(HOLDER)), f"manifests/{digest_of(HOLDER)}": (403, b"", "")},
     "refused access"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "why"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_a_registry_that_fails_while_asked_says_nothing_about_signatures(answers: Answers, why: str) -> None:
    with pytest.raises(RegistryError, match=why) as said:
        _asked(answers)
    assert isinstance(said.value, LoginRefused) == (why == "refused access")


def _layer(**changed: object) -> bytes:
    return manifest_of([dict(CLAIM.layer) | changed])


PAYLOAD = {_blob(CLAIM.payload): CLAIM.payload}
NONE = f"{DIGEST[:19]} is not signed"
DEEP = b'{"layers":' * 50_000
HOSTILE: list[tuple[str, Answers, str]] = [
    ("a payload that is missing", {SIG: _layer()}, "its payload is missing"),
    ("a payload of another digest", {SIG: _layer(), _blob(CLAIM.payload): b"other"}, "its payload has another digest"),
    ("a payload that says to be large", {SIG: _layer(size=1 << 40), **PAYLOAD}, "it is larger than 64 KiB"),
    ("a size that is none", {SIG: _layer(size="7"), **PAYLOAD}, "it is larger than 64 KiB"),
    ("a digest that is none", {SIG: _layer(digest="../../secret"), **PAYLOAD}, "its payload is missing"),
    ("annotations that are none", {SIG: _layer(annotations=[7]), **PAYLOAD}, "its signature is not in base64"),
    ("layers of other kinds", {SIG: _layer(mediaType="text/plain")}, NONE),
    ("kinds that are none", {SIG: _layer(mediaType=[SIMPLE])}, NONE),
    ("layers that are none", {SIG: b'{"layers": [1, null, []]}'}, NONE),
    ("a manifest that is none", {SIG: b"[]"}, NONE),
    ("a manifest without end", {SIG: DEEP}, NONE),
    ("referrers that are none", {REFERRERS: b'{"manifests": {"a": 1}}'}, NONE),
    ("a referrer that is missing", {REFERRERS: _index(_entry(b"{}"))}, "its manifest is missing"),
    ("a referrer without a digest", {REFERRERS: _index(_entry(b"{}", digest="a/b"))}, "its manifest is missing"),
    ("a referrer of another digest", {REFERRERS: _index(_entry(b"{}")), f"manifests/{digest_of(b'{}')}": HOLDER},
     "its manifest is missing"),
    ("a referrer of another kind", {REFERRERS: _index(_entry(HOLDER, artifactType="text/plain")), **HELD}, NONE),
    ("a referrer's kind that is none", {REFERRERS: _index(_entry(b"{}", artifactType={"a": 1}))}, "its manifest is m"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "why"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_is_broken_is_no_signature_and_no_failure(answers: Answers, why: str) -> None:
    said = _asked(answers)[0]
    assert said.partition("looked at: ")[2].startswith(why) or said == why, said


def test_ten_thousand_signatures_cost_no_more_than_a_few() -> None:
    """The newest of each place are looked at; the good one before them is as good as gone."""
    many = [Claim(CLAIM.payload, CLAIM.signature), *[OTHERS.simple(DIGEST)] * 10_000]
    entries = [_entry(b"%d" % n) for n in range(10_000)]
    sig = manifest_of(claim.layer for claim in many)
    why, asked = _asked({SIG: sig, REFERRERS: _index(*entries), **PAYLOAD})
    assert why.startswith(f"no good signature of {DIGEST[:19]} among the {2 * MAX_SIGNATURES} that were looked at: ")
    assert len(asked) == 3 + MAX_SIGNATURES  # one payload for all, and a manifest for each of the others
    assert asked[-1] == f"manifests/{digest_of(b'9968')}"


def test_what_is_annotated_as_a_signature_comes_first() -> None:
    """Registries list referrers in any order, and one without annotations may be anything."""
    annotations = {"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}
    entries = [_entry(HOLDER, annotations=annotations), *(_entry(b"%d" % n) for n in range(100))]
    why, asked = _asked({REFERRERS: _index(*entries), **HELD})
    assert (why, len(asked)) == ("", 4)


def test_one_deadline_holds_for_all_that_is_asked() -> None:
    """A server that lets the second answer wait for ever does not get its time for each request anew."""

    def script(asked: Asked) -> bytes:
        if asked.path.endswith(REFERRERS):
            server.stopped.wait(30)
        return reply(404)

    with Scripted(script) as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True, scan_seconds=0.3)
        with pytest.raises(RegistryError):
            registry.unsigned("team/app", DIGEST, KEYS)
        assert [one.path.rpartition("team/app/")[2] for one in server.requests] == [SIG, REFERRERS]


DESCRIPTOR = st.fixed_dictionaries({}, optional={
    "mediaType": st.sampled_from([SIMPLE, BUNDLE, MANIFEST, "", []]),
    "artifactType": st.sampled_from([BUNDLE, "text/plain", None, 7]),
    "digest": st.sampled_from([digest_of(b"{}"), digest_of(SIGNED), digest_of(HOLDER), "sha256:x", "", None, {}]),
    "size": st.sampled_from([0, 2, -1, 1 << 70, True, "2", None, 1e300]),
    "annotations": st.sampled_from([{"dev.cosignproject.cosign/signature": "AAAA"}, {}, [], None, "x"]),
})  # fmt: skip
DOCUMENT = st.dictionaries(
    st.sampled_from(["layers", "manifests", "subject"]), st.lists(DESCRIPTOR | st.integers(), max_size=4) | st.text()
) | st.lists(st.integers(), max_size=2)


@given(DOCUMENT, DOCUMENT, DOCUMENT, st.binary(max_size=8), st.booleans())
def test_whatever_a_registry_says_is_an_answer_or_its_failure(
    sig: object, index: object, manifest: object, blob: bytes, listed: bool
) -> None:
    """And no answer is that it is signed, as nothing that it has is."""

    def answer(content: object) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return Answer(200, Headers(), body, "http://r.example.com/")

    def fetch(part: Part, at: str) -> Answer:
        return answer(blob if part == "blobs" else sig if at.endswith(".sig") else index if "-" in at else manifest)

    def referrers(_digest: str) -> Iterator[Answer]:
        if not listed:
            raise NotFound("no such list")
        yield answer(index)

    assert unsigned(fetch, referrers, DIGEST, KEYS)
