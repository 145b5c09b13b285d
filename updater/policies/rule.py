"""The fields of an image, or of an item of it, that decide which tag is wanted and how it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from updater.plugins import Member, members, one_of
from updater.policies.base import NOT_YET, Level, Policy
from updater.policies.docker import Docker
from updater.policies.filters import TagFilters

if TYPE_CHECKING:
    AnyPolicy = Policy
else:
    AnyPolicy = one_of(Policy)


class Rule(Member):
    """How one item decides; the configuration and the command line read the same model."""

    policy: AnyPolicy = Docker()
    tags: TagFilters = TagFilters()
    level: Level | None = None
    max_major_step: Annotated[int, Field(ge=0)] = 20
    write: Literal["tag", "digest", "tag_digest"] = "tag"

    @field_validator("policy", mode="before")
    @classmethod
    def _built(cls, value: Any) -> Any:
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind in NOT_YET:
            raise ValueError(f"policy {kind} is not supported yet; expected one of {', '.join(members(Policy))}")
        return value
