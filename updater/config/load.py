"""From files and environment to settings, with every mistake in one report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from updater.config.files import Files, place
from updater.config.items import Items, validate
from updater.config.network import Network
from updater.config.registries import RegistrySettings
from updater.config.registries import names as registry_names
from updater.config.repositories import RepositorySettings, repository_name
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
    network = tree.get("network")
    if not isinstance(network, Map) or validate(Network, network, problems) is None:
        network = Map(tree.mark)
    registries = tuple(_entries(RegistrySettings, tree.get("registries"), network, problems))
    repositories = tuple(_entries(RepositorySettings, tree.get("repositories"), network, problems))
    _unique(_registry_names(tree.get("registries")), problems)
    names = _unique(_repository_names(tree.get("repositories")), problems)
    items = Items(registries, names, problems).read(tree.get("defaults"), tree.get("images"))
    if document is None:
        return None
    data = (document.data or default_data(environ)).absolute()
    state = document.state
    return Settings(
        data=data,
        state=state if isinstance(state, SecretRef) else state.replace("{data}", str(data)),
        log=document.log,
        network=document.network,
        registries=registries,
        repositories=repositories,
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


def _entries(model: type[M], entries: object, network: Map, problems: list[Problem]) -> Iterator[M]:
    """Validate each mapping of a list, with the section `network` below its own."""
    for entry in entries if isinstance(entries, Seq) else ():
        if isinstance(entry, Map) and (value := validate(model, _with_network(entry, network), problems)) is not None:
            yield value


def _with_network(entry: Map, network: Map) -> Map:
    own = entry.get("network")
    if not network or ("network" in entry and not isinstance(own, Map)):
        return entry
    merged = Map(own.mark if isinstance(own, Map) else network.mark)
    for part in (network, own):
        if isinstance(part, Map):
            merged.take(part)
    whole = Map(entry.mark)
    whole.take(entry)
    whole.put("network", merged, merged.mark)
    return whole


def _registry_names(entries: object) -> Iterator[tuple[str, Mark]]:
    for entry in entries if isinstance(entries, Seq) else ():
        if isinstance(entry, Map):
            for name, alias in registry_names(entry):
                yield name, entry.marks["host"] if alias is None else entry["aliases"].marks[alias]


def _repository_names(entries: object) -> Iterator[tuple[str, Mark]]:
    """Return the names as written, those of entries with other mistakes too: items may name them."""
    for entry in entries if isinstance(entries, Seq) else ():
        if isinstance(entry, Map) and (name := repository_name(entry)):
            yield name, entry.marks.get("name") or entry.marks["url"]


def _unique(names: Iterable[tuple[str, Mark]], problems: list[Problem]) -> dict[str, Mark]:
    """Return where each name stands, and refuse the second use of one."""
    seen: dict[str, Mark] = {}
    for name, mark in names:
        first = seen.setdefault(name, mark)
        if first is not mark:
            found = f"the name {name!r} a second time (first at {place(first)})"
            problems.append(mark.problem(found, "a name of its own"))
    return seen
