"""Differences that do not count: by JSON pointer (RFC 6901), and by who owns the field; both are trees of fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.sync.managed import Tree, is_entry, keys_of, trees

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


def strip(value: Any, tree: Tree) -> Any:
    """Return a value without the fields of a tree, and without containers of them that are empty then.

    An entry of a list keeps its key fields as long as there is anything else in it: without them it is another one.
    """
    if isinstance(value, Mapping):
        return _stripped_mapping(value, tree)
    if isinstance(value, list):
        return _stripped_list(value, tree)
    return value


def merged(several: Sequence[Tree]) -> Tree:
    """Return one tree with the fields of all of them."""
    found: dict[str, Any] = {}
    for tree in several:
        for name, below in tree.items():
            old = found.get(name)
            if not isinstance(below, Mapping) or old == {}:
                continue
            found[name] = merged([old, below]) if old and below else below
    return found


def _tree(pointer: str) -> Tree:
    """Return the tree of one pointer. A number may be an index, or the name of a field."""
    below: dict[str, Any] = {}
    for token in reversed(tokens(pointer)):
        below = {f"f:{token}": below} | ({f"i:{token}": below} if token.isdecimal() else {})
    return below


def _stripped_mapping(value: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for key, inner in value.items():
        below = tree.get(f"f:{key}")
        if not isinstance(below, Mapping):
            left[key] = inner
        elif below:
            rest = strip(inner, below)
            if rest or not isinstance(rest, Mapping | list):
                left[key] = rest
    return left


def _stripped_list(value: list[Any], tree: Tree) -> list[Any]:
    left = []
    for at, entry in enumerate(value):
        names = [name for name in tree if name == f"i:{at}" or is_entry(name, entry)]
        if not names:
            left.append(entry)
            continue
        below = merged([tree[name] for name in names])
        if not below:
            continue
        rest = strip(entry, below)
        if isinstance(entry, Mapping):
            keys = {key: entry[key] for name in names for key in keys_of(name)}
            rest = {**keys, **rest} if rest.keys() - keys.keys() or "." not in below else {}
        if rest or not isinstance(rest, Mapping | list):
            left.append(rest)
    return left
