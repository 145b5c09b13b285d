"""The family of editors: each knows one way in which YAML names an image, and where its version stands.

A member reads nodes and yields references; writing is the same for all of them, by the roles of the places.
Every scalar belongs to one reference: of two editors that see the same one, the lower rank has it.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from updater.editors import naming
from updater.editors.document import Alias, Document, Mapping, Node, Part, Scalar, Sequence, uncollected
from updater.editors.scalar import is_text, spell
from updater.editors.sharing import tangle, users
from updater.errors import EditError
from updater.model.change import Edit, Place, Reference, Role, Skipped, Style
from updater.model.image import ImageRef, is_digest, is_tag, split
from updater.plugins import Member, members

TEMPLATE = re.compile(r"\{\{|\$[({A-Za-z_]")  # Helm and Jinja, shells, Compose, envsubst, make
_STYLES = {"": Style.PLAIN, "'": Style.SINGLE, '"': Style.DOUBLE}
_BLOCKS = frozenset("|>")
TEMPLATED = "the tag comes from a template"
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:str")
_KUSTOMIZE = "kustomize.config.k8s.io/"
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


class Editor(Member):
    """One way to name an image. Lower ranks win: 0 is told where, 1 knows a format, 2 goes by shape."""

    rank: ClassVar[int] = 1
    explicit: ClassVar[bool] = False  # works only where an item says how
    kind: str

    @abstractmethod
    def find(self, document: Document) -> Iterator[Reference]:
        """Yield where the document mentions images."""

    def unresolved(self, document: Document) -> Iterator[Skipped]:
        """Yield what was meant to name an image, and names none that anybody knows."""
        yield from ()

    def edit(self, reference: Reference, target: ImageRef) -> tuple[Edit, ...]:
        """Return what to write so that the reference says `target`; nothing where it does already.

        Raises EditError where it cannot be said: a tag and a digest never part.
        """
        if why := reference.unwritable or naming.missing(reference):
            raise EditError(f"{reference.file}:{reference.line}: {why}")
        wanted = ((place, self._value(place, reference, target)) for place in reference.places)
        return tuple(
            Edit(place.start, place.end, spell(value, place.style, place.prefix), place.lead)
            for place, value in wanted
            if value is not None and place.prefix + value != place.value
        )

    def _value(self, place: Place, reference: Reference, target: ImageRef) -> str | None:
        at = f"{reference.file}:{place.line}"
        digest = next((other for other in reference.places if other.role is Role.DIGEST), None)
        match place.role:
            case Role.REPOSITORY | Role.REGISTRY:
                return naming.part(place, reference)
            case Role.IMAGE:
                tag = f":{target.tag}" if target.tag else ""
                return f"{naming.whole(reference)}{tag}{f'@{target.digest}' if target.digest else ''}"
            case Role.TAG:
                if target.tag is None:
                    raise EditError(f"{at}: a digest without a tag has no place here")
                return f"{target.tag}@{target.digest}" if target.digest and digest is None else target.tag
            case Role.DIGEST:
                if target.digest is None and place.value:
                    raise EditError(f"{at}: there is a digest here, and none is known for the new tag")
                return target.digest


@cache
def automatic() -> tuple[Editor, ...]:
    """The editors that work without configuration, lowest rank first."""
    family = sorted(members(Editor).values(), key=lambda member: member.rank)
    return tuple(member() for member in family if not member.explicit)


@uncollected()
def references(
    document: Document, editors: Iterable[Editor] | None = None, told: Iterable[Reference] = ()
) -> list[Reference]:
    """Return every mention of an image, in the order of the text; each scalar belongs to one of them.

    Those that were `told` before come first, and keep what is theirs.
    """
    found = list(told)
    taken = {place.at for one in found for place in one.places if place.role is not Role.REGISTRY}
    for editor in automatic() if editors is None else editors:
        for reference in editor.find(document):
            places = {place.at for place in reference.places if place.role is not Role.REGISTRY}
            if taken.isdisjoint(places):
                taken |= places
                found.append(reference)
    return sorted(map(_strangers(found), found), key=lambda one: one.places[0].at if one.places else len(document.text))


def _strangers(found: list[Reference]) -> Callable[[Reference], Reference]:
    """Tell apart what is shared with something that is no reference, and can never change with it."""
    readers: dict[int, set[int]] = {}
    for place in (place for reference in found for place in _shared(reference)):
        readers.setdefault(place.start, set()).add(place.at)

    def judged(reference: Reference) -> Reference:
        users = ((user, readers[place.start]) for place in _shared(reference) for user in place.users)
        stranger = next((user for user, known in users if user.at not in known), None)
        if stranger is None or reference.unwritable:
            return reference
        return replace(reference, unwritable=f"shared with line {stranger.line}, which names no image that is read")

    return judged


def _shared(reference: Reference) -> Iterator[Place]:
    """The places that others read too, of those that are ever written."""
    return (place for place in reference.places if place.users and place.role not in naming.NAMES)


def is_kustomization(document: Document, part: Part) -> bool:
    """Whether a document is a kustomization or a component of one, by its kind or by the name of its file."""
    version = part.scalar("apiVersion")
    if version.startswith(_KUSTOMIZE):
        return part.scalar("kind") in {"Kustomization", "Component"}
    return not version and document.path.rpartition("/")[2] in _KUSTOMIZATIONS


def is_manifest(part: Part) -> bool:
    """Whether a document is an object of Kubernetes."""
    return bool(part.scalar("apiVersion") and part.scalar("kind"))


def shared_by(node: Mapping | Sequence | None) -> str:
    """The name of the alias that repeats this node or one around it, empty where there is none."""
    while node is not None:
        if node.shared:
            return node.anchor or ""
        node = node.parent
    return ""


def value_of(node: Node | None) -> str | None:
    """The raw text of a scalar, also through an alias; None for a list, a mapping, or nothing."""
    if isinstance(node, Alias):
        node = node.target
    return node.value if isinstance(node, Scalar) else None


def is_empty(node: Node | None) -> bool:
    """Whether there is no value: no key, an empty string, or null in any spelling."""
    scalar = node.target if isinstance(node, Alias) else node
    if scalar is None:
        return True
    if not isinstance(scalar, Scalar):
        return False
    return not scalar.value or (not scalar.style and scalar.value.lower() in {"~", "null"})


def place(role: Role, node: Scalar | Alias) -> Place:
    """The place of a scalar, also of one that an alias stands for: it is written at its anchor."""
    scalar = node.target if isinstance(node, Alias) else node
    alias = node.start if isinstance(node, Alias) else None
    if not isinstance(scalar, Scalar):
        return Place(role, node.start, node.end, node.line, "")
    value = scalar.value.rstrip("\n") if scalar.style in _BLOCKS else scalar.value
    shared = () if tangle(scalar) else users(scalar, role)
    style = _STYLES.get(scalar.style, Style.BLOCK)
    start, end = scalar.inner or (scalar.start, scalar.end)
    return Place(role, start, end, node.line, value, style, alias, shared)


def obstacle(document: Document, node: Scalar | Alias, holder: Mapping | Sequence) -> str:
    """Why a scalar cannot be written in place, or at its anchor; empty where it can."""
    scalar = node.target if isinstance(node, Alias) else node
    if not isinstance(scalar, Scalar):
        return "written as a list or a mapping"
    if why := tangle(scalar):
        return why
    if isinstance(node, Alias) and isinstance(holder, Mapping) and holder.merged:
        return f"read through the alias *{node.name} in what is merged itself"
    if scalar.tag not in _PLAIN_TAGS:
        return f"has the tag {scalar.tag}"
    if scalar.style in _BLOCKS:
        return "" if scalar.inner else "written as a block scalar of several lines"
    token = document.text[scalar.start : scalar.end]
    return (
        "" if token == f"{scalar.style}{scalar.value}{scalar.style}" else "written with escapes or over several lines"
    )


def inline(document: Document, editor: str, holder: Mapping, key: str) -> Reference | None:
    """Read `name[:tag][@digest]` in one value of a mapping; None where it does not name an image."""
    node = holder.values.get(key)
    return read(document, editor, holder, node) if isinstance(node, Scalar | Alias) else None


def read(document: Document, editor: str, holder: Mapping, node: Scalar | Alias) -> Reference | None:
    """Read `name[:tag][@digest]` in one scalar that a mapping holds; None where it does not name an image."""
    text = value_of(node)
    if text is None or (isinstance(node, Scalar) and not node.style and not is_text(text)):
        return None  # `image: true`, `image: 1`, `image:`
    text = text.rstrip("\n")  # a block scalar ends with a line break
    template = TEMPLATE.search(text)
    name, tag, digest = split(text[: template.start()] if template else text)
    image = named(name)
    if image is None or (template and tag is None and digest is None):
        return None  # with a template in the name nobody knows which image it is
    why = TEMPLATED if template else obstacle(document, node, holder)
    if template:
        tag = digest = None
    if not is_version(tag, digest):
        return None
    where = (place(Role.IMAGE, node),)
    return Reference(document.path, node.line, image.at(tag, digest), name, editor, where, why)


def is_version(tag: str | None, digest: str | None) -> bool:
    """Whether a tag and a digest, where there are any, can be such."""
    return (tag is None or is_tag(tag)) and (digest is None or is_digest(digest))


def named(name: str) -> ImageRef | None:
    """The image of a name without tag and digest; None where it is no name of an image."""
    try:
        image = ImageRef.parse(name)
    except ValueError:
        return None
    return image if image == image.bare else None


@dataclass(frozen=True, slots=True)
class Scattered:
    """A reference whose name, tag and digest stand in scalars of their own."""

    holder: Mapping
    name: Scalar | Alias
    spelled: str
    tag: Node | None
    digest: Node | None
    without: str  # why it cannot be written where there is neither tag nor digest
    registry: Node | None = None  # where it stands apart from the name
    fixed: str = ""  # why the name cannot be changed


def scattered(document: Document, editor: str, parts: Scattered) -> Reference | None:
    """Read a name, a tag and a digest that stand apart; None where the name is not that of an image."""
    image = named(parts.spelled)
    if image is None:
        return None
    tag, digest, why = _version(parts)
    places = [place(Role.REPOSITORY, parts.name)]
    for role, node in ((Role.TAG, parts.tag), (Role.DIGEST, parts.digest)):
        if isinstance(node, Scalar | Alias) and (not is_empty(node) or _fillable(role, node)):
            places.append(place(role, node))
            why = why or obstacle(document, node, parts.holder)
    line = next((at.line for at in places[1:] if at.value), places[0].line)
    fixed = parts.fixed or obstacle(document, parts.name, parts.holder)
    if isinstance(parts.registry, Scalar | Alias) and not is_empty(parts.registry):
        places.append(place(Role.REGISTRY, parts.registry))
        fixed = fixed or obstacle(document, parts.registry, parts.holder)
    return Reference(document.path, line, image.at(tag, digest), parts.spelled, editor, tuple(places), why, fixed=fixed)


def _fillable(role: Role, node: Scalar | Alias) -> bool:
    """`digest: ""` waits for a digest; an empty tag is left alone, for something else decides it."""
    return role is Role.DIGEST and isinstance(node, Scalar) and node.style in {"'", '"'} and not node.value


def _version(parts: Scattered) -> tuple[str | None, str | None, str]:
    """Read the tag, the digest, and why they cannot be written."""
    tag = None if is_empty(parts.tag) else value_of(parts.tag) or ""
    digest = None if is_empty(parts.digest) else value_of(parts.digest) or ""
    if tag is None and digest is None:
        return None, None, parts.without
    if TEMPLATE.search(f"{tag or ''} {digest or ''}"):
        return None, None, TEMPLATED
    if tag is not None and digest is None and "@" in tag:
        tag, _, digest = tag.partition("@")
    if tag is not None and not is_tag(tag):
        return None, None, f"{tag[:80]!r} is not a tag"
    if digest is not None and not is_digest(digest):
        return None, None, f"{digest[:80]!r} is not a digest"
    return tag, digest, ""
