"""Custom resources that name images in ways of their own: Argo CD, Flux, Tekton, Argo Workflows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from updater.editors.base import Editor, Scattered, inline, is_empty, is_manifest, named, scattered, shared_by, value_of
from updater.editors.document import Alias, Document, Mapping, Node, Part, Scalar, Sequence
from updater.editors.embedded import embedded
from updater.editors.gather import Apart, Spot, apart, child, entries, spot, whole
from updater.editors.helm_values import HelmValues
from updater.editors.kustomize import Kustomize
from updater.errors import EditError
from updater.model.change import Edit, Reference, Role, Skipped
from updater.model.image import ImageRef

_STEPS = {  # what a mapping hangs under that has an `image:`
    "tekton.dev": frozenset({"steps", "sidecars", "stepTemplate"}),
    "argoproj.io": frozenset({"container", "script", "sidecars"}),
}
_PARAMETERS = ("registry", "repository", "name", "tag", "digest")  # the last words of Helm parameters
_OCI = "oci://"
_ANCHORED = "shared through the alias *"


class CustomResource(Editor):
    """Objects with values of their own: Argo CD's Applications, Flux's HelmReleases, Tekton, Argo Workflows."""

    kind: Literal["custom_resource"] = "custom_resource"

    def find(self, document: Document) -> Iterator[Reference]:
        """Yield what objects of these kinds name, also in lists of objects."""
        for part, group, kind, spec in _objects(document):
            match group, kind:
                case "argoproj.io", "Application" | "ApplicationSet":
                    for source in _sources(kind, spec):
                        yield from self._source(document, part, source)
                case "helm.toolkit.fluxcd.io", "HelmRelease":
                    yield from _values(document, part, child(spec, "values"))
                    for renderer in entries(child(spec, "postRenderers")):
                        yield from _kustomization(document, part, child(renderer, "kustomize"))
                case "source.toolkit.fluxcd.io", "OCIRepository":
                    yield from filter(None, (self._chart(document, spec),))
                case "kustomize.toolkit.fluxcd.io", "Kustomization":
                    yield from _kustomization(document, part, spec)
                case "tekton.dev", "StepAction":
                    yield from filter(None, (inline(document, self.kind, spec, "image"),))
                case _:
                    pass
        for part in document.parts:
            under = _STEPS.get(part.scalar("apiVersion").partition("/")[0], frozenset()) if is_manifest(part) else ()
            holders = (mapping for mapping in part.mappings if mapping.under in under) if under else ()
            yield from filter(None, (inline(document, self.kind, holder, "image") for holder in holders))

    def unresolved(self, document: Document) -> Iterator[Skipped]:
        """Yield values in text that cannot be read."""
        for _, group, kind, spec in _objects(document):
            if group == "argoproj.io" and kind in {"Application", "ApplicationSet"}:
                for source in _sources(kind, spec):
                    if (text := _text(source)) is not None:
                        yield from embedded(document, text)[0].skipped

    def edit(self, reference: Reference, target: ImageRef) -> tuple[Edit, ...]:
        """Return what to write; the `tag` of an OCIRepository cannot hold a digest as well."""
        roles = {place.role for place in reference.places}
        chart = bool(reference.places) and reference.places[0].value.startswith(_OCI)
        if chart and target.digest and Role.TAG in roles and Role.DIGEST not in roles:
            raise EditError(f"{reference.file}:{reference.line}: there is no ref.digest, and ref.tag holds none")
        return super().edit(reference, target)

    def _source(self, document: Document, part: Part, source: Mapping) -> Iterator[Reference]:
        helm = child(source, "helm")
        yield from self._parameters(document, entries(child(helm, "parameters")))
        yield from _values(document, part, child(helm, "valuesObject"))
        if (text := _text(source)) is not None and isinstance(helm, Mapping):
            yield from _text_values(document, text, helm)
        images = child(source, "kustomize", "images")
        for node in images.children if isinstance(images, Sequence) else ():
            if isinstance(node, Scalar | Alias) and isinstance(images, Sequence):
                yield from filter(None, (whole(document, self.kind, Spot(node, images, "images")),))

    def _parameters(self, document: Document, parameters: list[Mapping]) -> Iterator[Reference]:
        """Yield what parameters set: of those with one name the last, as Helm takes it."""
        named_so = {value_of(one.values.get("name")): one for one in parameters}
        groups: dict[str, dict[str, Spot]] = {}
        for name, parameter in named_so.items():
            at = spot(parameter, "value")
            before, dot, last = (name or "").rpartition(".")
            if at is None:
                continue
            if last in _PARAMETERS:
                groups.setdefault(before + dot, {})[last] = at
            elif last.lower().endswith("image"):
                yield from filter(None, (whole(document, self.kind, at),))
        for group in groups.values():
            yield from filter(None, (self._group(document, group),))

    def _group(self, document: Document, group: dict[str, Spot]) -> Reference | None:
        name = group.get("repository") or group.get("name")
        if name is None or not group.keys() & {"tag", "digest"}:
            return None
        registry = group["registry"].text.rstrip("/") if "registry" in group else ""
        bare = name.text.startswith(f"{registry}/") or not registry
        spelled = name.text if bare else f"{registry}/{name.text}"
        image = named(spelled)
        if image is None:
            return None
        at = {part: group.get(part) for part in ("tag", "digest", "registry")}
        return apart(document, self.kind, Apart(image, spelled, name, **at))

    def _chart(self, document: Document, spec: Mapping) -> Reference | None:
        url, ref = spec.values.get("url"), child(spec, "ref")
        text = value_of(url) or ""
        if not isinstance(url, Scalar | Alias) or not text.startswith(_OCI):
            return None
        if not isinstance(ref, Mapping):
            return scattered(document, self.kind, Scattered(spec, url, text[len(_OCI) :], None, None, "it has no ref"))
        return self._versioned(document, ref, url, text[len(_OCI) :])

    def _versioned(self, document: Document, ref: Mapping, url: Scalar | Alias, name: str) -> Reference | None:
        tag, digest = ref.values.get("tag"), ref.values.get("digest")
        without = "a range in ref.semver decides" if "semver" in ref.values else "its ref has no tag and no digest"
        found = scattered(document, self.kind, Scattered(ref, url, name, tag, digest, without))
        if found is None:
            return None
        first, *rest = found.places
        found = replace(found, places=(replace(first, prefix=_OCI), *rest))
        if is_empty(ref.values.get("semver")) or not is_empty(digest):
            return found
        return replace(found, unwritable="a range in ref.semver decides")  # Flux passes over a tag beside it


def _objects(document: Document) -> Iterator[tuple[Part, str, str, Mapping]]:
    """Yield the objects of a file, also those in lists: with the group of their API, their kind and their spec."""
    for part in document.parts:
        if not is_manifest(part):
            continue
        for mapping in part.mappings:
            spec = mapping.values.get("spec")
            if isinstance(spec, Mapping) and "kind" in mapping.values and "apiVersion" in mapping.values:
                group = (value_of(mapping.values["apiVersion"]) or "").partition("/")[0]
                yield part, group, value_of(mapping.values["kind"]) or "", spec


def _sources(kind: str, spec: Mapping) -> list[Mapping]:
    """The sources of an application, or of the template of a set of them."""
    inner = child(spec, "template", "spec") if kind == "ApplicationSet" else spec
    source = child(inner, "source")
    return ([source] if isinstance(source, Mapping) else []) + entries(child(inner, "sources"))


def _text(source: Mapping) -> Scalar | None:
    node = child(source, "helm", "values")
    node = node.target if isinstance(node, Alias) else node
    return node if isinstance(node, Scalar) and node.value else None


def _below(part: Part, root: Node | None) -> Part | None:
    """A part of a document as if it were one of its own; None where there is no mapping."""
    if not isinstance(root, Mapping):
        return None
    return Part(part.span, root, tuple(one for one in part.mappings if _is_within(one, root)))


def _is_within(mapping: Mapping, root: Mapping) -> bool:
    node: Mapping | Sequence | None = mapping
    while node is not None and node is not root:
        node = node.parent
    return node is root


def _values(document: Document, part: Part, root: Node | None) -> Iterator[Reference]:
    """Yield what stands in values of Helm."""
    if (inner := _below(part, root)) is not None:
        yield from HelmValues().find(replace(document, parts=(inner,)))


def _text_values(document: Document, text: Scalar, helm: Mapping) -> Iterator[Reference]:
    """Yield what stands in values of Helm that are written as a text."""
    inner, why = embedded(document, text)
    alias = helm.values.get("values")
    if isinstance(alias, Alias):
        why = f"written through the alias *{alias.name}"
    elif shared := shared_by(helm):
        why = f"{_ANCHORED}{shared}"
    for reference in HelmValues().find(inner):
        yield replace(reference, places=(), unwritable=why) if why else reference


def _kustomization(document: Document, part: Part, root: Node | None) -> Iterator[Reference]:
    """Yield the `images:` of a mapping that has them as a kustomization does."""
    if (inner := _below(part, root)) is not None:
        for reference in Kustomize().find(replace(document, path="Kustomization", parts=(inner,))):
            yield replace(reference, file=document.path)
