"""What annotations and options say about how an object is synced. The words are those of Argo CD and of Helm.

An option of an application holds for all of its objects; the annotation of an object beats it, name by name. A word
that nobody knows is a ValueError that names it: an option that is silently ignored may be the one that protects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from updater.model.resource import Key, Resource
from updater.model.sync import Phase, Stage

OPTIONS = "argocd.argoproj.io/sync-options"
COMPARE = "argocd.argoproj.io/compare-options"
WAVE = "argocd.argoproj.io/sync-wave"
HOOK = "argocd.argoproj.io/hook"
HOOK_DELETE = "argocd.argoproj.io/hook-delete-policy"
HELM_WEIGHT = "helm.sh/hook-weight"
HELM_HOOK = "helm.sh/hook"
HELM_HOOK_DELETE = "helm.sh/hook-delete-policy"
HELM_KEEP = "helm.sh/resource-policy"
CONFLICTS = "updater.dev/conflicts"  # force, fail or yield: what to do about fields that others own
TAKE_OVER = "updater.dev/take-over"  # true: take an object that belongs to another application

_BOOLEAN = ("true", "false")
_CONFIRMED = ("true", "false", "confirm")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "ApplyOutOfSyncOnly": _BOOLEAN,
    "CreateNamespace": _BOOLEAN,
    "Delete": _CONFIRMED,
    "FailOnSharedResource": _BOOLEAN,
    "Force": _BOOLEAN,
    "Prune": _CONFIRMED,
    "PruneLast": _BOOLEAN,
    "PrunePropagationPolicy": ("foreground", "background", "orphan"),
    "Replace": _BOOLEAN,
    "RespectIgnoreDifferences": _BOOLEAN,
    "ServerSideApply": ("true",),  # the only way of applying that there is here
    "SkipDryRunOnMissingResource": _BOOLEAN,
    "Validate": _BOOLEAN,
}
_KEPT = {"Prune": "false", "Delete": "false"}
_STAGES: Mapping[str, Stage | None] = {
    **{stage.value: stage for stage in Stage},
    **dict.fromkeys(("PreDelete", "PostDelete", "Skip")),  # no stage of a sync
}
_HELM_STAGES: Mapping[str, Stage | None] = {
    "pre-install": Stage.PRE_SYNC,
    "pre-upgrade": Stage.PRE_SYNC,
    "post-install": Stage.POST_SYNC,
    "post-upgrade": Stage.POST_SYNC,
    **dict.fromkeys(("pre-delete", "post-delete", "pre-rollback", "post-rollback")),
    **dict.fromkeys(("test", "test-success", "test-failure", "crd-install")),
}
_DELETES = {"HookSucceeded": "succeeded", "HookFailed": "failed", "BeforeHookCreation": "before"}
_HELM_DELETES = {"hook-succeeded": "succeeded", "hook-failed": "failed", "before-hook-creation": "before"}
_AFTER = {"succeeded": frozenset({Phase.SUCCEEDED}), "failed": frozenset({Phase.FAILED, Phase.ERROR})}
_WHOLE = re.compile("[+-]?[0-9]{1,9}")

T = TypeVar("T")


class Conflicts(StrEnum):
    """What is done about fields that others own: take them, stop, or leave them to their owners."""

    FORCE = "force"
    FAIL = "fail"
    YIELD = "yield"


@dataclass(frozen=True, slots=True)
class Options:
    """How one object is synced. `prune` and `delete` are true, false or confirm.

    fail_on_shared  refuse an object that belongs to another application; on unless it is switched off
    propagation     what a deletion does with dependants: foreground, background or orphan
    """

    prune: str = "true"
    delete: str = "true"
    replace: bool = False
    force: bool = False
    validate: bool = True
    skip_missing_kind: bool = False
    prune_last: bool = False
    respect_ignored: bool = False
    create_namespace: bool = False
    out_of_sync_only: bool = False
    fail_on_shared: bool = True
    propagation: str = "foreground"
    conflicts: Conflicts = Conflicts.FORCE
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """When a hook runs and when it is removed. Without stages it is never part of a sync."""

    stages: tuple[Stage, ...]
    delete_before: bool
    delete_after: frozenset[Phase]


def said(words: Iterable[str]) -> dict[str, str]:
    """Read sync options, `Name=value` each. Raises ValueError that names the one that is wrong."""
    found: dict[str, str] = {}
    for word in filter(None, map(str.strip, words)):
        name, _, value = word.partition("=")
        if name not in _VALUES:
            raise ValueError(f"unknown sync option {word[:80]!r}; expected one of {', '.join(_VALUES)}")
        if value not in _VALUES[name]:
            raise ValueError(f"found sync option {word[:80]!r}, expected {name}={'|'.join(_VALUES[name])}")
        found[name] = value
    return found


def options(resource: Resource, application: Iterable[str] = ()) -> Options:
    """Return how an object is synced, its own annotations over the options of its application."""
    annotations = resource.annotations
    try:
        return _options(*(_text(annotations, name) for name in _OF_OPTIONS), tuple(application))
    except ValueError as err:
        raise ValueError(f"{resource.key}: {err}") from None


def wave(resource: Resource) -> int:
    """Return the wave of an object: its annotation, else the weight that Helm gives it, else 0."""
    for name in (WAVE, HELM_WEIGHT):
        if name in resource.annotations:
            return _whole(resource.key, name, resource.annotations[name])
    return 0


def hook(resource: Resource) -> Hook | None:
    """Return when an object runs as a hook; None where it is none. Argo CD's annotation beats that of Helm.

    Helm's crd-install marks an ordinary object. The hooks of a rollback, of a deletion, and its tests run in no sync.
    """
    annotations = resource.annotations
    try:
        if HOOK in annotations:
            stages = _hook_stages(annotations, HOOK, _STAGES)
        elif annotations.get(HELM_HOOK, "crd-install") != "crd-install":
            stages = _hook_stages(annotations, HELM_HOOK, _HELM_STAGES)
        else:
            return None
        deletes = _words(annotations, HOOK_DELETE, _DELETES) or _words(annotations, HELM_HOOK_DELETE, _HELM_DELETES)
    except ValueError as err:
        raise ValueError(f"{resource.key}: {err}") from None
    after = frozenset().union(*(_AFTER.get(policy, frozenset()) for policy in deletes))
    in_order = tuple(stage for stage in Stage if stage in stages)
    return Hook(in_order, "before" in deletes or not deletes, after)


def extraneous_is_fine(resource: Resource) -> bool:
    """Whether an object that Git no longer has leaves its application in sync."""
    return "IgnoreExtraneous" in map(str.strip, str(resource.annotations.get(COMPARE, "")).split(","))


_OF_OPTIONS = (HELM_KEEP, OPTIONS, CONFLICTS, TAKE_OVER)  # in the order in which `_options` takes them


@lru_cache(maxsize=64)  # hardly an object has any of its own
def _options(keep: str, own: str, conflicts: str, take_over: str, application: tuple[str, ...]) -> Options:
    kept = _KEPT if keep == "keep" else {}
    found = {**said(application), **kept, **said(own.split(","))}
    return Options(
        prune=found.get("Prune", "true"),
        delete=found.get("Delete", "true"),
        replace=found.get("Replace") == "true",
        force=found.get("Force") == "true",
        validate=found.get("Validate", "true") == "true",
        skip_missing_kind=found.get("SkipDryRunOnMissingResource") == "true",
        prune_last=found.get("PruneLast") == "true",
        respect_ignored=found.get("RespectIgnoreDifferences") == "true",
        create_namespace=found.get("CreateNamespace") == "true",
        out_of_sync_only=found.get("ApplyOutOfSyncOnly") == "true",
        fail_on_shared=found.get("FailOnSharedResource", "true") == "true",
        propagation=found.get("PrunePropagationPolicy", "foreground"),
        conflicts=Conflicts(_one_of(CONFLICTS, conflicts or Conflicts.FORCE, tuple(Conflicts))),
        take_over=_one_of(TAKE_OVER, take_over or "false", _BOOLEAN) == "true",
    )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"found {value[:80]!r} in {name}, expected one of {', '.join(known)}")
    return value


def _hook_stages(annotations: Mapping[str, str], name: str, known: Mapping[str, Stage | None]) -> set[Stage | None]:
    stages = _words(annotations, name, known)
    if not stages:
        raise ValueError(f"found nothing in {name}, expected some of {', '.join(known)}")
    return stages


def _words(annotations: Mapping[str, str], name: str, known: Mapping[str, T]) -> set[T]:
    words = set(filter(None, map(str.strip, _text(annotations, name).split(","))))
    if unknown := sorted(words - known.keys()):
        raise ValueError(f"found {unknown[0][:80]!r} in {name}, expected some of {', '.join(known)}")
    return {known[word] for word in words}


def _whole(key: Key, name: str, text: object) -> int:
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(f"{key}: found {str(text)[:80]!r} in {name}, expected a whole number")
    return int(text)


def _text(annotations: Mapping[str, str], name: str) -> str:
    found = annotations.get(name, "")
    if not isinstance(found, str):
        raise ValueError(f"found {type(found).__name__} in {name}, expected a text")  # noqa: TRY004 - from outside
    return found
