"""What one tag or digest of a repository is: its digest, its platforms, when it was created, and where it comes from.

Everything is read from bytes whose digest was checked, so a description never changes for its digest.
https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from updater.errors import RegistryError
from updater.model.image import is_digest
from updater.model.origin import NOWHERE, Origin
from updater.registry.exchange import NotFound, read_json
from updater.registry.labels import read_origin
from updater.transport.http import Answer

MAX_PLATFORMS = 128  # of one index; official images have some twenty
FIRST_YEAR = 1981  # reproducible builds write 1970 or 1980, Go's zero time is of the year 1

Part = Literal["manifests", "blobs"]

_REFERENCE_TYPE = "vnd.docker.reference.type"  # BuildKit's annotation of what belongs to an image
_PREFERRED = "linux/amd64"  # whose date is that of an index: the platform that nearly every index has
_PLATFORM_PART = re.compile(r"[A-Za-z0-9._-]{1,32}")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,30})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)  # RFC 3339
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
)  # fmt: skip
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip

Document = Mapping[str, Any]  # a JSON object that somebody else wrote


@dataclass(frozen=True, slots=True)
class Description:
    """What a reference is. A function of the digest, but for what was not asked.

    digest         of the index where there is one, else of the manifest
    created        aware, in UTC; None where nothing usable says it (a date before 1981 is none). That of an index is
                   that of its linux/amd64 image, else of its first one
    platforms      `os/architecture[/variant]` in lower case, without attestations; empty where nothing says them
    asked_created  False: no configuration was read, so that `created` and what `origin` lacks say nothing
    origin         what annotations say, and labels where these do not; those of an index are of that same image
    speaker        of an index, the digest of that image; None where there is none
    """

    digest: str
    created: datetime | None
    platforms: frozenset[str]
    asked_created: bool = True
    origin: Origin = NOWHERE
    speaker: str | None = field(default=None, compare=False)  # where to ask on, not what it is

    def answers(self, *, created: bool) -> bool:
        """Whether it holds what is asked; digest and platforms it always has."""
        return self.asked_created or not created


Known = Callable[[str], Description | None]
"""Returns what is known of a digest."""


Fetch = Callable[[Part, str], Answer]
"""Reads a manifest or a blob; what it returns has status 200. Raises NotFound and RegistryError."""


def nothing_known(_digest: str) -> Description | None:
    """Know no digest."""
    return None


def describe(fetch: Fetch, reference: str, what: str, *, created: bool, known: Known) -> Description:
    """Describe a reference, whose manifest is called `what` in errors. Raises NotFound and RegistryError."""
    answer = fetch("manifests", reference)
    document = _manifest(answer, what)
    digest = _digest(answer, reference, what)
    remembered = known(digest)
    if remembered is not None and remembered.answers(created=created):
        return remembered
    if "manifests" in document:
        return _index(fetch, document, digest, what, created=created)
    config = _config(fetch, document, what)
    platform = _platform(config)
    platforms = frozenset({platform} if platform else ())
    return Description(digest, _date(config.get("created")), platforms, origin=_origin(document, config))


def complete(fetch: Fetch, known: Description, what: str) -> Description:
    """Return the description of an index with what its image says, its date and origin, without reading it again.

    Raises RegistryError.
    """
    return known if known.asked_created else _heard(fetch, known, {"digest": known.speaker}, what)


def _index(fetch: Fetch, document: Document, digest: str, what: str, *, created: bool) -> Description:
    speaker = _speaker(document)
    told = speaker.get("digest") if speaker else None
    known = Description(
        digest,
        None,
        _platforms_of_index(document, what),
        asked_created=False,
        origin=_origin(document, {}),
        speaker=told if isinstance(told, str) and is_digest(told) else None,
    )
    if not created:
        return known
    return _heard(fetch, known, speaker, what) if speaker else replace(known, asked_created=True)


def _heard(fetch: Fetch, index: Description, speaker: Document, what: str) -> Description:
    """Return the description of an index with what its image says; an index in an index says nothing."""
    child = _manifest(_part(fetch, "manifests", speaker, what), what)
    if "manifests" in child:
        return replace(index, asked_created=True)
    config = _config(fetch, child, what)
    origin = index.origin.over(_origin(child, config))
    return replace(index, created=_date(config.get("created")), asked_created=True, origin=origin)


def _manifest(answer: Answer, what: str) -> Document:
    """Return an index (it has `manifests`) or a manifest (it has `config`); never both.

    A document that could be read as either is refused: CVE-2021-41190.
    """
    document = read_json(answer, what)
    if not isinstance(document, dict):
        raise RegistryError(f"{what}: the answer is neither an index nor a manifest")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise RegistryError(f"{what}: it is of schema 1, which is not read; push the image again with a current tool")
    given = document.get("mediaType")
    index = isinstance(document.get("manifests"), list) and "config" not in document and given not in _MANIFEST_TYPES
    image = isinstance(document.get("config"), dict) and "manifests" not in document and given not in _INDEX_TYPES
    if not (index or image):
        raise RegistryError(f"{what}: the answer is neither an index nor a manifest")
    return document


def _digest(answer: Answer, reference: str, what: str) -> str:
    """Return the digest, computed from the bytes: what was asked for and what the registry says must agree with it."""
    told = (answer.header("docker-content-digest") or "").strip()
    asked = reference if is_digest(reference) else ""
    for digest in filter(None, (asked, told)):
        _check(answer, digest, what)
    return asked or told or f"sha256:{hashlib.sha256(answer.body).hexdigest()}"


def _check(answer: Answer, digest: str, what: str) -> None:
    """Raise RegistryError where the bytes do not have that digest."""
    if not is_digest(digest):
        raise RegistryError(f"{what}: its digest {digest[:80]!r} is neither sha256 nor sha512")
    algorithm, _, value = digest.partition(":")
    computed = hashlib.new(algorithm, answer.body).hexdigest()
    if computed != value:
        raise RegistryError(
            f"{what}: the answer ({answer.kind}) has another digest than {digest}: {algorithm}:{computed}"
        )


def _part(fetch: Fetch, part: Part, descriptor: Document, what: str) -> Answer:
    """Return what a descriptor points to, its digest checked. That it is missing is no answer about the tag."""
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not is_digest(digest):
        raise RegistryError(f"{what}: it points to {str(digest)[:80]!r}, which is neither a sha256 nor a sha512 digest")
    try:
        answer = fetch(part, digest)
    except NotFound as err:
        raise RegistryError(f"{what}: a part of it is missing: {err}") from err
    _check(answer, digest, f"{what}: its part {digest}")
    return answer


def _config(fetch: Fetch, manifest: Document, what: str) -> Document:
    """Return a manifest's configuration; empty where it is not JSON, as with artifacts that are no images."""
    answer = _part(fetch, "blobs", manifest["config"], what)
    try:
        config = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _entries(index: Document) -> Iterator[Document]:
    """Walk the images of an index: its descriptors without attestations."""
    for entry in index["manifests"]:
        if not isinstance(entry, dict) or _raw_platform(entry.get("platform")) == "unknown/unknown":
            continue
        annotations = entry.get("annotations")
        if isinstance(annotations, dict) and annotations.get(_REFERENCE_TYPE) == "attestation-manifest":
            continue
        yield entry


