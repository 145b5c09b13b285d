"""Loop one with real servers: a registry, a Git server, and the cycles that run between them."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from updater.config.load import load
from updater.daemon.build import build
from updater.demo.git_server import GitServer
from updater.demo.image import push_image
from updater.demo.registry import EmbeddedRegistry, Request
from updater.pipeline.report import Report, Row
from updater.pipeline.update import update

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@dataclass
class Lab:
    """A registry, a Git server and a folder for configurations."""

    registry: EmbeddedRegistry
    git: GitServer
    folder: Path
    asked: dict[str, int] = field(default_factory=dict)

    def push(self, repository: str, *tags: str) -> str:
        for tag in tags:
            digest = push_image(self.registry.url, repository, [tag], payload=f"{repository}:{tag}".encode())
        return digest

    def configure(self, text: str, **urls: str) -> Path:
        """Write a configuration; HOST is the registry, and each name in capitals a repository's URL."""
        file = self.folder / "updater.yaml"
        text = text.replace("HOST", self.registry.host)
        for name, url in urls.items():
            text = text.replace(name.upper(), url)
        file.write_text(
            f"data: {self.folder}/data\nregistries: [{{host: '{self.registry.host}', insecure: true}}]\n{text}"
        )
        return file

    def repository(self, name: str, files: Mapping[str, str]) -> str:
        return self.git.create(name, {path: self.spell(text) for path, text in files.items()})

    def spell(self, text: str) -> bytes:
        return text.replace("HOST", self.registry.host).encode()

    def cycle(self, config: Path, now: datetime = NOW, *, write: bool = True) -> Report:
        """Run one cycle, with clients of its own; `asked` then counts what it asked the registry, by kind."""
        before = len(self.registry.requests)
        with build(load(config, {})) as world:
            report = update(world, world.settings.items, now, write=write)
        self.asked = dict(Counter(map(_kind, self.registry.requests[before:])))
        return report

    def show(self, name: str, path: str, branch: str = "main") -> str:
        return self.run(name, "show", f"{branch}:{path}").replace(self.registry.host, "HOST")

    def commits(self, name: str, branch: str = "main") -> list[str]:
        return self.run(name, "log", "--format=%s", branch).replace(self.registry.host, "HOST").splitlines()

    def run(self, name: str, *args: str) -> str:
        bare = self.folder / "git" / f"{name}.git"
        return subprocess.run(["git", "--git-dir", bare, *args], check=True, capture_output=True, text=True).stdout


def _kind(request: Request) -> str:
    """`list`, `head`, `manifest` or `blob`."""
    if request.method == "HEAD":
        return "head"
    return "list" if "/tags/list" in request.path else "manifest" if "/manifests/" in request.path else "blob"


@contextmanager
def open_lab(folder: Path) -> Iterator[Lab]:
    """Run the servers; everything lives in the folder."""
    with EmbeddedRegistry() as registry, GitServer(folder / "git") as git:
        yield Lab(registry, git, folder)


def pod(*images: str) -> str:
    containers = "".join(f"    - image: {image}\n" for image in images)
    return f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n{containers}"


def rows(report: Report) -> dict[str, Row]:
    return {row.item.name: row for row in report.rows}
