"""Judges what cosign signs with a key: who signed it, and that it is about this very digest. Pure.

Two shapes: simple signing, whose signature stands beside the payload, and Sigstore bundles, which hold an in-toto
statement in a DSSE envelope. Only what a known key has signed is read, and of that only what names the digest: the
name of an image in it is whatever the signer called it, and a copy in another registry keeps the old one.
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from updater.errors import RegistryError

MAX_KEYS = 16  # of one file: the one in use, and those on their way in and out
MAX_SIGNATURE = 1024  # characters; of P-256 they are some 96
MAX_SIGNERS = 32  # of one envelope

SIMPLE_TYPE = "cosign container image signature"
STATEMENT_TYPE = "application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""What `cosign sign` says. Provenance or a list of vulnerabilities, signed with the same key, says nothing good."""

_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----.*?-----END \1-----", re.DOTALL)
_FOREIGN = "its key did not sign it"
NO_OBJECT, NO_STATEMENT = "its bundle is not a JSON object", "its bundle holds no in-toto statement"


class KeyUnusable(RegistryError):
    """The public keys, or the trust root, that were configured cannot be used: what was found, what is expected."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys, any of which may have signed; the fingerprint tells one set of them from another."""

    public: tuple[ec.EllipticCurvePublicKey, ...]
    fingerprint: str

    def signed(self, signature: object, content: bytes) -> str:
        """Return why a signature in base64 is not by any of them over this content; empty where it is."""
        raw = _decoded(signature) if isinstance(signature, str) and len(signature) <= MAX_SIGNATURE else None
        if not raw:
            return "its signature is not in base64"
        return "" if any(_signed(key, raw, content) for key in self.public) else _FOREIGN

    def simple_signing(self, payload: bytes, signature: object, digest: str) -> str:
        """Return why a payload and the signature beside it do not vouch for a digest; empty where they do."""
        return simple_signing(payload, signature, digest, self)

    def bundle(self, content: bytes, digest: str) -> str:
        """Return why a bundle does not vouch for a digest; empty where it does."""
        return bundle(content, digest, self)


def read_keys(pem: str, name: str) -> Keys:
    """Read public keys in PEM from what `name` refers to. Raises KeyUnusable."""
    blocks = list(_BLOCK.finditer(pem))
    if not blocks or len(blocks) > MAX_KEYS:
        found = f"{len(blocks)} blocks" if blocks else "no block"
        raise KeyUnusable(f"key {name}: {found} of PEM; expected 1 to {MAX_KEYS} public keys, as in cosign.pub")
    public = tuple(_public(block, name) for block in blocks)
    spelled = sorted(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in public)
    return Keys(public, hashlib.sha256(b"".join(spelled)).hexdigest())


def simple_signing(payload: bytes, signature: object, digest: str, keys: Keys) -> str:
    """Return why a payload does not vouch for a digest; empty where it does."""
    if why := keys.signed(signature, payload):
        return why
    critical = member(parsed(payload), "critical")
    if critical.get("type") != SIMPLE_TYPE:
        return f"what was signed is no {SIMPLE_TYPE}"
    return "" if member(critical, "image").get("docker-manifest-digest") == digest else "it is that of another image"


def bundle(content: bytes, digest: str, keys: Keys) -> str:
    """Return why a bundle does not vouch for a digest; empty where it does.

    Its hint at a key is not needed, and the time stamps and log entries beside it prove nothing that a key does not.
    """
    found = parsed(content)
    if not isinstance(found, dict):
        return NO_OBJECT
    envelope = member(found, "dsseEnvelope")
    if "publicKey" not in member(found, "verificationMaterial"):
        return "it was not made with a key"
    payload, kind, signers = envelope.get("payload"), envelope.get("payloadType"), envelope.get("signatures")
    statement = _decoded(payload) if isinstance(payload, str) else None
    if kind != STATEMENT_TYPE or statement is None or not isinstance(signers, list):
        return NO_STATEMENT
    return _envelope(signers, statement, keys) or stated(statement, digest)


def _envelope(signers: Iterable[object], statement: bytes, keys: Keys) -> str:
    encoded = b"DSSEv1 %d %s %d %s" % (len(STATEMENT_TYPE), STATEMENT_TYPE.encode(), len(statement), statement)
    given = [signer.get("sig") for signer in signers if isinstance(signer, dict)][:MAX_SIGNERS]
    answers = [keys.signed(signature, encoded) for signature in given]
    return "" if "" in answers else next(iter(answers), "its envelope has no signature")


def stated(content: bytes, digest: str) -> str:
    """Return why an in-toto statement, whose signature is good, is no signature of a digest; empty where it is."""
    statement = parsed(content)
    if not isinstance(statement, dict) or statement.get("_type") not in _STATEMENTS:
        return "what was signed is no in-toto statement"
    if statement.get("predicateType") != SIGN_PREDICATE:
        return "what was signed is an attestation, which is no signature"
    algorithm, _, value = digest.partition(":")
    subjects = statement.get("subject")
    about = [member(one, "digest").get(algorithm) for one in subjects] if isinstance(subjects, list) else []
    return "" if value in about else "it is that of another image"


def _public(block: re.Match[str], name: str) -> ec.EllipticCurvePublicKey:
    if block[1] != "PUBLIC KEY":
        raise KeyUnusable(f"key {name}: a block {block[1]}; expected PUBLIC KEY, as in cosign.pub")
    try:
        key = load_pem_public_key(block[0].encode())
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyUnusable(f"key {name}: its PEM cannot be read; expected an ECDSA key of P-256") from err
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.strip("_")
    raise KeyUnusable(f"key {name}: {kind}; expected an ECDSA key of P-256")


def _signed(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


def parsed(content: bytes) -> Any:
    """Return what JSON says; None for what is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def member(holder: object, key: str) -> Mapping[str, Any]:
    """Return an object in an object of JSON; an empty one where there is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}
