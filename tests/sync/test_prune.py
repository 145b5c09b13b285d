"""What is removed because Git no longer has it, and what never is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sync.objects import made
from updater.model.application import Automated, SyncPolicy
from updater.model.resource import Key, Resource
from updater.model.sync import Action
from updater.sync.inventory import PART_OF, TRACKING
from updater.sync.order import plan
from updater.sync.prune import EVERYTHING, PROTECTED, Pruning, prune

OURS, THEIRS = "applyset-ours-v1", "applyset-theirs-v1"
ON = SyncPolicy(Automated(prune=True))
STAYS = made("ConfigMap", "stays", labels={PART_OF: OURS})


def pruned(gone: list[Resource], desired: Any = (STAYS,), policy: SyncPolicy = ON, inventory: Any = ()) -> Pruning:
    live = {resource.key: resource for resource in [*gone, STAYS]}
    return prune({STAYS.key, *(resource.key for resource in gone), *inventory}, desired, live, policy, OURS)


def ours(kind: str, name: str = "old", **more: Any) -> Resource:
    return made(kind, name, labels={PART_OF: OURS}, **more)


def owner(kind: str, name: str) -> dict[str, Any]:
    return {"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": name}]}


def test_what_is_ours_and_not_desired_goes() -> None:
    assert pruned([ours("Deployment")]) == Pruning(allowed=(ours("Deployment").key,))


ALLOWED: dict[str, Resource] = {
    "a namespace that says so": ours("Namespace", sync_options="Prune=true"),
    "a claim that says so": ours("PersistentVolumeClaim", sync_options="Prune=true,PruneLast=true"),
    "owned by a member": ours("ReplicaSet", metadata=owner("Deployment", "mine")),
}
KEPT: dict[str, tuple[Resource, str]] = {
    "a namespace": (ours("Namespace"), "a Namespace is removed only where its own annotation says Prune=true"),
    "a claim": (ours("PersistentVolumeClaim"), "a PersistentVolumeClaim is removed only where"),
    "a kind": (ours("CustomResourceDefinition"), "a CustomResourceDefinition is removed only where"),
    "asked to": (ours("ConfigMap", sync_options="Prune=false"), "Prune=false"),
    "to be confirmed": (ours("ConfigMap", sync_options="Prune=confirm"), "Prune=confirm"),
    "kept by Helm": (ours("ConfigMap", metadata={"annotations": {"helm.sh/resource-policy": "keep"}}), "Prune=false"),
    "of another application": (made("ConfigMap", "old", labels={PART_OF: THEIRS}), f"it belongs to {THEIRS}"),
    "without our label": (made("ConfigMap", "old"), "it does not carry our label any more"),
    "a copy": (ours("ConfigMap", metadata={"annotations": {TRACKING: "web:/ConfigMap:shop/conf"}}), "it is a copy"),
    "owned": (ours("ReplicaSet", metadata=owner("Deployment", "web")), "it is owned by Deployment web"),
    "owned by something odd": (ours("ReplicaSet", metadata={"ownerReferences": ["web"]}), "it is owned by something"),
    "a hook": (ours("Job", hook="Sync"), "it is a hook"),
    "with an option nobody knows": (ours("ConfigMap", sync_options="Prone=true"), "unknown sync option 'Prone=true'"),
}


@pytest.mark.parametrize("live", ALLOWED.values(), ids=ALLOWED)
def test_it_goes(live: Resource) -> None:
    assert pruned([live], inventory=[Key("apps", "Deployment", "shop", "mine")]).allowed == (live.key,)


@pytest.mark.parametrize(("live", "why"), KEPT.values(), ids=KEPT)
def test_it_is_kept(live: Resource, why: str) -> None:
    found = pruned([live])
    assert found.allowed == ()
    ((key, said),) = found.kept
    assert key == live.key
    assert why in said


def test_one_word_of_an_application_does_not_open_the_protected_kinds() -> None:
    policy = SyncPolicy(Automated(prune=True), options=frozenset({"Prune=true"}))
    assert pruned([ours("Namespace")], policy=policy).allowed == ()


def test_an_object_beats_the_option_of_its_application() -> None:
    policy = SyncPolicy(Automated(prune=True), options=frozenset({"Prune=false"}))
    found = pruned([ours("ConfigMap"), ours("ConfigMap", "asked", sync_options="Prune=true")], policy=policy)
    assert [key.name for key in found.allowed] == ["asked"]


@pytest.mark.parametrize("policy", [SyncPolicy(), SyncPolicy(Automated())], ids=["by hand", "prune is off"])
def test_nothing_goes_unless_pruning_is_on(policy: SyncPolicy) -> None:
    found = pruned([ours("ConfigMap")], policy=policy)
    assert found == Pruning(kept=((ours("ConfigMap").key, "pruning is off"),))


def test_what_is_gone_already_is_neither_removed_nor_kept() -> None:
    assert pruned([], inventory=[Key("", "ConfigMap", "shop", "lost")]) == Pruning()


@pytest.mark.parametrize("desired", [(), (made("Job", "h", hook="PreSync"),)], ids=["nothing", "hooks alone"])
def test_never_everything_at_once(desired: tuple[Resource, ...]) -> None:
    found = pruned([ours("Deployment")], desired)
    assert found.allowed == ()
    assert found.refused == EVERYTHING
    assert {key for key, _ in found.kept} == {ours("Deployment").key, STAYS.key}


def test_everything_goes_where_the_application_may_be_empty() -> None:
    policy = SyncPolicy(Automated(prune=True, allow_empty=True))
    assert pruned([ours("Deployment")], (), policy).allowed == (STAYS.key, ours("Deployment").key)


KINDS = ["Namespace", "PersistentVolumeClaim", "CustomResourceDefinition", "ConfigMap", "Deployment"]
LIVE = st.builds(
    lambda kind, name, label, words: made(kind, name, labels={PART_OF: label} if label else {}, **words),
    st.sampled_from(KINDS),
    st.sampled_from("abcd"),
    st.sampled_from([OURS, OURS, THEIRS, ""]),
    st.fixed_dictionaries({}, optional={"sync_options": st.sampled_from(["Prune=true", "Prune=false", "Prune=?"])}),
)
OBJECTS = st.lists(LIVE, max_size=8, unique_by=lambda resource: resource.key)


@given(gone=OBJECTS, desired=OBJECTS, prunes=st.booleans(), empty=st.booleans())
def test_no_plan_removes_what_is_protected(
    gone: list[Resource], desired: list[Resource], prunes: bool, empty: bool
) -> None:
    policy = SyncPolicy(Automated(prune=prunes, allow_empty=empty))
    live = {resource.key: resource for resource in gone}
    wanted = [
        resource for resource in desired if resource.annotations.get("argocd.argoproj.io/sync-options") != "Prune=?"
    ]
    found = prune(live, wanted, live, policy, OURS)
    now = datetime(2026, 11, 25, tzinfo=UTC)
    tasks = plan(wanted, found.allowed, policy=policy, revision="0" * 40, now=now, live=live)
    removed = [live[task.key] for task in tasks if task.action is Action.PRUNE]
    for resource in removed:
        words = resource.annotations.get("argocd.argoproj.io/sync-options")
        assert prunes
        assert resource.labels.get(PART_OF) == OURS
        assert words != "Prune=false"
        assert (resource.key.group, resource.key.kind) not in PROTECTED or words == "Prune=true"
        assert wanted or empty
    assert {resource.key for resource in removed}.isdisjoint(resource.key for resource in wanted)
    assert {resource.key for resource in removed} | {key for key, _ in found.kept} == live.keys() - {
        r.key for r in wanted
    }
