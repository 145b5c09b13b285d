"""A sync goes wave by wave, waits for hooks and for health, and survives what clusters do to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.delivery import DeliveryLab, application, config, definition, delivery_lab, deployment, job, made
from updater.demo.cluster import Asked, Cut, Fault, Hang, refuse
from updater.model.application import ApplicationStatus
from updater.model.health import Health
from updater.model.resource import Key
from updater.model.sync import Phase, SyncStatus
from updater.pipeline.world import Stepped

WEB = "/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DeliveryLab]:
    with delivery_lab(tmp_path) as opened:
        opened.namespace()
        yield opened


def ended(stepped: Stepped) -> tuple[Phase, str]:
    """Return how the last sync ended."""
    assert stepped.status.last is not None
    return stepped.status.last.phase, stepped.status.last.message


def on(verb: str, name: str, fault: Fault, *, times: int = 10**6, after: int = 0) -> Callable[[Asked], Fault | None]:
    """Return a script that answers so to this verb on this object, but for the first `after` of them."""
    left, lock = [after, times], threading.Lock()

    def script(asked: Asked) -> Fault | None:
        if (asked.verb, asked.name, asked.dry_run) != (verb, name, False):
            return None
        with lock:
            if left[0] > 0:
                left[0] -= 1
                return None
            left[1] -= 1
            return fault if left[1] >= 0 else None

    return script


# --- waves ---------------------------------------------------------------------------------------------------------


def test_a_wave_begins_when_the_one_before_it_is_healthy(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(deployment("first", sync_wave="-1"), config(sync_wave="2"))
        thread, found = in_background(lab)
        wait_for(lambda: lab.server.get("Deployment", "first", "shop", "apps") is not None)
        wait_for(lambda: looks(lab, "first") > 1)
        assert lab.server.get("ConfigMap", "settings", "shop") is None
        lab.server.settle()
        thread.join(10)
        assert ended(found[0]) == (Phase.SUCCEEDED, "")
        assert lab.names("ConfigMap") == ["settings"]


def test_a_sync_of_one_wave_does_not_wait_for_health(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(deployment(), config())
        stepped = lab.step(application())
        assert ended(stepped) == (Phase.SUCCEEDED, "")
        assert stepped.status.health is Health.PROGRESSING


def test_a_wave_that_degrades_stops_the_sync(lab: DeliveryLab) -> None:
    lab.commit(deployment(image="r.example.com/web:broken"), config(sync_wave="1"))
    phase, message = ended(lab.step(application()))
    assert phase is Phase.FAILED
    assert "Deployment.apps shop/web: " in message
    assert "timed out progressing" in message
    assert lab.names("ConfigMap") == []


def test_what_an_earlier_try_applied_is_waited_for_all_the_same(tmp_path: Path) -> None:
    """The deadline cuts a try off; the next one goes on where that was, and skips no wave."""
    with delivery_lab(tmp_path, deadline="1s", rollout=None) as lab:
        lab.commit(deployment(), config(sync_wave="1"), job("after", hook="PostSync"))
        phase, message = ended(lab.step(application()))
        assert (phase, message) == (Phase.ERROR, "it took too long: not healthy yet: Deployment.apps shop/web")
        lab.later(hours=1)
        phase, _ = ended(lab.step(application()))
        assert phase is Phase.ERROR
        assert (lab.server.get("ConfigMap", "settings", "shop"), lab.server.objects("Job", "shop", "batch")) == (
            None,
            [],
        )
        lab.server.settle()
        lab.later(hours=1)
        thread, found = in_background(lab)
        wait_for(lambda: lab.server.get("Job", "after", "shop", "batch") is not None)
        lab.server.settle()
        thread.join(10)
        assert ended(found[0]) == (Phase.SUCCEEDED, "")


def in_background(lab: DeliveryLab) -> tuple[threading.Thread, list[Stepped]]:
    """Step in a thread of its own."""
    found: list[Stepped] = []
    lab.tree()
    thread = threading.Thread(target=lambda: found.append(lab.step(application())), daemon=True)
    thread.start()
    return thread, found


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, "it did not come to that"
        threading.Event().wait(0.01)


def looks(lab: DeliveryLab, name: str) -> int:
    return len([one for one in list(lab.server.requests) if (one.verb, one.name) == ("get", name)])


# --- hooks ---------------------------------------------------------------------------------------------------------


def test_a_hook_before_the_sync_must_complete(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(job("migrate", hook="PreSync"), config())
        thread, found = in_background(lab)
        wait_for(lambda: looks(lab, "migrate") > 2)
        assert lab.server.get("ConfigMap", "settings", "shop") is None
        lab.server.settle()
        thread.join(10)
        assert ended(found[0]) == (Phase.SUCCEEDED, "")


def test_a_hook_after_the_sync_comes_when_all_is_healthy(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(job("smoke", hook="PostSync"), deployment())
        thread, found = in_background(lab)
        wait_for(lambda: looks(lab, "web") > 2)
        assert lab.server.get("Job", "smoke", "shop", "batch") is None
        lab.server.settle()
        wait_for(lambda: lab.server.get("Job", "smoke", "shop", "batch") is not None)
        lab.server.settle()
        thread.join(10)
        assert ended(found[0]) == (Phase.SUCCEEDED, "")


def test_a_hook_that_fails_stops_the_sync_and_has_its_own_hooks_run(lab: DeliveryLab) -> None:
    failing = job("migrate", "r.example.com/job:fail", hook="PreSync")
    lab.commit(failing, config(), job("alarm", hook="SyncFail"), job("smoke", hook="PostSync"))
    phase, message = ended(lab.step(application()))
    assert phase is Phase.FAILED
    assert message.startswith("Job.batch shop/migrate: ")
    assert "backoff limit" in message
    assert lab.names("Job", group="batch") == ["alarm", "migrate"]
    assert lab.names("ConfigMap") == []


def test_hooks_of_a_failure_run_also_where_the_time_was_up(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, deadline="1s") as lab:
        lab.namespace()
        migrate = job("migrate", "r.example.com/job:broken", hook="PreSync")
        lab.commit(migrate, job("alarm", hook="SyncFail"), config())
        phase, message = ended(lab.step(application()))
        assert (phase, message) == (Phase.ERROR, "it took too long: not healthy yet: Job.batch shop/migrate")
        assert "alarm" in lab.names("Job", group="batch")


def test_a_hook_that_failed_is_tried_again_though_all_objects_are_in_sync(lab: DeliveryLab) -> None:
    """No object tells that a PostSync hook is still to come."""
    lab.commit(config(), job("smoke", "r.example.com/job:fail", hook="PostSync"))
    status = lab.step(application()).status
    assert (status.sync, status.last and status.last.phase) == (SyncStatus.SYNCED, Phase.FAILED)
    before = lab.got("Job", "smoke", "shop", "batch")["metadata"]["uid"]
    assert status.retry_at is not None
    lab.restart()
    lab.step(application())
    assert lab.got("Job", "smoke", "shop", "batch")["metadata"]["uid"] == before, "not before its time"
    lab.now = status.retry_at
    lab.step(application())
    assert lab.got("Job", "smoke", "shop", "batch")["metadata"]["uid"] != before
    lab.commit(config(), job("smoke", hook="PostSync"))
    stepped = lab.step(application())
    assert (ended(stepped), stepped.status.attempts) == ((Phase.SUCCEEDED, ""), 0)


def test_a_sync_that_was_killed_before_its_last_hook_runs_it_after_all(lab: DeliveryLab) -> None:
    lab.commit(config(), job("smoke", hook="PostSync"))
    lab.step(application())
    lab.delete("/apis/batch/v1/namespaces/shop/jobs/smoke?propagationPolicy=Background")
    lab.memories.clear()  # nobody could note that there was a sync
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    assert lab.names("Job", group="batch") == ["smoke"]


def test_a_hook_that_alone_is_another_one_runs_and_only_once(lab: DeliveryLab) -> None:
    lab.commit(config(), job("migrate", hook="PreSync"))
    lab.step(application())
    lab.commit(config(), job("migrate", "r.example.com/job:2", hook="PreSync"))
    lab.step(application())
    uid = lab.got("Job", "migrate", "shop", "batch")["metadata"]["uid"]
    lab.restart()
    lab.later(hours=1)
    assert lab.step(application()).status.sync is SyncStatus.SYNCED
    job_now = lab.got("Job", "migrate", "shop", "batch")
    assert job_now["metadata"]["uid"] == uid
    assert job_now["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":2")


DELETED: dict[str, tuple[str, str, list[str], bool]] = {
    "the next is made": ("BeforeHookCreation", "1", ["h"], True),
    "it succeeded": ("HookSucceeded", "1", [], True),
    "it succeeded, and this one fails": ("HookSucceeded", "fail", ["h"], True),
    "it failed": ("HookFailed", "fail", [], True),
    "it failed, and this one succeeds": ("HookFailed", "1", ["h"], True),
}


@pytest.mark.parametrize(("policy", "tag", "left", "anew"), DELETED.values(), ids=DELETED)
def test_a_hook_is_removed_when(lab: DeliveryLab, policy: str, tag: str, left: list[str], anew: bool) -> None:
    lab.commit(config(), job("h", f"r.example.com/job:{tag}", hook="Sync", hook_delete_policy=policy))
    lab.step(application())
    assert lab.names("Job", group="batch") == left
    made_first = sum(one.verb == "patch" and one.name == "h" for one in lab.server.asked(writes=True))
    lab.later(hours=1)
    lab.commit(config(data={"a": "new"}), job("h", f"r.example.com/job:{tag}", hook="Sync", hook_delete_policy=policy))
    lab.step(application())
    assert made_first == 1
    assert lab.names("Job", group="batch") == left
    uids = {one["metadata"]["uid"] for one in lab.server.objects("Job", "shop", "batch")}
    assert len(uids) == len(left)
    assert len([one for one in lab.server.asked(writes=True) if (one.verb, one.name) == ("patch", "h")]) == 2


def test_hooks_are_neither_drift_nor_pruned_nor_recorded(lab: DeliveryLab) -> None:
    lab.commit(config(), job("migrate", hook="PreSync"), job("never", hook="Skip"))
    lab.step(application())
    assert lab.recorded() == ["settings"]
    lab.delete("/apis/batch/v1/namespaces/shop/jobs/migrate?propagationPolicy=Background")
    lab.asked()
    assert lab.step(application()).status.sync is SyncStatus.SYNCED
    lab.commit(config(data={"a": "new"}))
    lab.step(application())
    assert not [one for one in lab.asked() if "delete" in one]


def test_a_hook_with_a_prefix_is_another_one_each_time(lab: DeliveryLab) -> None:
    hook = job("x", hook="PreSync")
    hook["metadata"] = {"generateName": "migrate-", "annotations": hook["metadata"]["annotations"]}
    for number in range(2):
        revision = lab.commit(config(data={"a": str(number)}), hook)
        assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
        assert any(name.startswith(f"migrate-{revision[:7]}-presync-") for name in lab.names("Job", group="batch"))
        lab.later(seconds=5)
    assert len(lab.names("Job", group="batch")) == 2


def test_a_hook_that_is_removed_while_it_is_waited_for_ends_the_sync(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(job("migrate", hook="PreSync"), config())
        thread, found = in_background(lab)
        wait_for(lambda: looks(lab, "migrate") > 2)
        lab.delete("/apis/batch/v1/namespaces/shop/jobs/migrate?propagationPolicy=Background")
        thread.join(10)
        assert ended(found[0]) == (Phase.ERROR, "Job.batch shop/migrate: it was removed while it was waited for")


def test_a_hook_that_the_cluster_refuses_is_found_before_anything_is_written(lab: DeliveryLab) -> None:
    wrong = job("smoke", hook="PostSync")
    wrong["spec"]["template"]["spec"]["restartPolicy"] = "Sometimes"
    lab.commit(config(), wrong)
    phase, message = ended(lab.step(application()))
    assert (phase, lab.asked()) == (Phase.FAILED, [])
    assert "nothing was written: Job.batch shop/smoke" in message


def test_a_hook_that_changed_takes_the_place_of_the_one_before(lab: DeliveryLab) -> None:
    """Jobs cannot be changed: the earlier one goes first, and stands in nobody's way."""
    for tag in ("1", "2"):
        lab.commit(config(data={"a": tag}), job("migrate", f"r.example.com/job:{tag}", hook="PreSync"))
        assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    containers = lab.got("Job", "migrate", "shop", "batch")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"].endswith(":2")


