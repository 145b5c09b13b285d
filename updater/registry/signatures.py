"""Finds the signatures of a digest in its repository, wherever cosign puts them, until a good one comes.

Older ones are the layers of the tag `sha256-<hex>.sig`. Newer ones refer to the digest: they are listed by the
referrers API, and where there is none by an index under the tag `sha256-<hex>`. Anyone who may push may add to both, so
what is read is bounded, and what is broken is no failure but no signature.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from updater.errors import RegistryError
from updater.model.image import is_digest
from updater.registry.cosign import SIGN_PREDICATE
from updater.registry.description import Fetch
from updater.registry.exchange import NotFound
from updater.transport.http import Answer

MAX_SIGNATURES = 32  # of each place, the newest first; more are not looked at
PAYLOAD_BYTES, BUNDLE_BYTES = 64 << 10, 1 << 20  # cosign's are some 250 bytes, and 2 to 10 KiB

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLES = frozenset({
    "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3",
})  # fmt: skip
_LIMITS = {SIMPLE: PAYLOAD_BYTES} | dict.fromkeys(BUNDLES, BUNDLE_BYTES)
_TYPES = BUNDLES | {
    "application/vnd.dev.cosign.artifact.sig.v1+json",  # simple signing as a referrer: an experiment of cosign 2
    "application/vnd.oci.empty.v1+json", None,  # some registries know nothing better
}  # fmt: skip
_SIGNATURE = "dev.cosignproject.cosign/signature"
_PREDICATE = "dev.sigstore.bundle.predicateType"

Referrers = Callable[[str], Iterable[Answer]]
"""Returns the pages of what refers to a digest. Raises NotFound where the registry has no such list, RegistryError."""


class Signers(Protocol):
    """Who must have signed: judges what was found. Both answers are why it is not good; empty where it is."""

    @property
    def fingerprint(self) -> str:
        """Tells these signers, and what they are trusted by, from all others."""

    def simple_signing(self, payload: bytes, signature: object, digest: str) -> str:
        """Judge a payload and the signature beside it."""

    def bundle(self, content: bytes, digest: str) -> str:
        """Judge a bundle, of BUNDLE_BYTES at most."""


Document = Mapping[str, Any]  # a JSON object that somebody else wrote


def unsigned(fetch: Fetch, referrers: Referrers, digest: str, signers: Signers) -> str:
    """Return why no signature of a digest is good by these signers; empty where one is. Raises RegistryError."""
    found: list[str] = []
    for why in _Search(fetch, referrers, digest, signers).answers():
        if not why:
            return ""
        found.append(why)
    if not found:
        return f"{digest[:19]} is not signed"
    reasons = "; ".join(list(dict.fromkeys(found))[:3])
    return f"no good signature of {digest[:19]} among the {len(found)} that were looked at: {reasons}"


@dataclass(slots=True)
class _Search:
    """One look at everything that may be a signature of one digest; several keys often sign the same payload."""

    fetch: Fetch
    referrers: Referrers
    digest: str
    signers: Signers
    _blobs: dict[str, bytes] = field(default_factory=dict)

    def answers(self) -> Iterator[str]:
        """Yield of each signature why it is not good; empty for one that is. Nothing is asked ahead."""
        yield from self._tagged()
        yield from islice((why for entry in self._referring() for why in self._referrer(entry)), MAX_SIGNATURES)

    def _tagged(self) -> Iterator[str]:
        if not self.digest.startswith("sha256:"):
            return  # a longer digest does not fit into a tag
        with suppress(NotFound):
            yield from self._layers(self.fetch("manifests", f"{self.digest.replace(':', '-')}.sig"))

    def _referring(self) -> list[Document]:
        """Return the descriptors of what may hold a signature, the likeliest first."""
        try:
            pages = [_document(page) for page in self.referrers(self.digest)]
        except NotFound:
            algorithm, _, value = self.digest.partition(":")
            try:
                pages = [_document(self.fetch("manifests", f"{algorithm}-{value[:64]}"))]
            except NotFound:
                return []
        entries = [one for page in pages for one in _objects(page, "manifests") if _text(one, "artifactType") in _TYPES]
        predicates = [(_annotation(one, _PREDICATE), one) for one in reversed(entries)]
        known = [one for predicate, one in predicates if predicate == SIGN_PREDICATE]
        return (known + [one for predicate, one in predicates if predicate is None])[:MAX_SIGNATURES]

    def _referrer(self, entry: Document) -> Iterator[str]:
        digest = _text(entry, "digest") or ""
        try:
            answer = self.fetch("manifests", digest) if is_digest(digest) else None
        except NotFound:
            answer = None
        if answer is None or not _is_of(answer.body, digest):
            yield "its manifest is missing"
        else:
            yield from self._layers(answer)

    def _layers(self, manifest: Answer) -> Iterator[str]:
        layers = [one for one in _objects(_document(manifest), "layers") if _text(one, "mediaType") in _LIMITS]
        for layer in layers[: -MAX_SIGNATURES - 1 : -1]:
            yield self._judged(layer)

    def _judged(self, layer: Document) -> str:
        kind, digest, size = _text(layer, "mediaType") or "", _text(layer, "digest") or "", layer.get("size")
        if not isinstance(size, int) or size > _LIMITS[kind]:
            return f"it is larger than {_LIMITS[kind] >> 10} KiB"
        try:
            content = self._blob(digest) if is_digest(digest) else None
        except NotFound:
            content = None
        if content is None:
            return "its payload is missing"
        if not _is_of(content, digest):
            return "its payload has another digest"
        if kind == SIMPLE:
            return self.signers.simple_signing(content, _annotation(layer, _SIGNATURE), self.digest)
        return self.signers.bundle(content, self.digest)

    def _blob(self, digest: str) -> bytes:
        if digest not in self._blobs:
            self._blobs[digest] = self.fetch("blobs", digest).body
        return self._blobs[digest]


def _document(answer: Answer) -> Document:
    """Return a JSON object, empty for JSON that is none. Raises RegistryError for what is no JSON at all."""
    try:
        found = json.loads(answer.body)
    except RecursionError:
        return {}
    except ValueError as err:
        raise RegistryError(
            f"{answer.url}: the answer is not JSON; is there a login page or proxy in between?"
        ) from err
    return found if isinstance(found, dict) else {}


def _is_of(content: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, content).hexdigest() == value


def _objects(holder: Document, key: str) -> list[Document]:
    value = holder.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(holder: Document, key: str) -> str | None:
    value = holder.get(key)
    return value if isinstance(value, str) else None


def _annotation(holder: Document, key: str) -> str | None:
    annotations = holder.get("annotations")
    return _text(annotations, key) if isinstance(annotations, dict) else None
