"""How a new name is written where Git has a former one: in one scalar, or with its registry in another."""

from __future__ import annotations

from updater.errors import EditError
from updater.model.change import Place, Reference, Role
from updater.model.image import DOCKER_HUB

NAMES = frozenset({Role.REPOSITORY, Role.REGISTRY})


def whole(reference: Reference) -> str:
    """Return the name that is written in front of a tag in the same scalar. Raises EditError where it must stay."""
    if reference.rename is None:
        return reference.spelled
    _refuse(reference, reference.fixed)
    return reference.rename.new


def part(place: Place, reference: Reference) -> str | None:
    """Return what a scalar says of the new name; None where there is none. Raises EditError where it must stay."""
    if reference.rename is None:
        return None
    shared = place.users or place.alias is not None
    _refuse(reference, reference.fixed or ("it is shared through an alias" if shared else ""))
    new, said = reference.rename.new, {one.role: one.value.removeprefix(one.prefix) for one in reference.places}
    name, spelled = said.get(Role.REPOSITORY, ""), reference.spelled
    if Role.REGISTRY in said:
        return _apart(place, said[Role.REGISTRY], name, new)
    if name.endswith(spelled):
        return name.removesuffix(spelled) + new  # `oci://` may stand before it
    host = spelled.removesuffix(name)
    _refuse(reference, "" if new.startswith(host) else f"its registry {host.rstrip('/')} stands elsewhere")
    return new.removeprefix(host)


def missing(reference: Reference) -> str:
    """Say that the name is to change and is not in the file; empty where that is not so."""
    there = any(place.role in {Role.IMAGE, Role.REPOSITORY} for place in reference.places)
    return "" if there or reference.rename is None else "its former name does not stand in a value that can be written"


def _apart(place: Place, registry: str, name: str, new: str) -> str:
    host = registry.rstrip("/")
    first, _, rest = new.partition("/")
    if new.startswith(f"{host}/"):
        other, rest = host, new[len(host) + 1 :]
    elif rest and ("." in first or ":" in first or first == "localhost"):
        other = first
    else:
        other, rest = DOCKER_HUB, new
    if place.role is Role.REGISTRY:
        return registry if other == host else other
    return f"{other}/{rest}" if name.startswith(f"{host}/") else rest  # some charts repeat it


def _refuse(reference: Reference, why: str) -> None:
    if why:
        raise EditError(f"{reference.file}:{reference.line}: its name cannot be changed: {why}")
