"""Whether a cluster has what Git says: of one object, and of an application."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sync.objects import made
from updater.model.health import Health, HealthStatus
from updater.model.resource import Resource
from updater.model.sync import Difference, ResourceStatus, SyncStatus, Verdict
from updater.sync.status import GRACE, Standing, of_object, overall, standing

SYNCED, OUT, UNKNOWN = SyncStatus
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEB = made("Deployment", "web")
COPY = made("ConfigMap", "copy", metadata={"annotations": {"updater.dev/tracking-id": "web:/ConfigMap:shop/conf"}})
FINE = made("ConfigMap", "old", compare_options="IgnoreExtraneous")


@pytest.mark.parametrize(
    ("verdict", "desired", "live", "expected", "message"),
    [
        pytest.param(Verdict.SAME, WEB, WEB, SYNCED, "", id="the same"),
        pytest.param(Verdict.CHANGED, WEB, WEB, OUT, "", id="changed"),
        pytest.param(Verdict.MISSING, WEB, None, OUT, "not in the cluster", id="missing"),
        pytest.param(Verdict.EXTRA, None, WEB, OUT, "not in Git any more", id="extra"),
        pytest.param(
            Verdict.EXTRA, None, FINE, SYNCED, "not in Git any more, which is fine: IgnoreExtraneous", id="fine"
        ),
        pytest.param(Verdict.CHANGED, FINE, FINE, OUT, "", id="changed is not extra"),
        pytest.param(Verdict.UNKNOWN, WEB, None, UNKNOWN, "could not be compared", id="unknown"),
    ],
)
def test_an_object_stands(verdict: Verdict, desired: Any, live: Any, expected: SyncStatus, message: str) -> None:
    health = HealthStatus(Health.HEALTHY)
    assert of_object(Difference(WEB.key, verdict), desired, live, health) == ResourceStatus(
        WEB.key, expected, health, message
    )


def test_an_object_says_why_in_its_own_words() -> None:
    found = of_object(Difference(WEB.key, Verdict.UNKNOWN, why="the kind is not permitted"), WEB, None)
    assert found is not None
    assert found.message == "the kind is not permitted"


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        pytest.param(made("Job", "h", hook="PreSync"), None, id="a hook in Git"),
        pytest.param(None, made("Job", "h", hook="PreSync"), id="a hook in the cluster"),
        pytest.param(made("Job", "h", hook="Skip"), None, id="one that is skipped"),
        pytest.param(made("Job", "h", hook="Nonsense"), None, id="a hook that the plan refuses"),
        pytest.param(None, COPY, id="a copy that a controller made"),
    ],
)
def test_it_does_not_count(desired: Resource | None, live: Resource | None) -> None:
    assert of_object(Difference(WEB.key, Verdict.CHANGED), desired, live) is None


def test_a_copy_that_git_wants_counts() -> None:
    assert of_object(Difference(COPY.key, Verdict.CHANGED), COPY, COPY) is not None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], SYNCED, id="nothing"),
        pytest.param([SYNCED, SYNCED], SYNCED, id="all are"),
        pytest.param([SYNCED, OUT], OUT, id="one is not"),
        pytest.param([OUT, UNKNOWN], UNKNOWN, id="one is not known"),
    ],
)
def test_an_application_stands(words: list[SyncStatus], expected: SyncStatus) -> None:
    assert overall(ResourceStatus(WEB.key, word) for word in words) is expected


LAST = Standing(OUT, NOW - timedelta(minutes=2))
OLD = Standing(OUT, NOW - GRACE)


@pytest.mark.parametrize(
    ("found", "last", "expected"),
    [
        pytest.param(SYNCED, LAST, Standing(SYNCED, NOW), id="what is known is taken"),
        pytest.param(UNKNOWN, LAST, Standing(OUT, LAST.at, "bad gateway"), id="the last is kept for a while"),
        pytest.param(UNKNOWN, OLD, Standing(UNKNOWN, OLD.at, "bad gateway"), id="but not for ever"),
        pytest.param(UNKNOWN, None, Standing(UNKNOWN, NOW, "bad gateway"), id="there was none"),
        pytest.param(
            UNKNOWN, Standing(UNKNOWN, LAST.at), Standing(UNKNOWN, LAST.at, "bad gateway"), id="it was not known"
        ),
    ],
)
def test_a_repository_that_cannot_be_read_for_a_moment_is_no_news(found: Any, last: Any, expected: Standing) -> None:
    assert standing(found, last, NOW, "" if found is SYNCED else "bad gateway") == expected


def test_while_a_cluster_cannot_be_reached_the_last_is_kept_for_as_long() -> None:
    assert standing(UNKNOWN, Standing(SYNCED, NOW - timedelta(days=9)), NOW, grace=None).status is SYNCED
