"""A persistent bare clone, and all that is done with one: fetch, read, commit, push, log.

It has no work tree and no hooks, holds the blobs that were asked for and no others where the server allows it, and
is never shallow. Everything happens under its lock, which other processes share.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from updater.errors import GitError, NoRevision, PushRefused, PushRejected
from updater.git import commit as commits
from updater.git import folder as folders
from updater.git import landings
from updater.git import log as logs
from updater.git import push as pushes
from updater.git.blobs import Blobs, Damaged
from updater.git.commit import Author
from updater.git.log import Logged
from updater.git.remote import Remote
from updater.git.runner import MAX_OUTPUT, Call, run
from updater.git.signing import Signing
from updater.secrets import redact
from updater.transport import lock as locks
from updater.transport.process import Finished

__all__ = ["Author", "Blob", "Clone", "Head", "Logged", "Remote"]

DEADLINE = 300.0  # seconds for one git process; the first fetch of a large repository is the longest
MAX_BLOB = 8 << 20  # bytes; no file that people write by hand is larger
MAX_READ = 1 << 30  # bytes that one read takes from git
MAX_LOG = 64 << 20  # bytes of history that one look takes from git
MAX_PATCH = 1 << 20  # bytes of a patch that is shown
LOCAL = 10.0  # seconds for a look at what is here, for which somebody waits
MAX_PACKS = 50  # above, they are made one

_REVISION = re.compile(r"[0-9a-f]{40}")
# git check-ref-format, and no character that its patterns would read
_BRANCH = re.compile(r"(?!-|/|.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)|[/.]$))[^\x00-\x20\x7f~^:?*\[\\]+")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-show-forced-updates")
_BLOBLESS = {"remote.origin.promisor": "true", "remote.origin.partialclonefilter": "blob:none"}
_NO_BITMAPS = {"repack.writeBitmaps": "false"}  # on in a bare repository, and git dies where it lacks a blob
_DAMAGE = re.compile(  # our side's words; what the remote's side says begins with `remote: `
    r"^(?!remote: ).*(?:corrupt|bad object|bad tree|unable to read tree|inflate: |not a git repository|unresolved"
    r"|object file .* is empty|packfile .* cannot|index file|missing (?:blob|tree|commit) |invalid object"
    r"|could not fetch \w+ from promisor remote)",
    re.MULTILINE,
)
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT})  # git's own end in what it could not read
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large|Read-only file system")
_DENIED = re.compile(
    r"returned error: 40[13]|ermission|denied|not allowed|read.only|Authentication failed", re.IGNORECASE
)
_LOGIN = re.compile(rb"could not read Username|Authentication failed|returned error: 401")  # it was refused


_HINTS = (
    (
        "terminal prompts disabled",
        "the remote asks for a login: there is none, or it is not accepted",
    ),
    ("Authentication failed", "the remote does not accept the login"),
    ("Permission denied (", "the remote does not accept the key"),
    ("Host key verification failed", "the host showed a key that is not pinned"),
    ("fsck error", "the history holds an object that git's own check refuses"),
    ("unable to update url base from redirection", "the remote lives at another address now"),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a branch of the remote is."""

    branch: str
    revision: str


@dataclass(frozen=True, slots=True)
class Blob:
    """One entry of a tree. The mode is 100644 or 100755 (a file), 120000 (a symbolic link) or 160000 (a submodule)."""

    path: str
    oid: str
    mode: str


class CloneDamaged(GitError):
    """git could not read what this clone should hold."""


