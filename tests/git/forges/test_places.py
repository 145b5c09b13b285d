"""Which forge an address lies at, and where its API is."""

from __future__ import annotations

import pytest

from updater.git.forges.base import Forge, forge_for, kind_of, kinds, place_of
from updater.transport.http import Http


def test_every_kind_is_one_file_with_a_manual_line() -> None:
    assert set(kinds()) == {"github", "gitlab", "gitea"}
    for kind, forge in kinds().items():
        assert forge.__module__.endswith(f".{kind}")
        assert forge.__doc__


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://github.com/acme/fleet.git", "github"),
        ("git@github.com:acme/fleet.git", "github"),
        ("https://gitlab.com/acme/group/fleet", "gitlab"),
        ("ssh://git@gitlab.example.com:2222/acme/fleet.git", "gitlab"),
        ("https://codeberg.org/acme/fleet", "gitea"),
        ("https://gitea.example.com/acme/fleet", "gitea"),
        ("https://forgejo.example.com/acme/fleet", "gitea"),
        ("https://git.example.com/acme/fleet", None),
        ("https://notgithub.com/acme/fleet", None),
        ("https://github.com.example.com/acme/fleet", None),
    ],
)
def test_the_kind_is_known_by_the_host(url: str, kind: str | None) -> None:
    assert kind_of(url) == kind


@pytest.mark.parametrize(
    ("url", "kind", "api", "base", "repository"),
    [
        ("https://github.com/acme/fleet.git", "github", None, "https://api.github.com", "acme/fleet"),
        ("git@github.com:acme/fleet.git", "github", None, "https://api.github.com", "acme/fleet"),
        ("https://ghe.example.com/acme/fleet", "github", None, "https://ghe.example.com/api/v3", "acme/fleet"),
        ("ssh://git@g.example.com:2222/a/b/c.git", "gitlab", None, "https://g.example.com/api/v4", "a/b/c"),
        ("https://g.example.com:8443/a/b", "gitlab", None, "https://g.example.com:8443/api/v4", "a/b"),
        ("https://g.example.com/gitlab/a/b", "gitlab", "https://g.example.com/gitlab/api/v4", None, "a/b"),
        ("git@g.example.com:a/b", "gitlab", "https://g.example.com/gitlab/api/v4", None, "a/b"),
        ("https://t.example.com/a/b", "gitea", None, "https://t.example.com/api/v1", "a/b"),
        ("http://127.0.0.1:3000/a/b", "gitea", None, "http://127.0.0.1:3000/api/v1", "a/b"),
        ("https://github.com/a/b", "github", "https://proxy.example.com/gh/", "https://proxy.example.com/gh", "a/b"),
    ],
)
def test_the_api_is_where_its_kind_has_it(url: str, kind: str, api: str | None, base: str, repository: str) -> None:
    place = place_of(url, kind, api, Http)
    assert (place.api, place.repository) == (base or api, repository)


def test_a_host_that_nobody_knows_has_no_forge_unless_it_is_said() -> None:
    with Http() as http:
        assert forge_for("https://git.example.com/a/b", http) is None
        made = forge_for("https://git.example.com/a/b", http, kind="gitea")
        assert isinstance(made, Forge)
        assert made.kind == "gitea"
