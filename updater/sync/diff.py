"""What an apply would change: the live object beside the answer to a dry run of it.

The API server fills in defaults, brings quantities into its own form and knows which lists have keys, so that two of
its own answers are compared, and what is different is different. Values of Secrets are compared, and never kept: a
keyed hash stands for each of them.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import unified_diff
from itertools import islice
from typing import Any

import yaml

from updater.model.application import Ignored
from updater.model.resource import Key
from updater.model.sync import Difference, Verdict
from updater.sync.ignore import ignored_fields, strip
from updater.sync.inventory import PART_OF, TRACKING
from updater.sync.managed import Item, Path, Tree, owners, spelled

MAX_FIELDS = 100  # of one object; more say nothing that these do not
MAX_LINES = 1_000  # of one printed difference
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # a whole object again, Secrets in the clear

_NOT_COMPARED = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}  # the server's own
)
_MARKS = {"labels": PART_OF, "annotations": TRACKING}
_OURS = {"labels": {PART_OF}, "annotations": {TRACKING, LAST_APPLIED}}
_HASHED = re.compile(r"hidden:[0-9a-f]{16}")
_KEY_FIELDS = ("name", "mountPath", "containerPort", "port", "key", "type", "ip", "devicePath", "topologyKey")


def compare(
    key: Key,
    live: Mapping[str, Any] | None,
    predicted: Mapping[str, Any] | None,
    ignored: Iterable[Ignored] = (),
    *,
    secret_key: bytes,
) -> Difference:
    """Compare an object in the cluster with what it would become; None where there is none.

    `secret_key` is for the hashes of Secrets; with the same one, the same value has the same hash in the same place.
    Raises ValueError of a JSON pointer that is none.
    """
    fields = ignored_fields(key, live, ignored)
    before = _compared(key, live, fields, secret_key)
    after = before if predicted is live else _compared(key, predicted, fields, secret_key)
    if before is None or after is None:
        verdict = Verdict.UNKNOWN if before is after else Verdict.EXTRA if after is None else Verdict.MISSING
        return Difference(key, verdict, before=before, after=after)
    if before == after:
        return Difference(key, Verdict.SAME, before=before, after=after)
    changed = list(islice(_changes(before, after), MAX_FIELDS + 1))
    why = f"only the first {MAX_FIELDS} fields are named" if len(changed) > MAX_FIELDS else ""
    named = tuple((spelled(path), ", ".join(owners(live or {}, path))) for path in changed[:MAX_FIELDS])
    return Difference(key, Verdict.CHANGED, named, before, after, why)


def respect(
    manifest: Mapping[str, Any], key: Key, live: Mapping[str, Any] | None, ignored: Iterable[Ignored]
) -> Mapping[str, Any]:
    """Return a manifest as it is applied under RespectIgnoreDifferences: without the fields that do not count.

    An object that is not there yet gets all of them.
    """
    return manifest if live is None else without(manifest, ignored_fields(key, live, ignored))


def without(manifest: Mapping[str, Any], fields: Tree) -> Mapping[str, Any]:
    """Return a manifest without some fields; what names the object always stays, and so do the marks of its set."""
    left, metadata = strip(manifest, fields), manifest["metadata"]
    rest = dict(left.get("metadata", {}))
    for name, ours in _MARKS.items():
        marks = {mark: text for mark, text in (metadata.get(name) or {}).items() if mark == ours}
        if marks:
            rest[name] = {**(rest.get(name) or {}), **marks}
    named = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
    kept = {name: manifest[name] for name in ("apiVersion", "kind")}
    return {**kept, **left, **kept, "metadata": {**rest, **named}}


def unified(difference: Difference) -> str:
    """Return a difference as people read it, in YAML; empty where there is none. Secrets show hashes."""
    before, after = (_dumped(side) for side in (difference.before, difference.after))
    lines = list(
        unified_diff(before, after, f"{difference.key} in the cluster", f"{difference.key} in Git", lineterm="")
    )
    more = len(lines) - MAX_LINES
    return "\n".join([*lines[:MAX_LINES], f"... {more} more lines"] if more > 0 else lines)


def _compared(key: Key, manifest: Mapping[str, Any] | None, fields: Mapping[str, Any], secret_key: bytes) -> Any:
    """Return what of an object is compared."""
    if manifest is None:
        return None
    found = {name: value for name, value in strip(manifest, fields).items() if name != "status"}
    if isinstance(metadata := found.get("metadata"), Mapping):
        found["metadata"] = dict(_metadata(metadata))
    return hidden(key, found, secret_key) if (key.group, key.kind) == ("", "Secret") else found


def _metadata(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in metadata.items():
        ours = _OURS.get(name, set())
        if name in _NOT_COMPARED:
            continue
        if not ours or not isinstance(value, Mapping):
            yield name, value
        elif rest := {key: inner for key, inner in value.items() if key not in ours}:
            yield name, rest


def hidden(key: Key, manifest: Mapping[str, Any], secret_key: bytes) -> dict[str, Any]:
    """Return a Secret with hashes for values; one that has them already stays as it is.

    `stringData` is what the server makes `data` of. What kubectl noted as last applied holds the values too, and goes.
    """
    found, data = dict(manifest), dict[str, str]()
    for where, decode in (("data", _decoded), ("stringData", str.encode)):
        values = found.pop(where, None)
        for name, value in values.items() if isinstance(values, Mapping) else [("", values)] if values else []:
            data[str(name)] = _hash(f"{key}\0{name}\0", value, decode, secret_key)
    metadata = found.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if isinstance(metadata, Mapping) and isinstance(annotations, Mapping) and LAST_APPLIED in annotations:
        kept = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
        found["metadata"] = {**metadata, "annotations": kept}
    return {**found, "data": data} if data else found


def _hash(told: str, value: Any, decode: Callable[[str], bytes], secret_key: bytes) -> str:
    if isinstance(value, str) and _HASHED.fullmatch(value):
        return value  # no base64 has a colon
    raw = decode(value) if isinstance(value, str) else json.dumps(value, default=str).encode()
    return f"hidden:{hmac.new(secret_key, told.encode() + raw, hashlib.sha256).hexdigest()[:16]}"


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _changes(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths that differ, each the shortest one that holds its whole difference."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            if name in before and name in after:
                yield from _changes(before[name], after[name], (*path, str(name)))
            else:
                yield (*path, str(name))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _changed_entries(before, after, path)
    else:
        yield path


def _changed_entries(before: list[Any], after: list[Any], path: Path) -> Iterator[Path]:
    name = _key_field(before, after)
    if name is None:
        yield from _changed_places(before, after, path)
        return
    old, new = ({entry[name]: entry for entry in entries} for entries in (before, after))
    if list(old) != list(new) and old == new:
        yield path  # only their order
    for value in [*old, *(value for value in new if value not in old)]:
        step = Item(((name, json.dumps(value, ensure_ascii=False)),), old.get(value, new.get(value)) or {})
        if value in old and value in new:
            yield from _changes(old[value], new[value], (*path, step))
        else:
            yield (*path, step)


def _changed_places(before: list[Any], after: list[Any], path: Path) -> Iterator[Path]:
    """Yield what differs in lists without keys: entries, where there are as many of them, else the list."""
    if len(before) != len(after) or not all(isinstance(entry, Mapping | list) for entry in [*before, *after]):
        yield path
        return
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        yield from _changes(old, new, (*path, at))


def _key_field(before: list[Any], after: list[Any]) -> str | None:
    """Return the field that tells the entries of both lists apart, None where there is no such field."""
    for name in _KEY_FIELDS:
        if all(_is_key(entries, name) for entries in (before, after)):
            return name
    return None


def _is_key(entries: list[Any], name: str) -> bool:
    values = [entry.get(name) if isinstance(entry, Mapping) else None for entry in entries]
    return all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dumped(side: Any) -> list[str]:
    if side is None:
        return []
    return yaml.dump(_plain(side), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4_096).splitlines()


def _plain(value: Any) -> Any:
    """Return a value as the dumper takes it, whatever kinds of mappings it is made of; nothing is shared in it."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