class Clone:
    """One clone of one remote in `folder`. `deadline` is in seconds, for each git process; `signing` is for commits."""

    def __init__(
        self, folder: Path, remote: Remote, *, signing: Signing | None = None, deadline: float = DEADLINE
    ) -> None:
        self.folder = folder
        self.remote = remote
        self._signing = signing
        self._deadline = deadline
        self._lock: int | None = None
        self._heads: tuple[Head, ...] = ()  # what was fetched last; a new clone gets them again
        self._bare = False  # no blob has come yet
        self._modes: tuple[str, dict[str, str]] = ("", {})

    @contextlib.contextmanager
    def lock(self, timeout: float = 60) -> Iterator[None]:
        """Hold the clone, from fetch to push, against threads and processes. Raises GitError after `timeout` seconds.

        git's processes inherit the lock: where one survives us, nobody else comes in before it has ended.
        """
        path = self.folder.with_name(self.folder.name + ".lock")
        descriptor = locks.acquire(path, timeout)
        if descriptor is None:
            raise GitError(f"{self.remote.name}: its clone has been in use by another process for {timeout:g} s")
        try:
            folders.sweep(self.folder)
            self._lock = descriptor
            yield
        finally:
            self._lock = None
            os.close(descriptor)

    def fetch(self, branch: str | None = None) -> Head:
        """Return where `branch` is now (None: the branch that the remote's HEAD names), and have its history here.

        Raises GitError where the branch does not exist. A history that was written anew is taken as it is.
        """
        head = self._anew(lambda: self._fetch(branch))
        self._heads = (head,)
        return head

    def resolve(self, wanted: Collection[str]) -> dict[str, str | GitError]:
        """Return the commit of each branch, tag, full object id or `HEAD`, and have its history here.

        One question to the remote, however many are wanted; a name that is a branch and a tag means the branch. Raises
        GitError where the remote cannot be asked.
        """
        return self._anew(lambda: self._resolve(wanted))

    def _resolve(self, wanted: Collection[str]) -> dict[str, str | GitError]:
        self._tidy()
        names = [name for name in wanted if not _REVISION.fullmatch(name)]
        rows = self._rows(names) if names else {}
        heads: list[Head] = []
        found = {name: self._resolved(name, rows, heads) for name in wanted}
        self._heads = tuple(heads) or self._heads
        return found

    def _rows(self, names: Collection[str]) -> dict[str, str]:
        """Ask the remote for branches and tags; return object ids by the names of refs."""
        asked: list[str] = []
        for name in names:
            if name == "HEAD":
                asked.append("HEAD")
            elif _BRANCH.fullmatch(name):
                asked += [f"refs/heads/{name}", f"refs/tags/{name}", f"refs/tags/{name}^{{}}"]
        if not asked:
            return {}
        done = self._network(Call(("ls-remote", "--quiet"), ("origin", *asked)), {})
        if done.code or done.cut:
            raise self._error("ask for the heads of", done)
        rows = (line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines())
        return {row[1]: row[0] for row in rows if len(row) == 2 and _REVISION.fullmatch(row[0])}

    def _resolved(self, name: str, rows: Mapping[str, str], heads: list[Head]) -> str | GitError:
        branch, tag = f"refs/heads/{name}", f"refs/tags/{name}"
        ref = next((ref for ref in (branch, tag, name) if ref in rows), name)
        told = rows.get(ref) or (name if _REVISION.fullmatch(name) else "")
        if not told:
            shown = name[:100] if name.isprintable() else repr(name[:100])
            return NoRevision(self._text("read", f"it has no branch and no tag {shown}"))
        key = name if ref == branch else ref
        try:
            if told in {head.revision for head in heads}:
                folders.write_ref(self.folder, key, told)  # it came by another name
            elif folders.read_ref(self.folder, key) != told:
                self._get(key, told if ref == name else ref)
        except CloneDamaged:
            raise
        except GitError as err:
            return err
        heads.append(Head(key, told))
        return rows.get(f"{tag}^{{}}", told) if ref == tag else told

    def tree(self, revision: str) -> tuple[Blob, ...]:
        """Return the entries of the tree of a revision, in git's order, without paths that are not UTF-8."""
        call = Call(("ls-tree", "-r", "-z", "--full-tree"), (_hash(revision),))
        done = self._healed(lambda: self._local(call, "list the files of"))
        blobs = tuple(_entries(done.stdout))
        self._modes = (revision, {blob.path: blob.mode for blob in blobs if blob.mode != commits.REGULAR})
        return blobs

    def read(self, oids: Iterable[str], *, max_bytes: int = MAX_BLOB) -> dict[str, bytes]:
        """Return the contents of blobs by object id; what is not here yet comes in one request.

        Blobs larger than `max_bytes` are left out.
        """
        wanted = list(dict.fromkeys(_hash(oid) for oid in oids))
        return self._healed(lambda: self._read(wanted, max_bytes)) if wanted else {}

    def commit(self, base: str, files: Mapping[str, bytes], message: str, author: Author, at: datetime) -> str:
        """Write a commit on `base` with these contents, byte for byte, and return its revision. Nothing leaves.

        Raises ValueError for a path that is never written: absolute, in `.git`, a symbolic link, a submodule; GitError,
        and SecretError where it is to be signed.
        """
        if self._modes[0] != base:
            self.tree(base)
        modes = self._modes[1]
        text = commits.stream(folders.WORK, _hash(base), files, modes, message=message, author=author, at=at)
        call = Call(("fast-import", "--quiet", "--force", "--date-format=raw"), data=text)
        revision = self._healed(lambda: self._local(call, "commit to")).stdout.decode().strip()
        if self._signing:
            revision = self._signed(self._signing, revision, base, message=message, variables=author.variables(at))
        self._modes = revision, modes  # contents alone differ, for a commit on top of it
        return revision

    def push(self, branch: str, base: str, revision: str) -> None:
        """Move `branch` of the remote from `base` to `revision`, or leave it.

        An empty `base` means that there is no such branch yet, an empty `revision` that there is to be none any more.
        Raises PushRejected where it is not at `base`, PushRefused where the remote would not have it, GitError for
        the rest. A push whose answer was lost is a success where the remote shows that it was written.
        """
        name = f"refs/heads/{_branch(branch)}"
        template = (
            "push",
            "--porcelain",
            "--no-verify",
            "--no-progress",
            f"--force-with-lease={name}:{base and _hash(base)}",
        )
        done = self._network(Call(template, ("origin", f"{revision and _hash(revision)}:{name}")), {})
        result, why = pushes.outcome(done.code, done.stdout.decode("utf-8", "replace"))
        match result:
            case pushes.Outcome.DONE:
                if revision:
                    folders.write_ref(self.folder, branch, revision)
            case pushes.Outcome.MOVED:
                raise PushRejected(self._text(f"push {branch} to", why))
            case pushes.Outcome.REFUSED:
                raise PushRefused(self._text(f"push {branch} to", why, done))
            case pushes.Outcome.UNKNOWN:
                self._settle(branch, base, revision, done)

    def may_push(self, branch: str, revision: str) -> None:
        """Have the remote take the first words of a push that would change nothing: a dry run to where the branch is.

        That asks for the right to write; what hooks and protected branches say shows in a real push alone.
        Raises GitError.
        """
        template = ("push", "--dry-run", "--porcelain", "--no-verify", "--no-progress")
        done = self._network(Call(template, ("origin", f"{_hash(revision)}:refs/heads/{_branch(branch)}")), {})
        if done.code or done.cut:
            raise self._error(f"push {branch} to", done)

    def log(
        self,
        revision: str,
        *,
        limit: int,
        since: datetime | None = None,
        grep: str = "",
        files: bool = False,
        path: str = "",
        after: str = "",
    ) -> tuple[Logged, ...]:
        """Return at most `limit` commits, newest first, along first parents, none committed before `since`.

        With `after` only those count that this revision does not have; GitError where the clone does not know it.
        `grep` is an extended regular expression of ours: only commits with a line like it count. With `files` each
        tells what it changed; with `path` only those count that changed this file. Where all that is larger than
        MAX_LOG the oldest are left out.
        """
        options = (
            *((f"--since={since.isoformat()}",) if since else ()),
            *(("--extended-regexp", f"--grep={grep}") if grep else ()),
            *(logs.FILES if files else ()),
        )
        template = ("log", "--first-parent", f"--max-count={int(limit)}", *options, *logs.FORMAT)
        revisions = (_hash(revision), *((f"^{_hash(after)}",) if after else ()))
        call = Call(template, revisions, ("--", path) if path else ("--",))
        return self._commits(call, after)

    def landed(
        self, revision: str, *, limit: int, grep: str, files: bool = False, after: str = ""
    ) -> tuple[Logged, ...]:
        """Return commits as `log` does, and those that merges brought, which count from the time of the merge.

        Of these only the files count that the merge changed: what it left out did not land. Newest first.
        """
        told = logs.FILES if files else ()
        template = ("log", f"--max-count={int(limit)}", "--extended-regexp", f"--grep={grep}", *told, *logs.FORMAT)
        revisions = (_hash(revision), *((f"^{_hash(after)}",) if after else ()))
        found = self._commits(Call(template, revisions, ("--",)), after=after)
        if not found:
            return ()
        # Nothing is older than the last one, unless clocks went wrong: then the whole history is read.
        near = (*revisions, *(f"^{parent}" for parent in found[-1].parents))
        aside = {one.revision for one in found} - set(self._line(near, "--first-parent")[1])
        if not aside:
            return found
        parents, line = self._line(near)
        brought = landings.landings(parents, line, aside)
        if aside - brought.keys() - set(line):
            parents, line = self._line(revisions)
            brought = landings.landings(parents, line, aside)
        names = tuple(dict.fromkeys(brought.values()))
        call = Call(("log", "--no-walk", *told, *logs.FORMAT), names, ("--",))
        merges = self._commits(call) if names else ()
        return landings.landed(found, line, {one.revision: one for one in merges}, brought)

    def _commits(self, call: Call, after: str = "") -> tuple[Logged, ...]:
        # A revision that is gone, because the history was written anew, is no damage that another clone would heal.
        done = self._log(call) if after else self._healed(lambda: self._log(call))
        found = logs.parse_log(done.stdout)
        return found[:-1] if done.cut else found

    def _line(self, revisions: tuple[str, ...], *options: str) -> tuple[dict[str, list[str]], list[str]]:
        """Return the parents of commits, and those that make the branch."""
        done = self._log(Call(("log", landings.PARENTS, *options), revisions, ("--",)))
        parents = landings.parse_parents(done.stdout)
        return parents, landings.chain(parents, revisions[0])

    def show(self, revision: str) -> str:
        """Return a commit as `git log -p` prints it, cut after a mebibyte."""
        template = ("log", "-p", "-1", "--no-color", "--no-ext-diff", "--no-textconv", "--first-parent")
        call = Call(template, (_hash(revision),), ("--",))
        done = self._network(call, _BLOBLESS, max_output=MAX_PATCH, lazy=True)
        if done.code and not done.stdout:
            raise GitError(self._text("show a commit of", "", done))
        return done.stdout.decode("utf-8", "replace") + ("\n[cut]\n" if done.cut else "")

    def patch(self, revision: str, *, max_bytes: int = MAX_PATCH, seconds: float = LOCAL) -> tuple[str, bool]:
        """Return what a commit changed, as a patch, and whether that was cut; from what is here, and nothing else.

        It needs no lock: it only reads, and waits for nobody. Raises GitError where something of it is not here.
        """
        template = ("log", "-p", "-1", "--format=", "--no-color", "--no-ext-diff", "--no-textconv", "--first-parent")
        call = Call((*template, "--diff-merges=first-parent", "--no-renames"), (_hash(revision),), ("--",))
        done = run(
            self.folder, call, seconds=seconds, environment={"GIT_NO_LAZY_FETCH": "1"}, settings=_BLOBLESS,
            max_output=max_bytes,
        )  # fmt: skip
        cut = len(done.stdout) >= max_bytes
        if (done.code or done.cut) and not cut:
            raise GitError(self._text("show a commit of", "it is not here", done))
        return done.stdout.decode("utf-8", "replace"), cut

    # How it is done.

    def _anew(self, operation: Callable[[], T]) -> T:
        """Ask the remote, and where the clone turns out to be damaged, once more into a new one."""
        self._prepare()
        try:
            return operation()
        except CloneDamaged:
            if not folders.condemn(self.folder):
                raise
            self._prepare()
            return operation()

    def _prepare(self) -> None:
        if folders.is_ours(self.folder, self.remote.url):
            return
        if os.path.lexists(self.folder):
            folders.set_aside(self.folder)
        folders.create(self.folder, self.remote.url)

    def _fetch(self, branch: str | None) -> Head:
        self._tidy()
        known = folders.read_ref(self.folder, branch) if branch else ""
        if branch and not known:
            return self._first(branch)
        head = self._ask(branch)
        if folders.read_ref(self.folder, head.branch) != head.revision:
            self._get(head.branch, head.revision)
        return head

    def _first(self, branch: str) -> Head:
        """Fetch a branch that was never here: its name is known, so nothing is asked before."""
        self._get(branch, f"refs/heads/{_branch(branch)}")
        return Head(branch, folders.read_ref(self.folder, branch))

    def _ask(self, branch: str | None) -> Head:
        """Ask the remote for one head: one process, one answer."""
        name = f"refs/heads/{_branch(branch)}" if branch else "HEAD"
        done = self._network(Call(("ls-remote", "--quiet", "--symref"), ("origin", name)), {})
        if done.code or done.cut:
            raise self._error("ask for the head of", done)
        rows = [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines()]
        heads = {row[1]: row[0] for row in reversed(rows) if len(row) == 2 and row[1] == name}
        links = [row[0] for row in rows if row[-1] == name and row[0].startswith("ref: refs/heads/")]
        revision = next((row[0] for row in rows if row[-1] == name and not row[0].startswith("ref: ")), "")
        if not heads or not revision:
            raise self._missing(branch)
        return Head(branch or _default(links), _hash(revision))

    def _get(self, branch: str, source: str) -> None:
        fresh = not folders.packs(self.folder)
        whole = (self.folder / folders.WHOLE).exists()
        done = self._network(Call(_FETCH, ("origin", f"+{source}:{folders.ref(branch)}")), {} if whole else _BLOBLESS)
        if done.code and "couldn't find remote ref" in done.stderr.decode("utf-8", "replace"):
            raise self._missing(branch)
        if done.code or done.cut:
            raise self._error(f"fetch {branch} from", done)
        self._bare = fresh

    def _tidy(self) -> None:
        """Make one pack of many; before a fetch, so that a branch which nobody else writes comes here too."""
        if folders.packs(self.folder) > MAX_PACKS:
            folders.promise(self.folder)
            self._local(Call(("repack", "-a", "-d", "-q")), "repack", _BLOBLESS | _NO_BITMAPS)

    def _read(self, wanted: list[str], max_bytes: int) -> dict[str, bytes]:
        blobs = Blobs(max_bytes)
        if self._bare:
            blobs.missing = wanted
        else:
            self._cat(wanted, blobs)
        if blobs.missing:
            missing, blobs.missing = blobs.missing, []
            self._fetch_blobs(missing)
            self._cat(missing, blobs)
        if blobs.missing:
            raise CloneDamaged(self._text("read files of", f"the remote did not send {len(blobs.missing)} of them"))
        return blobs.found

    def _fetch_blobs(self, oids: list[str]) -> None:
        settings = _BLOBLESS | {"fetch.negotiationAlgorithm": "noop"}
        data = "".join(f"{oid}\n" for oid in oids).encode()
        done = self._network(Call((*_FETCH, "--stdin"), ("origin",), data=data), settings)
        if done.code and b"unadvertised object" in done.stderr:
            done = self._fetch_whole()
        if done.code or done.cut:
            raise self._error("fetch files from", done)

    def _fetch_whole(self) -> Finished:
        """Fetch the heads again with all files: git's oldest protocol may filter, and yet give no file by name."""
        (self.folder / folders.WHOLE).touch()
        values = (f"+{head.revision}:{folders.ref(head.branch)}" for head in self._heads)
        return self._network(Call((*_FETCH, "--refetch"), ("origin", *values)), {})

    def _cat(self, oids: list[str], blobs: Blobs) -> None:
        self._bare = False
        call = Call(("cat-file", "--batch", "--buffer"), data="".join(f"{oid}\n" for oid in oids).encode())
        try:
            done = self._run(call, max_output=MAX_READ, sink=blobs.feed)
        except Damaged as err:
            raise CloneDamaged(self._text("read files of", f"object {err} is damaged")) from err
        if done.code or done.cut:
            raise self._error("read files of", done, local=True)

    def _signed(self, signing: Signing, revision: str, base: str, *, message: str, variables: Mapping[str, str]) -> str:
        """Write a commit once more, with a signature; fast-import cannot sign."""
        values, data = (f"{revision}^{{tree}}",), message.replace("\0", "").encode("utf-8", "replace")
        call = Call(("commit-tree", "-S", "-p", base, "-F", "-"), values, data=data)
        try:
            with signing.access(self.folder, self._deadline) as (environment, settings):
                done = self._run(call, environment={**variables, **environment}, settings=settings)
        except GitError as err:
            raise GitError(self._text("commit to", str(err))) from err
        if done.code or done.cut:
            raise GitError(self._text("sign a commit to", "", done))
        return _hash(done.stdout.decode().strip())

    def _settle(self, branch: str, base: str, revision: str, done: Finished) -> None:
        """Nobody said what became of the branch: look where it is."""
        head = self._rows([branch]).get(f"refs/heads/{branch}", "")
        if head == revision:
            return
        if head != base:
            raise PushRejected(self._text(f"push {branch} to", "the branch moved meanwhile", done))
        refused = _DENIED.search(done.stderr.decode("utf-8", "replace"))
        raise (PushRefused if refused else GitError)(self._text(f"push {branch} to", "", done))

    def _healed(self, operation: Callable[[], T]) -> T:
        """Do something, and where the clone turns out to be damaged, once more on a new one."""
        try:
            return operation()
        except CloneDamaged:
            if not self._heads or not folders.condemn(self.folder):
                raise
            self._prepare()
            for head in self._heads:
                self._get(head.branch, head.revision)
            return operation()

    def _log(self, call: Call) -> Finished:
        done = self._run(call, max_output=MAX_LOG)
        if (done.code or done.cut) and len(done.stdout) < MAX_LOG:
            raise self._error("read the history of", done, local=True)
        return done

    def _local(self, call: Call, what: str, settings: Mapping[str, str] | None = None) -> Finished:
        """Run git without the network; whatever it cannot do then is the fault of the clone."""
        done = self._run(call, settings=settings)
        if done.code or done.cut:
            raise self._error(what, done, local=True)
        return done

    def _network(
        self, call: Call, settings: Mapping[str, str], *, max_output: int = MAX_OUTPUT, lazy: bool = False
    ) -> Finished:
        """Run git with the network; a login that was refused is renewed once, where it can be."""
        done = self._asked(call, settings, max_output=max_output, lazy=lazy)
        if done.code and _LOGIN.search(done.stderr) and self.remote.renew():
            done = self._asked(call, settings, max_output=max_output, lazy=lazy)
        return done

    def _asked(self, call: Call, settings: Mapping[str, str], *, max_output: int, lazy: bool) -> Finished:
        with self.remote.access(self.folder) as (environment, login):
            environment |= {"GIT_NO_LAZY_FETCH": "0" if lazy else "1"}
            return self._run(call, environment=environment, settings={**settings, **login}, max_output=max_output)

    def _run(self, call: Call, **options: Any) -> Finished:
        if self._lock is None:
            raise RuntimeError("a clone is used under its lock")
        return run(self.folder, call, seconds=self._deadline, inherit=(self._lock,), **options)

    def _missing(self, branch: str | None) -> NoRevision:
        what = f"it has no branch {branch}" if branch else "it is empty, or its HEAD names no branch"
        return NoRevision(self._text("read", what))

    def _error(self, what: str, done: Finished, *, local: bool = False) -> GitError:
        stderr = done.stderr.decode("utf-8", "replace")
        ended_by_itself = not done.cut and (done.code >= 0 or -done.code in _CRASHES)
        damaged = ended_by_itself and (local or _DAMAGE.search(stderr)) and not _FULL.search(stderr)
        return (CloneDamaged if damaged else GitError)(self._text(what, "", done))

    def _text(self, what: str, why: str, done: Finished | None = None) -> str:
        """Say what was asked, of which remote, and what came back: a few lines, printable, without secrets."""
        parts = [f"{self.remote.name}: cannot {what} {self.remote.url}", why]
        if done:
            lines = _last_lines(done.stderr)
            parts += [
                done.cut or f"git exited with {done.code}",
                *(hint for sign, hint in _HINTS if sign in lines),
                lines,
            ]
        return redact(": ".join(part for part in parts if part))


def _last_lines(stderr: bytes, lines: int = 6, length: int = 1000) -> str:
    kept = [line.strip() for line in stderr.decode("utf-8", "replace").replace("\r", "\n").splitlines() if line.strip()]
    return "".join(c for c in " | ".join(kept[-lines:]) if c.isprintable())[-length:]


def _hash(text: str) -> str:
    """Return a full object id as it is. Raises ValueError for anything that git would have to look up."""
    if not _REVISION.fullmatch(text):
        raise ValueError(f"{text!r} is no object id")
    return text


def _branch(name: str) -> str:
    if not _BRANCH.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a branch")
    return name


def _default(links: list[str]) -> str:
    return links[0].removeprefix("ref: refs/heads/") if links else "HEAD"


def _entries(output: bytes) -> Iterator[Blob]:
    for entry in output.split(b"\0")[:-1]:
        what, _, path = entry.partition(b"\t")
        mode, _, oid = what.decode().split(" ")
        with contextlib.suppress(UnicodeDecodeError):
            yield Blob(path.decode(), oid, mode)
