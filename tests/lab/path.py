"""The whole path for tests: a registry, a Git server, a configuration, and the command line in a process of its own.

with WholePath.embedded(tmp_path) as path:
    path.push("acme/api", "1.0.0")
    path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
    path.configure([path.entry("acme/api", range="1.x")])
    path.push("acme/api", "1.1.0")
    assert path.run("once").code == 0
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.lab import forked
from tests.lab import git as gits
from tests.lab.git import CLEAN, Embedded, Server, git
from tests.lab.hasty import program
from tests.lab.registry import LOGIN, Auth, Flavour, Lab, Notify, open_registry
from updater.model.limits import USUAL, Limits
from updater.secrets import SecretRef

PATIENCE = 60.0  # seconds for one command; they take one or two
PASSWORD = "LAB_REGISTRY_PASSWORD"  # the variable that holds the password of the registry
ROOT = Path(__file__).parents[2]

_MANIFEST = """\
# Everything but one version stays as it is.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
        - name: {name}
          image: "{image}:{tag}"   # bumped
"""


def manifest(image: str, tag: str) -> bytes:
    """Return a Deployment that names the image."""
    return _MANIFEST.format(name=image.rpartition("/")[2], image=image, tag=tag).encode()


def kustomization(image: str, tag: str) -> bytes:
    """Return a kustomization that sets the tag of the image."""
    return f"kind: Kustomization\nimages:\n  - name: {image}\n    newTag: {tag}\n".encode()


def values(image: str, tag: str) -> bytes:
    """Return Helm values that name repository and tag apart."""
    return f"image:\n  repository: {image}\n  tag: {tag}  # one line\nreplicas: 2\n".encode()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


@dataclass(slots=True)
class WholePath:
    """Servers that run, and a folder for configuration, data and clones."""

    folder: Path
    registry: Lab
    git: Server
    config: Path = field(init=False)
    limits: Limits = USUAL  # of the commands that are begun from here on
    variables: dict[str, str] = field(default_factory=dict)  # of their environment, over those that are there

    def __post_init__(self) -> None:
        self.config = self.folder / "updater.yaml"

    @classmethod
    @contextmanager
    def open(
        cls,
        folder: Path,
        flavour: Flavour,
        server: type[Server],
        *,
        auth: Auth = "open",
        tls: bool = False,
        notify: Notify | None = None,
    ) -> Iterator[WholePath]:
        """Start both servers; everything lies in the folder."""
        places = [folder / "registry", folder / "git"]
        places[0].mkdir()
        with open_registry(flavour, places[0], auth=auth, tls=tls, notify=notify) as registry:
            running = server(places[1])
            try:
                yield cls(folder, registry, running)
            finally:
                running.close()

    @classmethod
    def embedded(cls, folder: Path) -> Any:
        """Start our own registry, open to all, and our own Git server: they are everywhere."""
        return cls.open(folder, "embedded", Embedded)

    @property
    def data(self) -> Path:
        """The data folder of the configuration."""
        return self.folder / "data"

    def image(self, repository: str) -> str:
        """Return the name of an image in the registry."""
        return f"{self.registry.host}/{repository}"

    def push(self, repository: str, *tags: str) -> str:
        """Push a small image of its own under the tags; return its digest."""
        return self.registry.push(repository, tags, payload=f"{repository} {tags}".encode())

    def create(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Make a repository with one commit; return its bare folder on the server."""
        return self.git.create(name, files)

    def entry(self, repository: str, *, range: str = "*", **more: Any) -> dict[str, Any]:  # noqa: A002
        """Return the configuration of one image, named by the end of its repository."""
        name = repository.rpartition("/")[2]
        return {"image": self.image(repository), "name": name, "policy": {"kind": "semver", "range": range}} | more

    def settings(self, images: Sequence[Mapping[str, Any]], repositories: Iterable[str] = ("fleet",)) -> dict[str, Any]:
        """Return the whole configuration: these servers with the logins that they ask for."""
        return {
            "data": str(self.data),
            "registries": [self._registry()],
            "repositories": [{"name": name, "url": self.git.url(name)} | self._login() for name in repositories],
            "images": list(images),
        }

    def configure(
        self, images: Sequence[Mapping[str, Any]], repositories: Iterable[str] = ("fleet",), **sections: Any
    ) -> Path:
        """Write the configuration, with other sections in place of ours; JSON is YAML."""
        self.config.write_text(json.dumps(self.settings(images, repositories) | sections, indent=2))
        return self.config

    def _registry(self) -> dict[str, Any]:
        lab = self.registry
        found: dict[str, Any] = {"host": lab.host, "insecure": lab.url.startswith("http:")}
        if lab.login:
            found["credentials"] = {"kind": "basic", "username": lab.login[0], "password": f"env:{PASSWORD}"}
            found["trusted_realms"] = list(lab.trusted_realms)
        return found | ({"network": {"ca_file": str(lab.ca_file)}} if lab.ca_file else {})

    def _login(self) -> dict[str, Any]:
        credentials = self.git.credentials()
        if credentials is None:
            return {}
        fields = {name: getattr(credentials, name) for name in type(credentials).model_fields}
        shown = {name: value.reference if isinstance(value, SecretRef) else value for name, value in fields.items()}
        return {"credentials": shown}

    def environment(self) -> dict[str, str]:
        """Return all that a command sees: where programs are, the password of the registry, and no port of anyone's."""
        known = {"PATH": CLEAN["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return known | {PASSWORD: LOGIN[1], "UPDATER_LISTEN": "127.0.0.1:0"} | self.variables

    def argv(self, *args: str, config: Path | None = None) -> list[str]:
        """Return the command line of a command."""
        return [*program(self.limits), "--config", str(config or self.config), *args]

    def run(self, *args: str, config: Path | None = None) -> Ran:
        """Run a command to its end; in a fork of what is imported already, where nobody else does."""
        start = time.monotonic()
        given = ["--config", str(config or self.config), *args]
        done = forked.run(given, self.environment(), self.limits, seconds=PATIENCE)
        return Ran(done.code, done.out, done.err, time.monotonic() - start)

    def start(self, *args: str, config: Path | None = None) -> subprocess.Popen[str]:
        """Start a command whose output is read from its pipes; the caller ends it."""
        return subprocess.Popen(
            self.argv(*args, config=config),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=self.environment(),
        )  # fmt: skip

    def clone(self, name: str, to: Path | None = None) -> Path:
        """Clone a repository with plain git, over the wire and with the login of a person; return the work tree."""
        to = to or self.folder / "clones" / f"{name}-{time.monotonic_ns()}"
        url, env = self.git.url(name), {}
        if url.startswith("ssh:"):
            root = self.git.root
            options = f"-o IdentitiesOnly=yes -o UserKnownHostsFile={root}/known_hosts -o StrictHostKeyChecking=yes"
            env = {"GIT_SSH_COMMAND": f"ssh -F /dev/null -i {root}/client {options}"}
        elif self.git.credentials() is not None:
            url = url.replace("://", f"://{gits.USER}:{quote(gits.PASSWORD)}@")
        git(self.folder, "clone", "--quiet", url, str(to), env=env)
        return to


def free_port() -> int:
    """Return a port that was free a moment ago, for two that must each know where the other is."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Daemon:
    """`updater run` as a process; a context manager, which ends it in any case. `events` is what it logged."""

    def __init__(self, path: WholePath) -> None:
        self.events: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self.process = path.start("run")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": line.rstrip()}
            with self._more:
                self.events.append(event)
                self._more.notify_all()

    def wait(self, event: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the first event of a kind. It fails where none comes in so many seconds."""
        with self._more:
            if not self._more.wait_for(lambda: self._first(event) is not None, seconds):
                raise TimeoutError(f"no {event} in {seconds:g} s: {self.events}")
            return self._first(event) or {}

    def _first(self, event: str) -> dict[str, Any] | None:
        return next((found for found in self.events if found.get("event") == event), None)

    def ask(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, *, seconds: float = PATIENCE) -> int:
        """Return the exit code, once it has ended."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


def head(repository: Path, branch: str = "main") -> str:
    """Return where a branch of a bare repository is."""
    return git(repository, "rev-parse", f"refs/heads/{branch}")


def commits(repository: Path, since: str, until: str = "main") -> list[str]:
    """Return the commits after `since`, oldest first."""
    return git(repository, "rev-list", "--reverse", f"{since}..{until}").split()


def changed_lines(repository: Path, since: str, until: str) -> list[str]:
    """Return the lines that a diff takes away and adds, with their sign."""
    diff = git(repository, "diff", "--unified=0", "--no-color", since, until)
    return [line for line in diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]


def trailers(repository: Path, revision: str, key: str) -> list[str]:
    """Return the values of a trailer of a commit, as the audit trail reads them."""
    text = git(repository, "log", "-1", f"--format=%(trailers:key={key},valueonly)", revision)
    return [line for line in text.splitlines() if line]


def fsck(repository: Path) -> str:
    """Return what `git fsck` has to say about a repository; nothing is wrong where that is empty.

    A clone of ours lacks blobs by design and has no config that says so: git is told that it has a promisor.
    """
    command = ["git", "-c", "core.repositoryFormatVersion=1", "-c", "extensions.partialClone=origin"]
    command += ["-c", "remote.origin.promisor=true", "fsck", "--full", "--strict", "--no-dangling", "--no-progress"]
    env = CLEAN | {"GIT_DIR": str(repository), "GIT_NO_LAZY_FETCH": "1"}
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=PATIENCE)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("notice:")]
    return "\n".join([*said, *([f"exit code {done.returncode}"] if done.returncode else [])])


def processes(word: str) -> list[int]:
    """Return the processes, ours aside, whose command line or environment holds the word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or it is not ours
            if word.encode() in seen:
                found.append(int(entry.name))
    return found
