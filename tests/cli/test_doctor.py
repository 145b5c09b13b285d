"""`updater doctor`: every way is tried, and what does not work is said in plain words, with what to change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab.git import Embedded, git
from tests.lab.path import PASSWORD, WholePath, head, manifest
from tests.lab.registry import INSTALLED
from tests.lab.scripted import Scripted, reply
from updater.config.load import load
from updater.daemon.build import build
from updater.pipeline.examine import Finding, examine


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0", "1.1.0")
        yield opened


@pytest.fixture
def fleet(path: WholePath) -> Path:
    return path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})


def findings(path: WholePath) -> dict[tuple[str, str], Finding]:
    """What was found, by the kind of subject and the step; in this process, for the command line takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in path.environment().items():
            patch.setenv(name, value)
        with build(load(path.config)) as world:
            found = examine(world, datetime.now(UTC))
    return {(one.subject.split()[0], one.step): one for one in found}


def test_scripts_read_one_document_and_the_code(path: WholePath, fleet: Path) -> None:
    path.configure([path.entry("acme/api"), path.entry("acme/none")])
    ran = path.run("doctor", "--json")
    assert (ran.code, ran.json["ok"]) == (1, False)
    assert {key for one in ran.json["findings"] for key in one} == {"subject", "step", "ok", "said", "advice"}
    assert [one["subject"].rpartition("/")[2] for one in ran.json["findings"] if not one["ok"]] == ["none"]


def test_where_everything_works_it_says_so_and_nothing_is_written(path: WholePath, fleet: Path) -> None:
    path.configure([path.entry("acme/api")])
    before = head(fleet)
    ran = path.run("doctor")
    assert ran.code == 0, ran.out
    assert ran.out.splitlines()[-1] == "everything works"
    for said in ("main is at", "a dry run to main was taken", "plain HTTP", "open: it asks for no login", "2 tags"):
        assert f"{said}" in ran.out
    assert head(fleet) == before


def test_one_bad_thing_never_hides_the_others(path: WholePath, fleet: Path) -> None:
    images = [path.entry("acme/api"), path.entry("acme/none"), {"image": "registry.invalid/acme/web", "name": "web"}]
    path.configure(images, ["fleet", "nowhere"])
    ran = path.run("doctor")
    assert ran.code == 1
    assert "3 things to change" in ran.out
    lines = ran.out.splitlines()
    advice = {line.strip(): lines[at + 1].strip() for at, line in enumerate(lines) if "FAIL" in line}
    assert any("registry.invalid cannot be resolved" in said and "spelling" in words for said, words in advice.items())
    assert any("acme/none" in said and "check its name" in words for said, words in advice.items())
    assert any("read: nowhere" in said for said in advice)
    assert "ok   push: a dry run to main was taken" in ran.out


def test_who_may_not_push_is_told_and_no_hook_was_asked(path: WholePath, fleet: Path) -> None:
    git(fleet, "config", "http.receivepack", "false")
    path.configure([path.entry("acme/api")])
    found = findings(path)
    assert found["repository", "read"].ok
    assert not found["repository", "push"].ok
    assert "403" in found["repository", "push"].said
    assert "rights" in found["repository", "push"].advice


def test_who_only_watches_needs_no_right_to_push(path: WholePath, fleet: Path) -> None:
    git(fleet, "config", "http.receivepack", "false")
    path.configure([path.entry("acme/api", update=[])])
    found = findings(path)
    assert found["repository", "read"].ok
    assert ("repository", "push") not in found