# --- replace -------------------------------------------------------------------------------------------------------


def test_an_immutable_field_is_said_and_nothing_is_written(lab: DeliveryLab) -> None:
    lab.commit(job("once"), config())
    lab.step(application())
    lab.asked()
    lab.commit(job("once", "r.example.com/job:2"), config(data={"a": "new"}))
    phase, message = ended(lab.step(application()))
    assert (phase, lab.asked()) == (Phase.FAILED, [])
    assert "field is immutable; the sync options Replace=true,Force=true would remove it" in message


def test_an_object_is_made_anew_where_it_asks_to_be_replaced_by_force(lab: DeliveryLab) -> None:
    options = {"sync_options": "Replace=true,Force=true"}
    lab.commit(job("once", **options), config())
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    lab.commit(job("once", "r.example.com/job:2", **options), config())
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    containers = lab.got("Job", "once", "shop", "batch")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"].endswith(":2")
    uid = lab.got("Job", "once", "shop", "batch")["metadata"]["uid"]
    lab.commit(job("once", "r.example.com/job:2", **options), config(data={"a": "new"}))
    lab.step(application())
    assert lab.got("Job", "once", "shop", "batch")["metadata"]["uid"] == uid, "it is as it should be"


# --- faults --------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Fault, Phase]] = {
    "an error of the server": (refuse(500, "InternalError", "etcd is busy"), Phase.ERROR),
    "a conflict": (refuse(409, "Conflict", "try again"), Phase.FAILED),
    "a denial": (refuse(403, "Forbidden", 'configmaps "b" is forbidden: User "u" cannot patch'), Phase.FAILED),
    "an admission webhook": (refuse(403, "Forbidden", 'admission webhook "x" denied the request'), Phase.FAILED),
    "an invalid object": (refuse(422, "Invalid", "no"), Phase.FAILED),
    "a connection that is cut": (Cut(), Phase.ERROR),
    "a connection that is cut after it was done": (Cut(done=True), Phase.ERROR),
}


