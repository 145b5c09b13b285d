"""What one cycle did and found: the shape that tables and `--json` show (contract, section 2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from updater.config.images import Item
from updater.model.change import Change, Reference
from updater.model.commit import Commit
from updater.model.decision import Decision, Reason
from updater.model.event import Kind, Subject
from updater.model.pull_request import PullRequest
from updater.secrets import redact

FOUND_AT = "found_at"  # in what is stored of a look, where later ones failed
MAX_PLACES = 50  # of one item that are remembered


class Outcome(StrEnum):
    """What became of a reference, the weightiest first."""

    FAILED = "failed"
    UPDATED = "updated"
    AVAILABLE = "available"
    HELD = "held"
    UP_TO_DATE = "up_to_date"


WEIGHT = {outcome: weight for weight, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class Cause:
    """What several rows, or a whole cycle, failed about: it is told once, not once for each of them.

    topic  tells failures of one subject apart: a registry that denies one image is not down
    """

    kind: Kind
    subject: Subject
    topic: str

    @property
    def key(self) -> str:
        """Its identity."""
        return f"{self.topic} {self.subject.key}"


@dataclass(frozen=True, slots=True)
class Before:
    """What the last look that found out had found of an item, and when: shown beside a failure, and nothing else."""

    at: datetime
    outcome: str
    current: str | None
    target: str | None
    newest: str | None
    reason: str

    @property
    def words(self) -> str:
        """What it was, in one line."""
        newest = f", newest {self.newest}" if self.newest else ""
        wanted = f", {self.current} -> {self.target}" if self.target else ""
        return f"before that, at {self.at:%Y-%m-%d %H:%M:%S} UTC: {self.outcome}{wanted}{newest}"

    def as_json(self) -> dict[str, Any]:
        """Return it as `known` of a row that failed."""
        return asdict(self) | {"at": self.at.isoformat()}


@dataclass(frozen=True, slots=True)
class Row:
    """One reference, or one item without any; `reason` is a word of the contract, or an error in words.

    `cause` is set where it failed for a reason that is not its own.
    """

    item: Item
    outcome: Outcome
    reason: str
    why: str
    current: str | None = None
    target: str | None = None
    newest: str | None = None
    repository: str | None = None
    branch: str | None = None
    reference: Reference | None = None
    decision: Decision | None = None
    cause: Cause | None = None
    before: Before | None = None

    def place(self) -> dict[str, Any]:
        """Return the row of one reference."""
        assert self.reference is not None
        return {
            "repository": self.repository,
            "branch": self.branch,
            "file": self.reference.file,
            "line": self.reference.line,
            "current": self.current,
            "target": self.target,
            "outcome": self.outcome.value,
            "reason": redact(self.reason),
            "why": redact(self.why),
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """What another run may mend; `retry_at` is when asking again makes sense, where that is known."""

    what: str
    error: str
    retry_at: datetime | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The changes of one branch, committed or (`check`) only computed."""

    repository: str
    branch: str
    changes: tuple[Change, ...]
    commit: Commit | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """A commit of ours that is on a branch and was not told yet.

    at      when it was committed, to a second, as Git says it: whoever tells it means the same event
    files   those that it changed
    owners  items by image in full and file
    """

    repository: str
    branch: str
    revision: str
    at: datetime
    message: str
    files: tuple[str, ...]
    owners: Mapping[tuple[str, str], Item]


@dataclass(frozen=True, slots=True)
class Proposed:
    """The pull request of one group into a branch of a repository: the open one, else the newest."""

    repository: str
    target: str
    request: PullRequest


