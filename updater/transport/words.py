"""Words that others wrote, for people to read."""

from __future__ import annotations


def plain(text: str, most: int) -> str:
    """Return one short line of a text that others wrote, of at most so many characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: most * 2])
    return " ".join(line.split())[:most]
