"""Where a registry is asked, and to whom an address belongs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from updater.errors import RegistryError
from updater.model.image import DOCKER_HUB

_HUB_ADDRESS = "https://registry-1.docker.io"
_PLACE = re.compile(r"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")  # errors and messages show it


def address(host: str, endpoint: str | None, *, insecure: bool) -> str:
    """Return the base of all addresses, without a slash at its end."""
    if endpoint is None and host == DOCKER_HUB:
        return _HUB_ADDRESS
    asked = (endpoint or host).rstrip("/")
    if "://" not in asked:
        asked = f"{'http' if insecure else 'https'}://{asked}"
    if asked.startswith("http://") and not insecure:
        raise RegistryError(f"{asked} is plain HTTP, which needs insecure: true at registry {host}")
    return asked


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises ValueError for what is no address."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = usual if parts.port is None else parts.port
    if not usual or not port or not parts.hostname or not _PLACE.fullmatch(parts.netloc):
        raise ValueError("not an http address")
    return parts.scheme, parts.hostname, port
