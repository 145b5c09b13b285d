"""From steps of an application to events, through a real state and the routes: what is told, to whom, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.config import settings
from updater.daemon.remember import routed
from updater.model.application import Application, ApplicationStatus, Destination, Source
from updater.model.health import Health, HealthStatus
from updater.model.resource import Key
from updater.model.sync import Phase, ResourceStatus, SyncResult, SyncStatus
from updater.pipeline import announce
from updater.pipeline.alike import Has
from updater.pipeline.route import remind
from updater.store.applications import Applications
from updater.store.database import Database
from updater.store.journal import Journal, Standing, Writing
from updater.store.outbox import Lane, Outbox, Settled, State

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
CHANNEL = "channels: [{kind: webhook, url: 'http://127.0.0.1:9/'}]"
ALL = f"notifications:\n  {CHANNEL}\n  routes: [{{channels: [webhook], remind: 24h}}]\nimages: []\n"
GRAVE = f"notifications:\n  {CHANNEL}\nimages: []\n"
SHOP = Application("shop", Source("https://git.example.com/fleet.git"), Destination("cloud", namespace="shop"))
WEB = Key("apps", "Deployment", "shop", "web")
SYNCED, OUT, UNKNOWN = SyncStatus.SYNCED, SyncStatus.OUT_OF_SYNC, SyncStatus.UNKNOWN
OK, FAILED, ERROR = Phase.SUCCEEDED, Phase.FAILED, Phase.ERROR


@dataclass
class Stage:
    """One application, `shop` on `cloud`; its clock goes on by a minute with every step."""

    folder: Path
    database: Database
    text: str = ALL
    now: datetime = NOW
    status: ApplicationStatus = field(default_factory=lambda: ApplicationStatus("shop", "cloud"))
    seen: int = 0

    def __post_init__(self) -> None:
        self.settings = settings(self.folder, self.text)
        self.journal, self.outbox = Journal(self.database), Outbox(self.database)

    def write(self, plan: Any, subjects: set[str] | None, names: tuple[str, ...] = ()) -> list[str]:
        self.journal.deliver(routed(plan, self.settings, self.now), self.now, subjects, names)
        return self.told()

    def told(self) -> list[str]:
        """Return the kinds that were written for the channel since the last look."""
        letters = sorted((one for one in self.outbox.queue(None, 1000) if one.seq > self.seen), key=lambda one: one.seq)
        self.seen = max((one.seq for one in letters), default=self.seen)
        return [one.event.kind.value for one in letters if one.event is not None]

    def step(self, drifting: str = "", *, tell: bool = False, ended: bool = False, **status: Any) -> list[str]:
        """Store that the application stands so, and return what that tells."""
        self.now += timedelta(minutes=1)
        given = {"compared_at": self.now} | status
        self.status = replace(self.status, **given)
        step = announce.Step(SHOP, self.status, drifting, None, ended, tell)
        plan = lambda standing: announce.announce(step, standing, self.now)  # noqa: E731 - it is a value here
        return self.write(plan, {announce.subject_of(SHOP, "cloud").key}, ("shop",))

    def sync(self, phase: Phase, rendered: str = "r1", message: str = "", revision: str = "a" * 40) -> list[str]:
        """Store that a sync ended."""
        last = SyncResult(revision, phase, self.now, self.now, message, (), ("r.example.com/web:1",))
        return self.step(
            ended=True, last=last, rendered=rendered, revision=revision, sync=SYNCED if phase is OK else OUT
        )

    def begin(self, revision: str) -> list[str]:
        plan = lambda standing: announce.started(SHOP, "cloud", revision, standing, self.now)  # noqa: E731
        return self.write(plan, {announce.subject_of(SHOP, "cloud").key})

    def cluster(self, trouble: str) -> list[str]:
        self.now += timedelta(minutes=1)
        plan = lambda standing: announce.cluster("cloud", trouble, ["shop"], standing, self.now)  # noqa: E731
        return self.write(plan, {"cluster=cloud"})

    def alike(self, **has: str) -> list[str]:
        self.now += timedelta(minutes=1)
        found = {name: Has(what, stands) for name, text in has.items() for what, stands in [text.split(" ", 1)]}
        plan = lambda standing: announce.alike("shops", found, standing, self.now)  # noqa: E731
        return self.write(plan, {"application=shops"})

    def left(self, *those: tuple[str, str], gone: tuple[str, ...] = ()) -> list[str]:
        return self.write(lambda standing: announce.left(those, gone, standing), None)

    def send(self) -> None:
        """Let the channel have all that waits."""
        waiting = [one for one in self.outbox.queue(None, 1000) if one.state is State.WAITING]
        if waiting:
            self.outbox.settle(waiting, Settled(State.SENT, ""), "lane", Lane(), self.now)

    def reminded(self, later: timedelta) -> list[str]:
        """Return what is told again for the reason that it still holds."""
        found: list[str] = []

        def plan(standing: Standing) -> Writing:
            posts = remind(standing, self.settings.notifications, self.now + later)
            found.extend(standing.events[post.event].kind.value for post in posts)
            return Writing()

        self.journal.write(plan, self.now, (), None)
        return found


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


@pytest.fixture
def stage(tmp_path: Path, database: Database) -> Stage:
    return Stage(tmp_path, database)


@pytest.fixture
def grave(tmp_path: Path, database: Database) -> Stage:
    """The same without routes: what is grave is told."""
    return Stage(tmp_path, database, GRAVE)


def bad(message: str = "0 of 2 ready", health: Health = Health.DEGRADED) -> tuple[ResourceStatus, ...]:
    return (ResourceStatus(WEB, SYNCED, HealthStatus(health, message)),)


def drifted(name: str = "web") -> tuple[ResourceStatus, ...]:
    return (ResourceStatus(replace(WEB, name=name), OUT, None, "changed"),)


# --- syncs -----------------------------------------------------------------------------------------------------------


def test_the_same_content_is_told_once_whatever_the_commit(stage: Stage) -> None:
    assert stage.sync(OK, "r1") == ["sync_succeeded"]
    assert stage.sync(OK, "r1", revision="b" * 40) == []
    assert stage.sync(OK, "r2", revision="c" * 40) == ["sync_succeeded"]
    assert stage.sync(OK, "r1", revision="d" * 40) == ["sync_succeeded"]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (["denied", "denied", "denied"], [1, 0, 0]),
        (["denied", "no memory", "denied"], [1, 1, 0]),
        (["waited 17 s", "waited 5 s", "waited 170 s"], [1, 0, 0]),
        (["at 0a1b2c3", "at 9f8e7d6"], [1, 0]),
        ([f"cause {word}" for word in "abcdefgh" for _ in range(2)], [1, 0, 1, 0, 1, 0, 1, 0] + [0] * 8),
    ],
    ids=["the same reason", "two reasons in turn", "numbers make no reason", "nor do hashes", "no more than four"],
)
def test_a_failure_of_one_content_is_told_once_for_each_reason(
    stage: Stage, messages: list[str], told: list[int]
) -> None:
    assert [len(stage.sync(FAILED, "r1", message)) for message in messages] == told


def test_a_failure_is_told_again_for_other_content_and_not_for_another_commit(stage: Stage) -> None:
    assert stage.sync(FAILED, "r1", "denied") == ["sync_failed"]
    assert stage.sync(FAILED, "r1", "denied", revision="b" * 40) == []
    assert stage.sync(FAILED, "r2", "denied", revision="c" * 40) == ["sync_failed"]


def test_a_success_after_a_failure_goes_to_those_who_were_told_of_it(grave: Stage) -> None:
    assert grave.sync(OK, "r1") == []
    assert grave.sync(FAILED, "r2", "denied") == ["sync_failed"]
    assert grave.sync(OK, "r2") == ["sync_succeeded"]
    assert grave.sync(OK, "r3") == []


def test_a_heal_that_works_is_silent_and_one_that_fails_is_not(stage: Stage) -> None:
    assert stage.sync(OK, "r1") == ["sync_succeeded"]
    assert stage.sync(OK, "r1") == []
    assert stage.sync(FAILED, "r1", "denied") == ["sync_failed"]
    assert stage.sync(OK, "r1") == ["sync_succeeded"]


def test_a_look_that_ends_no_sync_tells_nothing_of_the_last_one(stage: Stage) -> None:
    assert stage.sync(FAILED, "r1", "denied") == ["sync_failed"]
    last = replace(stage.status.last, message="other") if stage.status.last else None
    assert stage.step(last=last) == []


def test_a_beginning_is_told_once_for_a_commit(stage: Stage) -> None:
    assert stage.begin("a" * 40) == ["sync_started"]
    assert stage.begin("a" * 40) == []
    assert stage.begin("b" * 40) == ["sync_started"]


def test_what_was_delivered_is_remembered_as_long_as_the_application_says(stage: Stage, database: Database) -> None:
    for number in range(15):
        stage.sync(OK, f"r{number}", revision=f"{number:040}")
    stage.sync(FAILED, "r99", "denied")
    history = Applications(database).history("shop", 100)
    assert [one.rendered for one in history] == [f"r{number}" for number in range(14, 4, -1)]
    assert history[0].images == ("r.example.com/web:1",)


# --- drift -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([("", SYNCED, ()), ("by hand only", OUT, drifted())], [[], ["out_of_sync"]]),
        ([("", SYNCED, ()), ("", OUT, drifted()), ("", SYNCED, ())], [[], [], []]),
        ([("", SYNCED, ()), ("off", OUT, drifted()), ("off", OUT, drifted())], [[], ["out_of_sync"], []]),
        ([("", SYNCED, ()), ("off", OUT, drifted("a")), ("off", OUT, drifted("b"))],
         [[], ["out_of_sync"], ["out_of_sync"]]),
        ([("", SYNCED, ()), ("off", OUT, drifted()), ("", SYNCED, ()), ("off", OUT, drifted())],
         [[], ["out_of_sync"], [], ["out_of_sync"]]),
        ([("", SYNCED, ()), ("off", OUT, drifted()), ("", UNKNOWN, ()), ("off", OUT, drifted())],
         [[], ["out_of_sync"], [], []]),
    ],
    ids=["nobody mends it", "it is being mended", "it stays so", "other objects", "again after a while in sync",
         "a time of not knowing is none in sync"],
)  # fmt: skip
def test_drift(stage: Stage, steps: list[tuple[str, SyncStatus, Any]], told: list[list[str]]) -> None:
    assert [stage.step(why, sync=sync, resources=objects) for why, sync, objects in steps] == told


def test_the_first_look_is_the_baseline(stage: Stage) -> None:
    assert stage.step("by hand only", sync=OUT, resources=drifted(), health=Health.DEGRADED) == []
    assert stage.step("by hand only", sync=OUT, resources=drifted(), health=Health.DEGRADED) == []
    assert stage.step(sync=SYNCED, resources=(), health=Health.HEALTHY) == []


def test_the_first_look_is_told_where_that_is_asked_for(stage: Stage) -> None:
    assert stage.step("by hand only", sync=OUT, resources=drifted(), tell=True) == ["out_of_sync"]


def test_a_look_at_a_cluster_that_is_away_is_no_first_look(stage: Stage) -> None:
    assert stage.step(stale="refused", compared_at=None) == []
    assert stage.step("by hand only", stale="", sync=OUT, resources=drifted()) == []


# --- health ----------------------------------------------------------------------------------------------------------

HEALTHY, DEGRADED, PROGRESSING = Health.HEALTHY, Health.DEGRADED, Health.PROGRESSING


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        ([HEALTHY, DEGRADED, HEALTHY], ["health_degraded", "health_recovered"]),
        ([HEALTHY, DEGRADED, PROGRESSING, HEALTHY], ["health_degraded", "health_recovered"]),
        ([HEALTHY, DEGRADED, PROGRESSING, DEGRADED, PROGRESSING], ["health_degraded"]),
        ([HEALTHY, DEGRADED, Health.UNKNOWN, Health.MISSING, DEGRADED], ["health_degraded"]),
        ([HEALTHY, PROGRESSING, HEALTHY], []),
        ([HEALTHY, Health.SUSPENDED, Health.MISSING, HEALTHY], []),
        ([HEALTHY, DEGRADED, HEALTHY, DEGRADED], ["health_degraded", "health_recovered", "health_degraded"]),
    ],
    ids=["it breaks and heals", "on its way is not yet back", "restarts in a circle", "whatever else in between",
         "a rollout", "other words", "twice"],
)  # fmt: skip
def test_health(stage: Stage, ways: list[Health], told: list[str]) -> None:
    found = [kind for way in ways for kind in stage.step(health=way, sync=SYNCED, resources=bad(health=way))]
    assert found == told


def test_a_new_version_that_is_as_bad_is_told_too(stage: Stage) -> None:
    stage.step(health=HEALTHY, rendered="r1", sync=SYNCED)
    assert stage.step(health=DEGRADED, rendered="r1", resources=bad()) == ["health_degraded"]
    assert stage.step(health=DEGRADED, rendered="r2", resources=bad()) == ["health_degraded"]


# --- clusters --------------------------------------------------------------------------------------------------------


def test_a_cluster_is_one_event_and_one_recovery(stage: Stage) -> None:
    assert stage.cluster("refused") == ["cluster_unreachable"]
    assert stage.cluster("timed out") == []
    assert stage.cluster("") == ["cluster_recovered"]
    assert stage.cluster("") == []


def test_applications_of_a_cluster_that_is_away_are_silent(stage: Stage, database: Database) -> None:
    stage.step(health=HEALTHY, sync=SYNCED)
    assert stage.step("off", stale="refused", health=DEGRADED, sync=OUT, resources=drifted()) == []
    assert Applications(database).read(["shop"])["shop"].stale == "refused"


def test_a_difference_between_clusters_is_told_once_for_what_they_have(stage: Stage) -> None:
    assert stage.alike(a="web:1 Synced", b="web:2 Synced") == ["clusters_differ"]
    assert stage.alike(a="web:1 Synced", b="web:2 Synced, Progressing") == []
    assert stage.alike(a="web:1 Synced", b="web:3 Synced") == ["clusters_differ"]
    assert stage.alike() == []
    assert stage.alike(a="web:1 Synced", b="web:3 Synced") == ["clusters_differ"]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_what_is_over_in_a_moment_is_not_reminded_of_and_what_lasts_is(stage: Stage) -> None:
    stage.begin("a" * 40)
    stage.sync(OK)
    stage.step(health=HEALTHY)
    stage.step(health=DEGRADED, resources=bad())
    stage.send()
    assert stage.reminded(timedelta(hours=25)) == ["health_degraded"]


def test_an_application_that_is_no_more_is_forgotten_with_all_that_lasted(stage: Stage, database: Database) -> None:
    stage.step(health=HEALTHY, sync=SYNCED)
    stage.step("off", health=DEGRADED, sync=OUT, resources=drifted())
    stage.send()
    assert stage.left(("sho", "cloud"), ("shop", "clou"), ("shop", "idc")) == []
    assert sorted(stage.reminded(timedelta(hours=25))) == ["health_degraded", "out_of_sync"]
    assert stage.left(("shop", "cloud"), gone=("shop",)) == []
    assert stage.reminded(timedelta(hours=25)) == []
    assert Applications(database).read() == {}


def test_secrets_in_messages_of_a_cluster_are_not_stored(stage: Stage, database: Database) -> None:
    stage.sync(FAILED, "r1", "cannot reach https://me:pass-word@k.example.com/api")
    [event] = stage.journal.recent(1)
    assert "pass-word" not in event.why


def test_manifests_that_cannot_be_used_are_told_once_until_they_are_others(stage: Stage) -> None:
    def look(*problems: str) -> list[str]:
        stage.now += timedelta(minutes=1)
        return stage.write(lambda standing: announce.refused(problems, standing, stage.now), {""})

    assert look() == []
    assert look("apps/a.yaml:3:1: unknown field", "apps/b.yaml:1:1: broken") == ["config_rejected"]
    assert look("apps/b.yaml:1:1: broken", "apps/a.yaml:3:1: unknown field") == []
    assert look("apps/b.yaml:1:1: broken") == ["config_rejected"]
    assert look() == []
    assert look("apps/b.yaml:1:1: broken") == ["config_rejected"]


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("apply of Secret shop/key at cluster cloud: 500",
         "nothing was written: dry run of Secret shop/key at cluster cloud: 500", True),
        ("it took 12 s", "it took  7 s", True),
        ("apply of Secret shop/key: 500", "apply of Secret shop/other: 500", False),
    ],
    ids=["dry or not", "numbers and the blanks before them", "another object"],
)  # fmt: skip
def test_the_same_failure_in_other_words_is_told_once(stage: Stage, first: str, second: str, *, alike: bool) -> None:
    assert stage.sync(FAILED, message=first) == ["sync_failed"]
    assert stage.sync(FAILED, message=second) == ([] if alike else ["sync_failed"])
