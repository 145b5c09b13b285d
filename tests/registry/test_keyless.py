"""Judging what was signed without a key: only this identity, only these authorities, only this digest."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.cosign import Signer as KeySigner
from tests.lab.cosign import push_bundle, push_simple, statement_of
from tests.lab.registry import open_registry
from tests.lab.sigstore import IDENTITY, ISSUER, MINUTE, SIGNED_AT, Clock, Json, Sigstore, sign_with_clock
from updater.errors import UpdaterError
from updater.model.check import Signer
from updater.registry.cosign import KeyUnusable
from updater.registry.keyless import MAX_BUNDLE, Keyless, read_signer
from updater.secrets import SecretError, SecretRef, redact
from updater.transport.http import Http

DIGEST, ANOTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
OURS, OTHERS = Sigstore(), Sigstore()
GOOD = OURS.sign(DIGEST)
MAIL = "release@acme.example.com"
PATTERN = r"https://github\.com/acme/api/\.github/workflows/release\.yml@refs/tags/v.+"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SecretRef:
    return SecretRef(f"file:{OURS.write(tmp_path_factory.mktemp('root'))}")


@pytest.fixture(scope="module")
def ours(root: SecretRef) -> Keyless:
    return read_signer(Signer(IDENTITY, ISSUER, trust_root=root))


def _raw(bundle: object) -> bytes:
    return json.dumps(bundle).encode()


def _entry(bundle: Json) -> Any:
    return bundle["verificationMaterial"]["tlogEntries"][0]


def _changed(change: Callable[[Json], object]) -> bytes:
    bundle = deepcopy(GOOD)
    change(bundle)
    return _raw(bundle)


def _flip(holder: Any, key: str) -> None:
    """Change one bit in the middle of what stands there in base64."""
    raw = bytearray(b64decode(holder[key]))
    raw[len(raw) // 2] ^= 1
    holder[key] = b64encode(raw).decode()


def _move(bundle: Json, **fields: object) -> None:
    _entry(bundle).update(fields)


def _again(bundle: Json) -> None:
    bundle["verificationMaterial"]["tlogEntries"] *= 2


_PROVENANCE = "https://slsa.dev/provenance/v1"
_NOT_GOOD = "its bundle is not good: *"
_OTHER_DSSE = OURS.sign(ANOTHER)["dsseEnvelope"]
_LATE, _EARLY = SIGNED_AT + 30 * MINUTE, SIGNED_AT - 30 * MINUTE

CASES: list[tuple[str, bytes, str]] = [
    ("as cosign signs it", _raw(GOOD), ""),
    ("with the older issuer alone", _raw(OURS.sign(DIGEST, oids=(1,))), ""),
    ("with the newer issuer alone", _raw(OURS.sign(DIGEST, oids=(8,))), ""),
    ("another identity", _raw(OURS.sign(DIGEST, identity=IDENTITY.replace("acme", "evil"))),
     f"it was signed by {IDENTITY.replace('acme', 'evil')}, expected {IDENTITY}"),
    ("another identity that begins alike", _raw(OURS.sign(DIGEST, identity=f"{IDENTITY}-evil")), "it was signed by *"),
    ("a person", _raw(OURS.sign(DIGEST, identity=MAIL)), f"it was signed by {MAIL}, expected {IDENTITY}"),
    ("another issuer", _raw(OURS.sign(DIGEST, issuer="https://evil.example.com")),
     f"its signer was vouched for by https://evil.example.com, expected {ISSUER}"),
    ("no issuer", _raw(OURS.sign(DIGEST, oids=())), "its signer was vouched for by nobody, *"),
    ("another image", _raw(OURS.sign(ANOTHER)), "it is that of another image"),
    ("no image", _raw(OURS.sign(DIGEST, subject=[])), "it is that of another image"),
    ("provenance", _raw(OURS.sign(DIGEST, predicateType=_PROVENANCE)), "what was signed is an attestation, *"),
    ("no statement", _raw(OURS.envelope(b"{}")), "what was signed is no in-toto statement"),
    ("another type of payload", _raw(OURS.envelope(statement_of(DIGEST), "text/plain")), "its bundle holds no *"),
    ("another authority", _raw(OTHERS.sign(DIGEST)), _NOT_GOOD),
    ("a log of others", _raw(OURS.sign(DIGEST, log=OTHERS.signatures)), _NOT_GOOD),
    ("a certificate that had ended", _raw(OURS.sign(DIGEST, logged_at=_LATE)), _NOT_GOOD),
    ("a certificate that had not begun", _raw(OURS.sign(DIGEST, logged_at=_EARLY)), _NOT_GOOD),
    ("an altered payload", _changed(lambda b: _flip(b["dsseEnvelope"], "payload")), _NOT_GOOD),
    ("another envelope", _changed(lambda b: b.update(dsseEnvelope=_OTHER_DSSE)), _NOT_GOOD),
    ("an altered signature", _changed(lambda b: _flip(b["dsseEnvelope"]["signatures"][0], "sig")), _NOT_GOOD),
    ("an altered entry", _changed(lambda b: _flip(_entry(b), "canonicalizedBody")), _NOT_GOOD),
    ("an altered proof", _changed(lambda b: _flip(_entry(b)["inclusionProof"]["hashes"], 0)), _NOT_GOOD),  # type: ignore[arg-type]
    ("another place in the log", _changed(lambda b: _entry(b)["inclusionProof"].update(logIndex="0")), _NOT_GOOD),
    ("another time", _changed(lambda b: _move(b, integratedTime=str(int(SIGNED_AT.timestamp()) + 1))), _NOT_GOOD),
    ("no word of the time", _changed(lambda b: _entry(b).pop("inclusionPromise")), _NOT_GOOD),
    ("no head of the log", _changed(lambda b: _entry(b)["inclusionProof"].pop("checkpoint")), _NOT_GOOD),
    ("the entry of another signature", _changed(lambda b: _move(b, **_entry(OURS.sign(DIGEST)))), _NOT_GOOD),
    ("no entry", _changed(lambda b: b["verificationMaterial"].update(tlogEntries=[])), _NOT_GOOD),
    ("two entries", _changed(_again), _NOT_GOOD),
    ("a certificate that is none", _changed(lambda b: b["verificationMaterial"]["certificate"].update(rawBytes="AAAA")),
     "its bundle cannot be read: *"),
    ("a key", KeySigner().bundle(DIGEST), "it was made with a key"),
    ("no envelope", _raw({"mediaType": GOOD["mediaType"], "messageSignature": {}}), "its bundle holds no in-toto *"),
    ("a list", b"[]", "its bundle is not a JSON object"),
    ("no JSON", b"\xff", "its bundle is not a JSON object"),
    ("nested JSON", b'{"a":' * 20_000, "its bundle is not a JSON object"),
    ("a large one", _raw(GOOD) + b" " * MAX_BUNDLE, "it is larger than 128 KiB"),
    ("nested inside", _raw(GOOD)[:-1] + b', "a": ' + b"[" * 900 + b"]" * 900 + b"}", _NOT_GOOD),
]  # fmt: skip


@pytest.mark.parametrize(("content", "why"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_bundles(ours: Keyless, content: bytes, why: str) -> None:
    said = ours.bundle(content, DIGEST)
    assert said.startswith(why[:-1]) if why.endswith("*") else said == why, said


PATTERNS = [
    (PATTERN, IDENTITY, True),
    ("https://github.com/acme/", IDENTITY, False),  # all of it must match: what follows could be anything
    (r".*@acme\.example\.com", MAIL, True),
    (r".*@acme\.example\.com", f"{MAIL}.evil.example.com", False),
    (r".*@acme\.example\.com", IDENTITY, False),
]


@pytest.mark.parametrize(("pattern", "identity", "good"), PATTERNS)
def test_an_expression_must_match_the_whole_identity(
    root: SecretRef, pattern: str, identity: str, *, good: bool
) -> None:
    signer = read_signer(Signer(pattern, ISSUER, pattern=True, trust_root=root))
    said = signer.bundle(_raw(OURS.sign(DIGEST, identity=identity)), DIGEST)
    assert said == ("" if good else f"it was signed by {identity}, expected a match of {pattern}")


def test_newer_logs_tell_no_time_and_a_clock_does(tmp_path: Path) -> None:
    """What counts is the time of the stamp: a certificate that had ended by then signs nothing."""
    sigstore, clock = Sigstore(), Clock(tmp_path)
    sigstore.trust_root["timestampAuthorities"] = [clock.start()]
    signer = Signer(IDENTITY, ISSUER, trust_root=SecretRef(f"file:{sigstore.write(tmp_path)}"))
    good = sign_with_clock(sigstore, clock, DIGEST, at=clock.now() - MINUTE)
    assert read_signer(signer).bundle(_raw(good), DIGEST) == ""
    late = sign_with_clock(sigstore, clock, DIGEST, at=clock.now() - 20 * MINUTE)
    assert "not valid at validation time" in read_signer(signer).bundle(_raw(late), DIGEST)
    late["verificationMaterial"]["timestampVerificationData"] = good["verificationMaterial"][
        "timestampVerificationData"
    ]
    assert "not enough sources of verified time" in read_signer(signer).bundle(_raw(late), DIGEST)
    (other := tmp_path / "other").mkdir()
    sigstore.trust_root["timestampAuthorities"] = [Clock(other).start()]
    sigstore.write(tmp_path)
    assert "not enough sources of verified time" in read_signer(signer).bundle(_raw(good), DIGEST)


def test_what_is_signed_is_found_in_a_registry(tmp_path: Path, ours: Keyless) -> None:
    """And what cosign 2 has signed without a key is refused in plain words."""
    with open_registry("embedded", tmp_path) as lab, Http() as http:
        digests = [lab.push("team/app", [f"{n}"], payload=b"%d" % n) for n in range(2)]
        push_bundle(
            lab.url, "team/app", digests[0], _raw(OTHERS.sign(digests[0])), _raw(OURS.sign(digests[0])), tag=False
        )
        push_simple(lab.url, "team/app", digests[1], KeySigner().simple(digests[1]))
        client = lab.client(http)
        assert client.unsigned("team/app", digests[0], ours) == ""
        assert "cosign 2 signs without a key, which is not supported" in client.unsigned("team/app", digests[1], ours)


ALONE = """
import os, sys

