"""What is measured against: a registry, a Git server, a repository whose every file names one image, a configuration.

The registry is Debian's `docker-registry` and the Git server nginx before `git http-backend`, where they are
installed, each in processes of its own; else the embedded ones, in the process of the benchmark.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.git import PASSWORD, SERVERS, USER, Server, git
from tests.lab.registry import INSTALLED, DebianRegistry
from updater.demo.image import push_image
from updater.demo.registry import EmbeddedRegistry

OLD, NEW = "1.0.0", "1.9.16"  # what Git says, and the greatest of the 1.x among the tags
FILES, REFERENCES = 20_000, 1_000  # of a large repository
PADDING = "".join(f"# line {n:03} of what people write around the one line that matters\n" for n in range(20))

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: main
          image: {image}:{tag}
          ports: [{{containerPort: 8080}}]
          resources:
            requests: {{cpu: 100m, memory: 128Mi}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {name}
resources: [../../base]
images:
  - name: {image}
    newTag: {tag}
"""
VALUES = """\
replicaCount: 2
image:
  repository: {image}
  tag: {tag}
  pullPolicy: IfNotPresent
service: {{type: ClusterIP, port: 80}}
"""
PLACES = (
    ("apps/{name}/deployment.yaml", DEPLOYMENT),
    ("envs/{name}/kustomization.yaml", KUSTOMIZATION),
    ("charts/{name}/values.yaml", VALUES),
)
CONFIG = """\
defaults: {{poll: {{interval: 1s, jitter: 0s}}}}
registries:
  - {{host: "{host}", insecure: true}}
repositories:
  - {{name: fleet, url: "{url}", credentials: {login}}}
images:
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A repository of which each file names one image of the registry, and the configuration that tracks them.

    `places` are pairs of a file and the repository of its image. `blind` decides by the names of tags alone.
    """

    bare: Path
    url: str
    config: Path
    blind: Path
    places: tuple[tuple[str, str], ...]
    base: str

    def rewind(self) -> None:
        """Put the branch back to where no image is bumped."""
        git(self.bare, "update-ref", "refs/heads/main", self.base)

    @property
    def parent(self) -> str:
        """The commit before the newest."""
        return git(self.bare, "rev-parse", "main^") if git(self.bare, "rev-parse", "main") != self.base else ""

    @property
    def tree(self) -> str:
        """What the branch holds, whoever committed it and when."""
        return git(self.bare, "rev-parse", "main^{tree}")


