"""Loop two with real servers: a repository, clusters on loopback, and the steps of one application between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.lab.cluster import APPLY, MERGE, Raw, Said
from tests.lab.git import git
from updater.cluster.client import Cluster
from updater.cluster.live import Live
from updater.cluster.login import kubeconfig
from updater.config.load import load
from updater.config.manifests import read
from updater.config.settings import Settings
from updater.daemon.build import clones
from updater.daemon.sites import _follow, _seen
from updater.demo.cluster import ClusterServer
from updater.demo.git_server import GitServer
from updater.errors import UpdaterError
from updater.model.application import Application, ApplicationStatus
from updater.model.resource import Key
from updater.pipeline.deliver import step
from updater.pipeline.sources import Tree
from updater.pipeline.world import Ask, Assigned, Memory, Site, Stepped, World
from updater.renderers.front import Front
from updater.store.applications import document, status_of
from updater.sync.inventory import DATA, parent_key
from updater.transport.pace import Breaker

Json = dict[str, Any]

APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop}
spec:
  source: {repoURL: "https://git.example.com/fleet.git", path: shop, targetRevision: main}
  destination: {name: cloud, namespace: shop}
  syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [CreateNamespace=true]}
"""
API = {"Deployment": "apps/v1", "Job": "batch/v1", "Widget": "example.com/v1"}
API["CustomResourceDefinition"] = "apiextensions.k8s.io/v1"
ARGO = "argocd.argoproj.io"


def application(text: str = APPLICATION, *, name: str = "shop", **policy: Any) -> Application:
    """Return the application of a manifest; `policy` are keys of its syncPolicy, but `ignored`, and `finalizers`."""
    [manifest] = yaml.safe_load_all(text)
    manifest["metadata"]["name"] = name
    if finalizers := policy.pop("finalizers", None):
        manifest["metadata"]["finalizers"] = finalizers
    if ignored := policy.pop("ignored", None):
        manifest["spec"]["ignoreDifferences"] = ignored
    manifest["spec"]["source"] |= policy.pop("source", {})
    manifest["spec"]["destination"] |= policy.pop("destination", {})
    manifest["spec"]["syncPolicy"] |= policy
    found = read(json.dumps(manifest), "shop.yaml")
    assert not found.problems, found.problems
    return found.applications[0]


