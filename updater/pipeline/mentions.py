"""`updater find`: every mention of an image in every repository, tracked or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from updater.pipeline.look import LOCK_WAIT, UNREACHED, Checkout, Progress, World, everywhere, look, no_progress
from updater.secrets import redact


@dataclass(slots=True)
class Mentions:
    """Rows as `find --json` prints them: references, files that could not be read, repositories that failed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def mentions(world: World, progress: Progress = no_progress) -> Mentions:
    """Read every branch that an item looks at, and the default branch of every other repository."""
    wanted = everywhere(world)
    found = Mentions()
    for done, branch in enumerate(wanted, 1):
        try:
            with world.clone_of(branch.repository).lock(LOCK_WAIT):
                checkout = look(world, branch, everything=True)
        except UNREACHED as err:
            found.failures.append({"what": f"repository {branch.repository.name}", "error": redact(str(err))})
        else:
            found.rows += _rows(checkout)
            found.skipped += [
                {"repository": branch.repository.name, "branch": checkout.head.branch}
                | {"file": skipped.file, "line": skipped.line, "why": skipped.why}
                for skipped in checkout.skipped
            ]
        progress("repositories", done, len(wanted))
    return found


def _rows(checkout: Checkout) -> list[dict[str, Any]]:
    return [
        {
            "repository": checkout.branch.repository.name,
            "branch": checkout.head.branch,
            "file": one.reference.file,
            "line": one.reference.line,
            "image": one.reference.former or one.reference.image.name,
            "spelled": one.reference.spelled,
            "current": one.reference.image.version,
            "editor": one.reference.editor,
            "owner": one.item.name if one.item else None,
            "rivals": list(one.rivals),
            "unwritable": one.reference.unwritable or None,
        }
        for one in checkout.owned
    ]
