"""Applications for the second loop: a repository, clusters, a configuration, and the daemon that keeps them in sync."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import lab, measure
from tests.bench.stand_in import StandIn, stand_in
from tests.lab.git import person_commits

HERE = Path(__file__).parent
APPLICATIONS, CLUSTERS, SHARED = 1000, 3, 50  # so many applications share a namespace
PATIENCE = 240.0  # seconds until all are in sync
REST = 1.5  # seconds without work, after which nothing is under way: what begins by itself begins sooner
LOOK = 0.03  # seconds of CPU

APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {name}}}
spec:
  source: {{repoURL: "{url}", path: apps/{name}, targetRevision: main}}
  destination: {{name: {cluster}, namespace: {namespace}}}
  syncPolicy: {{automated: {{prune: true, selfHeal: true}}, syncOptions: [CreateNamespace=true]}}
"""
OBJECTS = {
    "deployment": """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app.kubernetes.io/name: {name}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: {name}
      containers:
        - name: main
          image: registry.example.test/team/{name}:1.0.{build}
          ports: [{{containerPort: 8080}}]
          envFrom: [{{configMapRef: {{name: {name}}}}}, {{secretRef: {{name: {name}}}}}]
          resources: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{memory: 256Mi}}}}
          readinessProbe: {{httpGet: {{path: /ready, port: 8080}}}}
""",
    "service": """\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
""",
    "config-map": """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data: {{LOG_LEVEL: info, POOL: "10", UPSTREAM: "http://{name}.example.test"}}
""",
    "secret": """\
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{password: "{name}-{build}"}}
""",
    "service-account": """\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
""",
}


def name_of(number: int) -> str:
    return f"app-{number:04}"


@dataclass(slots=True)
class Estate:
    """What Git has, and what the clusters are called. Names of applications sort by their numbers."""

    bare: Path
    url: str
    builds: dict[int, int] = field(default_factory=dict)

    def config(self, folder: Path, login: Mapping[str, str], stand_ins: Sequence[StandIn]) -> Path:
        """Write a configuration. It is JSON, which is YAML; nothing is held back, and Git is looked at when we say."""
        named = [
            {"name": f"cluster-{n}", "kubeconfig": f"file:{one.kubeconfig}", "rate": None}
            for n, one in enumerate(stand_ins)
        ]
        document = {
            "images": [],
            "data": str(folder / "estate-data"),
            "repositories": [{"name": "estate", "url": self.url, "credentials": login}],
            "applications": [{"repository": "estate", "path": "applications"}],
            "clusters": named,
            "sync": {"poll": "1h"},
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "estate.yaml"
        path.write_text(json.dumps(document))
        return path

    def touch(self) -> None:
        """Commit what belongs to no application."""
        person_commits(self.bare, {"README.md": f"{time.time()}".encode()})

    def files(self, number: int) -> dict[str, bytes]:
        """Return the files of one application."""
        name = name_of(number)
        filled = {kind: text.format(name=name, build=self.builds.get(number, 0)) for kind, text in OBJECTS.items()}
        return {f"apps/{name}/{kind}.yaml": text.encode() for kind, text in filled.items()}

    def bump(self, number: int) -> None:
        """Commit a new image of one application."""
        self.builds[number] = self.builds.get(number, 0) + 1
        path = f"apps/{name_of(number)}/deployment.yaml"
        person_commits(self.bare, {path: self.files(number)[path]})


def estate(servers: lab.Lab) -> Estate:
    """Make the repository: a folder for each application, and its manifest."""
    made = Estate(Path(), servers.git_url("estate"))
    files: dict[str, bytes] = {}
    for number in range(APPLICATIONS):
        name = name_of(number)
        filled = APPLICATION.format(
            name=name, url=made.url, cluster=f"cluster-{number % CLUSTERS}", namespace=_namespace(number)
        )
        files |= made.files(number) | {f"applications/{name}.yaml": filled.encode()}
    made.bare = servers.repository("estate", files)
    return made


def _namespace(number: int) -> str:
    return f"team-{number // SHARED:02}"


class Loop:
    """The second loop in a process of its own: `deliver.py`."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._changed = threading.Condition()
        self._synced: dict[str, str] = {}
        self._ended = False
        self.trouble: list[str] = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """Have it look at Git."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def synced(self, count: int) -> None:
        """Wait until so many applications were in sync once. Raises RuntimeError."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._synced) >= count, PATIENCE)
        if len(self._synced) < count:
            raise RuntimeError(f"{len(self._synced)} of {count} applications are in sync: {self.trouble[-3:]}")

    def rest(self, more_than: float = 0.0) -> float:
        """Wait until it does nothing more; return its `cpu`.

        It has not begun before it has used a little more than so much: a look at Git alone takes as long.
        """
        used, since, end = self.cpu(), time.monotonic(), time.monotonic() + PATIENCE
        while time.monotonic() - since < REST or used - more_than < LOOK:
            if time.monotonic() > end:
                raise RuntimeError("the second loop does not come to rest")
            time.sleep(0.05)
            now = self.cpu()
            if now - used > 0.011:  # one tick: threads that look at the clock
                used, since = now, time.monotonic()
        return self.cpu()

    def peak(self) -> float:
        """Return the most that it held at any time, in MiB."""
        words = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return int(words["VmHWM"].split()[0]) / 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, and its children that have ended."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._child.pid}/{name}").read_text()

    def _read(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            found = json.loads(line) if line.startswith("{") else {"level": "error", "event": line}
            with self._changed:
                if found.get("sync") == "Synced":
                    self._synced[found["application"]] = found["revision"]
                elif found.get("level") != "info":
                    self.trouble.append(line[:2000])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def clusters(folder: Path, environment: Mapping[str, str]) -> Iterator[list[StandIn]]:
    """Run the stand-ins for as long as the block lasts; the namespaces are there."""
    with ExitStack() as closing:
        made = [closing.enter_context(stand_in(folder / f"cluster-{n}", environment)) for n in range(CLUSTERS)]
        for one in made:
            one.create_namespaces({_namespace(number) for number in range(APPLICATIONS)})
            one.take(folder / "namespaces.json")
        yield made


@contextmanager
def daemon(config: Path, environment: Mapping[str, str]) -> Iterator[Loop]:
    """Run the second loop for as long as the block lasts."""
    command = [lab.python(), "-m", "tests.bench.deliver", str(config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=HERE.parents[1]
    ) as child:
        running = Loop(child)
        try:
            yield running
        finally:
            assert child.stdin is not None
            child.stdin.close()
            child.wait(measure.DEADLINE)
            running.thread.join()
