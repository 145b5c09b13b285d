"""Every file in config/ loads, and the one that shows everything does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from updater.config.load import load
from updater.config.problems import NOTIFICATIONS, known_keys, known_kinds

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted(file for file in CONFIG.rglob("*.yaml") if file.parent.name != "prometheus")  # which reads that itself
ENVIRON = {"XDG_STATE_HOME": "/var/lib"}


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(CONFIG)) for file in FILES])
def test_every_example_loads(file: Path) -> None:
    loaded = load(file, ENVIRON)
    assert loaded.items
    assert loaded.repositories


def test_the_shortest_example_is_short() -> None:
    text = (CONFIG / "updater.yaml").read_text()
    assert len([line for line in text.splitlines() if line and not line.startswith("#")]) <= 7


def test_the_full_example_shows_every_key_once_somewhere() -> None:
    """A key that is added must be shown; members of families, and what defaults and items take over, may be absent."""
    shown: dict[str, set[str]] = {}
    _collect(yaml.safe_load((CONFIG / "full.yaml").read_text()), "", shown)
    hidden = {
        f"{place}.{key}"
        for place, keys in (known_keys() | known_keys(NOTIFICATIONS)).items()
        if (section := place.rpartition(".")[2])
        not in {"credentials", "api_credentials", "policy", "defaults", "update[]"}
        for key in keys - shown[section]
    }
    assert hidden == {"repositories[].network"}  # shown at a registry


def test_the_full_example_shows_every_kind_of_channel() -> None:
    channels = yaml.safe_load((CONFIG / "full.yaml").read_text())["notifications"]["channels"]
    assert {channel["kind"] for channel in channels} == known_kinds(NOTIFICATIONS)["notifications.channels[]"]


def _collect(tree: Any, place: str, shown: dict[str, set[str]]) -> None:
    if isinstance(tree, dict):
        shown.setdefault(place.rpartition(".")[2], set()).update(tree)
        for key, value in tree.items():
            _collect(value, f"{place}.{key}".lstrip("."), shown)
    elif isinstance(tree, list):
        for value in tree:
            _collect(value, f"{place}[]", shown)
