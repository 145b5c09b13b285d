"""What pydantic refuses, in the operator's words and at the place that wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from updater.config.settings import NOT_YET, Document
from updater.config.tree import Map, Mark, Seq, kind_of
from updater.errors import Problem
from updater.secrets import redact

MAX_SHOWN = 60  # characters of a value in a report
_INDEX = re.compile(r"\[[0-9]+\]")
_SECRET = re.compile(r"credentials|password|token|secret|private_key|(?:^|\.)key$")
_USER = re.compile(r"(?<=://).*@")

_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda _: "a text",
    "bool_type": lambda _: "true or false",
    "bool_parsing": lambda _: "true or false",
    "int_type": lambda _: "a whole number",
    "int_parsing": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a smaller whole number",
    "int_from_float": lambda _: "a whole number",
    "tuple_type": lambda _: "a list",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping",
    "model_type": lambda _: "a mapping",
    "model_attributes_type": lambda _: "a mapping",
    "greater_than_equal": lambda c: f"at least {c['ge']}",
    "greater_than": lambda c: f"more than {c['gt']}",
    "less_than_equal": lambda c: f"at most {c['le']}",
    "less_than": lambda c: f"less than {c['lt']}",
    "string_too_short": lambda c: f"a text of at least {c['min_length']} characters",
    "string_too_long": lambda c: f"a text of at most {c['max_length']} characters",
    "too_short": lambda c: f"a list of at least {c['min_length']}",
    "too_long": lambda c: f"a list of at most {c['max_length']}",
    "string_pattern_mismatch": lambda _: "one word without blanks and slashes",
    "literal_error": lambda c: "one of " + ", ".join(re.findall(r"'([^']*)'", str(c["expected"]))),
    "union_tag_invalid": lambda c: "one of " + ", ".join(re.findall(r"'([^']*)'", str(c["expected_tags"]))),
}


def explain(error: ValidationError, tree: Map, *, alone: bool = True) -> list[Problem]:
    """Translate every mistake; where the kind of a member is wrong, its other keys say nothing.

    `alone=False` leaves out what whole models of a partial tree say (their own place is the end of the path).
    """
    details = error.errors(include_url=False)
    kinds = {
        detail["loc"][:-1]
        for detail in details
        if detail["type"] == "literal_error" and detail["loc"][-1:] == ("kind",)
    }
    return [
        problem
        for detail in details
        if detail["loc"][:-1] not in kinds or detail["loc"][-1:] == ("kind",)
        if alone or detail["loc"] or detail["type"] != "value_error"
        for problem in [_problem(detail, tree)]
    ]


def pattern(where: str) -> str:
    """Return the place without its numbers: `images[].poll`."""
    return _INDEX.sub("[]", where)


def _problem(detail: ErrorDetails, tree: Map) -> Problem:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    holder, mark = _find(tree, loc)
    match kind:
        case "missing":
            key = str(loc[-1])
            return _at(holder.mark, key).problem(f"no `{key}`", f"`{key}`")
        case "extra_forbidden":
            return _extra(str(loc[-1]), holder, mark)
        case "union_tag_not_found":
            return _at(mark, "kind").problem("no `kind`", f"a kind: {_kinds(mark)}")
        case "union_tag_invalid":
            mark = _entry(holder, loc, mark, "kind")
        case _:
            pass
    found, expected = _words(kind, detail, context, mark)
    return mark.problem(found, expected)


def _words(kind: str, detail: ErrorDetails, context: Mapping[str, Any], mark: Mark) -> tuple[str, str]:
    value = context["tag"] if kind == "union_tag_invalid" else detail["input"]
    shown = show(value, mark.where)
    later = NOT_YET.get(pattern(mark.where), frozenset())
    if isinstance(value, str) and kind in {"literal_error", "union_tag_invalid"} and later & {value, "*"}:
        return f"{shown}, which is not supported yet", _EXPECTED[kind](context)
    if kind in _EXPECTED:
        return shown, _EXPECTED[kind](context)
    said, _, expected = detail["msg"].removeprefix("Value error, ").rpartition("expected ")
    said = said.rstrip("; ")
    if not expected or not detail["msg"]:
        return shown, detail["msg"]
    if said.startswith("a literal secret"):
        return said.removesuffix(" must not stand in the configuration"), expected
    return (f"{shown} ({said})" if said else shown), expected


def show(value: object, where: str) -> str:
    """Show a value shortened, and never one that could be a secret."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return kind_of(value)
    if _SECRET.search(where) and not where.endswith(".kind"):
        return "a text (not shown)"
    text = redact(_USER.sub("***@", str(value)))
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def _extra(key: str, holder: Map, mark: Mark) -> Problem:
    place = pattern(holder.mark.where)
    if key in NOT_YET.get(pattern(mark.where).rpartition(".")[0], frozenset()) | NOT_YET.get(place, frozenset()):
        return mark.problem(f"`{key}`, which is not supported yet", "a file without it", at_key=True)
    known = known_keys().get(pattern(mark.where).rpartition(".")[0], frozenset())
    near = get_close_matches(key, sorted(known), n=1)
    expected = f"`{near[0]}`" if near else f"one of {', '.join(sorted(known))}"
    shown = key if len(key) <= MAX_SHOWN else key[:MAX_SHOWN] + "..."
    return mark.problem(f"unknown key `{shown}`", expected, at_key=True)


def _find(tree: Map, loc: tuple[int | str, ...]) -> tuple[Map, Mark]:
    """Walk to the innermost value that the file holds; names of a union's members are no part of the file."""
    holder, value, mark = tree, tree, tree.mark
    node: Any = value
    for step in loc:
        if isinstance(node, Map) and isinstance(step, str) and step in node:
            holder, mark, node = node, node.marks[step], node[step]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
            mark, node = node.marks[step], node[step]
    if isinstance(node, Map) and (not loc or loc[-1] not in holder):
        holder = node
    return holder, mark


def _entry(holder: Map, loc: tuple[int | str, ...], mark: Mark, key: str) -> Mark:
    node = holder.get(str(loc[-1])) if loc else holder
    inner = node if isinstance(node, Map) else holder
    return inner.marks.get(key, mark)


def _at(mark: Mark, key: str) -> Mark:
    return mark._replace(where=f"{mark.where}.{key}".lstrip("."))


def _kinds(mark: Mark) -> str:
    return ", ".join(sorted(known_kinds().get(pattern(mark.where), frozenset())))


@cache
def known_keys() -> dict[str, frozenset[str]]:
    """Return the keys of every mapping of the file, by its place without numbers."""
    keys: dict[str, set[str]] = {}
    for place, model in _models("", Document):
        keys.setdefault(place, set()).update(model.model_fields)
    return {place: frozenset(names) for place, names in keys.items()}


@cache
def known_kinds() -> dict[str, frozenset[str]]:
    """Return the kinds that a place of the file takes."""
    kinds: dict[str, set[str]] = {}
    for place, model in _models("", Document):
        if "kind" in model.model_fields:
            kinds.setdefault(place, set()).update(get_args(model.model_fields["kind"].annotation))
    return {place: frozenset(names) for place, names in kinds.items()}


def _models(place: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield place, annotation
        for name, info in annotation.model_fields.items():
            yield from _models(f"{place}.{name}".lstrip("."), info.annotation)
        return
    for inner in get_args(annotation):
        yield from _models(f"{place}[]" if annotation.__class__ and _is_list(annotation) else place, inner)


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in {tuple, list}
