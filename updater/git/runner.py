"""The one function through which every git process goes. Needs git 2.36 or newer.

* argv is a fixed template of ours, then `--end-of-options`, then values; no value begins with a dash.
* The environment is an allow-list, and what git would read from files of the machine or of a user is switched off.
* Settings come as GIT_CONFIG_* variables: they win over the clone's own configuration, and nobody reads them in /proc.
* The engine is GitPython's `execute`. It copies our environment and only adds, so argv begins with `env -u NAME`
  for all that is outside the allow-list. The deadline and the end of the process group are ours.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from updater.errors import GitError
from updater.transport import process

COMMANDS = frozenset(
    {"cat-file", "commit-tree", "fast-import", "fetch", "log", "ls-remote", "ls-tree", "push", "repack"}
)
MAX_OUTPUT = 64 << 20  # bytes of what a command prints; the tree of a repository with 500,000 files
NO_HOME = "/dev/null"  # neither ~/.gitconfig nor ~/.netrc

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",  # no program, whatever core.askPass says
    "GIT_PROXY_COMMAND": "",  # nor core.gitProxy
    "GIT_ALLOW_PROTOCOL": "",  # none; a remote adds its own
    "GIT_SSH_COMMAND": "false",
    "GIT_LITERAL_PATHSPECS": "1",  # a file may be called `:(top)*`
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",  # git 2.45; before it, a clone without a promisor remote cannot fetch on its own
    "GIT_OPTIONAL_LOCKS": "0",
    "HOME": NO_HOME,
    "LC_ALL": "C",
}

# Each of these has made git run a command, follow a link, or ask somebody else, in an advisory or in a test.
SETTINGS = {
    "advice.fetchShowForcedUpdates": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "core.attributesFile": "/dev/null",
    "core.logAllRefUpdates": "false",
    "credential.helper": "",
    "fastimport.unpackLimit": "1",  # one pack a commit, no second process to unpack it
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "http.lowSpeedLimit": "1",  # bytes a second, for lowSpeedTime seconds
    "http.lowSpeedTime": "30",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "protocol.version": "2",
    "push.gpgSign": "false",
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
    "transfer.fsckObjects": "true",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One git process: a template of ours, and the values from outside that follow `--end-of-options`."""

    template: tuple[str, ...]
    values: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()  # ours again, e.g. `--`
    data: bytes = b""

    def argv(self) -> list[str]:
        """Return git's own argv. Raises GitError for a value that git could take for an option."""
        if self.template[0] not in COMMANDS:
            raise GitError(f"git {self.template[0]} is not one of the commands that are used here")
        for value in self.values:
            if not value or value.startswith("-") or "\0" in value or "\n" in value:
                raise GitError(f"git {self.template[0]} cannot take the value {value!r}")
        options = ("--end-of-options",) if self.values else ()
        return ["git", *self.template, *options, *self.values, *self.tail]


def run(
    folder: Path,
    call: Call,
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    max_output: int = MAX_OUTPUT,
    sink: Callable[[bytes], None] | None = None,
    inherit: tuple[int, ...] = (),
) -> process.Finished:
    """Run git on the repository in `folder` and return how it ended, whatever its exit code.

    It keeps the descriptors in `inherit`. Raises GitError where git cannot be started.
    """
    ours = {
        **ENVIRONMENT,
        **(environment or {}),
        "GIT_DIR": str(folder),
        **as_variables({**SETTINGS, **(settings or {})}),
    }
    unset = [name for name in process.outside(os.environ) if name not in ours]
    argv = ["env", *(part for name in unset for part in ("-u", name)), *call.argv()]
    child = _start(argv, folder, ours, stdin=subprocess.PIPE if call.data else None, inherit=inherit)
    return process.finish(child, call.data, seconds=seconds, max_output=max_output, sink=sink)


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as the environment variables of git 2.31: seen by no one who reads argv."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for n, (key, value) in enumerate(settings.items()):
        variables[f"GIT_CONFIG_KEY_{n}"] = key
        variables[f"GIT_CONFIG_VALUE_{n}"] = value
    return variables


def _start(
    argv: Sequence[str], folder: Path, environment: dict[str, str], *, stdin: int | None, inherit: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    try:
        # Loaded on use: it takes a tenth of a second, and asks git for its version.
        from git.cmd import Git
        from git.exc import GitCommandNotFound
    except ImportError as err:
        raise GitError("git cannot be run: is it installed?") from err
    engine = Git(folder)
    try:
        handle = engine.execute(
            argv, stdin, as_process=True, shell=False, env=environment, start_new_session=True, pass_fds=inherit
        )
    except (OSError, GitCommandNotFound) as err:
        raise GitError(f"git cannot be started: {err}") from err
    child, handle.proc = handle.proc, None  # ours now: GitPython would end the leader of the group alone
    return cast("subprocess.Popen[bytes]", child)
