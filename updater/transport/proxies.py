"""Which proxy an address is reached through, as configured or from the usual variables of the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Routes:
    """Which proxy an address is reached through; `proxies` by scheme."""

    proxies: Mapping[str, str]
    direct: tuple[str, ...]
    loopback_direct: bool

    @classmethod
    def configured(cls, proxy: str, no_proxy: Sequence[str]) -> Routes:
        """One proxy for everything but what `no_proxy` lists."""
        return cls({"http": proxy, "https": proxy}, tuple(no_proxy), loopback_direct=False)

    @classmethod
    def from_environment(cls, no_proxy: Sequence[str]) -> Routes:
        """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower case first, as curl does."""
        both = {scheme: _variable(f"{scheme}_proxy") or _variable("all_proxy") for scheme in ("http", "https")}
        proxies = {scheme: proxy for scheme, proxy in both.items() if proxy}
        listed = no_proxy or [entry.strip() for entry in _variable("no_proxy").split(",")]
        return cls(proxies, tuple(filter(None, listed)), loopback_direct=True)

    def proxy(self, scheme: str, host: str, port: int) -> str | None:
        """Return the proxy's address, None for a direct connection."""
        found = self.proxies.get(scheme)
        if found is None or (self.loopback_direct and _is_loopback(host)):
            return None
        return None if any(_covers(entry.lower(), host.lower(), port) for entry in self.direct) else found


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper()) or ""


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _covers(entry: str, host: str, port: int) -> bool:
    """Say whether an entry of no_proxy covers the host: `*`, a domain with or without dot, host:port, a network."""
    if entry == "*":
        return True
    if (address := _address(host)) is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and "]" not in wanted and (name.count(":") == 0 or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").removeprefix(".")
    host = host.strip("[]")
    return host == entry or host.endswith(f".{entry}")
