"""`updater run` as a process that delivers: kubeconfigs come and go, it reloads, and it stops in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_run import Running, watching
from tests.lab.fleet import Fleet, application, deployment, fleet, written
from tests.lab.hasty import program
from tests.lab.path import ROOT
from updater.demo.cluster import ClusterServer
from updater.demo.cluster.asked import Asked, Fault, Hang
from updater.model.limits import USUAL, Limits

DRAIN = 20.0  # seconds from SIGTERM to the end
HASTY = Limits(drain=6.0)  # more than the 5 s that a list which hangs is waited for


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "cloud", "idc", sync={"poll": "1s"}) as made:
        made.apply(*made.everywhere())
        yield made


@contextmanager
def running(made: Fleet, **sections: Any) -> Iterator[Running]:
    command = [*program(made.limits), "run", "-c", str(made.configure(**sections))]
    variables = {"PATH": os.environ["PATH"], "HOME": str(made.folder), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=made.folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with watching(process) as daemon:
        yield daemon


def stopped(daemon: Running) -> float:
    """Stop it, and return how long that took."""
    start = time.monotonic()
    assert daemon.stop() == 0
    return time.monotonic() - start


@pytest.mark.parametrize(
    ("verb", "synced"), [("patch", 1), ("get", 1), ("list", 2)], ids=["in a write", "in a read", "in a list"]
)
def test_a_daemon_that_waits_for_a_cluster_that_hangs_stops_in_time_and_tells_nothing_of_it(
    two: Fleet, verb: str, synced: int
) -> None:
    met = threading.Event()

    def hang(asked: Asked) -> Fault | None:
        if asked.verb != verb or not asked.resource:
            return None
        met.set()
        return Hang()

    two.clusters["cloud"].script = hang
    two.limits = HASTY
    with running(two) as daemon:
        two.until(lambda: two.healthy("shop-idc") and two.kinds()["sync_succeeded"] == synced)
        assert met.wait(DRAIN)
        assert stopped(daemon) < DRAIN - (USUAL.drain - HASTY.drain)
    assert two.kinds() == Counter(sync_succeeded=synced)
    two.clusters["cloud"].script, two.limits = None, USUAL
    with running(two) as daemon:
        daemon.wait("started")
        two.until(lambda: two.healthy("shop-cloud", "shop-idc"), 60)
        assert stopped(daemon) < DRAIN
    assert two.kinds() == Counter(sync_succeeded=2)


def test_an_idle_daemon_stops_at_once(two: Fleet) -> None:
    with running(two) as daemon:
        two.until(lambda: two.healthy("shop-cloud", "shop-idc"))
        assert stopped(daemon) < 5
        assert daemon.process.returncode == 0


def waves(tag: str) -> bytes:
    """Return a Deployment that a second one waits for."""
    later = deployment(tag, name="later")
    later["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": "1"}
    return written(deployment(tag), later)


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_sync_that_is_cut_goes_on_and_is_told_once(tmp_path: Path, how: str) -> None:
    """The second wave waits for the first, which does not become healthy before."""
    with fleet(tmp_path, "cloud", sync={"poll": "1s"}, rollout=None) as made:  # it is ready when that is said
        cloud = made.clusters["cloud"]
        made.commit({"apps/shop/all.yaml": waves("1.0.0")})
        made.apply(application("shop", "cloud", made.url))
        with running(made) as daemon:
            made.until(lambda: made.image("cloud") == "1.0.0")
            if how == "reload":
                made.configure(sync={"poll": "2s"})
                daemon.wait("config_loaded")
                cloud.settle()
                made.until(lambda: made.image("cloud", "later") == "1.0.0", 60)
            assert stopped(daemon) < DRAIN
        with running(made) as daemon:
            daemon.wait("started")
            made.until(lambda: _settled(cloud) and made.healthy("shop") and made.image("cloud", "later") == "1.0.0", 60)
            assert stopped(daemon) < DRAIN
        assert made.kinds() == Counter(sync_succeeded=1)


def _settled(cluster: ClusterServer) -> bool:
    cluster.settle()
    return True


def test_kubeconfigs_come_break_and_go(two: Fleet) -> None:
    folder = two.folder / "kubeconfigs"
    folder.mkdir()
    good = two.clusters["idc"].kubeconfig.read_text()

    def put(text: str) -> None:
        new = folder / ".new"
        new.write_text(text)
        new.replace(folder / "idc.kubeconfig")

    (folder / "cloud.yaml").write_text(two.clusters["cloud"].kubeconfig.read_text())
    with running(two, clusters=[{"directory": str(folder)}]) as daemon:
        two.until(lambda: two.healthy("shop-cloud"))
        put(good)
        two.until(lambda: two.healthy("shop-cloud", "shop-idc"))
        put("clusters: {")
        daemon.wait("cluster_refused", cluster="idc")
        two.until(lambda: two.kinds()["cluster_unreachable"] == 1)
        two.commit({"apps/shop/all.yaml": written(deployment("1.1.0"))})
        two.until(lambda: two.healthy("shop-cloud", tag="1.1.0"))
        assert set(two.statuses()) == {"shop-cloud", "shop-idc"}
        put(good)
        two.until(lambda: two.healthy("shop-cloud", "shop-idc", tag="1.1.0"))
        two.until(lambda: two.kinds()["cluster_recovered"] == 1)
        (folder / "idc.kubeconfig").unlink()
        daemon.wait("config_loaded")
        daemon.wait("application_refused")
        two.until(lambda: two.kinds()["config_rejected"] == 2)  # at first, and now: it names a cluster that is not here
        assert set(two.statuses()) == {"shop-cloud", "shop-idc"}
        assert stopped(daemon) < DRAIN
    assert two.kinds() == Counter(sync_succeeded=4, cluster_unreachable=1, cluster_recovered=1, config_rejected=2)
    [event] = [one for one in two.events() if one.kind.value == "cluster_unreachable"]
    assert event.images == ("shop-idc",)


LOADS = """
import sys
from updater.cli.main import main
from updater.daemon import run
def seen(daemon, signals):
    print("loaded", *sorted(name for name in sys.modules if name.startswith(("kubernetes", "updater"))))
run.Daemon._watch = seen
sys.argv = ["updater", "run", "-c", sys.argv[1]]
main()
"""


def test_a_daemon_without_clusters_loads_nothing_of_the_second_loop(tmp_path: Path) -> None:
    config = tmp_path / "updater.yaml"
    config.write_text(json.dumps({"data": str(tmp_path / "data"), "repositories": [], "images": []}))
    command = [sys.executable, "-c", LOADS, str(config)]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, text=True, capture_output=True, timeout=60, check=False)
    [loaded] = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("loaded")]
    rooms = ("kubernetes", "updater.cluster", "updater.renderers", "updater.health", "updater.daemon.delivery",
             "updater.daemon.sites", "updater.pipeline.deliver", "updater.pipeline.apply", "updater.pipeline.announce",
             "updater.sync.order", "updater.sync.diff", "updater.config.manifests")  # fmt: skip
    assert "updater.daemon.couriers" in loaded
    assert [name for name in loaded if name.startswith(rooms)] == []
