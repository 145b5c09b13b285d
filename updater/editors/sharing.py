"""What several keys share: a scalar that aliases and merges read again can only be written for all of them.

An alias that repeats a whole entry repeats its image with it, which is the same reference once more. What reads the
scalar beside a name of its own is another user, and has to be a reference that changes in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

from updater.editors.document import Alias, Mapping, Node, Scalar, Sequence
from updater.model.change import Role, User

MAX_USERS = 50  # of one scalar: each is asked about each of them
MAX_MERGED = 20  # mappings that one `<<` brings in
_PARTS = frozenset({"registry", "repository", "image", "name", "newName", "tag", "newTag", "digest"})
_WHOLE = frozenset({"registry"})  # what an image in one scalar is read together with


def merged(entry: Mapping, key: str) -> Node | None:
    """The value of a key, of its own or merged in by `<<`; then it is one read through the alias that merges it."""
    own = entry.values.get(key)
    if own is not None or "<<" not in entry.values:
        return own
    for alias in _merges(entry):
        node = alias.target.values.get(key) if isinstance(alias.target, Mapping) else None
        node = node.target if isinstance(node, Alias) else node
        if node is not None:
            return Alias(alias.start, alias.end, alias.line, alias.name, node, "<<", entry)
    return None


def users(scalar: Scalar, role: Role) -> tuple[User, ...]:
    """All who read a scalar as a part of their own; empty where that is only the one who holds it."""
    aliases, holder = scalar.aliases or (), scalar.parent
    takers = _takers(holder)
    if not aliases and not takers:
        return ()
    found = [User(alias.start, alias.line) for alias in aliases]
    names = _WHOLE if role is Role.IMAGE else _PARTS
    copied = False
    for alias, taker in takers:
        if taker is None:
            copied = True
        elif _reads(taker, alias, scalar):
            alone = _adds_nothing(taker, alias, names)
            copied = copied or alone
            found += [] if alone else [User(alias.start, alias.line)]
    itself = User((scalar.inner or (scalar.start,))[0], scalar.line)
    found += [itself] if copied or not _hidden(scalar) else []
    return () if found == [itself] else tuple(sorted(found))


def tangle(scalar: Scalar) -> str:
    """Why nobody can tell who reads a shared scalar; empty where that is known."""
    aliases, holder = scalar.aliases or (), scalar.parent
    takers = _takers(holder)
    if len(aliases) + len(takers) > MAX_USERS:
        return f"shared through more than {MAX_USERS} aliases"
    further = any(taker.merged for _, taker in takers if taker is not None and taker is not holder)
    if further or any(isinstance(alias.parent, Mapping) and alias.parent.merged for alias in aliases):
        return "shared through aliases in what is merged itself"
    return ""


def _merges(entry: Mapping) -> Iterator[Alias]:
    """What `<<` brings in; of a list the first one counts that has the key."""
    merge = entry.values.get("<<")
    nodes = merge.children[:MAX_MERGED] if isinstance(merge, Sequence) else [merge]
    return (node for node in nodes if isinstance(node, Alias))


def _takers(holder: Mapping | Sequence | None) -> list[tuple[Alias, Mapping | None]]:
    """The aliases of a mapping that is merged somewhere, each with what it is merged into."""
    if not isinstance(holder, Mapping) or not holder.merged:
        return []
    if holder.takers is None:
        holder.takers = [(alias, _taker(alias)) for alias in holder.aliases or ()]
    return holder.takers


def _taker(alias: Alias) -> Mapping | None:
    """The mapping that an alias is merged into; None where it stands for a value."""
    if alias.under != "<<":
        return None
    parent = alias.parent.parent if isinstance(alias.parent, Sequence) else alias.parent
    return parent if isinstance(parent, Mapping) else None


def _reads(taker: Mapping, alias: Alias, scalar: Scalar) -> bool:
    """Whether a mapping gets this scalar by merging what holds it."""
    holder = scalar.parent
    key = holder.key_of(scalar) if isinstance(holder, Mapping) else None
    if key is None or taker is holder or key in taker.values:
        return False
    if taker.values["<<"] is alias:
        return True
    node = merged(taker, key)
    return isinstance(node, Alias) and node.target is scalar


def _adds_nothing(taker: Mapping, alias: Alias, names: frozenset[str]) -> bool:
    """Whether what a mapping merges stands in it with no other name beside it."""
    if not names.isdisjoint(taker.values):
        return False
    if taker.values["<<"] is alias:
        return True
    others = [alias.target.values for alias in _merges(taker) if isinstance(alias.target, Mapping)]
    return sum(not names.isdisjoint(values) for values in others) <= 1


def _hidden(scalar: Scalar) -> bool:
    """Whether it stands under an `x-` key at the top, which is read by nothing but its aliases."""
    node = scalar.parent
    if isinstance(node, Mapping) and node.parent is None:
        return (node.key_of(scalar) or "").startswith("x-")
    while node is not None and node.parent is not None and node.parent.parent is not None:
        node = node.parent
    return node is not None and node.under.startswith("x-")
