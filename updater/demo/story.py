"""`updater demo`: the whole path on this machine, told as it happens; nothing needs to be installed but git.

A registry, a Git server, two stand-ins for clusters and a DingTalk robot on loopback, three files that name one image
in three ways, the daemon as a process of its own, one pushed tag, one commit, two deliveries, and what people are told.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from updater.demo.cluster import ClusterServer
from updater.demo.git_server import GitServer
from updater.demo.image import push_image
from updater.demo.registry import EmbeddedRegistry
from updater.demo.sink import MessageSink

PATIENCE = 20.0  # seconds to wait for any one thing; the whole story takes a few
REPOSITORY = "acme/shop"
BEFORE, AFTER = ("1.3.0", "1.4.0", "1.4.1"), "1.5.0"
CLUSTERS = ("cloud", "on-premises")
ROBOT, SECRET = "demo-robot", "SEC-of-the-demo"  # of a robot that is on this machine alone
STRAY = ("2.0.0-rc.1", "latest", "20240101")  # what must not be picked

DEPLOYMENT = """\
# The shop. Comments, quotes and blank lines below stay as they are.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
        - name: web
          image: "{image}:1.4.1"   # bumped by the updater
          ports: [{{containerPort: 8080}}]
"""
KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../base]
images:
  - name: {image}
    newTag: 1.4.1
"""
VALUES = """\
replicaCount: 2

image:
  repository: {image}
  tag: 1.4.1          # one line changes, nothing else
  pullPolicy: IfNotPresent
"""
APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: shop-{cluster}
  labels: {{consistency-group: shop}}
spec:
  source: {{repoURL: "{url}", path: apps/shop}}
  destination: {{name: {cluster}, namespace: shop}}
  syncPolicy:
    automated: {{prune: true, selfHeal: true}}
    syncOptions: [CreateNamespace=true]
"""
CONFIG = """\
data: {data}
registries:
  - {{host: "{host}", insecure: true}}      # plain HTTP, as it is on this machine only
repositories:
  - {{name: fleet, url: "{url}"}}
images:
  - image: {image}
    name: shop
    policy: {{kind: semver, range: 1.x}}
    poll: {{interval: 2s, jitter: 0s}}
notifications:
  channels:
    - {{kind: dingtalk, url: "env:DEMO_ROBOT", secret: "env:DEMO_SECRET"}}
  routes:
    - {{events: [image_updated], group: 0s, channels: [dingtalk]}}
    - {{events: [sync_succeeded, "health_*"], group: 2s, channels: [dingtalk]}}
    - {{severity: warning, channels: [dingtalk]}}
clusters:
{clusters}applications:
  - {{repository: fleet, path: applications}}   # Argo CD's manifests, as they are
"""

out = Console(highlight=False, soft_wrap=True)


def tell(*, keep: bool = False) -> int:
    """Tell the story and return the exit code; with `keep` leave everything running until Ctrl-C."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="updater-demo-") as name,
        EmbeddedRegistry() as registry,
        MessageSink(tokens=[ROBOT], secrets={ROBOT: SECRET}) as sink,
        ExitStack() as closing,
    ):
        folder = Path(name)
        clusters = {one: closing.enter_context(ClusterServer(folder / one)) for one in CLUSTERS}
        image = f"{registry.host}/{REPOSITORY}"
        for tag in (*BEFORE, *STRAY):
            push_image(registry.url, REPOSITORY, [tag])
        with GitServer(folder / "git") as git:
            url = git.create("fleet", _files(image, f"{git.url}/fleet.git"))
            config = folder / "updater.yaml"
            places = "".join(f'  - {{name: {one}, kubeconfig: "file:{server.kubeconfig}"}}\n'
                             for one, server in clusters.items())  # fmt: skip
            config.write_text(
                CONFIG.format(data=folder / "data", host=registry.host, url=url, image=image, clusters=places)
            )
            _opening(registry, url, clusters, sink, config)
            page = f"127.0.0.1:{_free_port()}"
            robot = {
                "UPDATER_LISTEN": page,
                "DEMO_ROBOT": f"{sink.url}/robot/send?access_token={ROBOT}",
                "DEMO_SECRET": SECRET,
            }
            with _daemon(config, robot) as events:
                commit = _acts(registry, image, events)
                if commit is None:
                    return 1
                seconds = _delivered(commit, events)
                if seconds is None:
                    return 1
                _explained(config)
                _closing(folder / "git" / "fleet.git", commit)
                _standing(config, seconds)
                _told(sink)
                _step(f"From nothing to this message in {time.monotonic() - started:.1f} s")
                _where_next(config, url, registry, f"http://{page}/" if keep else "")
                if keep:
                    _wait_for_interrupt(events)
    return 0


