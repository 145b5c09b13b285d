"""The shapes of objects: which list items have a name, what is a set, what has one owner as a whole.

The built-in kinds stand in `types.txt`, whose fields a test compares with the official client's. A few rarely used
parts (old volume types, the inside of a container's status) count as `u`: anything, with map entries by key and lists
whole. Custom resources bring their own schema.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

Json = dict[str, Any]


class Node:
    """One place in an object. A bare node takes anything: maps key by key, lists whole."""

    __slots__ = ()


class Scalar(Node):
    """Text, a number or a boolean."""

    __slots__ = ("types", "word")

    def __init__(self, word: str, types: tuple[type, ...]) -> None:
        self.word, self.types = word, types


class Map(Node):
    """An object: declared `fields`, and `element` for every other key where there may be others.

    atomic    it has one owner as a whole
    built_in  it is a type of `types.txt`
    defaults  field -> value that a custom resource's schema gives
    """

    __slots__ = ("atomic", "built_in", "defaults", "element", "fields")

    def __init__(
        self, fields: dict[str, Node], element: Node | None = None, *, atomic: bool = False, built_in: bool = False
    ) -> None:
        self.fields, self.element, self.atomic, self.built_in = fields, element, atomic, built_in
        self.defaults: Json = {}


class List(Node):
    """A list: with `keys` its items are known by them, as a `unique` set by their value, else it has one owner.

    keys   name -> the value that a missing key stands for, or None
    """

    __slots__ = ("element", "keys", "unique")

    def __init__(self, element: Node, keys: dict[str, Any] | None = None, *, unique: bool = False) -> None:
        self.element, self.keys, self.unique = element, keys or {}, unique


ANY = Node()
TEXT, NUMBER, TRUTH = Scalar("string", (str,)), Scalar("numeric", (int, float)), Scalar("boolean", (bool,))
_SHAPES: Mapping[str, Node] = {"s": TEXT, "n": NUMBER, "b": TRUTH, "u": ANY}


@functools.cache
def _lines() -> dict[str, tuple[bool, str]]:
    text = files(__package__).joinpath("types.txt").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\n    ", " ")
    rows = (line.partition(":") for line in text.splitlines())
    return {name.removesuffix("!"): (name.endswith("!"), fields) for name, _, fields in rows}


@functools.cache
def node_of(name: str) -> Map:
    """Return the node of a type of `types.txt`. Raises KeyError."""
    atomic, text = _lines()[name]
    fields: dict[str, Node] = {}
    for word in text.split():
        field, _, shape = word.partition(":")
        fields[field] = _shape(shape or "s")
    return Map(fields, atomic=atomic, built_in=True)


@functools.cache
def kind_node(name: str) -> Map:
    """Return the node of a built-in kind: its type with apiVersion and kind."""
    node = node_of(name)
    return Map({"apiVersion": TEXT, "kind": TEXT, **node.fields}, built_in=True)


def _shape(text: str) -> Node:
    if known := _SHAPES.get(text):
        return known
    if text.startswith("{"):
        return Map({}, _shape(text.rstrip("!")[1:-1]), atomic=text.endswith("!"))
    if not text.startswith("["):
        return node_of(text)
    element, *keys = text[1:-1].split(",")
    if keys == ["set"]:
        return List(_shape(element), unique=True)
    pairs = (key.partition("=") for key in keys)
    return List(_shape(element), {name: default or None for name, _, default in pairs})


def custom_node(schema: Json | None) -> Node:
    """Return the node of a part of a custom resource's openAPIV3Schema; without one everything goes."""
    if not schema or (schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties")):
        return ANY
    return _custom(schema)


def custom_kind(schema: Json | None) -> Map:
    """Return the node of a custom kind, whose metadata is as everybody's."""
    schema = schema or {"x-kubernetes-preserve-unknown-fields": True}
    fields = {name: custom_node(inner) for name, inner in schema.get("properties", {}).items()}
    fields |= {"apiVersion": TEXT, "kind": TEXT, "metadata": node_of("ObjectMeta")}
    return Map(fields, ANY if schema.get("x-kubernetes-preserve-unknown-fields") else None)


def _custom(schema: Json) -> Node:
    match schema.get("type"):
        case "object":
            return _custom_map(schema)
        case "array":
            keys = {key: _default_of(schema, key) for key in schema.get("x-kubernetes-list-map-keys", ())}
            unique = schema.get("x-kubernetes-list-type") == "set"
            return List(custom_node(schema.get("items")), keys, unique=unique)
        case "string" if not schema.get("x-kubernetes-int-or-string"):
            return TEXT
        case "integer" | "number":
            return NUMBER
        case "boolean":
            return TRUTH
        case _:
            return ANY


def _default_of(schema: Json, key: str) -> Any:
    return schema.get("items", {}).get("properties", {}).get(key, {}).get("default")


def _custom_map(schema: Json) -> Node:
    fields = {name: custom_node(inner) for name, inner in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties")
    element = custom_node(extra) if isinstance(extra, dict) else None
    if extra is True or schema.get("x-kubernetes-preserve-unknown-fields"):
        element = ANY
    node = Map(fields, element, atomic=schema.get("x-kubernetes-map-type") == "atomic")
    node.defaults = {n: inner["default"] for n, inner in schema.get("properties", {}).items() if "default" in inner}
    return node


def pruned(value: Any, node: Node, unknown: list[str], path: str = "") -> Any:
    """Return a copy with only the fields that the node knows, a custom schema's defaults filled in.

    The paths of what was dropped, as `spec.extra`, are added to `unknown`.
    """
    if isinstance(node, Map) and isinstance(value, dict):
        return _pruned_map(value, node, unknown, path)
    if isinstance(node, List) and isinstance(value, list):
        return [pruned(item, node.element, unknown, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: pruned(inner, ANY, unknown) for key, inner in value.items()}
    if isinstance(value, list):
        return [pruned(inner, ANY, unknown) for inner in value]
    return value


def _pruned_map(value: Json, node: Map, unknown: list[str], path: str) -> Json:
    kept: Json = {}
    for key, inner in value.items():
        child = node.fields.get(key) or node.element
        place = f"{path}.{key}" if path else key
        if child is None:
            unknown.append(place)
        elif inner is not None:
            kept[key] = pruned(inner, child, unknown, place)
    for key, default in node.defaults.items():
        if key not in kept:
            kept[key] = pruned(default, node.fields[key], unknown)
    return kept
