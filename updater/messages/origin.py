"""Where to read about a change: the links that a commit, a message and a page show of where an image comes from.

How each forge addresses a release and a tree stands in one table; of other hosts only the source itself is linked.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from updater.model.origin import Origin, is_page


class Links(NamedTuple):
    """Pages about one version of an image; each is None where it is not known."""

    release_notes: str | None = None
    source: str | None = None


class _Forge(NamedTuple):
    """How the pages of a repository are addressed.

    project  its path, with what follows it left out
    """

    project: re.Pattern[str]
    release: str
    tree: str


_NAME = r"[A-Za-z0-9._-]+"
_OWNER_AND_NAME = re.compile(rf"/{_NAME}/{_NAME}(?=/|$)")
_GROUPS_AND_NAME = re.compile(rf"/{_NAME}(?:/{_NAME})+?(?=/-/|$)")
_GITHUB = _Forge(_OWNER_AND_NAME, "/releases/tag/", "/tree/")
_GITLAB = _Forge(_GROUPS_AND_NAME, "/-/releases/", "/-/tree/")
_GITEA = _Forge(_OWNER_AND_NAME, "/releases/tag/", "/src/commit/")
_FORGES = {  # by the first word of the host: a forge of one's own is mostly called so
    "github": _GITHUB, "gitlab": _GITLAB, "gitea": _GITEA, "forgejo": _GITEA, "codeberg": _GITEA,
}  # fmt: skip
_NUMBERS = r"v?[0-9]+(?:\.[0-9]+)*"
_RELEASE = re.compile(rf"{_NUMBERS}(?:-?(?:rc|alpha|beta|pre)[.-]?[0-9]*)?")  # `1.5.0-alpine` is nobody's release


def links(origin: Origin | None, tag: str | None) -> Links:
    """Return the links of an image that is called by a tag, if by any."""
    if origin is None:
        return Links()
    found = _project(origin.source) or (None if origin.source else _project(origin.url))
    if found is None:
        return Links(None, origin.source)
    forge, project = found
    release = _release(origin.version, tag)
    notes = f"{project}{forge.release}{quote(release, safe='')}" if release else None
    at_revision = f"{project}{forge.tree}{origin.revision}" if origin.revision else None
    # The page that was named may lie deeper than the project: without a revision it says more.
    return Links(_shown(notes), _shown(at_revision) or origin.source or project)


def _project(url: str | None) -> tuple[_Forge, str] | None:
    """Return the forge and the address of a project; None where the host is no known forge."""
    if url is None:
        return None
    parts = urlsplit(url)
    forge = _FORGES.get((parts.hostname or "").partition(".")[0])
    match = forge.project.match(parts.path) if forge else None
    if forge is None or match is None or {".", ".."} & set(match[0].split("/")):
        return None
    return forge, f"{parts.scheme}://{parts.netloc}{match[0]}"


def _release(version: str | None, tag: str | None) -> str | None:
    """Return what the release is called: the maker's word, unless it is that of another image below this one.

    Labels of a base image are inherited, its version too; of two spellings the one with a `v` is that of Git.
    """
    named = tag if tag and _RELEASE.fullmatch(tag) else None
    if version is None or not re.match(_NUMBERS, version):
        return named
    if tag is None or not re.match(_NUMBERS, tag):
        return version  # `latest` says nothing against it
    ours, theirs = tag.removeprefix("v"), version.removeprefix("v")
    if not (_begins(ours, theirs) or _begins(theirs, ours)):
        return named
    return tag if ours == theirs and tag.startswith("v") else version


def _begins(text: str, start: str) -> bool:
    """Whether a version is another one, or goes on from it: 1.5.0-alpine from 1.5.0, 1.5.0 from 1.5."""
    return text == start or (text.startswith(start) and text[len(start)] in ".-_+")


def _shown(url: str | None) -> str | None:
    return url if url is not None and is_page(url) else None
