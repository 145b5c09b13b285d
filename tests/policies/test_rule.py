"""The fields that decide, as the operator writes them."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import updater.policies
from updater.plugins import members
from updater.policies.base import Policy
from updater.policies.docker import Docker
from updater.policies.rule import Rule
from updater.policies.semver import Semver


def test_nothing_said_is_docker_with_its_defaults() -> None:
    assert Rule.model_validate({}) == Rule(
        policy=Docker(suffix="same"), tags=Rule().tags, level=None, max_major_step=20, write="tag"
    )


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        pytest.param({"kind": "docker"}, "minor", id="docker"),
        pytest.param({"kind": "semver"}, "minor", id="semver without a range"),
        pytest.param({"kind": "semver", "range": " * "}, "minor", id="semver with a range that says nothing"),
        pytest.param({"kind": "semver", "range": ">=1"}, "major", id="semver with a range"),
        pytest.param({"kind": "digest"}, "major", id="digest"),
    ],
)
def test_the_level_where_the_rule_does_not_say(policy: dict[str, Any], level: str) -> None:
    assert Rule.model_validate({"policy": policy}).policy.default_level == level


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        pytest.param({"policy": {"kind": "newer"}}, "policy", "expected tags: 'alphabetical', 'calver', ", id="kind"),
        pytest.param({"policy": {}}, "policy", "kind", id="no kind"),
        pytest.param({"policy": "semver"}, "policy", "valid dictionary", id="a word for a policy"),
        pytest.param({"policy": {"kind": "docker", "range": "1"}}, "range", "not permitted", id="another one's field"),
        pytest.param({"policy": {"kind": "semver", "range": "1.x <"}}, "range", "expected a range", id="a bad range"),
        pytest.param({"policy": {"kind": "semver", "range": 1.5}}, "range", "valid string", id="a number for a range"),
        pytest.param({"policy": {"kind": "semver", "prerelease": "rc"}}, "named", "'by_range'", id="a bad word"),
        pytest.param({"policy": {"kind": "semver", "prerelease": []}}, "words", "expected by_range", id="no words"),
        pytest.param({"policy": {"kind": "semver", "prerelease": ["a b"]}}, 0, "match pattern", id="a word of two"),
        pytest.param({"policy": {"kind": "docker", "suffix": "any"}}, "suffix", "'same'", id="a bad suffix"),
        pytest.param({"policy": {"kind": "digest", "tag": "a b"}}, "tag", "expected a tag", id="a bad tag"),
        pytest.param({"level": "huge"}, "level", "'patch'", id="a bad level"),
        pytest.param({"max_major_step": -1}, "max_major_step", "greater than or equal to 0", id="a step below zero"),
        pytest.param({"write": "all"}, "write", "'tag'", id="a bad way to write"),
        pytest.param({"levl": "minor"}, "levl", "not permitted", id="an unknown key"),
    ],
)
def test_a_mistake_is_one_complaint_at_its_place(fields: dict[str, Any], where: str | int, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Rule.model_validate(fields)
    (detail,) = error.value.errors()
    assert detail["loc"][-1] == where
    assert said in detail["msg"]


def test_a_rule_is_a_value() -> None:
    rule = Rule(policy=Semver(range="1.x"))
    with pytest.raises(ValidationError, match="frozen"):
        rule.level = "major"  # type: ignore[misc]  # refused at run time too


@pytest.mark.parametrize("member", members(Policy).values(), ids=lambda member: str(member.__name__))
def test_every_policy_has_words_and_a_manual_line(member: type[Policy]) -> None:
    required = {name: "YYYY" for name, field in member.model_fields.items() if field.is_required()}
    assert member.model_validate(required).words.startswith(str(member.model_fields["kind"].default))
    assert member.__doc__


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(updater.policies.__path__)])
def test_every_module_of_the_family_may_be_imported_first(name: str) -> None:
    assert importlib.import_module(f"updater.policies.{name}").__doc__
    subprocess.run([sys.executable, "-c", f"import updater.policies.{name}"], check=True, timeout=30)
