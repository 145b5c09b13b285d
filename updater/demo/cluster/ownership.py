"""Who owns which field: sets of fields as `managedFields` writes them, and what differs between two objects.

A set is the value of `fieldsV1`: `f:name` is a field, `k:{"name":"web"}` a list item known by keys, `v:"x"` an item of
a set. An empty object is the field itself; `.` beside others says that the field itself is owned too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from updater.demo.cluster.schemas import ANY, Json, List, Map, Node, Scalar

Fields = dict[str, Any]

# Fields that always exist in the server's own types, so that nobody comes to own them by creating the object.
_ALWAYS = frozenset({
    "f:spec", "f:status", "f:metadata", "f:template", "f:strategy", "f:updateStrategy", "f:resources", "f:jobTemplate",
    "f:loadBalancer", "f:names", "f:backend", "f:service", "f:port", "f:scaleTargetRef",
})  # fmt: skip
_STRIPPED = frozenset({
    "f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName", "f:generation",
    "f:managedFields", "f:resourceVersion",
})  # fmt: skip


class ShapeError(Exception):
    """An object does not fit its kind: `.spec.foo: field not declared in schema`."""


def fields_of(value: Any, node: Node) -> Fields:
    """Return the set of all fields of a configuration. Raises ShapeError."""
    return _fields(value, node, "")


def _fields(value: Any, node: Node, path: str) -> Fields:
    if isinstance(value, dict):
        return _fields_of_map(value, node, path)
    if isinstance(value, list):
        return _fields_of_list(value, node, path)
    if isinstance(node, Scalar):
        _check(value, node, path)
    elif isinstance(node, (Map, List)):
        expected = "map" if isinstance(node, Map) else "list"
        raise ShapeError(f"{path}: expected {expected}, got {_shown(value)}")
    return {}


def _check(value: Any, node: Scalar, path: str) -> None:
    if not isinstance(value, node.types) or (isinstance(value, bool) and bool not in node.types):
        raise ShapeError(f"{path}: expected {node.word}, got {_shown(value)}")


def _shown(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{json.dumps(value)}}}"


def _fields_of_map(value: Json, node: Node, path: str) -> Fields:
    if isinstance(node, (Scalar, List)):
        expected = node.word if isinstance(node, Scalar) else "list"
        raise ShapeError(f"{path}: expected {expected}, got &{{map}}")
    if not isinstance(node, Map):
        return {f"f:{key}": _with_self(_fields(inner, ANY, path), own=True) for key, inner in value.items()}
    found: Fields = {}
    declared, element = node.fields, node.element
    for key, inner in value.items():
        child = declared.get(key) or element
        if child is None:
            raise ShapeError(f"{path}.{key}: field not declared in schema")
        found[f"f:{key}"] = _with_self(_fields(inner, child, f"{path}.{key}"), own=key not in declared)
    return {} if node.atomic else found


def _with_self(inner: Fields, *, own: bool) -> Fields:
    """Mark a field as owned itself where it holds others: an entry of a map is, a declared field is not."""
    if inner and own and "." not in inner:
        return {".": {}, **inner}
    return inner


def _fields_of_list(value: list[Any], node: Node, path: str) -> Fields:
    if isinstance(node, (Scalar, Map)):
        expected = node.word if isinstance(node, Scalar) else "map"
        raise ShapeError(f"{path}: expected {expected}, got &{{list}}")
    if not isinstance(node, List):
        return {}
    if not node.keys and not node.unique:
        for index, item in enumerate(value):
            _fields(item, node.element, f"{path}[{index}]")
        return {}
    found: Fields = {}
    for index, item in enumerate(value):
        name = item_name(item, node, path, index)
        if name in found:
            raise ShapeError(f"{path}: duplicate entries for key {shown_item(name)}")
        found[name] = _with_self(_fields(item, node.element, f"{path}{shown_item(name)}"), own=True)
    return found


def item_name(item: Any, node: List, path: str = "", index: int = 0) -> str:
    """Return what an item of a set or keyed list is known by, as `k:{"name":"web"}`. Raises ShapeError."""
    if node.unique:
        return f"v:{json.dumps(item, separators=(',', ':'))}"
    if not isinstance(item, dict):
        raise ShapeError(f"{path}: element {index}: associative list with keys may not have non-map elements")
    keys = {}
    for key in sorted(node.keys):
        keys[key] = item.get(key, node.keys[key])
        if keys[key] is None:
            why = f'associative list with keys has an element that omits key field "{key}"'
            raise ShapeError(f"{path}: element {index}: {why} (and doesn't have default value)")
    return f"k:{json.dumps(keys, separators=(',', ':'), ensure_ascii=False)}"


def merged(live: Any, config: Any, node: Node) -> Any:
    """Return `live` with everything that `config` says. Both are left alone; equal parts are shared."""
    if isinstance(config, dict) and isinstance(live, dict):
        if isinstance(node, Map):
            return config if node.atomic else _merged_map(live, config, node)
        return _merged_map(live, config, node)
    if isinstance(config, list) and isinstance(live, list) and isinstance(node, List) and (node.keys or node.unique):
        return _merged_list(live, config, node)
    return config


def _merged_map(live: Json, config: Json, node: Node) -> Json:
    result = dict(live)
    for key, value in config.items():
        old = live.get(key)
        if old is None or old == value:
            result[key] = value if old is None else old
        else:
            result[key] = merged(old, value, child_of(node, key))
    return result


def child_of(node: Node, key: str) -> Node:
    """Return the node of a field."""
    if isinstance(node, Map):
        return node.fields.get(key) or node.element or ANY
    return ANY


def _named(items: list[Any], node: List) -> dict[str, Any]:
    return {item_name(item, node): item for item in items}


def _merged_list(live: list[Any], config: list[Any], node: List) -> list[Any]:
    """Merge by name: the configuration's order, and the items of others where they stood."""
    old, new = _named(live, node), _named(config, node)
    result: dict[str, Any] = {}
    waiting = iter(new.items())
    for name, item in old.items():
        if name not in new:
            result[name] = item
            continue
        while name not in result:
            wanted, value = next(waiting)
            result[wanted] = merged(old[wanted], value, node.element) if wanted in old else value
    result.update((name, value) for name, value in waiting)
    return list(result.values())


