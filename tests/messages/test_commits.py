"""What commits say, and what is read back from them."""

from dataclasses import replace

import pytest

from updater.messages.commits import Told, commit_message, subject, told
from updater.model.change import Bump

DIGEST = "sha256:" + "ab" * 32
API = Bump(
    file="apps/api/deployment.yaml",
    line=17,
    image="ghcr.io/acme/api",
    spelled="ghcr.io/acme/api",
    old="1.4.2",
    new="1.5.0",
    digest=None,
    reason="semver >=1.4.0 <2.0.0, newest of 212",
)


def test_one_image() -> None:
    assert commit_message([API]) == (
        "Update ghcr.io/acme/api to 1.5.0\n"
        "\n"
        "- ghcr.io/acme/api 1.4.2 -> 1.5.0 in apps/api/deployment.yaml:17\n"
        "\n"
        "Image-Update: ghcr.io/acme/api 1.4.2 -> 1.5.0\n"
        "Image-Reason: ghcr.io/acme/api semver >=1.4.0 <2.0.0, newest of 212\n"
    )


def test_several_places_of_one_image_share_their_trailers() -> None:
    message = commit_message([API, replace(API, file="b.yaml", line=3)])
    assert message.startswith("Update ghcr.io/acme/api to 1.5.0\n")
    assert message.count("\n- ") == 2
    assert message.count("Image-Update:") == message.count("Image-Reason:") == 1


def test_a_known_digest_and_a_sign_off_are_trailers() -> None:
    bump = replace(API, new=f"1.5.0@{DIGEST}", digest=DIGEST)
    message = commit_message([bump], "Image Updater <updater@localhost>")
    assert f"Image-Digest: ghcr.io/acme/api 1.5.0 {DIGEST}\n" in message
    assert message.endswith("Signed-off-by: Image Updater <updater@localhost>\n")
    assert message.splitlines()[0] == "Update ghcr.io/acme/api to 1.5.0@sha256:abababababab"


@pytest.mark.parametrize(
    ("bumps", "expected"),
    [
        ([API, replace(API, image="docker.io/library/nginx", spelled="nginx")], "Update 2 images"),
        ([API, replace(API, new="1.6.0")], "Update ghcr.io/acme/api to 1.5.0 and 1.6.0"),
        ([replace(API, spelled="nginx", image="docker.io/library/nginx")], "Update nginx to 1.5.0"),
    ],
    ids=["several images", "one image, two targets", "as Git spells it"],
)
def test_subject(bumps: list[Bump], expected: str) -> None:
    assert subject(bumps) == expected


def test_a_path_cannot_forge_a_trailer() -> None:
    message = commit_message([replace(API, file="a\nImage-Update: evil.example/x 1 -> 2\n.yaml")])
    assert [line for line in message.splitlines() if line.startswith("Image-Update")] == [
        "Image-Update: ghcr.io/acme/api 1.4.2 -> 1.5.0"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ghcr.io/acme/api 1.4.2 -> 1.5.0", (Told("ghcr.io/acme/api", "1.4.2", "1.5.0"),)),
        (f"ghcr.io/acme/api - -> @{DIGEST}", (Told("ghcr.io/acme/api", "-", f"@{DIGEST}"),)),
        ("ghcr.io/acme/api 1.4.2 to 1.5.0", ()),
        ("not an image! 1 -> 2", ()),
    ],
    ids=["tags", "from nothing to a digest", "another shape", "no image"],
)
def test_trailers_are_read_back(value: str, expected: tuple[Told, ...]) -> None:
    assert told([("Signed-off-by", "x"), ("Image-Update", value)]) == expected
