r"""Who owns which field: `metadata.managedFields`, whose trees are FieldsV1.

    {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}

`f:` is a field, `k:` an entry of a list by its key fields, `v:` one by its value, `i:` one by its index, and `.` the
thing itself. An empty tree is a leaf: all below it is owned too. What cannot be read owns nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = Mapping[str, Any]

_PLAIN = re.compile("[A-Za-z_][A-Za-z0-9_-]*")
_MAX_NAME = 80  # characters of a manager's name that are kept


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a list, by these of its fields. `entry` is the whole of it."""

    keys: tuple[tuple[str, Any], ...]
    entry: Mapping[str, Any] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Value:
    """An entry of a list of plain values; as JSON."""

    text: str


Step = str | int | Item | Value
Path = tuple[Step, ...]


def spelled(path: Path) -> str:
    """Return a path as people read it: `.spec.containers[name="web"].image`."""
    return "".join(map(_spelled, path)) or "."


def owners(live: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Return the managers that own a field, or something in it, in the order of their names."""
    return tuple(sorted({name for name, tree in _managed(live) if _owns(tree, path)}))


def trees(live: Mapping[str, Any], manager: str) -> list[Tree]:
    """Return the trees of one manager; it has one for each way that it wrote in."""
    return [tree for name, tree in _managed(live) if name == manager]


def leaves(tree: Tree, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of the fields of a tree."""
    for name, below in tree.items():
        step = _step(name)
        if not isinstance(below, Mapping) or (step is None and name != "."):
            continue
        if step is None:
            yield path
        elif below:
            yield from leaves(below, (*path, step))
        else:
            yield (*path, step)


def only(tree: Tree, wanted: Container[str], path: Path = ()) -> Tree:
    """Return of a tree the fields whose paths, as `spelled` writes them, are wanted."""
    found: dict[str, Tree] = {}
    for name, below in tree.items():
        step = _step(name)
        if step is None or not isinstance(below, Mapping):
            continue
        here = (*path, step)
        rest = {} if spelled(here) in wanted else only(below, wanted, here)
        if rest or spelled(here) in wanted:
            found[name] = rest
    return found


def taken(before: Mapping[str, Any], after: Mapping[str, Any], us: str) -> tuple[tuple[str, str], ...]:
    """Return the fields that an apply of ours took from others, with these others; `us` is our name as a manager."""
    ours = {spelled(path): path for tree in trees(after, us) for path in leaves(tree)}
    found: dict[str, str] = {}
    for said, path in ours.items():
        had = owners(before, path)
        if had and us not in had and (lost := [name for name in had if name not in owners(after, path)]):
            found[said] = ", ".join(lost)
    return tuple(sorted(found.items()))


def is_entry(name: str, entry: Any) -> bool:
    """Whether a name in a tree means this entry of a list."""
    if name.startswith("v:"):
        return not isinstance(entry, Mapping) and _json(name[2:]) == entry
    keys = _json(name[2:]) if name.startswith("k:") else None
    if not isinstance(keys, Mapping) or not isinstance(entry, Mapping):
        return False
    return all(key in entry and entry[key] == value for key, value in keys.items())


def keys_of(name: str) -> Mapping[str, Any]:
    """Return the key fields in a name, none where it names an entry in another way."""
    found = _json(name[2:]) if name.startswith("k:") else None
    return found if isinstance(found, Mapping) else {}


def _managed(live: Mapping[str, Any]) -> Iterator[tuple[str, Tree]]:
    metadata = live.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, Mapping) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("fieldsV1"), Mapping):
            yield str(entry.get("manager") or "unknown")[:_MAX_NAME], entry["fieldsV1"]


def _owns(tree: Tree, path: Path) -> bool:
    at = tree
    for depth, step in enumerate(path):
        if not at:
            return depth > 0  # a leaf: all below it is owned too
        found = next((below for name, below in at.items() if _fits(name, step)), None)
        if not isinstance(found, Mapping):
            return False
        at = found
    return True


def _fits(name: str, step: Step) -> bool:
    match step:
        case str():
            return name == f"f:{step}"
        case int():
            return name == f"i:{step}"
        case Value(text):
            return name.startswith("v:") and _json(name[2:]) == _json(text)
        case Item(_, entry):
            return is_entry(name, entry)


def _step(name: str) -> Step | None:
    kind, _, rest = name.partition(":")
    keys = _json(rest) if kind in {"k", "i"} else None
    match kind:
        case "f":
            return rest
        case "v":
            return Value(rest)
        case "k" if isinstance(keys, Mapping):
            return Item(tuple((key, json.dumps(value)) for key, value in sorted(keys.items())), keys)
        case "i" if isinstance(keys, int):
            return keys
    return None


def _spelled(step: Step) -> str:
    match step:
        case str():
            return f".{step}" if _PLAIN.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"
        case int():
            return f"[{step}]"
        case Value(text):
            return f"[={text}]"
        case Item(keys):
            return f"[{','.join(f'{name}={text}' for name, text in keys)}]"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
