"""The folder of a clone: made by us, never adopted. It is a cache: what looks wrong is set aside and fetched again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

ASIDE = ".aside"  # one former folder is kept to be looked at
PROBATION = 600.0  # seconds between two times that a damaged clone is made anew
REFS = "refs/updater/"
WORK = REFS + "=work"  # our last commit, pushed or not; no quoted name of a branch holds a `=`
WHOLE = "whole"  # a file: the remote sends files with their history, or not at all
LOGIN = "login-"  # how the folders begin in which a key lies while ssh, or who signs, runs
_OURS = frozenset({"HEAD", "config", "objects", "refs", "packed-refs", WHOLE})

_CONFIG = """\
# Written by the updater; a folder whose config differs from this is set aside.
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
[remote "origin"]
	url = "{url}"
"""


def config(url: str) -> str:
    """Return the whole configuration of a clone of `url`. Promisor settings come with each fetch, not from here:
    without them git never fetches a missing blob on its own, one by one.
    """  # noqa: D205
    return _CONFIG.format(url=url.replace("\\", "\\\\").replace('"', '\\"'))


def is_ours(folder: Path, url: str) -> bool:
    """Whether the folder is a clone of `url` that we made and nobody changed."""
    try:
        mode = folder.lstat().st_mode
        return stat.S_ISDIR(mode) and (folder / "config").read_text() == config(url) and (folder / "HEAD").is_file()
    except (OSError, UnicodeDecodeError):
        return False


def create(folder: Path, url: str) -> None:
    """Make an empty bare repository, as `git init` does. The config comes last: without it the folder is not ours."""
    folder.mkdir(mode=0o700, parents=True)
    for name in ("objects/info", "objects/pack", "refs"):
        (folder / name).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    (folder / "config").write_text(config(url))


def condemn(folder: Path) -> bool:
    """Have a damaged clone set aside before its next use, unless that was done less than PROBATION ago."""
    try:
        age = time.time() - folder.with_name(folder.name + ASIDE).lstat().st_mtime
    except OSError:
        age = PROBATION
    if 0 <= age < PROBATION:
        return False
    (folder / "config").unlink(missing_ok=True)
    return True


def set_aside(folder: Path) -> None:
    """Move what stands at `folder` away, in the place of what was moved there before."""
    aside = folder.with_name(folder.name + ASIDE)
    remove(aside)
    folder.rename(aside)
    os.utime(aside, follow_symlinks=False)  # when it was set aside


def remove(path: Path) -> None:
    """Remove whatever stands at `path`, links themselves and not what they point to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left behind and what we never put there: locks, keys, hooks, attributes, alternates.

    Only for the holder of the lock.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    folder.chmod(0o700)
    strange = [entry for entry in folder.iterdir() if entry.name not in _OURS]
    strange += (folder / "objects" / "info").glob("*alternates")
    strange += (folder / "objects" / "pack").glob("tmp_*")
    strange += (folder / "objects" / "pack").glob(".tmp-*")
    strange += (folder / REFS).glob("*.lock")
    strange.append(folder / REFS / "=new")
    for path in strange:
        remove(path)


@contextlib.contextmanager
def private(folder: Path) -> Iterator[Path]:
    """Yield a folder in a clone that only we can read, for as long as one process needs what lies there."""
    path = Path(tempfile.mkdtemp(prefix=LOGIN, dir=folder))  # 0700
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def ref(branch: str) -> str:
    """Return our name for the last head of a branch that we read; flat, so that `a` and `a/b` never clash."""
    return REFS + quote(branch, safe="")


def read_ref(folder: Path, branch: str) -> str:
    """Return the last head of a branch that was fetched or pushed here, or nothing.

    A file that holds no revision, as a crash may leave it, is removed: git would stumble over it.
    """
    path = folder / ref(branch)
    try:
        text = path.read_bytes()
    except OSError:
        return ""
    if re.fullmatch(rb"[0-9a-f]{40}\n", text):
        return text.decode().strip()
    path.unlink(missing_ok=True)
    return ""


def write_ref(folder: Path, branch: str, revision: str) -> None:
    """Note where we pushed a branch to, so that the next fetch finds nothing new. One file, replaced at once."""
    path = folder / ref(branch)
    new = path.with_name("=new")
    new.write_text(f"{revision}\n")
    new.replace(path)


def packs(folder: Path) -> int:
    """Count the packs; every fetch and every commit adds one."""
    return sum(1 for _ in (folder / "objects" / "pack").glob("*.pack"))


def promise(folder: Path) -> None:
    """Mark every pack as one that the remote has as well, which is true of all that was fetched or pushed.

    `git repack` keeps what is in such packs; a commit of ours that it reaches only through them would be lost.
    """
    for pack in (folder / "objects" / "pack").glob("*.pack"):
        pack.with_suffix(".promisor").touch()
