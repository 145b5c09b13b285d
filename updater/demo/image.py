"""Small images, and pushing them to any registry: what a build would do, without a build."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from updater.errors import RegistryError
from updater.registry.credentials.base import Credentials, Proof
from updater.registry.login import PUSH, Login
from updater.registry.sender import Sender
from updater.transport.http import Answer, Http

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PUSH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's manifest, and the blobs that it needs by digest."""

    manifest: bytes
    blobs: Mapping[str, bytes]


class _Given(Credentials):
    """A login that is at hand, of a server on this machine."""

    pair: tuple[str, str]

    def login(self, repository: str, deadline: float) -> Proof:  # noqa: ARG002
        return Proof(*self.pair)


def digest_of(content: bytes) -> str:
    """Return the sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def small_image(
    payload: bytes,
    *,
    platform: str = "linux/amd64",
    labels: Mapping[str, str] | None = None,
    created: str | None = None,
) -> Image:
    """Make an image of one layer with one file; the same arguments make the same bytes.

    `created` is a time in RFC 3339.
    """
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w") as tar:
        info = tarfile.TarInfo("hello.txt")
        info.size = len(payload)
        tar.addfile(info, io.BytesIO(payload))
    layer = gzip.compress(tar_bytes.getvalue(), mtime=0)
    config = {
        **_platform(platform),
        "config": {"Labels": dict(labels or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar_bytes.getvalue())]},
    } | ({"created": created} if created else {})
    blob = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _described(_CONFIG, blob),
        "layers": [_described(_LAYER, layer)],
    }
    return Image(json.dumps(manifest).encode(), {digest_of(content): content for content in (blob, layer)})


def _attestation(image: Image) -> Image:
    """Make what BuildKit adds to an index for each image: a manifest of a platform that is none."""
    subject = {"digest": {"sha256": digest_of(image.manifest).removeprefix("sha256:")}}
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1", "subject": [subject]}).encode()
    config = json.dumps(_platform("unknown/unknown")).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _described(_CONFIG, config),
        "layers": [_described("application/vnd.in-toto+json", statement)],
    }
    return Image(json.dumps(manifest).encode(), {digest_of(content): content for content in (config, statement)})


def _platform(text: str) -> dict[str, object]:
    """Spell `os/architecture[/variant]` as configurations and descriptors do."""
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def push_image(
    url: str,
    repository: str,
    tags: Iterable[str],
    *,
    payload: bytes = b"hello\n",
    platforms: Sequence[str] = ("linux/amd64",),
    labels: Mapping[str, str] | None = None,
    created: str | None = None,
    attestations: bool = False,
    login: tuple[str, str] | None = None,
    trusted_realms: Iterable[str] = (),
    http: Http | None = None,
) -> str:
    """Push a small image under the tags; several platforms or attestations make an index.

    Return the digest that the tags name. `url` is the registry's address. Raises UpdaterError.
    """
    own = http or Http()
    try:
        push = _Push(own, url, repository, login, trusted_realms)
        images = {
            platform: small_image(payload, platform=platform, labels=labels, created=created) for platform in platforms
        }
        proofs = [_attestation(image) for image in images.values()] if attestations else []
        for image in (*images.values(), *proofs):
            push.blobs(image.blobs)
        if len(images) == 1 and not proofs:
            content, media_type = images[platforms[0]].manifest, MANIFEST
        else:
            for image in (*images.values(), *proofs):
                push.manifest(digest_of(image.manifest), image.manifest, MANIFEST)
            content, media_type = _index(images, proofs), INDEX
        for tag in tags:
            push.manifest(tag, content, media_type)
        return digest_of(content)
    finally:
        if http is None:
            own.close()


def push_manifest(
    url: str, repository: str, reference: str, manifest: bytes, blobs: Iterable[bytes], *, media_type: str = MANIFEST
) -> str:
    """Push a manifest, and the blobs that it needs, under a tag or its digest; return the digest. Raises UpdaterError.

    Only for registries that ask for no login.
    """
    with Http() as http:
        push = _Push(http, url, repository, None, ())
        push.blobs({digest_of(blob): blob for blob in blobs})
        push.manifest(reference, manifest, media_type)
    return digest_of(manifest)


def _index(images: Mapping[str, Image], proofs: Iterable[Image]) -> bytes:
    entries = [
        _described(MANIFEST, image.manifest) | {"platform": _platform(platform)} for platform, image in images.items()
    ]
    subjects = [entry["digest"] for entry in entries]
    for proof, subject in zip(proofs, subjects, strict=False):
        notes = {"vnd.docker.reference.digest": subject, "vnd.docker.reference.type": "attestation-manifest"}
        told = {"platform": _platform("unknown/unknown"), "annotations": notes}
        entries.append(_described(MANIFEST, proof.manifest) | told)
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


class _Push:
    """Pushes to one repository, logging in where it is asked for."""

    def __init__(
        self, http: Http, url: str, repository: str, login: tuple[str, str] | None, trusted_realms: Iterable[str]
    ) -> None:
        self._http, self._url, self._repository = http, url, repository
        self._deadline = time.monotonic() + _PUSH_SECONDS
        self._authorization: str | None = None
        self._login = Login(
            urlsplit(url).netloc,
            Sender(http, turns=threading.BoundedSemaphore(1), budget=None, request_seconds=_PUSH_SECONDS),
            credentials=_Given(pair=login) if login else None,
            hosts=(url,),
            insecure=url.startswith("http:"),
            trusted_realms=trusted_realms,
        )

    def blobs(self, blobs: Mapping[str, bytes]) -> None:
        for digest, content in blobs.items():
            start = self._send("POST", f"{self._url}/v2/{self._repository}/blobs/uploads/", b"", {})
            at = urljoin(start.url, start.header("location") or "")
            at += f"{'&' if '?' in at else '?'}digest={quote(digest)}"
            self._send("PUT", at, content, {"Content-Type": "application/octet-stream"})

    def manifest(self, reference: str, content: bytes, media_type: str) -> None:
        at = f"{self._url}/v2/{self._repository}/manifests/{reference}"
        self._send("PUT", at, content, {"Content-Type": media_type})

    def _send(self, method: str, url: str, content: bytes, headers: dict[str, str]) -> Answer:
        answer = self._once(method, url, content, headers)
        if answer.status == 401:
            tried, repository = (self._authorization,), self._repository
            self._authorization = self._login.answer(answer, PUSH, repository, tried, self._deadline)
            answer = self._once(method, url, content, headers)
        if not 200 <= answer.status < 300:
            raise RegistryError(f"push of {self._repository}: {method} {urlsplit(url).path} answered {answer.status}")
        return answer

    def _once(self, method: str, url: str, content: bytes, headers: dict[str, str]) -> Answer:
        sent = headers | ({"Authorization": self._authorization} if self._authorization else {})
        return self._http.request(
            method, url, headers=sent, content=content, max_bytes=1 << 20, deadline=self._deadline
        )
