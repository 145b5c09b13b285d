"""Values of Helm charts, and whatever else is written in their shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from updater.editors.base import (
    Editor,
    Scattered,
    inline,
    is_empty,
    is_kustomization,
    is_manifest,
    named,
    scattered,
    value_of,
)
from updater.editors.document import Alias, Document, Mapping, Node, Part, Scalar
from updater.editors.sharing import merged
from updater.model.change import Reference

_IMAGE = "image"  # what a key ends in, in any case: image, initImage, IMAGE
_KEYS = ("image", "imagename", "image_name")
_DOTTED = ".repository"  # keys with dots in them: `web.image.repository`, as `--set` spells them
_PARTS = frozenset({"repository", "tag", "digest"})
_APP_VERSION = "the chart's appVersion decides the tag"


class HelmValues(Editor):
    """Values by their shape: repository or name with tag and digest, with or without registry; keys ending in image."""

    rank: ClassVar[int] = 2
    kind: Literal["helm_values"] = "helm_values"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield pairs everywhere, inline images and dotted keys only outside of Kubernetes' own objects."""
        for part in document.parts:
            values = not is_manifest(part) and not is_kustomization(document, part)
            host = _global_registry(part) if values else ""
            for mapping in part.mappings:
                if not mapping.values.keys().isdisjoint(_PARTS) or "<<" in mapping.values:
                    yield from filter(None, (self._pair(document, mapping, host),))
                if values:
                    yield from self._keys(document, mapping, host)

    def _pair(self, document: Document, entry: Mapping, host: str) -> Reference | None:
        image = entry.under.lower().endswith(_IMAGE)
        key = "name" if image and merged(entry, "repository") is None else "repository"
        if entry.values.keys().isdisjoint({key, "tag", "digest"}):
            return None  # all of it comes from what is merged in, where it stands for itself
        name, tag, digest = (merged(entry, part) for part in (key, "tag", "digest"))
        if not isinstance(name, Scalar | Alias):
            return None
        if tag is None and digest is None and (not image or key == "name"):
            return None
        without = "no tag stands beside the repository" if tag is None else _APP_VERSION
        registry = merged(entry, "registry")
        spelled = _joined(registry, value_of(name) or "", host)
        return scattered(document, self.kind, Scattered(entry, name, spelled, tag, digest, without, registry))

    def _keys(self, document: Document, mapping: Mapping, host: str) -> Iterator[Reference]:
        images = [key for key in mapping.values if key.lower().endswith(_KEYS)]
        for key in images:
            beside = len(images) == 1 or key.lower() == _IMAGE
            yield from filter(None, (self._inline(document, mapping, key, host, beside=beside),))
        for key in mapping.values:
            if key.endswith(_DOTTED):
                yield from filter(None, (self._dotted(document, mapping, key.removesuffix("repository"), host),))

    def _inline(self, document: Document, holder: Mapping, key: str, host: str, *, beside: bool) -> Reference | None:
        """Read an image in one value; its registry, tag and digest may stand beside it."""
        reference = inline(document, self.kind, holder, key)
        if reference is None:
            return None
        spelled = _joined(holder.values.get("registry"), reference.spelled, host)
        image, version = named(spelled), (reference.image.tag, reference.image.digest)
        if image is None:
            return None
        tag, digest = (_beside(holder, key, part, beside=beside) for part in ("tag", "digest"))
        name = holder.values[key]
        if (tag is None and digest is None) or version != (None, None) or reference.unwritable:
            fixed = "" if spelled == reference.spelled else "its registry stands elsewhere"
            return replace(reference, image=image.at(*version), fixed=fixed)
        assert isinstance(name, Scalar | Alias)
        fixed = "" if is_empty(holder.values.get("registry")) else "its registry stands in `registry`, for others too"
        parts = Scattered(holder, name, spelled, tag, digest, _APP_VERSION, fixed=fixed)
        return scattered(document, self.kind, parts)

    def _dotted(self, document: Document, holder: Mapping, prefix: str, host: str) -> Reference | None:
        """Read `web.image.repository` and the keys beside it that begin alike."""
        name = holder.values[f"{prefix}repository"]
        registry, tag, digest = (holder.values.get(f"{prefix}{part}") for part in ("registry", "tag", "digest"))
        if not isinstance(name, Scalar | Alias) or (tag is None and digest is None):
            return None
        spelled = _joined(registry, value_of(name) or "", host)
        return scattered(document, self.kind, Scattered(holder, name, spelled, tag, digest, _APP_VERSION, registry))


def _beside(holder: Mapping, key: str, part: str, *, beside: bool) -> Node | None:
    """What stands beside an image as its tag or digest: `imageTag`, `image_tag`, or where it can only be its, `tag`."""
    stem = key[: -len("name")].rstrip("_") if key.lower().endswith("name") else key
    names = (f"{stem}{part.title()}", f"{stem}_{part}", f"{stem}.{part}", *([part] if beside else []))
    return next((holder.values[name] for name in names if name in holder.values), None)


def _global_registry(part: Part) -> str:
    """What `global.imageRegistry` says; charts read images without a registry as of that one."""
    root = part.root.values if isinstance(part.root, Mapping) else {}
    shared = root.get("global")
    node = shared.values.get("imageRegistry") if isinstance(shared, Mapping) else root.get("global.imageRegistry")
    host = "" if is_empty(node) else (value_of(node) or "").rstrip("/")
    return host if named(f"{host}/image") is not None else ""


def _joined(registry: Node | None, repository: str, host: str = "") -> str:
    """The name with its registry, which some charts repeat in the repository; else with that of all images."""
    own = "" if is_empty(registry) else (value_of(registry) or "").rstrip("/")
    first, slash, _ = repository.partition("/")
    if not own and slash and ("." in first or ":" in first or first == "localhost"):
        return repository
    own = own or host
    return f"{own}/{repository}" if own and not repository.startswith(f"{own}/") else repository
