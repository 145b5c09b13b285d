"""Logins from Docker's config.json: which entry holds, what programs say, and what is said of a file that is off."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.config import settings
from tests.lab.registry import FLAVOURS, LOGIN, Auth, Flavour, open_registry
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.daemon.build import build
from updater.errors import RegistryError
from updater.model.image import ImageRef
from updater.registry.client import LoginRefused, Registry
from updater.registry.credentials.base import Place, Proof
from updater.registry.credentials.docker_config import MAX_BYTES, DockerConfig
from updater.registry.docker.config import DockerFile, NoConfig
from updater.registry.docker.program import MAX_OUTPUT, ask
from updater.secrets import redact
from updater.transport.http import Http

HOST = "registry.example.com"
CANARY = "canary-of-a-password"


def pair(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def write(path: Path, document: object) -> Path:
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def bound(path: Path | None, host: str = HOST) -> DockerConfig:
    def no_http() -> Http:
        raise AssertionError("a file asks nobody")

    return DockerConfig(path=path).at(Place(host, no_http))


def login(credentials: DockerConfig, repository: str = "team/app") -> Proof | None:
    return credentials.login(repository, time.monotonic() + 10)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Install `docker-credential-lab`, a shell script; what it is asked is kept in the file that is returned."""
    folder, asked = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def install(body: str) -> Path:
        path = folder / "docker-credential-lab"
        path.write_text(f'#!/bin/sh\nread host\necho "$1 $host" >>"{asked}"\n{body}\n')
        path.chmod(0o755)
        return asked

    return install


def printing(username: str, secret: str) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': username, 'Secret': secret})}'"


# --- against registries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_file_as_docker_login_writes_it_reads_tags_and_a_program_does_too(
    flavour: Flavour, auth: Auth, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    asked = program(printing(*LOGIN))
    with open_registry(flavour, tmp_path, auth=auth) as lab, Http() as http:
        lab.push("team/app", ["1.0"])

        def tags(document: object) -> tuple[str, ...]:
            path = write(tmp_path / "docker.json", document)
            credentials = DockerConfig(path=path).at(Place(lab.host, lambda: http))
            registry = Registry(
                lab.host, http=http, insecure=True, credentials=credentials, trusted_realms=lab.trusted_realms
            )
            return registry.tags("team/app").names

        assert tags({"auths": {lab.host: {"auth": pair(*LOGIN)}}}) == ("1.0",)
        assert tags({"auths": {f"http://{lab.host}/v2/": {"username": LOGIN[0], "password": LOGIN[1]}}}) == ("1.0",)
        assert tags({"credHelpers": {lab.host: "lab"}}) == ("1.0",)
        assert asked.read_text() == f"get {lab.host}\n"
        with pytest.raises(LoginRefused, match=r"refused"):
            tags({"auths": {lab.host: {"auth": pair(LOGIN[0], "not-the-password")}}})
        with pytest.raises(LoginRefused, match=r"refused"):
            tags({"auths": {}})


# --- which entry holds ----------------------------------------------------------------------------------------------

AUTHS = {
    HOST: "host",
    "registry.example.com/team": "team",
    "registry.example.com/team/app": "app",
    "https://other.example.com/v1/": "other",
    "https://*.cloud.example.com": "glob",
    "able.cloud.example.com": "able",
    "*.cloud.example.com/team": "glob team",
    "https://index.docker.io/v1/": "hub",
    "docker.io/library": "library",
    "localhost:5000": "local",
    "nonsense": "no host",
    "/": "nothing",
}


