"""The whole path: a pushed tag becomes one line in Git, on every kind of server, and runs in two clusters."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import application, deployment, written
from tests.lab.git import SERVERS, git
from tests.lab.path import Daemon, WholePath, changed_lines, commits, head, manifest, trailers
from tests.lab.registry import INSTALLED, Auth, Flavour
from updater.demo.cluster import ClusterServer
from updater.demo.sink import MessageSink


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers of one walk; where they are not installed, the embedded ones take their part."""

    git: str = "embedded"
    registry: Flavour = "embedded"
    auth: Auth = "open"
    tls: bool = False


STAGES = {
    "embedded-registry-and-git": Stage(),
    "docker-registry-htpasswd-nginx-basic": Stage("nginx", "docker-registry", "basic"),
    "docker-registry-tls-token-ssh": Stage("ssh", "docker-registry", "token", tls=True),
}


@pytest.fixture(params=list(STAGES.values()), ids=list(STAGES))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WholePath]:
    stage: Stage = request.param
    server = SERVERS[stage.git] if not SERVERS[stage.git].missing() else SERVERS["embedded"]
    flavour: Flavour = stage.registry if INSTALLED else "embedded"
    with WholePath.open(tmp_path, flavour, server, auth=stage.auth, tls=stage.tls) as opened:
        yield opened


def test_a_pushed_tag_becomes_one_line_in_one_commit(path: WholePath) -> None:
    image = path.image("acme/api")
    path.push("acme/api", "1.4.2")
    bare = path.create("fleet", {"apps/api.yaml": manifest(image, "1.4.2"), "README.md": b"by hand\n"})
    path.configure([path.entry("acme/api", range="1.x")])
    before = head(bare)
    path.push("acme/api", "1.5.0", "2.0.0", "latest")

    ran = path.run("once", "--json")

    assert (ran.code, ran.err) == (0, "")
    clone = path.clone("fleet")
    after = git(clone, "rev-parse", "HEAD")
    assert commits(clone, before, after) == [after]
    assert changed_lines(clone, before, after) == [
        f'-          image: "{image}:1.4.2"   # bumped',
        f'+          image: "{image}:1.5.0"   # bumped',
    ]
    assert git(clone, "diff", "--name-only", before, after) == "apps/api.yaml"
    assert trailers(clone, after, "Image-Update") == [f"{image} 1.4.2 -> 1.5.0"]
    assert git(clone, "log", "-1", "--format=%s") == f"Update {image} to 1.5.0"
    _assert_shape(ran.json, image, after)

    again = path.run("once", "--json")
    assert (again.code, again.json["commits"]) == (0, [])
    assert again.json["images"][0]["outcome"] == "up_to_date"
    assert head(bare) == after


def _assert_shape(document: Any, image: str, after: str) -> None:
    """The document of `once --json`, whole; only wording is left open."""
    assert set(document) == {"images", "commits", "failures"}
    assert document["failures"] == []
    [row] = document["images"]
    [place] = row.pop("references")
    reason, why = row.pop("reason"), row.pop("why", "")
    place.pop("why", "")
    assert "1.x" in f"{reason} {why}"
    assert row == {
        "name": "api", "image": image, "outcome": "updated", "current": "1.4.2", "target": "1.5.0", "newest": "1.5.0",
    }  # fmt: skip
    assert place == {
        "repository": "fleet", "branch": "main", "file": "apps/api.yaml", "line": 11, "current": "1.4.2",
        "target": "1.5.0", "outcome": "updated", "reason": reason,
    }  # fmt: skip
    [commit] = document["commits"]
    message = commit.pop("message")
    assert commit == {"repository": "fleet", "branch": "main", "revision": after, "files": ["apps/api.yaml"]}
    assert message.startswith(f"Update {image} to 1.5.0\n\n- {image} 1.4.2 -> 1.5.0 in apps/api.yaml:11\n")
    assert re.search(rf"^Image-Update: {re.escape(image)} 1\.4\.2 -> 1\.5\.0$", message, re.MULTILINE)


PATIENCE = 60.0  # seconds; alone it takes three


def test_a_pushed_tag_runs_in_two_clusters_and_that_is_told(tmp_path: Path) -> None:
    """A tag, one commit, two clusters that are healthy with it, a message: all by one `updater run`."""
    with (
        WholePath.embedded(tmp_path) as path,
        ClusterServer(tmp_path / "cloud") as cloud,
        ClusterServer(tmp_path / "idc") as idc,
        MessageSink() as sink,
    ):
        image = path.image("acme/shop")
        path.push("acme/shop", "1.4.1")
        files = {"apps/shop/all.yaml": written(deployment("1.4.1", image))}
        bare = path.create("fleet", files)
        apps = [application(f"shop-{name}", name, path.git.url("fleet"), labels={"consistency-group": "shop"})
                for name in ("cloud", "idc")]  # fmt: skip
        path.create("apps", {f"applications/{one['metadata']['name']}.yaml": written(one) for one in apps})
        path.configure(
            [path.entry("acme/shop", range="1.x", poll={"interval": "1s", "jitter": "0s"})],
            ["fleet", "apps"],
            clusters=[{"name": name, "kubeconfig": f"file:{one.kubeconfig}"}
                      for name, one in (("cloud", cloud), ("idc", idc))],
            applications=[{"repository": "apps"}],
            sync={"poll": "1h"},
            notifications={
                "channels": [{"kind": "dingtalk", "token": "env:LAB_REGISTRY_PASSWORD", "base_url": sink.url}],
                "routes": [{"events": ["image_updated", "sync_succeeded"], "channels": ["dingtalk"], "group": "1s"}],
            },
        )  # fmt: skip
        before = head(bare)

        with Daemon(path) as daemon:
            _until(lambda: [_runs(one) for one in (cloud, idc)] == [f"{image}:1.4.1"] * 2)
            path.push("acme/shop", "1.5.0")
            _until(lambda: [_runs(one) for one in (cloud, idc)] == [f"{image}:1.5.0"] * 2)
            _until(lambda: [_told(sink, "shop updated: 1.4.1 -> 1.5.0"), _told(sink, "shop-cloud to cloud succeeded"),
                            _told(sink, "shop-idc to idc succeeded")] == [1, 2, 2])  # fmt: skip
            assert len(commits(bare, before)) == 1
            _until(lambda: _standing(path) == [("shop-cloud", "Synced", "Healthy"), ("shop-idc", "Synced", "Healthy")])
            daemon.ask()
            assert daemon.end() == 0
        assert not [event for event in daemon.events if event.get("level") == "error"]
        assert path.run("apps", "--differ", "--json").json["differ"] == {}


def _told(sink: MessageSink, words: str) -> int:
    return sum(text.count(words) for text in sink.texts)


def _runs(cluster: ClusterServer) -> str:
    found = cluster.get("Deployment", "shop", "shop", "apps")
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""


def _standing(path: WholePath) -> list[tuple[str, str, str]]:
    rows = path.run("apps", "--json").json["applications"]
    return [(row["name"], row["sync"], row["health"]) for row in rows]


def _until(true: Callable[[], bool]) -> None:
    end, pause = time.monotonic() + PATIENCE, threading.Event()
    while not true():
        assert time.monotonic() < end
        pause.wait(0.05)
