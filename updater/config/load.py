"""From files and environment to settings, with every mistake in one report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from updater.config.files import Files, place
from updater.config.items import Items, validate
from updater.config.registries import RegistrySettings
from updater.config.repositories import RepositorySettings
from updater.config.settings import Document, Settings
from updater.config.sources import Sources
from updater.config.tree import Map, Mark, Seq, Text
from updater.errors import ConfigError, Problem
from updater.secrets import SecretRef

M = TypeVar("M", bound=BaseModel)
_LISTS = ("registries", "repositories", "images")


class Rejected(ConfigError):
    """A configuration that was not taken; `files` is what was read of it, for `changed`."""

    def __init__(self, problems: list[Problem], files: Sources) -> None:
        super().__init__(problems)
        self.files = files


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration: `path`, else $UPDATER_CONFIG, else the first usual file that exists.

    Raises Rejected (a ConfigError) with every mistake at once. UPDATER_LISTEN belongs to `web`, which is not built, and
    is ignored.
    """
    file = locate(path, environ)
    files = Files()
    tree = files.tree(file)
    _override(tree, environ)
    problems = files.problems
    settings = _complete(tree, environ, files.seen, problems)
    if problems or settings is None:
        raise Rejected(problems, files.seen)
    return settings


def changed(loaded: Settings | Rejected) -> bool:
    """Say whether the files would read differently now; cheap enough for every tick."""
    return loaded.files.changed()


def locate(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the configuration. Raises ConfigError where there is none."""
    if path is not None:
        return path.absolute()
    if environ.get("UPDATER_CONFIG"):
        return Path(environ["UPDATER_CONFIG"]).expanduser().absolute()
    home = environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    usual = [Path("config/updater.yaml"), Path(home, "updater/updater.yaml"), Path("/etc/updater/updater.yaml")]
    for file in usual:
        if file.is_file():
            return file.absolute()
    tried = ", ".join(map(str, usual))
    raise ConfigError([Problem("configuration", 0, 0, "", "no file", f"--config, $UPDATER_CONFIG or one of {tried}")])


def default_data(environ: Mapping[str, str]) -> Path:
    """Return the folder for data where nothing is configured."""
    state = environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()) / "updater"


def _override(tree: Map, environ: Mapping[str, str]) -> None:
    """Let the environment win over the file."""
    for key in ("data", "state"):
        _set(tree, key, f"UPDATER_{key.upper()}", environ)
    data = tree.get("data")
    if isinstance(data, Text) and data.startswith("$XDG_STATE_HOME"):
        home = default_data(environ).parent
        tree["data"] = Text.of(f"{home}{data.removeprefix('$XDG_STATE_HOME')}", data.file)
    if environ.get("UPDATER_LOG_LEVEL"):
        log = tree.get("log")
        if not isinstance(log, Map):
            log = Map(_environment("UPDATER_LOG_LEVEL"))
            if tree.get("log") is None:
                tree.put("log", log, log.mark)
        _set(log, "level", "UPDATER_LOG_LEVEL", environ)


def _set(tree: Map, key: str, variable: str, environ: Mapping[str, str]) -> None:
    if value := environ.get(variable):
        tree.put(key, Text.of(value, ""), _environment(variable))


def _environment(variable: str) -> Mark:
    return Mark(f"${variable}", 0, 0, 0, 0, "")


def _complete(tree: Map, environ: Mapping[str, str], files: Sources, problems: list[Problem]) -> Settings | None:
    """Validate the sections, then what they say about each other; None where a mistake leaves nothing to give."""
    document = validate(Document, _sections(tree), problems)
    registries = _entries(RegistrySettings, tree, "registries", problems)
    repositories = _entries(RepositorySettings, tree, "repositories", problems)
    _unique(((name, mark) for entry, tree in registries for name, mark in _places(entry, tree)), problems)
    named = [(entry.name, tree.marks.get("name") or tree.marks["url"]) for entry, tree in repositories]
    names = _unique(named, problems)
    known = tuple(entry for entry, _ in registries)
    items = Items(known, names, problems).read(tree.get("defaults"), tree.get("images"))
    if document is None:
        return None
    data = (document.data or default_data(environ)).absolute()
    return Settings(
        data=data,
        state=document.state if isinstance(document.state, SecretRef) else document.state.replace("{data}", str(data)),
        log=document.log,
        network=document.network,
        registries=known,
        repositories=tuple(entry for entry, _ in repositories),
        items=items,
        files=files,
    )


def _sections(tree: Map) -> Map:
    """Return the tree without what is validated entry by entry."""
    sections = Map(tree.mark)
    for key, value in tree.items():
        if isinstance(value, Seq) and key in _LISTS:
            short = Seq(value.mark)
            for entry, mark in zip(value, value.marks, strict=True):
                if not isinstance(entry, Map):
                    short.add(entry, mark)
            sections.put(key, short, tree.marks[key])
        elif key != "defaults" or not isinstance(value, Map):
            sections.put(key, value, tree.marks[key])
    return sections


def _entries(model: type[M], tree: Map, key: str, problems: list[Problem]) -> list[tuple[M, Map]]:
    """Validate each mapping of a list, with the section `network` below its own."""
    network = tree.get("network")
    found = []
    for entry in tree[key] if isinstance(tree.get(key), Seq) else ():
        if not isinstance(entry, Map):
            continue
        whole = _with_network(entry, network) if isinstance(network, Map) else entry
        if (value := validate(model, whole, problems)) is not None:
            found.append((value, entry))
    return found


def _with_network(entry: Map, network: Map) -> Map:
    own = entry.get("network")
    if own is not None and not isinstance(own, Map):
        return entry
    merged = Map(network.mark if own is None else own.mark)
    merged.take(network)
    merged.take(own or Map(merged.mark))
    whole = Map(entry.mark)
    whole.take(entry)
    whole.put("network", merged, merged.mark)
    return whole


def _places(entry: RegistrySettings, tree: Map) -> Iterator[tuple[str, Mark]]:
    yield entry.host, tree.marks["host"]
    if entry.aliases:
        yield from zip((alias.name for alias in entry.aliases), tree["aliases"].marks, strict=True)


def _unique(names: Iterable[tuple[str, Mark]], problems: list[Problem]) -> dict[str, Mark]:
    """Return where each name stands, and refuse the second use of one."""
    seen: dict[str, Mark] = {}
    for name, mark in names:
        first = seen.setdefault(name, mark)
        if first is not mark:
            found = f"the name {name!r} a second time (first at {place(first)})"
            problems.append(mark.problem(found, "a name of its own"))
    return seen