@pytest.mark.parametrize(
    ("host", "repository", "found"),
    [
        (HOST, "other/app", "host"),
        (HOST, "team/other", "team"),
        (HOST, "teams/app", "host"),
        (HOST, "team", "team"),
        (HOST, "team/app", "app"),
        (HOST, "team/app/part", "app"),
        (HOST, "team/apple", "team"),
        ("registry.example.com:5000", "team/app", None),
        ("other.example.com", "team/app", "other"),
        ("two.cloud.example.com", "x/y", "glob"),
        ("two.cloud.example.com", "team/y", "glob team"),
        ("able.cloud.example.com", "x/y", "able"),
        ("able.cloud.example.com", "team/y", "glob team"),
        ("a.b.cloud.example.com", "x/y", None),
        ("cloud.example.com", "x/y", None),
        ("docker.io", "acme/app", "hub"),
        ("docker.io", "library/nginx", "library"),
        ("localhost:5000", "app", "local"),
        ("example.com", "registry.example.com/team", None),
    ],
)
def test_the_longest_entry_wins_at_the_boundary_of_a_path(host: str, repository: str, found: str | None) -> None:
    auths = {key: {"auth": pair(name, "x")} for key, name in AUTHS.items()}
    file = DockerFile.parse(json.dumps({"auths": auths}).encode())
    proof = file.auth(host, repository)
    assert (proof and proof.username) == found


@pytest.mark.parametrize(
    "key",
    [
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "index.docker.io/v1/",
        "https://index.docker.io/v1/",
        "https://index.docker.io/v1/ns",
        "INDEX.docker.io",
    ],
)
def test_docker_hub_has_many_names(key: str) -> None:
    file = DockerFile.parse(json.dumps({"auths": {key: {"auth": pair("u", "p")}}, "credHelpers": {}}).encode())
    assert file.auth("docker.io", "ns/app") == Proof("u", "p")


@pytest.mark.parametrize(
    ("entry", "proof"),
    [
        pytest.param({"auth": pair("u", "p:q")}, Proof("u", "p:q"), id="auth"),
        pytest.param({"auth": pair("u", "p") + "\n"}, Proof("u", "p"), id="a line end"),
        pytest.param({"auth": pair("u", "p\0\0")}, Proof("u", "p"), id="padded as old versions do"),
        pytest.param({"auth": pair("ü", "ß")}, Proof("ü", "ß"), id="UTF-8"),
        pytest.param({"username": "u", "password": "p"}, Proof("u", "p"), id="fields"),
        pytest.param({"auth": pair("a", "b"), "username": "u", "password": "p"}, Proof("a", "b"), id="auth wins"),
        pytest.param({"auth": pair("u", ""), "identitytoken": "i"}, Proof("u", "", "i"), id="identity token"),
        pytest.param({"username": "<token>", "password": "i"}, Proof(identity_token="i"), id="<token>"),
        pytest.param({"registrytoken": "b"}, Proof(bearer="b"), id="bearer token"),
        pytest.param({}, None, id="empty"),
        pytest.param(None, None, id="null"),
        pytest.param({"auth": "", "email": "x@example.com"}, None, id="without a login"),
    ],
)
def test_an_entry_says_who_we_are_in_one_of_four_ways(entry: object, proof: Proof | None) -> None:
    file = DockerFile.parse(json.dumps({"auths": {HOST: entry}}).encode())
    assert file.auth(HOST, "team/app") == proof


def test_a_token_that_one_path_s_login_got_is_never_used_for_another_path(tmp_path: Path) -> None:
    """The registry wants one and the same scope for all of its repositories."""
    got: list[tuple[str, str]] = []

    def answer(asked: Asked) -> Answered:
        given = asked.headers.get("authorization", "")
        if asked.path == "/token":
            name = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")[0] or "nobody"
            return reply(200, {"token": f"token-of-{name}", "expires_in": 3600})
        if given:
            got.append((asked.path.split("/")[2], given.removeprefix("Bearer token-of-")))
            return reply(200, {"name": "x", "tags": ["1"]})
        realm = f'Bearer realm="http://{asked.headers["host"]}/token",scope="repository:one/for/all:pull"'
        return reply(401, {}, ("WWW-Authenticate", realm))

    with Scripted(answer) as server, Http() as http:
        entries = {f"{server.host}/{name}": {"auth": pair(name, "p")} for name in ("red", "blue")}
        credentials = bound(write(tmp_path / "config.json", {"auths": entries}), server.host)
        registry = Registry(server.host, http=http, insecure=True, credentials=credentials)
        for team in ("red", "blue", "green", "red"):
            registry.tags(f"{team}/app")
    assert got == [("red", "red"), ("blue", "blue"), ("green", "nobody"), ("red", "red")]


