"""The `managedFields` of an object: what an apply or another write does to the entries of every manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from updater.demo.cluster import ownership
from updater.demo.cluster.failures import ApiError
from updater.demo.cluster.ownership import Fields
from updater.demo.cluster.schemas import Json, Node

APPLY, UPDATE = "Apply", "Update"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the manager's name, how, with which version of the kind, and to which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def is_of(self, entry: Json) -> bool:
        """Whether an entry is this writer's; an applier's is, whatever version it used."""
        same = entry.get("manager", "") == self.name and entry.get("operation") == self.operation
        same = same and entry.get("subresource", "") == self.subresource
        return same and (self.operation == APPLY or entry.get("apiVersion") == self.api_version)

    def entry(self, fields: Fields, at: str) -> Json:
        """Return the entry with its keys in the order of the real one."""
        entry: Json = {
            "manager": self.name, "operation": self.operation, "apiVersion": self.api_version, "time": at,
            "fieldsType": "FieldsV1", "fieldsV1": ownership.ordered(fields),
        }  # fmt: skip
        return entry | {"subresource": self.subresource} if self.subresource else entry


def entries_of(obj: Json) -> list[Json]:
    """Return the entries of an object."""
    found: list[Json] = obj["metadata"].get("managedFields") or []
    return found


def applied(live: Json | None, config: Json, node: Node, writer: Writer, at: str, *, force: bool) -> Json:
    """Return the object after an apply, its `managedFields` included; `live` is None where it is new.

    Raises ApiError 409 with every conflict, and ShapeError.
    """
    sent = ownership.fields_of(config, node)
    fields = ownership.stripped(sent)
    if live is None:
        return _with(config, [writer.entry(fields, at)])
    mine = next((entry for entry in entries_of(live) if writer.is_of(entry)), None)
    others = [entry for entry in entries_of(live) if entry is not mine]
    result = ownership.merged(live, config, node)
    if mine is not None and mine["fieldsV1"] != fields:
        result = _pruned(result, mine["fieldsV1"], sent, others, node)
    changed, gone = ownership.compared(live, result, node)
    if changed:
        others = _taken(others, changed, force=force)
    if gone:
        others = _lessened(others, gone)
    same = mine is not None and mine["fieldsV1"] == fields and mine["apiVersion"] == writer.api_version
    if mine is None or not same or changed or gone:
        mine = writer.entry(fields, at)
    return _with(result, _ordered([mine, *others]))


def _pruned(value: Any, last: Fields, sent: Fields, others: list[Json], node: Node) -> Any:
    """Return a value without what this applier no longer sends and nobody else owns."""
    gone = ownership.difference(last, sent)
    if not gone:
        return value
    kept = sent
    for entry in others:
        kept = ownership.union(kept, entry["fieldsV1"])
    return ownership.without(value, gone, kept, node)


def _taken(others: list[Json], changed: Fields, *, force: bool) -> list[Json]:
    """Return the other entries without what is taken from them. Raises ApiError 409 without `force`."""
    contested = [(entry, ownership.intersection(entry["fieldsV1"], changed)) for entry in others]
    if not force and any(fields for _, fields in contested):
        raise _conflict([(entry, fields) for entry, fields in contested if fields])
    return _lessened(others, changed)


def _lessened(others: list[Json], gone: Fields) -> list[Json]:
    left = [(entry, ownership.difference(entry["fieldsV1"], gone)) for entry in others]
    return [entry if fields == entry["fieldsV1"] else entry | {"fieldsV1": fields} for entry, fields in left if fields]


def _conflict(contested: list[tuple[Json, Fields]]) -> ApiError:
    by_manager: dict[str, list[str]] = {}
    for entry, fields in contested:
        by_manager.setdefault(_named(entry), []).extend(ownership.paths(fields))
    every = [(manager, path) for manager, found in by_manager.items() for path in found]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in every
    ]
    if len(every) == 1:
        message = f"Apply failed with 1 conflict: conflict with {every[0][0]}: {every[0][1]}"
    else:
        lines = [
            line for manager in sorted(by_manager)
            for line in (f"conflicts with {manager}:", *(f"- {path}" for path in by_manager[manager]))
        ]  # fmt: skip
        message = f"Apply failed with {len(every)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _named(entry: Json) -> str:
    """Return `"kubectl" using apps/v1`; of an applier only the name."""
    name = f'"{entry.get("manager", "")}"'
    if subresource := entry.get("subresource"):
        name += f' with subresource "{subresource}"'
    return f"{name} using {entry['apiVersion']}" if entry["operation"] == UPDATE else name


def updated(live: Json | None, new: Json, node: Node, writer: Writer, at: str) -> Json:
    """Return the object after a write that is no apply: the writer owns what it changed, nobody what is gone.

    `managedFields` of `new` are taken as the client's wish: an empty list clears them, others replace the live ones.
    """
    entries = _wished(live, new)
    before = live or {"metadata": {}}
    changed, gone = ownership.compared(_bare(before), _bare(new), node)
    changed, gone = ownership.stripped(changed or {}), gone or {}
    mine = next((entry for entry in entries if writer.is_of(entry)), None)
    others = [entry for entry in entries if entry is not mine]
    if changed or gone:
        others = _lessened(others, ownership.union(changed, gone))
    owned = mine["fieldsV1"] if mine else {}
    fields = ownership.union(ownership.difference(owned, gone), changed)
    if mine is None or fields != owned:
        mine = writer.entry(fields, at)
    return _with(new, _ordered([*others, *([mine] if fields else [])]))


def same_but_times(one: Json, other: Json) -> bool:
    """Whether two objects differ at most in when somebody wrote."""
    if one == other:
        return True
    if _bare(one) != _bare(other):
        return False
    first, second = ([entry | {"time": ""} for entry in entries_of(obj)] for obj in (one, other))
    return sorted(first, key=str) == sorted(second, key=str)


def _wished(live: Json | None, new: Json) -> list[Json]:
    wish = new["metadata"].get("managedFields")
    if wish is None:
        return entries_of(live) if live else []
    return [] if wish == [{}] else [entry for entry in wish if entry.get("fieldsV1") is not None]


def _bare(obj: Json) -> Json:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return obj | {"metadata": meta}


def _ordered(entries: list[Json]) -> list[Json]:
    return sorted(entries, key=lambda entry: (entry["operation"], entry.get("time", ""), entry.get("manager", "")))


def _with(obj: Json, entries: list[Json]) -> Json:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if entries:
        meta["managedFields"] = entries
    return obj | {"metadata": meta}
