"""`include` joins files: lists are joined, sections merged, and nothing is said twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import rows, settings, write

FLEET = "repositories: [{url: https://git.example.com/fleet.git}]\n"


def test_lists_of_all_files_are_joined_in_order(tmp_path: Path) -> None:
    write(tmp_path, "images: [{image: a.io/b}]\n", "conf.d/b.yaml")
    write(tmp_path, "images: [{image: a.io/a}]\n" + FLEET, "conf.d/a.yaml")
    loaded = settings(tmp_path, "include: [conf.d/*.yaml]\nimages: [{image: a.io/main}]\n")
    assert [item.name for item in loaded.items] == ["a.io/main", "a.io/a", "a.io/b"]
    assert [entry.name for entry in loaded.repositories] == ["fleet"]


def test_sections_merge_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "log: {format: json}\ndefaults: {level: patch}\n", "more.yaml")
    loaded = settings(tmp_path, "include: [more.yaml]\nlog: {level: debug}\nimages: [{image: a.io/a}]\n")
    assert (loaded.log.level, loaded.log.format) == ("debug", "json")
    assert loaded.items[0].rule.level == "patch"


def test_lists_of_a_section_are_joined_too(tmp_path: Path) -> None:
    write(tmp_path, "network: {no_proxy: [b]}\n", "more.yaml")
    assert settings(tmp_path, "include: [more.yaml]\nnetwork: {no_proxy: [a]}\n").network.no_proxy == ("a", "b")


def test_files_that_are_included_may_include(tmp_path: Path) -> None:
    write(tmp_path, "include: [../c.yaml]\n", "sub/b.yaml")
    write(tmp_path, "images: [{image: a.io/c}]\n", "c.yaml")
    assert [item.name for item in settings(tmp_path, "include: [sub/b.yaml]\n").items] == ["a.io/c"]


def test_a_file_that_is_reached_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "images: [{image: a.io/c}]\n", "c.yaml")
    write(tmp_path, "include: [c.yaml]\n", "b.yaml")
    assert len(settings(tmp_path, "include: [b.yaml, c.yaml, '*.yaml']\n").items) == 1


def test_a_glob_that_matches_nothing_is_fine(tmp_path: Path) -> None:
    assert settings(tmp_path, "include: [conf.d/*.yaml]\n").items == ()


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, "data: ../state\nnetwork: {ca_file: ca.pem}\n", "conf.d/a.yaml")
    loaded = settings(tmp_path, "include: [conf.d/a.yaml]\n")
    assert loaded.data.resolve() == tmp_path / "state"
    assert loaded.network.ca_file == tmp_path / "conf.d" / "ca.pem"


@pytest.mark.parametrize(
    ("other", "place", "found", "expected"),
    [
        (
            "log: {level: info}\n",
            "b.yaml:1:7 log.level",
            "the key a second time (first at updater.yaml:2:7)",
            "it once",
        ),
        ("data: x\n", "b.yaml:1:1 data", "the key a second time (first at updater.yaml:3:1)", "it once"),
        (
            "images: [{image: a.io/a}]\n",
            "b.yaml:1:18 images[0].image",
            "the name 'a.io/a' a second time (first at updater.yaml:4:11)",
            "a name of its own",
        ),
        ("images: {}\n", "b.yaml:1:1 images", "the key a second time (first at updater.yaml:4:1)", "it once"),
        ("imges: []\n", "b.yaml:1:1 imges", "unknown key `imges`", "`images`"),
        ("include: {}\n", "b.yaml:1:10 include", "an empty mapping", "a list of files or globs"),
        ("include: [[x]]\n", "b.yaml:1:11 include[0]", "a list", "a file or a glob"),
        (
            "include: [updater.yaml]\n",
            "b.yaml:1:11 include[0]",
            "an include cycle (updater.yaml -> b.yaml -> updater.yaml)",
            "files that do not include each other",
        ),
        (
            "include: [b.yaml]\n",
            "b.yaml:1:11 include[0]",
            "an include cycle (b.yaml -> b.yaml)",
            "files that do not include each other",
        ),
        (
            "include: [c.yaml]\n",
            "b.yaml:1:11 include[0]",
            "no file 'c.yaml'",
            "a file, or a glob (which may match nothing)",
        ),
        (
            "images: [\n",
            "b.yaml:2:1",
            "broken YAML: expected the node content, but found '<stream end>' (while parsing a flow node)",
            "valid YAML",
        ),
    ],
)
def test_mistakes_between_files_name_both(tmp_path: Path, other: str, place: str, found: str, expected: str) -> None:
    write(tmp_path, other, "b.yaml")
    text = "include: [b.yaml]\nlog: {level: debug}\ndata: y\nimages: [{image: a.io/a}]\n"
    assert rows(tmp_path, text) == [(place, found, expected)]
