"""The real kubectl works with the cluster stand-in as with a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster, Raw, back_ends, config_map, deployment, kubectl, new_namespace, started
from updater.demo.cluster import ClusterServer

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: info}
"""
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1.25", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module", params=back_ends())
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(request.param, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def space(cluster: Cluster) -> str:
    with Raw(cluster) as ask:
        return new_namespace(ask)


@pytest.fixture
def run(cluster: Cluster, space: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """kubectl in a namespace of the test's own."""
    home = tmp_path_factory.mktemp("home")

    def call(*words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return kubectl(cluster, home, "--namespace", space, *words, stdin=stdin, **more)

    return call


def good(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a command that has to succeed."""
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def apply(run: Run, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run("apply", "--server-side", *words, "-f", "-", stdin=text)


def test_it_sees_the_kinds(run: Run) -> None:
    lines = [line.split() for line in good(run("api-resources", "--no-headers")).splitlines()]
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in lines
    assert ["namespaces", "ns", "v1", "false", "Namespace"] in lines


def test_it_applies_and_applies_again(run: Run) -> None:
    expected = "deployment.apps/web serverside-applied\nservice/web serverside-applied\n"
    assert [good(apply(run, WEB)) for _ in range(2)] == [expected, expected]


def test_it_prints_tables(run: Run) -> None:
    good(apply(run, WEB))
    table = [line.split() for line in good(run("get", "deployment,service", "-o", "wide")).splitlines()]
    assert table[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert [table[1][0], *table[1][-3:]] == ["deployment.apps/web", "web", "nginx:1.25", "app=web"]
    assert table[-1][:2] == ["service/web", "ClusterIP"]


def test_it_prints_objects_whole(run: Run) -> None:
    good(apply(run, WEB))
    obj = json.loads(good(run("get", "deployment", "web", "-o", "json", "--show-managed-fields")))
    listed = json.loads(good(run("get", "deployments", "-o", "json")))
    assert obj["metadata"]["managedFields"][0]["manager"] == "kubectl"
    assert [(item["kind"], item["apiVersion"]) for item in listed["items"]] == [("Deployment", "apps/v1")]


def test_it_shows_what_an_apply_would_change(run: Run) -> None:
    good(apply(run, WEB))
    same = run("diff", "--server-side", "-f", "-", stdin=WEB)
    other = run("diff", "--server-side", "-f", "-", stdin=WEB.replace("1.25", "1.26"))
    assert (same.returncode, same.stdout, other.returncode) == (0, "", 1)
    changed = [(line[0], line.split()[-1]) for line in other.stdout.splitlines() if "image:" in line]
    assert changed == [("-", "nginx:1.25"), ("+", "nginx:1.26")]


def test_it_reports_a_conflict_and_forces_it(run: Run) -> None:
    good(apply(run, MAP))
    refused = apply(run, MAP.replace("info", "debug"), "--field-manager", "other")
    forced = apply(run, MAP.replace("info", "debug"), "--field-manager", "other", "--force-conflicts")
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.level' in refused.stderr
    assert (refused.returncode, forced.stdout) == (1, "configmap/settings serverside-applied\n")


def test_an_unknown_field_is_refused(run: Run) -> None:
    refused = apply(run, WEB.replace("selector: {matchLabels", "selectors: {}\n  selector: {matchLabels"))
    assert refused.returncode == 1
    assert ".spec.selectors: field not declared in schema" in refused.stderr
    created = run("create", "-f", "-", stdin=MAP.replace("data:", "date:"))
    assert 'strict decoding error: unknown field "date"' in created.stderr


def test_it_applies_on_its_own_side_and_then_on_the_server_s(run: Run) -> None:
    good(run("apply", "-f", "-", stdin=MAP.replace("info}", 'info, old: "1"}')))
    good(run("apply", "-f", "-", stdin=MAP.replace("info}", 'debug, old: "1"}')))
    refused = apply(run, MAP)
    good(apply(run, MAP.replace("info", "debug")))
    data = json.loads(good(run("get", "configmap", "settings", "-o", "json")))["data"]
    assert 'conflict with "kubectl-client-side-apply" using v1: .data.level' in refused.stderr
    assert data == {"level": "debug"}


def test_a_dry_run_stores_nothing(run: Run) -> None:
    assert "serverside-applied (server dry run)" in good(apply(run, MAP, "--dry-run=server"))
    assert "NotFound" in run("get", "configmap", "settings").stderr


@pytest.mark.parametrize(
    ("words", "path", "expected"),
    [
        (["scale", "deployment/web", "--replicas=3"], "{.spec.replicas}", "3"),
        (["set", "image", "deployment/web", "web=nginx:2"], "{.spec.template.spec.containers[0].image}", "nginx:2"),
        (["label", "deployment/web", "team=a"], "{.metadata.labels.team}", "a"),
        (["annotate", "deployment/web", "note=a"], "{.metadata.annotations.note}", "a"),
        (["patch", "deployment/web", "--type=json", "-p", '[{"op":"add","path":"/spec/paused","value":true}]'],
         "{.spec.paused}", "true"),
        (["patch", "deployment/web", "--type=merge", "-p", '{"spec":{"minReadySeconds":5}}'],
         "{.spec.minReadySeconds}", "5"),
        (["rollout", "restart", "deployment/web"],
         "{.spec.template.spec.containers[0].name}", "web"),
    ],
    ids=["scale", "set image", "label", "annotate", "a JSON patch", "a merge patch", "restart"],
)  # fmt: skip
def test_it_changes_objects(run: Run, words: list[str], path: str, expected: str) -> None:
    good(apply(run, WEB))
    good(run(*words))
    assert good(run("get", "deployment", "web", "-o", f"jsonpath={path}")) == expected


def test_it_deletes_and_waits(run: Run) -> None:
    good(apply(run, WEB))
    assert 'deployment.apps "web" deleted' in good(run("delete", "-f", "-", stdin=WEB))
    assert good(run("get", "deployment,service", "-o", "name")) == ""


def test_it_prunes_what_left_an_apply_set(run: Run) -> None:
    words = ("apply", "--server-side", "--prune", "--applyset=configmaps/set", "-f", "-")
    good(run(*words, stdin=f"{MAP}---\n{WEB}", KUBECTL_APPLYSET="true"))
    pruned = good(run(*words, stdin=MAP, KUBECTL_APPLYSET="true"))
    assert pruned.splitlines()[0] == "configmap/settings serverside-applied"
    assert sorted(pruned.splitlines()[1:]) == ["deployment.apps/web pruned", "service/web pruned"]
    parent = json.loads(good(run("get", "configmap", "set", "-o", "json")))["metadata"]
    assert parent["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"


def test_it_waits_for_a_rollout(tmp_path: Path) -> None:
    with ClusterServer(tmp_path / "c", rollout=0.3) as server, Raw(server) as ask:
        assert ask.apply("/apis/apps/v1/namespaces/default/deployments/web", deployment("web")).code == 201
        ended = kubectl(server, tmp_path, "rollout", "status", "deployment/web", "--timeout=20s")
        waited = kubectl(server, tmp_path, "wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    assert 'deployment "web" successfully rolled out' in good(ended)
    assert good(waited) == "deployment.apps/web condition met\n"


def test_it_watches_until_an_object_is_gone(tmp_path: Path) -> None:
    with ClusterServer(tmp_path / "c", rollout=0.05) as server, Raw(server) as ask:
        path = "/api/v1/namespaces/default/configmaps"
        owner = ask("POST", path, config_map("owner")).json
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        assert ask("POST", path, config_map("child", ownerReferences=[reference])).code == 201
        ended = kubectl(server, tmp_path, "delete", "configmap", "owner", "--cascade=foreground", "--timeout=20s")
        child = kubectl(server, tmp_path, "get", "configmap", "child")
    assert 'configmap "owner" deleted' in good(ended)
    assert "NotFound" in child.stderr


def test_it_deletes_a_namespace_with_everything_in_it(tmp_path: Path) -> None:
    with ClusterServer(tmp_path / "c", rollout=0.05) as server, Raw(server) as ask:
        space = new_namespace(ask)
        assert ask("POST", f"/api/v1/namespaces/{space}/configmaps", config_map("a")).code == 201
        ended = kubectl(server, tmp_path, "delete", "namespace", space, "--timeout=20s")
    assert f'namespace "{space}" deleted' in good(ended)
    assert server.get("ConfigMap", "a", space) is None
