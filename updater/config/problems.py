"""What pydantic refuses, in the operator's words and at the place that wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from updater.config.delivery import CLUSTER, USER
from updater.config.settings import Document
from updater.config.tree import Map, Mark, Seq, kind_of
from updater.errors import Problem
from updater.secrets import redact

NOTIFICATIONS, WEB = "notifications", "web"  # sections whose models are imported only for a file that has them
MAX_SHOWN = 60  # characters of a value in a report
_INDEX = re.compile(r"\[[0-9]+\]")
_HOOK = re.compile(r"^web\.hooks\.[^.]+")
_SECRET = re.compile(r"credentials|password|token|secret|private_key|kubeconfig|(?:^|\.)key$|\.headers|\.topic$")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SAID = re.compile(
    r"(?:(?P<comment>(?!found ).*?)[:;] )?(?:found (?P<found>.*?)[,;]? )?expected (?P<expected>.*)", re.DOTALL
)  # how our models word a refusal
_USER = re.compile(r"(?<=://).*@")
_QUERY = re.compile(r"(://[^?]*\?).+", re.DOTALL)  # services keep tokens there
_PATTERNS = {
    **dict.fromkeys((r"^[^\s/]+$", r"^[^\s/]*$", CLUSTER), "one word without blanks and slashes"),
    USER: "a text without control characters",
}

EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
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
    "string_pattern_mismatch": lambda c: _PATTERNS.get(c["pattern"], f"a text that matches {c['pattern']}"),
    "literal_error": lambda c: "one of " + ", ".join(re.findall(r"'([^']*)'", str(c["expected"]))),
    "enum": lambda c: "one of " + ", ".join(re.findall(r"'([^']*)'", str(c["expected"]))),
}


def explain(error: ValidationError, tree: Map, *, alone: bool = True) -> list[Problem]:
    """Translate every mistake; where the kind of a member is wrong, its other keys say nothing.

    With `alone=False` the tree is only a part of what will hold, and what models say as a whole is left out.
    """
    details = error.errors(include_url=False)
    kinds = {detail["loc"][:-1] for detail in details if _is_kind(detail)}
    inner = {detail["loc"][:-1] for detail in details}  # pydantic counts only the good entries of a list
    kept = (
        detail
        for detail in details
        if (detail["loc"][:-1] not in kinds or _is_kind(detail))
        and (alone or detail["loc"] or detail["type"] != "value_error")
        and not (detail["type"] == "too_short" and detail["loc"] in inner)
    )
    return [_problem(detail, tree) for detail in kept]


def _is_kind(detail: ErrorDetails) -> bool:
    return detail["type"] == "literal_error" and detail["loc"][-1:] == ("kind",)


def pattern(where: str) -> str:
    """Return the place without its numbers and free names: `images[].poll`, `web.hooks{}.token`."""
    return _HOOK.sub("web.hooks{}", _INDEX.sub("[]", where))


def show(value: object, where: str) -> str:
    """Show a value shortened, and never one that could be a secret."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return kind_of(value)
    if _SECRET.search(where) and not where.endswith(".kind"):
        return "a text (not shown)"
    if _section(where) == NOTIFICATIONS and "://" in str(value):
        return "an address (not shown)"  # many services keep their secret in its path, some in place of its host
    text = redact(_QUERY.sub(r"\1***", _USER.sub("***@", str(value))))
    if _NUMBER.fullmatch(text):
        return text
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def _problem(detail: ErrorDetails, tree: Map) -> Problem:
    kind, loc = detail["type"], detail["loc"]
    if kind == "missing":
        return _below(_find(tree, loc[:-1]).mark, str(loc[-1])).problem(f"no `{loc[-1]}`", f"`{loc[-1]}`")
    if kind == "extra_forbidden":
        return _extra(str(loc[-1]), _find(tree, loc[:-1]))
    spot = _find(tree, loc)
    kinds = _kinds_at(spot.mark.where)
    if kinds and kind not in EXPECTED:
        if not isinstance(spot.value, Map):
            return spot.mark.problem(show(spot.value, spot.mark.where), "a mapping with its kind")
        if str(spot.value.get("kind")) not in kinds:
            return _kind(spot, kinds)
    if kind == "at":
        for key in filter(None, detail["ctx"]["key"].split(".")):
            spot = spot.inner(key)
    return spot.mark.problem(*_words(detail, spot), at_key=loc[-1:] == ("[key]",))


