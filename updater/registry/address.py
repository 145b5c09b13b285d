"""Where a registry is asked, and to whom an address belongs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from updater.errors import RegistryError
from updater.model.image import DOCKER_HUB

_HUB_ADDRESS = "https://registry-1.docker.io"
_HOST = re.compile(r"[\w.-]{1,253}|[0-9a-f:.]{2,45}")  # others write such names, and errors and messages show them


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
    port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    if not port or not _HOST.fullmatch(parts.hostname or "") or "@" in parts.netloc:
        raise ValueError("not an http address")
    return parts.scheme, parts.hostname or "", port
