"""Where the changes of one checkout go, and how long they wait for others of their group before they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from updater.config.images import Item
from updater.model.decision import Reason
from updater.pipeline.commit import failed
from updater.pipeline.group import Way, group_of, way_of
from updater.pipeline.look import Batch, Checkout, World
from updater.pipeline.report import Outcome, Row


def way_to(checkout: Checkout, item: Item, file: str) -> Way | None:
    """Return where a change of an item in a file goes, None for the branch itself. Raises ValueError."""
    way = way_of(item, checkout.branch.repository, checkout.head.branch, file)
    return way if way.branch else None


def by_way(world: World, checkout: Checkout, rows: Iterable[Row]) -> Iterator[tuple[Way | None, Row]]:
    """Yield each row with where its change goes; one that can go nowhere is there too, and says why."""
    taken = _taken(world, checkout)
    for row in rows:
        try:
            way = way_to(checkout, row.item, row.reference.file if row.reference else "")
        except ValueError as err:
            yield None, failed(row, str(err))
            continue
        why = taken.get(way.branch) if way else None
        yield (None, failed(row, why)) if why else (way, row)


def group_at(checkout: Checkout, row: Row) -> str:
    """Return what the change of a row is grouped by."""
    file = row.reference.file if row.reference else ""
    return group_of(row.item, checkout.branch.repository, checkout.head.branch, file)


def collected(world: World, checkout: Checkout, row: Row, now: datetime) -> tuple[Row, datetime | None]:
    """Return the row of what waits for others of its group, and until when; else the row as it is."""
    length = checkout.branch.repository.commit.batch
    if not length or row.outcome is not Outcome.UPDATED or row.reference is None:
        return row, None
    key = (checkout.branch.repository.name, checkout.head.branch, group_at(checkout, row))
    batch = world.batches.setdefault(key, Batch(now, now + timedelta(seconds=length)))
    if batch.until <= now:
        return row, None
    batch.items.add(row.item.name)
    why = f"collected with what else comes until {batch.until:%H:%M:%S} UTC (commit.batch)"
    return replace(row, outcome=Outcome.HELD, reason=Reason.WINDOW_CLOSED, why=why), batch.until


def _taken(world: World, checkout: Checkout) -> dict[str, str]:
    """Return the branches of our own that nobody may write, and why: several groups or targets want them."""
    ways: dict[str, set[Way]] = {}
    for one in checkout.owned:
        with suppress(ValueError):  # whoever goes there is told
            if one.item is not None and (way := way_to(checkout, one.item, one.reference.file)):
                ways.setdefault(way.branch, set()).add(way)
    found = {}
    for branch, several in ways.items():
        target = world.targets.setdefault((checkout.branch.repository.name, branch), checkout.head.branch)
        if len(several) > 1:
            groups = " and ".join(sorted({way.group for way in several}))
            found[branch] = f"write_back.branch makes {branch!r} in more than one way, for {groups}"
        elif target != checkout.head.branch:
            found[branch] = f"write_back.branch makes {branch!r} for {checkout.head.branch} and for {target}"
    return found
