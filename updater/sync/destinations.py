"""Which cluster a destination means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from updater.model.application import Destination

IN_CLUSTER = (
    "https://kubernetes.default.svc"  # how Argo CD's manifests call the cluster that the program itself runs in
)
_USUAL = {"https": 443, "http": 80}


def cluster_of(destination: Destination, known: Mapping[str, str]) -> str:
    """Return the name of the cluster; `known` are the servers of all clusters by their names.

    A destination's `name` is that of a cluster. Its `server` is compared without regard to a slash at its end, to the
    case of the host and to a usual port. The cluster that this runs in must be known under IN_CLUSTER, whatever address
    its service account uses. Raises ValueError for a cluster that is not known, and for a server of several.
    """
    if destination.name:
        if destination.name in known:
            return destination.name
        raise ValueError(f"unknown cluster {destination.name[:80]!r}; expected {_listed(known)}")
    wanted = _normal(destination.server)
    names = sorted(name for name, server in known.items() if _normal(server) == wanted)
    if len(names) > 1:
        raise ValueError(
            f"several clusters have the server {wanted[:80]!r}; expected a name: one of {', '.join(names)}"
        )
    if not names:
        raise ValueError(f"no cluster has the server {wanted[:80]!r}; expected that of {_listed(known)}")
    return names[0]


def _listed(known: Mapping[str, str]) -> str:
    return f"one of {', '.join(sorted(known))}" if known else "a cluster, and none is configured"


def _normal(server: str) -> str:
    try:
        parts = urlsplit(server.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return server
    shown = f"[{host}]" if ":" in host else host
    ending = f":{port}" if port and port != _USUAL.get(parts.scheme) else ""
    return f"{parts.scheme}://{shown}{ending}{parts.path.rstrip('/')}"
