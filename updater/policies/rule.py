"""The fields of an image, or of an item of it, that decide which tag is wanted and how it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from updater.plugins import Member, members, one_of
from updater.policies.base import Level, Policy
from updater.policies.docker import Docker
from updater.policies.filters import TagFilters

if TYPE_CHECKING:
    AnyPolicy = Policy
else:
    AnyPolicy = one_of(Policy)

NOT_YET = frozenset({"alphabetical", "calver", "newest", "numerical"})


class Rule(Member):
    """How one item decides; the configuration and the command line read the same model."""

    policy: AnyPolicy = Docker()
    tags: TagFilters = TagFilters()
    level: Level | None = None
    max_major_step: Annotated[int, Field(ge=0)] = 20
    write: Literal["tag", "digest", "tag_digest"] = "tag"

    @field_validator("policy", mode="before")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind in NOT_YET:
            raise ValueError(f"policy {kind} is not supported yet; expected one of {', '.join(members(Policy))}")
        if isinstance(kind, str) and kind not in members(Policy):
            raise ValueError(f"unknown policy {kind[:40]!r}; expected one of {', '.join(members(Policy))}")
        return value
