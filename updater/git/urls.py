"""Which addresses of Git remotes are allowed. The list is ours: git and its wrappers know dangerous ones.

https://HOST[:PORT]/PATH      ssh://[USER@]HOST[:PORT]/PATH      USER@HOST:PATH
http://... and git://...      only on loopback, or where the operator says `insecure: true`
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_USER = r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._+-]*)"
_URL = re.compile(rf"(?P<scheme>[a-z]+)://(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>.+)")
_SCP = re.compile(rf"{_USER}@{_HOST}:(?P<path>[^:].*)")
_PLAIN = frozenset({"http", "git"})  # neither encrypted nor authenticated
_SCHEMES = frozenset({"https", "http", "ssh", "git"})


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an allowed URL; an absent user or port is empty."""

    scheme: str
    user: str
    host: str
    port: str
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as git matches its `http.<url>` settings."""
        return f"{self.scheme}://{self.host}{':' if self.port else ''}{self.port}"


def check_url(url: str, insecure: bool = False) -> None:
    """Raise ValueError with what is wrong with the URL of a Git remote; never repeats a password."""
    address = parse(url)
    if address.scheme in _PLAIN and not insecure and not is_loopback(address.host):
        raise ValueError(f"{address.scheme}:// is not encrypted: use https:// or ssh://, or say insecure: true")


@lru_cache(maxsize=256)  # a thousand applications name a few
def parse(url: str) -> Address:
    """Return the parts of an allowed URL. Raises ValueError."""
    if not url.isprintable() or any(c.isspace() for c in url) or "\\" in url:
        raise ValueError("the URL of a repository holds no blanks, backslashes or control characters")
    scheme, separator, rest = url.partition("://")
    if separator and ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise ValueError("a password must not stand in a URL; put it under credentials")
    match = _URL.fullmatch(url) if separator else _SCP.fullmatch(url)
    if match is None or (separator and scheme not in _SCHEMES):
        raise ValueError("this is no URL of a repository; expected https://, ssh:// or git@host:path")
    found = match.groupdict()
    address = Address(
        scheme=found.get("scheme") or "ssh",
        user=found["user"] or "",
        host=found["host"].lower(),
        port=found.get("port") or "",
        path=found["path"],
    )
    _check_parts(address)
    return address


def _check_parts(address: Address) -> None:
    if address.user and address.scheme != "ssh":
        raise ValueError("a user name (or token) must not stand in a URL; put it under credentials")
    if address.port and not 0 < int(address.port) < 65536:
        raise ValueError(f"{address.port} is no port")
    if address.path.startswith("-") or address.path.strip("/") == "":
        raise ValueError("the path of a repository is missing, or begins with a dash")
    if address.scheme != "ssh" and re.search("[?#]", address.path):
        raise ValueError("the URL of a repository has no query and no fragment")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its very text: names are not looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
