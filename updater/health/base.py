"""What a rule answers: how a live object is, and what else must be known to say so."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from inspect import isabstract
from types import MappingProxyType
from typing import Any, ClassVar

from updater.model.health import HealthStatus
from updater.model.resource import Key

GroupKind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may ask beside the object itself.

    exists           whether an object is in the same cluster; None where nobody could find out
    ingress_address  whether the cluster gives addresses to Ingresses; a cluster on bare metal often does not
    """

    now: datetime
    exists: Callable[[Key], bool | None]
    ingress_address: bool = True


class Rule(ABC):
    """How objects of these groups and kinds are, whatever the version of their API."""

    kinds: ClassVar[frozenset[GroupKind]]

    def needs(self, live: Mapping[str, Any]) -> tuple[Key, ...]:
        """Return the objects about whose existence `assess` will ask."""
        return ()

    @abstractmethod
    def assess(self, live: Mapping[str, Any], context: Context) -> HealthStatus | None:
        """Say how it is; None where such an object has no health. Raises Odd of what cannot be read."""


@cache
def rules() -> Mapping[GroupKind, Rule]:
    """Return the rule of each kind. They are read from this folder; two rules for one kind are a TypeError."""
    package = __name__.rpartition(".")[0]
    found: dict[GroupKind, Rule] = {}
    for entry in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{entry.name}")
        for value in vars(module).values():
            if not isinstance(value, type) or not issubclass(value, Rule) or value.__module__ != module.__name__:
                continue
            if isabstract(value):
                continue
            if twice := value.kinds & found.keys():
                raise TypeError(f"{module.__name__}.{value.__name__} is a second rule for {sorted(twice)}")
            found |= dict.fromkeys(value.kinds, value())
    return MappingProxyType(found)
