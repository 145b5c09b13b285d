"""What `git_hosts` say of forges: their kind, the address of their API, and who logs in there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import marked, rows, settings
from tests.lab.forge import BRANCH, KINDS, REPOSITORY, TARGET, TOKEN, app, keys, yard
from updater.config.forges import api_login, forge_kind, no_requests
from updater.config.repositories import RepositorySettings
from updater.config.settings import Settings, git_host_for
from updater.daemon.build import clones, forges, http_of, logins
from updater.git.credentials.github_app import GitHubApp
from updater.git.credentials.token import Token
from updater.transport.http import Http

HOST = "git_hosts:\n  - {host: git.example.com, %s}\n"
SSH = "{kind: ssh_key, private_key: 'env:KEY', known_hosts: 'env:HOSTS'}"


def test_a_git_host_may_say_all_of_it(tmp_path: Path) -> None:
    text = (
        "kind: github, api: https://git.example.com/api/v3/,"
        f" credentials: {SSH}, api_credentials: {{kind: github_app, app_id: 1, private_key: 'file:app.pem'}}"
    )
    [host] = settings(tmp_path, HOST % text).git_hosts
    assert (host.kind, host.api) == ("github", "https://git.example.com/api/v3")
    assert isinstance(host.api_credentials, GitHubApp)
    assert (host.api_credentials.app_id, host.api_credentials.installation_id) == (1, None)
    assert host.api_credentials.private_key.reference == f"file:{tmp_path}/app.pem"


MISTAKES = [
    (HOST % "kind: §bitbucket", "kind", "'bitbucket'", "one of gitea, github, gitlab"),
    (HOST % "kind: §[gitlab]", "kind", "a list", "a text"),
    (HOST % "api: §git.example.com", "api", "'git.example.com'", "an address such as https://host:port"),
    (
        HOST % "api: §http://git.example.com/api/v4", "api",
        "'http://git.example.com/api/v4' (plain text on the way, and a login with it)", "https://",
    ),
    (
        HOST % "api: §'https://hunter2@git.example.com'", "api", "a literal secret inside a URL",
        "the address alone, secrets as env:NAME or file:/path",
    ),
    (
        HOST % f"api_credentials: §{SSH}".replace("kind: ", "kind: §").replace("§{", "{"), "api_credentials.kind",
        "'ssh_key' (a login that no API takes)", "one of basic, github_app, token",
    ),
    (
        HOST % "api_credentials: {kind: github_app, app_id: §0, private_key: 'env:K'}", "api_credentials.app_id",
        "a text (not shown)", "at least 1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "key", "found", "expected"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_a_mistake_has_its_place(tmp_path: Path, file: str, key: str, found: str, expected: str) -> None:
    text, at = marked(file)
    assert rows(tmp_path, text) == [(f"updater.yaml:{at} git_hosts[0].{key}", found, expected)]


def _one(tmp_path: Path, hosts: str, repository: str) -> tuple[Settings, RepositorySettings]:
    loaded = settings(tmp_path, f"git_hosts: [{hosts}]\nrepositories: [{{{repository}}}]\n")
    return loaded, loaded.repositories[0]


FLEET = "url: 'git@git.example.com:acme/fleet.git'"
TOKENS = "{kind: token, token: 'env:T'}"


PLACES = [
    ("", "url: https://github.com/acme/fleet", "github", None, "api_credentials"),
    ("", f"url: https://github.com/acme/fleet, credentials: {TOKENS}", "github", "token", ""),
    ("", f"url: https://git.example.com/acme/fleet, credentials: {TOKENS}", None, "token", "kind"),
    (f"{{host: git.example.com, kind: gitea, credentials: {SSH}}}", FLEET, "gitea", None, "api_credentials"),
    (
        f"{{host: git.example.com, kind: gitlab, credentials: {SSH}, api_credentials: {TOKENS}}}",
        FLEET, "gitlab", "token", "",
    ),
    (
        f"{{host: git.example.com, kind: gitlab, credentials: {TOKENS}}}",
        f"{FLEET}, credentials: {SSH}", "gitlab", "token", "",
    ),
    (
        f"{{host: git.example.com/acme, kind: gitea, credentials: {TOKENS}}}, {{host: git.example.com, kind: github}}",
        "url: https://git.example.com/acme/fleet", "gitea", "token", "",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", PLACES)
def test_a_repository_has_the_forge_of_its_host(
    tmp_path: Path, row: tuple[str, str, str | None, str | None, str]
) -> None:
    hosts, repository, kind, login, lacks = row
    loaded, fleet = _one(tmp_path, hosts, repository)
    host = git_host_for(loaded, fleet.url)
    assert forge_kind(fleet, host) == kind
    assert getattr(api_login(fleet, host), "kind", None) == login
    said = no_requests(fleet, host)
    assert (f"expected `{lacks}`" in said) if lacks else said == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_is_made_of_the_settings(tmp_path: Path, kind: str) -> None:
    with yard(tmp_path, kind) as there, Http() as http:
        host = there.forge.url.removeprefix("http://")
        hosts = f"{{host: '{host}', kind: {kind}, credentials: {{kind: token, token: 'file:token'}}}}"
        loaded, fleet = _one(tmp_path, hosts, f"url: {there.url}")
        forge_of = forges(loaded, lambda _: http, logins(loaded))
        forge = forge_of(fleet)
        assert forge is not None
        assert forge_of(fleet) is forge
        assert forge.requests(BRANCH, TARGET) == ()
        assert there.forge.asked[-1].token == TOKEN


def test_git_and_the_api_share_the_token_of_an_app(tmp_path: Path) -> None:
    (tmp_path / "app.pem").write_bytes(keys()[0])
    with yard(tmp_path, "github", app=app()) as there:
        host = there.forge.url.removeprefix("http://")
        login = "{kind: github_app, app_id: 7, private_key: 'file:app.pem'}"
        loaded, fleet = _one(tmp_path, f"{{host: '{host}', kind: github, credentials: {login}}}", f"url: {there.url}")
        login_of = logins(loaded)
        with http_of(fleet.network) as http:
            forge = forges(loaded, lambda _: http, login_of)(fleet)
            assert forge is not None
            assert forge.requests(BRANCH, TARGET) == ()
        (tmp_path / "clones").mkdir()
        clone = clones(loaded, login_of)(fleet)
        with clone.lock():
            assert clone.fetch().revision == there.hosted.tip(TARGET)
        assert [asked.path for asked in there.forge.asked].count("/app/installations/42/access_tokens") == 1
        assert there.hosted.name == REPOSITORY


def test_the_login_of_most_kinds_is_the_same_everywhere(tmp_path: Path) -> None:
    loaded, fleet = _one(tmp_path, "", f"url: https://git.example.com/a/b, credentials: {TOKENS}")
    bound = logins(loaded)(fleet, fleet.credentials)
    assert isinstance(bound, Token)
    assert bound is fleet.credentials
    assert logins(loaded)(fleet, None) is None
