"""The facts as people and scripts get them: the API answers with these, the page draws the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """What all have in common: times are aware, in UTC."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # until somebody looks: nobody does at most daemons


class Place(Fact):
    """Where Git mentions an image; `url` shows it at its forge, where that is known."""

    repository: str | None
    branch: str | None
    file: str
    line: int
    current: str | None
    target: str | None
    outcome: str
    reason: str
    why: str
    url: str | None = None


class CommitLink(Fact):
    """What a commit of ours did to one item."""

    repository: str
    revision: str
    at: datetime
    old: str | None
    new: str | None
    url: str | None = None
    item: str = ""
    image: str = ""
    why: str = ""
    rollback: bool = False


class Held(Fact):
    """Who stopped an item, and until when; `until` null: until it is resumed."""

    at: datetime
    until: datetime | None
    reason: str
    by: str
    tag: str | None


class Image(Fact):
    """One item: how it stood at the last look.

    outcome   failed, updated, available, held, up_to_date; unknown where nothing is known yet
    newest    the newest tag overall, whether it is allowed or not; target: the newest that is allowed, if it is another
    age       seconds since the candidate was first seen, to a minute; null where there is none or nobody knows
    stale     why what is shown is older than it should be, empty where it is not
    """

    name: str
    image: str
    repository_path: str
    outcome: str
    reason: str
    why: str
    current: str | None
    target: str | None
    newest: str | None
    age: float | None
    policy: str
    labels: dict[str, str]
    suspended: bool
    held: Held | None
    last_check: datetime | None
    next_check: datetime | None
    failures: int
    stale: str
    places: int
    registry: str = ""
    last_commit: CommitLink | None


class Told(Fact):
    """One event, as the contract has it; `text` is the one line."""

    seq: int
    id: str
    time: datetime
    kind: str
    severity: str
    text: str
    subject: dict[str, str]
    old: str | None
    new: str | None
    digest: str | None
    reason: str
    why: str
    commit: str | None
    commit_url: str | None
    release_notes: str | None
    spots: list[dict[str, Any]]
    images: list[str]
    labels: dict[str, str]


class TagVerdict(Fact):
    """One tag of the last list, and what the policy says of it."""

    tag: str
    verdict: str
    why: str
    first_seen: datetime | None = None


class ImageDetail(Image):
    """One item with everything that is known of it.

    tags       those of the last list that was believed, the best first; of many the first; tags_total: all there are
    trace_why  what was decided about them, or why nothing is shown
    approved   tags that may pass once
    """

    references: list[Place]
    tags: list[TagVerdict]
    tags_total: int
    trace_why: str
    events: list[Told]
    approved: list[str]


class Registry(Fact):
    """One registry: whether it answers, and how much may be asked of it.

    pulls_left, pulls_limit  what it said last of pulls, None where it said nothing; Docker Hub does
    """

    host: str
    images: int
    failing: int
    why: str
    rate: float | None
    burst: int | None
    last_success: datetime | None
    pulls_left: int | None
    pulls_limit: int | None


class Repository(Fact):
    """One branch of a repository, as it was last read or written."""

    name: str
    branch: str
    head: str
    url: str | None
    last_push: datetime | None
    why: str


class ClusterFact(Fact):
    """One cluster."""

    name: str
    applications: int
    out_of_sync: int
    unhealthy: int
    why: str


class Channel(Fact):
    """Where messages go."""

    name: str
    kind: str
    waiting: int
    failed: int
    last_sent: datetime | None
    oldest_waiting: datetime | None
    last_answer: str


class Overview(Fact):
    """The whole at a glance. `red` says why nobody should trust it, empty where all is well."""

    version: str
    started: datetime
    last_cycle: datetime | None
    next_cycle: datetime | None
    counts: dict[str, int]
    red: str
    problems: list[str]
    registries: list[Registry]
    repositories: list[Repository]
    clusters: list[ClusterFact]
    channels: list[Channel]


class Change(Fact):
    """One commit of ours, as people review it."""

    repository: str
    branch: str | None
    revision: str
    at: datetime
    subject: str
    url: str | None
    changes: list[CommitLink]
    images: list[str]
    why: str
    places: list[str]
    release_notes: str | None
    followed: list[Told]
    revert: str
    rollback: bool = False


class ChangeDetail(Change):
    """One commit with its diff, as the clone here has it; `diff_why` says why there is none, or that it was cut."""

    diff: str
    diff_why: str


class ResourceFact(Fact):
    """One object of an application."""

    group: str
    kind: str
    namespace: str
    name: str
    sync: str
    health: str | None
    message: str


class Application(Fact):
    """One application, as it stood when it was last looked at."""

    name: str
    project: str
    cluster: str
    sync: str
    health: str
    revision: str
    applied: str
    why: str
    stale: str
    health_at: datetime | None
    compared_at: datetime | None
    retry_at: datetime | None
    last_phase: str | None
    last_message: str
    last_finished: datetime | None
    resources_total: int
    repository: str = ""
    path: str = ""
    url: str | None = None


class Drift(Fact):
    """One object that is not as Git says: the paths of its fields, each with who owns it in the cluster."""

    object: str
    verdict: str
    why: str
    fields: list[tuple[str, str]]
    diff: str


class DeliveredFact(Fact):
    """One line of an application's history."""

    revision: str
    at: datetime
    images: list[str]
    url: str | None


class ApplicationDetail(Application):
    """One application with its objects, history and events."""

    resources: list[ResourceFact]
    drift: list[Drift]
    history: list[DeliveredFact]
    events: list[Told]


class LetterFact(Fact):
    """One message: to whom, what of, and what the service said."""

    seq: int
    channel: str
    state: str
    kind: str
    subject: str
    text: str
    created: datetime
    due: datetime
    done: datetime | None
    attempts: int
    answer: str


class Page(Fact):
    """One page of a list; `next` is the cursor of the following one, null at the end."""

    items: list[Any]
    next: str | None
