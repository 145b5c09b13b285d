"""Words that others wrote, for people to read."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX_SHOWN = 400  # characters of an address; the longest name of an image has 255


def plain(text: str, most: int) -> str:
    """Return one short line of a text that others wrote, of at most so many characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: most * 2])
    return " ".join(line.split())[:most]


def without_secrets(url: str, *, led: bool = False) -> str:
    """Return the address without userinfo and query, which may hold secrets, and of what is too long the beginning.

    Where somebody else `led` us there the path is left out too: what they were sent may stand in it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return plain(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{'' if led else parts.path}", MAX_SHOWN)
