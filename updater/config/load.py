"""From files and environment to settings, with every mistake in one report."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from updater.config.base import path_of, reference
from updater.config.delivery import ClusterSettings
from updater.config.entries import maps, texts, typed, unique, with_network, without
from updater.config.files import Files
from updater.config.forges import no_requests
from updater.config.images import Item
from updater.config.items import Items, validate
from updater.config.network import Network
from updater.config.problems import unknown
from updater.config.registries import RegistrySettings
from updater.config.registries import names as registry_names
from updater.config.repositories import GitHost, RepositorySettings, below, fits, host_name, repository_name
from updater.config.settings import Document, Settings
from updater.config.sources import Sources, is_glob
from updater.config.tree import Map, Mark, Seq, Text, kind_of
from updater.config.write_back import CYCLE, IMAGE, PATH, PullRequestBack
from updater.errors import ConfigError, Problem
from updater.secrets import SecretRef

if TYPE_CHECKING:
    from updater.config.notifications import Notifications
    from updater.config.web import WebSettings
    from updater.hooks.base import Hook

_LISTS = frozenset({"registries", "git_hosts", "repositories", "images", "clusters"})
_APART = frozenset({"defaults", "notifications", "web"})


class Rejected(ConfigError):
    """A configuration that was not taken; `files` is what was read of it, for `changed`."""

    def __init__(self, problems: list[Problem], files: Sources) -> None:
        super().__init__(problems)
        self.files = files


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ, *, here: bool = False) -> Settings:
    """Read the configuration: `path`, else $UPDATER_CONFIG, else the first usual file that exists.

    Raises Rejected (a ConfigError) with every mistake at once; with `here` what it names of this machine and is not
    there is one too. The daemon waits for such, and a pipeline that checks the file has none of it.
    """
    file = locate(path, environ)
    files = Files()
    tree = files.tree(file)
    _override(tree, environ)
    problems = files.problems
    settings = _complete(tree, environ, files.seen, problems)
    problems += _absent(tree) if here else ()
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
    _set_in(tree, "log", "level", "UPDATER_LOG_LEVEL", environ)
    _set_in(tree, "web", "listen", "UPDATER_LISTEN", environ)


def _set_in(tree: Map, section: str, key: str, variable: str, environ: Mapping[str, str]) -> None:
    if environ.get(variable):
        part = tree.get(section)
        if not isinstance(part, Map):
            part = Map(_environment(variable))
            if tree.get(section) is None:
                tree.put(section, part, part.mark)
        _set(part, key, variable, environ)


def _set(tree: Map, key: str, variable: str, environ: Mapping[str, str]) -> None:
    if value := environ.get(variable):
        tree.put(key, Text.of(value, ""), _environment(variable))


def _environment(variable: str) -> Mark:
    return Mark(f"${variable}", 0, 0, 0, 0, "")


def _complete(tree: Map, environ: Mapping[str, str], files: Sources, problems: list[Problem]) -> Settings | None:
    """Validate the sections, then what they say about each other; None where a mistake leaves nothing to give."""
    document = validate(Document, without(tree, _LISTS, _APART), problems)
    network = tree.get("network")
    if not isinstance(network, Map) or validate(Network, network, problems) is None:
        network = Map(tree.mark)
    registries = tuple(typed(RegistrySettings, tree.get("registries"), network, problems))
    hosts = tuple(typed(GitHost, tree.get("git_hosts"), network, problems))
    repositories = tuple(typed(RepositorySettings, _at_hosts(tree), network, problems))
    clusters = tuple(typed(ClusterSettings, tree.get("clusters"), network, problems))
    unique(_host_names(tree.get("git_hosts")), problems)
    unique(_names(tree.get("clusters")), problems)
    unique(_registry_names(tree.get("registries")), problems)
    names = unique(_repository_names(tree.get("repositories")), problems)
    items = Items(registries, names, problems).read(tree.get("defaults"), tree.get("images"))
    problems += _strange_labels(tree.get("repositories"), items)
    problems += _no_forge(tree.get("repositories"), repositories, hosts, items)
    problems += _strange_repositories(tree.get("applications"), names)
    notifications = _notifications(tree.get("notifications"), network, names, problems)
    web = _web(tree.get("web"), problems)
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
        notifications=notifications,
        git_hosts=hosts,
        clusters=clusters,
        applications=document.applications,
        sync=document.sync,
        web=web,
        files=files,
        warnings=_warnings(tree.get("notifications"), notifications, items, names, clusters),
    )


def _at_hosts(tree: Map) -> Seq:
    """Return the repositories with what the longest of `git_hosts` says where they are silent: network and login.

    A login that does not work over the protocol of an address is none there.
    """
    hosts = {name: entry for entry in maps(tree.get("git_hosts")) if (name := _host_name(entry))}
    found = Seq(tree.mark)
    for entry in maps(tree.get("repositories")):
        url = str(entry.get("url"))
        host = hosts.get(below(url, hosts) or "", Map(tree.mark))
        network = host.get("network")
        whole = with_network(entry, network if isinstance(network, Map) else Map(host.mark))
        login = host.get("credentials")
        if entry.get("credentials") is None and login is not None and fits(login, url):
            whole = whole.copy_with("credentials", login, host.marks["credentials"])
        found.add(whole, entry.mark)
    return found


def _host_name(entry: Map) -> str:
    """Return what a login counts for; nothing where it is unreadable."""
    try:
        return host_name(entry["host"]) if isinstance(entry.get("host"), str) else ""
    except ValueError:
        return ""


def _host_names(entries: object) -> Iterator[tuple[str, Mark]]:
    for entry in maps(entries):
        if name := _host_name(entry):
            yield name, entry.marks["host"]


def _strange_labels(repositories: object, items: Collection[Item]) -> Iterator[Problem]:
    """Refuse to group by a label that no image has."""
    known = {CYCLE, IMAGE, PATH, *(label for item in items for label in item.labels)}
    for entry in maps(repositories):
        commit = entry.get("commit")
        by = commit.get("group_by") if isinstance(commit, Map) else None
        if isinstance(commit, Map) and isinstance(by, Text) and by not in known:
            yield unknown("label", by, known, commit.marks["group_by"])


def _no_forge(
    entries: object, repositories: Collection[RepositorySettings], hosts: Collection[GitHost], items: Collection[Item]
) -> Iterator[Problem]:
    """Refuse pull requests where their forge cannot be asked."""
    by_name = {host.host: host for host in hosts}
    marks = {repository_name(entry): entry.marks["url"] for entry in maps(entries) if "url" in entry}
    for one in repositories:
        ways = [item.write_back for item in items if item.repository in {None, one.name}]
        if any(isinstance(way or one.write_back, PullRequestBack) for way in (*ways, None)):
            lacking = no_requests(one, by_name.get(below(one.url, by_name) or ""))
            found, _, expected = lacking.partition("; expected ")
            if lacking and one.name in marks:
                yield marks[one.name].problem(found, expected)


def _names(entries: object) -> Iterator[tuple[str, Mark]]:
    for entry in maps(entries):
        if isinstance(entry.get("name"), str):
            yield entry["name"], entry.marks["name"]


def _strange_repositories(applications: object, repositories: Collection[str]) -> Iterator[Problem]:
    """Refuse repositories of applications that nobody knows."""
    for entry in maps(applications):
        name = entry.get("repository")
        if isinstance(name, str) and name not in repositories:
            yield unknown("repository", name, repositories, entry.marks["repository"])


def _absent(tree: Map) -> Iterator[Problem]:
    """Refuse folders and kubeconfigs that are not on this machine; what is in Git is not meant."""
    for entry in (*maps(tree.get("clusters")), *maps(tree.get("applications"))):
        with suppress(ValueError):  # a value that is no path is a mistake already
            folder, kubeconfig = entry.get("directory"), entry.get("kubeconfig")
            if isinstance(folder, Text) and not os.path.isdir(path := path_of(folder)):  # noqa: PTH112 - raises nothing
                found = "a file" if os.path.exists(path) else "no folder"  # noqa: PTH110 - likewise
                yield entry.marks["directory"].problem(f"{found} {str(path)!r}", "a folder that is there")
            secret = reference(kubeconfig) if isinstance(kubeconfig, Text) else None
            kind, _, name = secret.reference.partition(":") if secret else ("", "", "")
            if kind == "file" and not os.path.exists(name):  # noqa: PTH110 - likewise
                yield entry.marks["kubeconfig"].problem(f"no file {name!r}", "a kubeconfig that is there")


def _registry_names(entries: object) -> Iterator[tuple[str, Mark]]:
    """Yield the names of registries as written. An alias that is asked for tags may have an entry of its own."""
    every = [(entry, list(registry_names(entry))) for entry in maps(entries)]
    hosts = {name for _, names in every for name, alias in names if alias is None}
    for entry, names in every:
        for name, number in names:
            if number is None:
                yield name, entry.marks["host"]
                continue
            alias = entry["aliases"][number]
            asked = isinstance(alias, Map) and alias.get("must_exist") is True
            own = asked and name in hosts and (name, None) not in names
            yield f"{name} (as an alias)" if own else name, entry["aliases"].marks[number]


def _repository_names(entries: object) -> Iterator[tuple[str, Mark]]:
    """Return the names as written, those of entries with other mistakes too: items may name them."""
    for entry in maps(entries):
        if name := repository_name(entry):
            yield name, entry.marks.get("name") or entry.marks["url"]


def _notifications(
    section: object, network: Map, repositories: Collection[str], problems: list[Problem]
) -> Notifications | None:
    """Validate the section channel by channel, then the names that its routes use."""
    if not isinstance(section, Map):
        return None
    from updater.config.notifications import ChannelEntry, Notifications  # the family comes only where it is wanted

    rest = validate(Notifications, without(section, {"channels"}), problems)
    channels = tuple(entry.root for entry in typed(ChannelEntry, section.get("channels"), network, problems))
    names = unique(_channel_names(section.get("channels")), problems)
    problems += _strangers(section.get("routes"), names, repositories)
    return rest and rest.model_copy(update={"channels": channels})


def _web(section: object, problems: list[Problem]) -> WebSettings | None:
    """Validate the section, then its hooks one by one."""
    if not isinstance(section, Map):
        return None
    from updater.config.web import WebSettings

    rest = validate(WebSettings, without(section, (), {"hooks"}), problems)
    entries = section.get("hooks")
    hooks = _hooks(entries, problems) if isinstance(entries, Map) else {}
    return rest and rest.model_copy(update={"hooks": hooks})


def _hooks(entries: Map, problems: list[Problem]) -> dict[str, Hook]:
    """Validate hooks; the kind of one is its name where it says none."""
    from updater.config.hooks import HookEntry  # the family comes only where it is wanted
    from updater.config.web import hook_name

    hooks: dict[str, Hook] = {}
    for name, entry in entries.items():
        mark = entries.marks[name]
        if not hook_name(name):
            problems.append(mark.problem(f"{name[:100]!r}", "a name that can stand in a path", at_key=True))
        elif isinstance(entry, Map):
            whole = entry if "kind" in entry else entry.copy_with("kind", Text.of(name, ""), mark)
            if (hook := validate(HookEntry, whole, problems)) is not None:
                hooks[name] = hook.root
        else:
            problems.append(mark.problem(kind_of(entry), "a mapping with a token, a secret or a path"))
    return hooks


def _warnings(
    section: object,
    notifications: Notifications | None,
    items: Collection[Item],
    repositories: Collection[str],
    clusters: Collection[ClusterSettings],
) -> tuple[Problem, ...]:
    """Return what is no mistake and does nothing; clusters in a folder have any name."""
    if not isinstance(section, Map) or notifications is None:
        return ()
    from updater.config.idle import idle  # it knows routes, which come only where they are wanted

    images = {name for item in items for name in (item.name, item.image_name, item.image)}
    known = {"images": images, "repositories": repositories}
    if not any(one.directory for one in clusters):
        known["clusters"] = {one.name for one in clusters if one.name}
    return tuple(idle(section, notifications.routes, known))


def _channel_names(entries: object) -> Iterator[tuple[str, Mark]]:
    """Return the names as written, those of entries with other mistakes too: routes may name them."""
    from updater.config.notifications import channel_name

    for entry in maps(entries):
        if found := channel_name(entry):
            name, key = found
            yield name, entry.marks[key]


def _strangers(routes: object, channels: Collection[str], repositories: Collection[str]) -> Iterator[Problem]:
    """Refuse the names in routes that nobody has; a glob over repositories may match none."""
    for route in maps(routes):
        for name, mark in texts(route.get("channels")):
            if name not in channels:
                yield unknown("channel", name, channels, mark)
        for name, mark in texts(route.get("repositories")):
            if name not in repositories and not is_glob(name):
                yield unknown("repository", name, repositories, mark)
