"""A whole Sigstore in memory: an authority that certifies identities, a log of its certificates, a log of signatures.

It makes bundles as `cosign sign` does without a key, in the formats of the specifications, since neither the program
nor the services are here. What is left out: proofs that an identity is somebody's, and all that is about networks. The
logs are as small as logs can be: each entry is the second of two.
https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md
https://www.rfc-editor.org/rfc/rfc6962#section-3
https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
import subprocess
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.lab.cosign import BUNDLE, STATEMENT, statement_of

IDENTITY = "https://github.com/acme/api/.github/workflows/release.yml@refs/tags/v1.0.0"
ISSUER = "https://token.actions.githubusercontent.com"
SIGNED_AT = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=30)
MINUTE = dt.timedelta(minutes=1)

_SINCE, _UNTIL = SIGNED_AT - dt.timedelta(days=400), SIGNED_AT + dt.timedelta(days=4000)
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_OIDS = {1: str.encode, 8: lambda text: b"\x0c" + _length(text.encode())}  # bare, and as a UTF8String

Json = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A log: a key that signs what it publishes, known by the hash of that key."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @cached_property
    def public(self) -> bytes:
        return _spki(self.key)

    @cached_property
    def id(self) -> bytes:
        return hashlib.sha256(self.public).digest()

    def sign(self, content: bytes) -> bytes:
        return self.key.sign(content, ec.ECDSA(SHA256()))

    @property
    def trusted(self) -> Json:
        """What a trust root says of it."""
        key = {"rawBytes": _b64(self.public), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": _valid()}
        where = f"https://{self.name}.example.com"
        return {"baseUrl": where, "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": {"keyId": _b64(self.id)}}

    def entry(self, body: Json, *, promise: bool = True, at: dt.datetime = SIGNED_AT) -> Json:
        """Publish an entry, and prove it; `promise` signs its time, as Rekor 1 does and 2 does not."""
        raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        other, leaf = hashlib.sha256(b"\0the first").digest(), hashlib.sha256(b"\0" + raw).digest()
        root = hashlib.sha256(b"\1" + other + leaf).digest()
        head = f"{self.name}.example.com - 1\n2\n{_b64(root)}\n"
        signed = f"{head}\n\u2014 {self.name}.example.com {_b64(self.id[:4] + self.sign(head.encode()))}\n"
        proof = {"logIndex": "1", "treeSize": "2", "rootHash": _b64(root), "hashes": [_b64(other)]}
        entry: Json = {
            "logIndex": "1000001", "logId": {"keyId": _b64(self.id)}, "canonicalizedBody": _b64(raw),
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "inclusionProof": proof | {"checkpoint": {"envelope": signed}},
        }  # fmt: skip
        if not promise:
            return entry
        time = int(at.timestamp())
        said = {"body": _b64(raw), "integratedTime": time, "logID": self.id.hex(), "logIndex": 1000001}
        promised = _b64(self.sign(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()))
        return entry | {"integratedTime": str(time), "inclusionPromise": {"signedEntryTimestamp": promised}}


class Sigstore:
    """Its authority has a root and an intermediate certificate; nothing of one is trusted by another."""

    def __init__(self) -> None:
        self.certificates, self.signatures = Log("ctfe"), Log("rekor")
        root_key = ec.generate_private_key(ec.SECP384R1())
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._root = _authority("root", root_key.public_key(), "root", root_key, None)
        self._authority = _authority("intermediate", self._key.public_key(), "root", root_key, 0)

    @cached_property
    def trust_root(self) -> Json:
        """What is trusted, as `cosign trusted-root create` writes it."""
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.signatures.trusted],
            "certificateAuthorities": [_chain("fulcio", self._authority, self._root)],
            "ctlogs": [self.certificates.trusted],
            "timestampAuthorities": [],
        }

    def write(self, folder: Path, name: str = "trusted_root.json") -> Path:
        (folder / name).write_text(json.dumps(self.trust_root))
        return folder / name

    def certify(self, key: ec.EllipticCurvePublicKey, *, identity: str = IDENTITY, issuer: str = ISSUER,
                oids: tuple[int, ...] = (1, 8), at: dt.datetime = SIGNED_AT) -> x509.Certificate:  # fmt: skip
        """Certify for ten minutes that a key is somebody's: a mail address, or a URI."""
        name = x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = (
            _builder("", key, "intermediate", at, at + 10 * MINUTE)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        )
        for number in oids:
            oid = ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
            builder = builder.add_extension(
                x509.UnrecognizedExtension(oid, _ISSUER_OIDS[number](issuer)), critical=False
            )
        unpublished = builder.sign(self._key, SHA384())
        promised = x509.UnrecognizedExtension(_SCT_LIST, self._promise(unpublished.tbs_certificate_bytes, at))
        return builder.add_extension(promised, critical=False).sign(self._key, SHA384())

    def _promise(self, tbs: bytes, at: dt.datetime) -> bytes:
        """Return the list with the promise of the log of certificates to publish one. RFC 6962, section 3.3."""
        issuer = hashlib.sha256(_spki(self._key)).digest()
        millis = int(at.timestamp() * 1000)
        entry = issuer + len(tbs).to_bytes(3, "big") + tbs
        signature = self.certificates.sign(struct.pack("!BBQH", 0, 0, millis, 1) + entry + b"\0\0")
        promise = b"\0" + self.certificates.id + struct.pack("!QHBBH", millis, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(promise) + 2, len(promise)) + promise
        return b"\x04" + _length(listed)

    def sign(self, digest: str, *, log: Log | None = None, logged_at: dt.datetime = SIGNED_AT, **changed: Any) -> Json:
        """Sign a digest as `cosign sign` does; `changed` are members of the statement or of `certify`."""
        fields = {name: changed.pop(name) for name in ("identity", "issuer", "oids", "at") if name in changed}
        return self.envelope(statement_of(digest, **changed), log=log, logged_at=logged_at, **fields)

    def envelope(self, statement: bytes, kind: str = STATEMENT, *, log: Log | None = None,
                 logged_at: dt.datetime = SIGNED_AT, **fields: Any) -> Json:  # fmt: skip
        """Sign a statement, publish that in a log as Rekor 1 does, and return the bundle."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certify(key.public_key(), **fields)
        signature = key.sign(_encoded(kind, statement), ec.ECDSA(SHA256()))
        verifier = _b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(statement).hexdigest()},
            "signatures": [{"signature": _b64(signature), "verifier": verifier}],
        }
        entry = (log or self.signatures).entry({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}, at=logged_at)
        return _bundle(certificate, entry, statement, kind, signature)


@dataclass(frozen=True)
class Clock:
    """A time stamp authority, which OpenSSL runs: newer logs tell no time of their own."""

    folder: Path

    def start(self) -> Json:
        """Make its certificates, valid from now on, and return what a trust root says of it."""
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _authority("tsa-root", root_key.public_key(), "tsa-root", root_key, None)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        certificate = (
            _builder("tsa", key.public_key(), "tsa-root", _SINCE, self.now() + dt.timedelta(days=1))
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .sign(root_key, SHA256())
        )
        (self.folder / "tsa.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "tsa.key").write_bytes(pem)
        (self.folder / "tsa.cnf").write_text(
            f"[tsa]\nserial={self.folder}/serial\nsigner_digest=sha256\ndigests=sha256\ndefault_policy=1.2.3.4\n"
        )
        return _chain("tsa", certificate, root)

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def stamp(self, content: bytes) -> str:
        """Return its word, in base64, that it saw this content now."""
        (self.folder / "content").write_bytes(content)
        self._openssl("-query", "-data", "content", "-sha256", "-cert", "-out", "query")
        self._openssl("-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", "query", "-signer", "tsa.pem",
                      "-inkey", "tsa.key", "-out", "reply")  # fmt: skip
        return _b64((self.folder / "reply").read_bytes())

    def _openssl(self, *args: str) -> None:
        subprocess.run(["openssl", "ts", *args], cwd=self.folder, check=True, capture_output=True, timeout=30)


def sign_with_clock(sigstore: Sigstore, clock: Clock, digest: str, *, at: dt.datetime) -> Json:
    """Sign as cosign does with Rekor 2: the log tells what was signed, and a clock when. `at` is what is certified."""
    key, statement = ec.generate_private_key(ec.SECP256R1()), statement_of(digest)
    certificate = sigstore.certify(key.public_key(), at=at)
    signed = _encoded(STATEMENT, statement)
    signature = key.sign(signed, ec.ECDSA(SHA256()))
    verifier = {"x509Certificate": {"rawBytes": _b64(certificate.public_bytes(Encoding.DER))},
                "keyDetails": "PKIX_ECDSA_P256_SHA_256"}  # fmt: skip
    data = {"algorithm": "SHA2_256", "digest": _b64(hashlib.sha256(signed).digest())}
    spec = {"hashedRekordV002": {"data": data, "signature": {"content": _b64(signature), "verifier": verifier}}}
    body = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}
    bundle = _bundle(certificate, sigstore.signatures.entry(body, promise=False), statement, STATEMENT, signature)
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": clock.stamp(signature)}]}
    bundle["verificationMaterial"]["timestampVerificationData"] = stamps
    return bundle


def _bundle(certificate: x509.Certificate, entry: Json, statement: bytes, kind: str, signature: bytes) -> Json:
    raw = _b64(certificate.public_bytes(Encoding.DER))
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"certificate": {"rawBytes": raw}, "tlogEntries": [entry]},
        "dsseEnvelope": {
            "payload": _b64(statement),
            "payloadType": kind,
            "signatures": [{"sig": _b64(signature)}],
        },
    }


def _encoded(kind: str, statement: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(statement), statement)


def _authority(
    name: str, key: ec.EllipticCurvePublicKey, by: str, by_key: ec.EllipticCurvePrivateKey, below: int | None
) -> x509.Certificate:
    return (
        _builder(name, key, by, _SINCE, _UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), critical=False)
        .sign(by_key, SHA384())
    )


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, by: str, since: dt.datetime, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(by))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, not sign, not sign, False, False)


def _chain(name: str, *certificates: x509.Certificate) -> Json:
    raw = [{"rawBytes": _b64(one.public_bytes(Encoding.DER))} for one in certificates]
    subject = {"organization": "lab", "commonName": name}
    where = f"https://{name}.example.com"
    return {"subject": subject, "uri": where, "certChain": {"certificates": raw}, "validFor": _valid()}


def _valid() -> Json:
    return {"start": _SINCE.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _length(content: bytes) -> bytes:
    """Put the length before a content, as DER does."""
    size = len(content)
    return (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def _b64(content: bytes) -> str:
    return b64encode(content).decode()
