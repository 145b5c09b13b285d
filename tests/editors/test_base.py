"""The family: what its members share, and how a target is written by the roles of the places."""

from __future__ import annotations

import pytest

from updater.editors.base import Editor, automatic, references
from updater.editors.document import parse
from updater.errors import EditError
from updater.model.change import Reference
from updater.model.image import ImageRef
from updater.plugins import members

OLD = f"sha256:{'0' * 64}"
NEW = f"sha256:{'1' * 64}"
INLINE = "image: acme/api:1.0"
PAIR = "image: {repository: acme/api, tag: v1}"
PAIR_DIGEST = f"image: {{repository: acme/api, tag: v1, digest: {OLD}}}"
PAIR_EMPTY = 'image: {repository: acme/api, tag: v1, digest: ""}'
DIGEST = f"image: {{repository: acme/api, digest: {OLD}}}"


def _only(text: str) -> Reference:
    (reference,) = references(parse("values.yaml", text))
    return reference


def _edited(text: str, tag: str | None, digest: str | None = None) -> str:
    reference = _only(text)
    editor = next(editor for editor in automatic() if editor.kind == reference.editor)
    for change in sorted(editor.edit(reference, reference.image.at(tag, digest)), reverse=True):
        text = text[: change.start] + change.new + text[change.end :]
    return text


@pytest.mark.parametrize("kind", members(Editor))
def test_members_work_without_configuration_and_say_what_they_do(kind: str) -> None:
    member = members(Editor)[kind]
    assert member.__doc__
    assert member.explicit or member() in automatic()
    for one in automatic():
        assert list(one.find(parse("x.yaml", "a: 1\n"))) == []
        assert list(one.unresolved(parse("x.yaml", "a: 1\n"))) == []


def test_lower_ranks_come_first() -> None:
    ranks = [editor.rank for editor in automatic()]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("text", "tag", "digest", "expected"),
    [
        pytest.param(INLINE, "v2", None, "image: acme/api:v2", id="inline: a tag"),
        pytest.param(INLINE, "v2", NEW, f"image: acme/api:v2@{NEW}", id="inline: both"),
        pytest.param(INLINE, None, NEW, f"image: acme/api@{NEW}", id="inline: a digest"),
        pytest.param(f"{INLINE}@{OLD}", "v2", None, "image: acme/api:v2", id="inline: the digest goes with its tag"),
        pytest.param("image: acme/api", "v2", None, "image: acme/api:v2", id="inline: none before"),
        pytest.param(PAIR, "v2", None, PAIR.replace("v1", "v2"), id="pair: a tag"),
        pytest.param(PAIR, "v2", NEW, PAIR.replace("v1", f"v2@{NEW}"), id="pair: both in the tag"),
        pytest.param(
            PAIR_DIGEST, "v2", NEW, PAIR_DIGEST.replace("v1", "v2").replace(OLD, NEW), id="pair: each in its own place"
        ),
        pytest.param(
            PAIR_EMPTY, "v2", NEW, PAIR_EMPTY.replace("v1", "v2").replace('""', f'"{NEW}"'), id="pair: an empty digest"
        ),
        pytest.param(PAIR_EMPTY, "v2", None, PAIR_EMPTY.replace("v1", "v2"), id="pair: an empty digest stays empty"),
        pytest.param(DIGEST, "v2", NEW, DIGEST.replace(OLD, NEW), id="digest alone: the tag has no place"),
        pytest.param(INLINE, "1.0", None, INLINE, id="no change is no edit"),
        pytest.param("image: {repository: acme/api, tag: 1.0}", "1.0", None, "image: {repository: acme/api, tag: 1.0}",
                     id="nor is one of the quotes alone"),
    ],
)  # fmt: skip
def test_a_target_is_written_by_roles(text: str, tag: str | None, digest: str | None, expected: str) -> None:
    assert _edited(text, tag, digest) == expected


@pytest.mark.parametrize(
    ("text", "tag", "digest", "why"),
    [
        pytest.param(PAIR_DIGEST, "v2", None, "values.yaml:1: there is a digest here", id="a digest would stay behind"),
        pytest.param(DIGEST, "v2", None, "values.yaml:1: there is a digest here", id="a digest alone, and none known"),
        pytest.param(PAIR, None, NEW, "a digest without a tag has no place", id="a digest in the place of a tag"),
        pytest.param(PAIR_DIGEST, None, NEW, "a digest without a tag has no place", id="the tag would stay behind"),
        pytest.param("image: nginx:$(TAG)", "v2", None, "the tag comes from a template", id="what cannot be written"),
    ],
)
def test_what_cannot_be_said_is_refused(text: str, tag: str | None, digest: str | None, why: str) -> None:
    with pytest.raises(EditError, match=why.replace("(", r"\(")):
        _edited(text, tag, digest)


def test_every_scalar_belongs_to_one_reference() -> None:
    text = """
apiVersion: example.com/v1
kind: Pod
spec:
  containers:
    - image: acme/api:1
      repository: acme/api
      tag: v1
"""
    found = references(parse("x.yaml", text))
    starts = [place.start for reference in found for place in reference.places]
    assert len(starts) == len(set(starts))
    assert [reference.editor for reference in found] == ["manifest", "helm_values"]


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("nginx", ImageRef("docker.io", "library/nginx", "1")),
        ("docker.io/acme/api", ImageRef("docker.io", "acme/api", "1")),
        ("registry.example.com:5000/a/b/c", ImageRef("registry.example.com:5000", "a/b/c", "1")),
    ],
)
def test_names_are_canonical_and_keep_their_spelling(name: str, identity: ImageRef) -> None:
    reference = _only(f"image: {name}:1")
    assert reference.image == identity
    assert reference.spelled == name


@pytest.mark.parametrize(
    "text",
    [
        "image: Always",
        "image: https://example.com/logo.png",
        "image: 'two words'",
        "image: nginx:",
        "image: ' nginx:1'",
        'image: "nginx:1 "',
        "image: nginx@sha256:12",
        "image: nginx:1:2",
        "image: [nginx]",
        "image: {name: nginx}",
        "image: true",
        "image: ~",
        "image: 1.5",
        "image: ${IMAGE}",
        "image: '{{ .image }}'",
        "[image, 'nginx:1']",
        "nginx:1",
        "{repository: oci://example.com/charts, tag: '1'}",
        "{repository: [a], tag: '1'}",
        "{repository: acme/api, branch: main}",
    ],
)
def test_what_names_no_image_is_no_reference(text: str) -> None:
    assert references(parse("values.yaml", text)) == []
