"""Programs are found, shut off and bounded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.lab.tools import stand_in
from updater.errors import ManifestError
from updater.renderers.tools import Tools
from updater.secrets import remember


def run(tools: Tools, name: str = "tool", *args: str) -> tuple[str, str]:
    program = tools.find([name], "apps/x")
    with tools.room() as room:
        return tools.run(room, [str(program), *args], f"{name} apps/x")


def made(folder: Path, script: str, **others: object) -> Tools:
    stand_in(folder / "bin", "tool", script)
    return Tools(folder / "render", path=str(folder / "bin"), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        pytest.param(["helm"], "helm is needed to render apps/x, and it is not on PATH", id="one"),
        pytest.param(
            ["kustomize", "kubectl"],
            "kustomize or kubectl is needed to render apps/x, and neither is on PATH",
            id="one of two",
        ),
    ],
)
def test_a_missing_program_is_named(tmp_path: Path, names: list[str], why: str) -> None:
    with pytest.raises(ManifestError, match=f"^{why}$"):
        Tools(tmp_path, path="").find(names, "apps/x")


def test_the_first_program_that_is_there_is_taken(tmp_path: Path) -> None:
    tools = made(tmp_path, "")
    assert tools.find(["other", "tool"], "x") == tmp_path / "bin" / "tool"


def test_a_program_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/root/.kube/config")
    monkeypatch.setenv("GIT_TOKEN", "s3cret-of-the-lab")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com")
    script = f"#!{sys.executable}\nimport json, os\nprint(json.dumps([dict(os.environ), os.getcwd(), os.listdir('.')]))"
    out, _ = run(made(tmp_path, script))
    assert "s3cret" not in out
    assert "KUBECONFIG" not in out
    assert "proxy.example.com" not in out
    assert f'"HOME": "{tmp_path}/render/run-' in out
    assert f'"PATH": "{tmp_path}/render/run-' in out


def test_its_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "data" / "render")
    with tools.room() as room:
        room.write({"apps/x/a.yaml": b"s3cret"})
        written = room.path / "tree" / "apps" / "x" / "a.yaml"
        modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "data" / "render", room.path, written)]
        assert modes == [0o700, 0o700, 0o600]
    assert list((tmp_path / "data" / "render").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a//x", "a/../x", ".git/config", "a/\0", "", "a" * 300])
def test_a_path_that_is_none_is_never_written(tmp_path: Path, name: str) -> None:
    with Tools(tmp_path).room() as room, pytest.raises(ManifestError):
        room.write({name: b""})


def test_what_killed_runs_left_is_removed_and_what_others_use_is_not(tmp_path: Path) -> None:
    old, new = tmp_path / "run-old", tmp_path / "run-new"
    for path in (old, new):
        path.mkdir()
        (path / "secret").touch()
    os.utime(old, (time.time() - 4000,) * 2)
    with Tools(tmp_path).room():
        assert not old.exists()
        assert new.exists()


@pytest.mark.parametrize(
    ("script", "options", "why"),
    [
        pytest.param("echo one >&2; echo two >&2; exit 3", {}, "it exited with 3: one | two", id="an exit code"),
        pytest.param("while :; do :; done", {"deadline": 0.3}, "it took more than 0.3 s", id="a program that hangs"),
        pytest.param(
            "while :; do echo aaaaaaaaaaaaaaaa; done",
            {"max_output": 10_000},
            "more than 10000 bytes",
            id="endless output",
        ),
        pytest.param(f"#!{sys.executable}\nbytearray(4 << 30)", {}, "MemoryError", id="memory without end"),
        pytest.param("printf 'a: \\377'", {}, "line 1 of its output: not UTF-8: byte 3", id="output that is no text"),
        pytest.param("#!/nonexistent", {}, "", id="a program that cannot be started"),
        pytest.param(
            'echo "$HOME/../tree/apps/x.yaml" >&2; exit 1', {}, "home/../tree/apps/x.yaml", id="paths of its folder"
        ),
        pytest.param("echo open tree/apps/x.yaml >&2; exit 1", {}, "open apps/x.yaml", id="paths of the copy"),
    ],
)
def test_a_failure_says_what_was_run_and_what_came_back(
    tmp_path: Path, script: str, options: dict[str, float], why: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ManifestError) as failed:
        run(made(tmp_path, script, **options))
    assert str(failed.value).startswith("tool apps/x: ")
    assert why in str(failed.value)
    assert f"{tmp_path}/render" not in str(failed.value)
    assert time.monotonic() - began < 20


def test_a_failure_is_short_printable_and_without_known_secrets(tmp_path: Path) -> None:
    remember("s3cret-of-the-lab")
    script = f"#!{sys.executable}\nimport sys\nsys.exit('\\x1b[31m' + 'x' * 5000 + ' s3cret-of-the-lab')"
    with pytest.raises(ManifestError) as failed:
        run(made(tmp_path, script))
    said = str(failed.value)
    assert len(said) < 1200
    assert said.isprintable()
    assert "s3cret" not in said


def test_another_version_of_a_program_is_another_one(tmp_path: Path) -> None:
    tools = made(tmp_path, "echo 1")
    first = tools.identity(["tool"], "x")
    assert tools.identity(["tool"], "x") == first
    stand_in(tmp_path / "bin", "tool", "echo 1.1")
    assert tools.identity(["tool"], "x") != first
