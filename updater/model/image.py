"""Names of images, as the distribution specification spells them and as people shorten them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

MAX_NAME = 255  # characters of a repository's name with its host: the bound of the reference grammar
DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?"
)
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_tag(text: str) -> bool:
    """Say whether the text is a tag in the grammar of the distribution specification."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Say whether the text is a sha256 or sha512 digest."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class ImageRef:
    """A registry's host, a repository in it, and what is asked of it; `docker.io/library/nginx` for plain `nginx`."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The identity: registry and repository, canonical."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """`tag`, `tag@sha256:...`, `@sha256:...`, or `-` for none: what commits and tables show."""
        return f"{self.tag or ''}{f'@{self.digest}' if self.digest else ''}" or "-"

    @property
    def bare(self) -> ImageRef:
        """The same image without tag and digest."""
        return replace(self, tag=None, digest=None)

    def at(self, tag: str | None, digest: str | None = None) -> ImageRef:
        """The same image at another tag and digest."""
        return replace(self, tag=tag, digest=digest)

    def __str__(self) -> str:
        return self.name if self.version == "-" else f"{self.name}:{self.version}".replace(":@", "@")

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read `[host[:port]/]path[:tag][@digest]`. Raises ValueError that says which part is off."""
        return _parse(text)


def split(text: str) -> tuple[str, str | None, str | None]:
    """Split a reference into name as spelled, tag and digest, without judging any of them."""
    rest, at, digest = text.partition("@")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    return f"{head}{slash}{last}", tag if colon else None, digest if at else None


@lru_cache(maxsize=8192)
def _parse(text: str) -> ImageRef:
    name, tag, digest = split(text)
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first.lower(), rest
    else:
        host, path = DOCKER_HUB, name
    if host in _HUB_NAMES:
        host = DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    if not _HOST.fullmatch(host):
        raise ValueError(f"{first[:80]!r} is not the host of a registry")
    if not _PATH.fullmatch(path) or len(name) > MAX_NAME:
        raise ValueError(f"{name[:80]!r} is not the name of an image (lower-case letters, digits, separators)")
    if tag is not None and not is_tag(tag):
        raise ValueError(f"{tag[:80]!r} is not a tag")
    if digest is not None and not is_digest(digest):
        raise ValueError(f"{digest[:80]!r} is not a digest (sha256:<64 hex>)")
    return ImageRef(host, path, tag, digest)
