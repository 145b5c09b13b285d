"""Charts: `helm template`."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

from updater.errors import ManifestError
from updater.model.application import Application, Source
from updater.model.application import Helm as Settings
from updater.renderers.base import Rendered, Renderer, Target, resources
from updater.renderers.files import Files, join, root, shown, within
from updater.renderers.tools import Room, Tools
from updater.secrets import redact
from updater.sync.dialect import load

_CHART = "Chart.yaml"
_SCHEMA = "values.schema.json"
_COMMA = re.compile(r"(?<!\\),")
_OFFICIAL = re.compile(r"https?://json-schema\.org/")
MAX_PACKED = 64 << 20  # bytes of a packed chart, once unpacked
_VENDORED = "must be vendored in charts/"


class Helm(Renderer):
    """Charts in the repository. The charts that one depends on are vendored in `charts/`; nothing is fetched."""

    rank: ClassVar[int] = 1
    programs: ClassVar[tuple[str, ...]] = ("helm",)
    kind: Literal["helm"] = "helm"

    def detects(self, files: Files, source: Source) -> bool:
        """Whether there is a Chart.yaml."""
        return files.is_file(join(root(source.path), _CHART))

    def reads(self, files: Files, source: Source) -> frozenset[str]:
        """Return all files of the chart, and the value files beside it."""
        folder = root(source.path)
        if not files.is_file(join(folder, _CHART)):
            raise ManifestError(f"{shown(folder)}: it holds no {_CHART}")
        return frozenset(files.below(folder)) | frozenset(_value_files(files, source))

    def depends(self, application: Application, target: Target) -> Mapping[str, Any]:
        """Its settings, and the cluster that it is made for."""
        return {
            "settings": asdict(application.source.helm or Settings()),
            "release": _release(application),
            "namespace": _namespace(application, target),
            "kube_version": target.kube_version,
            "api_versions": sorted(target.api_versions),
        }

    def render(self, files: Files, application: Application, target: Target, tools: Tools) -> Rendered:
        """Render it from a copy of its files."""
        source = application.source
        folder = root(source.path)
        contents = files.read(self.reads(files, source))
        program = tools.find(self.programs, folder)
        what = f"helm template {shown(folder)}"
        elsewhere = [path for path in sorted(contents) if _unsafe(path, contents[path])]
        with tools.room() as room:
            chart = {path: contents[path] for path in files.below(folder)}
            room.write(chart)
            values = [contents[path] for path in _value_files(files, source)]
            argv = [
                str(program), "template", *_options(application, target),
                *_given(source.helm or Settings(), values, room),
                *(["--skip-schema-validation"] if elsewhere else []),
                "--", _release(application), join("tree", folder),
            ]  # fmt: skip
            try:
                output, _ = tools.run(room, argv, what)
            except ManifestError as error:
                hint = f" (the charts that it depends on {_VENDORED})" if "charts/ directory" in str(error) else ""
                raise ManifestError(f"{error}{hint}") from None
        warnings = [f"{shown(path)}: its schema refers to other places, so no values are checked" for path in elsewhere]
        return Rendered(tuple(resources(load(output, what), what)), tuple(warnings))


def _release(application: Application) -> str:
    helm = application.source.helm
    return helm.release_name if helm and helm.release_name else application.name


def _namespace(application: Application, target: Target) -> str:
    helm = application.source.helm
    return (helm.namespace if helm else "") or target.namespace or "default"


def _value_files(files: Files, source: Source) -> list[str]:
    """Return the paths of the value files, in their order. Raises ManifestError for one that is not there."""
    folder, settings = root(source.path), source.helm or Settings()
    found = []
    for name in settings.value_files:
        path = _value_file(folder, name)
        if files.is_file(path):
            found.append(path)
        elif not settings.ignore_missing_value_files:
            raise ManifestError(f"{shown(folder)}: the value file {shown(path)} is not in the repository")
    return found


def _value_file(folder: str, name: str) -> str:
    if name.startswith("$"):
        raise ManifestError(f"{shown(folder)}: a value file of another source ({shown(name)}) is not supported yet")
    if "://" in name:
        remote = f"{shown(folder)}: the value file {shown(name)} is remote; only what is in the repository is rendered"
        raise ManifestError(redact(remote))
    path = within("" if name.startswith("/") else folder, name.lstrip("/"))
    if not path:
        raise ManifestError(f"{shown(folder)}: the value file {shown(name)} leads out of the repository")
    return path


def _options(application: Application, target: Target) -> list[str]:
    settings = application.source.helm or Settings()
    return [
        "--skip-tests",
        f"--namespace={_namespace(application, target)}",
        "--skip-crds" if settings.skip_crds else "--include-crds",
        *([f"--kube-version={target.kube_version}"] if target.kube_version else []),
        *(f"--api-versions={version}" for version in sorted(target.api_versions)),
    ]


def _given(settings: Settings, files: list[bytes], room: Room) -> list[str]:
    """Write the values, later ones over earlier ones, under names of ours; helm splits names at commas."""
    values = list(files)
    if settings.values_object is not None:
        values.append(json.dumps(settings.values_object).encode())
    elif settings.values:
        values.append(settings.values.encode())
    room.write({f"{n}.yaml": data for n, data in enumerate(values)}, "values")
    return [
        *(f"--values=values/{n}.yaml" for n in range(len(values))),
        *(
            f"--set{'-string' if parameter.force_string else ''}={parameter.name}={_escaped(parameter.value)}"
            for parameter in settings.parameters
        ),
    ]


def _escaped(value: str) -> str:
    """Return a value in which commas are commas; in a list in braces they part its entries."""
    return value if value.startswith("{") and value.endswith("}") else _COMMA.sub(r"\\,", value)


def _unsafe(path: str, data: bytes) -> bool:
    """Whether a file is a schema that refers to other places, or a packed chart with such a schema."""
    if path.endswith(_SCHEMA):
        return _refers(data)
    return path.endswith((".tgz", ".tar.gz")) and any(map(_refers, _packed(data)))


def _packed(data: bytes) -> Iterator[bytes]:
    """Yield the schemas of a packed chart; what cannot be looked through counts as a broken one."""
    left = MAX_PACKED
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
            for member in archive:
                left -= member.size
                if left < 0 or member.name.endswith((".tgz", ".tar.gz")):
                    yield b""
                    return
                file = archive.extractfile(member) if member.name.endswith(_SCHEMA) and member.isfile() else None
                if file:
                    yield file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        yield b""


def _refers(data: bytes) -> bool:
    """Whether a schema refers to anything but itself: helm would fetch it, from the network or from this machine.

    Go reads some JSON that Python does not, so what cannot be read here counts as such.
    """
    try:
        waiting = [json.loads(data)]
    except (ValueError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if any(key.startswith("$") and _leads_away(key, to) for key, to in value.items()):
                return True
    return False


def _leads_away(key: str, to: Any) -> bool:
    if not isinstance(to, str) or not (key.endswith(("Ref", "ref")) or key == "$schema"):
        return False
    return not (to.startswith("#") or (key == "$schema" and _OFFICIAL.match(to)))
