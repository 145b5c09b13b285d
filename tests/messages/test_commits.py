"""What commits say, and what is read back from them."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from updater.git.log import trailers
from updater.messages.commits import Told, commit_message, linked, places, subject, told
from updater.messages.origin import Links
from updater.model.change import Bump
from updater.model.origin import Origin

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


REVISION = "0123456789abcdef0123456789abcdef01234567"
FROM = Origin("https://github.com/acme/api", REVISION, "v1.5.0")
NOTES = "https://github.com/acme/api/releases/tag/v1.5.0"
SOURCE = f"https://github.com/acme/api/tree/{REVISION}"
LINKED = replace(API, origin=FROM)
WEB = replace(API, image="ghcr.io/acme/web", spelled="ghcr.io/acme/web", file="web.yaml", line=2)


def test_the_links_of_an_image_stand_below_its_first_line() -> None:
    again, web = replace(LINKED, file="b.yaml", line=3), replace(WEB, origin=Origin("https://git.example.com/web"))
    body, _ = commit_message([LINKED, again, web]).split("\n\n")[1:]
    assert body.splitlines() == [
        "- ghcr.io/acme/api 1.4.2 -> 1.5.0 in apps/api/deployment.yaml:17",
        f"  Release notes: {NOTES}",
        f"  Source: {SOURCE}",
        "- ghcr.io/acme/api 1.4.2 -> 1.5.0 in b.yaml:3",
        "- ghcr.io/acme/web 1.4.2 -> 1.5.0 in web.yaml:2",
        "  Source: https://git.example.com/web",
    ]


def test_two_images_of_one_source_have_their_links_each() -> None:
    message = commit_message([LINKED, replace(WEB, origin=FROM)])
    assert (message.count(NOTES), message.count(SOURCE)) == (2, 2)


@pytest.mark.parametrize("origin", [None, Origin(), Origin(revision=REVISION, version="1.5.0")])
def test_without_a_source_the_message_is_as_ever(origin: Origin | None) -> None:
    assert commit_message([replace(API, origin=origin)]) == commit_message([API])


def test_links_are_read_back_and_nothing_else_changes() -> None:
    bumps = [LINKED, replace(LINKED, file="b.yaml", line=3), WEB]
    message, plain = commit_message(bumps), commit_message([replace(bump, origin=None) for bump in bumps])
    assert linked(message) == {("ghcr.io/acme/api", "1.5.0"): Links(NOTES, SOURCE)}
    assert linked(plain) == {}
    assert places(message) == places(plain)
    assert list(trailers(message)) == list(trailers(plain))


@pytest.mark.parametrize(
    "below",
    [
        "  Source: javascript:alert(1)",
        "  Source: https://user:word@git.example.com/x",
        "  Source: https://git.example.com/x)",
        "Source: https://git.example.com/x",
        "  Homepage: https://git.example.com/x",
    ],
    ids=["another scheme", "a login", "a bracket", "not below the line", "another word"],
)
def test_what_anybody_wrote_below_a_line_is_a_link_only_where_it_is_one(below: str) -> None:
    assert linked(f"S\n\n- r/a 1 -> 2 in a.yaml:1\n{below}\n") == {}


SQUASHED = "Merge (#7)\n\n* {0}\n* {1}\n"


@pytest.mark.parametrize(
    "text", ["{0}", SQUASHED, "{0}\n\nAnd another one.\n\n{1}"], ids=["ours", "squashed", "joined"]
)
def test_links_are_never_trailers_for_git_and_for_us(text: str, tmp_path: Path) -> None:
    """Also where they are all that follows a line, and where a squash keeps the text of several commits."""
    only_source = replace(WEB, origin=Origin("https://git.example.com/web"))
    message = text.format(commit_message([LINKED]), commit_message([only_source]))
    plain = text.format(commit_message([API]), commit_message([WEB]))
    assert list(trailers("\n".join(map(str.strip, message.splitlines())))) == list(trailers(plain))
    assert list(trailers(message)) == list(trailers(plain))
    assert {key for key, _ in trailers(message)} == {"Image-Update", "Image-Reason"}
    assert _read_by_git(tmp_path, message) == _read_by_git(tmp_path, plain)
    assert _read_by_git(tmp_path, message) != ""


def _read_by_git(folder: Path, message: str) -> str:
    """Commit a message, and return all of its trailers as git tells them."""
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@localhost"]

    def run(*args: str, text: str = "") -> str:
        return subprocess.run([*git, *args], input=text, check=True, capture_output=True, text=True).stdout

    run("init", "-q")
    tree = run("hash-object", "-t", "tree", "-w", "--stdin").strip()
    commit = run("commit-tree", tree, text=message).strip()
    assert run("log", "-1", "--format=%B", commit).strip() == message.strip()
    return run("log", "-1", "--format=%(trailers:only,unfold)", commit).strip()
