"""Who may knock at the front door.

Imported only for a file that has hooks: the whole family comes with it, and its memory.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, RootModel

from updater.config.web import WebSettings
from updater.hooks.base import Hook
from updater.plugins import members

if TYPE_CHECKING:
    AnyHook = Hook
else:
    AnyHook = Annotated[reduce(or_, members(Hook).values()), Field(discriminator="kind")]


class HookEntry(RootModel[AnyHook]):
    """One entry of `hooks`."""


class Whole(WebSettings):
    """The section as it stands in the file."""

    hooks: dict[str, AnyHook] = Field({}, description=WebSettings.model_fields["hooks"].description)
