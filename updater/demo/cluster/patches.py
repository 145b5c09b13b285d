"""The patches that are no apply: JSON merge patch (RFC 7386), JSON patch (RFC 6902), strategic merge patch."""

from __future__ import annotations

from typing import Any

from updater.demo.cluster.failures import ApiError, bad_request
from updater.demo.cluster.ownership import child_of
from updater.demo.cluster.schemas import Json, List, Node

_DIRECTIVES = ("$patch", "$retainKeys")


def merge_patched(value: Any, patch: Any) -> Any:
    """Return a value after a merge patch: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), inner)
    return result


def json_patched(value: Any, steps: Any) -> Any:
    """Return a value after the steps of a JSON patch. Raises ApiError 400 or 422."""
    if not isinstance(steps, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    root = {"": copied(value)}
    for step in steps:
        _step(root, step)
    return root[""]


def _step(root: Json, step: Json) -> None:
    match step.get("op"):
        case "add":
            _put(root, step["path"], copied(step.get("value")), insert=True)
        case "replace":
            _get(root, step["path"])
            _put(root, step["path"], copied(step.get("value")), insert=False)
        case "remove":
            _take(root, step["path"])
        case "test":
            if _get(root, step["path"]) != step.get("value"):
                raise _unprocessable(f"testing value {step['path']} failed: test failed")
        case "copy":
            _put(root, step["path"], copied(_get(root, step["from"])), insert=True)
        case "move":
            _put(root, step["path"], _take(root, step["from"]), insert=True)
        case other:
            raise bad_request(f"Unexpected kind: {other}")


def _unprocessable(message: str) -> ApiError:
    text = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", f"{text}: {message}")


def _parts(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]


def _parent(root: Json, path: str) -> tuple[Any, str]:
    *parts, last = _parts(path)
    here: Any = root
    for part in parts:
        here = _item(here, part, path)
    return here, last


def _item(here: Any, part: str, path: str) -> Any:
    try:
        return here[int(part)] if isinstance(here, list) else here[part]
    except (KeyError, IndexError, ValueError, TypeError):
        raise _unprocessable(f"doc is missing path: {path}: missing value") from None


def _get(root: Json, path: str) -> Any:
    here, last = _parent(root, path)
    return _item(here, last, path)


def _put(root: Json, path: str, value: Any, *, insert: bool) -> None:
    here, last = _parent(root, path)
    if not isinstance(here, list):
        here[last] = value
    elif last == "-":
        here.append(value)
    elif insert:
        here.insert(int(last), value)
    else:
        here[int(last)] = value


def _take(root: Json, path: str) -> Any:
    here, last = _parent(root, path)
    value = _item(here, last, path)
    del here[int(last) if isinstance(here, list) else last]
    return value


def copied(value: Any) -> Any:
    """Return a deep copy of JSON."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value


def strategically_patched(value: Any, patch: Any, node: Node) -> Any:
    """Return a value after a strategic merge patch; keyed lists merge by their first key."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: inner for key, inner in patch.items() if key not in _DIRECTIVES}
    result = dict(value) if isinstance(value, dict) else {}
    if (kept := patch.get("$retainKeys")) is not None:
        result = {key: inner for key, inner in result.items() if key in kept}
    for key, inner in patch.items():
        if key.startswith("$"):
            _directive(result, key, inner)
        elif inner is None:
            result.pop(key, None)
        else:
            result[key] = _strategic(result.get(key), inner, child_of(node, key))
            if order := patch.get(f"$setElementOrder/{key}"):
                result[key] = _reordered(result[key], order, child_of(node, key))
    return result


def _directive(result: Json, key: str, inner: Any) -> None:
    word, _, field = key.partition("/")
    if word == "$deleteFromPrimitiveList" and field in result:
        result[field] = [item for item in result[field] if item not in inner]


def _strategic(old: Any, new: Any, node: Node) -> Any:
    if isinstance(new, dict):
        return strategically_patched(old, new, node)
    if not isinstance(new, list) or not isinstance(node, List) or not (node.keys or node.unique):
        return new
    before = old if isinstance(old, list) else []
    if node.unique:
        return [*before, *(item for item in new if item not in before)]
    return _merged_items(before, new, node)


def _merged_items(before: list[Any], new: list[Any], node: List) -> list[Any]:
    key = next(iter(node.keys))
    result = {item.get(key): item for item in before}
    if any(item.get("$patch") == "replace" for item in new):
        return [item for item in new if "$patch" not in item]
    for item in new:
        name = item.get(key)
        if item.get("$patch") == "delete":
            result.pop(name, None)
        else:
            result[name] = strategically_patched(result.get(name), item, node.element)
    return list(result.values())


def _reordered(items: Any, order: list[Any], node: Node) -> Any:
    if not isinstance(items, list) or not isinstance(node, List):
        return items
    key = next(iter(node.keys), "")
    names = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]

    def place(item: Any) -> int:
        name = item.get(key) if isinstance(item, dict) else item
        return names.index(name) if name in names else len(names)

    return sorted(items, key=place)
