"""Images as written, with defaults below and their items above them, become items.

Merging happens on the trees, before anything is typed: built-in < defaults < image < item. Every value keeps its
mark, so that a mistake in `defaults` is one mistake at its own place, however many images inherit it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from updater.config.files import place
from updater.config.images import Behaviour, Defaults, ImageEntry, Item, ItemEntry, former, identity, is_pattern
from updater.config.problems import explain, unknown
from updater.config.registries import RegistrySettings, renamed
from updater.config.tree import Map, Mark, Seq
from updater.errors import Problem
from updater.model.image import ImageRef
from updater.policies.rule import Rule

M = TypeVar("M", bound=BaseModel)
_BUNDLES = frozenset({"poll", "labels"})  # merged key by key; every other field is replaced whole
_SHARED = frozenset(Defaults.model_fields)  # what defaults may set of an image
_OWN = frozenset(Behaviour.model_fields)  # what an item may replace


def overlay(low: Map, high: Map, only: frozenset[str]) -> Map:
    """Return the fields of both, where the higher one wins; it stands where the higher one stands."""
    merged = Map(high.mark)
    for tree in (low, high):
        for key, value in tree.items():
            if key not in only:
                continue
            below = merged.get(key)
            if key in _BUNDLES and isinstance(below, Map) and isinstance(value, Map):
                bundle = Map(value.mark)
                bundle.take(below)
                bundle.take(value)
                value = bundle  # noqa: PLW2901 - the merged value takes its place
            merged.put(key, value, tree.marks[key])
    return merged


def validate(model: type[M], tree: Map, problems: list[Problem], *, alone: bool = True) -> M | None:
    """Type a tree, or add its mistakes.

    With `alone=False` the tree is only a part, and what its fields say about each other is judged once it is whole.
    """
    try:
        return model.model_validate(tree, by_name=False)  # a file speaks of `for`, whatever Python calls it
    except ValidationError as err:
        problems += explain(err, tree, alone=alone)
        return None


@dataclass(slots=True)
class Items:
    """One reading of `defaults` and `images`; mistakes are added to `problems`."""

    registries: Sequence[RegistrySettings]
    repositories: Mapping[str, Mark]
    problems: list[Problem]
    _names: dict[str, Mark] = field(default_factory=dict)
    _markers: dict[str, Mark] = field(default_factory=dict)
    _found: list[Item] = field(default_factory=list)
    _tracked: dict[str, Mark] = field(default_factory=dict)  # where each image is tracked by its exact name
    _formers: list[tuple[str, str, Mark]] = field(default_factory=list)  # a former name, the image, and where

    def read(self, defaults: object, images: object) -> tuple[Item, ...]:
        """Return the items in the order of the file."""
        below = defaults if isinstance(defaults, Map) else Map(Mark("", 0, 0, 0, 0, ""))
        if below:
            validate(Defaults, below, self.problems, alone=False)
            self._repositories(below.get("update"))
        for tree in images if isinstance(images, Seq) else ():
            if isinstance(tree, Map):
                self._image(tree, below)
        self._replaced()
        return tuple(self._found)

    def _image(self, tree: Map, defaults: Map) -> None:
        entry = validate(ImageEntry, tree, self.problems, alone=False)
        self._repositories(tree.get("update"))
        key = "name" if isinstance(tree.get("name"), str) else "image"
        name = tree.get(key)
        if not isinstance(name, str) or not self._free(name, tree.marks[key]) or entry is None:
            return
        self._marker(entry, tree)
        merged = overlay(defaults, tree, _SHARED)
        replaces = self._replaces(entry.image, merged, tree.marks["image"])
        update = merged.get("update")
        writes = not (isinstance(update, Seq) and not update)
        trees = list(update) if isinstance(update, Seq) and update else [Map(merged.mark)]
        for item in trees:
            if isinstance(item, Map):
                self._item(entry, name, merged, item, replaces, several=len(trees) > 1, write=writes)

    def _marker(self, image: ImageEntry, tree: Map) -> None:
        """Take the policy of an image, or say who has it; a tag alone does not say which image of many it is."""
        if image.marker is None:
            return
        mark = tree.marks["marker"]
        first = self._markers.setdefault(image.marker, mark)
        if first is not mark:
            found = f"the policy {image.marker!r} a second time (first at {place(first)})"
            self.problems.append(mark.problem(found, "one image for each policy"))
        if is_pattern(image.image):
            self.problems.append(mark.problem(f"{image.marker!r} at a pattern", "an image that is no pattern"))

    def _replaces(self, image: str, merged: Map, mark: Mark) -> tuple[str, ...]:
        """Return the canonical former names of an image, and remember where both are."""
        listed = merged.get("replaces")
        names = list(zip(listed, listed.marks, strict=True)) if isinstance(listed, Seq) else []
        if is_pattern(image):
            if names:
                self.problems.append(merged.marks["replaces"].problem("former names of a pattern", "one image"))
            return ()
        canonical = renamed(self.registries, identity(image))
        self._tracked.setdefault(canonical, mark)
        found = {}
        for name, at in names:
            with suppress(ValueError):  # which is a mistake already
                found[renamed(self.registries, identity(former(name)))] = at
        self._formers += [(name, canonical, at) for name, at in found.items()]
        return tuple(found)

    def _replaced(self) -> None:
        """Refuse former names that belong to another image, or to two."""
        first: dict[str, tuple[str, Mark]] = {}
        for name, image, mark in self._formers:
            other, before = first.setdefault(name, (image, mark))
            if name in self._tracked:
                said = f"{name!r}, which is tracked under this name (at {place(self._tracked[name])})"
                self.problems.append(mark.problem(said, "a name that no image has any more"))
            elif other != image:
                said = f"{name!r} as a former name of a second image (first at {place(before)})"
                self.problems.append(mark.problem(said, "a former name of one image"))

    def _item(
        self,
        image: ImageEntry,
        name: str,
        below: Map,
        tree: Map,
        replaces: tuple[str, ...],
        *,
        several: bool,
        write: bool,
    ) -> None:
        count = len(self.problems)
        fields = overlay(below, tree, _OWN)
        rule = validate(Rule, _part(fields, Rule), self.problems)
        whole = validate(Behaviour, fields, self.problems)
        where = validate(ItemEntry, tree, self.problems, alone=False)
        if rule is None or whole is None or where is None or len(self.problems) > count:
            return
        if where.editor is not None and is_pattern(image.image) and not where.editor.names:
            expected = "a path of image or repository: this image is a pattern"
            self.problems.append(tree.marks["editor"].problem("no path of a name", expected))
            return
        own = where.name or (where.repository if several else None)
        if (own or several) and not self._free(f"{name}/{own}" if own else name, tree.mark):
            return
        canonical = renamed(self.registries, identity(image.image))
        self._found.append(
            Item(
                name=f"{name}/{own}" if own else name,
                image_name=name,
                image=image.image,
                exact=None if is_pattern(image.image) else ImageRef.parse(canonical),
                pattern=canonical if is_pattern(image.image) else None,
                repository=where.repository,
                branch=where.branch,
                paths=where.paths,
                write=write,
                rule=rule,
                poll_interval=whole.poll.interval,
                poll_jitter=whole.poll.jitter,
                labels=dict(_labels(below)),
                suspend=whole.suspend,
                windows=whole.windows,
                write_back=where.write_back,
                marker=image.marker,
                editor=where.editor,
                bump=where.bump,
                replaces=replaces,
            )
        )

    def _free(self, name: str, mark: Mark) -> bool:
        """Take a name, or say who has it."""
        first = self._names.setdefault(name, mark)
        if first is not mark:
            self.problems.append(
                mark.problem(f"the name {name!r} a second time (first at {place(first)})", "a name of its own")
            )
        return first is mark

    def _repositories(self, update: object) -> None:
        """Check the names of repositories in a list of items."""
        for item in update if isinstance(update, Seq) else ():
            name = item.get("repository") if isinstance(item, Map) else None
            if isinstance(name, str) and name not in self.repositories:
                self.problems.append(unknown("repository", name, self.repositories, item.marks["repository"]))


def _part(tree: Map, model: type[BaseModel]) -> Map:
    part = Map(tree.mark)
    for key in tree.keys() & model.model_fields.keys():
        part.put(key, tree[key], tree.marks[key])
    return part


def _labels(tree: Map) -> Mapping[str, Any]:
    labels = tree.get("labels")
    return {key: str(value) for key, value in labels.items()} if isinstance(labels, Map) else {}
