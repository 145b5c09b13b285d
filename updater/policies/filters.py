"""Which tags count at all, and which part of them a policy compares."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from updater.plugins import Member

MAX_EXPRESSION = 1000  # characters; RE2 is linear, but a program grows with its expression
MAX_EXPRESSIONS = 100  # in one list

Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]


class TagFilters(Member):
    """RE2 expressions, unanchored: a tag needs one of `include` (where there are any) and none of `exclude`."""

    include: Annotated[tuple[Expression, ...], Field(max_length=MAX_EXPRESSIONS)] = ()
    exclude: Annotated[tuple[Expression, ...], Field(max_length=MAX_EXPRESSIONS)] = ()
    pattern: Expression | None = None
    extract: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = None
