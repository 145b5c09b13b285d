"""Pushes that a remote refused: the same is not tried again before something changes, or an hour has passed.

What holds more than a refused push is the same too: whoever refuses a part of it refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from updater.errors import PushRefused
from updater.model.change import Bump
from updater.pipeline.look import Refusal, World

AGAIN = timedelta(hours=1)


@contextmanager
def once(
    world: World, where: tuple[str, str], head: str, bumps: Sequence[Bump], now: datetime, *, asked: bool = False
) -> Iterator[None]:
    """Push these changes to a branch of a repository that is at `head`, unless that was refused. Raises PushRefused.

    What a person `asked` for is tried. A new configuration, and a new process, know nothing of what was refused.
    """
    told = frozenset((one.file, one.line, one.image, one.new) for one in bumps)
    known = [one for one in world.refused.get(where, ()) if one.head == head and now < one.until]
    world.refused[where] = known
    before = next((one for one in known if one.told <= told), None)
    if before is not None and not asked:
        raise PushRefused(before.error, retry_at=before.until)
    try:
        yield
    except PushRefused as err:
        known.append(Refusal(head, told, now + AGAIN, str(err)))
        raise PushRefused(str(err), retry_at=now + AGAIN) from err
