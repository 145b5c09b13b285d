"""What is removed because Git no longer has it, and what never is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from updater.model.application import SyncPolicy
from updater.model.resource import Key, Resource
from updater.sync.inventory import copied, set_of
from updater.sync.options import OPTIONS, hook, options, said

# To lose one of these loses what is in it. Each goes only where its own annotation in the cluster says `Prune=true`.
PROTECTED = frozenset(
    {
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("", "PersistentVolumeClaim"),
    }
)
_ASKED = {"false": "Prune=false", "confirm": "Prune=confirm, and confirming is not supported yet"}
EVERYTHING = "it would remove everything that the application has, and allowEmpty is off"


@dataclass(frozen=True, slots=True)
class Pruning:
    """What may be removed, and what is kept with why; `refused` says why nothing is removed at all."""

    allowed: tuple[Key, ...] = ()
    kept: tuple[tuple[Key, str], ...] = ()
    refused: str = ""


def prune(
    inventory: Iterable[Key],
    desired: Iterable[Resource],
    live: Mapping[Key, Resource],
    policy: SyncPolicy,
    set_id: str,
) -> Pruning:
    """Say what of an inventory may go. `live` holds those of its objects that are still in the cluster.

    `set_id` is that of the application: what carries another one, or none, is not ours any more.
    """
    wanted = [resource for resource in desired if hook(resource) is None]
    gone = sorted((frozenset(inventory) - {resource.key for resource in wanted}) & live.keys())
    automated = policy.automated
    if gone and not wanted and not (automated and automated.allow_empty):
        return Pruning(kept=tuple((key, EVERYTHING) for key in gone), refused=EVERYTHING)
    if automated is None or not automated.prune:
        return Pruning(kept=tuple((key, "pruning is off") for key in gone))
    members = {(key.group, key.kind, key.name) for key in inventory}
    why = {key: _why_kept(live[key], policy, set_id, members) for key in gone}
    return Pruning(
        allowed=tuple(key for key in gone if not why[key]),
        kept=tuple((key, why[key]) for key in gone if why[key]),
    )


def _why_kept(live: Resource, policy: SyncPolicy, set_id: str, members: set[tuple[str, str, str]]) -> str:
    """Return the first protection of a live object, empty where it has none."""
    try:
        return next(filter(None, (rule(live, policy, set_id, members) for rule in _RULES)), "")
    except ValueError as err:  # its annotations were changed in the cluster
        return str(err)


def _foreign(live: Resource, _policy: SyncPolicy, set_id: str, _members: object) -> str:
    found = set_of(live)
    if found == set_id:
        return "it is a copy of another object" if copied(live) else ""
    return f"it belongs to {found[:80]}" if found else "it does not carry our label any more"


def _owned(live: Resource, _policy: SyncPolicy, _set_id: str, members: set[tuple[str, str, str]]) -> str:
    """An object with an owner goes with it. Where the owner is a member, both may go."""
    metadata = live.manifest.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    for owner in owners if isinstance(owners, list) else ():
        group_kind_name = _owner(owner)
        if group_kind_name not in members:
            return f"it is owned by {group_kind_name[1]} {group_kind_name[2]}"
    return ""


def _owner(owner: Any) -> tuple[str, str, str]:
    if not isinstance(owner, Mapping):
        return "", "something", "unreadable"
    return str(owner.get("apiVersion", "")).rpartition("/")[0], str(owner.get("kind")), str(owner.get("name"))


def _a_hook(live: Resource, _policy: SyncPolicy, _set_id: str, _members: object) -> str:
    return "" if hook(live) is None else "it is a hook"


def _asked(live: Resource, policy: SyncPolicy, _set_id: str, _members: object) -> str:
    return _ASKED.get(options(live, policy.options).prune, "")


def _protected(live: Resource, _policy: SyncPolicy, _set_id: str, _members: object) -> str:
    explicit = said(str(live.annotations.get(OPTIONS, "")).split(",")).get("Prune") == "true"
    if (live.key.group, live.key.kind) not in PROTECTED or explicit:
        return ""
    return f"a {live.key.kind} is removed only where its own annotation says Prune=true"


_Rule = Callable[[Resource, SyncPolicy, str, set[tuple[str, str, str]]], str]
_RULES: tuple[_Rule, ...] = (_foreign, _owned, _a_hook, _asked, _protected)
