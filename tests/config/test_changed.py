"""The daemon learns that its configuration would read differently now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.config import settings, write
from updater.config.load import Rejected, changed, load

TEXT = "include: [conf.d/*.yaml]\nimages: [{image: a.io/a}]\n"


def test_what_nobody_touched_is_unchanged(tmp_path: Path) -> None:
    write(tmp_path, "", "conf.d/a.yaml")
    assert not changed(settings(tmp_path, TEXT))


def test_another_content_is_a_change(tmp_path: Path) -> None:
    loaded = settings(tmp_path, TEXT)
    write(tmp_path, TEXT.replace("a.io/a", "a.io/b"))
    assert changed(loaded)


def test_the_same_content_written_again_is_none(tmp_path: Path) -> None:
    loaded = settings(tmp_path, TEXT)
    (tmp_path / "updater.yaml").unlink()
    write(tmp_path, TEXT)
    os.utime(tmp_path / "updater.yaml", (1, 1))
    assert not changed(loaded)


@pytest.mark.parametrize("name", ["conf.d/b.yaml", "conf.d/a.yaml"], ids=["a new one", "one that was there"])
def test_a_file_that_a_glob_means_is_watched(tmp_path: Path, name: str) -> None:
    write(tmp_path, "", "conf.d/a.yaml")
    loaded = settings(tmp_path, TEXT)
    write(tmp_path, "log: {level: debug}\n", name)
    assert changed(loaded)


def test_a_file_that_vanished_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, "", "conf.d/a.yaml")
    loaded = settings(tmp_path, TEXT)
    (tmp_path / "conf.d/a.yaml").unlink()
    assert changed(loaded)


def test_a_mounted_config_map_changes_by_a_symbolic_link(tmp_path: Path) -> None:
    """Kubernetes swaps `..data`; the path of the file itself never changes."""
    for version, image in (("v1", "a.io/a"), ("v2", "a.io/b")):
        write(tmp_path, f"images: [{{image: {image}}}]\n", f"..{version}/updater.yaml")
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "updater.yaml").symlink_to("..data/updater.yaml")
    loaded = load(tmp_path / "updater.yaml", {})
    assert not changed(loaded)
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert changed(loaded)
    assert [item.name for item in load(tmp_path / "updater.yaml", {}).items] == ["a.io/b"]


@pytest.mark.parametrize("broken", ["images: [", "imges: []\n", "include: [gone.yaml]\n"])
def test_a_broken_file_is_watched_until_it_is_mended(tmp_path: Path, broken: str) -> None:
    """Its report is given once, and not on every look."""
    with pytest.raises(Rejected) as refused:
        settings(tmp_path, broken)
    assert not changed(refused.value)
    write(tmp_path, TEXT)
    assert changed(refused.value)


def test_an_unreadable_file_is_unchanged_until_it_is_there(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        load(tmp_path / "updater.yaml", {})
    assert not changed(refused.value)
    write(tmp_path, TEXT)
    assert changed(refused.value)


def test_an_include_that_was_missing_is_noticed_when_it_comes(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        settings(tmp_path, "include: [late.yaml]\n")
    write(tmp_path, "", "late.yaml")
    assert changed(refused.value)
