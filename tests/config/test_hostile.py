"""Text that is made to hurt is refused quickly, with its place; nothing but ConfigError comes out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tests.lab.config import rows
from updater.config.load import load
from updater.config.tree import MAX_DEPTH, parse
from updater.errors import ConfigError, Problem

NINE = ", ".join(["*a{0}"] * 9)
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{NINE.format(n - 1)}]\n" for n in range(1, 12))

HOSTILE = [
    (
        "duplicate key",
        "log: {level: info}\nlog: {level: debug}\n",
        "2:1 log",
        "the key a second time (first in line 1)",
    ),
    (
        "duplicate key inside",
        "log: {level: info, level: debug}\n",
        "1:20 log.level",
        "the key a second time (first in line 1)",
    ),
    ("alias bomb", BOMB, "1:*", "aliases that expand without end"),
    ("alias in its own anchor", "images: &a [*a]\n", "1:9 images[0]", "an alias inside its own anchor"),
    ("alias without anchor", "images: *a\n", "1:9", "an alias without its anchor"),
    ("merge key", "log: {<<: {level: info}}\n", "1:7 log", "a merge key `<<`"),
    ("key that is a list", "? [a]\n: b\n", "1:3", "a key that is no text"),
    ("tag of Python", "data: !!python/object/apply:os.system [id]\n", "1:7 data", "a tag"),
    ("tag of our own making", "data: !secret x\n", "1:7 data", "a tag"),
    ("binary", "data: !!binary aGk=\n", "1:7 data", "a tag"),
    ("two documents", "log: {}\n---\nlog: {}\n", "2:1", "a second document"),
    (
        "tab as indentation",
        "log:\n\tlevel: info\n",
        "2:1",
        "broken YAML: character '\\t' that cannot start any token (while scanning for the next token)",
    ),
    ("unclosed text", "data: 'x\n", "2:1", "broken YAML: unexpected end of stream (while scanning a quoted scalar)"),
    ("control character", "data: \x07\n", "1:1", "a character that YAML does not allow"),
    ("YAML from the future", "# x\n%YAML 1.20\n---\nlog: {}\n", "2:1", "an unknown version of YAML"),
    ("list at the top", "- a\n", "1:1", "a list"),
    ("word at the top", "hello\n", "1:1", "a text"),
    ("deep lists", "a: " + "[" * 100_000, f"1:{MAX_DEPTH + 3}", f"more than {MAX_DEPTH} levels of nesting"),
    ("deep mappings", "a: " + "{a: " * 100_000, "1:*", f"more than {MAX_DEPTH} levels of nesting"),
    ("deep blocks", "- " * 100_000, "1:*", f"more than {MAX_DEPTH} levels of nesting"),
]


@pytest.mark.parametrize(("text", "place", "found"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_text_is_refused_with_its_place(tmp_path: Path, text: str, place: str, found: str) -> None:
    start = time.monotonic()
    where, was, _ = rows(tmp_path, text)[0]
    assert was == found
    assert where.startswith(f"updater.yaml:{place.removesuffix('*')}")
    assert time.monotonic() - start < 10  # a crash or a hang, not a measurement


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"data: \xff\n", "a byte that is not UTF-8"),
        ("data: x\n".encode("utf-16"), "a byte that is not UTF-8"),
        (b"# " + b"x" * (1 << 20) + b"\n", "a file of more than 1048576 bytes"),
        (b"data: \x00\n", "a character that YAML does not allow"),
    ],
    ids=["latin 1", "UTF-16", "too large", "NUL"],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    file = tmp_path / "updater.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert [problem.found for problem in refused.value.problems] == [found]


def test_the_place_of_a_byte_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "updater.yaml"
    file.write_bytes(b"log: {}\ndata: \xe4\n")
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert [(problem.line, problem.column) for problem in refused.value.problems] == [(2, 7)]


def test_a_byte_order_mark_moves_no_column(tmp_path: Path) -> None:
    file = tmp_path / "updater.yaml"
    file.write_bytes("\ufefflgo: {}\r\n".encode())
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert [(problem.line, problem.column) for problem in refused.value.problems] == [(1, 1)]


def test_an_anchor_used_twice_warns_nobody_and_aliases_work(tmp_path: Path) -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n", "f") == {"a": "1", "b": "2", "c": "2"}


def test_the_configuration_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})


KEYS = st.sampled_from(
    [
        "images",
        "image",
        "repositories",
        "registries",
        "url",
        "host",
        "aliases",
        "policy",
        "kind",
        "tags",
        "include",
        "update",
        "paths",
        "poll",
        "interval",
        "defaults",
        "log",
        "level",
        "network",
        "proxy",
        "credentials",
        "name",
        "data",
        "state",
        "labels",
        "repository",
        "commit",
        "write_back",
        "endpoint",
        "rate",
        "trusted_realms",
        "git_hosts",
        "clusters",
        "kubeconfig",
        "in_cluster",
        "directory",
        "exec",
        "context",
        "applications",
        "path",
        "sync",
        "deadline",
        "x",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=12),
    st.sampled_from(["semver", "a.io/a", "5m", "env:X", "file:/x", "https://u:p@h/x", "**", "[", "git@h:x", "fleet"]),
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


def assert_settings_or_report(file: Path) -> None:
    """A file is read, or every mistake in it has a place in it."""
    read: list[Path] = []
    problems: tuple[Problem, ...] = ()
    try:
        read = [one.path for one in load(file, {}).files.files]
    except ConfigError as err:
        problems = err.problems
    assert bool(problems) != (file in read)
    assert all(problem.line > 0 and problem.expected for problem in problems)


@hypothesis(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_settings_or_a_report(tmp_path: Path, tree: dict[str, object]) -> None:
    """JSON is YAML; whatever it holds, a mistake of the operator is never our bug."""
    file = tmp_path / "updater.yaml"
    file.write_text(json.dumps(tree))
    assert_settings_or_report(file)


FULL = Path(__file__).parents[2] / "config" / "full.yaml"


def _places(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a tree, its top left out."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in steps:
        yield (*path, key)
        yield from _places(value, (*path, key))


PLACES = tuple(_places(yaml.safe_load(FULL.read_text())))


@hypothesis(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=TREES)
def test_any_value_at_any_place_is_settings_or_a_report(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    """The example of every setting with one value replaced."""
    tree = yaml.safe_load(FULL.read_text())
    holder = reduce(getitem, place[:-1], tree)
    holder[place[-1]] = value
    file = tmp_path / "updater.yaml"
    file.write_text(json.dumps(tree))
    assert_settings_or_report(file)
