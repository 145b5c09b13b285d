"""How names of images are read and spelled."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.image import ImageRef, split

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("nginx", "docker.io/library/nginx", "-"),
        ("nginx:1.25", "docker.io/library/nginx", "1.25"),
        ("bitnami/redis:7.2", "docker.io/bitnami/redis", "7.2"),
        ("docker.io/nginx", "docker.io/library/nginx", "-"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx", "-"),
        ("registry-1.docker.io/library/nginx", "docker.io/library/nginx", "-"),
        ("ghcr.io/acme/api:1.4.2", "ghcr.io/acme/api", "1.4.2"),
        ("GHCR.io/acme/api", "ghcr.io/acme/api", "-"),
        ("localhost/api:1", "localhost/api", "1"),
        ("127.0.0.1:5000/team/api:1", "127.0.0.1:5000/team/api", "1"),
        ("registry:5000/api", "registry:5000/api", "-"),
        ("[::1]:5000/api:1", "[::1]:5000/api", "1"),
        (f"ghcr.io/acme/api:1@{DIGEST}", "ghcr.io/acme/api", f"1@{DIGEST}"),
        (f"ghcr.io/acme/api@{DIGEST}", "ghcr.io/acme/api", f"@{DIGEST}"),
        ("a/b__c/d-e--f.g:x", "docker.io/a/b__c/d-e--f.g", "x"),
    ],
)
def test_names_that_are_read(text: str, name: str, version: str) -> None:
    image = ImageRef.parse(text)
    assert (image.name, image.version) == (name, version)
    assert ImageRef.parse(str(image)) == image


@pytest.mark.parametrize(
    "text",
    ["", ":1", "Acme/api", "a//b", "/a", "a/", "a:", "a:b:c/d", "a:.x", "a:" + "x" * 129, "a@sha256:0", "a b", "a\nb",
     "{{ .image }}", "${IMAGE}", "ghcr.io/-a", "a/" * 200 + "b", "host:port/a", "https://ghcr.io/a"],
)  # fmt: skip
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not"):
        ImageRef.parse(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r:5000/a/b:1@x", ("r:5000/a/b", "1", "x")),
        ("r:5000/a", ("r:5000/a", None, None)),
        ("a:", ("a", "", None)),
        ("a@", ("a", None, "")),
    ],
    ids=["everything", "a port is no tag", "an empty tag", "an empty digest"],
)
def test_a_reference_is_split_without_judging_it(text: str, parts: tuple[str, str | None, str | None]) -> None:
    assert split(text) == parts


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with suppress(ValueError):  # any other error is a bug
        image = ImageRef.parse(text)
        assert ImageRef.parse(str(image)) == image
