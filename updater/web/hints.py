"""What is looked at because of a hint: the items whose image or repository it names, and Git. Nothing is believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from updater.config.repositories import same
from updater.config.settings import canonical
from updater.model.image import ImageRef
from updater.pipeline.find import matches

if TYPE_CHECKING:
    from updater.config.images import Item
    from updater.config.settings import Settings
    from updater.daemon.desk import Desk
    from updater.hooks.base import Hint

RATE = 20.0  # looks a second that one hook may ask for
BURST = 100  # looks at once
GIT_APART = 1.0  # seconds between two looks at Git


class Index:
    """Which items an image concerns; made once for each configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._exact: dict[str, list[Item]] = {}
        self._patterns = [item for item in settings.items if item.exact is None]
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

    def reading(self, url: str, branch: str) -> Iterator[Item]:
        """Yield the items that look at a branch of a repository; one that is not named may be any."""
        found = {one.name: one.branch for one in self.settings.repositories if same(one.url, url)}
        for item in self.settings.items:
            for name in found if item.repository is None else found.keys() & {item.repository}:
                if branch in {"", item.branch or found[name] or branch}:
                    yield item


class Share:
    """How many looks one hook may ask for: those beyond come later, none is dropped. Shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent = 0.0  # when the looks that were asked for would be over, at RATE

    def look(self, desk: Desk, items: Iterable[Item]) -> None:
        """Have items looked at."""
        for item in items:
            with self._lock:
                now = time.monotonic()
                after = max(0.0, self._spent - now - BURST / RATE)
                if desk.hint(item.name, after):  # one that is due anyway costs nothing
                    self._spent = max(self._spent, now) + 1 / RATE


class Hints:
    """Acts on hints, for all hooks of a daemon."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._index = Index(desk.settings)
        self._shares: dict[str, Share] = {}
        self._git = _Apart(desk.check_git, GIT_APART)

    def take(self, hook: str, hints: Iterable[Hint]) -> int:
        """Look at what hints of a hook are about; return how many items that are."""
        if self._index.settings is not (settings := self._desk.settings):
            self._index = Index(settings)
        index = self._index
        items: dict[str, Item] = {}
        for hint in hints:
            if hint.repository and not (hint.revision and self._desk.ours(hint.revision)):
                items |= {item.name: item for item in index.reading(hint.repository, hint.branch)}
                self._git()
            elif hint.image:
                items |= {item.name: item for item in index.tracking(hint.image)}
        self._shares.setdefault(hook, Share()).look(self._desk, items.values())
        return len(items)


class _Apart:
    """Does something at once, but not twice in so many seconds: the last of many calls is heard later."""

    def __init__(self, deed: Callable[[], object], seconds: float) -> None:
        self._deed, self._seconds = deed, seconds
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
            self._next = time.monotonic() + self._seconds
        self._deed()
