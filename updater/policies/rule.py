"""The fields of an image, or of an item of it, that decide which tag is wanted and how it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from updater.model.durations import Duration, duration
from updater.plugins import Member, one_of
from updater.policies.base import Level, Policy
from updater.policies.docker import Docker
from updater.policies.filters import TagFilters

if TYPE_CHECKING:
    AnyPolicy = Policy
else:
    AnyPolicy = one_of(Policy)

Platform = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$", description="e.g. linux/arm64")]


class Choice(Member):
    """What chooses among tags, from their names alone; `updater policy` reads it too."""

    policy: AnyPolicy = Field(Docker(), description="which tag is wanted")
    tags: TagFilters = Field(TagFilters(), description="which tags count, and what of them is compared")
    level: Level | None = Field(None, description="highest change allowed; null: by the policy")
    max_major_step: Annotated[int, Field(ge=0)] = Field(20, description="stray tags are further ahead; 0: any")
    downgrade: Literal["never", "allow"] = Field("never", description="whether an older version may replace a newer")


class Rule(Choice):
    """How one item decides, what must be true of a tag before it is taken, and what is written."""

    min_age: Duration = duration(0, "how long a tag must be known; for those of our first scan, since it was created")
    platforms: Literal["same"] | tuple[Platform, ...] = Field(
        "same", description="every platform of the current tag, or a list; []: not checked"
    )
    moved_tag: Literal["hold", "follow"] = Field("hold", description="a tag whose digest changed after we first saw it")
    write: Literal["tag", "digest", "tag_digest"] = Field("tag", description="what is written")
