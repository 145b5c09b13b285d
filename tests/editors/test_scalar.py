"""Spelling values so that every reader of YAML gets back the text."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from updater.editors.scalar import is_text, spell
from updater.errors import EditError
from updater.model.change import Style

QUOTED = """
    1 12 1.0 1.10 1. 1_0 1__0 1_0.5 0x1f 0X1F 0b11 0o17 0755 08 1e3 1E3 12e03 5e12345 1.5e-3 12:30 1:2:3 190:20:30.15
    on On ON off y Y n yes no true True FALSE null Null NULL 2024-01-01 2024-1-1 2024-01-01T10 20240101 0
"""
PLAIN = """
    1.2.3 v1 v1.0 1.0-rc1 1.0-1 1.0.0 latest 3.19-alpine 1e3f e3 x1f 0x1g 0xg truely nope only 2024.01.01 2024-01
    2024-01-01-2 1.0_1a _1 1-2 sha-1234567 main-42 ghcr.io/acme/api:1.10 nginx:on nginx:1 a@sha256:12 infinity nan
"""

tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,15}", fullmatch=True)
numbers = st.from_regex(r"[0-9_]{1,3}[xobeE.:_-]?[0-9a-fA-F_]{0,4}[-.eE]?[0-9]{0,3}", fullmatch=True)


@pytest.mark.parametrize("value", QUOTED.split())
def test_what_some_reader_takes_for_something_else_is_quoted(value: str) -> None:
    assert spell(value, Style.PLAIN) == f'"{value}"'
    assert spell(value, Style.SINGLE) == f"'{value}'"
    assert spell(value, Style.DOUBLE) == f'"{value}"'


@pytest.mark.parametrize("value", PLAIN.split())
def test_text_stays_plain(value: str) -> None:
    assert spell(value, Style.PLAIN) == value


@pytest.mark.parametrize("value", ["~", "", "=", "<<", ".inf", "-.INF", ".NaN", "+1", "-1.5", ".5"])
def test_scalars_that_are_no_text(value: str) -> None:
    assert not is_text(value)


@pytest.mark.parametrize("value", ['a"b', "a'b", "a\\b", "a\nb", "a\tb", "é", "a\0b"])
def test_what_no_version_can_be_is_refused(value: str) -> None:
    with pytest.raises(EditError, match="cannot be written"):
        spell(value, Style.DOUBLE)


@settings(deadline=None)  # a loaded machine is no failure
@given(value=tags | numbers, style=st.sampled_from(Style), flow=st.booleans())
@example(value="0o17", style=Style.PLAIN, flow=False)
@example(value="1_000.5", style=Style.PLAIN, flow=True)
def test_readers_of_yaml_1_1_and_1_2_get_the_text_back(value: str, style: Style, flow: bool) -> None:
    token = spell(value, style)
    text = f"a: {{tag: {token}, b: 1}}\n" if flow else f"a:\n  tag: {token}\n  b: 1\n"
    if style is Style.BLOCK:  # it is never written anew
        text = f"a:\n  tag: |-\n    {token}\n  b: 1\n"
    expected = {"a": {"tag": value, "b": 1}}
    assert yaml.safe_load(text) == expected
    for version in ("1.1", "1.2"):
        reader = YAML(typ="safe", pure=True)
        assert reader.load(f"%YAML {version}\n---\n{text}") == expected
