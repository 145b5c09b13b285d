"""Explicit places: the paths of an image, or of its name, tag and digest, in the files of one item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from updater.editors.base import Editor, is_empty, named
from updater.editors.document import Document
from updater.editors.gather import Apart, Spot, apart, whole
from updater.editors.paths import Match, matches, steps
from updater.model.change import Reference, Skipped
from updater.model.image import ImageRef

_FIELDS = ("image", "repository", "registry", "tag", "digest")
Named: TypeAlias = tuple[ImageRef, str]  # an image, and how it is spelled


def _path(text: str) -> str:
    steps(text)
    return text


Path = Annotated[str, AfterValidator(_path), Field(max_length=1024)]


class YamlPath(Editor):
    """Paths to what names an image: one to the whole of it, or several to its parts."""

    rank: ClassVar[int] = 0
    explicit: ClassVar[bool] = True
    kind: Literal["yaml_path"] = "yaml_path"
    image: Path | None = Field(None, description="a whole reference, name[:tag][@digest]; also behind `--flag=`")
    registry: Path | None = Field(None, description="the registry of `repository`, where it stands apart")
    repository: Path | None = Field(None, description="the name; none: that of the image of this item")
    tag: Path | None = Field(None, description="the tag, or tag@digest")
    digest: Path | None = Field(None, description="the digest")

    @model_validator(mode="after")
    def _enough(self) -> YamlPath:
        apart = [self.registry, self.repository, self.tag, self.digest]
        if self.image is not None and any(apart):
            raise ValueError("found image beside the parts of one; expected image alone, or tag and digest")
        if not (self.image or self.tag or self.digest):
            raise ValueError("found no path of a version; expected image, tag or digest")
        if self.registry and not self.repository:
            raise ValueError("found registry without repository; expected both")
        return self

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield what the paths lead to, where the file itself names the image."""
        yield from (one for one in self.read(document, None) if isinstance(one, Reference))

    def unresolved(self, document: Document) -> Iterator[Skipped]:
        """Yield what the paths lead to and no image is named by."""
        yield from (one for one in self.read(document, None) if isinstance(one, Skipped))

    def read(self, document: Document, image: Named | None) -> Iterator[Reference | Skipped]:
        """Yield what the paths lead to; `image` is that of the item, for files that do not name it."""
        for part in document.parts:
            found = {name: matches(part.root, path) for name, path in self.paths.items()}
            # what has most stars leads; where that is nothing, all of it is
            leading = max(found.values(), key=lambda those: max((len(one.stars) for one in those), default=-1))
            for one in leading:
                spots = {name: _beside(one, those) for name, those in found.items()}
                yield self._reference(document, one.spot.node.line, spots, image)

    @property
    def names(self) -> bool:
        """Whether the name of the image is read from the file."""
        return bool(self.image or self.repository)

    @property
    def paths(self) -> dict[str, str]:
        """The paths by what they lead to."""
        return {name: path for name in _FIELDS if (path := getattr(self, name))}

    def nothing(self, path: str, line: int, image: Named | None, why: str) -> Reference | Skipped:
        """What is said of a place that should be there, and is not."""
        if image is None:
            return Skipped(path, line, why)
        return Reference(path, line, image[0].bare, image[1], self.kind, (), why)

    def _reference(
        self, document: Document, line: int, spots: dict[str, Spot | None], image: Named | None
    ) -> Reference | Skipped:
        for field, at in spots.items():
            if at is None:
                why = f"the path {self.paths[field]} ({field}) leads to nothing"
                return self.nothing(document.path, line, image, why)
        if (at := spots.get("image")) is not None:
            found = whole(document, self.kind, at)
            return found or self.nothing(document.path, line, image, f"{at.text[:80]!r} is not an image")
        if (name := spots.get("repository")) is not None:
            spelled = _joined(spots.get("registry"), name.text)
            read = named(spelled)
            if read is None:
                return self.nothing(document.path, line, image, f"{spelled[:80]!r} is not the name of an image")
            image = read, spelled
        if image is None:
            return self.nothing(document.path, line, None, "which image it is stands nowhere")
        rest = {part: spots.get(part) for part in ("tag", "digest", "registry")}
        return apart(document, self.kind, Apart(image[0], image[1], name, **rest))


def _beside(one: Match, those: list[Match]) -> Spot | None:
    """Which of the places of another path belongs to this one: that of the same entries."""
    return next((other.spot for other in those if other.stars == one.stars[: len(other.stars)]), None)


def _joined(registry: Spot | None, name: str) -> str:
    host = "" if registry is None or is_empty(registry.node) else registry.text.rstrip("/")
    return f"{host}/{name}" if host and not name.startswith(f"{host}/") else name
