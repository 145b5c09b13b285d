"""The section `web`: where the front door listens, who may come in, who may knock; every mistake at its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.config import marked, rows, settings, write
from updater.config.problems import known_keys, known_kinds
from updater.config.schema import schema
from updater.config.web import WebSettings
from updater.hooks.base import Hook
from updater.plugins import members

CANARY = "hunter2-canary"
KINDS = f"one of {', '.join(members(Hook))}"
REGISTRY = "the name of a registry such as registry.example.com"
ADDRESS = 'an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"'


def web(folder: Path, text: str, environ: dict[str, str] | None = None) -> WebSettings:
    """Return the section of a file that has it."""
    found = settings(folder, text, environ).web
    assert found is not None
    return found


def test_without_the_section_this_machine_is_served(tmp_path: Path) -> None:
    assert settings(tmp_path, "images: []\n").web is None
    found = web(tmp_path, "web: {}\n")
    assert (found.host, found.port, found.open, found.closed) == ("127.0.0.1", 8080, True, False)
    assert found.hooks == {}


def test_the_environment_says_where_to_listen(tmp_path: Path) -> None:
    for text in ("images: []\n", "web:\n", "web: {listen: 127.0.0.1:1}\n"):
        assert web(tmp_path, text, {"UPDATER_LISTEN": "[::1]:0"}).listen == "[::1]:0"
    assert rows(tmp_path, "images: []\n", {"UPDATER_LISTEN": "here"}) == [("$UPDATER_LISTEN:0:0", "'here'", ADDRESS)]


@pytest.mark.parametrize(
    ("listen", "login", "open_", "closed"),
    [
        ("127.0.0.1:0", False, True, False),
        ("[::1]:80", False, True, False),
        ("localhost:80", False, True, False),
        ("127.0.0.1:0", True, False, False),
        ("0.0.0.0:80", False, False, True),
        ("[::]:80", False, False, True),
        ("updater.example.com:80", False, False, True),
        ("0.0.0.0:80", True, False, False),
    ],
)
def test_who_is_served_without_a_login(tmp_path: Path, listen: str, login: bool, open_: bool, closed: bool) -> None:
    text = f'web: {{listen: "{listen}"{", login: {tokens: env:T}" if login else ""}}}\n'
    found = web(tmp_path, text.replace("env:T", '"env:T"'))
    assert (found.open, found.closed) == (open_, closed)


def test_hooks_have_the_kind_of_their_name(tmp_path: Path) -> None:
    found = web(
        tmp_path,
        """
        web:
          hooks:
            distribution: {token: "env:A"}
            acr-hangzhou: {kind: aliyun, registry: registry.cn-hangzhou.aliyuncs.com, path: "file:path"}
        """,
    ).hooks
    assert {name: hook.kind for name, hook in found.items()} == {
        "distribution": "distribution",
        "acr-hangzhou": "aliyun",
    }
    assert found["acr-hangzhou"].path.reference == f"file:{tmp_path}/path", "paths count from the file that names them"


@pytest.mark.parametrize(
    ("text", "where", "found", "expected"),
    [
        ("web: §1\n", "web", "1", "a mapping"),
        ("web: §[]\n", "web", "an empty list", "a mapping"),
        ("web: {§hoks: {}}\n", "web.hoks", "unknown key `hoks`", "`hooks`"),
        ("web: {listen: §nowhere}\n", "web.listen", "'nowhere'", ADDRESS),
        ("web: {listen: §8080}\n", "web.listen", "8080", ADDRESS),
        ('web: {listen: §"1.2.3.4:70000"}\n', "web.listen", "'1.2.3.4:70000'", ADDRESS),
        ("web: {public_url: §ftp://x}\n", "web.public_url", "'ftp://x'", "an address such as https://host:port"),
        (f'web: {{public_url: §"https://u:{CANARY}@x"}}\n', "web.public_url", "a literal secret inside a URL",
         "the address alone, secrets as env:NAME or file:/path"),
        ("web: {login: §{}}\n", "web.login", "a login without a way in", "tokens or oidc"),
        (f"web: {{login: {{tokens: §{CANARY}}}}}\n", "web.login.tokens", "a literal secret", "env:NAME or file:/path"),
        ('web: {login: {oidc: §{issuer: "https://i", client_id: u}}}\n', "web.login.oidc.client_secret",
         "no `client_secret`", "`client_secret`"),
        ('web: {login: {oidc: {issuer: §i, client_id: u, client_secret: "env:C"}}}\n', "web.login.oidc.issuer", "'i'",
         "an address such as https://host:port"),
        ('web: {login: {oidc: {issuer: "https://i", client_id: u, client_secret: "env:C", §operator: [a]}}}\n',
         "web.login.oidc.operator", "unknown key `operator`", "`operators`"),
        ("web: {hooks: §[]}\n", "web.hooks", "an empty list", "a mapping"),
        ("web: {hooks: {distribution: §x}}\n", "web.hooks.distribution", "a text",
         "a mapping with a token, a secret or a path"),
        ('web: {hooks: {§a/b: {token: "env:A"}}}\n', "web.hooks.a/b", "'a/b'", "a name that can stand in a path"),
        ('web: {hooks: {§a.b: {token: "env:A"}}}\n', "web.hooks.a.b", "'a.b'", "a name that can stand in a path"),
        ('web: {hooks: {mine: §{token: "env:A"}}}\n', "web.hooks.mine", "'mine'", KINDS),
        ('web: {hooks: {mine: {kind: §3, token: "env:A"}}}\n', "web.hooks.mine.kind", "3", KINDS),
        ("web: {hooks: {distribution: §{}}}\n", "web.hooks.distribution", "no secret", "one of path, token"),
        ('web: {hooks: {github: §{token: "env:A"}}}\n', "web.hooks.github", "token", "one of secret"),
        ('web: {hooks: {quay: §{path: "env:A", token: "env:A"}}}\n', "web.hooks.quay", "path and token", "one of path"),
        ('web: {hooks: {github: {secret: "env:A", §sercet: 1}}}\n', "web.hooks.github.sercet", "unknown key `sercet`",
         "`secret`"),
        ('web: {hooks: {quay: {path: "env:A", §registry: r.example.com}}}\n', "web.hooks.quay.registry",
         "unknown key `registry`", "one of kind, path, secret, token"),
        (f"web: {{hooks: {{distribution: {{token: §{CANARY}}}}}}}\n", "web.hooks.distribution.token",
         "a literal secret", "env:NAME or file:/path"),
        (f"web: {{hooks: {{quay: {{path: §{CANARY}}}}}}}\n", "web.hooks.quay.path", "a literal secret",
         "env:NAME or file:/path"),
        ('web: {hooks: {aliyun: §{path: "env:A"}}}\n', "web.hooks.aliyun.registry", "no `registry`", "`registry`"),
        ('web: {hooks: {aliyun: {path: "env:A", registry: §acme}}}\n', "web.hooks.aliyun.registry", "'acme'", REGISTRY),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place(tmp_path: Path, text: str, where: str, found: str, expected: str) -> None:
    plain, place = marked(text)
    [row] = rows(tmp_path, plain)
    assert row == (f"updater.yaml:{place} {where}", found, expected)
    assert CANARY not in str(row)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    found = rows(tmp_path, "web: {listen: x, public_url: y, login: {}, hooks: {mine: {}, github: {}, a b: {}}}\n")
    assert len(found) == 6


def test_the_keys_and_kinds_that_are_suggested_are_those_of_the_models() -> None:
    assert known_kinds("web") == {"web.hooks{}": frozenset(members(Hook))}
    assert known_keys("web")["web"] == frozenset(WebSettings.model_fields)


def test_the_schema_lets_a_hook_have_the_kind_of_its_name() -> None:
    """Without its kind an entry fits several members: one of them is not asked for."""
    found = schema()["$defs"]["Whole"]["properties"]["hooks"]["additionalProperties"]
    assert len(found["anyOf"]) == len(members(Hook))
    assert set(found) == {"anyOf"}


@pytest.mark.parametrize("text", ["images: []", "web: {listen: '127.0.0.1:0'}"])
def test_a_file_without_hooks_costs_nothing(tmp_path: Path, text: str) -> None:
    """The family of hooks is imported only for a file that has some."""
    write(tmp_path, f"{text}\n")
    code = "import sys, pathlib; from updater.config.load import load; load(pathlib.Path(sys.argv[1]), {});"
    code += "print([name for name in sys.modules if name.startswith(('updater.hooks', 'updater.config.hooks'))])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "updater.yaml")], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