@pytest.mark.parametrize(("fault", "phase"), REFUSED.values(), ids=REFUSED)
def test_one_object_that_fails_ends_the_sync_and_the_next_goes_on(lab: DeliveryLab, fault: Fault, phase: Phase) -> None:
    """Recorded per object; nothing is removed; the next try applies only what is left, and removes then."""
    lab.commit(config("old"), config("a", data={"v": "1"}), deployment(sync_wave="1"))
    lab.step(application())
    lab.asked()
    lab.commit(config("a", data={"v": "2"}), config("b"), deployment(image="r.example.com/web:2.0.0", sync_wave="1"))
    lab.server.script = on("patch", "b", fault)
    stepped = lab.step(application())
    assert ended(stepped)[0] is phase
    assert stepped.status.last is not None
    done = {one.task.key.name: one.done for one in stepped.status.last.resources}
    assert done == {"a": True, "b": False}
    assert "old" in lab.names("ConfigMap")
    assert lab.recorded() == ["a", "b", "old", "web"]
    assert stepped.status.retry_at is not None
    lab.server.script = None
    lab.restart()
    lab.asked()
    lab.now = stepped.status.retry_at
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    writes = [one for one in lab.asked() if "updater-shop" not in one]
    expected = ["patch configmaps b", "patch deployments web", "delete configmaps old"]
    assert writes == (expected[1:] if isinstance(fault, Cut) and fault.done else expected)
    assert lab.recorded() == ["a", "b", "web"]