def without(value: Any, gone: Fields, kept: Fields, node: Node) -> Any:
    """Return a value without the fields of `gone` that are not in `kept`; what nobody keeps goes as a whole."""
    if isinstance(value, dict):
        return _map_without(value, gone, kept, node)
    if isinstance(value, list) and isinstance(node, List):
        result = []
        for item in value:
            name = item_name(item, node)
            if name not in gone:
                result.append(item)
            elif name in kept:
                result.append(without(item, gone[name], kept[name], node.element) if gone[name] else item)
        return result
    return value


def _map_without(value: Json, gone: Fields, kept: Fields, node: Node) -> Json:
    result = dict(value)
    for name, inner in gone.items():
        key = name[2:]
        if name == "." or key not in result:
            continue
        if name not in kept:
            del result[key]
        elif inner:
            result[key] = without(result[key], inner, kept[name], child_of(node, key))
    return result


def compared(old: Any, new: Any, node: Node) -> tuple[Fields | None, Fields | None]:
    """Return the sets of what was changed or added, and of what is gone; None where there is nothing."""
    if old == new:
        return None, None
    if old is None:
        return _all(new, node), None
    if new is None:
        return None, _all(old, node)
    pairs = _pairs(old, new, node)
    if pairs is None:
        return {}, None
    changed: Fields = {}
    gone: Fields = {}
    for name, before, after, child in pairs:
        if before is None and after is not None and _always(name, child):
            changed[name] = _every(after, child)
            continue
        more, less = compared(before, after, child)
        if more is not None:
            changed[name] = more
        if less is not None:
            gone[name] = less
    return changed or None, gone or None