@pytest.mark.skipif(not INSTALLED, reason="left out: docker-registry is not installed")
def test_logins_and_certificates_are_said_step_by_step(tmp_path: Path) -> None:
    with WholePath.open(tmp_path, "docker-registry", Embedded, auth="token", tls=True) as path:
        path.push("acme/api", "1.0.0")
        path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
        images = [path.entry("acme/api")]
        entry = path.settings(images)["registries"][0]

        path.configure(images)
        found = findings(path)
        assert all(one.ok for one in found.values()), found
        assert "trusted, by" in found["registry", "TLS"].said
        assert "wants a token from" in found["registry", "challenge"].said
        assert found["image", "list"].said == "1 tags"

        path.configure(images, registries=[entry | {"network": {}}])
        failed = findings(path)["registry", "connection"]
        assert "certificate is not trusted" in failed.said
        assert "ca_file" in failed.advice

        path.configure(images, registries=[entry | {"trusted_realms": []}])
        found = findings(path)
        assert "gets no credentials" in found["registry", "challenge"].said
        assert "trusted_realms" in found["registry", "challenge"].advice

        path.configure(images, registries=[{key: entry[key] for key in ("host", "network", "insecure")}])
        assert "give credentials" in findings(path)["image", "login"].advice

        path.variables = {PASSWORD: "quite-wrong-canary"}
        path.configure(images)
        refused = findings(path)["image", "login"]
        assert "refused the configured login" in refused.said
        assert "check user name and secret" in refused.advice
        assert "quite-wrong-canary" not in str(refused)

        path.variables = {PASSWORD: ""}
        unset = findings(path)["image", "list"]
        assert f"secret env:{PASSWORD} is empty or not set" in unset.said
        assert "set what the reference names" in unset.advice


def test_a_server_that_is_no_registry_or_speaks_no_tls_is_named(path: WholePath) -> None:
    with Scripted(lambda _: reply(404, b"a page")) as page:
        path.configure([], [], registries=[{"host": page.host, "insecure": True}])
        failed = findings(path)["registry", "challenge"]
        assert "answered 404" in failed.said
        assert "is it a registry?" in failed.advice
    path.configure([], [], registries=[{"host": path.registry.host}])
    assert "insecure: true" in findings(path)["registry", "connection"].advice


WANTED = reply(401, {}, ("WWW-Authenticate", 'Basic realm="x"'))


@pytest.mark.parametrize(
    ("answer", "entry", "advice"),
    [
        pytest.param(reply(200, b"<html>", ("Content-Type", "text/html")), {}, "is it a registry?", id="a web page"),
        pytest.param(None, {"insecure": False}, "insecure: true", id="plain HTTP that hangs up"),
        pytest.param(WANTED, {}, "give credentials", id="no login"),
        pytest.param(WANTED, {"path": "none.json"}, "check its path", id="no config.json"),
        pytest.param(WANTED, {"path": "program.json"}, "check its path", id="no such program"),
        pytest.param(WANTED, {"path": "empty.json"}, "log in there", id="a config.json without this host"),
        pytest.param(reply(400, b"TLS!"), {}, "insecure: true is plain HTTP", id="TLS where plain HTTP is spoken"),
    ],
)
def test_the_advice_fits_the_mistake(
    path: WholePath, answer: bytes | None, entry: dict[str, object], advice: str
) -> None:
    (path.folder / "empty.json").write_text("{}")
    (path.folder / "program.json").write_text('{"credsStore": "no-such-program"}')
    with Scripted(lambda _: answer) as server:
        path.create("fleet", {"web.yaml": manifest(f"{server.host}/acme/web", "1.0.0")})
        if file := entry.get("path"):
            entry = {"credentials": {"kind": "docker_config", "path": str(path.folder / str(file))}}
        registry = {"host": server.host, "insecure": True} | entry
        path.configure([{"image": f"{server.host}/acme/web", "name": "web"}], registries=[registry])
        wrong = [one for one in findings(path).values() if not one.ok]
        assert wrong
        assert any(advice in one.advice for one in wrong), wrong


@pytest.mark.parametrize(("left", "advice"), [("76", ""), ("9", "log in for a higher limit")], ids=["enough", "few"])
def test_pulls_that_are_left_are_told_where_a_registry_says_it(path: WholePath, left: str, advice: str) -> None:
    says = [("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", left), ("Docker-RateLimit-Source", "192.0.2.1")]
    with Scripted(lambda _: reply(200, {"name": "acme/web", "tags": ["1.0.0"]}, *says)) as server:
        path.create("fleet", {"web.yaml": manifest(f"{server.host}/acme/web", "1.0.0")})
        entry = {"image": f"{server.host}/acme/web", "name": "web"}
        path.configure([entry], registries=[{"host": server.host, "insecure": True}])
        found = findings(path)["registry", "rate limit"]
    assert (found.ok, found.advice) == (True, advice)
    assert found.said == f"{left} of 100 pulls are left, counted for 192.0.2.1"
