"""One repository and its pull requests: what they say lives in memory, what they merge is in Git."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from updater.demo.git_server import environment

Style = Literal["merge", "squash", "rebase"]
Checks = Literal["none", "pending", "success", "failure"]


class No(Exception):
    """The forge will not do that; `why` is a word that each kind of forge has its own sentence for."""

    def __init__(self, why: str, number: int = 0) -> None:
        super().__init__(why)
        self.why, self.number = why, number


@dataclass(slots=True)
class Pull:
    """One pull request. `head` is the revision of its branch, the last one once it is done; `auto`: how to merge it."""

    number: int
    branch: str
    target: str
    title: str
    body: str
    opened: datetime
    updated: datetime
    head: str
    state: Literal["open", "closed", "merged"] = "open"
    merged: str = ""
    done: datetime | None = None
    auto: Style | None = None
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


class Hosted:
    """A repository `owner/name` in a bare folder; threads share it.

    people, teams   who may be asked for a review; author: who may not, since the requests are theirs
    checks          how the checks of every head stand; required: whether nothing may be merged before they succeeded
    auto_merge      whether the repository allows to merge later
    style           how requests are merged
    """

    def __init__(self, name: str, number: int, bare: Path, url: str, now: Callable[[], datetime]) -> None:
        self.name, self.id, self.bare, self.url = name, number, bare, url
        self.pulls: dict[int, Pull] = {}
        self.labels: dict[str, int] = {}
        self.people, self.teams, self.author = {"alice": 11, "bob": 12, "updater-bot": 13}, {"platform"}, "updater-bot"
        self.checks: Checks = "none"
        self.required, self.auto_merge = False, True
        self.style: Style = "merge"
        self.lock = threading.RLock()
        self._now = now

    def git(self, *args: str, data: str | None = None, check: bool = True) -> str:
        """Run git in the repository and return what it printed; empty where it may fail and did."""
        who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER")
               for what, text in (("NAME", "Forge"), ("EMAIL", "forge@localhost"))}  # fmt: skip
        done = subprocess.run(
            ["git", f"--git-dir={self.bare}", *args], check=False, input=data, env=environment() | who,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if done.returncode and check:
            raise RuntimeError(f"git {args[0]}: {done.stderr}")
        return "" if done.returncode else done.stdout.strip()

    def tip(self, branch: str) -> str:
        """Return the revision of a branch; empty where it is gone."""
        return self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", check=False)

    def look(self) -> list[Pull]:
        """Return every request, the newest first, after a look at the branches of those that are open."""
        with self.lock:
            for pull in self.pulls.values():
                if pull.state == "open":
                    self._see(pull)
            return sorted(self.pulls.values(), key=lambda pull: -pull.number)

    def _see(self, pull: Pull) -> None:
        head = self.tip(pull.branch)
        if not head:
            self._end(pull, "closed")  # as all of them do sooner or later
        elif head != pull.head:
            pull.head, pull.updated = head, self._now()
        if pull.state == "open" and self._within(pull.head, pull.target):
            pull.merged = pull.head  # somebody pushed it to the target
            self._end(pull, "merged")

    def _within(self, revision: str, branch: str) -> bool:
        return self.git("merge-base", revision, f"refs/heads/{branch}", check=False) == revision

    def find(self, number: int) -> Pull:
        """Return a request as it is now. Raises No."""
        with self.lock:
            self.look()
            if number not in self.pulls:
                raise No("absent")
            return self.pulls[number]

    def open(self, branch: str, target: str, title: str, body: str) -> Pull:
        """Open a request. Raises No: branch, empty, exists."""
        with self.lock:
            head = self.tip(branch)
            if not head or not self.tip(target):
                raise No("branch")
            for pull in self.look():
                if (pull.branch, pull.target, pull.state) == (branch, target, "open"):
                    raise No("exists", pull.number)
            if self._within(head, target):
                raise No("empty")
            number, now = len(self.pulls) + 1, self._now()
            self.pulls[number] = pull = Pull(number, branch, target, title, body, now, now, head)
            return pull

    def revise(self, number: int, title: str | None, body: str | None) -> Pull:
        """Change what a request says."""
        with self.lock:
            pull = self.find(number)
            pull.title, pull.body = title if title is not None else pull.title, body if body is not None else pull.body
            pull.updated = self._now()
            return pull

    def close(self, number: int) -> Pull:
        """Close a request without merging it, as a person does by a click."""
        with self.lock:
            pull = self.find(number)
            if pull.state == "open":
                self._end(pull, "closed")
            return pull

    def merge(self, number: int, style: Style | None = None, head: str = "") -> Pull:
        """Merge a request, as a person does by a click. Raises No: done, moved, checks, conflict."""
        with self.lock:
            pull = self.find(number)
            if pull.state != "open":
                raise No("done")
            if head and head != pull.head:
                raise No("moved")
            if self.required and self.checks != "success":
                raise No("checks")
            ours = self.tip(pull.target)
            tree = self.git("merge-tree", "--write-tree", ours, pull.head, check=False).partition("\n")[0]
            if not tree:
                raise No("conflict")
            chosen = style or self.style
            parents = ("-p", ours) if chosen != "merge" else ("-p", ours, "-p", pull.head)
            text = f"{pull.title} (#{number})\n\n{self._words(pull)}\n" if chosen != "merge" else f"Merge #{number}\n"
            pull.merged = self.git("commit-tree", tree, *parents, data=text)
            self.git("update-ref", f"refs/heads/{pull.target}", pull.merged, ours)
            self._end(pull, "merged")
            return pull

    def _words(self, pull: Pull) -> str:
        """Return the messages of the commits of a request, as a squash keeps them."""
        return self.git("log", "--reverse", "--format=%B", f"refs/heads/{pull.target}..{pull.head}")

    def conflicts(self, pull: Pull) -> bool:
        """Say whether a request cannot be merged as it is."""
        return not self.git("merge-tree", "--write-tree", self.tip(pull.target), pull.head, check=False)

    def settle(self, checks: Checks) -> None:
        """Say how the checks stand, and merge what waited for them."""
        with self.lock:
            self.checks = checks
            for pull in self.look():
                if checks == "success" and pull.state == "open" and pull.auto:
                    self.merge(pull.number, pull.auto)

    def _end(self, pull: Pull, state: Literal["closed", "merged"]) -> None:
        pull.state, pull.auto = state, None
        pull.done = pull.updated = self._now()