def _pairs(old: Any, new: Any, node: Node) -> list[tuple[str, Any, Any, Node]] | None:
    """Return (name, before, after, node) of what two values hold; None where they are to be taken as wholes."""
    if isinstance(old, dict) and isinstance(new, dict) and not (isinstance(node, Map) and node.atomic):
        names = {**old, **new}
        return [(f"f:{key}", old.get(key), new.get(key), child_of(node, key)) for key in names]
    if isinstance(old, list) and isinstance(new, list) and isinstance(node, List) and (node.keys or node.unique):
        before, after = _named(old, node), _named(new, node)
        return [(name, before.get(name), after.get(name), node.element) for name in {**before, **after}]
    return None


def _always(name: str, node: Node) -> bool:
    return name in _ALWAYS and isinstance(node, Map) and node.built_in


def _all(value: Any, node: Node) -> Fields:
    """Return the set of a value that came or went: everything in it, and it itself."""
    found = _every(value, node)
    return {".": {}, **found} if found else found


def _every(value: Any, node: Node) -> Fields:
    if isinstance(value, dict) and not (isinstance(node, Map) and node.atomic):
        found = {}
        for key, inner in value.items():
            name = f"f:{key}"
            child = child_of(node, key)
            found[name] = _every(inner, child) if _always(name, child) else _all(inner, child)
        return found
    if isinstance(value, list) and isinstance(node, List) and (node.keys or node.unique):
        return {name: _all(item, node.element) for name, item in _named(value, node).items()}
    return {}


def stripped(fields: Fields) -> Fields:
    """Return a set without what nobody owns: the kind, the name and what the server writes."""
    kept = {key: inner for key, inner in fields.items() if key not in ("f:apiVersion", "f:kind", ".")}
    if meta := kept.pop("f:metadata", None):
        own = {key: inner for key, inner in meta.items() if key not in _STRIPPED and key != "."}
        if own:
            kept["f:metadata"] = own
    return kept


def ordered(fields: Fields) -> Fields:
    """Return the set with its names in the order in which they are written."""
    return {name: ordered(fields[name]) if fields[name] else {} for name in sorted(fields)}


def _itself(fields: Fields) -> bool:
    return not fields or "." in fields


def union(one: Fields, other: Fields) -> Fields:
    """Return what either set holds; `{}` inside a set is the field itself."""
    if one == other:
        return one
    found = dict(one)
    for name, inner in other.items():
        if name not in found:
            found[name] = inner
        elif name != ".":
            mine = found[name]
            both = union(mine, inner)
            found[name] = {".": {}, **both} if both and (_itself(mine) or _itself(inner)) else both
    return found


def difference(one: Fields, other: Fields) -> Fields:
    """Return `one` without the fields of `other`."""
    left: Fields = {}
    for name, inner in one.items():
        taken = other.get(name)
        if taken is None:
            left[name] = inner
        elif name != ".":
            rest = {key: value for key, value in difference(inner, taken).items() if key != "."}
            own = _itself(inner) and not _itself(taken)
            if rest or own:
                left[name] = {".": {}, **rest} if rest and own else rest
    return left


def intersection(one: Fields, other: Fields) -> Fields:
    """Return the fields that both sets hold."""
    both: Fields = {}
    for name, inner in one.items():
        theirs = other.get(name)
        if theirs is None or name == ".":
            continue
        common = intersection(inner, theirs)
        own = _itself(inner) and _itself(theirs)
        if common or own:
            both[name] = {".": {}, **common} if common and own else common
    return both


def paths(fields: Fields, start: str = "") -> Iterator[str]:
    """Yield the fields of a set as `.spec.template.spec.containers[name="web"].image`."""
    for name, inner in fields.items():
        if name == ".":
            continue
        place = f"{start}.{name[2:]}" if name.startswith("f:") else f"{start}{shown_item(name)}"
        if _itself(inner):
            yield place
        yield from paths(inner, place)


def shown_item(name: str) -> str:
    """Return `[name="web"]` of a list item's name."""
    if name.startswith("v:"):
        return f"[={name[2:]}]"
    keys = json.loads(name[2:])
    return f"[{','.join(f'{key}={json.dumps(value)}' for key, value in keys.items())}]"
