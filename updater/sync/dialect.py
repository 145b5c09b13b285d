"""Manifests as kubectl reads them: YAML 1.1 as Go's parser understands it, or JSON.

`on` and `yes` are true, `0644` is 420, `1e3` is 1000; `1:30`, dates and `=` stay texts, and all keys become texts.
A number without a fraction is an integer, as it is after kubectl has passed it on as JSON. Unlike kubectl, which takes
the last, a key that stands twice in a mapping is an error: one of the two does not do what its author thinks.

Merge keys and aliases are followed. What they make of a document is bounded. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from updater.errors import ManifestError
from updater.model.stream import MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, Broken, Span, reading, spans, too_deep

MAX_EXPANDED = 8 << 20  # characters and nodes that aliases may add to a document: as much as a file may hold

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_NUMERIC = frozenset("0123456789+-.")  # what a number begins with
_BASES = (
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), 10),
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?")
_EXACT = 1e21  # from here on, JSON is written with an exponent
_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = 1 << 64
_TAG = "tag:yaml.org,2002:"
_MERGE = object()  # the key `<<`
_NO_KEY = object()
_BLANK = re.compile(r"[ \t\r\n\ufeff]*")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One manifest, and the line of the file on which its document has its first key. Parts of it may be shared."""

    line: int
    manifest: Mapping[str, Any]


def load_all(text: str, source: str) -> list[Mapping[str, Any]]:
    """Return the manifests of a file in their order, those of lists one by one; empty documents are skipped.

    Raises ManifestError, which begins with `source:line`.
    """
    return [loaded.manifest for loaded in load(text, source)]


def load(text: str, source: str) -> list[Loaded]:
    """Return what `load_all` does, with lines."""
    try:
        found = _from_json(text)
        return list(_manifests(_from_yaml(text) if found is None else found))
    except Broken as broken:
        raise ManifestError(f"{source}:{broken.line}: {broken}") from None


def resolve(text: str) -> Any:
    """Return what a plain scalar says: a text, a number, a boolean or None."""
    if _is_text(text):
        return text
    if text in _WORDS:
        return _WORDS[text]
    number = _number(text)
    return text if number is None else number


def _is_text(plain: str) -> bool:
    """Whether a plain scalar is a text at a glance, as most are; not `<<`, which may be the key that merges."""
    return plain not in _WORDS and plain[0] not in _NUMERIC and plain != "<<"


def _number(text: str) -> int | float | None:
    if text[0] == ".":
        return _finite(text) if _POINT.fullmatch(text) else None
    plain = text.replace("_", "")
    for pattern, base in _BASES:
        if pattern.fullmatch(plain):
            value = _integer(plain, base)
            if value is not None:
                return value
    return _finite(plain) if _FLOAT.fullmatch(plain) else None


def _integer(plain: str, base: int) -> int | None:
    """Return it where Go has a type for it. Python itself refuses to read very long ones."""
    try:
        value = int(plain, base) if base != 8 else int(plain.replace("o", "").replace("O", ""), 8)
    except ValueError:
        return None
    return value if _INT64.start <= value < _UINT64 else None


def _finite(plain: str) -> float | None:
    value = float(plain)
    return value if math.isfinite(value) else None


def _json_number(value: Any) -> Any:
    """Return a number as it comes out of JSON: without a fraction it is an integer, if that has 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        raise ValueError("found a number that is infinite or none, expected one that JSON can say")
    if isinstance(value, float) and (abs(value) >= _EXACT or not value.is_integer()):
        return value
    return int(value) if int(value) in _INT64 else float(value)


def _from_json(text: str) -> list[tuple[int, Any]] | None:
    """Read a stream of JSON objects; None where it is none: YAML begins alike, and tells what is wrong and where."""
    found: list[tuple[int, Any]] = []
    at = _skip(text, 0)
    while at < len(text):
        if text[at] != "{":
            return None
        try:
            value, end = _DECODER.raw_decode(text, at)
            _check(value)
        except (ValueError, RecursionError):
            return None
        found.append((text.count("\n", 0, at) + 1, value))
        at = _skip(text, end)
    return found


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _plain_float(text: str) -> Any:
    return _json_number(float(text))


def _plain_int(text: str) -> Any:
    return _json_number(int(text))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_plain_float, parse_int=_plain_int, parse_constant=_plain_float
)


def _check(root: Any) -> None:
    """Raise ValueError for what is nested too deep, and for halves of characters, which no one can send on."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise ValueError("nested too deep")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                value.encode()
        level = below


def _from_yaml(text: str) -> Iterator[tuple[int, Any]]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Broken(text.count("\n", 0, error.start) + 1, "not text: it holds half a character") from None
    found = spans(text)
    if len(found) > MAX_DOCUMENTS:
        raise Broken(1, f"too large: {len(found)} documents, at most {MAX_DOCUMENTS} are read")
    for span in found:
        builder = _Builder(span)
        with reading(text[span.start : span.end], span) as get:
            builder.take_all(get)
        if len(builder.roots) > 1:
            raise Broken(span.line, "more than one document between two markers")
        yield from builder.roots


def _manifests(documents: Iterable[tuple[int, Any]]) -> Iterator[Loaded]:
    for line, root in documents:
        if root is None or root == {}:
            continue
        if not isinstance(root, dict):
            raise Broken(line, "found a document that is no mapping, expected a manifest")
        yield from _flat(line, root)