@dataclass(slots=True)
class Report:
    """Everything that a cycle has to say.

    read    the branches that could be read, as the configuration names them
    heads   where each branch was when it was last read or written, by repository and branch
    landed  commits since it was last told what happened there; those that are `written` now come last
    realms  token services that got no credentials, by registry; none for one that answered without naming such
    proposed   pull requests that were looked at
    collected  items whose changes wait for others of their group, and until when
    """

    rows: list[Row] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    read: set[Subject] = field(default_factory=set)
    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    landed: list[Landed] = field(default_factory=list)
    realms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    proposed: list[Proposed] = field(default_factory=list)
    collected: dict[str, datetime] = field(default_factory=dict)

    @property
    def commits(self) -> list[Commit]:
        """The commits that were pushed."""
        return [written.commit for written in self.written if written.commit]

    @property
    def failed(self) -> bool:
        """Whether something failed that another run may mend."""
        return bool(self.failures) or any(row.outcome is Outcome.FAILED for row in self.rows)

    def images(self) -> list[dict[str, Any]]:
        """Return one row an item, whose fields are those of its weightiest reference."""
        by_item: dict[str, list[Row]] = {}
        for row in self.rows:
            by_item.setdefault(row.item.name, []).append(row)
        return [_image(rows) for rows in by_item.values()]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `once --json` and `check --json`."""
        return {
            "images": self.images(),
            "commits": [
                {
                    "repository": c.repository,
                    "branch": c.branch,
                    "revision": c.revision,
                    "message": c.message,
                    "files": list(c.files),
                }
                for c in self.commits
            ],
            "failures": [
                {"what": f.what, "error": redact(f.error), "retry_at": f.retry_at.isoformat() if f.retry_at else None}
                for f in unique(self.failures)
            ],
        }


def spelled(rows: list[Row]) -> str:
    """Return what was found of one item, as JSON: what `once --json` says of it, with not too many places."""
    found = _image(rows)
    return json.dumps(found | {"references": found["references"][:MAX_PLACES], "places": len(found["references"])})


def remembered(report: Report, before: Mapping[str, Before]) -> None:
    """Add to what failed what was known of it before; nothing was decided by that."""
    report.rows = [
        replace(row, before=known, newest=row.newest or known.newest, why=f"{row.why} ({known.words})")
        if row.outcome is Outcome.FAILED and row.cause is not None and (known := before.get(row.item.name))
        else row
        for row in report.rows
    ]


def before_of(at: datetime, document: str | None) -> Before | None:
    """Read what was stored of a look by `spelled`; None where nobody can."""
    try:
        found = json.loads(document or "")
        told = {name: found.get(name) for name in ("current", "target", "newest")}
        since = datetime.fromisoformat(found[FOUND_AT]) if FOUND_AT in found else at
        return Before(since, str(found["outcome"]), reason=str(found["reason"]), **told)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def kept(at: datetime, document: str | None) -> str | None:
    """Return what was stored of a look for as long as the next ones fail: with when it was found."""
    try:
        found = json.loads(document or "")
        return json.dumps({FOUND_AT: at.isoformat(), **found})
    except (ValueError, TypeError):
        return document


def unique(failures: Iterable[Failure]) -> list[Failure]:
    """Return every failure once, in the order of their first mention."""
    return list(dict.fromkeys(failures))


def weightiest(rows: Iterable[Row]) -> Row:
    """Return the row with the weightiest outcome, the first of several."""
    return min(rows, key=lambda row: WEIGHT[row.outcome])


def held(item: Item, reason: Reason, why: str, **fields: Any) -> Row:
    """Return the row of a hold; `up_to_date` has an outcome of its own."""
    outcome = Outcome.UP_TO_DATE if reason is Reason.UP_TO_DATE else Outcome.HELD
    return Row(item, outcome, reason.value, why, **fields)


def _image(rows: list[Row]) -> dict[str, Any]:
    first = weightiest(rows)
    return {
        "name": first.item.name,
        "image": first.item.image,
        "outcome": first.outcome.value,
        "current": first.current,
        "target": first.target,
        "newest": first.newest,
        "reason": redact(first.reason),
        "why": redact(first.why),
        "references": [row.place() for row in rows if row.reference is not None],
    } | ({"known": first.before.as_json()} if first.before else {})
