"""What a policy answers: can it read this text, does it want it, and which of two is the newer one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from updater.model.tag import Needs, Tag
from updater.plugins import Member

Level = Literal["patch", "minor", "major"]


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a text stands in a policy's own order.

    `key` compares with the keys of the same policy, the greater is the newer. `release` holds the numbers of a
    version, for the gates that judge versions, and is empty where the policy knows no versions. `parts` is how many
    of them were written.
    """

    key: tuple[Any, ...]
    release: tuple[int, ...] = ()
    parts: int = 0


class Policy(Member):
    """Which tag is wanted. Every method is pure; texts are tags, or what `tags.extract` made of them."""

    needs: ClassVar[Needs] = Needs.NAMES

    @property
    @abstractmethod
    def words(self) -> str:
        """The policy in words, as commits and tables show it: `semver >=1.4.0 <2.0.0`."""

    @property
    def default_level(self) -> Level:
        """The highest change allowed where the rule does not say."""
        return "major"

    @property
    def alone(self) -> bool:
        """Whether it says what is wanted where Git has no tag yet, so that the first one may be written."""
        return True

    def follows(self, current: str | None) -> str | None:
        """Return the one tag whose content is followed, for policies without `Needs.NAMES`; None where there is none.

        `current` is the tag in Git.
        """
        return None

    @abstractmethod
    def current(self, text: str, tag: Tag) -> Rank | None:
        """Read what Git holds; None where the policy cannot compare it. It need not be what the policy wants.

        `tag` is what the registry says of it, for policies that need more than names.
        """

    @abstractmethod
    def rank(self, text: str, current: str | None, tag: Tag) -> Rank | str:
        """Read a candidate, beside what Git holds where that is known and readable; a str says why it is none.

        The words of a str begin with a reason: `no_match: not a version`.
        """
