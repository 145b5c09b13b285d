"""Where people see a commit: as configured, else as the known forges spell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import marked, rows, settings
from updater.config.repositories import RepositorySettings, commit_url, file_url
from updater.git.credentials.ssh_key import SshKey
from updater.secrets import SecretRef

SHA = "3f2a9c4d" * 5
KEY = SshKey(private_key=SecretRef("env:K"), known_hosts=SecretRef("env:H"))

GUESSES = [
    # what, the URL of the repository, the address of the commit ({} is the revision)
    ("GitHub", "https://github.com/acme/fleet.git", "https://github.com/acme/fleet/commit/{}"),
    ("GitHub without .git", "https://github.com/acme/fleet/", "https://github.com/acme/fleet/commit/{}"),
    ("GitHub in capitals", "https://GitHub.com/acme/fleet", "https://github.com/acme/fleet/commit/{}"),
    ("GitHub by scp", "git@github.com:acme/fleet.git", "https://github.com/acme/fleet/commit/{}"),
    ("GitHub by SSH", "ssh://git@github.com/acme/fleet.git", "https://github.com/acme/fleet/commit/{}"),
    ("GitLab with subgroups", "https://gitlab.com/acme/a/b.git", "https://gitlab.com/acme/a/b/-/commit/{}"),
    ("own GitLab", "https://gitlab.corp.example.com/a/b.git", "https://gitlab.corp.example.com/a/b/-/commit/{}"),
    ("port of HTTPS", "https://gitlab.example.com:8443/a/b", "https://gitlab.example.com:8443/a/b/-/commit/{}"),
    ("port of SSH", "ssh://git@gitlab.example.com:2222/a/b.git", "https://gitlab.example.com/a/b/-/commit/{}"),
    ("Bitbucket", "https://bitbucket.org/acme/fleet.git", "https://bitbucket.org/acme/fleet/commits/{}"),
    ("Codeberg", "https://codeberg.org/acme/fleet.git", "https://codeberg.org/acme/fleet/commit/{}"),
    ("Gitea", "https://gitea.com/acme/fleet.git", "https://gitea.com/acme/fleet/commit/{}"),
    ("own Gitea", "git@gitea.example.com:acme/fleet.git", "https://gitea.example.com/acme/fleet/commit/{}"),
    ("own Forgejo", "https://forgejo.example.com/acme/fleet", "https://forgejo.example.com/acme/fleet/commit/{}"),
    ("Gitee", "git@gitee.com:acme/fleet.git", "https://gitee.com/acme/fleet/commit/{}"),
    ("plain HTTP", "http://gitea.example.com:3000/a/b.git", "http://gitea.example.com:3000/a/b/commit/{}"),
    (
        "path with odd characters",
        "git@gitea.example.com:a/b?c#d.git",
        "https://gitea.example.com/a/b%3Fc%23d/commit/{}",
    ),
    ("path above the root", "https://github.com/acme/../fleet", None),
    ("unknown forge", "https://git.example.com/acme/fleet.git", None),
    ("host that merely ends so", "https://notgithub.com/acme/fleet.git", None),
    ("GitLab in the middle of a name", "https://my-gitlab.example.com/acme/fleet.git", None),
    ("no owner", "https://github.com/fleet.git", None),
]


@pytest.mark.parametrize(("url", "wanted"), [row[1:] for row in GUESSES], ids=[row[0] for row in GUESSES])
def test_the_address_of_a_commit_is_guessed_for_the_known_forges(url: str, wanted: str | None) -> None:
    login = None if url.startswith("http") else KEY
    repository = RepositorySettings(url=url, credentials=login, insecure=url.startswith("http://"))
    assert commit_url(repository, SHA) == (wanted.format(SHA) if wanted else None)


TEMPLATES = [
    ("path", "https://git.example.com/fleet/commit/{revision}"),
    ("query, and plain HTTP", "http://git.internal:8080/?p=fleet.git;a=commit;h={revision}"),
    ("revision that comes twice", "https://git.example.com/{revision}#{revision}"),
]


@pytest.mark.parametrize("template", [row[1] for row in TEMPLATES], ids=[row[0] for row in TEMPLATES])
def test_what_is_configured_wins_over_the_guess(tmp_path: Path, template: str) -> None:
    text = f"repositories: [{{url: https://github.com/acme/fleet.git, commit_url: '{template}'}}]\n"
    [repository] = settings(tmp_path, text).repositories
    assert commit_url(repository, SHA) == template.replace("{revision}", SHA)


def test_a_revision_is_no_part_of_a_path() -> None:
    """What comes from Git cannot lead the reader elsewhere."""
    repository = RepositorySettings(url="https://github.com/acme/fleet.git")
    assert commit_url(repository, "a/../b?c") == "https://github.com/acme/fleet/commit/a%2F..%2Fb%3Fc"


ADDRESS = "an address such as https://git.example.com/fleet/commit/{revision}"
MISTAKES = [
    ("no revision", "https://git.example.com/fleet/commit/", ADDRESS),
    ("another placeholder", "https://git.example.com/fleet/commit/{sha}", ADDRESS),
    ("one placeholder too many", "https://git.example.com/{branch}/{revision}", ADDRESS),
    ("revision as host", "https://{revision}/fleet", ADDRESS),
    ("revision in the host", "https://{revision}.example.com/fleet", ADDRESS),
    ("another scheme", "ftp://git.example.com/{revision}", ADDRESS),
    ("script", "javascript:alert(1)//x/{revision}", ADDRESS),
    ("blank", "https://git.example.com/a b/{revision}", ADDRESS),
    ("port of nothing", "https://git.example.com:0/{revision}", ADDRESS),
    ("port that is none", "https://git.example.com:x/{revision}", ADDRESS),
]


@pytest.mark.parametrize(("template", "expected"), [r[1:] for r in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_an_address_that_shows_no_commit_is_refused(tmp_path: Path, template: str, expected: str) -> None:
    text, at = marked(f"repositories: [{{url: https://github.com/acme/fleet.git, commit_url: §'{template}'}}]\n")
    place = f"updater.yaml:{at} repositories[0].commit_url"
    assert rows(tmp_path, text) == [(place, repr(template), expected)]


@pytest.mark.parametrize("user", ["token", "ci:hunter2"])
def test_a_secret_in_the_address_is_refused_and_not_printed(tmp_path: Path, user: str) -> None:
    template = f"https://{user}@git.example.com/{{revision}}"
    text = f"repositories: [{{url: https://github.com/acme/fleet.git, commit_url: '{template}'}}]\n"
    [(_, found, expected)] = rows(tmp_path, text)
    assert (found, expected) == ("a literal secret inside a URL", "the address alone")


FILES = [
    # what, the URL of the repository, the address of line 17 of a file ({} is the revision)
    ("GitHub", "https://github.com/acme/fleet.git", "https://github.com/acme/fleet/blob/{}/a%20b/x.yaml#L17"),
    ("GitLab", "https://gitlab.com/a/b/c.git", "https://gitlab.com/a/b/c/-/blob/{}/a%20b/x.yaml#L17"),
    ("own Gitea", "git@gitea.example.com:a/b.git", "https://gitea.example.com/a/b/src/commit/{}/a%20b/x.yaml#L17"),
    ("Codeberg", "https://codeberg.org/a/b", "https://codeberg.org/a/b/src/commit/{}/a%20b/x.yaml#L17"),
    ("Bitbucket", "https://bitbucket.org/a/b", "https://bitbucket.org/a/b/src/{}/a%20b/x.yaml#lines-17"),
    ("Gitee", "https://gitee.com/a/b", "https://gitee.com/a/b/blob/{}/a%20b/x.yaml#L17"),
    ("unknown forge", "https://git.example.com/acme/fleet.git", None),
]


@pytest.mark.parametrize(("url", "wanted"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_the_address_of_a_line_is_guessed_for_the_known_forges(url: str, wanted: str | None) -> None:
    repository = RepositorySettings(url=url, credentials=None if url.startswith("http") else KEY)
    assert file_url(repository, SHA, "a b/x.yaml", 17) == (wanted.format(SHA) if wanted else None)
    assert file_url(repository, SHA, "../x.yaml", 17) is None
