"""Comments that say what a value is: those of ours, of Renovate and of Flux, on the line of the value or above it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from pydantic import Field

from updater.editors.base import Editor, is_empty, named
from updater.editors.comments import below, comments, lines_of
from updater.editors.document import Document, Part
from updater.editors.gather import Apart, Spot, apart, spots, whole
from updater.model.change import Reference, Role, Skipped
from updater.model.image import ImageRef, is_digest

_HINT = re.compile(r"updater:|renovate:|\$imagepolicy")
_OURS = re.compile(r"updater:[ \t]*(.*)")
_RENOVATE = re.compile(r"renovate:[ \t]*(.*)")
_PAIR = re.compile(r"([A-Za-z]+)=(\S+)")
_FLUX = '"$imagepolicy"'
_ROLES = {"": Role.IMAGE, "tag": Role.TAG, "name": Role.REPOSITORY, "digest": Role.DIGEST}
_PARTS = re.compile(r"(?:new|image|name|repository|registry|tag|version|digest|[_.-])+$")
_NAMES = frozenset({"name", "newname", "repository", "image"})


@dataclass(frozen=True, slots=True)
class Meant:
    """What a marker says that the value is: an image, and with Flux which part of it. `owner` is who answers to it."""

    image: ImageRef
    spelled: str
    role: Role | None = None
    owner: str = ""


@dataclass(slots=True)
class _Group:
    """Values of one mapping that belong to one marker's image."""

    meant: Meant
    spots: dict[Role, Spot] = field(default_factory=dict)