def watch(event, args):
    written = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if written or event.startswith(("socket.", "subprocess.", "os.mkdir", "os.rename", "os.posix_spawn", "os.fork")):
        print("seen", event, args)

import updater.pipeline.checks
assert not {"sigstore", "urllib3"} & sys.modules.keys()
import urllib3  # asks the machine once whether it has an address of its own in IPv6
sys.addaudithook(watch)
from updater.model.check import Signer
from updater.registry.keyless import read_signer
from updater.secrets import SecretRef

identity, issuer, digest = sys.argv[1:]
with open("bundle", "rb") as file:
    content = file.read()
for root in (None, SecretRef("file:trusted_root.json")):
    print(read_signer(Signer(identity, issuer, trust_root=root)).bundle(content, digest) or "good")
"""


def test_no_socket_is_opened_and_no_file_written(tmp_path: Path) -> None:
    """Neither by the public instance's trust root, which comes with the library, nor by one of one's own."""
    (tmp_path / "bundle").write_bytes(_raw(GOOD))
    OURS.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-B", "-c", ALONE, IDENTITY, ISSUER, DIGEST],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
    )
    public, own = done.stdout.splitlines()
    assert public.startswith("its bundle is not good: ")
    assert (own, done.stderr) == ("good", "")
    assert not (tmp_path / "home").exists()


def _without(*names: str) -> str:
    return json.dumps(OURS.trust_root | {name: [] for name in names})


ROOTS = [
    ("no JSON", "{", "Invalid JSON"),
    ("another document", "{}", "mediaType"),
    ("a list", "[]", "expected a trusted_root.json of Sigstore"),
    ("nested", '{"tlogs":' * 50_000, "expected a trusted_root.json of Sigstore"),
    ("a new format", json.dumps(OURS.trust_root | {"mediaType": "v9"}), "mediaType"),
    ("no authority", _without("certificateAuthorities"), "it names no certificate_authorities"),
    ("no log of certificates", _without("ctlogs"), "it names no ctlogs"),
    ("no log of signatures", _without("tlogs"), "it names no tlogs"),
    ("a certificate that is none", json.dumps(OURS.trust_root).replace('"MII', '"AAA'), "expected a trusted_root.json"),
    ("keys instead", KeySigner().pem, "Invalid JSON"),
]


@pytest.mark.parametrize(("content", "why"), [row[1:] for row in ROOTS], ids=[row[0] for row in ROOTS])
def test_a_trust_root_that_cannot_be_used_says_why(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "root.json").write_text(content)
    reference = f"file:{tmp_path}/root.json"
    with pytest.raises(KeyUnusable) as said:
        read_signer(Signer(IDENTITY, ISSUER, trust_root=SecretRef(reference)))
    assert str(said.value).startswith(f"trust root {reference}: ")
    assert why in str(said.value)
    assert len(str(said.value)) < 500


@pytest.mark.parametrize(("size", "why"), [(None, "cannot be read"), (0, "is empty"), ((1 << 20) + 1, "larger than")])
def test_a_trust_root_is_a_file_of_bounded_size(tmp_path: Path, size: int | None, why: str) -> None:
    if size is not None:
        (tmp_path / "root.json").write_bytes(b" " * size)
    with pytest.raises(SecretError, match=why):
        read_signer(Signer(IDENTITY, ISSUER, trust_root=SecretRef(f"file:{tmp_path}/root.json")))


def test_a_trust_root_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """What was vouched for by the old one is told apart; and it is no secret, so nothing of it is blanked."""
    signer = Signer(IDENTITY, ISSUER, trust_root=SecretRef(f"file:{OTHERS.write(tmp_path)}"))
    before = read_signer(signer)
    assert before.bundle(_raw(GOOD), DIGEST).startswith("its bundle is not good: ")
    OURS.write(tmp_path)
    after = read_signer(signer)
    assert after.bundle(_raw(GOOD), DIGEST) == ""
    assert before.fingerprint != after.fingerprint == read_signer(signer).fingerprint
    text = json.dumps(OURS.trust_root)
    assert redact(text) == text


def test_signers_are_told_apart(root: SecretRef) -> None:
    """Else what one has signed would count for the other."""
    signers = [Signer("a", "b"), Signer("a", "b", pattern=True), Signer("a", "c"), Signer("c", "b"),
               Signer("a", "b", trust_root=root)]  # fmt: skip
    assert len({read_signer(signer).fingerprint for signer in signers}) == len(signers)


WORDS = st.sampled_from(
    ["AA==", "", "0", "1", "99999999999999999999", "-1", "\u2014 a b\n", "a\n2\nAA==\n\n\u2014 a AAAAAAA=\n"]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _places(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in _places(one, (*at, key)))]


STAMPS = "timestampVerificationData"
STAMPED = deepcopy(GOOD)
STAMPED["verificationMaterial"][STAMPS] = {"rfc3161Timestamps": [{"signedTimestamp": "MIIB"}]}


@given(st.sampled_from(_places(STAMPED)[1:]), JUNK)
def test_any_part_of_a_bundle_may_be_junk(ours: Keyless, place: tuple[str | int, ...], junk: object) -> None:
    """It is an answer in few words, and never that it is signed; but stamps may go, as the log has signed a time."""
    bundle: Any = deepcopy(STAMPED)
    holder = bundle
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    said = ours.bundle(_raw(bundle), DIGEST)
    stamps = STAMPS in place and bundle["verificationMaterial"].get(STAMPS)
    assert said or (STAMPS in place and not (stamps or {}).get("rfc3161Timestamps"))
    _in_few_words(said)


BINARY = [place for place in _places(GOOD) if place and place[-1] in
          {"rawBytes", "keyId", "canonicalizedBody", "signedEntryTimestamp", "rootHash", "payload", "sig"}]  # fmt: skip


@given(st.sampled_from(BINARY), st.integers(0, 1 << 16), st.integers(0, 255), st.integers(0, 2))
def test_any_byte_of_a_bundle_may_be_another(
    ours: Keyless, place: tuple[str | int, ...], at: int, byte: int, cut: int
) -> None:
    bundle: Any = deepcopy(GOOD)
    holder = bundle
    for key in place[:-1]:
        holder = holder[key]
    raw = bytearray(b64decode(holder[place[-1]]))
    raw[at % len(raw)] ^= byte or 1
    holder[place[-1]] = b64encode(raw[: len(raw) - cut]).decode()
    _answered(ours, _raw(bundle))


@given(st.binary(max_size=64) | JUNK.map(_raw))
def test_junk_is_no_bundle(ours: Keyless, content: bytes) -> None:
    _answered(ours, content)


def _answered(ours: Keyless, content: bytes) -> None:
    said = ours.bundle(content, DIGEST)
    assert said
    _in_few_words(said)


def _in_few_words(said: str) -> None:
    assert said.isprintable()
    assert len(said) < 500


def _head(signatures: str) -> Callable[[Json], object]:
    note = "a\n2\nAA==\n\n" + signatures + "\n"
    return lambda bundle: _entry(bundle)["inclusionProof"].update(checkpoint={"envelope": note})


def _stamped(bundle: Json) -> None:
    stamps = [{"signedTimestamp": "MAA="}] * (ROOM // 30)
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}


ROOM = MAX_BUNDLE - len(_raw(GOOD)) - 200
HUGE: list[tuple[str, Callable[[Json], object]]] = [
    ("entries", lambda b: b["verificationMaterial"].update(tlogEntries=[_entry(b)] * (ROOM // 4000))),
    ("hashes", lambda b: _entry(b)["inclusionProof"].update(hashes=["AA=="] * (ROOM // 8))),
    ("heads", _head("\u2014 a AAAAAAA=\n" * (ROOM // 20))),
    ("dashes", _head("\u2014 " * (ROOM // 7))),
    ("a long name", _head("\u2014 " + "a" * ROOM)),
    ("stamps", _stamped),
    ("signatures", lambda b: b["dsseEnvelope"].update(signatures=[{"sig": "AA=="}] * (ROOM // 17))),
    ("a long number", lambda b: _move(b, logIndex="9" * ROOM)),
    ("keys", lambda b: b.update({f"{n:08}": 1 for n in range(ROOM // 15)})),
]


@pytest.mark.parametrize("fill", [row[1] for row in HUGE], ids=[row[0] for row in HUGE])
def test_the_largest_bundle_costs_little(ours: Keyless, fill: Callable[[Json], object]) -> None:
    """No more time of the processor than some dozens of good ones: of one image, 32 are read."""
    content = _changed(fill)
    assert MAX_BUNDLE // 2 < len(content) <= MAX_BUNDLE
    good, before = _raw(GOOD), time.thread_time()
    for _ in range(20):
        ours.bundle(good, DIGEST)
    twenty, before = time.thread_time() - before, time.thread_time()
    _answered(ours, content)
    assert time.thread_time() - before < 10 * twenty


@given(st.text(max_size=200) | JUNK.map(json.dumps))
def test_trust_roots_that_are_none_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(UpdaterError):
        read_signer(Signer(IDENTITY, ISSUER, trust_root=SecretRef(f"file:{path}")))
