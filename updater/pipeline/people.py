"""What people may say about an image, and what has to hold for it: the same by command, page and API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from updater.config.images import Item
from updater.errors import RegistryError, UpdaterError
from updater.model.decision import Reason
from updater.model.durations import seconds
from updater.model.image import is_tag
from updater.pipeline.find import matches
from updater.pipeline.look import World
from updater.pipeline.report import Row
from updater.registry.client import NotFound

MAX_REASON = 500  # characters

OPENED = frozenset({
    Reason.LEVEL, Reason.AMBIGUOUS, Reason.MIN_AGE, Reason.WINDOW_CLOSED, Reason.MOVED_TAG, Reason.PULL_REQUEST_CLOSED,
})  # fmt: skip
"""What an approval lets one tag pass."""


def end_of(until: str | None, now: datetime) -> datetime | None:
    """Read `7d` or a time; one without a zone is meant in UTC. Raises ValueError with what is wrong."""
    if until is None:
        return None
    try:
        end = now + timedelta(seconds=seconds(until))
    except (ValueError, OverflowError):
        end = _moment(until)
    if end <= now:
        raise ValueError(f"{until!r} is over already")
    return end


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:100]!r}: expected 7d, 12h or a time such as 2026-12-01T08:00Z") from None


def reason_of(text: str) -> str:
    """Return why somebody holds an image. Raises ValueError for what is no short line."""
    if len(text) > MAX_REASON or not (text.isprintable() or not text):
        raise ValueError(f"expected one line of at most {MAX_REASON} characters")
    return text.strip()


def expect_tag(text: str) -> None:
    """Raise ValueError for what is no tag."""
    if not is_tag(text):
        raise ValueError(f"{text[:130]!r} is not a tag")


def expect_there(world: World, item: Item, tag: str) -> None:
    """Refuse a tag that an image does not have: by the last list, and where that has none, by what the registry says.

    Of a pattern the lists alone say what there is. Raises ValueError, RegistryError where nobody can say.
    """
    names = world.memory().tags.listed(lambda image: matches(item, image))
    tags = sorted(frozenset().union(*names.values()))
    if tag in tags:
        return
    near = get_close_matches(tag, tags, n=3)
    known = "the last list has none" if names else "it was never listed"
    known += f"; near: {', '.join(near)}" if near else ""
    if item.exact is None:
        raise ValueError(f"no image of {item.image} is known to have a tag {tag}: {known}")
    try:
        world.registry_of(item.exact).digest(item.exact.repository, tag)
    except NotFound:
        raise ValueError(f"{item.exact.name} has no tag {tag}: {known}, and neither has the registry") from None
    except UpdaterError as err:
        raise RegistryError(f"whether {item.exact.name} has a tag {tag} is not known: {known}, and {err}") from err


def gate_of(row: Row) -> str:
    """Return the gate that an approval of the policy's best tag would open; empty where none is in its way."""
    verdicts = row.decision.verdicts if row.decision else ()
    best = next((one.why for one in verdicts if one.tag == row.newest), "")
    return gate(row.reason, best)


def gate(reason: str, best: str) -> str:
    """Return the same of a reason, and of the verdict on the policy's best tag."""
    return next((one for one in (reason, best.partition(":")[0]) if one in OPENED), "")