class Marker(Editor):
    """Comments beside a value: `# updater: IMAGE`, `# renovate: datasource=docker depName=IMAGE`, and those of Flux."""

    rank: ClassVar[int] = 0
    kind: Literal["marker"] = "marker"
    policies: dict[str, Meant] = Field(default_factory=dict, description="what Flux's policies mean, by their names")
    canonical: Callable[[ImageRef], ImageRef] = Field(lambda image: image, description="the one name of an image")

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield the values that are marked; a mark of a known image without a value is a reference without places."""
        yield from (one for one in self._read(document) if isinstance(one, Reference))

    def unresolved(self, document: Document) -> Iterator[Skipped]:
        """Yield marks that say nothing: of policies that no image answers to, of what is no image."""
        yield from (one for one in self._read(document) if isinstance(one, Skipped))

    def _read(self, document: Document) -> Iterator[Reference | Skipped]:
        if _HINT.search(document.text) is None:
            return
        for part in document.parts:
            text = document.text[part.span.start : part.span.end]
            if _HINT.search(text) is not None:
                yield from self._part(document, part, text)

    def _part(self, document: Document, part: Part, text: str) -> Iterator[Reference | Skipped]:
        lines, values = lines_of(text), _by_line(part)
        groups: dict[tuple[str, str, str, int], list[_Group]] = {}
        for comment in comments(text, part.span, _HINT):
            line, meant = part.span.line + comment.line, self._meant(comment.text)
            if isinstance(meant, Meant) and comment.block:
                meant = f"the marker of {meant.spelled} stands in a block scalar"
            if isinstance(meant, str):
                yield Skipped(document.path, line, meant)
            if not isinstance(meant, Meant):
                continue
            at = below(comment.line, text, lines) if comment.alone else comment.line
            chosen = self._chosen(document, meant, values.get(at, []))
            if isinstance(chosen, str):
                yield self._nowhere(document, line, meant, chosen)
                continue
            for role, one in chosen:
                if role is Role.IMAGE:
                    yield self._whole(document, one, meant, line)
                else:
                    key = (meant.owner, meant.image.name, _stem(one.key), id(one.holder))
                    _join(groups.setdefault(key, []), meant, role, one)
        for group in (one for those in groups.values() for one in those):
            yield from self._apart(document, group)

    def _meant(self, text: str) -> Meant | str | None:
        """What a comment says; why that is nothing; None where it is no marker."""
        if _FLUX in text:
            return self._policy(text)
        if (ours := _OURS.match(text)) is not None:
            return _image(ours[1].strip())
        if (renovate := _RENOVATE.match(text)) is None:
            return None
        said = dict(_PAIR.findall(renovate[1]))
        if said.get("datasource") != "docker":
            return None
        name = said.get("packageName") or said.get("depName") or ""
        host = said.get("registryUrl", "").partition("://")[2].rstrip("/")
        return _image(f"{host}/{name}" if host and not name.startswith(f"{host}/") else name)

    def _policy(self, text: str) -> Meant | str:
        try:
            said, _ = json.JSONDecoder().raw_decode(text, text.rindex("{", 0, text.index(_FLUX)))
            name = said["$imagepolicy"]
        except (ValueError, KeyError, RecursionError):
            return "the marker cannot be read"
        parts = name.split(":") if isinstance(name, str) else []
        role = _ROLES.get("".join(parts[2:]))
        if len(parts) not in {2, 3} or role is None or (len(parts) == 3 and not parts[2]):
            return f"{str(name)[:80]!r} is not namespace:name, namespace:name:tag, :name or :digest"
        meant = self.policies.get(":".join(parts[:2]))
        return replace(meant, role=role) if meant else f"no image answers to the policy {':'.join(parts[:2])[:80]}"

    def _chosen(self, document: Document, meant: Meant, values: list[Spot]) -> list[tuple[Role, Spot]] | str:
        """Which of the values on a line are meant, and what they are; or why none is."""
        if not values:
            return "its marker has no value on its line"
        if len(values) == 1:
            return [(meant.role or self._role(document, meant, values[0]), values[0])]
        of = {
            Role.IMAGE: [one for one in values if self._is_whole(document, meant, one)],
            Role.TAG: [one for one in values if one.key.lower().endswith(("tag", "version"))],
            Role.DIGEST: [one for one in values if one.key.lower().endswith("digest")],
            Role.REPOSITORY: [one for one in values if one.key.lower() in _NAMES],
        }
        if meant.role is not None:
            found = [(meant.role, one) for one in of[meant.role]]
            return found if len(found) == 1 else "its marker has several values on its line"
        if len(of[Role.IMAGE]) == 1:
            return [(Role.IMAGE, of[Role.IMAGE][0])]
        found = [(role, one) for role in (Role.TAG, Role.DIGEST) for one in of[role]]
        if not found or max(len(of[Role.TAG]), len(of[Role.DIGEST])) > 1:
            return "its marker has several values on its line"
        return found

    def _role(self, document: Document, meant: Meant, value: Spot) -> Role:
        if is_digest(value.text):
            return Role.DIGEST
        read = whole(document, self.kind, value)
        if read is None:
            return Role.TAG
        is_image = read.image.tag or "/" in read.spelled or self._same(read.image, meant)
        return Role.IMAGE if is_image else Role.TAG

    def _is_whole(self, document: Document, meant: Meant, value: Spot) -> bool:
        read = whole(document, self.kind, value)
        return read is not None and read.image.version != "-" and self._same(read.image, meant)

    def _same(self, image: ImageRef, meant: Meant) -> bool:
        return self.canonical(image.bare) == self.canonical(meant.image)

    def _whole(self, document: Document, value: Spot, meant: Meant, line: int) -> Reference:
        read = whole(document, self.kind, value)
        if read is None or (meant.role is Role.IMAGE and self._role(document, meant, value) is not Role.IMAGE):
            why = f"{value.text[:80]!r} is not the whole reference that its marker says it is"
            return self._nowhere(document, line, meant, why)
        return self._checked(read, meant)

    def _apart(self, document: Document, group: _Group) -> Iterator[Reference | Skipped]:
        meant, name = group.meant, group.spots.get(Role.REPOSITORY)
        tag, digest = group.spots.get(Role.TAG), group.spots.get(Role.DIGEST)
        read = named(name.text) if name is not None else meant.image
        if name is not None and read is None:
            yield Skipped(document.path, name.node.line, f"{name.text[:80]!r} is not the name of an image")
        elif tag is None and digest is None:
            if name is not None and read is not None and not self._same(read, meant):
                yield Skipped(document.path, name.node.line, f"names {read.name}, its marker {meant.image.name}")
        elif read is not None:
            spelled = name.text if name is not None else meant.spelled
            yield self._checked(apart(document, self.kind, Apart(read, spelled, name, tag, digest)), meant)

    def _checked(self, read: Reference, meant: Meant) -> Reference:
        """The reference, for whom the marker means; unwritable where it names another image."""
        if self._same(read.image, meant):
            return self._claimed(read, meant)
        return replace(read, unwritable=f"names {read.image.name}, its marker {meant.image.name}")

    def _nowhere(self, document: Document, line: int, meant: Meant, why: str) -> Reference:
        return self._claimed(Reference(document.path, line, meant.image, meant.spelled, self.kind, (), why), meant)

    def _claimed(self, read: Reference, meant: Meant) -> Reference:
        return replace(read, claims=(meant.owner,)) if meant.owner else read


def _image(name: str) -> Meant | str:
    image = named(name)
    return (
        Meant(image, name) if image is not None else f"its marker says {name[:80]!r}, which is not the name of an image"
    )


def _by_line(part: Part) -> dict[int, list[Spot]]:
    """The values of a document by the line that they begin on, counted from its beginning."""
    found: dict[int, list[Spot]] = {}
    for one in spots(part):
        if not is_empty(one.node):
            found.setdefault(one.node.line - part.span.line, []).append(one)
    return found


def _stem(key: str) -> str:
    """What a key is about, without the words for parts of an image: tag and digest, apiTag and apiDigest are alike."""
    stem = _PARTS.sub("", key.lower()[-100:])
    return stem.rstrip("_-.")


def _join(groups: list[_Group], meant: Meant, role: Role, value: Spot) -> None:
    """Put a value to those of its mapping, or begin anew where there is one of its kind already."""
    if not groups or role in groups[-1].spots:
        groups.append(_Group(meant))
    groups[-1].spots[role] = value
