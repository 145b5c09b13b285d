"""Configuration files for tests: write one, and read its mistakes as short rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from updater.config.load import load
from updater.config.settings import Settings
from updater.errors import ConfigError, Problem


def write(folder: Path, text: str, name: str = "updater.yaml") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def settings(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a text as the configuration."""
    return load(write(folder, text), environ or {})


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """Load a text that must be refused and return its mistakes."""
    with pytest.raises(ConfigError) as refused:
        load(write(folder, text), environ or {})
    return refused.value.problems


def marked(text: str) -> tuple[str, str]:
    """Take the § out of a text and return the text and `line:column` of what stood behind it."""
    before, _, after = text.partition("§")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def rows(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Return each mistake as (`file:line:column where`, found, expected), files relative to the folder."""
    return [_row(problem, folder) for problem in problems(folder, text, environ)]


def _row(problem: Problem, folder: Path) -> tuple[str, str, str]:
    file = problem.file.removeprefix(f"{folder}/")
    place = f"{file}:{problem.line}:{problem.column} {problem.where}".strip()
    return place, problem.found.replace(f"{folder}/", ""), problem.expected
