"""Git servers on loopback: the embedded one everywhere; nginx + `git http-backend` and sshd where they are installed.

Each asks for a login: HTTP Basic, or a key against a pinned host key. `.ci/run` installs what they need; without it
the same tests run on the embedded server alone, and the report names what was left out.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from updater.demo.git_server import GitServer, create
from updater.git.clone import Author, Clone
from updater.git.credentials.base import GitCredentials
from updater.git.credentials.basic import Basic
from updater.git.credentials.ssh_key import SshKey
from updater.git.remote import Remote
from updater.secrets import SecretRef

AUTHOR = Author("Image Updater", "updater@localhost")
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
FILES = {"apps/a.yaml": b"image: r/a:1.0.0\n", "apps/b.yaml": b"image: r/b:1.0.0\n", "README.md": b"hello\n"}
USER, PASSWORD = "ci", "s3cret-of-the-lab"
CLEAN = {
    "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin",
    "HOME": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Lab",
    "GIT_AUTHOR_EMAIL": "lab@example.test",
    "GIT_COMMITTER_NAME": "Lab",
    "GIT_COMMITTER_EMAIL": "lab@example.test",
    "LC_ALL": "C",
}


def git(folder: Path, *args: str, data: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run plain git as a person would, in `folder`; raises with its words where it fails."""
    command, variables = ["git", *args], CLEAN | dict(env or {})
    done = subprocess.run(command, check=False, cwd=folder, env=variables, input=data, capture_output=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"git {args} exited with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")


def person_commits(
    bare: Path, files: Mapping[str, bytes], message: str = "By hand", branch: str = "main", at: datetime | None = None
) -> str:
    """Commit straight into a bare repository, as the push of somebody else would leave it; return the revision."""
    when = b"%d +0000" % (at or datetime.now(UTC)).timestamp()
    ref = f"refs/heads/{branch}"
    exists = git(bare, "for-each-ref", ref)
    parts = [b"commit %b\ncommitter Person <person@example.test> %b\n" % (ref.encode(), when), _data(message.encode())]
    if exists:
        parts.append(b"from %b^0\n" % ref.encode())
    parts += [b"M 100644 inline %b\n%b" % (path.encode(), _data(content)) for path, content in files.items()]
    git(bare, "fast-import", "--quiet", "--date-format=raw", data=b"".join(parts))
    return git(bare, "rev-parse", ref)