def _files(image: str, url: str) -> dict[str, bytes]:
    manifests = {f"applications/{one}.yaml": APPLICATION.format(cluster=one, url=url).encode() for one in CLUSTERS}
    texts = {
        "apps/shop/deployment.yaml": DEPLOYMENT,
        "envs/prod/kustomization.yaml": KUSTOMIZATION,
        "charts/shop/values.yaml": VALUES,
    }
    return {path: text.format(image=image).encode() for path, text in texts.items()} | manifests


def _opening(
    registry: EmbeddedRegistry, url: str, clusters: Mapping[str, ClusterServer], sink: MessageSink, config: Path
) -> None:
    _step("A registry, a Git server, two clusters (stand-ins) and a DingTalk robot run on this machine")
    out.print(f"  registry  {registry.url}  {REPOSITORY}: {', '.join((*BEFORE, *STRAY))}")
    out.print(f"  git       {url}  (Deployment, kustomization, Helm values)")
    for name, server in clusters.items():
        out.print(f"  cluster   {server.url}  {name}")
    out.print(f"  dingtalk  {sink.url}  checks signatures and limits as the service does")
    _step(f"The configuration, whole: {config}")
    out.print(Syntax(config.read_text().rstrip(), "yaml", background_color="default"))


def _acts(registry: EmbeddedRegistry, image: str, events: queue.Queue[dict[str, Any]]) -> dict[str, Any] | None:
    """Start, find nothing to do, see a new tag, commit; None when something did not come."""
    _step("The daemon starts: Git holds the newest that the policy allows, and the clusters get what Git holds")
    if _await(events, "decided") is None or _healthy(events, "") is None:
        return None
    _step(f"Somebody pushes {image}:{AFTER}")
    push_image(registry.url, REPOSITORY, [AFTER])
    return _await(events, "committed")


def _healthy(events: queue.Queue[dict[str, Any]], revision: str) -> float | None:
    """Wait until every cluster has a revision and is healthy; return the seconds."""
    started, left = time.monotonic(), set(CLUSTERS)
    while left:
        event = _await(events, "application")
        if event is None:
            return None
        arrived = event["sync"] == "Synced" and (not revision or revision.startswith(event["revision"]))
        if event["health"] == "Healthy" and arrived:
            left.discard(event["cluster"])
    return time.monotonic() - started


def _delivered(commit: dict[str, Any], events: queue.Queue[dict[str, Any]]) -> float | None:
    _step("The commit is applied to both clusters, in order, after a dry run of everything")
    return _healthy(events, commit["revision"])


def _standing(config: Path, seconds: float) -> None:
    _step(f"How the clusters stand, healthy {seconds:.1f} s after the commit: updater apps")
    _run("apps", config)


def _run(command: str, config: Path) -> None:
    argv = [sys.executable, "-m", "updater", *command.split(), "--config", str(config)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE, env=_plain()).stdout
    for line in told.rstrip().splitlines():
        out.print(f"  {escape(line.rstrip())}")


def _await(events: queue.Queue[dict[str, Any]], wanted: str) -> dict[str, Any] | None:
    """Print events as they come until the wanted one."""
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0:
        try:
            event = events.get(timeout=left)
        except queue.Empty:
            break
        _print_event(event)
        if event.get("event") == wanted:
            return event
        if event.get("event") == "ended":
            break
    out.print(f"[red]did not come within {PATIENCE:.0f} s:[/] {wanted}")
    return None


