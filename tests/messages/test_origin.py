"""Which pages are linked for where an image comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.messages.origin import Links, links
from updater.model.origin import Origin, is_page

REV = "0123456789abcdef"
HUB, LAB, TEA = "https://github.com/acme/api", "https://gitlab.com/acme/api", "https://codeberg.org/acme/api"

FORGES: dict[str, tuple[str, str | None, str]] = {
    "GitHub": (HUB, f"{HUB}/releases/tag/1.5.0", f"{HUB}/tree/{REV}"),
    "GitHub of one's own": (
        "https://github.example.com/acme/api",
        "https://github.example.com/acme/api/releases/tag/1.5.0",
        f"https://github.example.com/acme/api/tree/{REV}",
    ),
    "a file on GitHub": (f"{HUB}/blob/main/Dockerfile", f"{HUB}/releases/tag/1.5.0", f"{HUB}/tree/{REV}"),
    "with a query": (f"{HUB}?tab=readme#top", f"{HUB}/releases/tag/1.5.0", f"{HUB}/tree/{REV}"),
    "GitLab": (LAB, f"{LAB}/-/releases/1.5.0", f"{LAB}/-/tree/{REV}"),
    "GitLab, groups in groups": (
        "https://gitlab.com/a/b/c/api/-/tree/main",
        "https://gitlab.com/a/b/c/api/-/releases/1.5.0",
        f"https://gitlab.com/a/b/c/api/-/tree/{REV}",
    ),
    "GitLab of one's own, on a port": (
        "http://gitlab.example.com:8080/acme/api",
        "http://gitlab.example.com:8080/acme/api/-/releases/1.5.0",
        f"http://gitlab.example.com:8080/acme/api/-/tree/{REV}",
    ),
    "Codeberg": (TEA, f"{TEA}/releases/tag/1.5.0", f"{TEA}/src/commit/{REV}"),
    "Gitea": (
        "https://gitea.example.com/acme/api",
        "https://gitea.example.com/acme/api/releases/tag/1.5.0",
        f"https://gitea.example.com/acme/api/src/commit/{REV}",
    ),
    "another host: the source alone": ("https://git.example.com/acme/api", None, "https://git.example.com/acme/api"),
    "a host that merely contains the name": (
        "https://mygithub.com/acme/api", None, "https://mygithub.com/acme/api",
    ),
    "a person on GitHub": ("https://github.com/acme", None, "https://github.com/acme"),
    "a path that climbs": ("https://github.com/acme/..", None, "https://github.com/acme/.."),
}  # fmt: skip


@pytest.mark.parametrize(("source", "notes", "page"), FORGES.values(), ids=FORGES)
def test_each_forge_is_addressed_in_its_own_way(source: str, notes: str | None, page: str) -> None:
    assert links(Origin(source, REV), "1.5.0") == Links(notes, page)


VERSIONS: dict[str, tuple[str | None, str | None, str | None]] = {
    "the maker's version": ("v1.5.0", "1.5.0", "v1.5.0"),
    "the tag, without a version": (None, "1.5.0", "1.5.0"),
    "the tag, where it has the v": ("1.5.0", "v1.5.0", "v1.5.0"),
    "more exact than the tag": ("1.5.3", "1.5", "1.5.3"),
    "a tag with a suffix": ("1.5.0", "1.5.0-alpine", "1.5.0"),
    "a suffix in the version": ("1.5.0-ls7", "1.5.0", "1.5.0-ls7"),
    "a tag that is no version": ("1.5.0", "latest", "1.5.0"),
    "no tag": ("1.5.0", None, "1.5.0"),
    "what a base image left": ("22.04", "1.5.0", "1.5.0"),
    "1.5 is not the beginning of 1.50": ("1.50", "1.5", "1.5"),
    "a version that is a branch": ("main", "1.5.0", "1.5.0"),
    "before a release": (None, "v1.5.0-rc.1", "v1.5.0-rc.1"),
    "build data": ("1.5.0+build.7", "1.5.0", "1.5.0%2Bbuild.7"),
    "a suffix without a version": (None, "1.5.0-alpine", None),
    "a suffix, and what a base image left": ("22.04", "1.5.0-alpine", None),
    "neither": (None, "latest", None),
    "nothing": (None, None, None),
}


@pytest.mark.parametrize(("version", "tag", "release"), VERSIONS.values(), ids=VERSIONS)
def test_a_release_is_called_by_the_version_or_the_tag(version: str | None, tag: str | None, release: str) -> None:
    expected = f"{HUB}/releases/tag/{release}" if release else None
    assert links(Origin(HUB, REV, version), tag).release_notes == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, Links()),
        (Origin(), Links()),
        (Origin(revision=REV, version="1.5.0"), Links()),
        (Origin(HUB), Links(f"{HUB}/releases/tag/1.5.0", HUB)),
        (Origin(f"{HUB}/tree/main/api"), Links(f"{HUB}/releases/tag/1.5.0", f"{HUB}/tree/main/api")),
        (Origin(url=HUB, revision=REV), Links(f"{HUB}/releases/tag/1.5.0", f"{HUB}/tree/{REV}")),
        (Origin(url="https://api.example.com"), Links()),
        (Origin("https://git.example.com/api", url=HUB), Links(None, "https://git.example.com/api")),
    ],
    ids=["not asked", "nothing", "no source", "no revision", "no revision, a page in the project",
         "the page about it is on a forge", "the page about it is no source", "the source wins"],
)  # fmt: skip
def test_what_is_not_known_is_not_linked(origin: Origin | None, expected: Links) -> None:
    assert links(origin, "1.5.0") == expected


PAGES = st.from_regex(
    r"https?://(github|gitlab|git)\.[a-z]{1,5}(:[0-9]{1,5})?(/[A-Za-z0-9._~%+@:,/=&?#-]*)?", fullmatch=True
)
TEXT = (
    st.none() | st.text(max_size=20) | st.from_regex(r"v?[0-9]{1,3}(\.[0-9]){0,3}[A-Za-z0-9._+-]{0,9}", fullmatch=True)
)
WORD = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,30}", fullmatch=True)


@given(st.builds(Origin, st.none() | PAGES, st.none() | st.just(REV), WORD, st.none() | PAGES), TEXT)
def test_whatever_is_known_a_link_is_a_page(origin: Origin, tag: Any) -> None:
    assert all(link is None or is_page(link) for link in links(origin, tag))
