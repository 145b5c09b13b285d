"""Where an image comes from, as its labels and annotations say."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_URL = 300  # characters
HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"

# Nothing that HTML, Markdown or a chat would take for its own: no quotes, brackets, blanks; and no login before a host.
_URL = re.compile(rf"https?://{HOST}(?::[0-9]{{1,5}})?(?:[/?#][A-Za-z0-9._~%+@:,/=&?#-]*)?", re.ASCII)


def is_page(text: str) -> bool:
    """Say whether the text is an http(s) URL that can be shown anywhere."""
    return len(text) <= MAX_URL and _URL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Origin:
    """What somebody else wrote into an image, in shapes that can do no harm: no blanks, no control characters.

    source    http(s) URL of the page of its source, without a login
    revision  7 to 64 hexadecimal digits in lower case
    version   what its makers call it, in the grammar of a tag and `+`
    url       http(s) URL of a page about it, without a login
    """

    source: str | None = None
    revision: str | None = None
    version: str | None = None
    url: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self != NOWHERE

    @property
    def complete(self) -> bool:
        """Whether there is enough for a link to the very source."""
        return self.source is not None and self.revision is not None

    def over(self, other: Origin) -> Origin:
        """Return this, with the other's word where this says nothing."""
        return Origin(
            self.source or other.source,
            self.revision or other.revision,
            self.version or other.version,
            self.url or other.url,
        )


NOWHERE = Origin()