def _print_event(event: dict[str, Any]) -> None:
    told = {key: value for key, value in event.items() if key not in {"event", "level", "timestamp"}}
    rest = "  ".join(f"{key}={value}" for key, value in told.items() if not isinstance(value, list))
    out.print(f"  [cyan]{event.get('event')}[/]  {escape(rest)}")
    for value in told.values():
        for line in value if isinstance(value, list) else ():
            out.print(f"    {escape(str(line))}")


def _explained(config: Path) -> None:
    _step("Why this one, and why not the others: updater explain shop")
    _run("explain shop", config)


def _closing(repository: Path, commit: dict[str, Any]) -> None:
    _step("What people review: git log -p")
    command = ["git", "--git-dir", str(repository), "log", "-p", "-1", "--no-color", commit["revision"]]
    log = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE, env=_plain()).stdout
    out.print(Syntax(log.rstrip(), "diff", background_color="default"))


def _told(sink: MessageSink) -> None:
    _step("What the robot told its group: the commit, and that it arrived")
    end, count = time.monotonic() + PATIENCE, 1
    while len(texts := _about_the_update(sink)) < 2:
        count = max(count, len(sink.wait(count, max(0.1, end - time.monotonic())))) + 1
    for text in texts:
        for line in text.splitlines():
            out.print(f"  {escape(line)}")
        out.print()


def _about_the_update(sink: MessageSink) -> list[str]:
    texts = sink.texts
    first = next((at for at, text in enumerate(texts) if AFTER in text), len(texts))
    return texts[first : first + 2]


def _where_next(config: Path, url: str, registry: EmbeddedRegistry, page: str) -> None:
    out.print("  Three files, one line each; 2.0.0-rc.1, latest and 20240101 were never candidates. Where to go next:")
    if page:
        out.print(f"    {page}    the page: all of this, with diff, trace and timeline; it moves by itself")
        out.print(f"    updater explain shop -c {config}    every tag with its verdict and why")
        out.print(f"    updater history -c {config}         the same commit, read back from Git")
        out.print(f"    updater diff shop-cloud -c {config}")
        out.print(f"    git clone {url}")
        out.print(f"    the registry listens on {registry.url}; Ctrl-C ends everything")
        return
    out.print("    updater demo --keep     leaves all this running, to try explain, find, history and check")
    out.print("    config/updater.yaml     the shortest useful configuration; config/full.yaml has everything")
    out.print("    updater check --diff    shows what would be pushed to your own repositories, and writes nothing")


def _free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _step(text: str) -> None:
    out.print(f"\n[bold]{escape(text)}[/]")


@contextmanager
def _daemon(config: Path, robot: dict[str, str]) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Run `updater run` as a process of its own and yield its events."""
    command = [sys.executable, "-m", "updater", "run", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_plain() | robot)
    events: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
    assert process.stderr is not None
    reader = threading.Thread(target=_read, args=(process.stderr, events), daemon=True)
    reader.start()
    try:
        yield events
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE + 5)
        reader.join(PATIENCE)
        process.stderr.close()


def _read(stream: IO[str], events: queue.Queue[dict[str, Any]]) -> None:
    for line in stream:
        try:
            event = json.loads(line)
        except ValueError:
            event = {"event": line.rstrip()}
        try:
            events.put_nowait(event)
        except queue.Full:
            continue  # nobody listens any more; the pipe must not fill up
    try:
        events.put_nowait({"event": "ended"})
    except queue.Full:
        return


def _wait_for_interrupt(events: queue.Queue[dict[str, Any]]) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as by Ctrl-C: nothing is left behind
    try:
        while (event := events.get()).get("event") != "ended":
            _print_event(event)
    except KeyboardInterrupt:
        out.print("\nending")


def _plain() -> dict[str, str]:
    """The environment without what would change the story."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("UPDATER_", "GIT_"))}
    return kept | {"UPDATER_LISTEN": "127.0.0.1:0"}