def test_a_busy_server_is_given_the_time_it_asks_for(tmp_path: Path) -> None:
    with delivery_lab(tmp_path) as lab:
        lab.commit(config("a"), config("b"))
        lab.server.script = on("patch", "a", refuse(429, "TooManyRequests", retry_after=1), times=2)
        assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
        assert lab.names("ConfigMap") == ["a", "b"]


def test_a_cluster_that_hangs_ends_the_sync_in_time(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, deadline="1s", request_seconds=0.5) as lab:
        lab.commit(*(config(f"c{number:02}") for number in range(40)), deployment())
        lab.server.script = lambda asked: Hang() if asked.writes and asked.name.startswith("c") else None
        began = time.monotonic()
        phase, _ = ended(lab.step(application()))
        assert phase is Phase.ERROR
        assert time.monotonic() - began < 5
        lab.server.script = None
        lab.server.cut()
        lab.later(minutes=1)
        assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")


def test_a_namespace_on_its_way_out_is_said_and_the_next_try_works(lab: DeliveryLab) -> None:
    lab.edit("/api/v1/namespaces/shop", {"metadata": {"finalizers": ["example.com/wait"]}})
    lab.delete("/api/v1/namespaces/shop")
    lab.commit(config())
    stepped = lab.step(application())
    phase, message = ended(stepped)
    assert (phase, "terminated" in message) == (Phase.FAILED, True), message
    lab.edit("/api/v1/namespaces/shop", {"metadata": {"finalizers": None}})
    lab.server.settle()
    assert stepped.status.retry_at is not None
    lab.now = stepped.status.retry_at
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")


