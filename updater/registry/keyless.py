"""Judges what cosign signs without a key of one's own: by whom it was signed, and that it is about this very digest.

The key of such a signature lives for minutes. An authority certifies that it belongs to an identity that an issuer
vouched for, a log of certificates and a log of signatures publish that, and all of it comes in a Sigstore bundle.
Whether this holds is the library's to say, of Verifier.verify_dsse: the certificate leads to an authority of the trust
root and was valid at the time that the log of signatures or a time stamp authority has signed, its log has promised to
publish it, the entry of the log of signatures is in its tree, its head is signed, and it is about this signature. It
does not look at whether an authority or a log was retired at that time. Nobody is asked: no connection is opened.
https://github.com/sigstore/architecture-docs/blob/main/client-spec.md
https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from urllib.parse import quote

from cryptography.hazmat import asn1
from cryptography.x509 import Certificate, ExtensionNotFound, ObjectIdentifier, RFC822Name, SubjectAlternativeName
from cryptography.x509 import UniformResourceIdentifier as Uri
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.trustroot.v1 import TrustedRoot as Document

from updater.model.check import Signer
from updater.policies.filters import compiled
from updater.registry.cosign import NO_OBJECT, NO_STATEMENT, STATEMENT_TYPE, KeyUnusable, member, parsed, stated

MAX_BUNDLE = 128 << 10  # bytes; cosign's are some 10 KiB, and one of 1 MiB can take half a second
MAX_SAID = 200  # characters of what a library or a certificate says

_PUBLIC_INSTANCE = "https://tuf-repo-cdn.sigstore.dev"
_ISSUER, _OLD_ISSUER = (ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}") for number in (8, 1))
_LEGACY = "it is as cosign 2 signs without a key, which is not supported: sign with cosign 3, or --new-bundle-format"


class _Foreign(VerificationError):
    """A certificate that is good, and somebody else's."""


@dataclass(frozen=True, slots=True)
class Keyless:
    """One who may sign, and the authority and logs that are believed; the fingerprint is of both."""

    signer: Signer
    verifier: Verifier = field(repr=False)
    fingerprint: str

    def simple_signing(self, payload: bytes, signature: object, digest: str) -> str:  # noqa: ARG002
        """Refuse the older shape: its certificate and log entry are in annotations of cosign's own, not in a bundle."""
        return _LEGACY

    def bundle(self, content: bytes, digest: str) -> str:
        """Return why a bundle does not vouch for a digest; empty where it does. Raises nothing, whatever it is."""
        if len(content) > MAX_BUNDLE:
            return f"it is larger than {MAX_BUNDLE >> 10} KiB"
        found = parsed(content)
        if not isinstance(found, dict):
            return NO_OBJECT
        if "publicKey" in member(found, "verificationMaterial"):
            return "it was made with a key"
        if member(found, "dsseEnvelope").get("payloadType") != STATEMENT_TYPE:
            return NO_STATEMENT
        try:
            _, statement = self.verifier.verify_dsse(Bundle.from_json(content), self)
        except _Foreign as err:
            return str(err)
        except Error as err:
            return f"its bundle is not good: {_said(err)}"
        except Exception as err:  # noqa: BLE001 - of what others wrote: certificates, time stamps, numbers, texts
            return f"its bundle cannot be read: {_said(err)}"
        return stated(statement, digest)

    def verify(self, cert: Certificate) -> None:
        """Judge a certificate that is good, for the library, by who it is about. Raises VerificationError."""
        issuer, identities = _issuer(cert), _identities(cert)
        if issuer != self.signer.issuer:
            raise _Foreign(f"its signer was vouched for by {_shown(issuer)}, expected {_shown(self.signer.issuer)}")
        if not any(map(self._may_sign, identities)):
            wanted = "a match of " if self.signer.pattern else ""
            named = ", ".join(map(_shown, identities)) or "nobody"
            raise _Foreign(f"it was signed by {named}, expected {wanted}{_shown(self.signer.identity)}")

    def _may_sign(self, identity: str) -> bool:
        if not self.signer.pattern:
            return identity == self.signer.identity
        return compiled(self.signer.identity).fullmatch(identity.encode()) is not None


def read_signer(signer: Signer) -> Keyless:
    """Return what judges the bundles of a signer, by the trust root as it is now. Raises KeyUnusable, SecretError."""
    root = _embedded() if signer.trust_root is None else signer.trust_root.read().encode()
    try:
        verifier = _verifier(root)
    except (Error, ValueError) as err:
        name = signer.trust_root.reference if signer.trust_root else "of the package sigstore"
        raise KeyUnusable(f"trust root {name}: {_said(err)}; expected a trusted_root.json of Sigstore") from err
    who = repr((signer.identity, signer.pattern, signer.issuer)).encode()
    return Keyless(signer, verifier, hashlib.sha256(who + root).hexdigest())


@cache
def _embedded() -> bytes:
    """Return the trust root that came with the library.

    Its own way to it, Verifier.production(offline=True), leaves a copy in the home directory: that would be believed
    whoever changed it, and for ever, even where a newer library knows better.
    """
    return (resources.files("sigstore._store") / quote(_PUBLIC_INSTANCE, safe="") / "trusted_root.json").read_bytes()


@lru_cache(maxsize=8)
def _verifier(root: bytes) -> Verifier:
    document = Document.from_json(root)
    for name in ("certificate_authorities", "ctlogs", "tlogs"):
        if not getattr(document, name):
            raise ValueError(f"it names no {name}")
    return Verifier(trusted_root=TrustedRoot(document))


def _issuer(certificate: Certificate) -> str:
    """Return who vouched for the identity; the older extension holds the bare text."""
    for oid in (_ISSUER, _OLD_ISSUER):
        with suppress(ExtensionNotFound):
            raw: bytes = certificate.extensions.get_extension_for_oid(oid).value.public_bytes()
            return asn1.decode_der(str, raw) if oid == _ISSUER else raw.decode()
    return ""


def _identities(certificate: Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    return [*names.get_values_for_type(Uri), *names.get_values_for_type(RFC822Name)]


def _said(err: Exception) -> str:
    return _shown(" ".join(str(err).split()) or type(err).__name__)


def _shown(text: str) -> str:
    """Return a text of somebody else's on one line, in characters that print, cut to what a message can bear."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_SAID]) or "nobody"
