"""Families: a plural folder whose `base.py` holds the base class, and each other module of which may hold a member.

A member is a pydantic model: its fields are its configuration, its docstring is its manual line, its `kind` is the
name of its file. Nothing lists the members; they are read from the folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
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
    found: dict[str, type[M]] = {}
    for name, value in _beside(base):
        field = value.model_fields.get("kind")
        if field is not None and value is not base:
            (kind,) = get_args(field.annotation)
            found[_checked(name, value, kind)] = value
    return dict(sorted(found.items()))


C = TypeVar("C")


@cache
def classes(base: type[C]) -> dict[str, type[C]]:
    """Return the family of a `base` that is no model, by the `kind` of its classes, in the order of the names."""
    found = {}
    for name, value in _beside(base):
        if value is not base and isinstance(kind := getattr(value, "kind", None), str):
            found[_checked(name, value, kind)] = value
    return dict(sorted(found.items()))


def _beside(base: type[C]) -> Iterator[tuple[str, type[C]]]:
    """Yield the classes of a family, with the name of the file that each stands in."""
    package = base.__module__.rpartition(".")[0]
    folder = importlib.import_module(package)
    for entry in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{package}.{entry.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
                yield entry.name, value


def _checked(name: str, value: type, kind: str) -> str:
    if kind != name:
        raise TypeError(f"{value.__module__}.{value.__name__} has kind {kind!r}, not the name of its file")
    return kind


def one_of(base: type[Member]) -> Any:
    """Return the annotation of a field that takes any member of the family, told apart by `kind`."""
    family = list(members(base).values())
    return Annotated[reduce(or_, family), Field(discriminator="kind")] if len(family) > 1 else family[0]