def test_a_cluster_that_is_down_for_an_hour_makes_one_status_stale(lab: DeliveryLab) -> None:
    """What was known stays, nothing is asked in a circle, and what came meanwhile is delivered when it is back."""
    lab.commit(config())
    healthy = lab.step(application()).status
    lab.commit(config(data={"a": "new"}))
    lab.tree()
    lab.server.script = lambda _: refuse(503, "ServiceUnavailable")
    seen: list[ApplicationStatus] = []
    for _ in range(240):
        stepped = lab.step(application())
        assert stepped.again == 15.0
        seen.append(stepped.status)
        lab.later(seconds=15)
    assert len(set(map(repr, seen))) == 1
    assert (seen[0].sync, seen[0].health, seen[0].last) == (healthy.sync, healthy.health, healthy.last)
    assert "503" in seen[0].stale
    lab.server.script = None
    status = lab.step(application()).status
    assert (status.stale, status.sync, lab.got("ConfigMap", "settings")["data"]) == (
        "",
        SyncStatus.SYNCED,
        {"a": "new"},
    )


def test_a_cluster_that_goes_down_is_noticed_though_memory_is_fresh(lab: DeliveryLab) -> None:
    lab.commit(config())
    lab.step(application())
    live = lab.follow()
    lab.step(application())
    lab.settled(live, Key("", "ConfigMap", "shop", "settings"))
    lab.server.close()
    wait_for(lambda: bool(lab.world.sites["cloud"].cluster.trouble))
    assert lab.step(application()).status.stale


def test_a_sync_that_the_daemons_end_interrupts_is_no_failure(tmp_path: Path) -> None:
    with delivery_lab(tmp_path, rollout=None) as lab:
        lab.commit(job("migrate", hook="PreSync"), config(), job("alarm", hook="SyncFail"))
        thread, found = in_background(lab)
        wait_for(lambda: looks(lab, "migrate") > 1)
        began = time.monotonic()
        lab.world.stop.set()
        thread.join(5)
        assert time.monotonic() - began < 2
        assert found[0].status.last is None
        assert lab.server.get("Job", "alarm", "shop", "batch") is None
        lab.restart()
        thread, found = in_background(lab)
        wait_for(lambda: looks(lab, "migrate") > 4)
        lab.server.settle()
        thread.join(10)
        assert ended(found[0]) == (Phase.SUCCEEDED, "")


# --- trying again --------------------------------------------------------------------------------------------------


def test_a_failed_sync_is_tried_for_ever_fast_and_then_slowly(lab: DeliveryLab) -> None:
    lab.commit(config())
    lab.server.script = on("patch", "settings", refuse(422, "Invalid", "no"))
    stepped, waits = lab.step(application()), []
    for _ in range(9):
        last, until = stepped.status.last, stepped.status.retry_at
        assert last is not None
        assert last.phase is Phase.FAILED
        assert until is not None
        assert last.finished_at is not None
        waits.append(round((until - last.finished_at).total_seconds()))
        lab.restart()
        lab.asked()
        waiting = lab.step(application())
        assert (lab.asked(), waiting.drifting, waiting.status.retry_at) == ([], "", until)
        lab.now = until
        stepped = lab.step(application())
    assert waits == [5, 10, 20, 40, 80, 540, 540, 540, 540]
    lab.commit(config(data={"a": "new"}))
    lab.asked()
    lab.step(application())
    assert lab.asked(), "a new revision is tried at once"
    lab.server.script = None
    lab.later(hours=1)
    stepped = lab.step(application())
    assert (ended(stepped)[0], stepped.status.attempts, stepped.status.retry_at) == (Phase.SUCCEEDED, 0, None)


def test_heals_do_not_count_as_failures(lab: DeliveryLab) -> None:
    lab.commit(config())
    lab.step(application())
    for number in range(6):
        lab.edit("/api/v1/namespaces/shop/configmaps/settings", {"data": {"a": str(number)}})
        lab.later(minutes=6)
        lab.step(application())
    lab.edit("/api/v1/namespaces/shop/configmaps/settings", {"data": {"a": "x"}})
    lab.server.script = on("patch", "settings", refuse(422, "Invalid", "no"))
    lab.later(minutes=6)
    status = lab.step(application()).status
    assert (status.attempts, status.retry_at and status.retry_at - lab.now < timedelta(seconds=6)) == (1, True)


def test_a_kind_that_comes_later_is_waited_for(lab: DeliveryLab) -> None:
    """Another application, or a person, brings it."""
    lab.commit(made("Widget", "one"), config())
    stepped = lab.step(application())
    assert ended(stepped)[0] is Phase.FAILED
    lab.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
    lab.server.settle()
    assert stepped.status.retry_at is not None
    lab.world.sites["cloud"].cluster.refresh()
    lab.now = stepped.status.retry_at
    assert ended(lab.step(application())) == (Phase.SUCCEEDED, "")
    assert lab.names("Widget", group="example.com") == ["one"]
