"""What is taken from the answers of forges, whoever wrote them: bounded numbers, texts, revisions, addresses, times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from updater.transport.words import plain

MAX_TITLE = 255  # characters; the least of what the three take
MAX_BODY = 60_000  # characters: GitHub takes 65,536, and counts some twice
_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_URL = re.compile(r"https?://[\x21-\x7e]{1,2000}")


class Shape(BaseModel):
    """A part of an answer; keys that are not asked for are left unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _revision(value: Any) -> str:
    return value if isinstance(value, str) and _REVISION.fullmatch(value) else ""


def _link(value: str) -> str:
    if not _URL.fullmatch(value):
        raise ValueError("no address")
    return value


def _body(value: Any) -> Any:
    """Keep the line ends of a text and none of its other control characters; null is none."""
    if not isinstance(value, str):
        return "" if value is None else value
    return "".join(c for c in value if c.isprintable() or c in "\n\t")


Number = Annotated[int, Field(strict=True, ge=1, le=1 << 53)]
Revision = Annotated[str, BeforeValidator(_revision)]  # empty: none, as forges spell that in many ways
Link = Annotated[str, AfterValidator(_link)]
Title = Annotated[str, AfterValidator(lambda value: plain(value, 1000))]
Body = Annotated[str, BeforeValidator(_body)]
Name = Annotated[str, Field(max_length=1000)]
Time = Annotated[AwareDatetime, AfterValidator(lambda value: value.astimezone(UTC))]


def first(*times: datetime | None) -> datetime | None:
    """Return the first time that is known."""
    return next((time for time in times if time is not None), None)


def fitted(title: str, body: str) -> tuple[str, str]:
    """Cut what no forge would take."""
    end = "\n\n..."
    short = body if len(body) <= MAX_BODY else body[: MAX_BODY - len(end)].rpartition("\n")[0] + end
    return plain(title, MAX_TITLE), short
