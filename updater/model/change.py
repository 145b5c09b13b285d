"""Where Git mentions an image, and what becomes of the text there.

Positions count characters of the file's decoded text (a BOM is character 0), so that `text.encode()` gives back
every byte outside a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from updater.model.image import ImageRef
from updater.model.origin import Origin


class Role(StrEnum):
    """What a scalar holds."""

    IMAGE = "image"  # name, tag and digest in one
    REPOSITORY = "repository"  # a name, with or without its registry
    REGISTRY = "registry"  # what stands before such a name
    TAG = "tag"  # a tag, or tag@digest
    DIGEST = "digest"


class Style(StrEnum):
    """How a scalar is written."""

    PLAIN = "plain"
    SINGLE = "single"
    DOUBLE = "double"
    BLOCK = "block"  # the one line of text after `|` or `>`


class User(NamedTuple):
    """Who reads a shared scalar: the character at which it, an alias of it, or a merge of it stands; and its line."""

    at: int
    line: int


@dataclass(frozen=True, slots=True)
class Place:
    """One scalar that belongs to a reference: its token from `start` to `end`, quotes included, and its value.

    Where the reference says it through an alias, that stands at `alias`, and the token is that of the anchor. `users`
    are all who read a shared scalar: it can only change for all of them. `lead` is what comes before the value where
    there is no key yet; then the token is empty. `prefix` is what stands in the value before the image or its version:
    `old=`, `--image=`.
    """

    role: Role
    start: int
    end: int
    line: int
    value: str
    style: Style = Style.PLAIN
    alias: int | None = None
    users: tuple[User, ...] = ()
    lead: str = ""
    prefix: str = ""

    @property
    def at(self) -> int:
        """Where the reference itself mentions it: no two references have a place in common."""
        return self.start if self.alias is None else self.alias


@dataclass(frozen=True, slots=True)
class Rename:
    """A mention goes by another name than its image: `old` in full, and `new` as it is to be spelled there."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Reference:
    """One mention of an image. `image` is canonical with the current tag and digest; `spelled` is the name in Git.

    `line` counts from 1 and is that of the scalar with the version. `unwritable` says why it cannot be changed,
    and is empty where it can; without `places` nothing is there to be changed; `fixed` says likewise of its name.
    `claims` are the names of the items, or of the images, that an explicit place or a marker gives it to: none but
    these own it. Where Git has a former name, `image` is what replaces it, and `rename` is what is to be written.
    `finds` is the name in other files that it stands in for, as kustomize does it.
    """

    file: str
    line: int
    image: ImageRef
    spelled: str
    editor: str
    places: tuple[Place, ...]
    unwritable: str = ""
    claims: tuple[str, ...] = ()
    fixed: str = ""
    rename: Rename | None = None
    finds: str = ""

    @property
    def fills(self) -> bool:
        """Whether there is no version yet, and a place of its own for a tag."""
        empty = self.image.version == "-" and not self.unwritable
        return empty and any(place.role is Role.TAG and not place.value for place in self.places)

    @property
    def former(self) -> str:
        """The name in full that Git has, where it is another than that of the image; else empty."""
        return self.rename.old if self.rename else ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or from one line on a document in it, that could not be read, and why."""

    file: str
    line: int
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Characters `start` to `end` of one file become `new`; a key that is inserted before its value is the `lead`."""

    start: int
    end: int
    new: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Bump:
    """One reference that changed: what a line and a trailer of the commit say.

    `tag` is that of the target, also where only its digest is written; `origin` is where it comes from, if known.
    `former` is the name that Git spelled before, where that was another.
    """

    file: str
    line: int
    image: str  # the name in full: ImageRef.name
    spelled: str  # the name as Git spells it
    old: str  # ImageRef.version
    new: str
    digest: str | None
    reason: str
    tag: str | None = None
    origin: Origin | None = None
    former: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One file before and after, with the bumps that made the difference."""

    path: str
    before: str
    after: str
    bumps: tuple[Bump, ...]
