"""An application whose manifest is gone: its objects go with it where it asked for that, and never many by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.delivery import DeliveryLab, application, config, definition, delivery_lab, deployment, made
from updater.demo.cluster import Asked, Cut, Fault, refuse
from updater.model.health import Health
from updater.model.sync import Phase, SyncStatus
from updater.pipeline.remove import CONFIRMED, Guard, remembered, remove
from updater.pipeline.world import Stepped

FINALIZER = ["resources-finalizer.argocd.argoproj.io"]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DeliveryLab]:
    with delivery_lab(tmp_path) as opened:
        yield opened


def removed(lab: DeliveryLab) -> Stepped:
    """Remove the shop by what the state has of it alone."""
    lab.restart()
    status = lab.memories["shop"].status
    assert status is not None
    assert status.cascade
    lab.asked()
    stepped = remove(lab.world, remembered(status), lab.now)
    lab.memories["shop"].status = stepped.status
    return stepped


def ended(stepped: Stepped) -> tuple[Phase, str]:
    assert stepped.status.last is not None
    return stepped.status.last.phase, stepped.status.last.message


def test_everything_goes_in_reverse_order_and_the_record_last(lab: DeliveryLab) -> None:
    lab.commit(config(), deployment(), made("ServiceAccount", "web"), config("late", sync_wave="3"))
    assert lab.step(application(finalizers=FINALIZER)).status.sync is SyncStatus.SYNCED
    stepped = removed(lab)
    assert (ended(stepped), stepped.again) == ((Phase.SUCCEEDED, "removed with its objects"), None)
    deletions = [one for one in lab.server.asked(writes=True) if one.verb == "delete"]
    assert [f"{one.resource} {one.name}" for one in deletions] == [
        "configmaps late",
        "deployments web",
        "configmaps settings",
        "serviceaccounts web",
        "configmaps updater-shop",
    ]
    assert all(b'"Foreground"' in one.body for one in deletions[:-1])
    assert (lab.names("ConfigMap"), lab.names("Deployment", group="apps"), lab.recorded()) == ([], [], [])
    assert lab.server.get("Namespace", "shop") is not None


KEPT = {
    "Delete=false": config("kept", sync_options="Delete=false"),
    "Prune=false": config("kept", sync_options="Prune=false"),
    "a claim": made(
        "PersistentVolumeClaim",
        "kept",
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    ),
    "a namespace": made("Namespace", "kept"),
    "a chart's": config("kept", metadata={"annotations": {"helm.sh/resource-policy": "keep"}}),
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_what_is_protected_stays(lab: DeliveryLab, kept: dict[str, object]) -> None:
    lab.commit(config(), kept)
    lab.step(application(finalizers=FINALIZER))
    phase, message = ended(removed(lab))
    assert phase is Phase.SUCCEEDED
    assert "kept" in message
    assert lab.server.get(str(kept["kind"]), "kept", "shop") is not None
    assert "settings" not in lab.names("ConfigMap")


def test_what_belongs_to_others_by_now_stays(lab: DeliveryLab) -> None:
    lab.commit(config(), config("other"))
    lab.step(application(finalizers=FINALIZER))
    lab.commit(config(metadata={"annotations": {"updater.dev/take-over": "true"}}), folder="rival")
    lab.step(application(name="rival", source={"path": "rival"}))
    assert ended(removed(lab))[0] is Phase.SUCCEEDED
    assert lab.names("ConfigMap") == ["settings", "updater-rival"]


def test_a_kind_and_its_objects_go_together_where_they_may(lab: DeliveryLab) -> None:
    lab.commit(definition(sync_options="Prune=true"), made("Widget", "one"))
    lab.step(application(finalizers=FINALIZER))
    assert ended(removed(lab))[0] is Phase.SUCCEEDED
    assert lab.server.objects("CustomResourceDefinition", group="apiextensions.k8s.io") == []


def test_what_is_held_by_a_finalizer_is_waited_for(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, deadline="1s") as lab:
        lab.commit(config(), deployment(metadata={"finalizers": ["example.com/wait"]}))
        lab.step(application(finalizers=FINALIZER))
        stepped = removed(lab)
        assert ended(stepped) == (Phase.ERROR, "it took too long: still there: Deployment.apps shop/web")
        assert (stepped.again, lab.names("ConfigMap"), lab.recorded()) == (60.0, ["settings"], ["settings", "web"])
        lab.edit("/apis/apps/v1/namespaces/shop/deployments/web", {"metadata": {"finalizers": None}})
        assert ended(removed(lab))[0] is Phase.SUCCEEDED
        assert (lab.names("ConfigMap"), lab.recorded()) == ([], [])


@pytest.mark.parametrize("fault", [refuse(500, "InternalError"), refuse(403, "Forbidden", "no"), Cut()], ids=repr)
def test_what_cannot_be_removed_is_tried_again(lab: DeliveryLab, fault: Fault) -> None:
    lab.commit(config(), deployment())
    lab.step(application(finalizers=FINALIZER))

    def script(asked: Asked) -> Fault | None:
        return fault if (asked.verb, asked.name) == ("delete", "settings") else None

    lab.server.script = script
    stepped = removed(lab)
    assert ended(stepped)[0] is Phase.ERROR
    assert stepped.again is not None
    assert lab.recorded() == ["settings", "web"]
    lab.server.script = None
    assert ended(removed(lab))[0] is Phase.SUCCEEDED
    assert lab.names("ConfigMap") == []


def test_a_cluster_that_is_away_is_asked_again_soon(lab: DeliveryLab) -> None:
    lab.commit(config())
    lab.step(application(finalizers=FINALIZER))
    lab.server.script = lambda _: refuse(503, "ServiceUnavailable")
    stepped = removed(lab)
    assert (bool(stepped.status.stale), stepped.again) == (True, 15.0)
    lab.server.script = None
    assert removed(lab).status.health is Health.MISSING


def test_an_application_that_comes_back_is_synced_anew(lab: DeliveryLab) -> None:
    """Also where its revision was synced before, and healing is off."""
    one = application(finalizers=FINALIZER, automated={})
    lab.commit(config())
    lab.step(one)
    removed(lab)
    assert lab.step(one).status.sync is SyncStatus.SYNCED
    assert lab.names("ConfigMap") == ["settings"]


def test_a_few_applications_may_go_at_once() -> None:
    assert Guard().allowed({"a", "b", "c"}, 1, NOW) == {"a", "b", "c"}
    assert Guard().allowed(set(map(str, range(10))), 90, NOW) == set(map(str, range(10)))


def test_many_go_only_when_they_are_still_gone_after_a_while() -> None:
    guard, many = Guard(), {"a", "b", "c", "d"}
    assert guard.allowed(many, 5, NOW) == set()
    assert guard.allowed(many, 5, NOW + CONFIRMED - timedelta(seconds=1)) == set()
    assert guard.allowed({*many, "e"}, 5, NOW + CONFIRMED) == many


def test_who_was_back_in_between_counts_anew() -> None:
    guard, many = Guard(), {"a", "b", "c", "d"}
    guard.allowed(many, 5, NOW)
    guard.allowed(set(), 9, NOW + timedelta(minutes=5))
    assert guard.allowed(many, 5, NOW + CONFIRMED) == set()


def test_not_all_go_ever() -> None:
    guard = Guard()
    guard.allowed({"a"}, 0, NOW)
    assert guard.allowed({"a"}, 0, NOW + timedelta(days=9)) == set()
