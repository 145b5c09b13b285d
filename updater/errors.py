"""One tree of errors, split by whose fault it is.

    UpdaterError
    ├── ConfigError        the operator's mistake: file, line, column, what was found, what was expected
    ├── RegistryError      the world's bad day at a registry; `retry_at` says when asking again makes sense
    ├── GitError           the world's bad day at a Git remote, or in a clone
    │   ├── NoRevision     the remote answered, and has no such branch or tag
    │   ├── PushRejected   someone else pushed first: read the new head and decide again
    │   └── PushRefused    a hook or a protected branch said no: the same push would be refused again
    ├── ForgeError         the world's bad day at a forge's API; `refused` says that asking the same again is useless
    ├── ClusterError       the world's bad day at a cluster; `retry_at` says when asking again makes sense
    │   ├── Unreachable    no usable answer: network, TLS, too late, 5xx, too many requests, or it is down
    │   ├── Denied         the login, or its rights
    │   ├── Refused        the cluster read it and would not have it: the same again is useless
    │   ├── Conflict       fields that others own
    │   ├── Absent         there is no such object, or not its namespace
    │   └── UnknownKind    the cluster serves no such kind (yet)
    ├── NotifyError        a channel that cannot be used as it is set up
    ├── ManifestError      what Git holds cannot be made into manifests: where, or which tool, and what it said
    ├── EditError          a file that cannot be changed safely; it is left as it was
    └── StoreError         the state database cannot be read or written

Our own bugs are no part of it: they rise with their trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


class UpdaterError(Exception):
    """The root; its text is one that an operator can act on and never holds a secret."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in the configuration; lines and columns count from 1, 0 where there is none."""

    file: str
    line: int
    column: int
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f"{self.where}: " if self.where else ""
        return f"{at}: {where}found {self.found}, expected {self.expected}"


class ConfigError(UpdaterError):
    """Everything that is wrong with the configuration, in one report."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class RegistryError(UpdaterError):
    """What was asked, of which registry, and what came back."""

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class GitError(UpdaterError):
    """What was asked, of which remote or clone, and what came back."""


class NoRevision(GitError):
    """The remote answered, and has no such branch or tag: asking again is useless until somebody makes it."""


class PushRejected(GitError):
    """The branch moved between our read and our push; nothing was written."""


class PushRefused(GitError):
    """The remote read our commit and would not have it; trying the same again before `retry_at` is useless."""

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class ForgeError(UpdaterError):
    """What was asked, of which forge, and what came back.

    `retry_at` says when asking again makes sense, where the forge told; `refused` that no retry mends it: the login,
    its rights, or what was asked.
    """

    def __init__(self, message: str, *, retry_at: datetime | None = None, refused: bool = False) -> None:
        super().__init__(message)
        self.retry_at, self.refused = retry_at, refused


class ClusterError(UpdaterError):
    """What was asked, of which cluster, and what came back; never the values of a Secret."""

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class Unreachable(ClusterError):
    """No usable answer came. What is there stays as it is; another try may work."""


class Denied(ClusterError):
    """The cluster does not know the login (401), or the login may not do this (403)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Refused(ClusterError):
    """The cluster read it and would not have it. `causes` are the fields that it names, and what is wrong with each."""

    def __init__(self, message: str, *, reason: str = "", causes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason, self.causes = reason, tuple(causes)


class Conflict(ClusterError):
    """Fields that others own, as (path, manager) such as (`.spec.replicas`, `kubectl`); nothing was changed."""

    def __init__(self, message: str, *, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class Absent(ClusterError):
    """There is no such object, or its namespace is not there or about to go."""


class UnknownKind(ClusterError):
    """The cluster serves no such kind: the definition that brings it is missing, or not ready."""


class NotifyError(UpdaterError):
    """What is wrong with the set-up of a channel; never its address, which may be a secret."""


class ManifestError(UpdaterError):
    """What cannot be read or rendered: `file:line`, or the tool, and why; never a value of a manifest."""


class EditError(UpdaterError):
    """A change that would touch more than it means to; the file is left as it was."""


class StoreError(UpdaterError):
    """The state database could not be read or written."""
