"""Numbers: build counters, timestamps, decimals."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from updater.model.tag import Tag
from updater.policies.base import Policy, Rank

MAX_DIGITS = 128  # characters, as of a tag

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class Numerical(Policy):
    """The greatest number, or with `order: desc` the smallest: digits, and a dot with digits after it at the most.

    Numbers are exact, however long: 1.10 is 1.1, and no digit of a timestamp is lost.
    """

    kind: Literal["numerical"] = "numerical"
    order: Literal["asc", "desc"] = "asc"

    @property
    def words(self) -> str:
        """`numerical`, and the order where that is not the default."""
        return "numerical" if self.order == "asc" else "numerical, smallest first"

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Any number."""
        if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
            return None
        number = Decimal(text)
        # copy_negate is exact; a minus sign would round to the 28 digits of the context.
        return Rank((number if self.order == "asc" else number.copy_negate(),))

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of a number."""
        return self.current(text, tag) or "no_match: not a number"
