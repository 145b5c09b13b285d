"""One application on one cluster, step by step: what Git says, what the cluster has, and what is done about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.delivery import (
    DeliveryLab,
    application,
    config,
    definition,
    delivery_lab,
    deployment,
    made,
)
from updater.demo.cluster import Asked, Fault, refuse
from updater.errors import GitError, NoRevision
from updater.model.health import Health
from updater.model.resource import Key
from updater.model.sync import Phase, SyncStatus
from updater.store.applications import document

WEB = "/apis/apps/v1/namespaces/shop/deployments/web"
SETTINGS = "/api/v1/namespaces/shop/configmaps/settings"
DEPLOYMENT = Key("apps", "Deployment", "shop", "web")
STORAGE = {"requests": {"storage": "1Gi"}}
CONFIG = Key("", "ConfigMap", "shop", "settings")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DeliveryLab]:
    with delivery_lab(tmp_path) as opened:
        yield opened


@pytest.fixture
def shop(lab: DeliveryLab) -> DeliveryLab:
    """A shop that is synced and healthy."""
    lab.commit(config(), deployment())
    lab.step(application())
    lab.server.settle()
    assert lab.step(application()).status.health is Health.HEALTHY
    lab.asked()
    return lab


# --- the first sync ------------------------------------------------------------------------------------------------


def test_the_first_sync_makes_everything_in_order(lab: DeliveryLab) -> None:
    """The namespace, then the record of what comes, then kind after kind."""
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    one = application(managedNamespaceMetadata=metadata)
    service = made("Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})
    revision = lab.commit(deployment(), service, config(), made("ServiceAccount", "web"))
    status = lab.step(one).status
    assert (status.sync, status.last and status.last.phase) == (SyncStatus.SYNCED, Phase.SUCCEEDED)
    assert (status.revision, status.applied, lab.begun) == (revision, revision, [revision])
    assert lab.asked() == [
        "patch namespaces shop",
        "patch configmaps updater-shop",
        "patch serviceaccounts web",
        "patch configmaps settings",
        "patch services web",
        "patch deployments web",
    ]
    [namespace] = [found for found in lab.server.objects("Namespace") if found["metadata"]["name"] == "shop"]
    assert namespace["metadata"]["labels"].items() >= {"team": "a"}.items()
    assert namespace["metadata"]["annotations"] == {"note": "b"}
    assert lab.recorded() == ["settings", "web", "web", "web"]


def test_a_first_sync_asks_of_each_object_twice_once_dry(lab: DeliveryLab) -> None:
    """What is going to be made anyway is not looked for before: that it can be made says that it is not there."""
    lab.namespace()
    lab.commit(config(), deployment(), made("ServiceAccount", "web"))
    before = len(lab.server.requests)
    assert lab.step(application()).status.sync is SyncStatus.SYNCED
    asked = [(one.method, "dryRun" in one.query) for one in lab.server.requests[before:] if one.verb != "watch"]
    assert (asked.count(("PATCH", True)), asked.count(("PATCH", False))) == (3, 3 + 1)  # and the inventory
    assert [one.path for one in lab.server.requests[before:] if "/namespaces/" in one.path and one.method == "GET"] == [
        "/api/v1/namespaces/shop/configmaps/updater-shop"
    ]


def test_what_is_there_before_the_first_sync_is_compared_and_taken_over(lab: DeliveryLab) -> None:
    lab.namespace()
    lab.create("/api/v1/namespaces/shop/configmaps", config() | {"data": {"a": "theirs"}})
    lab.asked()
    lab.commit(config())
    status = lab.step(application()).status
    assert (status.sync, lab.asked()[-1]) == (SyncStatus.SYNCED, "patch configmaps settings")
    assert status.last is not None
    assert [one.message for one in status.last.resources] == ["applied"]


BROKEN: dict[str, tuple[Any, str]] = {
    "an object that is not valid": (deployment(replicas=-1), "Deployment.apps shop/web"),
    "a kind that nobody serves": (made("Widget", "one", spec={}), "Widget.example.com shop/one"),
    "an object that may not be made": (made("Secret", "denied", data={}), "Secret shop/denied"),
}


@pytest.mark.parametrize(("broken", "named"), BROKEN.values(), ids=BROKEN)
def test_nothing_is_written_where_one_object_cannot_be_applied(lab: DeliveryLab, broken: Any, named: str) -> None:
    lab.namespace()
    lab.server.api.deny = lambda _user, verb, _group, _resource, _ns, name: (
        "no" if (verb, name) == ("patch", "denied") else None
    )
    lab.commit(config(), broken)
    status = lab.step(application()).status
    assert status.last is not None
    assert (status.sync, status.last.phase) == (SyncStatus.OUT_OF_SYNC, Phase.FAILED)
    assert status.last.message.startswith("nothing was written: ")
    assert named in status.last.message
    assert lab.asked() == []


def test_a_kind_comes_in_the_same_sync_as_its_objects(lab: DeliveryLab) -> None:
    lab.commit(made("Widget", "one", spec={"size": 3}), definition())
    status = lab.step(application()).status
    assert status.last is not None
    assert (status.last.phase, status.sync) == (Phase.SUCCEEDED, SyncStatus.SYNCED), status.last.message
    assert lab.names("Widget", group="example.com") == ["one"]


def test_a_namespace_comes_in_the_same_sync_as_what_is_in_it(lab: DeliveryLab) -> None:
    """Also the one that the inventory is in, and without CreateNamespace."""
    one = application(syncOptions=[])
    other = made("Namespace", "other")
    lab.commit(config(), config("far", namespace="other"), made("Namespace", "shop"), other)
    status = lab.step(one).status
    assert status.last is not None
    assert status.last.phase is Phase.SUCCEEDED, status.last.message
    assert lab.asked()[:2] == ["patch namespaces shop", "patch configmaps updater-shop"]
    assert lab.recorded() == ["far", "other", "settings", "shop"]


def test_a_namespace_that_is_missing_is_said(lab: DeliveryLab) -> None:
    lab.commit(config())
    status = lab.step(application(syncOptions=[])).status
    assert status.last is not None
    assert status.last.phase is Phase.FAILED
    assert 'namespaces "shop" not found' in status.last.message
    assert lab.asked() == []


# --- nothing to do -------------------------------------------------------------------------------------------------


def test_what_is_as_it_should_be_is_not_touched(shop: DeliveryLab) -> None:
    status = shop.step(application()).status
    assert (status.sync, status.health, shop.asked()) == (SyncStatus.SYNCED, Health.HEALTHY, [])
    shop.restart()
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.asked() == []


def test_a_second_look_asks_nothing_where_memory_is_fresh(shop: DeliveryLab) -> None:
    live = shop.follow()
    shop.step(application())
    shop.settled(live, DEPLOYMENT)
    shop.settled(live, CONFIG)
    shop.step(application())
    tree = shop.tree()
    shop.server.forget()
    assert shop.step(application(), tree).status.sync is SyncStatus.SYNCED
    assert not [one for one in shop.server.asked() if one.verb != "watch"]


def test_what_rests_is_compared_again_only_when_something_moved_or_the_resync_comes(shop: DeliveryLab) -> None:
    live = shop.follow()
    shop.step(application())
    shop.settled(live, DEPLOYMENT)
    shop.settled(live, CONFIG)
    shop.step(application())
    revision = shop.commit(config(), deployment(), README__md="nothing of the shop")
    rested = shop.step(application())
    assert (rested.status.revision, rested.status.sync, rested.compared) == (revision, SyncStatus.SYNCED, None)
    shop.edit(SETTINGS, {"data": {"a": "by hand"}})
    shop.settled(live, CONFIG)
    assert shop.step(application(automated={"selfHeal": False})).status.sync is SyncStatus.OUT_OF_SYNC
    shop.edit(SETTINGS, {"data": config()["data"]})
    shop.settled(live, CONFIG)
    assert shop.step(application(automated={"selfHeal": False})).compared is not None
    assert shop.step(application(automated={"selfHeal": False})).compared is None
    shop.later(seconds=shop.settings.sync.resync)
    assert shop.step(application(automated={"selfHeal": False})).compared is not None


def test_the_status_of_an_object_costs_no_dry_run(shop: DeliveryLab) -> None:
    shop.edit(f"{WEB}/status", {"status": {"observedGeneration": 7}}, "kube-controller-manager")
    shop.server.forget()
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.asked(dry=True) == []


def test_a_commit_that_changes_nothing_of_it_costs_no_render_and_no_write(shop: DeliveryLab) -> None:
    before = shop.memories["shop"].wanted
    revision = shop.commit(config(), deployment(), README__md="hello")
    shop.server.forget()
    status = shop.step(application()).status
    assert (status.revision, status.applied, status.sync) == (revision, revision, SyncStatus.SYNCED)
    assert shop.memories["shop"].wanted is before
    assert shop.asked(dry=True) == []


def test_what_memory_says_of_before_our_own_write_is_not_gone_by(shop: DeliveryLab) -> None:
    """A watch that lags behind does not make drift of what was just applied."""
    live = shop.follow()
    shop.step(application())
    shop.settled(live, CONFIG)
    old = live.get(CONFIG)
    shop.commit(config(data={"a": "new"}), deployment())
    shop.world.sites["cloud"].seen = lambda key: old if key == CONFIG else None
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    shop.later(minutes=1)
    shop.asked()
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.asked() == []


# --- drift ---------------------------------------------------------------------------------------------------------


def test_a_changed_field_is_named_with_who_changed_it(shop: DeliveryLab) -> None:
    shop.edit(WEB, {"spec": {"replicas": 7}})
    stepped = shop.step(application(), write=False)
    assert stepped.status.sync is SyncStatus.OUT_OF_SYNC
    assert stepped.compared is not None
    [changed] = [one for one in stepped.compared.differences if one.fields]
    assert (changed.key, changed.fields) == (DEPLOYMENT, ((".spec.replicas", "kubectl-edit"),))
    assert shop.asked()[1:] == []


def test_drift_is_healed_with_a_backoff(shop: DeliveryLab) -> None:
    """2 s, 6 s, 18 s, ... after the last sync; what was taken is said."""
    waits = []
    shop.later(hours=1)
    for number in range(4):
        shop.edit(WEB, {"spec": {"replicas": 10 + number}})
        waits.append(seconds_until_written(shop))
        status = shop.memories["shop"].status
        assert status is not None
        assert status.last is not None
        [result] = status.last.resources
        assert result.taken == ((".spec.replicas", "kubectl-edit"),)
    assert waits == [0, 6, 18, 54]
    shop.later(hours=1)
    shop.step(application())
    shop.edit(WEB, {"spec": {"replicas": 3}})
    assert seconds_until_written(shop) == 0


def seconds_until_written(lab: DeliveryLab) -> int:
    """Step second after second until something is written."""
    lab.server.forget()
    for seconds in range(700):
        stepped = lab.step(application())
        if lab.asked():
            return seconds
        assert stepped.status.retry_at is not None
        assert stepped.again is not None
        lab.later(seconds=1)
    raise AssertionError("nothing was written for 700 s")


def test_drift_waits_where_healing_is_off(shop: DeliveryLab) -> None:
    one = application(automated={"prune": True})
    shop.edit(WEB, {"spec": {"replicas": 7}})
    shop.asked()
    for hours in (0, 1, 24):
        shop.later(hours=hours)
        stepped = shop.step(one)
        assert (stepped.status.sync, shop.asked()) == (SyncStatus.OUT_OF_SYNC, [])
        assert stepped.drifting == "this revision was synced, and selfHeal is off"


def test_a_commit_that_changes_nothing_of_it_does_not_heal(shop: DeliveryLab) -> None:
    """Else every commit to a large repository would be a heal that nobody asked for."""
    one = application(automated={})
    shop.step(one)
    shop.edit(WEB, {"spec": {"replicas": 7}})
    shop.commit(config(), deployment(), README__md="hello")
    shop.asked()
    assert shop.step(one).status.sync is SyncStatus.OUT_OF_SYNC
    shop.restart()
    assert shop.step(one).status.sync is SyncStatus.OUT_OF_SYNC
    assert shop.asked() == []
    shop.commit(config(), deployment(image="r.example.com/web:1.1.0"))
    assert shop.step(one).status.sync is SyncStatus.SYNCED


def test_an_object_that_lost_its_marks_gets_them_again(shop: DeliveryLab) -> None:
    shop.edit(SETTINGS, {"metadata": {"labels": {"applyset.kubernetes.io/part-of": None}}})
    shop.later(hours=1)
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.asked()[1:] == ["patch configmaps settings"]
    assert shop.got("ConfigMap", "settings", "shop")["metadata"]["labels"]


def test_a_namespace_that_somebody_removed_comes_back_with_all_that_was_in_it(shop: DeliveryLab) -> None:
    shop.delete("/api/v1/namespaces/shop")
    assert shop.names("ConfigMap") == []
    shop.later(hours=1)
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert (shop.names("ConfigMap"), shop.recorded()) == (["settings"], ["settings", "web"])


IGNORED: dict[str, Any] = {
    "a pointer": {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]},
    "a manager": {"group": "*", "kind": "*", "managedFieldsManagers": ["kubectl-edit"]},
}


@pytest.mark.parametrize("ignored", IGNORED.values(), ids=IGNORED)
def test_what_is_ignored_is_no_drift(shop: DeliveryLab, ignored: Any) -> None:
    one = application(ignored=[ignored])
    shop.edit(WEB, {"spec": {"replicas": 7}})
    shop.memories.clear()
    assert shop.step(one, write=False).status.sync is SyncStatus.SYNCED


@pytest.mark.parametrize("ignored", IGNORED.values(), ids=IGNORED)
@pytest.mark.parametrize("options", [[], ["RespectIgnoreDifferences=true"]], ids=["taken back", "left alone"])
def test_what_is_ignored_is_applied_unless_it_is_to_be_respected(
    shop: DeliveryLab, ignored: Any, options: list[str]
) -> None:
    one = application(ignored=[ignored], syncOptions=["CreateNamespace=true", *options])
    shop.edit(WEB, {"spec": {"replicas": 7}})
    shop.commit(config(), deployment(image="r.example.com/web:2.0.0"))
    assert shop.step(one).status.sync is SyncStatus.SYNCED
    spec = shop.got("Deployment", "web", "shop", "apps")["spec"]
    assert spec["replicas"] == (7 if options else 2)
    assert spec["template"]["spec"]["containers"][0]["image"].endswith(":2.0.0")
    shop.asked()
    shop.memories["shop"].kept.verdicts.clear()
    assert shop.step(one).status.sync is SyncStatus.SYNCED
    assert shop.asked() == []


def test_an_object_stays_ours_whatever_is_ignored(shop: DeliveryLab) -> None:
    rule = {"group": "*", "kind": "*", "jsonPointers": ["/metadata/labels", "/metadata/annotations"]}
    one = application(ignored=[rule], syncOptions=["RespectIgnoreDifferences=true"])
    for number in range(3):
        shop.commit(config(data={"a": str(number)}), deployment())
        assert shop.step(one).status.sync is SyncStatus.SYNCED
    shop.commit(deployment())
    shop.step(one)
    assert shop.names("ConfigMap") == []


# --- fields of others ----------------------------------------------------------------------------------------------


def conflicting(lab: DeliveryLab, policy: str) -> Any:
    """Have a scaler own the replicas, and Git want others."""
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 9}}
    lab.applied_by("scaler", WEB, scaled)
    return deployment(metadata={"annotations": {"updater.dev/conflicts": policy}})


def test_fields_of_others_are_taken_and_reported(shop: DeliveryLab) -> None:
    shop.commit(config(), conflicting(shop, "force"))
    status = shop.step(application()).status
    assert status.last is not None
    [result] = status.last.resources
    assert result.taken == ((".spec.replicas", "scaler"),)
    assert shop.got("Deployment", "web", "shop", "apps")["spec"]["replicas"] == 2


def test_fields_of_others_stop_a_sync_that_is_to_fail_on_them(shop: DeliveryLab) -> None:
    shop.commit(config(data={"a": "new"}), conflicting(shop, "fail"))
    shop.asked()
    status = shop.step(application()).status
    assert status.last is not None
    assert status.last.phase is Phase.FAILED
    assert 'conflict with "scaler"' in status.last.message
    assert shop.asked() == []


def test_fields_of_others_stay_theirs_where_we_yield(shop: DeliveryLab) -> None:
    """And that is no drift afterwards, also for who starts anew; everything else is applied."""
    wanted = conflicting(shop, "yield")
    wanted["spec"]["template"]["spec"]["containers"][0]["image"] = "r.example.com/web:2.0.0"
    shop.commit(config(), wanted)
    status = shop.step(application()).status
    assert status.last is not None
    assert (status.last.phase, status.sync) == (Phase.SUCCEEDED, SyncStatus.SYNCED), status.last.message
    spec = shop.got("Deployment", "web", "shop", "apps")["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"][-5:]) == (9, "2.0.0")
    shop.restart()
    shop.asked()
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.asked() == []


def test_what_kubectl_applied_before_us_does_not_linger(lab: DeliveryLab) -> None:
    """Its fields become ours: what Git does not have goes, then and later."""
    lab.namespace()
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1", "old": "x"}}
    lab.create("/api/v1/namespaces/shop/configmaps?fieldManager=kubectl-client-side-apply", old)
    lab.commit(config())
    assert lab.step(application()).status.sync is SyncStatus.SYNCED
    assert lab.got("ConfigMap", "settings", "shop")["data"] == {"a": "b"}


# --- what Git has no more ------------------------------------------------------------------------------------------


def test_what_git_has_no_more_is_removed_after_all_others_were_applied(shop: DeliveryLab) -> None:
    shop.commit(deployment(), config("other"))
    status = shop.step(application()).status
    assert (status.sync, shop.recorded()) == (SyncStatus.SYNCED, ["other", "web"])
    writes = [one for one in shop.server.asked() if one.writes]
    assert [f"{one.verb} {one.name}" for one in writes] == [
        "patch updater-shop", "patch other", "delete settings", "patch updater-shop",
    ]  # fmt: skip
    assert b'"propagationPolicy": "Foreground"' in writes[2].body
    assert b'"uid"' in writes[2].body


def test_what_is_on_its_way_out_is_no_drift(shop: DeliveryLab) -> None:
    """A finalizer may take its time; the removal is not repeated, and not forgotten before it is done."""
    shop.commit(config(metadata={"finalizers": ["example.com/wait"]}), deployment())
    shop.step(application())
    shop.commit(deployment())
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    shop.asked()
    shop.later(hours=1)
    assert shop.step(application(), fresh=True).status.sync is SyncStatus.SYNCED
    assert shop.asked() == []
    assert shop.names("ConfigMap") == ["settings"]


def test_what_git_has_no_more_stays_without_prune(shop: DeliveryLab) -> None:
    one = application(automated={"selfHeal": True})
    shop.commit(deployment())
    stepped = shop.step(one)
    assert stepped.status.sync is SyncStatus.OUT_OF_SYNC
    shop.later(hours=1)
    shop.asked()
    stepped = shop.step(one)
    assert stepped.drifting.startswith("only objects that Git has no more are left: ConfigMap shop/settings: pruning")
    assert (shop.asked(), shop.recorded()) == ([], ["settings", "web"])


KEPT: dict[str, tuple[Any, str]] = {
    "an object that says so": (config(sync_options="Prune=false"), "Prune=false"),
    "a claim": (
        made("PersistentVolumeClaim", "data", spec={"accessModes": ["ReadWriteOnce"], "resources": STORAGE}),
        "its own annotation says Prune=true",
    ),
    "a namespace": (made("Namespace", "other"), "its own annotation says Prune=true"),
    "a kind": (definition(), "its own annotation says Prune=true"),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "why"), KEPT.values(), ids=KEPT)
def test_what_is_protected_stays(shop: DeliveryLab, kept: Any, why: str) -> None:
    shop.commit(config("more"), deployment(), kept)
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    shop.commit(config("more"), deployment())
    shop.step(application())
    shop.later(hours=1)
    shop.asked()
    stepped = shop.step(application())
    assert why in stepped.drifting
    assert (shop.asked(), kept["metadata"]["name"] in shop.recorded()) == ([], True)


def test_not_everything_is_removed_at_once(shop: DeliveryLab) -> None:
    shop.commit()
    stepped = shop.step(application())
    assert "it would remove everything" in stepped.drifting
    assert shop.asked() == []
    shop.commit(config(), deployment())
    assert shop.step(application()).status.sync is SyncStatus.SYNCED


def test_what_is_pruned_last_waits_for_the_health_of_all_others(shop: DeliveryLab) -> None:
    shop.commit(config("old", sync_options="PruneLast=true"), deployment())
    shop.step(application())
    shop.asked()
    shop.commit(deployment(image="r.example.com/web:broken"))
    status = shop.step(application()).status
    assert status.last is not None
    assert status.last.phase is Phase.FAILED
    assert "old" in shop.names("ConfigMap")
    shop.commit(deployment(image="r.example.com/web:2.0.0"))
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert "old" not in shop.names("ConfigMap")


def test_the_propagation_of_a_removal_can_be_chosen(shop: DeliveryLab) -> None:
    shop.commit(config(sync_options="PrunePropagationPolicy=orphan"), deployment())
    shop.step(application())
    shop.commit(deployment())
    shop.step(application())
    [removal] = [one for one in shop.server.requests if one.method == "DELETE"]
    assert b'"Orphan"' in removal.body
    assert "settings" not in shop.names("ConfigMap")


def test_an_object_of_a_kind_that_is_not_served_for_a_while_is_not_forgotten(lab: DeliveryLab) -> None:
    lab.commit(definition(sync_options="Prune=true"), made("Widget", "one"), config())
    lab.step(application())
    lab.commit(config(data={"a": "new"}), definition(sync_options="Prune=true"))
    lab.server.script = lambda asked: refuse(404, "NotFound") if asked.group == "example.com" else None
    lab.step(application())
    assert "one" in lab.recorded()
    lab.server.script = None
    lab.later(hours=1)
    lab.step(application())
    assert (lab.names("Widget", group="example.com"), "one" in lab.recorded()) == ([], False)


def test_an_inventory_that_somebody_removed_comes_back(shop: DeliveryLab) -> None:
    shop.delete("/api/v1/namespaces/shop/configmaps/updater-shop")
    shop.later(hours=1)
    shop.step(application())
    assert shop.recorded() == ["settings", "web"]


def test_an_inventory_that_names_what_is_gone_is_tidied(shop: DeliveryLab) -> None:
    """A sync that was killed after its prune could not do that."""
    shop.commit(deployment())
    shop.server.script = lambda asked: refuse(500) if asked.name == "updater-shop" and asked.writes else None
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert shop.recorded() == ["settings", "web"]
    shop.server.script = None
    assert shop.names("ConfigMap") == []
    shop.restart()
    shop.step(application())
    assert shop.recorded() == ["web"]


# --- objects of others ---------------------------------------------------------------------------------------------


def test_an_object_of_another_application_is_refused(shop: DeliveryLab) -> None:
    """The one that has it goes on; the other one writes nothing, and says whose it is."""
    shop.commit(config(), folder="rival")
    rival = application(name="rival", source={"path": "rival"})
    status = shop.step(rival).status
    assert status.last is not None
    assert status.last.phase is Phase.FAILED
    assert "ConfigMap shop/settings: it belongs to another application" in status.last.message
    assert shop.asked() == []
    shop.commit(config(data={"a": "new"}), deployment())
    assert shop.step(application()).status.sync is SyncStatus.SYNCED


def test_an_object_can_be_taken_over(shop: DeliveryLab) -> None:
    """Then it is none of the other application's any more: not removed, no drift, not in its inventory."""
    shop.commit(config(metadata={"annotations": {"updater.dev/take-over": "true"}}), folder="rival")
    rival = application(name="rival", source={"path": "rival"})
    assert shop.step(rival).status.sync is SyncStatus.SYNCED
    shop.commit(deployment())
    assert shop.step(application()).status.sync is SyncStatus.SYNCED
    assert "settings" in shop.names("ConfigMap")
    assert shop.recorded("rival") == ["settings"]
    shop.commit(deployment(image="r.example.com/web:2.0.0"))
    shop.step(application())
    assert shop.recorded() == ["web"]


