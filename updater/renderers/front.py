"""The way in: which renderer an application needs, and what is known already.

What is rendered depends on the contents of the files that are read, on the settings, and on the program: where all of
them are as they were, nothing is run. What was rendered is kept in memory alone, for it may hold Secrets.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from updater.errors import ManifestError
from updater.model.application import Application, Source
from updater.model.resource import Resource
from updater.plugins import members
from updater.renderers.base import Rendered, Renderer, Target
from updater.renderers.files import MAX_CONTENTS, MAX_PARSED, Files, Tree, root, shown
from updater.renderers.memory import Memory
from updater.renderers.tools import Tools

MAX_RENDERED = 128 << 20  # bytes of manifests that are kept
MAX_VIEWS, MAX_VIEWED = 64, 100_000  # commits that are kept in view, and their files together
MAX_WARNINGS = 50  # of one application


class Front:
    """All renderers, and what they made lately. Any thread may use it."""

    def __init__(self, tools: Tools, *, max_bytes: int = MAX_RENDERED) -> None:
        self._tools = tools
        self._known: Memory[Rendered] = Memory(max_bytes)
        self._parsed: Memory[list[Mapping[str, Any]]] = Memory(MAX_PARSED)
        self._contents: Memory[bytes] = Memory(MAX_CONTENTS)
        self._views: OrderedDict[int, tuple[Tree, Files]] = OrderedDict()  # the tree is kept, so that its id is its own
        self._guard = threading.Lock()
        family = sorted(members(Renderer).values(), key=lambda member: member.rank)
        self._family: list[Renderer] = [member() for member in family]

    @classmethod
    def below(cls, folder: Path) -> Front:
        """Make one that works below a folder for data, with the programs on our PATH."""
        return cls(Tools(folder / "render"))

    def files(self, tree: Tree) -> Files:
        """Return a commit, for all applications that come from it: what one has it work out serves the others."""
        with self._guard:
            if id(tree) not in self._views:
                self._views[id(tree)] = tree, Files(tree, self._parsed, self._contents)
                self._forget()
            self._views.move_to_end(id(tree))
            return self._views[id(tree)][1]

    def expect(self, tree: Tree, before: Tree | None, source: Source) -> bool:
        """Say whether the folder of a source is other than in an earlier commit.

        If it is, its files will be read together with those of the others that are expected.
        """
        files = self.files(tree)
        try:
            folder = files.follow(root(source.path))
            if before is not None and files.same(self.files(before), folder):
                return False
        except ManifestError:
            return True  # said when it is rendered
        files.expect(folder)
        return True

    def _forget(self) -> None:
        """Let go of the commits that were looked at longest ago, where there are too many."""
        while len(self._views) > MAX_VIEWS or (
            len(self._views) > 2 and sum(len(files) for _, files in self._views.values()) > MAX_VIEWED
        ):
            self._views.popitem(last=False)

    def chosen(self, files: Files, source: Source) -> Renderer:
        """Return the renderer that the source names, else the one that its folder looks like. Raises ManifestError."""
        named = [member for member in self._family if getattr(source, member.kind, None) is not None]
        if len(named) > 1:
            raise ManifestError(f"found {' and '.join(one.kind for one in named)} in one source, expected one of them")
        if not files.is_folder(root(source.path)):
            raise ManifestError(f"{shown(root(source.path))}: the repository has no such folder")
        return named[0] if named else next(member for member in self._family if member.detects(files, source))

    def cache_key(self, files: Files, application: Application, target: Target) -> str:
        """Return a hash of all that what is rendered depends on. It starts no program. Raises ManifestError."""
        return self._key(self.chosen(files, application.source), files, application, target)

    def render(self, files: Files, application: Application, target: Target, key: str = "") -> Rendered:
        """Return the manifests of an application; an unchanged one is not rendered again. Raises ManifestError.

        `key` is its `cache_key`, where that is known.
        """
        member = self.chosen(files, application.source)
        key = key or self._key(member, files, application, target)
        known = self._known.get(key)
        if known is None:
            known = _unique(member.render(files, application, target, self._tools), target.namespace)
            self._known.put(key, known, weight(known.resources))
        return known

    def _key(self, member: Renderer, files: Files, application: Application, target: Target) -> str:
        folder = root(application.source.path)
        read = sorted((path, files.oid(path)) for path in member.reads(files, application.source))
        facts = {
            "kind": member.kind,
            "folder": folder,
            "program": self._tools.identity(member.programs, folder) if member.programs else "",
            "files": read,
            "namespace": target.namespace,
            "depends": member.depends(application, target),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def weight(resources: Iterable[Resource]) -> int:
    """Return about how many bytes manifests take: of each node its slot and its object, of each text its letters."""
    total = 0
    waiting: list[Any] = [resource.manifest for resource in resources]
    while waiting:
        value = waiting.pop()
        total += 80 * (len(value) + 1)
        if isinstance(value, dict):
            total += 64 * len(value)
            value = value.values()
        for inner in value:
            if isinstance(inner, str):
                total += len(inner)
            elif isinstance(inner, dict | list):
                total -= 80  # it counts itself
                waiting.append(inner)
    return total


def _unique(rendered: Rendered, namespace: str) -> Rendered:
    """Keep the last of those that are one object; what names no namespace counts as in that of the application."""
    kept: dict[Any, Resource] = {}
    warnings = list(rendered.warnings)
    for resource in rendered.resources:
        key = resource.key
        metadata = resource.manifest["metadata"]
        name = key.name if metadata.get("name") else resource.source  # the cluster makes a name for each of the others
        identity = (key.group, key.kind, key.namespace or namespace, name)
        if identity in kept:
            warnings.append(f"{key} is there twice: {resource.source} counts, {kept[identity].source} does not")
        kept[identity] = resource
    return Rendered(tuple(kept.values()), tuple(warnings[:MAX_WARNINGS]))
