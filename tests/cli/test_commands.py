"""The command line as scripts and people use it: exit codes, documents, tables, and where diagnostics go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.lab.path import WholePath, head, manifest
from updater.daemon.heartbeat import beat, stop


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholePath]:
    """A repository with two images that could be updated; the tests of this module write nothing."""
    with WholePath.embedded(tmp_path_factory.mktemp("cli")) as opened:
        for name in ("api", "web"):
            opened.push(f"acme/{name}", "1.0.0")
            opened.push(f"acme/{name}", "1.1.0")
        files = {f"{name}.yaml": manifest(opened.image(f"acme/{name}"), "1.0.0") for name in ("api", "web", "other")}
        opened.create("fleet", files)
        opened.configure([opened.entry("acme/api", range="1.x"), opened.entry("acme/web", range="1.x")])
        yield opened


def test_check_prints_what_once_would_push_and_writes_nothing(path: WholePath) -> None:
    ran = path.run("check", "--json", "--diff")
    assert ran.code == 0
    assert [(row["name"], row["outcome"], row["target"]) for row in ran.json["images"]] == [
        ("api", "available", "1.1.0"),
        ("web", "available", "1.1.0"),
    ]
    assert ran.json["commits"] == []
    added = [line for line in ran.json["diff"].splitlines() if line.startswith("+ ")]
    assert added == [f'+          image: "{path.image(f"acme/{name}")}:1.1.0"   # bumped' for name in ("api", "web")]


def test_the_diff_applies(path: WholePath) -> None:
    clone, patch = path.clone("fleet"), path.run("check", "--diff").out
    patch = patch[patch.index("--- a/") :]
    done = subprocess.run(["git", "apply", "--check", "-"], cwd=clone, input=patch, text=True, check=False)
    assert done.returncode == 0


def test_one_image_by_the_end_of_its_name(path: WholePath) -> None:
    assert [row["name"] for row in path.run("check", "pi", "--json").json["images"]] == ["api"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("check", "nothing"), 2, "no image is named 'nothing'; known: api, web"),
        (("check", ""), 2, "ambiguous"),
        (("check", "--nonsense"), 2, "No such option"),
        (("nonsense",), 2, "No such command"),
        (("health",), 1, ""),
        (("history", "--limit", "0"), 2, "--limit"),
    ],
    ids=["an unknown name", "an ambiguous name", "an unknown option", "an unknown command", "no daemon", "a bad limit"],
)
def test_exit_codes(path: WholePath, args: tuple[str, ...], code: int, said: str) -> None:
    ran = path.run(*args)
    assert ran.code == code
    assert said in ran.err


def test_explain_shows_every_tag_the_decision_and_every_place(path: WholePath) -> None:
    ran = path.run("explain", "api", "--json")
    [image] = ran.json["images"]
    [decision] = image["decisions"]
    assert (ran.code, decision["outcome"], decision["target"]) == (0, "available", "1.1.0")
    assert (decision["tags"][0]["tag"], decision["tags"][0]["verdict"]) == ("1.1.0", "chosen")
    assert [(place["file"], place["line"]) for place in decision["references"]] == [("api.yaml", 11)]
    table = path.run("explain", "api")
    assert table.code == 0
    assert all(word in table.out for word in ("1.1.0", "chosen", "api.yaml:11", "semver 1.x"))


def test_find_shows_what_nobody_tracks(path: WholePath) -> None:
    every = path.run("find", "--json")
    untracked = path.run("find", "--untracked", "--json")
    assert [row["owner"] for row in every.json["references"]] == ["api", None, "web"]
    assert [row["image"] for row in untracked.json["references"]] == [path.image("acme/other")]


def test_tables_on_a_pipe_are_whole_and_to_the_letter(path: WholePath) -> None:
    """Nothing is cut to a width, and no bracket or colon of a path is taken for markup."""
    place = f"apps/[id]/:warning:/{'long-' * 40}/[/]/a.yaml"
    path.create("odd", {place: manifest(path.image("acme/api"), "1.0.0")})
    config = path.folder / "odd.yaml"
    config.write_text(json.dumps(path.settings([path.entry("acme/api"), path.entry("acme/web")], ["odd"])))
    found = path.run("find", config=config)
    (row,) = found.out.splitlines()[1:]
    assert row.split() == ["odd", "main", f"{place}:11", path.image("acme/api"), "1.0.0", "api"]
    (first, *_) = path.run("check", config=config).out.splitlines()[1:]
    assert first.split()[:4] == ["api", "1.0.0", "1.1.0", "available"]


def test_colour_is_for_terminals_whatever_the_environment_says(
    path: WholePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WholePath, "environment", _with(path.environment(), FORCE_COLOR="1", COLUMNS="40"))
    ran = path.run("check")
    assert "\x1b" not in ran.out + ran.err
    assert "available" in ran.out


@pytest.mark.parametrize("args", [("find",), ("find", "--json"), ("check", "--diff")], ids=" ".join)
def test_paths_are_utf_8_in_every_locale(
    path: WholePath, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    name = f"accents{len(args)}{args[0]}"
    path.create(name, {"envs/é/a.yaml": manifest(path.image("acme/api"), "1.0.0")})
    config = path.folder / "accents.yaml"
    config.write_text(json.dumps(path.settings([path.entry("acme/api")], [name])))
    monkeypatch.setattr(WholePath, "environment", _with(path.environment(), PYTHONIOENCODING="ascii"))
    ran = path.run(*args, config=config)
    assert (ran.code, ran.err) == (0, "")
    assert "envs/é/a.yaml" in ran.out


def _with(environment: dict[str, str], **more: str) -> Callable[[WholePath], dict[str, str]]:
    return lambda _: environment | more


def test_a_broken_configuration_is_wrong_usage_and_nothing_is_done(path: WholePath) -> None:
    broken = path.folder / "broken.yaml"
    broken.write_text("images:\n  - imaeg: ghcr.io/acme/api\ngit_hosts: {}\nlog: {level: loud}\n")
    for command in ("once", "check", "validate", "run", "find"):
        ran = path.run(command, config=broken)
        assert (ran.code, ran.out) == (2, "")
        assert {line.split(":")[1] for line in ran.err.splitlines()} == {"2", "3", "4"}
    for args in (("once",), ("find",), ("explain", "api"), ("health",)):
        ran = path.run(*args, "--json", config=broken)
        assert (ran.code, {failure["what"] for failure in ran.json["failures"]}) == (2, {"configuration"})
    report = path.run("validate", "--json", config=broken)
    assert (report.code, report.json["valid"]) == (2, False)
    assert {problem["line"] for problem in report.json["problems"]} == {2, 3, 4}


def test_a_name_that_nobody_has_is_a_document_too(path: WholePath) -> None:
    ran = path.run("check", "nothing", "--json")
    assert (ran.code, [failure["what"] for failure in ran.json["failures"]]) == (2, ["usage"])


@pytest.mark.parametrize("command", ["once", "check", "find", "history", "run"])
def test_a_data_folder_that_cannot_be_one_is_said_in_a_line(path: WholePath, command: str) -> None:
    config = path.folder / "data.yaml"
    config.write_text(json.dumps(path.settings([path.entry("acme/api")]) | {"data": str(path.config / "data")}))
    ran = path.run(command, config=config)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "a folder that this user may write" in ran.err


def test_nothing_is_pushed_where_the_state_cannot_be_read(path: WholePath) -> None:
    """What people said stands there: without it nobody knows what is on hold."""
    bare = path.create("stateless", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
    config, state, before = path.folder / "stateless.yaml", path.folder / "no.db", head(bare)
    state.write_bytes(b"this is no database" * 100)
    settings = path.settings([path.entry("acme/api")], ["stateless"]) | {"state": f"sqlite:///{state}"}
    config.write_text(json.dumps(settings))
    for command in ("once", "check"):
        ran = path.run(command, "--json", config=config)
        assert (ran.code, [failure["what"] for failure in ran.json["failures"]]) == (1, ["store"])
        assert "no.db" in ran.json["failures"][0]["error"]
    assert head(bare) == before


def test_health_needs_no_configuration_where_the_environment_names_the_folder(
    path: WholePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that lives on with its old configuration is not ended because the new one is broken."""
    path.data.mkdir(parents=True, exist_ok=True)
    beat(path.data)
    monkeypatch.setattr(WholePath, "environment", _with(path.environment(), UPDATER_DATA=str(path.data)))
    broken = path.folder / "broken.yaml"
    broken.write_text("images: {}\n")
    assert path.run("health", config=broken).code == 0
    stop(path.data)
    assert path.run("health", config=broken).code == 1