class Lab:
    """Both servers; `fleet` makes a repository and its images."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        for name in ("registry", "git", "home", "data"):
            (folder / name).mkdir()
        self._registry = _registry(folder / "registry")
        closing.callback(self._registry.close)
        flavour = "embedded" if SERVERS["nginx"].missing() else "nginx"
        self._git: Server = SERVERS[flavour](folder / "git/served")
        closing.callback(self._git.close)
        self.servers = {
            "registry": "docker-registry" if isinstance(self._registry, DebianRegistry) else "embedded",
            "git": "nginx and git http-backend" if flavour == "nginx" else "embedded",
        }
        self._fresh = 0

    @property
    def registry_url(self) -> str:
        return self._registry.url

    @property
    def git_header(self) -> str:
        """The login at the Git server, as git sends it."""
        return f"Authorization: Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    def environment(self) -> dict[str, str]:
        """Every measured process gets this and nothing else: all of them a data folder that nobody has used."""
        self._fresh += 1
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "UPDATER_DATA": str(self.folder / "data" / str(self._fresh)),
            "UPDATER_LISTEN": "127.0.0.1:0",
        }

    def fleet(self, name: str, images: int, tags: Sequence[str]) -> Fleet:
        """Make so many images with these tags, and a repository that names each of them once."""
        repositories = [f"{name}/app-{n:04}" for n in range(images)]
        for repository in repositories:
            # What Git says and what it is to say are two images, so that looking at them costs what it does outside.
            digest = push_image(self.registry_url, repository, [OLD], payload=b"old")
            self._registry.seed(repository, [tag for tag in tags if tag not in {OLD, NEW}], digest)
            push_image(self.registry_url, repository, [NEW], payload=b"new")
        host = urlsplit(self.registry_url).netloc
        files: dict[str, bytes] = {}
        places: list[tuple[str, str]] = []
        for n, repository in enumerate(repositories):
            path, text = PLACES[n % len(PLACES)]
            app = repository.rpartition("/")[2]
            filled = text.format(name=app, image=f"{host}/{repository}", tag=OLD)
            files[path.format(name=app)] = (PADDING + filled).encode()
            places.append((path.format(name=app), repository))
        bare = self._git.create(name, files)
        config = self.folder / f"{name}.yaml"
        config.write_text(self._config(name, [f"{host}/{repository}" for repository in repositories]))
        blind = self.folder / f"{name}-blind.yaml"
        blind.write_text(config.read_text().replace("defaults: {", "defaults: {platforms: [], moved_tag: follow, "))
        return Fleet(bare, self._git.url(name), config, blind, tuple(places), git(bare, "rev-parse", "main"))

    def large(self, name: str, images: int, tags: Sequence[str]) -> Fleet:
        """Make a repository of FILES files, of which REFERENCES name one of the images each, and half are no YAML.

        Its places are pairs of what stands there and what is to.
        """
        host = urlsplit(self.registry_url).netloc
        repositories = [f"{name}/app-{n:04}" for n in range(images)]
        for repository in repositories:
            digest = push_image(self.registry_url, repository, [OLD], payload=b"old")
            self._registry.seed(repository, [tag for tag in tags if tag != OLD], digest)
        files: dict[str, bytes] = {}
        for n in range(REFERENCES):
            app = f"app-{n:04}"
            filled = DEPLOYMENT.format(name=app, image=f"{host}/{repositories[n % images]}", tag=OLD)
            files[f"apps/{n % 97}/{app}/deployment.yaml"] = (PADDING + filled).encode()
        for n in range(FILES // 2 - REFERENCES):
            text = f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: c-{n}}}\ndata: {{n: '{n}'}}\n"
            files[f"config/{n % 97}/{n}.yaml"] = (PADDING + text).encode()
        files |= {f"src/{n % 97}/{n}.go": f"package p{n}\n".encode() for n in range(FILES // 2)}
        bare = self._git.create(name, files)
        config = self.folder / f"{name}.yaml"
        config.write_text(self._config(name, [f"{host}/{repository}" for repository in repositories]))
        config.write_text(config.read_text().replace("defaults: {", "defaults: {platforms: [], moved_tag: follow, "))
        changes = [(f"{host}/{one}:{OLD}\n", f"{host}/{one}:{NEW}\n") for one in repositories]
        return Fleet(bare, self._git.url(name), config, config, tuple(changes), git(bare, "rev-parse", "main"))

    def repository(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Make a repository of these files, and return its bare folder."""
        return self._git.create(name, files)

    def git_url(self, name: str) -> str:
        """Where a repository is, or will be."""
        return self._git.url(name)

    @property
    def login(self) -> dict[str, str]:
        """What `credentials` of a repository are in a configuration."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        return {"kind": "basic", "username": USER, "password": f"file:{password}"}

    def crowd(self, name: str, images: int, hosts: Sequence[str], tag: str) -> Fleet:
        """Make a repository that names so many images at this tag, in turns of these hosts, ten in a file."""
        named = [f"{hosts[n % len(hosts)]}/{name}/app-{n:05}" for n in range(images)]
        files: dict[str, bytes] = {}
        for at in range(0, images, 10):
            some = (DEPLOYMENT.format(name=f"app-{at + n:05}", image=image, tag=tag)
                    for n, image in enumerate(named[at : at + 10]))  # fmt: skip
            files[f"apps/{at:05}.yaml"] = "---\n".join(some).encode()
        bare = self._git.create(name, files)
        config = self.folder / f"{name}.yaml"
        text = self._config(name, named)
        first = f'  - {{host: "{urlsplit(self.registry_url).netloc}", insecure: true}}\n'
        config.write_text(text.replace(first, "".join(f'  - {{host: "{host}", insecure: true}}\n' for host in hosts)))
        return Fleet(bare, self._git.url(name), config, config, (), git(bare, "rev-parse", "main"))

    def _config(self, name: str, images: Sequence[str]) -> str:
        host = urlsplit(self.registry_url).netloc
        head = CONFIG.format(host=host, url=self._git.url(name), login=json.dumps(self.login))
        return head + "".join(f'  - {{image: "{i}", policy: {{kind: semver, range: 1.x}}}}\n' for i in images)


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Run both servers for as long as the block lasts."""
    with ExitStack() as closing:
        yield Lab(folder, closing)


def tags(count: int) -> list[str]:
    """So many tags as a registry has them: releases, candidates, builds by date and commit, and moving names.

    The greatest release of 1.x is NEW, whatever the count.
    """
    some = [OLD, NEW, "latest", "main", "2.0.0", "2.0.0-rc.1"]
    for n in range(count - len(some)):
        major, minor = n % 10, n // 10
        by_kind: Mapping[int, str] = {7: f"1.{minor}.1-rc.{minor}", 8: f"2024{minor:04}", 9: f"sha-{n * 7919:07x}"}
        some.append(by_kind.get(major, f"1.{minor % 9}.{n}"))
    return some


def python() -> str:
    """The interpreter of the environment in which the product is installed."""
    return sys.executable


def updater() -> str:
    """The program as people start it."""
    return str(Path(sys.executable).with_name("updater"))


def _registry(folder: Path) -> DebianRegistry | EmbeddedRegistry:
    return DebianRegistry(folder, auth="open", tls=None, tokens=None) if INSTALLED else EmbeddedRegistry()
