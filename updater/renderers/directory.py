"""Plain manifests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import re2

from updater.errors import ManifestError
from updater.model.application import Application, Source
from updater.model.application import Directory as Settings
from updater.model.resource import Resource
from updater.renderers.base import Rendered, Renderer, Target, resources
from updater.renderers.files import Files, join, root, shown, text
from updater.renderers.tools import Tools
from updater.sync.dialect import load

_ENDS = (".yaml", ".yml", ".json")
_SKIP = "+argocd:skip-file-rendering"  # a comment in a file that is not to be applied
MAX_GLOB = 2_000  # characters


class Directory(Renderer):
    """Plain manifests: `*.yaml`, `*.yml` and `*.json` of the folder, and with `recurse` of those below it."""

    rank: ClassVar[int] = 3
    kind: Literal["directory"] = "directory"

    def detects(self, files: Files, source: Source) -> bool:
        """Every folder is one."""
        return files.is_folder(root(source.path))

    def reads(self, files: Files, source: Source) -> frozenset[str]:
        """Return the files that are chosen by their names."""
        settings = source.directory or Settings()
        folder = root(source.path)
        names = (name for name in files.listed(folder) if name.endswith(_ENDS) and _chosen(name, settings))
        return frozenset(path for path in (join(folder, name) for name in names) if files.leads_to_file(path))

    def depends(self, application: Application, target: Target) -> Mapping[str, Any]:
        """Nothing: which files are read says it all."""
        return {}

    def render(self, files: Files, application: Application, target: Target, tools: Tools) -> Rendered:
        """Read them in the order of their paths; one that cannot be read fails all."""
        contents = files.read(sorted(self.reads(files, application.source)))
        found: list[Resource] = []
        warnings: list[str] = []
        for path, data in contents.items():
            content = text(data, path)
            if _SKIP in content:
                continue
            loaded = load(content, shown(path))
            if loaded and not any(one.manifest.keys() & {"apiVersion", "kind"} for one in loaded):
                warnings.append(f"{shown(path)}: it holds no manifest, and is left out")
                continue
            found += resources(loaded, shown(path))
        return Rendered(tuple(found), tuple(warnings))


def _chosen(name: str, settings: Settings) -> bool:
    if "/" in name and not settings.recurse:
        return False
    if settings.exclude and _glob(settings.exclude).fullmatch(name):
        return False
    return not settings.include or bool(_glob(settings.include).fullmatch(name))


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object: ...


@lru_cache(maxsize=256)
def _glob(glob: str) -> _Pattern:
    """Read a glob as Argo CD does: `*` and `?` match `/` too, and there are `[a-z]`, `[!a]` and `{one,other}`."""
    try:
        if len(glob) > MAX_GLOB:
            raise ValueError("it is too long")
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        pattern: _Pattern = re2.compile("".join(_translated(glob)), options)
    except (ValueError, re2.error) as error:
        raise ManifestError(f"{shown(glob)!r} is no pattern of file names: {error}") from None
    return pattern


_WILD = {"*": ".*", "?": "."}


def _translated(glob: str) -> list[str]:
    found: list[str] = []
    at, open_braces = 0, 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char in _WILD:
            found.append(_WILD[char])
        elif char == "[":
            end = glob.find("]", at + 1 + (glob[at : at + 1] == "!"))
            if end < 0:
                raise ValueError("a [ is not closed")
            found.append(_choice(glob[at:end]))
            at = end + 1
        elif char == "{":
            open_braces += 1
            found.append("(?:")
        elif char == "}" and open_braces:
            open_braces -= 1
            found.append(")")
        elif char == "," and open_braces:
            found.append("|")
        else:
            escaped = char == "\\" and at < len(glob)
            found.append(re2.escape(glob[at] if escaped else char))
            at += escaped
    if open_braces:
        raise ValueError("a { is not closed")
    return found


def _choice(inside: str) -> str:
    negated, letters = inside.startswith("!"), inside.removeprefix("!")
    escaped = "".join(c if c == "-" else re2.escape(c) for c in letters)
    return f"[{'^' if negated else ''}{escaped}]"