def test_a_valid_configuration_is_said_to_be(path: WholePath) -> None:
    ran = path.run("validate")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(": valid, 2 image items, 1 repository\n")
    one = path.folder / "one.yaml"
    one.write_text(json.dumps(path.settings([path.entry("acme/api")])))
    assert path.run("validate", config=one).out.endswith(": valid, 1 image item, 1 repository\n")


def test_check_refuses_places_that_are_not_there(path: WholePath) -> None:
    config = path.folder / "absent.yaml"
    config.write_text(json.dumps(path.settings([]) | {"applications": [{"directory": "nowhere"}]}, indent=1))
    line = config.read_text().splitlines().index('   "directory": "nowhere"') + 1
    ran = path.run("check", config=config)
    said = f"{config}:{line}:17: applications[0].directory: found no folder '{path.folder}/nowhere', expected a folder"
    assert (ran.code, ran.out, ran.err) == (2, "", f"{said} that is there\n")
    assert path.run("validate", config=config).code == 0


@pytest.mark.parametrize("command", ["check", "validate"])
def test_a_route_for_nothing_is_a_warning_and_the_exit_stays(path: WholePath, command: str) -> None:
    config, image = path.folder / "warned.yaml", path.entry("acme/api")
    routes = {
        "channels": [{"kind": "slack", "url": "env:HOOK"}],
        "routes": [{"images": ["x/*"], "channels": ["slack"]}],
    }
    config.write_text(json.dumps(path.settings([image]) | {"notifications": routes}))
    ran = path.run(command, "--json", config=config)
    assert (ran.code, len(ran.err.splitlines()), len(ran.json["images"] if command == "check" else [1])) == (0, 1, 1)
    assert ran.err.startswith(f"warning: {config}:1:")
    assert "notifications.routes[0].images[0]: found 'x/*', which none of the images" in ran.err


def test_a_registry_that_is_down_is_exit_1_and_the_rest_is_still_told(path: WholePath) -> None:
    path.create("second", {"down.yaml": manifest("127.0.0.1:1/acme/down", "1.0.0")})
    config = path.folder / "down.yaml"
    down = {"image": "127.0.0.1:1/acme/down", "name": "down"}
    config.write_text(json.dumps(path.settings([path.entry("acme/api"), down], ["fleet", "second"])))
    ran = path.run("check", "--json", config=config)
    assert {row["name"]: row["outcome"] for row in ran.json["images"]} == {"api": "available", "down": "failed"}
    assert (ran.code, [failure["what"] for failure in ran.json["failures"]]) == (1, ["image 127.0.0.1:1/acme/down"])
    assert "127.0.0.1:1" in ran.err


def test_the_schema_is_one_document(path: WholePath) -> None:
    assert path.run("schema").json["properties"]["images"]


def test_the_version_costs_no_room() -> None:
    code = "import sys; from updater.cli import main; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("pydantic", "httpx", "git", "apscheduler", "sqlalchemy", "yaml", "ruamel", "structlog", "re2")
    ran = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[]"
