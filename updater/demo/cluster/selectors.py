"""Label and field selectors, as they stand in a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from updater.demo.cluster.failures import bad_request
from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.schemas import Json

Test = Callable[[Json], bool]

_SETS = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_PAIR = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<word>==|=|!=)\s*(?P<value>[^\s!=,()]*)")
_HAS = re.compile(r"(?P<no>!?)\s*(?P<key>[^\s!=,()]+)")
# What may be selected by besides name and namespace; anything in `spec.` and `status.` of pods is allowed
_FIELDS = {
    "Pod": ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    "Event": ("involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid",
              "reason", "type", "source", "reportingComponent"),
    "Secret": ("type",),
    "Namespace": ("status.phase",),
    "Job": ("status.successful",),
}  # fmt: skip


def labels(text: str) -> Test | None:
    """Return a test of an object's labels; None where every object passes. Raises ApiError 400."""
    if not text.strip():
        return None
    tests = [_label(part.strip(), text) for part in _split(text)]
    return lambda obj: _all(tests, obj["metadata"].get("labels") or {})


def _all(tests: list[Callable[[dict[str, str]], bool]], found: dict[str, str]) -> bool:
    return all(test(found) for test in tests)


def _split(text: str) -> list[str]:
    return re.split(r",(?![^()]*\))", text)


def _label(part: str, whole: str) -> Callable[[dict[str, str]], bool]:
    if match := _SETS.fullmatch(part):
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["word"] == "in":
            return lambda found: found.get(key) in values
        return lambda found: found.get(key) not in values
    if match := _PAIR.fullmatch(part):
        key, value = match["key"], match["value"]
        if match["word"] == "!=":
            return lambda found: found.get(key) != value
        return lambda found: found.get(key) == value
    if match := _HAS.fullmatch(part):
        key = match["key"]
        return (lambda found: key not in found) if match["no"] else (lambda found: key in found)
    raise bad_request(f"unable to parse requirement: {whole!r}")


def fields(text: str, resource: Resource) -> Test | None:
    """Return a test of an object's fields; None where every object passes. Raises ApiError 400."""
    if not text.strip():
        return None
    tests = [_field(part.strip(), resource) for part in text.split(",")]
    return lambda obj: all(test(obj) for test in tests)


def _field(part: str, resource: Resource) -> Test:
    match = _PAIR.fullmatch(part)
    if not match:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, value, same = match["key"], match["value"], match["word"] != "!="
    if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.kind, ())):
        raise bad_request(f'field label not supported: "{path}"')
    names = path.split(".")
    return lambda obj: (_text(obj, names) == value) is same


def _text(obj: Any, names: list[str]) -> str:
    for name in names:
        obj = obj.get(name) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)
