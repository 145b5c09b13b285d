"""Images become items: built-in < defaults < image < item."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import settings
from updater.config.images import Item
from updater.model.image import ImageRef
from updater.policies.rule import Rule

FLEET = "repositories: [{url: https://git.example.com/fleet.git}]\n"


def items(folder: Path, text: str) -> tuple[Item, ...]:
    return settings(folder, FLEET + text).items


def test_an_image_alone_is_one_item_with_the_built_in_rule(tmp_path: Path) -> None:
    assert items(tmp_path, "images: [{image: ghcr.io/acme/api}]\n") == (
        Item(
            name="ghcr.io/acme/api",
            image_name="ghcr.io/acme/api",
            image="ghcr.io/acme/api",
            exact=ImageRef("ghcr.io", "acme/api"),
            repository=None,
            branch=None,
            paths=("**",),
            write=True,
            rule=Rule(),
            poll_interval=300,
            poll_jitter=30,
            labels={},
            suspend=False,
            pattern=None,
        ),
    )


NIGHT = "{kind: deny, schedule: 0 22 * * *, duration: 8h}"
LAYERS = [
    # defaults, image, item, what the item then has
    ("", "", "", {"level": None, "write": "tag", "suspend": False}),
    ("level: patch", "", "", {"level": "patch"}),
    ("level: patch", "level: minor", "", {"level": "minor"}),
    ("level: patch", "level: minor", "level: major", {"level": "major"}),
    ("level: patch", "level: null", "", {"level": None}),
    ("suspend: true", "suspend: false", "", {"suspend": False}),
    ("suspend: true", "", "", {"suspend": True}),
    ("poll: {interval: 1h}", "poll: {jitter: 5s}", "", {"interval": 3600, "jitter": 5}),
    ("poll: {interval: 1h}", "", "poll: {interval: 90s}", {"interval": 90, "jitter": 30}),
    ("policy: {kind: semver, range: 1.x}", "policy: {kind: digest}", "", {"policy": "digest"}),
    ("policy: {kind: semver, range: 1.x}", "", "policy: {kind: semver}", {"policy": "semver *"}),
    ("tags: {exclude: [a]}", "tags: {include: [b]}", "", {"include": ("b",), "exclude": ()}),
    ("write: digest", "", "write: tag_digest", {"write": "tag_digest"}),
    ("labels: {a: '1', b: '2'}", "labels: {b: '3'}", "", {"labels": {"a": "1", "b": "3"}}),
    ("max_major_step: 0", "", "", {"max_major_step": 0}),
    ("min_age: 3d", "", "min_age: 0s", {"min_age": 0}),
    ("min_age: 3d", "downgrade: allow", "moved_tag: follow", {"min_age": 259_200, "downgrade": "allow"}),
    ("platforms: [linux/amd64, linux/arm64]", "", "platforms: same", {"platforms": "same"}),
    ("", "platforms: []", "", {"platforms": ()}),
    (f"windows: [{NIGHT}, {NIGHT}]", f"windows: [{NIGHT}]", "", {"windows": 1}),
    (f"windows: [{NIGHT}]", "", "windows: []", {"windows": 0}),
]


@pytest.mark.parametrize(("defaults", "image", "item", "wanted"), LAYERS, ids=[" < ".join(row[:3]) for row in LAYERS])
def test_the_nearer_field_wins(tmp_path: Path, defaults: str, image: str, item: str, wanted: dict[str, object]) -> None:
    """`poll` and `labels` merge key by key; every other field is replaced whole."""
    between = f", {image}" if image else ""
    [one] = items(
        tmp_path,
        f"defaults: {{{defaults}}}\nimages: [{{image: a.io/a{between}, update: [{{repository: fleet, {item}}}]}}]\n",
    )
    has = {
        "level": one.rule.level,
        "write": one.rule.write,
        "max_major_step": one.rule.max_major_step,
        "policy": one.rule.policy.words,
        "include": one.rule.tags.include,
        "exclude": one.rule.tags.exclude,
        "suspend": one.suspend,
        "interval": one.poll_interval,
        "jitter": one.poll_jitter,
        "labels": one.labels,
        "min_age": one.rule.min_age,
        "downgrade": one.rule.downgrade,
        "platforms": one.rule.platforms,
        "windows": len(one.windows),
    }
    assert {key: has[key] for key in wanted} == wanted


def test_fields_that_only_fit_together_are_judged_after_merging(tmp_path: Path) -> None:
    """Half of a pair in `defaults` is no mistake where the other half stands in the image."""
    text = "defaults: {tags: {pattern: '^(.*)$', extract: $1}}\nimages: [{image: a.io/a}, {image: a.io/b, tags: {}}]\n"
    assert [item.rule.tags.extract for item in items(tmp_path, text)] == ["$1", None]


def test_an_empty_list_means_watch_only(tmp_path: Path) -> None:
    [item] = items(tmp_path, "images: [{image: a.io/a, update: []}]\n")
    assert (item.write, item.repository, item.paths) == (False, None, ("**",))


def test_where_to_write_may_stand_in_defaults(tmp_path: Path) -> None:
    text = "defaults: {update: [{paths: ['apps/**']}]}\nimages: [{image: a.io/a}, {image: a.io/b, update: []}]\n"
    assert [(item.paths, item.write) for item in items(tmp_path, text)] == [(("apps/**",), True), (("**",), False)]


NAMES = [
    ("image: a.io/api", ["a.io/api"]),
    ("image: a.io/api, name: api", ["api"]),
    ("image: a.io/api, name: api, update: [{repository: fleet}]", ["api"]),
    ("image: a.io/api, name: api, update: [{name: prod}]", ["api/prod"]),
    ("image: a.io/api, name: api, update: [{name: dev}, {name: prod}]", ["api/dev", "api/prod"]),
    ("image: a.io/api, name: api, update: [{repository: fleet}, {name: prod}]", ["api/fleet", "api/prod"]),
]


@pytest.mark.parametrize(("image", "wanted"), NAMES, ids=[row[0] for row in NAMES])
def test_items_are_named_after_their_image(tmp_path: Path, image: str, wanted: list[str]) -> None:
    """One item without a name is the image itself; several take the names of their repositories."""
    found = items(tmp_path, f"images: [{{{image}}}]\n")
    assert [item.name for item in found] == wanted
    assert {item.image_name for item in found} == {"a.io/api" if "name: api" not in image else "api"}


IDENTITIES = [
    # as written, canonical image, canonical pattern
    ("nginx", "docker.io/library/nginx", None),
    ("index.docker.io/acme/api", "docker.io/acme/api", None),
    ("registry-vpc.example.com/team/api", "registry.example.com/team/api", None),
    ("localhost:5000/api", "localhost:5000/api", None),
    ("ghcr.io/acme/**", None, "ghcr.io/acme/**"),
    ("registry-vpc.example.com/team/*", None, "registry.example.com/team/*"),
    ("nginx*", None, "docker.io/library/nginx*"),
    ("acme/*", None, "docker.io/acme/*"),
    ("acme-?/api", None, "docker.io/acme-?/api"),
    ("docker.io/*", None, "docker.io/library/*"),
    ("index.docker.io/acme/*", None, "docker.io/acme/*"),
    ("**", None, "**"),
    ("**/api", None, "**/api"),
    ("*.example.com/team/api", None, "*.example.com/team/api"),
]


@pytest.mark.parametrize(("image", "exact", "pattern"), IDENTITIES, ids=[row[0] for row in IDENTITIES])
def test_images_and_patterns_are_canonical(tmp_path: Path, image: str, exact: str | None, pattern: str | None) -> None:
    """Docker Hub's names are one identity, and an alias is its registry."""
    text = "registries: [{host: registry.example.com, aliases: [registry-vpc.example.com]}]\n"
    [item] = items(tmp_path, text + f"images: [{{image: '{image}'}}]\n")
    assert (item.exact and item.exact.name, item.pattern, item.image) == (exact, pattern, image)


@pytest.mark.parametrize("text", ["", "images: []\n", "# nothing yet\n", "---\n", "~\n"])
def test_no_images_are_a_configuration_too(tmp_path: Path, text: str) -> None:
    assert settings(tmp_path, text).items == ()


def test_plain_numbers_are_text_where_text_is_meant(tmp_path: Path) -> None:
    """`range: 1.20` means 1.20 and not 1.2, and a branch may be a number."""
    [item] = items(
        tmp_path,
        "images: [{image: a.io/a, policy: {kind: semver, range: 1.20}, update: [{branch: 010, name: 1.0}]}]\n",
    )
    assert (item.rule.policy.words, item.branch, item.name) == ("semver 1.20", "010", "a.io/a/1.0")
