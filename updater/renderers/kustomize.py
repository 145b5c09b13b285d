"""Kustomizations: `kustomize build`, or kubectl's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from updater.errors import ManifestError
from updater.model.application import Application, Source
from updater.model.application import Kustomize as Settings
from updater.renderers.base import Rendered, Renderer, Target, resources
from updater.renderers.files import MAX_FILES, Files, join, root, shown, within
from updater.renderers.tools import Tools
from updater.secrets import redact
from updater.sync.dialect import load, load_all

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

_ANY = ("resources", "bases", "components")  # files or folders
_STEPS = ("generators", "transformers", "validators")  # files, or written in place
_FILES = ("crds", "configurations", "paths")
_ENTRIES = ("patches", "patchesJson6902", "replacements")  # with a `path` in each
_MAPS = ("configMapGenerator", "secretGenerator")
_REFUSED = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_NESTED = ("patchesStrategicMerge", "openapi", "files", "envs", "env", "path")
_KEYS = {key.casefold(): key for key in (*_ANY, *_STEPS, *_FILES, *_ENTRIES, *_MAPS, *_REFUSED, *_NESTED)}
_FUNCTION = "config.kubernetes.io/function"
_REMOTE = re.compile(r"(?i)[a-z][a-z0-9+.-]*://|git::|gh:|[\w.-]+@[^/]+[:/]|(?:www\.)?github\.com[:/]")
_IMAGE = re.compile(r"(?P<name>[^@]*?)(?::(?P<tag>[^/:@]*))?(?:@(?P<digest>.*))?", re.DOTALL)


class Kustomize(Renderer):
    """Kustomizations. All that one names must be in the repository; nothing is fetched, no plugin or chart is run."""

    rank: ClassVar[int] = 2
    programs: ClassVar[tuple[str, ...]] = ("kustomize", "kubectl")
    kind: Literal["kustomize"] = "kustomize"

    def detects(self, files: Files, source: Source) -> bool:
        """Whether there is a kustomization."""
        folder = root(source.path)
        return any(files.is_file(join(folder, name)) for name in NAMES)

    def reads(self, files: Files, source: Source) -> frozenset[str]:
        """Return the kustomization, all that it names, and so on."""
        return frozenset(_Closure(files).of(root(source.path)))

    def depends(self, application: Application, target: Target) -> Mapping[str, Any]:
        """What is laid over it."""
        return {"overlay": _overlay(application.source.kustomize or Settings(), "")}

    def render(self, files: Files, application: Application, target: Target, tools: Tools) -> Rendered:
        """Build it from a copy of the files that it names."""
        folder = root(application.source.path)
        paths = self.reads(files, application.source)
        overlay = _overlay(application.source.kustomize or Settings(), join("../tree", folder))
        program = tools.find(self.programs, folder)
        with tools.room() as room:
            room.write(files.read(paths))
            start = join("tree", folder)
            if len(overlay) > 1:
                room.write({"kustomization.yaml": json.dumps(overlay).encode()}, "overlay")
                start = "overlay"
            verb = "kustomize" if program.name.startswith("kubectl") else "build"
            what = f"{program.name} {verb} {shown(folder)}"
            argv = [str(program), verb, start, "--load-restrictor=LoadRestrictionsRootOnly"]
            output, said = tools.run(room, argv, what)
        warnings = (line.lstrip("# ") for line in said.splitlines() if line.startswith("# Warning"))
        return Rendered(tuple(resources(load(output, what), what)), tuple(dict.fromkeys(warnings)))


class _Closure:
    """Which files a kustomization needs. Only kustomizations are read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._found: set[str] = set()
        self._folders: list[str] = []
        self._seen: set[str] = set()

    def of(self, folder: str) -> set[str]:
        """Return them. Raises ManifestError for what is remote, outside, not there, or would run something."""
        self._enter(folder, shown(folder))
        while self._folders:
            self._folder(self._folders.pop())
        return self._found

    def _enter(self, folder: str, by: str) -> None:
        if folder in self._seen:
            return
        if not any(self._files.is_file(join(folder, name)) for name in NAMES):
            raise ManifestError(f"{by}: {shown(folder)} holds no kustomization")
        self._seen.add(folder)
        self._folders.append(folder)

    def _folder(self, folder: str) -> None:
        for path in (join(folder, name) for name in NAMES):
            if self._files.is_file(path):
                self._add(path)
                for document in self._files.parsed(path):
                    self._kustomization(document, folder, path)

    def _kustomization(self, document: Mapping[str, Any], folder: str, by: str) -> None:
        _spelled(document, shown(by))
        for key in _REFUSED:
            if document.get(key):
                raise ManifestError(f"{shown(by)}: {key} is not supported: it would run Helm and fetch charts")
        for key in _ANY:
            for entry in _texts(document.get(key)):
                self._either(entry, folder, f"{shown(by)}: {key}")
        for key in _STEPS:
            for entry in _texts(document.get(key)):
                self._step(entry, folder, f"{shown(by)}: {key}")
        self._named(document, folder, shown(by))

    def _named(self, document: Mapping[str, Any], folder: str, by: str) -> None:
        """Take the files that a kustomization, or one of its steps, names apart from other manifests."""
        for key in _FILES:
            for entry in _texts(document.get(key)):
                self._file(entry, folder, f"{by}: {key}")
        for entry in _texts(document.get("patchesStrategicMerge")):
            if not _in_place(entry, f"{by}: patchesStrategicMerge"):
                self._file(entry, folder, f"{by}: patchesStrategicMerge")
        for key in _ENTRIES:
            for one in _mappings(document.get(key)):
                self._paths(one, ("path",), folder, f"{by}: {key}")
        for key in _MAPS:
            for one in _mappings(document.get(key)):
                self._sources(one, folder, f"{by}: {key}")
        self._paths(_mapping(document.get("openapi")), ("path",), folder, f"{by}: openapi")

    def _sources(self, generator: Mapping[str, Any], folder: str, by: str) -> None:
        _spelled(generator, by)
        for entry in _texts(generator.get("files")):
            self._file(entry.partition("=")[2] if "=" in entry else entry, folder, by)
        for entry in _texts(generator.get("envs")):
            self._file(entry, folder, by)
        self._paths(generator, ("env",), folder, by)

    def _paths(self, holder: Mapping[str, Any], keys: tuple[str, ...], folder: str, by: str) -> None:
        _spelled(holder, by)
        for key in keys:
            entry = holder.get(key)
            if isinstance(entry, str) and entry:
                self._file(entry, folder, by)

    def _step(self, entry: str, folder: str, by: str) -> None:
        if _in_place(entry, by):
            self._configured(load_all(entry, by), folder, by)
            return
        path = self._local(entry, folder, by)
        if self._files.is_folder(path):  # its patches could make of it what was never looked at
            raise ManifestError(f"{by}: {shown(path)} is a folder, expected a file")
        self._file(entry, folder, by)
        self._configured(self._files.parsed(path), folder, shown(path))

    def _configured(self, documents: list[Mapping[str, Any]], folder: str, by: str) -> None:
        for document in documents:
            annotations = _mapping(_mapping(document.get("metadata")).get("annotations"))
            if document.get("apiVersion") != "builtin" or _FUNCTION in annotations:
                raise ManifestError(f"{by}: only steps that are built in are run, no plugins and no functions")
            if str(document.get("kind")).startswith("HelmChart"):
                raise ManifestError(f"{by}: charts are not supported in a kustomization")
            self._named(document, folder, by)
            self._paths(document, ("path",), folder, by)
            self._sources(document, folder, by)

    def _either(self, entry: str, folder: str, by: str) -> None:
        """Take a file, or what a folder holds."""
        path = self._local(entry, folder, by)
        if self._files.is_file(path):
            self._add(path)
        elif self._files.is_folder(path):
            self._enter(path, by)
        else:
            raise ManifestError(f"{by}: {shown(path)} is not in the repository")

    def _file(self, entry: str, folder: str, by: str) -> None:
        path = self._local(entry, folder, by)
        if not self._files.is_file(path):
            raise ManifestError(f"{by}: {shown(path)} is not in the repository")
        self._add(path)

    def _local(self, entry: str, folder: str, by: str) -> str:
        _here(entry, by)
        if "?" in entry:  # `?ref=` stands in references to Git alone
            raise _remote(entry, by)
        path = within(folder, entry)
        if path is None:
            raise ManifestError(f"{by}: {shown(entry)} leads out of the repository")
        return path

    def _add(self, path: str) -> None:
        self._found.add(path)
        if len(self._found) > MAX_FILES:
            raise ManifestError(f"{shown(path)}: more than {MAX_FILES} files")


