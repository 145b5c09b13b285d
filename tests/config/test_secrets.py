"""A secret never stands in the file, and what stands there instead of a reference is never printed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.lab.config import marked, problems, settings

CANARY = "hunter2-canary"
BASIC = "credentials: {kind: basic, username: ci, password: %s}"
REPOSITORY = "repositories: [{url: %s}]\n"

LITERALS = [
    ("password of a registry", "registries: [{host: r.example.com, " + BASIC % f"§{CANARY}" + "}]\n"),
    ("password of a repository", REPOSITORY % ("https://git.example.com/x.git, " + BASIC % f"§{CANARY}")),
    ("token", REPOSITORY % f"https://git.example.com/x.git, credentials: {{kind: token, token: §{CANARY}}}"),
    ("password as a list", REPOSITORY % ("https://git.example.com/x.git, " + BASIC % f"§[{CANARY}]")),
    ("password in a repository's URL", REPOSITORY % f"§'https://ci:{CANARY}@git.example.com/x.git'"),
    ("token in a repository's URL", REPOSITORY % f"§'https://{CANARY}@git.example.com/x.git'"),
    ("password with @ in a URL", REPOSITORY % f"§'https://ci:p@{CANARY}@git.example.com/x.git'"),
    ("password over SSH", REPOSITORY % f"§'ssh://ci:{CANARY}@git.example.com/x.git'"),
    ("password in a proxy", f"network: {{proxy: §'http://ci:{CANARY}@proxy.example.com:3128'}}\n"),
    (
        "password in an endpoint",
        f"registries: [{{host: r.example.com, endpoint: §'https://ci:{CANARY}@r.internal'}}]\n",
    ),
]


@pytest.mark.parametrize("file", [row[1] for row in LITERALS], ids=[row[0] for row in LITERALS])
def test_a_literal_secret_is_refused_and_not_printed(tmp_path: Path, file: str) -> None:
    text, at = marked(file)
    [problem] = problems(tmp_path, text)
    assert f"{problem.line}:{problem.column}" == at
    assert problem.found.startswith("a literal secret")
    assert CANARY not in str(problem)


ELSEWHERE = [
    ("credentials as one text", f"registries: [{{host: r.example.com, credentials: {CANARY}}}]\n"),
    (
        "user name of the wrong kind",
        f"registries: [{{host: r.example.com, credentials: {{kind: basic, username: ['{CANARY}']}}}}]",
    ),
    ("state", f"state: mysql://ci:{CANARY}@db.example.com/x\n"),
    ("state with a password that holds @ and /", f"state: mysql://ci:a@/{CANARY}@db.example.com/x\n"),
    ("proxy that is no address", f"network: {{proxy: 'ftp://ci:{CANARY}@proxy'}}\n"),
    ("URL of an unknown scheme", REPOSITORY % f"'ftp://ci:{CANARY}@git.example.com/x.git'"),
    ("unknown key", REPOSITORY % f"https://git.example.com/x.git, pasword: {CANARY}"),
    (
        "kind of a later version",
        f"registries: [{{host: r.example.com, credentials: {{kind: token, token: {CANARY}}}}}]",
    ),
    ("alias", REPOSITORY % f"https://git.example.com/x.git, credentials: {{kind: token, token: *{CANARY}}}"),
    ("tag", REPOSITORY % f"https://git.example.com/x.git, credentials: {{kind: token, token: !{CANARY} x}}"),
    ("anchor used twice, then broken", f"a: &a {CANARY}\nb: &a {CANARY}\nc: [\n"),
    ("broken text", f"repositories: [{{url: x, token: '{CANARY}\n"),
    (
        "reference to an unknown store",
        REPOSITORY % f"https://git.example.com/x.git, credentials: {{kind: token, token: 'pass:{CANARY}'}}",
    ),
    ("kind under a wrong value", f"registries: [{{host: r.example.com, credentials: [{CANARY}]}}]\n"),
]


@pytest.mark.parametrize("file", [row[1] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE])
def test_what_could_be_a_secret_is_not_printed_with_any_mistake(tmp_path: Path, file: str) -> None:
    report = problems(tmp_path, file)
    assert report
    assert CANARY not in "\n".join(map(str, report))


def test_a_reference_is_kept_and_printed_as_stars(tmp_path: Path) -> None:
    text = "network: {proxy: 'env:PROXY_URL'}\n" + REPOSITORY % (
        "https://git.example.com/x.git, " + BASIC % "'env:GIT_TOKEN'"
    )
    loaded = settings(tmp_path, text)
    assert "GIT_TOKEN" not in repr(loaded)
    assert "PROXY_URL" not in repr(dataclasses.asdict(loaded))


def test_the_file_of_a_secret_is_relative_to_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = REPOSITORY % "https://git.example.com/x.git, credentials: {kind: token, token: 'file:secrets/token'}"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("t0ken-from-file\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    login = settings(tmp_path, text).repositories[0].credentials
    assert login is not None
    assert login.login().header  # it was read
