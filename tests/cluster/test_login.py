"""Who we are at a cluster: kubeconfigs, programs that log in for us, and the pod that we run in."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Connect, login_of
from tests.cluster.made import config_map
from tests.lab.certificates import make_certificate
from tests.lab.proxy import Proxy
from tests.lab.scripted import Scripted, reply
from updater.cluster.credentials import Credential, Kept
from updater.cluster.login import Login, in_cluster, kubeconfig
from updater.cluster.plugin import Command, Plugin
from updater.cluster.wire import Identity, NoAnswer, Server
from updater.demo.cluster.server import ClusterServer
from updater.errors import ConfigError, Denied, Unreachable
from updater.secrets import redact
from updater.transport.pace import Breaker
from updater.transport.proxies import Routes

KEY = config_map().key
V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


def soon() -> float:
    return time.monotonic() + 20


def config(user: dict[str, Any] | None = None, named: dict[str, Any] | None = None, **cluster: Any) -> str:
    """Write a kubeconfig with one context."""
    return json.dumps(
        {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **(named or {}), **cluster}}],
            "users": [{"name": "u", "user": user or {}}],
        }
    )


def read(text: str, allowed: tuple[str, ...] = (), folder: Path = Path("/nowhere")) -> Login:
    return kubeconfig(text, None, allowed, folder)


# --- kubeconfigs -----------------------------------------------------------------------------------------------------


def test_the_context_that_is_named_wins_over_the_current_one() -> None:
    document = json.loads(config())
    document["contexts"].append({"name": "there", "context": {"cluster": "d", "user": "u"}})
    document["clusters"].append({"name": "d", "cluster": {"server": "https://d.example.com/k8s/"}})
    assert read(json.dumps(document)).server.url == "https://127.0.0.1:6443"
    assert kubeconfig(json.dumps(document), "there", (), Path()).server.url == "https://d.example.com/k8s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a: "', "kubeconfig:1:1: found no YAML"),
        ("- a", "found something else, expected a kubeconfig"),
        ("{}", "current-context: found nothing"),
        (json.dumps({"current-context": "x"}), "contexts: found no context 'x', expected one of: none"),
        (config(server=""), r"clusters\[c\].server: found nothing"),
        (config(server="ftp://x"), r"clusters\[c\].server: found an address that cannot be asked"),
        (config(server="https://user:pw@x"), "an address with a login"),
        (config(server="https://x\r\ny"), "an address that cannot be asked"),
        (config(None, {"proxy-url": "socks5://x:1"}), r"proxy-url: found an address that cannot be asked"),
        (config(None, {"certificate-authority-data": "%%%"}), "certificate-authority-data: found no base64 of PEM"),
        (config(None, {"certificate-authority": "gone.crt"}), "gone.crt, which cannot be read"),
        (config(None, {"insecure-skip-tls-verify": "yes"}), "expected true or false"),
        (config({"username": "canary", "password": "canary"}), r"users\[u\].username: found a way to log in"),
        (config({"auth-provider": {"name": "gcp"}}), "auth-provider: found a way .* expected exec"),
        (config({"as": "admin"}), "expected `impersonate` beside the kubeconfig"),
        (config({"token": ["canary"]}), r"users\[u\].token: found a list, expected a text"),
        (config({"client-certificate-data": "Y2FuYXJ5"}), "a client certificate without its key"),
        (config({"exec": {"command": "sh"}}), "exec.apiVersion: found nothing"),
        (config({"exec": {"command": "sh", "apiVersion": "v1alpha1"}}), "expected client.authentication.k8s.io/v1 or"),
        (config({"exec": {"command": "sh", "apiVersion": V1}}), "found 'sh', expected a command on the cluster's"),
        (config({"exec": {"command": "no-such", "apiVersion": V1}}), "'no-such', which is not on this machine"),
        (config({"exec": {"apiVersion": V1, "interactiveMode": "Always"}}), "nobody sits at a terminal"),
        (config({"exec": {"command": "sh", "apiVersion": V1, "args": "x"}}), "args: found something else"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_no_secret(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read(text)
    assert "canary" not in str(caught.value)
    assert caught.value.problems[0].file == "kubeconfig"


def test_secrets_are_in_no_repr_and_are_blanked_everywhere() -> None:
    login = read(config({"token": "canary-token-1"}, {"proxy-url": "http://me:canary-proxy@proxy:1"}))
    assert "canary" not in f"{login!r}{login.server!r}{login.source.current(soon())!r}{login.source!r}"
    assert redact("a canary-token-1 b") == "a *** b"


def test_files_count_from_the_folder_of_the_kubeconfig(server: ClusterServer, connect: Connect) -> None:
    text = config(
        {"client-certificate": "client.crt", "client-key": "client.key"},
        {"server": server.url, "certificate-authority": "ca.crt"},
    )
    connect(read(text, folder=server.folder)).get(KEY)
    assert server.requests[-1].user == "demo-client"


def test_certificates_may_stand_in_it(server: ClusterServer, connect: Connect) -> None:
    def data(name: str) -> str:
        return base64.b64encode((server.folder / name).read_bytes()).decode()

    user = {"client-certificate-data": data("client.crt"), "client-key-data": data("client.key")}
    text = config(user, {"server": server.url, "certificate-authority-data": data("ca.crt")})
    connect(read(text)).get(KEY)
    assert server.requests[-1].user == "demo-client"


def test_keys_do_not_stay_on_disk(
    server: ClusterServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    login = login_of(server.kubeconfig_for("x", {"client-certificate": "client.crt", "client-key": "client.key"}))
    connect(login).get(KEY)
    assert server.requests[-1].user == "demo-client"
    assert list(scratch.iterdir()) == []


def test_an_unknown_authority_is_not_believed(server: ClusterServer, connect: Connect, tmp_path: Path) -> None:
    other, _ = make_certificate(tmp_path)
    with pytest.raises(Unreachable, match="its certificate is not trusted"):
        connect(Login(Server(server.url, other.read_text()), Kept())).version()


def test_not_verifying_is_possible_where_the_kubeconfig_says_so_and_is_told(
    server: ClusterServer, connect: Connect
) -> None:
    login = read(config({"token": server.token}, {"server": server.url, "insecure-skip-tls-verify": True}))
    assert connect(login).version() == "v1.34.0"
    assert login.warnings == (f"nobody verifies who answers as {server.url}: insecure-skip-tls-verify",)


def test_the_certificate_may_be_for_another_name(server: ClusterServer, connect: Connect) -> None:
    authority = server.ca.read_text()
    assert connect(Login(Server(server.url, authority, name="localhost"), Kept())).version() == "v1.34.0"
    with pytest.raises(Unreachable, match="its certificate is not trusted"):
        connect(Login(Server(server.url, authority, name="elsewhere.example.com"), Kept())).version()


def test_it_goes_through_the_proxy_of_the_kubeconfig(server: ClusterServer, connect: Connect) -> None:
    text = json.loads(server.kubeconfig.read_text())
    with Proxy() as proxy:
        text["clusters"][0]["cluster"]["proxy-url"] = proxy.url.replace("://", "://me:pass-word@")
        assert connect(read(json.dumps(text), folder=server.folder)).version() == "v1.34.0"
        assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port}"]
        assert proxy.authorizations == ["Basic " + base64.b64encode(b"me:pass-word").decode()]


def test_the_proxy_of_the_network_is_for_those_that_name_none() -> None:
    routes = Routes.configured("proxy.example.com:3128", ["direct.example.com"])
    own = read(config(None, {"proxy-url": "http://own:1", "server": "https://k.example.com"})).through(routes)
    other = read(config(server="https://k.example.com")).through(routes, "PEM")
    direct = read(config(server="https://direct.example.com")).through(routes)
    assert (own.server.proxy, other.server.proxy, direct.server.proxy) == ("http://own:1", "proxy.example.com:3128", "")
    assert (other.server.authority, direct.server.authority) == ("PEM", "")


def test_the_network_s_proxy_is_asked(server: ClusterServer, connect: Connect) -> None:
    with Proxy() as proxy:
        login = login_of(server.kubeconfig).through(Routes.configured(proxy.host, []))
        assert connect(login).version() == "v1.34.0"
        assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port}"]


def test_plain_http_goes_through_a_proxy_too(connect: Connect) -> None:
    with Scripted(lambda _: reply(200, {"gitVersion": "v1.34.0"})) as server, Proxy() as proxy:
        login = Login(Server(f"{server.url}/k8s", proxy=proxy.url), Kept())
        assert connect(login).version() == "v1.34.0"
        assert proxy.asked == [f"GET {server.url}/k8s/version"]


def test_a_proxy_that_refuses_is_named(server: ClusterServer, connect: Connect) -> None:
    with Scripted(lambda _: reply(407, b"")) as proxy:
        login = login_of(server.kubeconfig).through(Routes.configured(proxy.url, []))
        with pytest.raises(Unreachable, match="its proxy does not let us through"):
            connect(login).version()


def test_a_token_file_is_read_again_when_it_changes(server: ClusterServer, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{server.token_for('first')}\n")
    cluster = connect(Login(Server(server.url, server.ca.read_text()), Kept(token_file=path)))
    cluster.get(KEY)
    path.write_text(f"{server.token_for('second')}\n")
    cluster.get(KEY)
    assert [asked.user for asked in server.asked()] == ["first", "second"]


def test_a_token_file_that_is_gone_is_no_answer(server: ClusterServer, connect: Connect, tmp_path: Path) -> None:
    login = Login(Server(server.url, server.ca.read_text()), Kept(token_file=tmp_path / "token"))
    with pytest.raises(Unreachable, match=r"we cannot log in: .*/token cannot be read"):
        connect(login).version()


@pytest.mark.parametrize("token", ["to\r\nken: x", "tökén", "a\tb"])
def test_a_token_that_would_break_the_request_is_not_sent(server: ClusterServer, connect: Connect, token: str) -> None:
    login = Login(Server(server.url, server.ca.read_text()), Kept(Credential(token)))
    with pytest.raises(Unreachable, match="the token holds characters that no token has") as caught:
        connect(login).version()
    assert token not in str(caught.value)
    assert not server.requests


# --- pods ------------------------------------------------------------------------------------------------------------


def test_a_pod_logs_in_with_its_service_account(server: ClusterServer, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(server.token_for("system:serviceaccount:updater:updater"))
    (tmp_path / "ca.crt").write_bytes(server.ca.read_bytes())
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    connect(in_cluster(tmp_path, where)).get(KEY)
    assert server.requests[-1].user == "system:serviceaccount:updater:updater"


@pytest.mark.parametrize(
    ("where", "words"), [({}, "no KUBERNETES_SERVICE_HOST"), ({"KUBERNETES_SERVICE_HOST": "::1"}, "no token")]
)
def test_outside_of_a_pod_it_says_so(tmp_path: Path, where: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        in_cluster(tmp_path, where)


# --- programs that log in --------------------------------------------------------------------------------------------


class Program:
    """An executable that prints what `answer` holds, and notes that it ran and what it was given."""

    def __init__(self, folder: Path) -> None:
        self.path, self.answer, self.notes = folder / "log-in", folder / "answer", folder / "notes"
        self.path.write_text(
            f"#!{sys.executable} -I\n"
            "import json, os, sys\n"
            f"with open({str(self.notes)!r}, 'a') as notes:\n"
            "    print(json.dumps([sys.argv[1:], dict(os.environ)]), file=notes)\n"
            f"exec(open({str(self.answer)!r}).read())\n"
        )
        self.path.chmod(0o700)
        self.does("")

    def does(self, code: str) -> None:
        self.answer.write_text(code)

    def gives(self, version: str = V1, **status: Any) -> None:
        document = {"kind": "ExecCredential", "apiVersion": version, "status": status}
        self.does(f"print({json.dumps(document)!r})")

    @property
    def runs(self) -> list[tuple[list[str], dict[str, str]]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(arguments, environment) for arguments, environment in map(json.loads, lines)]

    def plugin(self, **options: Any) -> Plugin:
        return Plugin(Command(str(self.path)), **options)

    def login(self, server: ClusterServer, version: str = V1, **more: Any) -> Login:
        entry = {"command": str(self.path), "apiVersion": version, "args": ["get", "x"]} | more
        cluster: dict[str, Any] = {"server": server.url, "certificate-authority": str(server.ca)}
        return read(config({"exec": entry}, cluster), allowed=(str(self.path),))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_program_gives_a_token(server: ClusterServer, connect: Connect, program: Program, version: str) -> None:
    program.gives(version, token=server.token_for("by-plugin"))
    cluster = connect(program.login(server, version))
    cluster.get(KEY)
    cluster.get(KEY)
    assert {asked.user for asked in server.asked()} == {"by-plugin"}
    assert len(program.runs) == 1


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_program_gives_a_client_certificate(
    server: ClusterServer, connect: Connect, program: Program, version: str
) -> None:
    certificate, key = ((server.folder / f"client.{end}").read_text() for end in ("crt", "key"))
    program.gives(version, clientCertificateData=certificate, clientKeyData=key)
    connect(program.login(server, version)).get(KEY)
    assert server.requests[-1].user == "demo-client"
    assert redact(key.strip().splitlines()[1]) == "***"


def test_it_sees_a_clean_environment_and_what_the_kubeconfig_adds(
    server: ClusterServer, connect: Connect, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "secret")
    monkeypatch.setenv("HOME", "/home/x")
    program.gives(token=server.token)
    connect(program.login(server, env=[{"name": "REGION", "value": "cn-hangzhou"}], provideClusterInfo=True)).version()
    ((arguments, environment),) = program.runs
    assert arguments == ["get", "x"]
    assert environment["REGION"] == "cn-hangzhou"
    assert environment["HOME"] == "/home/x"
    assert "CANARY" not in environment
    told = json.loads(environment["KUBERNETES_EXEC_INFO"])
    assert (told["apiVersion"], told["spec"]["cluster"]["server"], told["spec"]["interactive"]) == (
        V1,
        server.url,
        False,
    )


def test_only_commands_on_the_list_are_run(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def plugin(command: str, *allowed: str, folder: Path = program.path.parent) -> Login:
        return read(config({"exec": {"command": command, "apiVersion": V1}}), allowed, folder)

    monkeypatch.setenv("PATH", f"{program.path.parent}:/usr/bin:/bin")
    for command, allowed in (
        ("log-in", "log-in"),
        ("log-in", str(program.path)),
        ("./log-in", str(program.path)),
        (str(program.path), "log-in"),
    ):
        assert isinstance(plugin(command, "sh", allowed).source, Plugin)
    for command, allowed in (("sh", "log-in"), ("./log-in", "/usr/bin/log-in"), ("../log-in", "log-in"), ("sh", "")):
        with pytest.raises(ConfigError, match="expected a command on the cluster's list `exec`"):
            plugin(command, allowed)
    assert program.runs == []


def test_a_credential_that_is_about_to_end_is_made_anew(program: Program) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    plugin = program.plugin(now=lambda: now[0])
    program.gives(token="first-token", expirationTimestamp="2026-01-01T03:00:00Z")
    assert plugin.current(soon()).token == "first-token"
    program.gives(token="second-token", expirationTimestamp="2026-01-01T06:00:00Z")
    now[0] += timedelta(hours=2, minutes=58)
    assert plugin.current(soon()).token == "first-token"
    now[0] += timedelta(minutes=1)
    assert plugin.current(soon()).token == "second-token"
    assert len(program.runs) == 2


def test_a_credential_that_is_refused_is_made_anew_once(
    server: ClusterServer, connect: Connect, program: Program
) -> None:
    clock = [100.0]
    login = program.login(server)
    login = Login(login.server, Plugin(Command(str(program.path)), clock=lambda: clock[0]))
    first = server.token_for("x")
    program.gives(token=first)
    cluster = connect(login)
    cluster.get(KEY)
    server.revoke(first)
    program.gives(token=server.token_for("x"))
    clock[0] += 60
    cluster.get(KEY)
    assert len(program.runs) == 2
    program.gives(token="never-known")
    server.api.tokens = {}
    clock[0] += 60
    for _ in range(3):
        with pytest.raises(Denied):
            cluster.get(KEY)
    assert len(program.runs) == 3


def test_threads_that_need_one_at_the_same_time_share_one_run(program: Program) -> None:
    program.gives(token="the-token")
    plugin, start = program.plugin(), threading.Barrier(8)
    found: list[str] = []

    def ask() -> None:
        start.wait(10)
        found.append(plugin.current(soon()).token)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == ["the-token"] * 8
    assert len(program.runs) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit('no such\\x1b profile')", "it ended with 1: no such  profile"),
        ("sys.exit(3)", "it ended with 3"),
        ("print('canary')", "printed no JSON, expected an ExecCredential"),
        ("print('[]')", "printed something else"),
        ("print(json.dumps({'kind': 'ExecCredential', 'apiVersion': 'v0'}))", "printed another apiVersion"),
        (f"print(json.dumps({{'kind': 'ExecCredential', 'apiVersion': '{V1}'}}))", "printed no status"),
        (f"print(json.dumps({{'kind': 'ExecCredential', 'apiVersion': '{V1}', 'status': {{}}}}))", "neither token nor"),
        ("print('x' * (2 << 20))", "it printed more than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_program_that_fails_is_no_answer(
    server: ClusterServer, connect: Connect, program: Program, code: str, words: str
) -> None:
    program.does(code)
    with pytest.raises(Unreachable, match=f"we cannot log in: .*log-in.*{words}") as caught:
        connect(program.login(server)).version()
    assert "canary" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"token": 5}, "that is no text"),
        ({"token": "x\u00fc"}, "that is no text"),
        ({"clientCertificateData": "x"}, "a certificate without its key"),
        ({"token": "x", "clientKeyData": "y"}, "a key without its certificate"),
        ({"token": "x", "expirationTimestamp": "tomorrow"}, "an expirationTimestamp that is no time"),
    ],
)  # fmt: skip
def test_half_a_credential_is_none(program: Program, status: dict[str, Any], words: str) -> None:
    program.gives(**status)
    with pytest.raises(NoAnswer, match=words):
        program.plugin().current(soon())


def test_a_program_that_hangs_is_ended(program: Program) -> None:
    program.does("import signal; signal.pause()")
    begun = time.monotonic()
    with pytest.raises(NoAnswer, match="it took more than 0"):
        program.plugin().current(begun + 0.5)
    assert time.monotonic() - begun < 5


def test_a_program_that_fails_is_left_alone_after_a_while(
    server: ClusterServer, connect: Connect, program: Program
) -> None:
    program.does("sys.exit(1)")
    cluster = connect(program.login(server), breaker=Breaker(2))
    for _ in range(6):
        with pytest.raises(Unreachable):
            cluster.version()
    assert len(program.runs) <= 3
    assert "we cannot log in" in cluster.trouble


def test_a_certificate_that_makes_no_sense_is_no_answer(server: ClusterServer, connect: Connect) -> None:
    source = Kept(Credential(identity=Identity("nonsense", "nonsense")))
    with pytest.raises(Unreachable, match="its certificate authority or the client certificate cannot be used"):
        connect(Login(Server(server.url, server.ca.read_text()), source)).version()