def _flat(line: int, manifest: dict[str, Any]) -> Iterator[Loaded]:
    """Yield what a list holds, or the manifest itself."""
    kind = manifest.get("kind")
    items = manifest.get("items", ())
    if not isinstance(kind, str) or not kind.endswith("List") or not (kind == "List" or isinstance(items, list)):
        yield Loaded(line, manifest)
        return
    if items is not None and not isinstance(items, list | tuple):
        raise Broken(line, "found items that are no list, expected manifests in it")
    for item in items or ():
        if not isinstance(item, dict):
            raise Broken(line, f"found something else than a mapping in a {kind}, expected manifests")
        yield from _flat(line, item)


@dataclass(slots=True, eq=False)
class _Open:
    """A list or mapping whose end has not come yet. `weight` counts nodes and characters, aliases followed.

    Of a mapping, `key` is what the next value belongs to, _NO_KEY where a key comes next; a list has none, ever.
    """

    line: int
    value: list[Any] | dict[str, Any]
    anchor: str | None
    key: Any
    weight: int = 1
    written: dict[str, int] = field(default_factory=dict)  # the lines of keys; those that were merged are none


class _Builder:
    """Builds values from events, without recursion."""

    def __init__(self, span: Span) -> None:
        self.roots: list[tuple[int, Any]] = []
        self._span, self._line = span, span.line
        self._open: list[_Open] = []
        self._nodes = 0
        self._expanded = 0
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # None: it is not complete

    def take_all(self, get: Callable[[], Any]) -> None:
        """Take every event of a document, of which `get` returns the next. Raises Broken."""
        while (event := get()) is not None:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._start(event, {}, _NO_KEY)
            elif kind is yaml.SequenceStartEvent:
                self._start(event, [], None)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                done = self._open.pop()
                self._named(done.anchor, done.value, done.weight)
                self._put(done.line, done.value, done.weight)
            elif kind is yaml.AliasEvent:
                self._alias(event)

    def _start(self, event: Any, value: list[Any] | dict[str, Any], key: Any) -> None:
        if len(self._open) == MAX_DEPTH:
            raise too_deep(event, self._span)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(self._line + event.start_mark.line, value, event.anchor, key))

    def _scalar(self, event: Any) -> None:
        line, text = self._line + event.start_mark.line, event.value
        value = text
        if event.tag is not None or not (event.style or _is_text(text)):
            wants_key = bool(self._open) and self._open[-1].key is _NO_KEY
            if wants_key and _is_merge(event):
                self._open[-1].key = _MERGE
                return
            try:
                value = _value(event)
                value = value if wants_key or type(value) is str else _json_number(value)
            except ValueError as error:
                raise Broken(line, str(error)) from None
        weight = 1 + len(text)
        if event.anchor is not None:
            self._named(event.anchor, value, weight)
        self._put(line, value, weight)

    def _named(self, anchor: str | None, value: Any, weight: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, weight)

    def _alias(self, event: Any) -> None:
        line = self._line + event.start_mark.line
        if event.anchor not in self._anchors:
            raise Broken(line, "found an alias without its anchor")
        target = self._anchors[event.anchor]
        if target is None:
            raise Broken(line, "found an alias within what it stands for")
        value, weight = target
        self._expanded += weight
        if self._expanded > MAX_EXPANDED:
            raise Broken(line, f"too large: its aliases stand for more than {MAX_EXPANDED} characters")
        self._put(line, value, weight)

    def _put(self, line: int, value: Any, weight: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Broken(line, f"too large: more than {MAX_NODES} nodes")
        if not self._open:
            self.roots.append((line, value))
            return
        holder = self._open[-1]
        holder.weight += weight
        key = holder.key
        if key is None:
            holder.value.append(value)  # type: ignore[union-attr]
        elif key is _NO_KEY:
            holder.key = _unwritten(holder, value if type(value) is str else _key(value, line), line)
        elif key is _MERGE:
            _merge(holder.value, value, line)  # type: ignore[arg-type]
            holder.key = _NO_KEY
        else:
            holder.value[key] = value
            holder.key = _NO_KEY


def _is_merge(event: Any) -> bool:
    return event.tag == f"{_TAG}merge" or (event.tag is None and not event.style and event.value == "<<")


def _value(event: Any) -> Any:
    """Return what a scalar says. Raises ValueError, which does not repeat it: it may be a secret."""
    tag, text = event.tag, event.value
    if tag is None:
        return text if event.style else resolve(text)
    name = tag.removeprefix(_TAG)
    if name == tag or name not in _TAGGED:
        return text
    if name == "binary":
        return _binary(text)
    value = resolve(text)
    if name == "float" and type(value) is int:
        return float(value)
    if type(value) is not _TAGGED[name]:
        raise ValueError(f"found a value that is none, expected what its tag !!{name} says")
    return value


_TAGGED: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None), "binary": bytes}


def _binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
    except binascii.Error:
        raise ValueError("found a value that is not base64, expected what its tag !!binary says") from None


def _key(value: Any, line: int) -> str:
    """Return a key as a text, as JSON needs it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in _INT64:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        short = format(value, ".6g")  # kubectl's own form, for up to six digits
        if float(short) == value:
            return short
    raise Broken(line, "found a key that is no text, expected quotes around it")


def _unwritten(holder: _Open, key: str, line: int) -> str:
    if key in holder.written:
        raise Broken(line, f"the key {key[:80]!r} stands in line {holder.written[key]} already")
    holder.written[key] = line
    return key


def _merge(into: dict[str, Any], value: Any, line: int) -> None:
    """Take over what `<<` names, over what stands before it; of several the first wins, as with kubectl."""
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in several):
        raise Broken(line, "found something else than mappings to merge")
    for one in reversed(several):
        into.update(one)
