"""Signs as cosign does with a key: the very formats of its specifications, since the program itself is not here.

What is left out: certificates, time stamps and the transparency log, which a key does not need.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from updater.demo.image import INDEX, MANIFEST, digest_of, push_manifest

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
SIMPLE_TYPE = "cosign container image signature"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Signer:
    """A key pair of `cosign generate-key-pair`, in memory."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, content: bytes) -> str:
        return b64encode(self.key.sign(content, ec.ECDSA(SHA256()))).decode()

    def write(self, folder: Path, name: str = "cosign.pub") -> Path:
        (folder / name).write_text(self.pem)
        return folder / name

    def simple(self, digest: str, **changed: Any) -> Claim:
        """Sign as cosign 2 does."""
        payload = simple_payload(digest, **changed)
        return Claim(payload, self.sign(payload))

    def bundle(self, digest: str, **changed: Any) -> bytes:
        """Sign as cosign 3 does; `changed` are members of the statement."""
        return self.envelope(statement_of(digest, **changed))

    def envelope(self, statement: bytes, kind: str = STATEMENT) -> bytes:
        signed = f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement
        return json.dumps({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "bm90IG5lZWRlZA=="}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": b64encode(statement).decode(),
                "payloadType": kind,
                "signatures": [{"sig": self.sign(signed)}],
            },
        }).encode()  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A payload and the signature beside it."""

    payload: bytes
    signature: str | None

    @property
    def layer(self) -> Json:
        said = {} if self.signature is None else {"annotations": {"dev.cosignproject.cosign/signature": self.signature}}
        return described(SIMPLE, self.payload) | said


def statement_of(digest: str, **changed: Any) -> bytes:
    """Return what `cosign sign` signs, with members of it changed."""
    algorithm, _, value = digest.partition(":")
    subject = [{"digest": {algorithm: value}, "annotations": {}}]
    known = {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": SIGN, "predicate": {}}
    return json.dumps(known | changed).encode()


def simple_payload(digest: str, *, kind: str = SIMPLE_TYPE, name: str = "whatever.example.com/it") -> bytes:
    identity, image = {"docker-reference": name}, {"docker-manifest-digest": digest}
    return json.dumps({"critical": {"identity": identity, "image": image, "type": kind}, "optional": None}).encode()


def described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def manifest_of(layers: Iterable[Json], **fields: Any) -> bytes:
    config = described("application/vnd.oci.image.config.v1+json", b"{}")
    known = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers)}
    return json.dumps(known | fields).encode()


def push_simple(url: str, repository: str, digest: str, *claims: Claim) -> None:
    """Put signatures where cosign 2 puts them."""
    manifest = manifest_of(claim.layer for claim in claims)
    blobs = [b"{}", *{claim.payload for claim in claims}]
    push_manifest(url, repository, f"{digest.replace(':', '-')}.sig", manifest, blobs)


def push_bundle(url: str, repository: str, digest: str, *bundles: bytes, tag: bool, predicate: str = SIGN) -> None:
    """Put bundles where cosign 3 puts them: `tag` for a registry without the referrers API."""
    entries = []
    for content in bundles:
        annotations = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate}
        subject = {"mediaType": MANIFEST, "digest": digest, "size": 2}
        layers = [described(BUNDLE, content)]
        manifest = manifest_of(layers, artifactType=BUNDLE, annotations=annotations, subject=subject)
        at = push_manifest(url, repository, digest_of(manifest), manifest, [b"{}", content])
        entries.append(described(MANIFEST, manifest) | {"artifactType": BUNDLE, "annotations": annotations})
        assert at == digest_of(manifest)
    if tag:
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        push_manifest(url, repository, digest.replace(":", "-"), index, [], media_type=INDEX)
