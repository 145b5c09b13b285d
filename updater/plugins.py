"""Families: a plural folder whose `base.py` holds the base class, and each other module of which may hold a member.

A member is a pydantic model: its fields are its configuration, its docstring is its manual line, its `kind` is the
name of its file. Nothing lists the members; they are read from the folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field


class Member(BaseModel):
    """What the members of every family share: immutable, and no key that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


M = TypeVar("M", bound=Member)


@cache
def members(base: type[M]) -> dict[str, type[M]]:
    """Return the family of `base` by `kind`, in the order of the names."""
    package = base.__module__.rpartition(".")[0]
    folder = importlib.import_module(package)
    found: dict[str, type[M]] = {}
    for entry in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{package}.{entry.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
                field = value.model_fields.get("kind")
                if field is None or value is base:
                    continue
                (kind,) = get_args(field.annotation)
                if kind != entry.name:
                    raise TypeError(f"{module.__name__}.{value.__name__} has kind {kind!r}, not the name of its file")
                found[kind] = value
    return dict(sorted(found.items()))


def one_of(base: type[Member]) -> Any:
    """Return the annotation of a field that takes any member of the family, told apart by `kind`."""
    family = list(members(base).values())
    return Annotated[reduce(or_, family), Field(discriminator="kind")] if len(family) > 1 else family[0]
