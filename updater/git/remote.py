"""A Git remote, and what one git process needs to reach it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from updater.errors import ForgeError, GitError
from updater.git import folder as folders
from updater.git.credentials.base import GitCredentials, Login
from updater.git.urls import Address, check_url, parse
from updater.secrets import SecretRef
from updater.transport.trust import bundle

CONNECT = 10  # seconds for ssh to connect, and between signs of life

_SSH = (
    "ssh", "-F", "/dev/null",
    "-o", "BatchMode=yes",
    "-o", "StrictHostKeyChecking=yes",
    "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "UpdateHostKeys=no",
    "-o", "IdentitiesOnly=yes",
    "-o", "IdentityAgent=none",
    "-o", "PreferredAuthentications=publickey",
    "-o", "ForwardAgent=no",
    "-o", "ClearAllForwardings=yes",
    "-o", "LogLevel=ERROR",
    "-o", f"ConnectTimeout={CONNECT}",
    "-o", f"ServerAliveInterval={CONNECT}",
    "-o", "ServerAliveCountMax=3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a repository lives, and how to log in there. Raises ValueError for a URL that is not allowed.

    `ca_file` is trusted besides the system's authorities; `proxy` and `no_proxy` replace the usual variables.
    """

    name: str
    url: str
    insecure: bool = False
    credentials: GitCredentials | None = None
    ca_file: Path | None = None
    proxy: str | SecretRef | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_url(self.url, self.insecure)
        check_login(self.url, self.credentials)

    @contextlib.contextmanager
    def access(self, folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
        """Yield the environment and the settings of a git process that talks to this remote.

        A private key lies in a folder of its own in `folder` meanwhile, readable by us alone.
        Raises SecretError, and GitError where there is no login to be had.
        """
        address, login = parse(self.url), self._login()
        environment = {"GIT_ALLOW_PROTOCOL": address.scheme}
        if address.scheme != "ssh":
            with self._authorities(folder) as trusted:
                yield environment | self._no_proxy(), self._http(address, login) | trusted
            return
        with _key_files(folder, login) as command:
            yield environment | {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}, {}

    def renew(self) -> bool:
        """Forget a login that was refused, and say whether the next one is another."""
        return self.credentials is not None and self.credentials.renew(self._login())

    def _login(self) -> Login:
        try:
            return self.credentials.login() if self.credentials else Login()
        except ForgeError as err:
            raise GitError(f"{self.name}: no login: {err}") from err

    def _http(self, address: Address, login: Login) -> dict[str, str]:
        settings = {}
        if login.header:
            settings[f"http.{address.origin}/.extraHeader"] = login.header
        if self.proxy:
            settings["http.proxy"] = self.proxy.resolve() if isinstance(self.proxy, SecretRef) else self.proxy
        return settings

    @contextlib.contextmanager
    def _authorities(self, folder: Path) -> Iterator[dict[str, str]]:
        """Write the one file of authorities that git takes. Raises GitError where ours cannot be read."""
        if self.ca_file is None:
            yield {}
            return
        try:
            text = bundle(self.ca_file)
        except (OSError, ValueError) as err:
            raise GitError(f"{self.name}: the CA file {self.ca_file} cannot be used: {err}") from err
        with folders.private(folder) as private:
            (private / "ca.pem").write_text(text)
            yield {"http.sslCAInfo": str(private / "ca.pem")}

    def _no_proxy(self) -> dict[str, str]:
        hosts = ",".join(self.no_proxy)
        return {"no_proxy": hosts, "NO_PROXY": hosts} if hosts else {}


def check_login(url: str, credentials: GitCredentials | None) -> None:
    """Raise ValueError where a kind of login cannot be used with a URL."""
    scheme = parse(url).scheme
    if scheme == "ssh" and credentials is None:
        raise ValueError("a repository over SSH needs credentials of kind ssh_key, with the keys of its host")
    if credentials is not None and scheme not in credentials.schemes:
        kind = getattr(credentials, "kind", "this")
        raise ValueError(f"credentials of kind {kind} do not work over {scheme}")


@contextlib.contextmanager
def _key_files(folder: Path, login: Login) -> Iterator[str]:
    """Write key and host keys into a private folder for as long as ssh needs them; yield the ssh command."""
    with folders.private(folder) as private:
        key, hosts = private / "key", private / "known_hosts"
        for path, text in ((key, login.private_key), (hosts, login.known_hosts)):
            path.touch(mode=0o600)
            path.write_text(text)
        options = [f"IdentityFile={_quoted(key)}", f"UserKnownHostsFile={_quoted(hosts)}"]
        yield shlex.join([*_SSH, *(part for option in options for part in ("-o", option))])


def _quoted(path: Path) -> str:
    """Write a path as ssh's options read it: blanks separate, `%` begins a token."""
    return '"' + str(path).replace("%", "%%") + '"'