def hook(bare: Path, name: str, script: str) -> None:
    """Install a hook of the server's side."""
    path = bare / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _data(raw: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(raw), raw)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Server(ABC):
    """A running Git server, its repositories under `root/repos`."""

    needs: ClassVar[dict[str, str]] = {}  # program -> package

    def __init__(self, root: Path) -> None:
        self.root, self.repos = root, root / "repos"
        self.repos.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def missing(cls) -> list[str]:
        """The packages that are not installed here."""
        absent = (package for program, package in cls.needs.items() if not shutil.which(program, path=CLEAN["PATH"]))
        return sorted(set(absent))

    @abstractmethod
    def url(self, name: str) -> str: ...

    @abstractmethod
    def credentials(self) -> GitCredentials | None: ...

    def create(self, name: str, files: Mapping[str, bytes] | None = None, branch: str = "main") -> Path:
        """Make a repository, and return its bare folder."""
        path = self.repos / f"{name}.git"
        create(path, files or {}, branch)
        return path

    def remote(self, name: str, **others: Any) -> Remote:
        return Remote(name, self.url(name), **({"credentials": self.credentials()} | others))

    def close(self) -> None:
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)

    def _secret(self, name: str, text: str) -> SecretRef:
        path = self.root / name
        path.touch(mode=0o600)
        path.write_text(text)
        return SecretRef(f"file:{path}")

    def _start(self, *command: str, port: int = 0, ready: Callable[[], bool] | None = None) -> None:
        """Start a server in a group of its own, and return when it answers. It fails where it does not, in 10 s."""
        with (self.root / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=CLEAN, start_new_session=True)
        self._processes.append(process)
        end = time.monotonic() + 10
        while not (ready or (lambda: _answers(port)))():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
            if process.returncode is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} did not start: {(self.root / 'log').read_text()}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Embedded(Server):
    """Our own server, with Basic."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._server = GitServer(self.repos, username=USER, password=PASSWORD)
        self._password = self._secret("password", PASSWORD)

    def url(self, name: str) -> str:
        return f"{self._server.url}/{name}.git"

    def credentials(self) -> GitCredentials | None:
        return Basic(username=USER, password=self._password)

    def close(self) -> None:
        self._server.close()
        super().close()


class Nginx(Server):
    """nginx with Basic before fcgiwrap and `git http-backend`."""

    needs: ClassVar[dict[str, str]] = {"nginx": "nginx-light", "fcgiwrap": "fcgiwrap", "htpasswd": "apache2-utils"}

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._password = self._secret("password", PASSWORD)
        subprocess.run(
            ["htpasswd", "-icB", "-C", "4", str(root / "htpasswd"), USER],
            input=PASSWORD.encode(), check=True, capture_output=True, env=CLEAN,
        )  # fmt: skip
        self._port = free_port()
        text = _NGINX.format(root=root, repos=self.repos, port=self._port, user=getpass.getuser())
        (root / "nginx.conf").write_text(text)
        self._start("fcgiwrap", "-c", "4", "-s", f"unix:{root}/s", ready=(root / "s").exists)
        self._start("nginx", "-p", str(root), "-c", str(root / "nginx.conf"), port=self._port)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}.git"

    def credentials(self) -> GitCredentials | None:
        return Basic(username=USER, password=self._password)


class Ssh(Server):
    """OpenSSH: one key may come in, and the host shows the key that is pinned."""

    needs: ClassVar[dict[str, str]] = {"sshd": "openssh-server", "ssh": "openssh-client"}
    accept: ClassVar[str] = "GIT_PROTOCOL"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for name in ("host", "client", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
            subprocess.run(command, check=True, env=CLEAN, capture_output=True)
        public = (root / "client.pub").read_text().strip()
        shell = 'restrict,command="git shell -c \\"$SSH_ORIGINAL_COMMAND\\""'
        (root / "authorized_keys").write_text(f"{shell} {public}\n")
        self._port = free_port()
        (root / "sshd_config").write_text(_SSHD.format(root=root, port=self._port, accept=self.accept))
        (root / "known_hosts").write_text(self.known("host"))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=CLEAN["PATH"])
        assert sshd
        self._start(sshd, "-D", "-e", "-f", str(root / "sshd_config"), port=self._port)

    def known(self, name: str) -> str:
        """A line of known_hosts that pins one of the keys made here."""
        return f"[127.0.0.1]:{self._port} {(self.root / f'{name}.pub').read_text()}"

    def url(self, name: str) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self._port}{self.repos}/{name}.git"

    def credentials(self) -> GitCredentials | None:
        return self.key("client", "known_hosts")

    def key(self, name: str, known_hosts: str) -> SshKey:
        files = (SecretRef(f"file:{self.root / file}") for file in (name, known_hosts))
        return SshKey(private_key=next(files), known_hosts=next(files))


class OldSsh(Ssh):
    """OpenSSH as it is installed: it does not hand on which protocol git would like, so git speaks its oldest."""

    accept: ClassVar[str] = "LANG"


@dataclass(frozen=True)
class Room:
    """One repository of a server, and where its clones go."""

    server: Server
    name: str
    folder: Path

    @property
    def bare(self) -> Path:
        return self.server.repos / f"{self.name}.git"

    def create(self, files: Mapping[str, bytes] | None = None, branch: str = "main") -> Path:
        return self.server.create(self.name, files, branch)

    def clone(self, folder: str = "clone", deadline: float = 60, **remote: Any) -> Clone:
        return Clone(self.folder / folder, self.server.remote(self.name, **remote), deadline=deadline)


SERVERS: dict[str, type[Server]] = {"embedded": Embedded, "nginx": Nginx, "ssh": Ssh}

_NGINX = """
daemon off; worker_processes 1; user {user}; pid {root}/nginx.pid; error_log {root}/nginx.err;
events {{ worker_connections 256; }}
http {{
  access_log {root}/nginx.access;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location ~ ^/(.+\\.git)/ {{
      auth_basic "git"; auth_basic_user_file {root}/htpasswd;
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {repos};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_pass unix:{root}/s;
    }}
  }}
}}
"""

_SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host
AuthorizedKeysFile {root}/authorized_keys
PidFile {root}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
AcceptEnv {accept}
MaxStartups 100
"""
