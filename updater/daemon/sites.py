"""Makes the clients of the clusters; one whose login cannot be read is said, and the others are there."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from updater.cluster.client import Cluster, ServedKind
from updater.cluster.live import Live
from updater.cluster.login import Login, in_cluster, kubeconfig
from updater.config.delivery import CLUSTER, ClusterSettings
from updater.config.settings import Settings
from updater.daemon.build import clones
from updater.errors import ClusterError, UpdaterError
from updater.model.limits import USUAL, Limits
from updater.model.resource import Key
from updater.pipeline.sources import Sources
from updater.pipeline.world import Site, World
from updater.renderers.front import Front
from updater.secrets import SecretRef
from updater.transport.proxies import Routes

MAX_CLUSTERS = 1_000  # in one directory

Changed = Callable[[str, Key, dict[str, Any] | None], object]


@dataclass(slots=True)
class Sites:
    """The clusters that can be asked, and why others cannot."""

    world: World
    sources: Sources
    broken: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def sites(settings: Settings, changed: Changed | None = None, limits: Limits = USUAL) -> Iterator[Sites]:
    """Yield a client for every cluster, and close them at the end. With `changed`, what they have is kept in memory."""
    found: dict[str, Site] = {}
    broken: dict[str, str] = {}
    secret_key = os.urandom(32)
    with ExitStack() as closing:
        for name, entry, path in _entries(settings.clusters, broken):
            try:
                site = _site(name, entry, path, changed, closing, secret_key=secret_key, limits=limits)
            except UpdaterError as err:
                broken[name] = str(err)
            else:
                found[name] = site
        front = Front.below(settings.data / "renders")
        world = World(settings, front, found, secret_key=secret_key, limits=limits)
        yield Sites(world, Sources(clones(settings)), broken)


def signature(clusters: tuple[ClusterSettings, ...]) -> tuple[object, ...]:
    """Return what changes when a kubeconfig does, or a folder of them."""
    found: list[object] = []
    for entry in clusters:
        scheme, _, rest = entry.kubeconfig.reference.partition(":") if entry.kubeconfig else ("", "", "")
        paths = _files(entry.directory) if entry.directory else [Path(rest)] if scheme == "file" else []
        for path in paths:
            with suppress(OSError):
                stat = path.stat()
                found.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def _entries(
    clusters: tuple[ClusterSettings, ...], broken: dict[str, str]
) -> Iterator[tuple[str, ClusterSettings, Path | None]]:
    """Yield each cluster once; a file that would be a second one of its name, or of none, is `broken`."""
    seen: set[str] = set()
    for entry in sorted(clusters, key=lambda one: one.directory is not None):
        if entry.directory is None:
            assert entry.name is not None
            seen.add(entry.name)
            yield entry.name, entry, None
            continue
        for path in _files(entry.directory):
            name = path.stem
            if re.fullmatch(CLUSTER, name) is None:
                broken[path.name] = f"{path}: expected the name of a cluster, and an ending"
            elif name in seen:
                broken[path.name] = f"{path}: there is a cluster {name} already"
            else:
                seen.add(name)
                yield name, entry, path


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder; those of mounted volumes that begin with a dot are not meant."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))[
            :MAX_CLUSTERS
        ]
    except OSError:
        return []


def _site(
    name: str,
    entry: ClusterSettings,
    path: Path | None,
    changed: Changed | None,
    closing: ExitStack,
    *,
    secret_key: bytes,
    limits: Limits,
) -> Site:
    cluster = Cluster(
        name, _login(name, entry, path), concurrency=entry.concurrency, rate=entry.rate,
        burst=max(1, int(2 * (entry.rate or 0))), impersonate=entry.impersonate,
        request_seconds=limits.question,
    )  # fmt: skip
    if changed is None:
        closing.callback(cluster.close)
        return Site(cluster)
    live = Live(cluster, partial(changed, name), secret_key=secret_key)
    closing.callback(live.stop)
    closing.callback(cluster.close)  # before: what hangs is cut, and nobody waits for it
    return Site(cluster, partial(_seen, cluster, live), live.version, partial(_follow, cluster, live))


def _login(name: str, entry: ClusterSettings, path: Path | None) -> Login:
    if entry.in_cluster:
        login = in_cluster()
    else:
        text, folder = _text(entry, path)
        login = kubeconfig(text, entry.context, entry.exec, folder, file=f"kubeconfig of cluster {name}")
    network = entry.network
    proxy = network.proxy.resolve() if isinstance(network.proxy, SecretRef) else network.proxy
    routes = Routes.configured(proxy, network.no_proxy) if proxy else Routes.from_environment(network.no_proxy)
    return login.through(routes, _authorities(network.ca_file))


def _authorities(file: Path | None) -> str:
    """Return what is trusted with the authorities in a file, in place of the usual ones alone. Raises ClusterError."""
    if file is None:
        return ""
    context = ssl.create_default_context()
    usual = (ssl.DER_cert_to_PEM_cert(one) for one in context.get_ca_certs(binary_form=True))
    try:
        return "".join([file.read_text(), *usual])
    except (OSError, UnicodeDecodeError) as err:
        raise ClusterError(f"{file} cannot be read: {getattr(err, 'strerror', None) or 'not UTF-8'}") from err


def _text(entry: ClusterSettings, path: Path | None) -> tuple[str, Path]:
    """Return a kubeconfig, and the folder that relative paths in it count from. Raises SecretError, ConfigError."""
    if path is not None:
        try:
            return path.read_text(), path.parent
        except (OSError, UnicodeDecodeError) as err:
            raise ClusterError(f"{path} cannot be read: {getattr(err, 'strerror', None) or 'not UTF-8'}") from err
    assert entry.kubeconfig is not None
    scheme, _, rest = entry.kubeconfig.reference.partition(":")
    return entry.kubeconfig.resolve(), Path(rest).parent if scheme == "file" else Path.cwd()


def _served(cluster: Cluster, group: str, kind: str, version: str = "") -> ServedKind | None:
    try:
        return cluster.kind_of(group, kind, version)
    except ClusterError:
        return None


def _seen(cluster: Cluster, live: Live, key: Key) -> dict[str, Any] | None:
    served = _served(cluster, key.group, key.kind)
    return live.get(key) if served is not None and live.ready(served) else None


def _follow(cluster: Cluster, live: Live, kinds: frozenset[tuple[str, str, str]]) -> None:
    served = (_served(cluster, *kind) for kind in kinds)
    live.follow([one for one in served if one is not None])
