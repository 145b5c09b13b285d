"""Judging what was signed, without any registry: only this key, only this digest, only a signature."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.cosign import Signer, simple_payload
from updater.errors import UpdaterError
from updater.registry.cosign import MAX_KEYS, Keys, KeyUnusable, bundle, read_keys, simple_signing

OURS, OTHERS = Signer(), Signer()
DIGEST, ANOTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
LONG = f"sha512:{'c' * 128}"
KEYS = read_keys(OURS.pem, "file:cosign.pub")
FOREIGN = "its key did not sign it"
GOOD = OURS.simple(DIGEST)

SIMPLE = [
    ("as cosign signs it", GOOD.payload, GOOD.signature, ""),
    ("with claims of its own", (own := GOOD.payload.replace(b"null", b'{"team": "a"}')), OURS.sign(own), ""),
    ("another key", GOOD.payload, OTHERS.sign(GOOD.payload), FOREIGN),
    ("altered afterwards", GOOD.payload.replace(b"whatever", b"forgotten"), GOOD.signature, FOREIGN),
    ("of another image", simple_payload(ANOTHER), OURS.simple(ANOTHER).signature, "it is that of another image"),
    ("of another kind", *vars(OURS.simple(DIGEST, kind="atomic container signature")).values(), "what was signed *"),
    ("no JSON", b"{", OURS.sign(b"{"), "what was signed is no *"),
    ("nested JSON", b"[" * 100_000, OURS.sign(b"[" * 100_000), "what was signed is no *"),
    ("a long number", b"9" * 9_000, OURS.sign(b"9" * 9_000), "what was signed is no *"),
    ("JSON of other shapes", b'{"critical": {"image": [], "type": {}}}', None, "its signature is not in base64"),
    ("junk", GOOD.payload, "%%%", "its signature is not in base64"),
    ("not ASCII", GOOD.payload, "ü" * 8, "its signature is not in base64"),
    ("base64 of junk", GOOD.payload, b64encode(b"junk").decode(), FOREIGN),
    ("nothing", GOOD.payload, "", "its signature is not in base64"),
    ("endless", GOOD.payload, "A" * 2_000, "its signature is not in base64"),
    ("no text", GOOD.payload, [GOOD.signature], "its signature is not in base64"),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "signature", "why"), [row[1:] for row in SIMPLE], ids=[row[0] for row in SIMPLE])
def test_simple_signing(payload: bytes, signature: object, why: str) -> None:
    _like(simple_signing(payload, signature, DIGEST, KEYS), why)


def _bundled(**changed: object) -> bytes:
    return json.dumps(json.loads(OURS.bundle(DIGEST)) | changed).encode()


def _enveloped(**changed: object) -> bytes:
    return _bundled(dsseEnvelope=json.loads(OURS.bundle(DIGEST))["dsseEnvelope"] | changed)


_OTHER = json.loads(OURS.bundle(ANOTHER))["dsseEnvelope"]
_SIG = json.loads(OURS.bundle(DIGEST))["dsseEnvelope"]["signatures"][0]

BUNDLES = [
    ("as cosign signs it", OURS.bundle(DIGEST), ""),
    ("an older statement", OURS.bundle(DIGEST, _type="https://in-toto.io/Statement/v0.1"), ""),
    ("one of several signers", _enveloped(signatures=[{"sig": OTHERS.sign(b"x")}, "?", {}, _SIG]), ""),
    ("another key", OTHERS.bundle(DIGEST), FOREIGN),
    ("another statement", _enveloped(payload=_OTHER["payload"]), FOREIGN),
    ("another type of payload", OURS.envelope(b"{}", "text/plain"), "its bundle holds no in-toto statement"),
    ("the type changed afterwards", _enveloped(payloadType="text/plain"), "its bundle holds no in-toto statement"),
    ("a payload without its envelope", _enveloped(signatures=[{"sig": OURS.sign(b"{}")}]), FOREIGN),
    ("of another image", OURS.bundle(ANOTHER), "it is that of another image"),
    ("of no image", OURS.bundle(DIGEST, subject=[]), "it is that of another image"),
    ("subjects of other shapes", OURS.bundle(DIGEST, subject=[1, {"digest": 2}]), "it is that of another image"),
    (
        "by another algorithm",
        OURS.bundle(DIGEST, subject=[{"digest": {"sha512": "a" * 64}}]),
        "it is that of another *",
    ),
    ("provenance", OURS.bundle(DIGEST, predicateType="https://slsa.dev/provenance/v1"), "what was signed is an att*"),
    ("no statement", OURS.bundle(DIGEST, _type="note"), "what was signed is no in-toto statement"),
    ("nested", OURS.envelope(b"[" * 100_000), "what was signed is no in-toto statement"),
    ("keyless", _bundled(verificationMaterial={"certificate": {"rawBytes": ""}}), "it was not made with a key"),
    ("no signature", _enveloped(signatures=[]), "its envelope has no signature"),
    ("junk inside", _enveloped(payload="%%"), "its bundle holds no in-toto statement"),
    ("no envelope", _bundled(dsseEnvelope=[]), "its bundle holds no in-toto statement"),
    ("a list", b"[]", "its bundle is not a JSON object"),
    ("no JSON", b"\xff", "its bundle is not a JSON object"),
    ("nested JSON", b'{"a":' * 100_000, "its bundle is not a JSON object"),
]


@pytest.mark.parametrize(("content", "why"), [row[1:] for row in BUNDLES], ids=[row[0] for row in BUNDLES])
def test_bundles(content: bytes, why: str) -> None:
    _like(bundle(content, DIGEST, KEYS), why)


def _like(said: str, wanted: str) -> None:
    assert said.startswith(wanted[:-1]) if wanted.endswith("*") else said == wanted, said


def test_a_digest_of_sha512_is_signed_as_well() -> None:
    assert bundle(OURS.bundle(LONG), LONG, KEYS) == ""
    claim = OURS.simple(LONG)
    assert simple_signing(claim.payload, claim.signature, LONG, KEYS) == ""


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(b64encode(b"{}").decode()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["verificationMaterial", "publicKey", "dsseEnvelope", "payload", "payloadType", "signatures",
                         "sig", "critical", "image", "type", "subject", "digest"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JUNK | st.binary(max_size=64), st.text(max_size=16) | JUNK)
def test_nothing_that_others_write_passes_or_breaks_it(content: object, signature: object) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    assert bundle(raw, DIGEST, KEYS)
    assert simple_signing(raw, signature, DIGEST, KEYS)
    assert simple_signing(raw, OURS.sign(raw), DIGEST, KEYS)  # what our own key signs by mistake
    assert bundle(OURS.envelope(raw), DIGEST, KEYS)


def test_any_key_of_a_file_may_have_signed() -> None:
    """Both are there while one takes over from the other."""
    both = read_keys(f"the old one\n{OTHERS.pem}\nthe new one\r\n{OURS.pem}", "file:cosign.pub")
    for signer in (OURS, OTHERS):
        assert bundle(signer.bundle(DIGEST), DIGEST, both) == ""
    assert both.fingerprint == read_keys(OURS.pem + OTHERS.pem, "again").fingerprint != KEYS.fingerprint


def _public(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


PRIVATE = OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
UNUSABLE = [
    ("nothing", "", "no block of PEM"),
    ("no PEM", "c2VjcmV0", "no block of PEM"),
    ("a private key", PRIVATE, "a block PRIVATE KEY; expected PUBLIC KEY, as in cosign.pub"),
    (
        "cosign's private key",
        PRIVATE.replace("PRIVATE", "ENCRYPTED SIGSTORE PRIVATE"),
        "a block ENCRYPTED SIGSTORE PRI*",
    ),
    ("broken inside", OURS.pem.replace("MFkw", "MFkx"), "its PEM cannot be read"),
    ("RSA", _public(rsa.generate_private_key(65537, 2048)), "RSAPublicKey; expected an ECDSA key of P-256"),
    ("Ed25519", _public(ed25519.Ed25519PrivateKey.generate()), "Ed25519PublicKey; expected"),
    ("P-384", _public(ec.generate_private_key(ec.SECP384R1())), "secp384r1; expected an ECDSA key of P-256"),
    ("too many", OURS.pem * (MAX_KEYS + 1), "17 blocks of PEM; expected 1 to 16 public keys"),
    ("one of two", OURS.pem + PRIVATE, "a block PRIVATE KEY"),
]


@pytest.mark.parametrize(("pem", "why"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_a_key_that_cannot_be_used_says_why_and_shows_nothing_of_itself(pem: str, why: str) -> None:
    with pytest.raises(KeyUnusable) as said:
        read_keys(pem, "file:cosign.pub")
    assert str(said.value).startswith(f"key file:cosign.pub: {why.removesuffix('*')}")
    assert not any(line in str(said.value) for line in pem.splitlines() if len(line) > 40)


@given(
    st.text(max_size=200) | st.text(max_size=99).map(lambda t: f"-----BEGIN PUBLIC KEY-----{t}-----END PUBLIC KEY-----")
)
def test_keys_that_are_none_are_refused_in_words(pem: str) -> None:
    try:
        found = read_keys(pem, "env:KEY")
    except UpdaterError:
        return
    assert isinstance(found, Keys)
