"""In which order a sync does what it does, and what may be done at the same time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sync.objects import crd, made
from updater.model.application import SyncPolicy
from updater.model.resource import Resource
from updater.model.sync import Action, Phase, Stage, SyncTask
from updater.sync.order import plan, steps

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
REVISION = "0123456789abcdef"


def planned(desired: Sequence[Resource], extra: Sequence[Resource] = (), options: Any = (), **more: Any) -> Any:
    live = {resource.key: resource for resource in extra}
    policy = SyncPolicy(options=frozenset(options))
    return plan(desired, live, policy=policy, revision=REVISION, now=NOW, live=live, **more)


def told(tasks: Sequence[SyncTask]) -> list[str]:
    """Name tasks by what is unusual about them: `prune a`, `PreSync b`, `c@3`."""
    return [
        f"{'prune ' if task.action is Action.PRUNE else ''}"
        f"{'' if task.stage is Stage.SYNC else f'{task.stage} '}{task.key.name}{f'@{task.wave}' if task.wave else ''}"
        for task in tasks
    ]


D, C = "Deployment", "ConfigMap"
ORDERS: dict[str, tuple[list[Resource], list[Resource], list[str]]] = {
    "by kind": (
        [made(D, "web"), made("Widget", "custom"), made("Service", "svc"), made(C, "conf"), made("Namespace", "shop")],
        [],
        ["shop", "conf", "svc", "web", "custom"],
    ),
    "by name within a kind": ([made(C, "b"), made(C, "a", "zoo"), made(C, "a")], [], ["a", "b", "a"]),
    "waves before kinds": ([made(D, "web", sync_wave="-1"), made(C, "conf")], [], ["web@-1", "conf"]),
    "stages before waves": (
        [
            made("Job", "after", hook="PostSync", sync_wave="-9"),
            made("Job", "before", hook="PreSync", sync_wave="9"),
            made(D, "web"),
        ],
        [],
        ["PreSync before@9", "web", "PostSync after@-9"],
    ),
    "a hook in several stages": (
        [made("Job", "h", hook="PostSync,PreSync,SyncFail")],
        [],
        ["PreSync h", "PostSync h", "SyncFail h"],
    ),
    "hooks that are never part of a sync": (
        [made("Job", "h", hook="Skip"), made("Job", "d", hook="PostDelete")],
        [],
        [],
    ),
    "a hook of stage Sync stands by its kind": (
        [made(D, "web"), made("Job", "h", hook="Sync"), made(C, "c")],
        [],
        ["c", "web", "h"],
    ),
    "a namespace is pulled before the first that is in it": (
        [made("Namespace", "shop", sync_wave="5"), made("Job", "h", hook="PreSync", sync_wave="2"), made(D, "web")],
        [],
        ["PreSync shop@2", "PreSync h@2", "web"],
    ),
    "a namespace that is early stays": (
        [made("Namespace", "shop", sync_wave="-5"), made(D, "web")],
        [],
        ["shop@-5", "web"],
    ),
    "a namespace of others is not pulled": (
        [made("Namespace", "zoo", sync_wave="5"), made(D, "web")],
        [],
        ["web", "zoo@5"],
    ),
    "a kind is pulled before its first object": (
        [crd("widgets", sync_wave="3"), made("Widget", "w", sync_wave="1"), made(D, "web")],
        [],
        ["web", "widgets@1", "w@1"],
    ),
    "a kind of another group is not pulled": (
        [crd("widgets", group="other.example.com", sync_wave="3"), made("Widget", "w")],
        [],
        ["w", "widgets@3"],
    ),
    "what goes, goes when all others are there": (
        [made(C, "new"), made(D, "late", sync_wave="2"), made("Job", "h", hook="PostSync")],
        [made(D, "old")],
        ["new", "late@2", "prune old@3", "PostSync h"],
    ),
    "what goes, goes in mirrored waves": (
        [],
        [made(C, "a", sync_wave="-1"), made(C, "b"), made(C, "c", sync_wave="7")],
        ["prune c@1", "prune b@2", "prune a@3"],
    ),
    "what goes, goes users first": ([], [made(C, "conf"), made(D, "web")], ["prune web@1", "prune conf@1"]),
    "one that asks to go last": (
        [made(D, "web", sync_wave="4")],
        [made(C, "a", sync_options="PruneLast=true"), made(C, "b")],
        ["web@4", "prune b@5", "prune a@6"],
    ),
    "a wave in the cluster that is none": ([], [made(C, "a", sync_wave="x")], ["prune a@1"]),
}


@pytest.mark.parametrize(("desired", "extra", "expected"), ORDERS.values(), ids=ORDERS)
def test_the_order_of(desired: list[Resource], extra: list[Resource], expected: list[str]) -> None:
    assert told(planned(desired, extra)) == expected


def test_the_application_may_ask_that_all_go_last() -> None:
    assert told(planned([made(D, "web")], [made(C, "a")], ["PruneLast=true"])) == ["web", "prune a@2"]


def test_same_kinds_of_a_wave_go_together_and_nothing_else_does() -> None:
    desired = [
        made(C, "a"),
        made(C, "b"),
        made(D, "web"),
        made(C, "later", sync_wave="1"),
        made("Job", "h", hook="PreSync"),
    ]
    groups = [[task.key.name for task in step] for step in steps(planned(desired, [made(C, "old")]))]
    assert groups == [["h"], ["a", "b"], ["web"], ["later"], ["old"]]


def test_a_hook_with_a_prefix_gets_a_name_of_its_own() -> None:
    hook = Resource.of(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "generateName": "migrate-",
                "namespace": "shop",
                "annotations": {"argocd.argoproj.io/hook": "PreSync"},
            },
        }
    )
    (task,) = planned([hook])
    assert task.key.name == f"migrate-0123456-presync-{int(NOW.timestamp())}"
    assert task.resource.manifest["metadata"]["name"] == task.key.name
    assert "generateName" not in task.resource.manifest["metadata"]
    assert not task.delete_before


def test_a_hook_says_when_it_is_removed() -> None:
    (task,) = planned([made("Job", "h", hook="Sync", hook_delete_policy="HookSucceeded,BeforeHookCreation")])
    assert (task.action, task.delete_before, task.delete_after) == (Action.HOOK, True, {Phase.SUCCEEDED})


def test_what_is_to_be_replaced_is() -> None:
    tasks = planned([made(C, "a", sync_options="Replace=true"), made(C, "b")])
    assert [task.action for task in tasks] == [Action.REPLACE, Action.APPLY]


def test_a_sync_of_a_few_objects_runs_no_hooks() -> None:
    desired, extra = [made(D, "web"), made(C, "conf"), made("Job", "h", hook="PreSync")], [made(C, "old")]
    chosen = {desired[1].key, desired[2].key}
    assert told(planned(desired, extra, only=chosen)) == ["conf"]
    assert told(planned(desired, extra, only={extra[0].key})) == ["prune old@1"]


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        pytest.param(made(D, "web", sync_wave="x"), "found 'x'", id="a wave"),
        pytest.param(made(D, "web", sync_options="Prone=false"), "unknown sync option 'Prone=false'", id="an option"),
        pytest.param(
            made("Job", "web", hook="Sync", sync_options="A=b"), "unknown sync option 'A=b'", id="one of a hook"
        ),
        pytest.param(
            Resource.of({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web"}}),
            "generateName",
            id="a prefix",
        ),
    ],
)
def test_nothing_is_planned_with_what_cannot_be_read(resource: Resource, named: str) -> None:
    with pytest.raises(ValueError, match="web: ") as caught:
        planned([made(C, "fine"), resource])
    assert named in str(caught.value)


def test_of_two_with_one_key_the_last_counts() -> None:
    first, last = made(C, "a", sync_wave="1"), made(C, "a", sync_wave="2")
    assert told(planned([first, last])) == ["a@2"]


OBJECTS = st.builds(
    lambda kind, name, namespace, annotations: (
        crd(name, **annotations) if kind == "CustomResourceDefinition" else made(kind, name, namespace, **annotations)
    ),
    st.sampled_from(["Namespace", "CustomResourceDefinition", "Widget", "Deployment", "ConfigMap", "Job"]),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
    st.fixed_dictionaries(
        {},
        optional={
            "sync_wave": st.integers(-3, 3).map(str),
            "hook": st.sampled_from(["PreSync", "Sync", "PostSync,SyncFail", "Skip"]),
            "sync_options": st.sampled_from(["PruneLast=true", "Replace=true"]),
        },
    ),
)
MANY = st.lists(OBJECTS, max_size=12, unique_by=lambda resource: resource.key)


@given(desired=MANY, extra=MANY, seed=st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_that_things_come_in(
    desired: list[Resource], extra: list[Resource], seed: random.Random
) -> None:
    mixed, other = list(desired), list(extra)
    seed.shuffle(mixed)
    seed.shuffle(other)
    assert planned(mixed, other) == planned(desired, extra)


@given(desired=MANY, extra=MANY)
def test_steps_hold_every_task_once_and_in_order(desired: list[Resource], extra: list[Resource]) -> None:
    tasks = planned(desired, extra)
    assert [task for step in steps(tasks) for task in step] == list(tasks)
    for step in steps(tasks):
        assert len({(task.stage, task.wave, task.action is Action.PRUNE) for task in step}) == 1


@given(desired=MANY)
def test_no_object_comes_before_its_namespace_or_its_kind(desired: list[Resource]) -> None:
    tasks = planned(desired)
    for at, task in enumerate(tasks):
        if task.action is Action.HOOK or task.key.kind not in {"Namespace", "CustomResourceDefinition"}:
            continue
        before = [earlier.key for earlier in tasks[:at]]
        if task.key.kind == "Namespace":
            assert task.key.name not in {key.namespace for key in before}
        else:
            assert "Widget" not in {key.kind for key in before}
