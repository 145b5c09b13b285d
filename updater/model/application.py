"""Applications: what of Git goes to which cluster, and how. The fields are those of `argoproj.io/v1alpha1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from updater.model.health import Health
from updater.model.sync import ResourceStatus, SyncResult, SyncStatus


@dataclass(frozen=True, slots=True)
class Directory:
    """Plain manifests: globs over paths below the source's folder; an empty text is no glob."""

    recurse: bool = False
    include: str = ""
    exclude: str = ""


@dataclass(frozen=True, slots=True)
class Kustomize:
    """What is laid over a kustomization before it is built. `images` are as kustomize writes them: name[=new][:tag]."""

    images: tuple[str, ...] = ()
    name_prefix: str = ""
    name_suffix: str = ""
    namespace: str = ""
    common_labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    common_annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class HelmParameter:
    """One `--set` or `--set-string`."""

    name: str
    value: str
    force_string: bool = False


@dataclass(frozen=True, slots=True)
class Helm:
    """How a chart is rendered; paths of value files count from the chart. `values` is YAML, `values_object` wins."""

    release_name: str = ""
    value_files: tuple[str, ...] = ()
    values: str = ""
    values_object: Mapping[str, Any] | None = field(default=None, hash=False)
    parameters: tuple[HelmParameter, ...] = ()
    skip_crds: bool = False
    ignore_missing_value_files: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where manifests come from. At most one of the three tools is named; none: it is seen from the files."""

    repo_url: str
    path: str = "."
    target_revision: str = "HEAD"
    directory: Directory | None = None
    kustomize: Kustomize | None = None
    helm: Helm | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where they go: a cluster by its name or by its address, exactly one of them; the namespace of what names none."""

    name: str = ""
    server: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Automated:
    """A sync without being asked."""

    enabled: bool = True
    prune: bool = False
    self_heal: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed syncs are tried again: seconds, at most `longest` between two. After `limit` tries at that pace."""

    limit: int = 5
    first: float = 5.0
    factor: float = 2.0
    longest: float = 180.0


@dataclass(frozen=True, slots=True)
class SyncPolicy:
    """How an application is kept in sync. `options` are Argo CD's words: `CreateNamespace=true`."""

    automated: Automated | None = None
    options: frozenset[str] = frozenset()
    retry: Retry = Retry()
    namespace_labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    namespace_annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Differences that do not count; `*` as group or kind is any. Pointers are those of RFC 6901."""

    group: str = ""
    kind: str = "*"
    name: str = ""
    namespace: str = ""
    json_pointers: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """One application. `origin` is `file:line` of its manifest; `cascade`: deleting it deletes its objects."""

    name: str
    source: Source
    destination: Destination
    project: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    policy: SyncPolicy = SyncPolicy()
    ignored: tuple[Ignored, ...] = ()
    history: int = 10
    cascade: bool = False
    suspend: bool = False
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ApplicationStatus:
    """How an application stands; times are aware, in UTC.

    revision   the commit that it was last compared with; applied: the one that was last applied without a failure
    rendered   a hash of what was rendered: what is told hangs on it, and not on the commit
    attempted  the same of the last sync; hooked: what stands for the hooks that ran last, all of them to their end
    health_at  since when its health is what it is
    attempts   syncs in a row that failed, or healed what came back
    retry_at   not before: the next attempt
    stale      its cluster, or its repository, cannot be reached: all this is what was known before
    home, options, cascade   of its manifest, what is needed to remove its objects when that is gone: the namespace of
               its inventory, its sync options, and whether they are to be removed at all
    """

    name: str
    cluster: str
    revision: str = ""
    applied: str = ""
    rendered: str = ""
    sync: SyncStatus = SyncStatus.UNKNOWN
    health: Health = Health.UNKNOWN
    health_at: datetime | None = None
    message: str = ""
    last: SyncResult | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    compared_at: datetime | None = None
    stale: str = ""
    resources: tuple[ResourceStatus, ...] = ()
    attempted: str = ""
    hooked: str = ""
    home: str = ""
    options: tuple[str, ...] = ()
    cascade: bool = False
