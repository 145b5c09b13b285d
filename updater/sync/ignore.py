"""Differences that do not count: by JSON pointer (RFC 6901), and by who owns the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.sync.managed import Tree, merged, trees

_BAD_ESCAPE = re.compile("~(?![01])")


def tokens(pointer: str) -> tuple[str, ...]:
    """Return the parts of a pointer. Raises ValueError of what is none, and of the one to the whole document."""
    if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
        raise ValueError(f"found the JSON pointer {pointer[:120]!r}, expected one such as /spec/replicas or /data/a~1b")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def matches(ignored: Ignored, key: Key) -> bool:
    """Whether a rule is about an object. Group and kind are globs; no name, and no namespace, is any."""
    return (
        fnmatchcase(key.group, ignored.group)
        and fnmatchcase(key.kind, ignored.kind)
        and fnmatchcase(key.name, ignored.name or "*")
        and fnmatchcase(key.namespace, ignored.namespace or "*")
    )


def ignored_fields(key: Key, live: Mapping[str, Any] | None, ignored: Iterable[Ignored]) -> Tree:
    """Return the fields of an object that do not count, as a tree; those of managers are read from the live one."""
    rules = [rule for rule in ignored if matches(rule, key)]
    found = [_tree(pointer) for rule in rules for pointer in rule.json_pointers]
    found += [tree for rule in rules for manager in rule.managers for tree in trees(live or {}, manager)]
    return merged(found)


def _tree(pointer: str) -> Tree:
    """Return the tree of one pointer. A number may be an index, or the name of a field."""
    below: dict[str, Any] = {}
    for token in reversed(tokens(pointer)):
        below = {f"f:{token}": below} | ({f"i:{token}": below} if token.isdecimal() else {})
    return below
