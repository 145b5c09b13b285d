"""Texts, compared byte by byte."""

from __future__ import annotations

from typing import Literal

from updater.model.tag import Tag
from updater.policies.base import Policy, Rank

_END = b"\xff"  # above every byte turned round: descending, a text comes after the longer ones that begin with it
_TURNED = bytes(max(254 - byte, 0) for byte in range(256))  # UTF-8 has no byte above 244


class Alphabetical(Policy):
    """The last text in the order of bytes, or with `order: desc` the first: `9` is after `10`, `a` after `Z`.

    Every tag is wanted, `latest` too, unless `tags` says which.
    """

    kind: Literal["alphabetical"] = "alphabetical"
    order: Literal["asc", "desc"] = "asc"

    @property
    def words(self) -> str:
        """`alphabetical`, and the order where that is not the default."""
        return "alphabetical" if self.order == "asc" else "alphabetical, first to last"

    def current(self, text: str, tag: Tag) -> Rank | None:
        """Every text."""
        return self._rank(text)

    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Return the rank of any text."""
        return self._rank(text)

    def _rank(self, text: str) -> Rank:
        data = text.encode(errors="surrogatepass")
        return Rank((data if self.order == "asc" else data.translate(_TURNED) + _END,))
