"""References put together from scalars wherever they stand: whole ones, and names, tags and digests apart.

What a format or a person says that a scalar is stays what it is: what cannot be written is a reference with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Mapped
from dataclasses import dataclass, replace

from updater.editors.base import TEMPLATE, TEMPLATED, is_empty, named, obstacle, place, value_of
from updater.editors.document import Alias, Document, Mapping, Node, Part, Scalar, Sequence
from updater.editors.naming import NAMES
from updater.model.change import Place, Reference, Role
from updater.model.image import ImageRef, is_digest, is_tag, split


@dataclass(frozen=True, slots=True)
class Spot:
    """A scalar or an alias, what holds it, and the key that it stands under (in a list that of the list)."""

    node: Scalar | Alias
    holder: Mapping | Sequence
    key: str = ""

    @property
    def text(self) -> str:
        """Its value, without the line end of a block scalar."""
        return (value_of(self.node) or "").rstrip("\n")


def spots(part: Part) -> Iterator[Spot]:
    """Yield every value of a document that is no list and no mapping; aliases are not followed."""
    waiting: list[Node] = [part.root]
    while waiting:
        holder = waiting.pop()
        pairs: list[tuple[str, Node]] = []
        if isinstance(holder, Mapping):
            pairs = list(holder.values.items())
        elif isinstance(holder, Sequence):
            pairs = [(holder.under, child) for child in holder.children]
        for key, node in pairs:
            if isinstance(node, Scalar | Alias):
                assert isinstance(holder, Mapping | Sequence)
                yield Spot(node, holder, key)
            else:
                waiting.append(node)


def spot(holder: Mapping, key: str) -> Spot | None:
    """The scalar under a key; None where there is none, or nothing in it."""
    node = holder.values.get(key)
    return Spot(node, holder, key) if isinstance(node, Scalar | Alias) and not is_empty(node) else None


def child(node: Node | None, *keys: str) -> Node | None:
    """What stands below these keys, one after the other; None where one of them is not there."""
    for key in keys:
        node = node.values.get(key) if isinstance(node, Mapping) else None
    return node


def entries(node: Node | None) -> list[Mapping]:
    """The mappings in a list; none where it is no list."""
    return [one for one in node.children if isinstance(one, Mapping)] if isinstance(node, Sequence) else []


def whole(document: Document, editor: str, at: Spot) -> Reference | None:
    """Read `name[:tag][@digest]`, also behind `old=` or `--flag=`; None where no image is named.

    With a template in its version the reference is there, and cannot be written.
    """
    template = TEMPLATE.search(at.text)
    text = at.text[: template.start()] if template else at.text
    before, equals, after = text.rpartition("=")
    name, tag, digest = split(after)
    image = named(name)
    if image is None or (template and tag is None and digest is None):
        return None
    if template:
        return _reference(document, editor, Apart(image, name), {Role.IMAGE: at}, TEMPLATED)
    if (tag is not None and not is_tag(tag)) or (digest is not None and not is_digest(digest)):
        return None
    found = _reference(document, editor, Apart(image.at(tag, digest), name), {Role.IMAGE: at})
    return replace(found, places=(replace(found.places[0], prefix=before + equals),))


@dataclass(frozen=True, slots=True)
class Apart:
    """A reference whose scalars stand apart. `spelled` is the name as Git, or whoever says what it is, spells it."""

    image: ImageRef
    spelled: str
    name: Spot | None = None
    tag: Spot | None = None
    digest: Spot | None = None
    registry: Spot | None = None


def apart(document: Document, editor: str, parts: Apart) -> Reference:
    """Read a tag and a digest, each in a scalar of its own, or both in that of the tag."""
    tag, before = _behind(parts.tag)
    if parts.digest is not None and is_empty(parts.digest.node) and not _waits(parts.digest.node):
        parts = replace(parts, digest=None)
    digest = "" if parts.digest is None else parts.digest.text
    at = {
        role: one
        for role, one in (
            (Role.REPOSITORY, parts.name),
            (Role.REGISTRY, parts.registry),
            (Role.TAG, parts.tag),
            (Role.DIGEST, parts.digest),
        )
        if one is not None
    }
    if parts.tag is not None and parts.digest is None and "@" in tag:
        tag, _, digest = tag.partition("@")
    why = ""
    if TEMPLATE.search(f"{tag} {digest}"):
        why = TEMPLATED
    elif parts.tag is not None and not is_tag(tag):
        why = f"{tag[:80]!r} is not a tag"
    elif digest and not is_digest(digest):
        why = f"{digest[:80]!r} is not a digest"
    elif parts.tag is not None and parts.digest is None and _has_digest(parts.tag.holder):
        why = "a digest stands beside the tag and would stay behind"
    image = parts.image.bare if why else parts.image.at(tag or None, digest or None)
    found = _reference(document, editor, replace(parts, image=image), at, why)
    places = tuple(replace(one, prefix=before) if one.role is Role.TAG else one for one in found.places)
    return replace(found, places=places)


def _has_digest(holder: Mapping | Sequence) -> bool:
    return isinstance(holder, Mapping) and not is_empty(holder.values.get("digest"))


def _waits(node: Scalar | Alias) -> bool:
    """Whether it is an empty text that waits for a digest, and not null."""
    return isinstance(node, Scalar) and node.style in {"'", '"'}


def _behind(at: Spot | None) -> tuple[str, str]:
    """The text of a tag and what stands before it, as in `--tag=1.0`."""
    if at is None:
        return "", ""
    before, equals, after = at.text.rpartition("=")
    return after, before + equals


def _reference(document: Document, editor: str, parts: Apart, at: Mapped[Role, Spot], why: str = "") -> Reference:
    places: list[Place] = []
    fixed = ""
    for role, one in at.items():
        places.append(place(role, one.node))
        stop = obstacle(document, one.node, one.holder)
        why, fixed = (why, fixed or stop) if role in NAMES else (why or stop, fixed)
    line = next((one.line for one in places if one.role not in NAMES), places[0].line)
    return Reference(document.path, line, parts.image, parts.spelled, editor, tuple(places), why, fixed=fixed)
