"""Logins: what they give to git, what they refuse, and that their secrets appear nowhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.lab.certificates import make_certificate
from tests.lab.git import AT, AUTHOR, FILES, PASSWORD, Room, Ssh, hook
from updater.demo.git_server import GitServer
from updater.errors import GitError
from updater.git.clone import Clone
from updater.git.credentials.base import GitCredentials
from updater.git.credentials.basic import Basic
from updater.git.credentials.ssh_key import SshKey
from updater.git.credentials.token import Token
from updater.git.remote import Remote
from updater.plugins import members, one_of
from updater.secrets import SecretError, SecretRef

FAMILY: TypeAdapter[GitCredentials] = TypeAdapter(one_of(GitCredentials))
CANARY = "canary-in-the-coal-mine"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> SecretRef:
    monkeypatch.setenv("GIT_SECRET", CANARY)
    return SecretRef("env:GIT_SECRET")


def test_every_kind_is_one_file() -> None:
    assert set(members(GitCredentials)) == {"basic", "token", "ssh_key", "github_app"}
    assert all(kind.schemes for kind in members(GitCredentials).values())


def test_basic_and_token_are_the_header_of_rfc_7617(secret: SecretRef) -> None:
    basic = Basic(username="ci", password=secret).login().header
    token = Token(token=secret).login().header
    assert basic == "Authorization: Basic Y2k6Y2FuYXJ5LWluLXRoZS1jb2FsLW1pbmU="
    assert token == "Authorization: Basic eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5LWluLXRoZS1jb2FsLW1pbmU="


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"kind": "basic", "username": "ci", "password": CANARY}, "a literal secret"),
        ({"kind": "basic", "username": "c:i", "password": "env:X"}, "username"),
        ({"kind": "basic", "username": "ci\n", "password": "env:X"}, "username"),
        ({"kind": "token", "token": CANARY}, "a literal secret"),
        ({"kind": "ssh_key", "private_key": "env:X"}, "known_hosts"),
        ({"kind": "ssh_key", "private_key": CANARY, "known_hosts": "hosts"}, "a literal secret"),
        ({"kind": "ssh_key", "private_key": "env:X", "known_hosts": ""}, "known_hosts"),
        ({"kind": "token", "token": "env:X", "scope": "all"}, "scope"),
    ],
)
def test_what_cannot_log_in_is_refused_when_it_is_read(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        FAMILY.validate_python(given)
    assert CANARY not in str(caught.value.errors(include_input=False))


def test_host_keys_may_be_named_by_a_path_or_by_a_reference(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("h ssh-ed25519 AAAA\r\n")
    (tmp_path / "key").write_text("-----BEGIN\nxx\n-----END")
    for hosts in (f"{tmp_path}/hosts", f"file:{tmp_path}/hosts"):
        read = FAMILY.validate_python({"kind": "ssh_key", "private_key": f"file:{tmp_path}/key", "known_hosts": hosts})
        assert isinstance(read, SshKey)
        assert read.login().known_hosts == "h ssh-ed25519 AAAA\n"
        assert read.login().private_key == "-----BEGIN\nxx\n-----END\n"


def test_a_secret_that_is_not_set_is_named() -> None:
    with pytest.raises(SecretError, match="env:NOT_SET_ANYWHERE"):
        Basic(username="ci", password=SecretRef("env:NOT_SET_ANYWHERE")).login()


@pytest.mark.parametrize(
    ("url", "kind", "complaint"),
    [
        ("ssh://git@git.example.com/a", None, "needs credentials of kind ssh_key"),
        ("git@git.example.com:a", Basic, "kind basic do not work over ssh"),
        ("https://git.example.com/a", SshKey, "kind ssh_key do not work over https"),
        ("http://git.example.com/a", None, "not encrypted"),
        ("ext::sh", None, "no URL of a repository"),
    ],
)
def test_a_remote_takes_only_a_login_that_fits(
    url: str, kind: type[GitCredentials] | None, complaint: str, secret: SecretRef
) -> None:
    given = {
        Basic: Basic(username="ci", password=secret),
        SshKey: SshKey(private_key=secret, known_hosts=secret),
        None: None,
    }
    with pytest.raises(ValueError, match=complaint):
        Remote("fleet", url, credentials=given[kind])  # type: ignore[index]


def test_settings_of_the_network_reach_git(tmp_path: Path, secret: SecretRef) -> None:
    ours = tmp_path / "ours.pem"
    ours.write_text("our authority")
    remote = Remote(
        "fleet",
        "https://git.example.com:8443/a/b.git",
        credentials=Token(token=secret),
        ca_file=ours,
        proxy="http://proxy.example.com:3128",
        no_proxy=("localhost", ".internal"),
    )
    with remote.access(tmp_path) as (environment, settings):
        assert environment == {
            "GIT_ALLOW_PROTOCOL": "https",
            "no_proxy": "localhost,.internal",
            "NO_PROXY": "localhost,.internal",
        }
        trusted = Path(settings.pop("http.sslCAInfo"))
        assert trusted.read_text().endswith("-----END CERTIFICATE-----\n\nour authority")
        assert settings == {
            "http.https://git.example.com:8443/.extraHeader": Token(token=secret).login().header,
            "http.proxy": "http://proxy.example.com:3128",
        }
    assert CANARY not in repr(remote)
    assert list(tmp_path.iterdir()) == [ours]


def test_a_private_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with GitServer(tmp_path / "served", tls=certificate) as server:
        url = server.create("fleet", {"a.yaml": b"a"})
        trusting = Clone(tmp_path / "trusting", Remote("fleet", url, ca_file=certificate[0]))
        with trusting.lock():
            assert trusting.fetch().branch == "main"
        strict = Clone(tmp_path / "strict", Remote("fleet", url))
        with strict.lock(), pytest.raises(GitError, match="certificate"):
            strict.fetch()
        lost = Clone(tmp_path / "lost", Remote("fleet", url, ca_file=tmp_path / "none.pem"))
        with lost.lock(), pytest.raises(GitError, match=r"none\.pem cannot be used"):
            lost.fetch()


def test_a_key_lies_in_a_private_folder_for_one_call_alone(tmp_path: Path, secret: SecretRef) -> None:
    key = SshKey(private_key=secret, known_hosts=secret)
    remote = Remote("fleet", "git@git.example.com:a", credentials=key)
    with remote.access(tmp_path) as (environment, _):
        (private,) = tmp_path.iterdir()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}
        assert CANARY not in environment["GIT_SSH_COMMAND"]
        assert "StrictHostKeyChecking=yes" in environment["GIT_SSH_COMMAND"]
    assert list(tmp_path.iterdir()) == []


def test_no_secret_in_argv_config_or_errors_while_git_runs(room: Room) -> None:
    bare = room.create(FILES)
    hook(
        bare,
        "pre-receive",
        f"cat /proc/[0-9]*/cmdline > {room.folder}/argv 2>/dev/null; echo no {PASSWORD} >&2; exit 1",
    )
    clone = room.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"new": b"1"}, "New\n", AUTHOR, AT)
        with pytest.raises(GitError) as caught:
            clone.push(head.branch, head.revision, revision)
    credentials = room.server.credentials()
    assert credentials
    login = credentials.login()
    password = [PASSWORD, login.header.rpartition(" ")[2]] if login.header else []  # a key has no password to hide
    secrets = [*password, *login.private_key.splitlines()[1:-1]]
    assert len(secrets) > 1
    argv = (room.folder / "argv").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    assert "git push --porcelain" in argv
    ours = [path for path in (room.folder / "clone").rglob("*") if path.is_file()]
    for text in secrets:
        assert text not in argv
        assert text not in str(caught.value)
        assert not [path for path in ours if text.encode() in path.read_bytes()]


@pytest.mark.parametrize("wrong", ["hunter2", ""], ids=["a wrong password", "no login"])
def test_a_login_that_is_refused_is_said_in_words(one: Room, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    one.create(FILES)
    monkeypatch.setenv("WRONG", wrong)
    credentials = Basic(username="ci", password=SecretRef("env:WRONG")) if wrong else None
    clone = one.clone(credentials=credentials)
    with clone.lock(), pytest.raises(GitError, match=r"the remote (does not accept|asks for) (the|a) login"):
        clone.fetch()


@pytest.mark.parametrize(
    ("key", "known", "words"),
    [("stranger", "host", "does not accept the key"), ("client", "stranger", "a key that is not pinned")],
    ids=["a strange key", "a strange host"],
)
def test_ssh_lets_in_neither_strange_keys_nor_strange_hosts(
    ssh: Ssh, tmp_path: Path, key: str, known: str, words: str
) -> None:
    room = Room(ssh, f"{key}-{known}", tmp_path)
    room.create(FILES)
    (ssh.root / "hosts").write_text(ssh.known(known))
    clone = room.clone(credentials=ssh.key(key, "hosts"))
    with clone.lock(), pytest.raises(GitError, match=words):
        clone.fetch()
    assert not list((tmp_path / "clone").glob("login-*"))
