"""In which order a sync does what it does.

    stage       PreSync, Sync, PostSync; SyncFail, where one before it failed
    wave        the lower first
    prune       what goes goes after everything of its stage was applied: nothing is lost to a sync that fails
    kind        what others need first: namespaces, accounts, configuration, workloads, ways in, custom resources
    name        so that the order is the same every time

What is removed goes the other way round: the last wave first, and in a wave, the last kind first.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from types import MappingProxyType

from updater.model.application import SyncPolicy
from updater.model.resource import Key, Resource
from updater.model.sync import Action, Stage, SyncTask
from updater.sync.options import Hook, hook, options, wave

_RBAC = "rbac.authorization.k8s.io"
_KINDS: tuple[tuple[str, str], ...] = (
    ("", "Namespace"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("policy", "PodSecurityPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("storage.k8s.io", "StorageClass"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "Ingress"),
    ("apiregistration.k8s.io", "APIService"),
)
_RANKS: Mapping[tuple[str, str], int] = {kind: rank for rank, kind in enumerate(_KINDS)}
_STAGES = list(Stage)
_NAMESPACE = ("", "Namespace")
_CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")
_NOTHING: Mapping[Key, Resource] = MappingProxyType({})


def plan(
    desired: Iterable[Resource],
    extra: Iterable[Key] = (),
    *,
    policy: SyncPolicy,
    revision: str,
    now: datetime,
    live: Mapping[Key, Resource] = _NOTHING,
    only: Container[Key] | None = None,
) -> tuple[SyncTask, ...]:
    """Return the tasks of a sync in the order of their execution; of two with the same key the last counts.

    extra  what may be removed, see `prune`; `live` holds these objects, for their waves
    only   a sync of these objects alone, without hooks
    now    when the sync starts, aware; it and the revision are in the names of hooks that have a generateName

    Raises ValueError that names the object and what is wrong with its annotations or its name.
    """
    tasks: list[SyncTask] = []
    for resource in {resource.key: resource for resource in desired}.values():
        found = hook(resource)
        if found is not None:
            tasks += [] if only is not None else _hooks(resource, found, revision, now)
        elif only is None or resource.key in only:
            tasks.append(_applied(resource, policy))
    tasks = _pulled(tasks)
    tasks += _removed([key for key in sorted(set(extra)) if only is None or key in only], live, policy, tasks)
    return tuple(sorted(tasks, key=_place))


def steps(tasks: Iterable[SyncTask]) -> list[list[SyncTask]]:
    """Group tasks that are in order into what may be done at the same time."""
    return [list(group) for _, group in groupby(tasks, key=lambda task: _place(task)[:4])]


def rank(key: Key) -> int:
    """Return where a kind stands; those that nobody knows, mostly custom resources, are the last."""
    return _RANKS.get((key.group, key.kind), len(_KINDS))


def _place(task: SyncTask) -> tuple[int, int, int, int, Key]:
    removes = task.action is Action.PRUNE
    kind = rank(task.key)
    return _STAGES.index(task.stage), task.wave, 1 if removes else 0, -kind if removes else kind, task.key


def _applied(resource: Resource, policy: SyncPolicy) -> SyncTask:
    metadata = resource.manifest["metadata"]
    if not metadata.get("name"):
        raise ValueError(f"{resource.key}: found only a generateName, expected metadata.name; only a hook may lack it")
    action = Action.REPLACE if options(resource, policy.options).replace else Action.APPLY
    return SyncTask(action, Stage.SYNC, wave(resource), resource.key, resource)


def _hooks(resource: Resource, found: Hook, revision: str, now: datetime) -> list[SyncTask]:
    options(resource)  # what is wrong with them is said before anything is done
    made = not resource.manifest["metadata"].get("name")
    return [
        SyncTask(
            Action.HOOK,
            stage,
            wave(resource),
            (named := _named(resource, stage, revision, now) if made else resource).key,
            named,
            delete_before=found.delete_before and not made,  # a new name every time: nothing is in the way
            delete_after=found.delete_after,
        )
        for stage in found.stages
    ]


def _named(resource: Resource, stage: Stage, revision: str, now: datetime) -> Resource:
    """Return a hook under a name of its own, that is the same when the same sync is tried again."""
    name = f"{resource.key.name}{revision[:7]}-{stage}-{int(now.timestamp())}".lower()
    metadata = {key: value for key, value in resource.manifest["metadata"].items() if key != "generateName"}
    manifest = {**resource.manifest, "metadata": {**metadata, "name": name}}
    return replace(resource, key=replace(resource.key, name=name), manifest=manifest)


def _pulled(tasks: list[SyncTask]) -> list[SyncTask]:
    """Pull namespaces and kinds in front of what needs them."""
    earliest: dict[tuple[str, ...], tuple[int, int]] = {}
    for task in tasks:
        at = _STAGES.index(task.stage), task.wave
        for needed in ((task.key.namespace,), (task.key.group, task.key.kind)):
            earliest[needed] = min(at, earliest.get(needed, at))
    return [_in_front(task, earliest) for task in tasks]


def _in_front(task: SyncTask, earliest: Mapping[tuple[str, ...], tuple[int, int]]) -> SyncTask:
    at = _STAGES.index(task.stage), task.wave
    stage, first = min(at, earliest.get(_brings(task), at))
    return task if task.action is Action.HOOK else replace(task, stage=_STAGES[stage], wave=first)


def _brings(task: SyncTask) -> tuple[str, ...]:
    """Return what others may need of an object: the namespace, or the group and kind, that it makes."""
    kind = task.key.group, task.key.kind
    if kind == _NAMESPACE:
        return (task.key.name,)
    if kind != _CRD or task.resource is None:
        return ()
    spec = task.resource.manifest.get("spec")
    names = spec.get("names") if isinstance(spec, Mapping) else None
    return (str(spec.get("group")), str(names.get("kind"))) if spec and isinstance(names, Mapping) else ()


def _removed(
    keys: list[Key], live: Mapping[Key, Resource], policy: SyncPolicy, others: Iterable[SyncTask]
) -> list[SyncTask]:
    """Return the tasks that remove: their waves are after all others, those of the objects mirrored.

    PruneLast is the last of them.
    """
    waves = {key: _old_wave(live.get(key)) for key in keys}
    applied = max((task.wave for task in others if task.stage is Stage.SYNC), default=0)
    mirrored = {old: applied + at for at, old in enumerate(sorted(set(waves.values()), reverse=True), 1)}
    final = applied + len(mirrored) + 1
    return [
        SyncTask(Action.PRUNE, Stage.SYNC, final if is_last(live.get(key), policy) else mirrored[waves[key]], key)
        for key in keys
    ]


def _old_wave(live: Resource | None) -> int:
    with suppress(ValueError):  # someone changed it in the cluster; it goes all the same
        return wave(live) if live else 0
    return 0


def is_last(live: Resource | None, policy: SyncPolicy) -> bool:
    """Whether an object goes only when everything else of its application is there, and healthy."""
    with suppress(ValueError):
        return live is not None and options(live, policy.options).prune_last
    return False
