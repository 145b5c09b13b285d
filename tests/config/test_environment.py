"""Which file is read, and what the environment says over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import rows, settings, write
from updater.config.load import load, locate
from updater.errors import ConfigError
from updater.secrets import SecretRef


def test_the_option_wins_over_the_variable(tmp_path: Path) -> None:
    assert locate(tmp_path / "a.yaml", {"UPDATER_CONFIG": "/b.yaml"}) == tmp_path / "a.yaml"


def test_the_variable_wins_over_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "", "config/updater.yaml")
    assert locate(None, {"UPDATER_CONFIG": "b.yaml"}) == tmp_path / "b.yaml"


def test_the_working_folder_comes_before_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = write(tmp_path, "", "home/updater/updater.yaml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    assert locate(None, environ) == home
    near = write(tmp_path, "", "config/updater.yaml")
    assert locate(None, environ) == near


def test_no_file_at_all_names_the_places_that_were_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"found no file, expected --config, \$UPDATER_CONFIG or one of config/updater"
    ):
        load(None, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_file_that_is_missing_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that cannot be read"):
        load(tmp_path / "none.yaml", {})


DATA = [
    # the file, the environment, the folder for data
    ("", {"XDG_STATE_HOME": "/var/x"}, "/var/x/updater"),
    ("data: $XDG_STATE_HOME/here\n", {"XDG_STATE_HOME": "/var/x"}, "/var/x/here"),
    ("data: sub\n", {}, "{folder}/sub"),
    ("data: /abs\n", {}, "/abs"),
    ("data: /abs\n", {"UPDATER_DATA": "/won"}, "/won"),
    ("data: [wrong]\n", {"UPDATER_DATA": "/won"}, "/won"),
]


@pytest.mark.parametrize(("text", "environ", "wanted"), DATA)
def test_the_folder_for_data(tmp_path: Path, text: str, environ: dict[str, str], wanted: str) -> None:
    loaded = settings(tmp_path, text, environ)
    assert str(loaded.data) == wanted.format(folder=tmp_path)
    assert loaded.state == f"sqlite:///{loaded.data}/state.db"


def test_the_default_folder_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings(tmp_path, "", {"XDG_STATE_HOME": "relative"}).data == tmp_path / ".local/state/updater"


STATE = [
    ("state: sqlite:////abs/x.db\n", {}, "sqlite:////abs/x.db"),
    ("state: sqlite:///x.db\n", {}, "sqlite:///{folder}/x.db"),
    ("state: sqlite:///{data}/sub/x.db\ndata: /d\n", {}, "sqlite:////d/sub/x.db"),
    ("state: sqlite:////abs/x.db\n", {"UPDATER_STATE": "sqlite:////won.db"}, "sqlite:////won.db"),
]


@pytest.mark.parametrize(("text", "environ", "wanted"), STATE)
def test_the_address_of_the_state(tmp_path: Path, text: str, environ: dict[str, str], wanted: str) -> None:
    assert settings(tmp_path, text, environ).state == wanted.replace("{folder}", str(tmp_path))


def test_the_state_may_be_a_reference(tmp_path: Path) -> None:
    assert settings(tmp_path, "state: env:STATE_URL\n").state == SecretRef("env:STATE_URL")


@pytest.mark.parametrize("text", ["", "log: {level: error, format: json}\n", "log:\n"])
def test_the_level_of_the_log(tmp_path: Path, text: str) -> None:
    assert settings(tmp_path, text, {"UPDATER_LOG_LEVEL": "DEBUG"}).log.level == "debug"


def test_a_mistake_in_a_variable_names_it(tmp_path: Path) -> None:
    [(place, found, expected)] = rows(tmp_path, "", {"UPDATER_LOG_LEVEL": "loud"})
    assert (place, found) == ("$UPDATER_LOG_LEVEL:0:0", "'loud'")
    assert expected == "one of debug, info, warning, error"


def test_where_the_page_listens_can_be_said_by_the_environment(tmp_path: Path) -> None:
    """The container image says so, whatever stands in the file."""
    for text in ("", "web: {listen: '127.0.0.1:1'}\n", "web: {}\n"):
        web = settings(tmp_path, text, {"UPDATER_LISTEN": "0.0.0.0:8080"}).web
        assert web is not None
        assert (web.host, web.port, web.closed) == ("0.0.0.0", 8080, True)
    assert settings(tmp_path, "").web is None
    [(place, found, expected)] = rows(tmp_path, "", {"UPDATER_LISTEN": "8080"})
    assert (place, found) == ("$UPDATER_LISTEN:0:0", "8080")
    assert expected == 'an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"'