def _platforms_of_index(index: Document, what: str) -> frozenset[str]:
    found = frozenset(filter(None, (_platform(entry.get("platform")) for entry in _entries(index))))
    if len(found) > MAX_PLATFORMS:
        raise RegistryError(f"{what}: it names more than {MAX_PLATFORMS} platforms")
    return found


def _speaker(index: Document) -> Document | None:
    """Return the linux/amd64 image, else the first one; an index in an index is none."""
    images = [entry for entry in _entries(index) if entry.get("mediaType") not in _INDEX_TYPES]
    preferred = (entry for entry in images if _platform(entry.get("platform")) == _PREFERRED)
    return next(preferred, images[0] if images else None)


def _origin(document: Document, config: Document) -> Origin:
    """Read the annotations of a document, and the labels of a configuration."""
    settings = config.get("config")
    return read_origin(document.get("annotations"), settings.get("Labels") if isinstance(settings, dict) else None)


def _platform(value: object) -> str | None:
    """Read a platform object, or a configuration, which has the same keys; None where it names no usable platform."""
    name = _raw_platform(value)
    return None if name in {None, "unknown/unknown"} else name


def _raw_platform(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    parts = [value.get("os"), value.get("architecture"), *([value["variant"]] if value.get("variant") else [])]
    if not all(isinstance(part, str) and _PLATFORM_PART.fullmatch(part) for part in parts):
        return None
    return "/".join(parts).lower()


def _date(value: object) -> datetime | None:
    """Read a date of RFC 3339; None for what is none, and for one before 1981."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        date = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if date.year >= FIRST_YEAR else None
