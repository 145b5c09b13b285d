"""A new name in the place of a former one, wherever its parts stand; what cannot be said whole stays, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from updater.editors.base import references
from updater.editors.document import parse
from updater.errors import EditError
from updater.model.change import Rename
from updater.pipeline.edit import edit

NEW = "ghcr.io/acme/api"
HELM = "image:\n  registry: {}\n  repository: {}\n  tag: 1.0\n"
GLOBAL = "global: {{imageRegistry: {}}}\nimage: {{repository: {}, tag: '1'}}\n"
OCI = (
    "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nspec:\n"
    "  url: oci://{}\n  ref:\n    tag: 1.0.0\n"
)  # fmt: skip
KUSTOMIZE = "kind: Kustomization\nimages:\n- name: api\n  newName: {}\n  newTag: a\n"

WRITTEN = {
    "inline": ("image: {}:1.0\n", "r.io/old", NEW),
    "inline, in quotes": ("image: '{}:1.0'\n", "r.io/old", NEW),
    "a repository": ("image: {{repository: {}, tag: '1'}}\n", "r.io/old", NEW),
    "newName": (KUSTOMIZE, "r.io/old", NEW),
    "behind oci://": (OCI, "r.io/old", NEW),
    "dotted": ("web.image.repository: {}\nweb.image.tag: a\n", "r.io/old", NEW),
}
APART = {
    "another registry": (HELM, ("r.io", "old"), NEW, ("ghcr.io", "acme/api")),
    "the same registry": (HELM, ("ghcr.io", "old"), NEW, ("ghcr.io", "acme/api")),
    "a registry with a path": (HELM, ("ghcr.io/acme", "old"), NEW, ("ghcr.io/acme", "api")),
    "repeated in the repository": (HELM, ("r.io", "r.io/old"), NEW, ("ghcr.io", "ghcr.io/acme/api")),
    "in quotes": (HELM, ("'r.io'", '"old"'), NEW, ("'ghcr.io'", '"acme/api"')),
    "to the Hub": (HELM, ("r.io", "old"), "acme/api", ("docker.io", "acme/api")),
    "to the Hub, one word": (HELM, ("r.io", "old"), "nginx", ("docker.io", "nginx")),
    "with a port": (HELM, ("r.io:5000", "old"), "localhost/api", ("localhost", "api")),
    "the registry of all": (GLOBAL, ("ghcr.io", "old"), NEW, ("ghcr.io", "acme/api")),
    "none, though there is one of all": (GLOBAL, ("ghcr.io", "r.io/old"), NEW, ("ghcr.io", NEW)),
}
KEPT = {
    "kustomize finds by it": ("kind: Kustomization\nimages: [{name: r.io/old, newTag: a}]\n", "no newName"),
    "another registry of all": (GLOBAL.format("r.io", "old"), "its registry r.io stands elsewhere"),
    "a registry beside a whole one": ("registry: r.io\nimage: old:1.0\n", "its registry stands elsewhere"),
    "a registry for two": ("registry: r.io\nimage: old\ntag: a\n", "for others too"),
    "shared through an alias": ("a: &r r.io/old\nb: {image: {repository: *r, tag: a}}\n", "an alias"),
    "a registry that is shared": ("a: &r r.io\nb: {image: {registry: *r, repository: old, tag: a}}\n", "an alias"),
}


def renamed(text: str, new: str) -> str:
    (found,) = references(parse("kustomization.yaml" if "Kustom" in text else "x.yaml", text))
    one = replace(found, rename=Rename(found.image.name, new))
    return edit(one.file, text, [(one, one.image, "why")]).after


@pytest.mark.parametrize(("text", "old", "new"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_name_alone(text: str, old: str, new: str) -> None:
    assert renamed(text.format(old), new) == text.format(new)


@pytest.mark.parametrize(("text", "old", "new", "expected"), APART.values(), ids=APART.keys())
def test_a_name_beside_its_registry(text: str, old: tuple[str, str], new: str, expected: tuple[str, str]) -> None:
    assert renamed(text.format(*old), new) == text.format(*expected)


@pytest.mark.parametrize(("text", "why"), KEPT.values(), ids=KEPT.keys())
def test_what_cannot_be_said_whole_stays(text: str, why: str) -> None:
    with pytest.raises(EditError, match=why):
        renamed(text, NEW)


def test_two_images_may_read_one_registry() -> None:
    found = references(parse("x.yaml", "registry: r.io\nimage: a\ntag: x\nsideImage: b\nsideImageTag: y\n"))
    assert [one.image.repository for one in found] == ["a", "b"]
