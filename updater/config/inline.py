"""A rule written on the command line: YAML of a policy, or of the fields of an image that decide."""

from __future__ import annotations

from updater.config.items import validate
from updater.config.tree import Map, parse
from updater.errors import ConfigError, Problem
from updater.policies.rule import Choice

NAME = "POLICY"  # what a position in the argument is called


def rule(text: str) -> Choice:
    """Return the rule of `{kind: semver, range: 1.x}` or `{policy: {...}, level: minor}`. Raises ConfigError."""
    tree = parse(text, NAME)
    if "kind" in tree:
        whole = Map(tree.mark)
        whole.put("policy", tree, tree.mark)
        tree = whole
    problems: list[Problem] = []
    found = validate(Choice, tree, problems)
    if found is None:
        raise ConfigError(problems)
    return found
