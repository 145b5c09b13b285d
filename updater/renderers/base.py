"""The family of renderers: each makes manifests of one kind of folder.

A member says which files it reads before it reads them, so that an unchanged tree costs nothing. It gets files by their
paths in the repository, and never sees a work tree.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from updater.errors import ManifestError
from updater.model.application import Application, Source
from updater.model.resource import Resource
from updater.plugins import Member
from updater.renderers.files import Files
from updater.renderers.tools import Tools
from updater.sync.dialect import Loaded


@dataclass(frozen=True, slots=True)
class Target:
    """What manifests are made for; empty where it is not known.

    `api_versions` are as `apps/v1` or `apps/v1/Deployment`; `namespace` is that of the application's destination.
    """

    kube_version: str = ""
    api_versions: frozenset[str] = frozenset()
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The manifests of an application, none of them twice, and what its owner should know."""

    resources: tuple[Resource, ...]
    warnings: tuple[str, ...] = ()


class Renderer(Member):
    """One kind of folder. Of those that would take one, the lowest rank does."""

    rank: ClassVar[int]
    programs: ClassVar[tuple[str, ...]] = ()  # any one of which it needs, the best first
    kind: str

    @abstractmethod
    def detects(self, files: Files, source: Source) -> bool:
        """Whether the folder looks like one of its kind."""

    @abstractmethod
    def reads(self, files: Files, source: Source) -> frozenset[str]:
        """Return the files of which a change may change what is rendered. Raises ManifestError."""

    @abstractmethod
    def depends(self, application: Application, target: Target) -> Mapping[str, Any]:
        """Return what else may change it, as JSON can say it."""

    @abstractmethod
    def render(self, files: Files, application: Application, target: Target, tools: Tools) -> Rendered:
        """Make the manifests. Raises ManifestError, and then nothing of it counts."""


def resources(loaded: Iterable[Loaded], source: str) -> list[Resource]:
    """Make resources of manifests that were read from a file. Raises ManifestError with its line."""
    found = []
    for one in loaded:
        at = f"{source}:{one.line}"
        try:
            found.append(Resource.of(one.manifest, at))
        except ValueError as error:
            raise ManifestError(f"{at}: {error}") from None
    return found