def made(kind: str, name: str, *, namespace: str = "", **more: Any) -> Json:
    """Return a manifest; arguments are its fields, but `hook`, `sync_wave`, `sync_options`, ... which annotate it."""
    fields: Json = {key: more.pop(key) for key in ("spec", "data", "stringData", "rules") if key in more}
    given = more.pop("metadata", {})
    annotations = {f"{ARGO}/{word.replace('_', '-')}": text for word, text in more.items()}
    metadata: Json = {"name": name, **({"namespace": namespace} if namespace else {}), **given}
    if annotations or given.get("annotations"):
        metadata["annotations"] = {**given.get("annotations", {}), **annotations}
    return {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": metadata, **fields}


def deployment(
    name: str = "web", image: str = "r.example.com/web:1.0.0", replicas: int | None = 2, **more: Any
) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return made("Deployment", name, spec=spec | ({} if replicas is None else {"replicas": replicas}), **more)


def config(name: str = "settings", **more: Any) -> Json:
    return made("ConfigMap", name, **{"data": {"a": "b"}} | more)


def job(name: str, image: str = "r.example.com/job:1", **more: Any) -> Json:
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": image}]}}}
    return made("Job", name, spec=spec, **more)


def definition(kind: str = "Widget", group: str = "example.com", **more: Any) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    plural = f"{kind.lower()}s"
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return made("CustomResourceDefinition", f"{plural}.{group}", spec=spec, **more)


@dataclass
class DeliveryLab:
    """One cluster `cloud` and one repository; `now` is the time of the steps, moved by hand."""

    folder: Path
    server: ClusterServer
    git: GitServer
    settings: Settings
    bare: Path
    world: World
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: list[str] = field(default_factory=list)
    lives: list[Live] = field(default_factory=list)
    memories: dict[str, Memory] = field(default_factory=dict)
    known: Tree | None = None

    # --- what Git has ------------------------------------------------------------------------------------------------

    def commit(self, *objects: Json, folder: str = "shop", **files: str) -> str:
        """Make these all that a folder has; return the commit."""
        texts = {f"{folder}/all.yaml": yaml.safe_dump_all(objects, sort_keys=False)} | {
            name.replace("__", "/"): text for name, text in files.items()
        }
        parts = [b"commit refs/heads/main\ncommitter P <p@example.test> 1700000000 +0000\n", _data(b"By hand")]
        if git(self.bare, "for-each-ref", "refs/heads/main"):
            parts.append(b"from refs/heads/main^0\n")
        for path, text in texts.items():
            parts.append(b"M 100644 inline %b\n%b" % (path.encode(), _data(text.encode())))
        git(self.bare, "fast-import", "--quiet", "--date-format=raw", data=b"".join(parts))
        return git(self.bare, "rev-parse", "refs/heads/main")

    def tree(self) -> Tree:
        """Return what Git has now; it is asked where it has anything new."""
        head = git(self.bare, "rev-parse", "refs/heads/main")
        if self.known is None or self.known.revision != head:
            self.known = self._observed()
        return self.known

    def _observed(self) -> Tree:
        [repository] = self.settings.repositories
        clone = self.clone_of(repository)
        with clone.lock():
            revision = clone.resolve({"main"})["main"]
            assert isinstance(revision, str), revision
            return Tree(clone, revision, {blob.path: blob for blob in clone.tree(revision)})

    def __post_init__(self) -> None:
        self.clone_of = clones(self.settings)
        self.world.started = lambda _application, _cluster, revision: self.begun.append(revision)

    # --- what is done ------------------------------------------------------------------------------------------------

    def assigned(self, one: Application) -> Assigned:
        return Assigned(one, "cloud", self.memories.setdefault(one.name, Memory()))

    def step(self, one: Application, tree: Tree | UpdaterError | None = None, **ask: Any) -> Stepped:
        """Do one step at `now`; the time that a sync takes goes by."""
        found = step(self.world, self.assigned(one), self.tree() if tree is None else tree, Ask(**ask), self.now)
        if (last := found.status.last) is not None:
            self.now = max(self.now, last.finished_at or self.now)
        return found

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def restart(self) -> None:
        """Forget everything but what the state has of the applications."""
        kept = {name: _stored(memory.status) for name, memory in self.memories.items()}
        self.memories = {name: Memory(status=status) for name, status in kept.items()}
        self.world.stop.clear()

    # --- what the cluster has ----------------------------------------------------------------------------------------

    def asked(self, *, dry: bool = False) -> list[str]:
        """Return the writes until now, `apply ConfigMap settings`, and forget them; with `dry` the dry runs alone."""
        found = [one for one in self.server.asked() if (one.dry_run if dry else one.writes)]
        self.server.forget()
        return [f"{one.verb} {one.resource} {one.name}" for one in found]

    def names(self, kind: str, namespace: str = "shop", group: str = "") -> list[str]:
        """Return the names of what is there, once the controllers have done everything."""
        self.server.settle()
        return [
            one["metadata"]["name"]
            for one in self.server.objects(kind, namespace, group)
            if one["metadata"]["name"] not in ("kube-root-ca.crt", "updater-shop")
        ]

    def got(self, kind: str, name: str, namespace: str = "shop", group: str = "") -> Json:
        """Return an object that is there."""
        found = self.server.get(kind, name, namespace, group)
        assert found is not None, f"{kind} {name} is not there"
        return found

    def recorded(self, name: str = "shop", namespace: str = "shop") -> list[str]:
        """Return the names in an inventory."""
        found = self.server.get("ConfigMap", parent_key(name, namespace).name, namespace)
        return sorted(line.rpartition("/")[2] for line in found["data"][DATA].splitlines()) if found else []

    def edit(self, path: str, patch: Json, manager: str = "kubectl-edit", media: str = MERGE) -> Said:
        """Change an object as a person with kubectl does."""
        with Raw(self.server) as ask:
            said = ask("PATCH", f"{path}?fieldManager={manager}", patch, media)
        assert said.code == 200, said.json
        return said

    def applied_by(self, manager: str, path: str, manifest: Json) -> Said:
        """Apply as another manager does, taking what it wants."""
        return self.edit(path, manifest, f"{manager}&force=true", APPLY)

    def create(self, path: str, manifest: Json) -> None:
        with Raw(self.server) as ask:
            assert ask("POST", path, manifest).code == 201

    def namespace(self, name: str = "shop") -> None:
        """Make a namespace, as it was there before us."""
        self.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.server.forget()

    def delete(self, path: str) -> None:
        with Raw(self.server) as ask:
            assert ask("DELETE", path).code in {200, 202}

    def follow(self) -> Live:
        """Keep what the cluster has in memory from now on, as the daemon does."""
        cluster = self.world.sites["cloud"].cluster
        live = Live(cluster, secret_key=self.world.secret_key)
        self.lives.append(live)
        seen, follow = partial(_seen, cluster, live), partial(_follow, cluster, live)
        site = Site(cluster, seen, live.version, follow)
        self.world.sites = {"cloud": site}
        return live

    def settled(self, live: Live, key: Key) -> None:
        """Wait until memory has an object as the server has it."""
        stored = self.server.get(key.kind, key.name, key.namespace, key.group)
        version = stored["metadata"]["resourceVersion"] if stored else None
        end = datetime.now(UTC) + timedelta(seconds=10)
        while (found := (live.get(key) or {}).get("metadata", {}).get("resourceVersion")) != version:
            assert datetime.now(UTC) < end, f"memory has {found} of {key}, the server {version}"
            self.world.stop.wait(0.01)


@contextmanager
def delivery_lab(
    folder: Path, *, deadline: str = "20s", request_seconds: float = 10.0, **server: Any
) -> Iterator[DeliveryLab]:
    """Yield a lab; arguments beside the first are those of the server."""
    with ExitStack() as stack:
        cluster_server = stack.enter_context(ClusterServer(folder / "cloud", **{"rollout": 0.01} | server))
        git_server = stack.enter_context(GitServer(folder / "git"))
        url = git_server.create("fleet")
        path = folder / "updater.yaml"
        path.write_text(json.dumps({
            "data": str(folder / "data"), "repositories": [{"name": "fleet", "url": url}], "images": [],
            "clusters": [{"name": "cloud", "kubeconfig": f"file:{cluster_server.kubeconfig}", "rate": None}],
            "applications": [{"repository": "fleet", "path": "applications"}], "sync": {"deadline": deadline},
        }))  # fmt: skip
        settings = load(path, {})
        cluster = client(cluster_server, request_seconds=request_seconds)
        stack.callback(cluster.close)
        world = World(settings, Front.below(folder / "renders"), {"cloud": Site(cluster)}, secret_key=b"k" * 32)
        lab = DeliveryLab(folder, cluster_server, git_server, settings, folder / "git" / "fleet.git", world)
        stack.callback(lambda: _stop(lab.lives))
        yield lab


def client(server: ClusterServer, *, request_seconds: float = 10.0) -> Cluster:
    login = kubeconfig(server.kubeconfig.read_text(), None, (), server.kubeconfig.parent)
    breaker = Breaker(base=0.0, cap=0.0)  # nobody waits for a probe
    return Cluster("cloud", login, rate=None, request_seconds=request_seconds, breaker=breaker, sleep=lambda _: None)


def _stop(lives: list[Live]) -> None:
    for live in lives:
        live.stop()


def _stored(status: ApplicationStatus | None) -> ApplicationStatus | None:
    return status and status_of(json.loads(json.dumps(document(status))))


def _data(raw: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(raw), raw)
