"""Edits of one file: applied together, verified, or refused as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from updater.editors.base import references
from updater.editors.document import Words, parse
from updater.errors import EditError
from updater.model.change import Bump, Place, Reference, Role
from updater.model.image import ImageRef
from updater.pipeline.edit import edit, refusal, splice

TEXT = """# values
web:
  image: ghcr.io/acme/web:1.4.2
api:
  image:
    repository: acme/api
    registry: ghcr.io
    tag: "1.4.2"  # keep
"""


def _wanted(text: str, tag: str, digest: str | None = None) -> list[tuple[Reference, ImageRef, str]]:
    return [(r, r.image.at(tag, digest), "newest of 3") for r in references(parse("v.yaml", text))]


def test_all_edits_of_a_file_are_one_change() -> None:
    change = edit("v.yaml", TEXT, _wanted(TEXT, "1.5.0"))
    assert change.before == TEXT
    assert change.after == TEXT.replace("1.4.2", "1.5.0")
    assert change.bumps == (
        Bump("v.yaml", 3, "ghcr.io/acme/web", "ghcr.io/acme/web", "1.4.2", "1.5.0", None, "newest of 3"),
        Bump("v.yaml", 8, "ghcr.io/acme/api", "ghcr.io/acme/api", "1.4.2", "1.5.0", None, "newest of 3"),
    )


def test_the_order_of_the_wishes_does_not_matter() -> None:
    wanted = _wanted(TEXT, "1.5.0")
    assert edit("v.yaml", TEXT, wanted[::-1]).after == edit("v.yaml", TEXT, wanted).after


def test_what_is_there_already_is_no_edit_and_no_bump() -> None:
    wanted = _wanted(TEXT, "1.4.2")
    wanted[1] = (wanted[1][0], wanted[1][1].at("1.5.0"), "newer")
    change = edit("v.yaml", TEXT, wanted)
    assert [bump.line for bump in change.bumps] == [8]
    assert change.after == TEXT.replace('"1.4.2"', '"1.5.0"')
    assert edit("v.yaml", TEXT, []).after == TEXT


def test_a_bump_says_what_stands_in_git_afterwards() -> None:
    """Where only a digest has a place, the tag that it belongs to is not claimed to be there."""
    old, new = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"
    text = f"image: {{repository: acme/api, digest: {old}}}\n"
    (bump,) = edit("v.yaml", text, _wanted(text, "1.5.0", new)).bumps
    assert (bump.old, bump.new, bump.digest) == (f"@{old}", f"@{new}", new)
    (after,) = references(parse("v.yaml", text.replace(old, new)))
    assert bump.new == after.image.version


def test_the_same_characters_are_not_written_twice() -> None:
    wanted = _wanted(TEXT, "1.5.0") + _wanted(TEXT, "1.6.0")
    with pytest.raises(EditError, match=r"v\.yaml: two changes of the same characters"):
        edit("v.yaml", TEXT, wanted)


def test_one_reference_that_cannot_be_written_leaves_the_file() -> None:
    text = f"{TEXT}\njob:\n  image: nginx:${{TAG}}\n"
    with pytest.raises(EditError, match=r"v\.yaml:11: the tag comes from a template"):
        edit("v.yaml", text, _wanted(text, "1.5.0"))


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(TEXT.replace("web:1.4.2", "web:1.4.3"), id="another tag of the same length"),
        pytest.param(TEXT.replace("acme/api", "acme/app"), id="another name beside the tag"),
        pytest.param(f"\n{TEXT}", id="all of it moved"),
        pytest.param(TEXT[:40], id="cut off"),
        pytest.param("", id="empty"),
        pytest.param("[" * 50_000, id="hostile"),
    ],
)
def test_a_reference_of_another_text_is_refused(now: str) -> None:
    with pytest.raises(EditError, match=r"^v\.yaml"):
        edit("v.yaml", now, _wanted(TEXT, "1.5.0"))


def _misplaced(start: int, end: int, value: str) -> Reference:
    (reference, _) = references(parse("v.yaml", TEXT))
    return replace(reference, places=(Place(Role.TAG, start, end, 1, value),))


@pytest.mark.parametrize(
    ("old", "why"),
    [
        pytest.param("values", "would not stand in a scalar", id="in a comment"),
        pytest.param("ghcr.io/acme", "alter more than", id="in a part of a scalar"),
        pytest.param("web:\n", "alter more than|after the change there would be", id="across the structure"),
        pytest.param('"1.4.2"  # keep', "would not stand in a scalar|alter more", id="beyond a scalar"),
    ],
)
def test_a_place_that_is_no_scalar_is_refused(old: str, why: str) -> None:
    start = TEXT.index(old)
    reference = _misplaced(start, start + len(old), "other")
    with pytest.raises(EditError, match=why):
        edit("v.yaml", TEXT, [(reference, reference.image.at("v2"), "because")])


def test_a_key_is_not_taken_for_its_value() -> None:
    """A wrong place that happens to be a whole scalar is found out by what it says."""
    start = TEXT.index("web")
    reference = _misplaced(start, start + 3, "1.4.2")
    with pytest.raises(EditError, match=r"v\.yaml:2: '1.4.2' is not there any more"):
        edit("v.yaml", TEXT, [(reference, reference.image.at("v2"), "because")])


def test_only_the_documents_that_change_are_read_again() -> None:
    """Every other document of the stream is broken: reading one of them would be an error."""
    broken = "---\nimage: ghcr.io/acme/svc:1.0\nbroken: [\n" * 1_000
    text = f"{broken}---\nimage: ghcr.io/acme/api:1.0\n{broken}---\n- {{image: 'ghcr.io/acme/api:1.0'}}\n"
    found = references(parse("all.yaml", text, Words(["ghcr.io/acme/api"])))
    change = edit("all.yaml", text, [(r, r.image.at("1.1"), "newer") for r in found])
    assert change.after == text.replace("api:1.0", "api:1.1")
    assert [bump.line for bump in change.bumps] == [3_002, 6_004]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_bytes_outside_are_identical(end: str, mark: str) -> None:
    text = mark + TEXT.replace("\n", end) + "# 😀 ü" + end + "---" + end + TEXT.replace("\n", end).rstrip()
    after = edit("v.yaml", text, _wanted(text, "1.10")).after
    assert after.encode() == text.replace("1.4.2", "1.10").encode()


def test_splice() -> None:
    text = "image: a:1"
    (reference,) = references(parse("v.yaml", text))
    change = edit("v.yaml", text, [(reference, reference.image.at("22"), "why")])
    assert change.after == "image: a:22"
    assert splice("abc", []) == "abc"


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        pytest.param("image: nginx:1", ("2", None), "", id="a tag"),
        pytest.param("image: nginx:1", (None, f"sha256:{'1' * 64}"), "", id="a digest"),
        pytest.param("image: nginx:$(TAG)", ("2", None), "v.yaml:1: the tag comes from a template", id="a template"),
        pytest.param(
            "image: {repository: nginx, tag: v1}",
            (None, f"sha256:{'1' * 64}"),
            "v.yaml:1: a digest without a tag has no place here",
            id="a digest where a tag has its place",
        ),
    ],
)
def test_a_refusal_is_known_before_the_file_is_touched(text: str, target: tuple[str, str], why: str) -> None:
    (reference,) = references(parse("v.yaml", text))
    assert refusal(reference, reference.image.at(*target)) == why


def _application(values: str) -> str:
    return f"apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  source:\n    helm:\n      values: {values}"


LITERAL = _application("|\n        image: {repository: acme/api, tag: v1}\n        # tag: v1\n")


def test_only_the_bytes_in_an_embedded_document_change() -> None:
    assert edit("v.yaml", LITERAL, _wanted(LITERAL, "1.10")).after == LITERAL.replace(", tag: v1", ', tag: "1.10"')


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(LITERAL.replace("{repository", "{Repository"), id="the same characters elsewhere"),
        pytest.param(LITERAL.replace("tag: v1}", "tag: v2}"), id="another tag"),
        pytest.param(LITERAL.replace("|\n", "|-"), id="another text"),
        pytest.param(LITERAL.replace(": |\n        i", ": >\n        i"), id="folded now"),
    ],
)
def test_an_embedded_document_that_changed_is_not_written(now: str) -> None:
    wanted = _wanted(LITERAL, "v3")
    if now == LITERAL.replace("{repository", "{Repository"):
        assert edit("v.yaml", now, wanted).after.count("v3") == 1  # its scalars are what they were
        return
    with pytest.raises(EditError):
        edit("v.yaml", now, wanted)


def test_quotes_in_quotes_are_refused() -> None:
    """1.10 needs quotes, which would end those around the document: nothing is half written."""
    text = _application('"{image: {repository: acme/api, tag: v1}}"\n')
    with pytest.raises(EditError, match=r"there would be broken YAML|would alter more"):
        edit("v.yaml", text, _wanted(text, "1.10"))
    assert edit("v.yaml", text, _wanted(text, "v2")).after == text.replace("tag: v1", "tag: v2")


def test_other_values_are_written_beside() -> None:
    text = "version: 1.2.3\nimage: acme/api:v1\n"
    place = Place(Role.TAG, 9, 14, 1, "1.2.3")
    change = edit("v.yaml", text, _wanted(text, "v2"), {place: "1.2.4"})
    assert (change.after, len(change.bumps)) == ("version: 1.2.4\nimage: acme/api:v2\n", 1)
    with pytest.raises(EditError, match=r"'1\.2\.3' is not there any more"):
        edit("v.yaml", text.replace("1.2.3", "1.2.9"), (), {place: "1.2.4"})
