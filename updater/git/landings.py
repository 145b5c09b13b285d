"""Which merge brought a commit to a branch. Pure.

A branch is its first parents: each of them is one landing. What a merge brings lands with it, whenever it was made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from updater.git.log import Logged

PARENTS = "--format=tformat:%H %P"


def parse_parents(output: bytes) -> dict[str, list[str]]:
    """Read what `git log` printed with PARENTS: the parents of each commit; a line that was cut is left out."""
    lines = output[: output.rfind(b"\n") + 1].decode("ascii", "replace").splitlines()
    return {names[0]: names[1:] for names in map(str.split, lines) if names}


def chain(parents: Mapping[str, Sequence[str]], head: str) -> list[str]:
    """Return the commits of a branch along first parents, newest first, as far as they are known."""
    found: list[str] = []
    at = head
    while at in parents:
        found.append(at)
        at = next(iter(parents[at]), "")
    return found


def landings(parents: Mapping[str, Sequence[str]], line: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """Return for each wanted commit the one of the branch that brought it: the oldest from which it is reached."""
    seen = set(line)
    found: dict[str, str] = {}
    left = set(wanted) - seen
    for merge in reversed(line):
        if not left:
            break
        todo = [one for one in parents[merge][1:] if one not in seen]
        while todo:
            one = todo.pop()
            if one in seen:
                continue
            seen.add(one)
            if one in left:
                left.remove(one)
                found[one] = merge
            todo += (parent for parent in parents.get(one, ()) if parent not in seen)
    return found


def landed(
    commits: Iterable[Logged], line: Sequence[str], merges: Mapping[str, Logged], brought: Mapping[str, str]
) -> tuple[Logged, ...]:
    """Return commits in the order in which they landed, newest first.

    What a merge brought counts from the time of the merge, and of its files only those that the merge changed. A
    commit that is not known to have landed is left out, and so is one whose trailers its merge repeats.
    """
    at = {revision: place for place, revision in enumerate(line)}
    placed: list[tuple[int, Logged]] = []
    for one in commits:
        merge = merges.get(brought.get(one.revision, ""))
        if one.revision in at:
            placed.append((at[one.revision], one))
        elif merge and not set(one.trailers) <= set(merge.trailers):
            files = frozenset(merge.files)
            whole = replace(one, at=merge.at, files=tuple(file for file in one.files if file in files))
            placed.append((at[merge.revision], whole))
    return tuple(one for _, one in sorted(placed, key=itemgetter(0)))
