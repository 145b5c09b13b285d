"""What happened: the one shape that history, messages, webhooks and metrics are made of (contract, section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any

from updater.model.decision import Reason


class Kind(StrEnum):
    """Every kind of event; the words are those of the contract."""

    IMAGE_UPDATED = "image_updated"
    UPDATE_AVAILABLE = "update_available"
    UPDATE_HELD = "update_held"
    UPDATE_FAILED = "update_failed"
    UPDATE_UNREFERENCED = "update_unreferenced"
    SCAN_FAILED = "scan_failed"
    SCAN_RECOVERED = "scan_recovered"
    PUSH_REJECTED = "push_rejected"
    PULL_REQUEST_OPENED = "pull_request_opened"
    PULL_REQUEST_MERGED = "pull_request_merged"
    PULL_REQUEST_CLOSED = "pull_request_closed"
    HUMAN_ROLLBACK = "human_rollback"
    HOLD_EXPIRED = "hold_expired"
    MOVED_TAG = "moved_tag"
    FLAPPING = "flapping"
    REALM_UNTRUSTED = "realm_untrusted"
    SYNC_STARTED = "sync_started"
    SYNC_SUCCEEDED = "sync_succeeded"
    SYNC_FAILED = "sync_failed"
    OUT_OF_SYNC = "out_of_sync"
    HEALTH_DEGRADED = "health_degraded"
    HEALTH_RECOVERED = "health_recovered"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    CLUSTER_RECOVERED = "cluster_recovered"
    CLUSTERS_DIFFER = "clusters_differ"
    CONFIG_REJECTED = "config_rejected"


class Severity(StrEnum):
    """How much it matters, the least first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Where it stands: 0 for info."""
        return list(Severity).index(self)


_ERRORS = frozenset({Kind.UPDATE_FAILED, Kind.SCAN_FAILED, Kind.SYNC_FAILED, Kind.CONFIG_REJECTED, Kind.PUSH_REJECTED,
                     Kind.REALM_UNTRUSTED})  # fmt: skip
_WARNINGS = frozenset({Kind.HUMAN_ROLLBACK, Kind.MOVED_TAG, Kind.FLAPPING, Kind.UPDATE_UNREFERENCED, Kind.OUT_OF_SYNC,
                       Kind.HEALTH_DEGRADED, Kind.CLUSTER_UNREACHABLE, Kind.CLUSTERS_DIFFER})  # fmt: skip
_GRAVE_HOLDS = frozenset({Reason.UNVERIFIED, Reason.CONTESTED, Reason.NOT_WRITABLE})  # nothing opens these but a person

ENDS: Mapping[Kind, Kind] = {
    Kind.SCAN_RECOVERED: Kind.SCAN_FAILED,
    Kind.HEALTH_RECOVERED: Kind.HEALTH_DEGRADED,
    Kind.CLUSTER_RECOVERED: Kind.CLUSTER_UNREACHABLE,
    Kind.SYNC_SUCCEEDED: Kind.SYNC_FAILED,
}
"""Which failure a recovery ends: it goes to those who were told of that failure."""


def sound(text: str) -> str:
    """Return a text that UTF-8 can spell: half surrogates, of names of files mostly, become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _make_sound(value: Subject | Spot | Event) -> None:
    """Make every text of a frozen value sound: it is hashed, stored and sent."""
    for name, found in zip(value.__slots__, _EVERY[type(value)](value), strict=True):
        if isinstance(found, str) and not found.isascii():
            object.__setattr__(value, name, sound(found))


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about; what does not apply is empty.

    image        an image's name in the configuration, `api`; item: that of one of its items, `api/prod`
    reference    the image as it is written there, `ghcr.io/acme/api`
    registry     `host[:port]`
    """

    image: str = ""
    item: str = ""
    reference: str = ""
    registry: str = ""
    repository: str = ""
    branch: str = ""
    application: str = ""
    project: str = ""
    cluster: str = ""

    def __post_init__(self) -> None:
        _make_sound(self)

    @property
    def key(self) -> str:
        """The identity: what messages are ordered by, and conditions are known by. `reference` is display alone."""
        names = _OF_ITEMS if self.item else _OF_OTHERS
        return " ".join([f"{name}={value}" for name in names if (value := getattr(self, name))])

    @property
    def words(self) -> str:
        """The shortest name that says what it is."""
        return (
            self.item or self.image or self.application or self.cluster or self.registry
            or " ".join(filter(None, (self.repository, self.branch))) or "updater"
        )  # fmt: skip


_OF_OTHERS = tuple(field.name for field in fields(Subject) if field.name != "reference")
_OF_ITEMS = tuple(name for name in _OF_OTHERS if name != "image")
"""What makes the key of a subject, in its order; the name of an item holds that of its image."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where Git mentions it; `spelled` is the name of the image as it stands there."""

    repository: str
    branch: str
    file: str
    line: int
    spelled: str = ""

    def __post_init__(self) -> None:
        _make_sound(self)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state. Texts come from outside: whoever shows them escapes them.

    old, new       values as in trailers: `tag`, `tag@sha256:...`, `@sha256:...`; or what else changed
    reason         a word of the contract, else empty
    why            the same in words, or an error; never a secret
    commit         the revision that made it so; commit_url: where people see it
    release_notes  where the image says that its source or its changes are told
    images         others that it concerns: images of a refused push, applications of a cluster, objects out of sync
    """

    kind: Kind
    at: datetime
    subject: Subject
    old: str | None = None
    new: str | None = None
    digest: str | None = None
    reason: str = ""
    why: str = ""
    commit: str | None = None
    commit_url: str | None = None
    release_notes: str | None = None
    spots: tuple[Spot, ...] = ()
    images: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _make_sound(self)
        if self.images:
            object.__setattr__(self, "images", tuple(map(sound, self.images)))
        if self.labels:
            object.__setattr__(self, "labels", {sound(key): sound(value) for key, value in self.labels.items()})

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        if self.kind in _ERRORS:
            return Severity.ERROR
        grave = self.kind is Kind.UPDATE_HELD and self.reason in _GRAVE_HOLDS
        return Severity.WARNING if grave or self.kind in _WARNINGS else Severity.INFO

    @property
    def key(self) -> str:
        """What makes it the same event again: subject, kind, reason of a hold, values and digest; never shown text."""
        parts = (self.subject.key, self.kind, self.reason, self.old or "", self.new or "", self.digest or "")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def id(self) -> str:
        """Unique, and the same for the same event at the same time."""
        told = " ".join((self.key, str(self.commit), self.at.astimezone(UTC).isoformat(), *self.images))
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def as_json(self) -> dict[str, Any]:
        """Return the document of the API and of webhooks; `text` is added by who words it."""
        subject = {name: value for name in self.subject.__slots__ if (value := getattr(self.subject, name))}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"kind", "at", "subject"}}
        return {
            "id": self.id,
            "time": self.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "kind": self.kind.value,
            "severity": self.severity.value,
            "subject": subject,
            **rest,
            "spots": [asdict(spot) for spot in self.spots],
            "images": list(self.images),
            "labels": dict(self.labels),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Event:
        """Read back what `as_json` returned."""
        known = {f.name for f in fields(cls)} - {"kind", "at", "subject", "spots", "images"}
        return cls(
            kind=Kind(document["kind"]),
            at=datetime.fromisoformat(document["time"]),
            subject=Subject(**document["subject"]),
            spots=tuple(Spot(**spot) for spot in document["spots"]),
            images=tuple(document["images"]),
            **{name: document[name] for name in known if name in document},
        )


_EVERY = {kind: attrgetter(*kind.__slots__) for kind in (Subject, Spot, Event)}
"""What returns all fields at once: these are made by the thousand."""
