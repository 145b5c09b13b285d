"""`updater history`: what was changed, when, from what to what and why, read from the trailers in Git alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from updater.config.images import Item
from updater.git.clone import Logged
from updater.messages.commits import OURS, REASON, told
from updater.pipeline.find import matches
from updater.pipeline.look import LOCK_WAIT, UNREACHED, World, everywhere
from updater.secrets import redact

DEPTH = 10_000  # commits of ours on a branch that are looked through
_REASON = re.compile(r"(\S+) (.*)")


@dataclass(slots=True)
class History:
    """Rows as `history --json` prints them, the newest first, and repositories that failed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def history(world: World, items: Sequence[Item] | None, limit: int) -> History:
    """Return the latest `limit` updates: of these items' images on the branches that they look at, or all."""
    found = History()
    for branch in everywhere(world):
        here = None if items is None else [item for item in items if item in branch.items]
        if here == []:
            continue
        clone = world.clone_of(branch.repository)
        try:
            with clone.lock(LOCK_WAIT):
                head = clone.fetch(branch.name)
                commits = clone.landed(head.revision, limit=DEPTH, grep=OURS)
        except UNREACHED as err:
            found.failures.append({"what": f"repository {branch.repository.name}", "error": redact(str(err))})
            continue
        for logged in commits:
            found.rows += _rows(branch.repository.name, head.branch, logged, here)
    found.rows.sort(key=lambda row: row["at"], reverse=True)
    del found.rows[limit:]
    return found


def _rows(repository: str, branch: str, logged: Logged, items: Sequence[Item] | None) -> list[dict[str, Any]]:
    reasons = {
        match[1]: match[2] for key, value in logged.trailers if key == REASON and (match := _REASON.fullmatch(value))
    }
    return [
        {
            "at": logged.at.isoformat(),
            "image": one.image,
            "old": one.old,
            "new": one.new,
            "reason": reasons.get(one.image, ""),
            "repository": repository,
            "branch": branch,
            "revision": logged.revision,
            "author": logged.author,
        }
        for one in told(logged.trailers)
        if items is None or any(matches(item, one.image) or one.image in item.replaces for item in items)
    ]
