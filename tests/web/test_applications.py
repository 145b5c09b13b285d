"""The applications over a real repository and a cluster stand-in: how they stand, what drifts, and a sync by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import MERGE, Raw
from tests.lab.fleet import Fleet, deployment, fleet, written
from tests.lab.front import Front, open_front

SHOP = "/apis/apps/v1/namespaces/shop/deployments/shop"
API = "/api/v1/applications"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud") as found:
        found.apply(*found.everywhere(automated=None))
        yield found


@pytest.fixture
def front(made: Fleet) -> Iterator[Front]:
    with open_front(made.configure()) as found:
        yield found


def stands(front: Front, **wanted: str) -> bool:
    """Say whether the application stands so, as whoever asks is told."""
    found: dict[str, Any] = front.get(f"{API}/shop-cloud").json()
    return all(found.get(name) == value for name, value in wanted.items())


def test_an_application_is_synced_by_hand_and_shown_as_it_stands(made: Fleet, front: Front) -> None:
    made.until(lambda: stands(front, sync="OutOfSync"))
    before = front.get(f"{API}/shop-cloud").json()
    assert [(one["object"], one["verdict"]) for one in before["drift"]] == [("Deployment.apps shop/shop", "missing")]
    answer = front.post(f"{API}/shop-cloud/sync")
    assert (answer.status_code, answer.json()) == (202, {"names": ["shop-cloud"]})
    made.until(lambda: stands(front, sync="Synced", health="Healthy", last_phase="Succeeded"))
    found = front.get(f"{API}/shop-cloud").json()
    assert not found["drift"]
    assert {one["kind"] for one in found["resources"]} == {"Deployment"}
    assert found["history"][0]["images"] == ["r.example.com/acme/shop:1.0.0"]
    assert "sync_succeeded" in {one["kind"] for one in found["events"]}
    assert (found["repository"], found["path"], found["cluster"]) == ("fleet", "apps/shop", "cloud")
    [cluster] = front.get("/api/v1/overview").json()["clusters"]
    assert (cluster["name"], cluster["applications"], cluster["out_of_sync"]) == ("cloud", 1, 0)


def test_drift_names_who_changed_what(made: Fleet, front: Front) -> None:
    made.until(lambda: stands(front, sync="OutOfSync"))
    front.post(f"{API}/shop-cloud/sync")
    made.until(lambda: stands(front, sync="Synced", health="Healthy"))
    made.until(lambda: made.clusters["cloud"].counts["watch deployments.apps"] >= 1)
    with Raw(made.clusters["cloud"]) as ask:
        assert ask("PATCH", f"{SHOP}?fieldManager=kubectl-edit", {"spec": {"replicas": 7}}, MERGE).code == 200
    made.until(lambda: stands(front, sync="OutOfSync"))
    [drift] = front.get(f"{API}/shop-cloud").json()["drift"]
    assert drift["fields"] == [[".spec.replicas", "kubectl-edit"]]
    assert "replicas" in drift["diff"]


def test_a_change_in_git_rings_the_bell(made: Fleet, front: Front) -> None:
    made.until(lambda: stands(front, sync="OutOfSync"))
    front.post(f"{API}/shop-cloud/sync")
    made.until(lambda: stands(front, sync="Synced", health="Healthy"))
    serial = front.desk.bell.serial
    made.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
    front.desk.check_git()
    made.until(lambda: stands(front, sync="OutOfSync"))
    assert front.desk.bell.serial > serial


def test_applications_are_filtered_and_unknown_ones_are_none(made: Fleet, front: Front) -> None:
    made.until(lambda: stands(front, sync="OutOfSync"))
    assert [one["name"] for one in front.get(f"{API}?sync=OutOfSync&cluster=cloud").json()["items"]] == ["shop-cloud"]
    assert not front.get(f"{API}?sync=Synced").json()["items"]
    assert front.get(f"{API}/nobody").status_code == 404
    assert front.post(f"{API}/nobody/sync").status_code == 404
