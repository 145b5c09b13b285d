"""What one page of a tag list says, and where the next one is. Text in, values out.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from updater.errors import RegistryError
from updater.model.image import is_digest, is_tag
from updater.registry.address import origin
from updater.registry.challenge import next_link
from updater.registry.description import FIRST_YEAR
from updater.registry.exchange import read_json
from updater.transport.http import Answer


@dataclass(frozen=True, slots=True)
class Told:
    """What a list says of a tag beside its name; `created` is aware, in UTC, None where no usable date is told."""

    digest: str
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The tags of one repository, in the registry's order. When the list is cut off, `why` says where and why.

    `told` holds digests and dates where the list has them, which at GCR and Artifact Registry it does.
    """

    names: tuple[str, ...]
    complete: bool = True
    why: str = ""
    told: Mapping[str, Told] = field(default_factory=dict)


def read_page(answer: Answer, what: str) -> tuple[list[str], dict[str, Told]]:
    """Return the tags of one page, and what it tells of them. Raises RegistryError for anything that is not one.

    Any content type will do: ECR has sent text/plain. What is no tag is left out.
    """
    page = read_json(answer, what)
    if isinstance(page, dict) and ("tags" in page or "name" in page) and "errors" not in page:
        tags = page.get("tags") or []  # null or missing: no tags
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            names = list(filter(is_tag, tags))
            return names, _told(page.get("manifest"), set(names))
    raise RegistryError(f"{what}: the answer is not a list of tags")


def _told(manifest: object, names: Collection[str]) -> dict[str, Told]:
    """Read the `manifest` of GCR and Artifact Registry; what makes no sense in it is as if it were not there.

    It is {digest: {"tag": [NAME], "timeCreatedMs": milliseconds as number or text, ...}}.
    """
    found: dict[str, Told] = {}
    twice: set[str] = set()
    for digest, entry in manifest.items() if isinstance(manifest, dict) else ():
        if not is_digest(digest) or not isinstance(entry, dict) or not isinstance(entry.get("tag"), list):
            continue
        told = Told(digest, _date(entry.get("timeCreatedMs")))
        for name in entry["tag"]:
            if isinstance(name, str) and name in names:
                twice |= {name} & found.keys()
                found[name] = told
    return {name: told for name, told in found.items() if name not in twice}


def _date(value: Any) -> datetime | None:
    """Read milliseconds since 1970; None before 1981, which reproducible builds and indexes have there."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        return None
    try:
        date = datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return date if date.year >= FIRST_YEAR else None


def following(answer: Answer, seen: Collection[str]) -> tuple[str | None, str]:
    """Return the address of the next page; None at the end of the list, with the reason where it is cut off there."""
    try:
        given = next_link(answer.values("link"))
        if given is None:
            return None, ""
        url = urljoin(answer.url, given).partition("#")[0]
        foreign = origin(url) != origin(answer.url)
    except ValueError as err:
        return None, f"the next page cannot be read: {err}"
    if foreign:
        return None, "the next page is on another host, which was not asked"
    return (None, "the pages lead in a circle") if url in seen else (url, "")


def at_home(url: str, first: str) -> str | None:
    """Return the address of a page with the path that the first one had; None where it has that, or is no list.

    Nexus puts `/repository/NAME` before the path of its `Link`, though its connector's port does not serve that, and
    Artifactory leaves out the key of the repository. The cursor stays exactly as given.
    """
    parts, path = urlsplit(url), urlsplit(first).path
    if parts.path == path or not parts.path.endswith("/tags/list"):
        return None
    return parts._replace(path=path).geturl()
