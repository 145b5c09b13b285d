"""Whether an application is synced now without being asked, and if not until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.application import Application, Automated, Destination, Retry, Source, SyncPolicy
from updater.model.resource import Key
from updater.model.sync import Difference, Phase, SyncResult, SyncStatus, Verdict
from updater.sync.decide import SLOW, Go, Scene, Wait, auto, backoff
from updater.sync.prune import EVERYTHING, Pruning
from updater.sync.windows import Closed

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40
WEB, CONF = Key("apps", "Deployment", "shop", "web"), Key("", "ConfigMap", "shop", "conf")
CHANGED, EXTRA = Difference(WEB, Verdict.CHANGED), Difference(CONF, Verdict.EXTRA)
KEPT = Pruning(kept=((CONF, "pruning is off"),))


def app(automated: Automated | None = Automated(self_heal=True), **more: Any) -> Application:  # noqa: B008 - frozen
    policy = SyncPolicy(automated, retry=more.pop("retry", Retry()))
    return Application("web", Source("https://git.example.com/x.git"), Destination("cloud"), policy=policy, **more)


def scene(**more: Any) -> Scene:
    return replace(Scene(NEW, SyncStatus.OUT_OF_SYNC, (CHANGED,)), **more)


def ended(phase: Phase, ago: float = 0.0, revision: str = NEW, message: str = "") -> SyncResult:
    at = NOW - timedelta(seconds=ago)
    return SyncResult(revision, phase, at - timedelta(seconds=5), None if phase is Phase.RUNNING else at, message)


def seconds(found: Go | Wait) -> float:
    """Until when it waits, from now on."""
    assert isinstance(found, Wait)
    assert found.until is not None
    return (found.until - NOW).total_seconds()


FAILED, SUCCEEDED = Phase.FAILED, Phase.SUCCEEDED
HEALS, PLAIN = app(), app(Automated())
CLOSED = Closed("outside the allow window", NOW + timedelta(hours=3))
WAITS: dict[str, tuple[Application, Scene, str]] = {
    "it is suspended": (app(suspend=True), scene(), "it is suspended"),
    "no automated": (app(None), scene(), "it is synced by hand only"),
    "automated is off": (app(Automated(enabled=False)), scene(), "it is synced by hand only"),
    "a sync is under way": (HEALS, scene(last=ended(Phase.RUNNING, revision=OLD)), "a sync is under way"),
    "it is being deleted": (HEALS, scene(deleting=True), "it is being deleted"),
    "it is not known how it stands": (HEALS, scene(status=SyncStatus.UNKNOWN), "it is not known how it stands"),
    "it is in sync": (HEALS, scene(status=SyncStatus.SYNCED, differences=()), "it is in sync"),
    "a window is closed": (HEALS, scene(windows=CLOSED), "outside the allow window"),
    "only pruning is left, which is off": (
        HEALS,
        scene(differences=(EXTRA,), pruning=KEPT),
        "only objects that Git has no more are left: ConfigMap shop/conf: pruning is off",
    ),
    "everything would go": (HEALS, scene(differences=(EXTRA,), pruning=Pruning(refused=EVERYTHING)), EVERYTHING),
    "everything would go, though it was tried": (
        HEALS,
        scene(differences=(EXTRA,), pruning=Pruning(refused=EVERYTHING), last=ended(SUCCEEDED, 900)),
        EVERYTHING,
    ),
    "it was synced, and is not healed": (
        PLAIN,
        scene(last=ended(SUCCEEDED, 900)),
        "this revision was synced, and selfHeal is off",
    ),
    "it failed a moment ago": (
        PLAIN,
        scene(last=ended(FAILED, 1, message="no such kind"), attempts=1),
        "the last sync failed, try 2 comes: no such kind",
    ),
    "it was healed a moment ago": (
        HEALS,
        scene(last=ended(SUCCEEDED, 1)),
        "the cluster was changed, and healed a moment ago",
    ),
}


@pytest.mark.parametrize(("application", "found", "reason"), WAITS.values(), ids=WAITS)
def test_it_waits_because(application: Application, found: Scene, reason: str) -> None:
    waits = auto(application, found, NOW, 0.0)
    assert isinstance(waits, Wait)
    assert waits.reason == reason


GOES: dict[str, tuple[Application, Scene, tuple[Key, ...] | None]] = {
    "it never was synced": (PLAIN, scene(), None),
    "Git has a new revision": (PLAIN, scene(last=ended(SUCCEEDED, 1, OLD)), None),
    "a new revision after many failures": (PLAIN, scene(last=ended(FAILED, 0, OLD), attempts=99), None),
    "the source was changed": (PLAIN, scene(last=ended(SUCCEEDED, 1), source_changed=True), None),
    "its time has come after a failure": (PLAIN, scene(last=ended(FAILED, 5), attempts=1), None),
    "an error is a failure": (PLAIN, scene(last=ended(Phase.ERROR, 5), attempts=1), None),
    "it drifted": (HEALS, scene(last=ended(SUCCEEDED, 900)), (WEB,)),
    "what may be removed is drift": (
        HEALS,
        scene(last=ended(SUCCEEDED, 900), differences=(EXTRA, CHANGED), pruning=Pruning(allowed=(CONF,))),
        (CONF, WEB),
    ),
    "what is kept does not hold up the rest": (PLAIN, scene(differences=(EXTRA, CHANGED), pruning=KEPT), None),
    "a clock that was set back": (PLAIN, scene(last=ended(FAILED, -3_600), attempts=3), None),
}


@pytest.mark.parametrize(("application", "found", "resources"), GOES.values(), ids=GOES)
def test_it_goes_because(application: Application, found: Scene, resources: tuple[Key, ...] | None) -> None:
    goes = auto(application, found, NOW, 0.0)
    assert isinstance(goes, Go), goes
    assert goes.resources == resources


def test_a_closed_window_says_when_it_opens() -> None:
    assert auto(HEALS, scene(windows=CLOSED), NOW, 0.0) == Wait(CLOSED.why, CLOSED.opens_at)


def test_kept_objects_are_counted_in_the_reason() -> None:
    other = Difference(WEB, Verdict.EXTRA)
    kept = Pruning(kept=((CONF, "Prune=false"), (WEB, "it is a hook")))
    found = auto(HEALS, scene(differences=(EXTRA, other), pruning=kept), NOW, 0.0)
    assert isinstance(found, Wait)
    assert found.reason.endswith("ConfigMap shop/conf: Prune=false, and 1 more")


@pytest.mark.parametrize(
    ("attempts", "waits"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, SLOW), (7, SLOW), (10_000, SLOW)]
)
def test_failures_are_tried_again_at_growing_distances_and_for_ever(attempts: int, waits: float) -> None:
    assert seconds(auto(PLAIN, scene(last=ended(FAILED), attempts=attempts), NOW, 0.0)) == waits


def test_tries_after_the_limit_are_spread() -> None:
    found = scene(last=ended(FAILED), attempts=9)
    assert seconds(auto(PLAIN, found, NOW, 1.0)) == pytest.approx(SLOW * 0.8)
    assert seconds(auto(PLAIN, found, NOW, 0.5)) == pytest.approx(SLOW * 0.9)


@pytest.mark.parametrize(
    ("retry", "attempts", "waits"),
    [
        pytest.param(Retry(limit=0), 1, SLOW, id="no retries: slowly from the start"),
        pytest.param(Retry(limit=-1), 50, 180.0, id="no limit: at the longest distance for ever"),
        pytest.param(Retry(limit=9, first=1.0, factor=10.0, longest=50.0), 2, 10.0, id="a factor of one's own"),
        pytest.param(Retry(limit=9, first=1.0, factor=10.0, longest=50.0), 3, 50.0, id="a longest distance"),
        pytest.param(Retry(limit=9, first=90.0, longest=50.0), 1, 50.0, id="the longest is shorter than the first"),
    ],
)
def test_an_application_may_say_how_it_is_tried_again(retry: Retry, attempts: int, waits: float) -> None:
    found = auto(app(Automated(), retry=retry), scene(last=ended(FAILED), attempts=attempts), NOW, 0.0)
    assert seconds(found) == waits


@pytest.mark.parametrize(("heals", "waits"), [(0, 2), (1, 6), (2, 18), (3, 54), (4, 162), (5, 300), (900, 300)])
def test_who_changes_a_cluster_again_and_again_slows_the_healing(heals: int, waits: float) -> None:
    assert seconds(auto(HEALS, scene(last=ended(SUCCEEDED), attempts=heals), NOW, 0.0)) == waits


@given(
    attempts=st.integers(0, 10**9),
    first=st.floats(0, 1e6),
    factor=st.floats(0, 1e300),
    longest=st.floats(0, 1e6),
)
def test_no_backoff_is_longer_than_its_longest(attempts: int, first: float, factor: float, longest: float) -> None:
    assert 0 <= backoff(attempts, first, factor, longest) <= longest


@given(
    phase=st.none() | st.sampled_from(Phase),
    status=st.sampled_from(SyncStatus),
    heal=st.booleans(),
    ago=st.integers(-1_000, 10_000),
    revision=st.sampled_from([OLD, NEW]),
    attempts=st.integers(0, 20),
    refused=st.booleans(),
)
def test_it_never_goes_on_what_is_unknown_nor_to_remove_everything(
    *, phase: Phase | None, status: SyncStatus, heal: bool, ago: int, revision: str, attempts: int, refused: bool
) -> None:
    last = ended(phase, ago, revision) if phase else None
    pruning = Pruning(refused=EVERYTHING if refused else "")
    found = scene(status=status, last=last, attempts=attempts, pruning=pruning)
    decision = auto(app(Automated(self_heal=heal)), found, NOW, 0.5)
    if isinstance(decision, Go):
        assert status is SyncStatus.OUT_OF_SYNC
        assert not refused
        assert phase is not Phase.RUNNING
    elif decision.until is not None:
        assert decision.until > NOW