# --- health --------------------------------------------------------------------------------------------------------


def test_an_application_on_its_way_is_looked_at_soon_and_then_less_often(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(deployment())
        stepped, waits = lab.step(application()), []
        for _ in range(12):
            assert stepped.status.health is Health.PROGRESSING
            assert stepped.again is not None
            waits.append(stepped.again)
            lab.later(seconds=stepped.again)
            stepped = lab.step(application())
        assert waits == sorted(waits)
        assert (waits[0], waits[-1]) == (1.5, 30.0)
        lab.server.settle()
        stepped = lab.step(application())
        assert (stepped.status.health, stepped.again) == (Health.HEALTHY, None)
        assert stepped.status.health_at == lab.now
        lab.commit(deployment(image="r.example.com/web:2.0.0"))
        assert lab.step(application()).again == 1.5


def test_an_image_that_never_starts_degrades(shop: DeliveryLab) -> None:
    shop.commit(config(), deployment(image="r.example.com/web:broken"))
    shop.step(application())
    shop.server.settle()
    status = shop.step(application()).status
    assert (status.sync, status.health) == (SyncStatus.SYNCED, Health.DEGRADED)
    assert "timed out progressing" in str([one.health for one in status.resources])


# --- Git and manifests that cannot be read -------------------------------------------------------------------------


def test_git_that_is_away_for_a_moment_is_no_news(shop: DeliveryLab) -> None:
    away = GitError("fleet: cannot be reached")
    stepped = shop.step(application(), away)
    assert (stepped.status.sync, stepped.status.message) == (SyncStatus.SYNCED, "fleet: cannot be reached")
    shop.later(minutes=4)
    assert shop.step(application(), away).status.sync is SyncStatus.UNKNOWN
    status = shop.step(application()).status
    assert (status.sync, status.message, shop.asked()) == (SyncStatus.SYNCED, "", [])


def test_a_branch_that_is_not_there_is_a_sync_that_failed_once(shop: DeliveryLab) -> None:
    gone = NoRevision("fleet: it has no branch and no tag main")
    first = shop.step(application(), gone, write=False).status
    assert (first.sync, first.last and first.last.phase) == (SyncStatus.SYNCED, Phase.SUCCEEDED)
    status = shop.step(application(), gone).status
    assert (status.sync, status.revision, shop.asked()) == (SyncStatus.UNKNOWN, "", [])
    assert status.last is not None
    assert (status.last.phase, status.last.message) == (Phase.ERROR, str(gone))
    assert shop.step(application(), GitError("fleet: cannot be reached")).status.last is status.last
    shop.restart()
    shop.later(minutes=1)
    assert shop.step(application(), gone).status.last == status.last
    again = shop.step(application()).status
    assert (again.sync, again.last and again.last.phase) == (SyncStatus.SYNCED, Phase.SUCCEEDED)


def test_manifests_that_cannot_be_read_change_nothing(shop: DeliveryLab) -> None:
    shop.commit(config(), shop__all__yaml="", **{"shop/bad.yaml": "a: [1\n"})
    status = shop.step(application()).status
    assert status.last is not None
    assert (status.sync, status.last.phase, shop.asked()) == (SyncStatus.UNKNOWN, Phase.ERROR, [])
    assert "bad.yaml" in status.message
    first = status.last
    shop.later(minutes=1)
    assert shop.step(application()).status.last == first, "the same is told once"
    shop.commit(config(), deployment(), **{"shop/bad.yaml": ""})
    assert shop.step(application()).status.sync is SyncStatus.SYNCED


WRONG: dict[str, tuple[Any, str]] = {
    "a wave": (config(sync_wave="x"), "found 'x' in argocd.argoproj.io/sync-wave"),
    "an option": (config(sync_options="Prone=false"), "unknown sync option 'Prone=false'"),
    "a hook": (config(hook="Never"), "found 'Never' in argocd.argoproj.io/hook"),
    "an owner": (config(metadata={"ownerReferences": [{"kind": "x"}]}), "found ownerReferences"),
    "a prefix for a name": (config("", metadata={"name": None, "generateName": "x-"}), "only a generateName"),
}


@pytest.mark.parametrize(("wrong", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_manifest_is_said_and_no_sync_begins(lab: DeliveryLab, wrong: Any, named: str) -> None:
    lab.commit(config("fine"), wrong)
    for _ in range(3):
        status = lab.step(application()).status
        assert (status.sync, named in status.message) == (SyncStatus.UNKNOWN, True), status.message
        lab.later(minutes=1)
    assert (lab.begun, lab.asked()) == ([], [])


# --- by hand -------------------------------------------------------------------------------------------------------


def test_a_sync_by_hand_needs_no_automation(lab: DeliveryLab) -> None:
    one = application(automated=None)
    lab.commit(config())
    stepped = lab.step(one)
    assert (stepped.drifting, lab.asked()) == ("it is synced by hand only", [])
    tried = lab.step(one, by_hand=True, write=False, dry_run=True).status
    assert tried.last is not None
    assert [(str(one.task.key), one.message) for one in tried.last.resources] == [
        ("Namespace shop", "would be done"),
        ("ConfigMap shop/settings", "would be done"),
    ]
    assert lab.asked() == []
    assert lab.step(one, by_hand=True).status.sync is SyncStatus.SYNCED


def test_a_dry_run_says_what_stands_in_the_way(lab: DeliveryLab) -> None:
    lab.namespace()
    lab.commit(config(), deployment(replicas=-1))
    last = lab.step(application(), by_hand=True, write=False, dry_run=True).status.last
    assert last is not None
    assert last.phase is Phase.FAILED
    assert [one.done for one in last.resources if one.task.key == DEPLOYMENT] == [False]
    assert lab.asked() == []


# --- Secrets -------------------------------------------------------------------------------------------------------


def test_values_of_secrets_are_nowhere(lab: DeliveryLab, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a status, a difference, an error or a log; neither those of Git nor those of the cluster."""

    def secret(value: str) -> Any:
        return made("Secret", "key", stringData={"password": value})

    told: list[Any] = []
    lab.commit(secret("canary-one"), deployment())
    told += [lab.step(application()), lab.step(application(), fresh=True)]
    lab.edit("/api/v1/namespaces/shop/secrets/key", {"stringData": {"password": "canary-two"}})
    told += [lab.step(application(), write=False), lab.step(application())]
    lab.commit(secret("canary-three"), made("Secret", "bad", data={"x": "canary-four"}), deployment())
    told += [lab.step(application(), write=False), lab.step(application())]
    lab.server.script = echoing
    lab.commit(secret("canary-five"), deployment())
    told += [lab.step(application()), lab.step(application(), by_hand=True, dry_run=True, write=False)]
    words = [
        repr(told),
        caplog.text,
        *(str(one.compared and [(d.before, d.after) for d in one.compared.differences]) for one in told),
    ]
    words += [json.dumps(document(one.status)) for one in told]  # what the state keeps
    assert "hidden:" in str(words)
    for spelled in ("canary", "Y2FuYXJ5"):
        assert not [text for text in words if spelled in text]


def echoing(asked: Asked) -> Fault | None:
    """An admission webhook that repeats what it was asked."""
    if asked.resource != "secrets" or asked.method != "PATCH":
        return None
    return refuse(422, "Invalid", f"no: {asked.body.decode()}")


def test_a_change_between_two_questions_is_no_drift(shop: DeliveryLab) -> None:
    """A controller that writes while we compare changes what we asked first, not what we are told then."""
    done: list[bool] = []

    def script(asked: Asked) -> Fault | None:
        if asked.dry_run and asked.name == "web" and not done:
            done.append(True)
            shop.edit(WEB, {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "77"}}}, "controller")
        return None

    shop.memories["shop"].kept.verdicts.clear()
    shop.server.script = script
    assert shop.step(application(), write=False).status.sync is SyncStatus.SYNCED
    assert done


def test_the_same_mistake_in_another_commit_is_the_same_content(shop: DeliveryLab) -> None:
    """Every commit of the repository would tell it anew otherwise."""
    shop.commit(**{"shop/bad.yaml": "kind: [\n"})
    first = shop.step(application()).status
    shop.commit(folder="elsewhere", **{"notes.yaml": "nothing: of the shop\n"})
    second = shop.step(application()).status
    assert first.sync is second.sync is SyncStatus.UNKNOWN
    assert first.revision != second.revision
    assert first.rendered == second.rendered