def test_an_empty_entry_with_a_longer_path_is_anonymous_and_one_of_another_spelling_is_not() -> None:
    full = {"auth": pair("u", "p")}
    deeper = DockerFile.parse(json.dumps({"auths": {"r.example.com": full, "r.example.com/open": {}}}).encode())
    assert deeper.auth("r.example.com", "open/app") is None
    spelled = DockerFile.parse(json.dumps({"auths": {"https://r.example.com": {}, "r.example.com": full}}).encode())
    assert spelled.auth("r.example.com", "open/app") == Proof("u", "p")


# --- files that are off ---------------------------------------------------------------------------------------------

KEY = 'auths."registry.example.com"'


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(f"auths: {CANARY}".encode(), "not JSON", id="YAML"),
        pytest.param(b"\xff\xfe\x00", "not JSON", id="bytes"),
        pytest.param(b"[" * 100_000, "not JSON", id="nested"),
        pytest.param([CANARY], "found a list, expected an object", id="a list"),
        pytest.param({"auths": [CANARY]}, "auths: found a list, expected an object", id="auths"),
        pytest.param({"auths": {HOST: CANARY}}, f"{KEY}: found a text, expected an object", id="entry"),
        pytest.param({"auths": {HOST: {"auth": 7}}}, f"{KEY}.auth: found a number", id="number"),
        pytest.param({"auths": {HOST: {"auth": CANARY}}}, f"{KEY}.auth: expected the base64", id="no base64"),
        pytest.param(
            {"auths": {HOST: {"auth": base64.b64encode(CANARY.encode()).decode()}}},
            f"{KEY}.auth: expected the base64 form of user:password",
            id="no colon",
        ),
        pytest.param(
            {"auths": {HOST: {"auth": base64.b64encode(b"u:\xff").decode()}}}, f"{KEY}.auth: expected", id="no text"
        ),
        pytest.param(
            {"auths": {HOST: {"identitytoken": {"x": CANARY}}}}, f"{KEY}.identitytoken: found an object", id="an object"
        ),
        pytest.param(
            b'{"auths": {"registry.example.com": {"password": "canary-of-a-password\\ud800"}}}',
            f"{KEY}: found half a character",
            id="half",
        ),
        pytest.param(
            {"credHelpers": {HOST: f"../{CANARY}"}}, 'credHelpers."registry.example.com": expected the end', id="a path"
        ),
        pytest.param({"credsStore": ["x"]}, "credsStore: expected the end of a program's name", id="a list of stores"),
        pytest.param({"credsStore": "x y"}, "credsStore: expected the end of a program's name", id="arguments"),
        pytest.param(b" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes", id="too large"),
    ],
)
def test_what_is_off_is_said_with_file_and_key_and_never_a_value(document: object, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", document)
    with pytest.raises(RegistryError) as caught:
        login(bound(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_mistake_elsewhere_in_the_file_does_not_matter(tmp_path: Path) -> None:
    entries = {HOST: {"auth": pair("u", "p")}, "broken.example.com": {"auth": 7}, "x": "y"}
    assert login(bound(write(tmp_path / "config.json", {"auths": entries}))) == Proof("u", "p")


def test_a_path_that_is_no_file_is_said_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "none", "cannot be read"), (tmp_path, "no file"), (tmp_path / "pipe", "no file")):
        with pytest.raises(RegistryError, match=said):
            login(bound(path))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([pair("u", "p"), "lab", "<token>"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([HOST, "*.example.com/team", "auth", "password", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["auths", "credHelpers", "credsStore"]), JSON) | JSON, st.binary(max_size=40))
def test_whatever_a_file_holds_is_a_login_or_a_clear_error(document: object, data: bytes) -> None:
    for content in (json.dumps(document).encode(), data):
        with contextlib.suppress(NoConfig):
            file = DockerFile.parse(content)
            name, proof = file.program(HOST), file.auth(HOST, "team/app")
            assert name is None or name.isascii()
            assert proof != Proof()


# --- the file changes -----------------------------------------------------------------------------------------------


def test_a_mounted_secret_that_changes_is_read_again(tmp_path: Path) -> None:
    """As the kubelet does it: the whole folder is swapped behind a symbolic link."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / ".dockerconfigjson", {"auths": {HOST: {"auth": pair("u", name)}}})
    (tmp_path / "data").symlink_to("old")
    credentials = bound(tmp_path / "data" / ".dockerconfigjson")
    assert login(credentials) == Proof("u", "old")
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(tmp_path / "data")
    assert login(credentials) == Proof("u", "new")


def test_a_file_that_stays_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "config.json", {"auths": {HOST: {"auth": pair("u", "p")}}})
    credentials = bound(path)
    login(credentials)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert login(credentials) == Proof("u", "p")


def test_the_usual_place_is_dockers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for folder, name in ((".docker", "kept-at-home"), ("elsewhere", "moved-away")):
        write(tmp_path / folder / "config.json", {"auths": {HOST: {"auth": pair("u", name)}}})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    assert login(bound(None)) == Proof("u", "kept-at-home")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
    assert login(bound(None)) == Proof("u", "moved-away")


def test_what_a_file_holds_is_blanked_everywhere(tmp_path: Path) -> None:
    secrets = {
        "identitytoken": "identity-of-blank",
        "registrytoken": "bearer-of-blank",
        "auth": pair("u", "pw-of-blank"),
    }
    login(bound(write(tmp_path / "config.json", {"auths": {HOST: secrets}})))
    assert redact("identity-of-blank bearer-of-blank pw-of-blank") == "*** *** ***"


# --- programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "host", "server"),
    [
        ({"credHelpers": {HOST: "lab"}, "credsStore": "none"}, HOST, HOST),
        ({"credHelpers": {"other.example.com": "none"}, "credsStore": "lab"}, HOST, HOST),
        ({"credHelpers": {"docker.io": "lab"}}, "docker.io", "https://index.docker.io/v1/"),
        ({"credsStore": "lab", "auths": {HOST: {"auth": pair("a", "b")}}}, HOST, HOST),
    ],
)
def test_the_program_of_a_host_comes_before_the_store_and_both_before_the_file(
    document: object, host: str, server: str, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    asked = program(printing("u", "secret-of-a-program"))
    assert login(bound(write(tmp_path / "config.json", document), host)) == Proof("u", "secret-of-a-program")
    assert asked.read_text() == f"get {server}\n"
    assert redact("secret-of-a-program") == "***"


def test_a_user_name_of_token_means_an_identity_token(tmp_path: Path, program: Callable[[str], Path]) -> None:
    program(printing("<token>", "identity-x"))
    path = write(tmp_path / "config.json", {"credsStore": "lab"})
    assert login(bound(path)) == Proof(identity_token="identity-x")


def test_where_a_program_knows_nothing_the_file_is_asked(tmp_path: Path, program: Callable[[str], Path]) -> None:
    asked = program("echo 'credentials not found in native keychain'; exit 1")
    path = write(
        tmp_path / "config.json",
        {"credsStore": "lab", "auths": {"registry.example.com/team": {"auth": pair("u", "p")}}},
    )
    credentials = bound(path)
    assert login(credentials) == Proof("u", "p")
    assert login(credentials, "other/app") is None
    assert len(asked.read_text().splitlines()) == 1, "that too is kept"


def test_what_a_program_said_is_kept_until_it_is_refused(tmp_path: Path, program: Callable[[str], Path]) -> None:
    asked = program(f'{printing("u", "first")} | sed "s/first/p$(wc -l <"{tmp_path}/asked")/"')
    credentials = bound(write(tmp_path / "config.json", {"credsStore": "lab"}))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: login(credentials), range(16))) == {Proof("u", "p1")}
    assert credentials.renew(Proof("u", "p1"))
    assert login(credentials) == login(credentials) == Proof("u", "p2")
    assert len(asked.read_text().splitlines()) == 2


def test_without_a_program_nothing_is_renewed(tmp_path: Path) -> None:
    credentials = bound(write(tmp_path / "config.json", {"auths": {HOST: {"auth": pair("u", "p")}}}))
    proof = login(credentials)
    assert proof is not None
    assert not credentials.renew(proof)


def test_a_program_sees_what_it_logs_in_with_and_none_of_our_secrets(
    tmp_path: Path, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REGISTRY_PASSWORD", "GIT_TOKEN", "UPDATER_STATE", "AWS_PROFILE", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, "x")
    program(f"env >'{tmp_path}/env'; {printing('u', 'p')}")
    login(bound(write(tmp_path / "config.json", {"credsStore": "lab"})))
    seen = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert {"AWS_PROFILE", "CLOUDSDK_CONFIG", "HOME", "PATH"} <= seen
    assert not {"REGISTRY_PASSWORD", "GIT_TOKEN", "UPDATER_STATE"} & seen


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param("exit 3", "it ended with 3$", id="fails"),
        pytest.param(
            "echo 'not logged in to the cloud'; exit 1", "ended with 1: not logged in to the cloud", id="says why"
        ),
        pytest.param("echo 'first\nsecond' >&2; exit 1", "ended with 1: second", id="says why on standard error"),
        pytest.param(f"{printing('u', CANARY)}; exit 1", "it ended with 1$", id="fails after it printed a login"),
        pytest.param(f"echo {CANARY}", "not JSON", id="no JSON"),
        pytest.param(f"echo '[\"{CANARY}\"]'", "without the texts Username and Secret", id="a list"),
        pytest.param(f'echo \'{{"Username": 1, "Secret": "{CANARY}"}}\'', "without the texts", id="numbers"),
        pytest.param(f'echo \'{{"Username": "u", "Secret": "{CANARY}\\\\ud800"}}\'', "half a character", id="half"),
        pytest.param("yes x", f"printed more than {MAX_OUTPUT} bytes", id="floods"),
    ],
)
def test_a_program_that_fails_is_an_error_without_any_of_its_secrets(
    body: str, said: str, program: Callable[[str], Path]
) -> None:
    program(body)
    with pytest.raises(RegistryError, match=f"^docker-credential-lab.*{said}") as caught:
        ask("lab", HOST, time.monotonic() + 10)
    assert CANARY not in str(caught.value)


def test_a_program_that_hangs_is_ended_at_the_deadline(program: Callable[[str], Path]) -> None:
    program("exec sleep 60")
    start = time.monotonic()
    with pytest.raises(RegistryError, match="it took more than"):
        ask("lab", HOST, start + 0.3)
    assert time.monotonic() - start < 5


def test_a_program_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(RegistryError, match="docker-credential-none-such cannot be started: No such file"):
        ask("none-such", HOST, time.monotonic() + 10)


# --- the configuration ----------------------------------------------------------------------------------------------


def test_a_login_that_no_registry_was_named_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="at a registry alone"):
        login(DockerConfig(path=tmp_path))


@pytest.mark.parametrize("path", ["", 7, "a\0b", ["x"]])
def test_a_path_is_a_text(path: Any) -> None:
    with pytest.raises(ValueError, match="expected a path"):
        DockerConfig(path=path)


def test_the_login_of_the_configuration_is_bound_to_its_registry(tmp_path: Path) -> None:
    text = """\
        data: data
        registries: [{host: "%s", insecure: true, credentials: {kind: docker_config, path: secrets/docker.json}}]
        images: []
        """
    with open_registry("embedded", tmp_path, auth="basic") as lab:
        lab.push("team/app", ["1.0"])
        (tmp_path / "secrets").mkdir()
        write(tmp_path / "secrets" / "docker.json", {"auths": {f"{lab.host}/team": {"auth": pair(*LOGIN)}}})
        with build(settings(tmp_path, text % lab.host)) as world:
            image = ImageRef.parse(f"{lab.host}/team/app")
            assert world.registry_of(image).tags(image.repository).names == ("1.0",)
