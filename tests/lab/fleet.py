"""The second loop with real servers: a repository, several clusters, and the daemon's delivery between them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import func, select

from tests.lab.git import git, person_commits
from updater.config.load import load
from updater.daemon.delivery import Delivery, delivery
from updater.daemon.remember import open_state
from updater.demo.cluster import ClusterServer
from updater.demo.git_server import GitServer
from updater.model.application import ApplicationStatus
from updater.model.event import Event
from updater.model.limits import USUAL, Limits
from updater.store.applications import Applications
from updater.store.database import Database
from updater.store.journal import Journal
from updater.store.schema import applications

PATIENCE = 30.0  # seconds for one thing to happen; most take less than one
IMAGE = "r.example.com/acme/shop"
Json = dict[str, Any]


def application(name: str, cluster: str, url: str, *, path: str = "apps/shop", **more: Any) -> Json:
    """Return an Application that is synced, pruned and healed; `more` are labels, annotations, revision, automated."""
    policy = {"automated": more.get("automated", {"prune": True, "selfHeal": True})} if more.get("automated", 1) else {}
    metadata = {"name": name, "labels": more.get("labels", {}), "annotations": more.get("annotations", {})}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": metadata,
        "spec": {
            "source": {"repoURL": url, "path": path, "targetRevision": more.get("revision", "main")},
            "destination": {"name": cluster, "namespace": more.get("namespace", "shop")},
            "syncPolicy": {**policy, "syncOptions": ["CreateNamespace=true"]},
        },
    }


def deployment(tag: str, image: str = IMAGE, name: str = "shop") -> Json:
    """Return a Deployment of one container."""
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": f"{image}:{tag}"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def written(*objects: Json) -> bytes:
    """Return manifests as a file."""
    return yaml.safe_dump_all(objects, sort_keys=False).encode()


@dataclass
class Fleet:
    """Clusters by name, and one repository `fleet`: applications in `applications/`, what they deliver in `apps/`."""

    folder: Path
    git: GitServer
    clusters: dict[str, ClusterServer]
    database: Database
    url: str = ""
    sync: Json = field(default_factory=dict)
    sections: Json = field(default_factory=dict)
    limits: Limits = USUAL  # of the loops that are begun from here on

    def __post_init__(self) -> None:
        self.url = self.git.create(
            "fleet", {"apps/shop/all.yaml": written(deployment("1.0.0")), "applications/.keep": b""}
        )

    @property
    def bare(self) -> Path:
        """The folder of the repository on its server."""
        return self.folder / "git" / "fleet.git"

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.folder / "updater.yaml"

    @property
    def journal(self) -> Journal:
        """What was told."""
        return Journal(self.database)

    def configure(self, **sections: Any) -> Path:
        """Write the configuration, with other sections in place of ours."""
        named = [{"name": name, "kubeconfig": f"file:{one.kubeconfig}", "rate": None}
                 for name, one in self.clusters.items()]  # fmt: skip
        settings = {
            "data": str(self.folder / "data"),
            "repositories": [{"name": "fleet", "url": self.url}],
            "images": [],
            "clusters": named,
            "applications": [{"repository": "fleet", "path": "applications"}],
            "sync": {"poll": "1h"} | self.sync,
        }
        self.config.write_text(json.dumps(settings | self.sections | sections, indent=1))
        return self.config

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Commit as a person does."""
        return person_commits(self.bare, files)

    def remove(self, path: str) -> str:
        """Remove a file as a person does."""
        text = f"commit refs/heads/main\ncommitter P <p@example.test> {time.time():.0f} +0000\ndata 0\n"
        text += f"from refs/heads/main^0\nD {path}\n"
        git(self.bare, "fast-import", "--quiet", "--date-format=raw", data=text.encode())
        return git(self.bare, "rev-parse", "refs/heads/main")

    def apply(self, *found: Json) -> str:
        """Commit applications, a file each."""
        return self.commit({f"applications/{one['metadata']['name']}.yaml": written(one) for one in found})

    def everywhere(self, **more: Any) -> list[Json]:
        """Return an application `shop-CLUSTER` for each cluster."""
        return [application(f"shop-{name}", name, self.url, **more) for name in self.clusters]

    @contextmanager
    def running(self, **sections: Any) -> Iterator[Delivery]:
        """Run the second loop as the daemon does; its poll is an hour unless `sync` says otherwise."""
        settings = load(self.configure(**sections), {})
        with delivery(settings, self.database, self.journal, self.limits) as loop:
            yield loop

    # --- what there is -----------------------------------------------------------------------------------------------

    def image(self, cluster: str, name: str = "shop", namespace: str = "shop") -> str:
        """Return the tag that a cluster runs, or nothing."""
        found = self.live(cluster, name, namespace)
        containers = found["spec"]["template"]["spec"]["containers"] if found else [{"image": ""}]
        return str(containers[0]["image"]).rpartition(":")[2]

    def live(self, cluster: str, name: str = "shop", namespace: str = "shop") -> Json:
        """Return a Deployment as a cluster has it; nothing where there is none."""
        return self.clusters[cluster].get("Deployment", name, namespace, "apps") or {}

    def statuses(self) -> dict[str, ApplicationStatus]:
        """Return how the applications stand, as it is stored."""
        return Applications(self.database).read()

    def stored_at(self, revision: str) -> int:
        """Return how many applications are stored as they stand with a commit."""
        wanted = select(func.count()).where(applications.c.document.contains(revision))
        with self.database.transaction() as connection:
            return int(connection.execute(wanted).scalar_one())

    def events(self) -> list[Event]:
        """Return what was told, the oldest first."""
        return self.journal.recent(1000)[::-1]

    def kinds(self, but: str = "sync_started") -> Counter[str]:
        """Return how often each kind was told, but one."""
        return Counter(event.kind.value for event in self.events() if event.kind.value != but)

    def healthy(self, *names: str, tag: str = "") -> bool:
        """Say whether applications are synced and healthy, and run a tag where one is given."""
        found = self.statuses()
        return all(
            name in found
            and (found[name].sync.value, found[name].health.value, found[name].stale) == ("Synced", "Healthy", "")
            and (not tag or self.image(found[name].cluster) == tag)
            for name in names
        )

    def until(self, true: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Wait until something holds, and return for how long."""
        start, pause = time.monotonic(), threading.Event()
        while not true():
            passed = time.monotonic() - start
            assert passed < seconds, (self.statuses(), [f"{one.kind} {one.subject.words}" for one in self.events()])
            pause.wait(0.02)
        return time.monotonic() - start


@contextmanager
def fleet(
    folder: Path, *clusters: str, sync: Json | None = None, rollout: float | None = 0.05, **sections: Any
) -> Iterator[Fleet]:
    """Start the servers of a fleet; `sync` and `sections` are those of its configuration."""
    with ExitStack() as stack:
        git_server = stack.enter_context(GitServer(folder / "git"))
        found = {name: stack.enter_context(ClusterServer(folder / name, rollout=rollout)) for name in clusters}
        (folder / "data").mkdir()
        made = Fleet(folder, git_server, found, None, sync=sync or {}, sections=sections)  # type: ignore[arg-type]
        made.database = stack.enter_context(closing(open_state(load(made.configure(), {}))))
        yield made
