"""What is looked at because of a hint: the items whose image or repository it names, and Git. Nothing is believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from updater.config.repositories import same
from updater.config.settings import canonical
from updater.model.image import ImageRef
from updater.pipeline.find import matches

if TYPE_CHECKING:
    from updater.config.images import Item
    from updater.config.settings import Settings
    from updater.daemon.desk import Desk
    from updater.hooks.base import Hint

OTHER = "*"  # a branch that no item names; no branch is called that
RATE = 20.0  # looks a second that one hook may ask for
BURST = 100  # looks at once
GIT_APART = 1.0  # seconds between two looks at Git, or at the items of a branch


class Spot(NamedTuple):
    """A branch, empty for any, of repositories: their names, and what their HEAD is, empty where nobody knows yet."""

    branch: str
    heads: tuple[tuple[str, str], ...]


class Index:
    """Which items an image concerns; made once for each configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._exact: dict[str, list[Item]] = {}
        self._patterns = [item for item in settings.items if item.exact is None]
        self._branch = {one.name: one.branch for one in settings.repositories}
        self._branches = {*self._branch.values(), *(item.branch for item in settings.items)}
        self._reading: dict[Spot, tuple[Item, ...]] = {}
        for item in settings.items:
            if item.exact is not None:
                self._exact.setdefault(item.exact.name, []).append(item)

    def tracking(self, image: str) -> Iterator[Item]:
        """Yield the items that track an image, by whatever name of its registry; none for what is no name."""
        try:
            name = canonical(self.settings, ImageRef.parse(image)).name
        except ValueError:
            return
        yield from self._exact.get(name, ())
        yield from (item for item in self._patterns if matches(item, name))

    def spot(self, url: str, branch: str, desk: Desk) -> Spot:
        """Return what an address and a branch mean; of branches that nobody here names it makes one, they are many."""
        names = [one.name for one in self.settings.repositories if same(one.url, url)]
        heads = tuple((name, desk.default_branch(name)) for name in names)
        named = branch in self._branches or branch in {head for _, head in heads}
        return Spot(branch if named or not branch else OTHER, heads)

    def reading(self, spot: Spot) -> tuple[Item, ...]:
        """Return the items that look there; a branch that is not named may be any."""
        if spot not in self._reading:
            self._reading[spot] = tuple(item for item in self.settings.items if self._reads(item, spot))
        return self._reading[spot]

    def _reads(self, item: Item, spot: Spot) -> bool:
        return any(
            spot.branch in {"", item.branch or self._branch[name] or head or spot.branch}
            for name, head in spot.heads
            if item.repository in {None, name}
        )


class Share:
    """How many looks one hook may ask for: those beyond come later, none is dropped. Shared by threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._spent = 0.0  # when the looks that were asked for would be over, at RATE

    def look(self, items: Iterable[Item]) -> None:
        """Have items looked at."""
        for item in items:
            with self._lock:
                now = time.monotonic()
                after = max(0.0, self._spent - now - BURST / RATE)
                if self._desk.hint(item.name, after):  # one that is due anyway costs nothing
                    self._spent = max(self._spent, now) + 1 / RATE


class Hints:
    """Acts on hints, for all hooks of a daemon."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._index = Index(desk.settings)
        self._shares: dict[str, Share] = {}
        self._pushes: dict[tuple[str, Spot], _Apart] = {}
        self._git = _Apart(desk.check_git)

    def take(self, hook: str, hints: Iterable[Hint]) -> int:
        """Look at what hints of a hook are about; return how many items that are."""
        with self._lock:
            if self._index.settings is not (settings := self._desk.settings):
                self._index = Index(settings)
                self._pushes.clear()
            index, share = self._index, self._shares.setdefault(hook, Share(self._desk))
        images: dict[str, Item] = {}
        pushed: dict[str, Item] = {}
        for hint in hints:
            if hint.image:
                images |= {item.name: item for item in index.tracking(hint.image)}
            elif not (hint.revision and self._desk.ours(hint.revision)):
                pushed |= {item.name: item for item in self._pushed(index, hook, share, hint)}
                self._git()
        share.look(images.values())
        return len(images | pushed)

    def _pushed(self, index: Index, hook: str, share: Share, hint: Hint) -> tuple[Item, ...]:
        """Look at the items of a branch, of which there may be very many."""
        spot = index.spot(hint.repository, hint.branch, self._desk)
        items = index.reading(spot)
        with self._lock:
            look = self._pushes.setdefault((hook, spot), _Apart(partial(share.look, items)))
        look()
        return items


class _Apart:
    """Does something at once, but not twice in GIT_APART seconds: the last of many calls is heard later."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self._deed = deed
        self._lock = threading.Lock()
        self._next = 0.0
        self._waiting = False

    def __call__(self) -> None:
        with self._lock:
            if self._waiting:
                return
            wait = self._next - time.monotonic()
            self._waiting = wait > 0
        if wait > 0:
            timer = threading.Timer(wait, self._do)
            timer.daemon = True
            timer.start()
        else:
            self._do()

    def _do(self) -> None:
        with self._lock:
            self._waiting = False
            self._next = time.monotonic() + GIT_APART
        self._deed()