def _words(detail: ErrorDetails, spot: _Spot) -> tuple[str, str]:
    """Return what was found and what was expected."""
    kind = detail["type"]
    shown = show(spot.value, spot.mark.where)
    if kind in EXPECTED:
        return shown, EXPECTED[kind](detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ")
    said = _SAID.fullmatch(message)
    if said is None:
        return shown, message
    if said["found"]:
        return redact(said["found"]), said["expected"]
    if (said["comment"] or "").startswith("a literal secret"):
        return said["comment"].removesuffix(" must not stand in the configuration"), said["expected"]
    why = (said["comment"] or "").removeprefix(f"{shown} ")
    return f"{shown} ({why})" if why else shown, said["expected"]


def _kind(spot: _Spot, kinds: frozenset[str]) -> Problem:
    """Say that the kind of a member is missing or unknown."""
    expected = f"one of {', '.join(sorted(kinds))}"
    if "kind" not in spot.value:
        return _below(spot.mark, "kind").problem("no `kind`", f"a kind, {expected}")
    kind, at = spot.inner("kind")
    return at.problem(show(kind, at.where), expected)


def _extra(key: str, holder: _Spot) -> Problem:
    mark = holder.inner(key).mark
    known = _keys_of(holder)
    near = get_close_matches(key, sorted(known), n=1)
    expected = f"`{near[0]}`" if near else f"one of {', '.join(sorted(known))}"
    shown = key if len(key) <= MAX_SHOWN else key[:MAX_SHOWN] + "..."
    return mark.problem(f"unknown key `{shown}`", expected, at_key=True)


def unknown(what: str, name: str, known: Iterable[str], mark: Mark) -> Problem:
    """Say that a name is nobody's, and which there are; names of entries with other mistakes may be anything."""
    names = ", ".join(sorted(one for one in known if one.isprintable() and "://" not in one))
    return mark.problem(f"unknown {what} {str(name)!r}", f"one of {names}" if names else "one that is listed")


class _Spot(NamedTuple):
    """A value of the file, and where it stands."""

    value: Any
    mark: Mark

    def inner(self, step: int | str) -> _Spot:
        """Return the entry of a mapping or list; the spot itself where there is none."""
        match self.value, step:
            case Map() as value, str() if step in value:
                return _Spot(value[step], value.marks[step])
            case Seq() as value, int() if step < len(value):
                return _Spot(value[step], value.marks[step])
            case _:
                return self


def _find(tree: Map, loc: tuple[int | str, ...]) -> _Spot:
    """Walk to the innermost value that the file holds.

    Where a family has several members, pydantic puts the kind before the key: that step is no part of the file.
    """
    spot, told = _Spot(tree, tree.mark), False
    for step in loc:
        kinds = _kinds_at(spot.mark.where)
        if not told and len(kinds) > 1 and isinstance(spot.value, Map) and spot.value.get("kind") == step:
            told = True
            continue
        spot, told = spot.inner(step), False
    return spot


def _below(mark: Mark, key: str) -> Mark:
    return mark._replace(where=f"{mark.where}.{key}".lstrip("."))


def _kinds_at(where: str) -> frozenset[str]:
    return known_kinds(_section(where)).get(pattern(where), frozenset())


def _keys_of(holder: _Spot) -> frozenset[str]:
    """Return the keys that a mapping takes: those of its kind, where it has one."""
    place, section = pattern(holder.mark.where), _section(holder.mark.where)
    kind = str(holder.value.get("kind")) if isinstance(holder.value, Map) else ""
    return _keys_by_kind(section).get((place, kind)) or known_keys(section).get(place, frozenset())


def _section(where: str) -> str:
    """Return the section whose own model knows a place; empty: that of the whole file."""
    first = pattern(where).partition(".")[0]
    return first if first in {NOTIFICATIONS, WEB} else ""


@cache
def known_keys(section: str = "") -> dict[str, frozenset[str]]:
    """Return the keys of every mapping of the file, or of a section with a model of its own, by its place."""
    keys: dict[str, set[str]] = {}
    for place, model in models(section, _root(section)):
        keys.setdefault(place, set()).update(_keys(model))
    return {place: frozenset(names) for place, names in keys.items()}


@cache
def known_kinds(section: str = "") -> dict[str, frozenset[str]]:
    """Return the kinds that a place of the file, or of a section with a model of its own, takes."""
    kinds: dict[str, set[str]] = {}
    for place, kind in _keys_by_kind(section):
        kinds.setdefault(place, set()).add(kind)
    return {place: frozenset(names) for place, names in kinds.items()}


@cache
def _keys_by_kind(section: str) -> dict[tuple[str, str], frozenset[str]]:
    members = [(place, model) for place, model in models(section, _root(section)) if _is_member(model)]
    return {
        (place, kind): _keys(model)
        for place, model in members
        for kind in get_args(model.model_fields["kind"].annotation)
    }


def _is_member(model: type[BaseModel]) -> bool:
    """Say whether a model is one of a family: its kind is a word, and not one of its settings."""
    return "kind" in model.model_fields and get_origin(model.model_fields["kind"].annotation) is Literal


def _root(section: str) -> type[BaseModel]:
    """Return the model of a section; those of their own are imported only for a file that has them."""
    if section == NOTIFICATIONS:
        from updater.config.notifications import Notifications

        return Notifications
    if section == WEB:
        from updater.config.hooks import Whole

        return Whole
    return Document


def _keys(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(info.alias or name for name, info in model.model_fields.items())


def models(place: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every model below a place, itself included, and the place that it describes, as `pattern` spells it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield place, annotation
        for name, info in annotation.model_fields.items():
            yield from models(f"{place}.{info.alias or name}".lstrip("."), info.annotation)
        return
    below = {tuple: "[]", list: "[]", dict: "{}"}.get(get_origin(annotation), "")
    for inner in get_args(annotation):
        yield from models(place + below, inner)
