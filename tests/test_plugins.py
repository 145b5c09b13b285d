"""Families are read from their folders, and every member keeps the rules of the house."""

import pytest
from pydantic import TypeAdapter, ValidationError

from updater.editors.base import Editor
from updater.git.credentials.base import GitCredentials
from updater.hooks.base import Hook
from updater.plugins import Member, members, one_of
from updater.policies.base import Policy
from updater.registry.credentials.base import Credentials

FAMILIES = [Policy, Editor, Credentials, GitCredentials, Hook]


@pytest.mark.parametrize("base", FAMILIES)
def test_a_member_is_named_by_its_file_and_has_a_manual_line(base: type[Member]) -> None:
    family = members(base)
    assert family
    for kind, member in family.items():
        assert member.__module__.endswith(f".{kind}")
        assert member.__doc__


@pytest.mark.parametrize("base", FAMILIES)
def test_an_unknown_key_is_refused(base: type[Member]) -> None:
    for kind in members(base):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            TypeAdapter(one_of(base)).validate_python({"kind": kind, "surprise": 1})