def _here(entry: str, by: str) -> None:
    if _REMOTE.match(entry):
        raise _remote(entry, by)


def _remote(entry: str, by: str) -> ManifestError:
    return ManifestError(redact(f"{by}: {shown(entry)} is remote; only what is in the repository is rendered"))


def _spelled(document: Mapping[str, Any], by: str) -> None:
    """Refuse `Resources`, and letters that only fold alike: kustomize takes them for `resources`, behind our back."""
    for key in document:
        known = _KEYS.get(key.casefold(), key)
        if key != known:
            raise ManifestError(f"{by}: found the key {shown(key)}, expected {known}")


def _in_place(entry: str, by: str) -> bool:
    """Whether it is YAML, and not the name of a file. An address is neither."""
    _here(entry, by)
    return "\n" in entry or entry.lstrip().startswith("{") or ": " in entry


def _texts(value: Any) -> Iterator[str]:
    return (one for one in value if isinstance(one, str)) if isinstance(value, list) else iter(())


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _overlay(settings: Settings, base: str) -> dict[str, Any]:
    """Return the kustomization that is laid over another; only `resources` where there is nothing to lay."""
    fields: dict[str, Any] = {
        "namePrefix": settings.name_prefix,
        "nameSuffix": settings.name_suffix,
        "namespace": settings.namespace,
        "images": [_image(image) for image in settings.images],
        "labels": [{"pairs": dict(settings.common_labels), "includeSelectors": True}] if settings.common_labels else [],
        "commonAnnotations": dict(settings.common_annotations),
    }
    return {"resources": [base]} | {key: value for key, value in fields.items() if value}


def _image(text: str) -> dict[str, str]:
    """Read `name[=new][:tag][@digest]`, as `kustomize edit set image` does."""
    name, replaced, new = text.partition("=")
    found = _IMAGE.fullmatch(new if replaced else name)
    assert found is not None
    short = found["name"]
    entry = {"name": name if replaced else short}
    if replaced and short not in {"*", ""}:
        entry["newName"] = short
    if found["tag"] and found["tag"] != "*":
        entry["newTag"] = found["tag"]
    if found["digest"]:
        entry["digest"] = found["digest"]
    return entry
