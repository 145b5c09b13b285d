"""Markers: whose they are, and that looking for them costs little."""

from __future__ import annotations

import re
import time

import pytest

from updater.editors.base import references
from updater.editors.comments import comments
from updater.editors.document import parse
from updater.editors.marker import Marker, Meant
from updater.model.image import ImageRef

API = ImageRef.parse("ghcr.io/acme/api")
FLUX = Marker(policies={"flux-system:api": Meant(API, "ghcr.io/acme/api", owner="api")})


def test_a_policy_claims_its_values_for_its_image() -> None:
    document = parse("x.yaml", 'tag: "1.0" # {"$imagepolicy": "flux-system:api:tag"}\n')
    (found,) = FLUX.find(document)
    assert (found.claims, str(found.image)) == (("api",), "ghcr.io/acme/api:1.0")
    assert list(Marker().find(document)) == []
    assert [skip.why for skip in Marker().unresolved(document)] == ["no image answers to the policy flux-system:api"]


def test_a_value_that_names_another_image_is_not_claimed() -> None:
    (found,) = FLUX.find(parse("x.yaml", 'image: ghcr.io/acme/web:1 # {"$imagepolicy": "flux-system:api"}\n'))
    assert (found.claims, found.image.repository) == ((), "acme/web")
    assert found.unwritable == "names ghcr.io/acme/web, its marker ghcr.io/acme/api"


def test_other_names_of_a_registry_are_the_same() -> None:
    text = "image: mirror.example.com/acme/api:1 # updater: ghcr.io/acme/api\n"

    def canonical(image: ImageRef) -> ImageRef:
        return ImageRef.parse(str(image).replace("mirror.example.com", "ghcr.io"))

    (found,) = Marker(canonical=canonical).find(parse("x.yaml", text))
    assert found.unwritable == ""
    (other,) = Marker().find(parse("x.yaml", text))
    assert other.unwritable.startswith("names mirror.example.com/acme/api")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: '" + "# updater: x/y " * 100_000 + "'", id="one long line"),
        pytest.param("# updater: x/y\n" * 100_000, id="many comments"),
        pytest.param("a: 1 # updater: x/y\n" * 20_000, id="many values of one key"),
        pytest.param(f'a: 1 # {"{" * 100_000}"$imagepolicy"', id="braces"),
        pytest.param(f"{'tag_' * 30_000}: 1 # updater: x/y", id="a long key"),
        pytest.param("a: 1 " + "#" * 100_000 + " updater: x/y", id="many signs"),
    ],
)
def test_hostile_comments_cost_no_more_than_their_length(text: str) -> None:
    document = parse("x.yaml", text)
    began = time.monotonic()
    references(document)
    list(FLUX.unresolved(document))
    assert time.monotonic() - began < 5


def test_a_comment_behind_a_block_sign_is_one() -> None:
    text = "a: | # updater: x/y\n  # updater: x/z\nb: 1\n# updater: x/w\nc: 1\n"
    (part,) = parse("x.yaml", text).parts
    found = [(one.line, one.text, one.alone, one.block) for one in comments(text, part.span, re.compile("updater:"))]
    assert found == [
        (0, "updater: x/y", False, False),
        (1, "updater: x/z", True, True),
        (3, "updater: x/w", True, False),
    ]
